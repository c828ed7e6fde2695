"""The simulator against others: DRAM against Ramulator 2, caches against cachegrind and pycachesim, systolic arrays
against SCALE-Sim, sparse accelerators against Sparseloop, a GPU against a real one; and how fast it is.

python -m benchmarks.sim_validation [--quick] [--only SECTIONS] [--json FILE]

``dram_cycles_error_reads`` and its like are the worst over the rows of the reference table (``--reference``; without
it that section says so). ``..._mreq_s`` and ``..._maccess_s`` are millions a CPU second, the best of some runs of one
block, the kernel being compiled before. A section is one function and one row of ``SECTIONS``.
"""

from __future__ import annotations

import csv
import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import sim_accelerators, sim_cachegrind, sim_cpu, sim_functional, sim_laws, sim_ramulator
from benchmarks.harness import Benchmark, Target, arguments
from spcomp.sim.parts.cache import CacheLevel, Caches
from spcomp.sim.parts.dram import Dram, preset
from spcomp.sim.parts.noc import Network, Noc, mesh, torus
from spcomp.sim.parts.systolic import DATAFLOWS, SystolicArray
from spcomp.sim.parts.systolic_array import step_product
from spcomp.sim.parts.systolic_machine import run_layer
from spcomp.sim.parts.systolic_memory import BandwidthMemory
from spcomp.sim.topology import read_topology
from spcomp.sim.trace import INSTRUCTION, read_trace

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
RESNET18 = Path(__file__).parents[1] / "examples" / "topologies" / "resnet18.csv"
RESNET18_WS_32X32 = (
    121939, 108359, 108359, 108359, 108359, 63215, 110879, 7479, 110879, 110879, 83519, 137087, 10207, 137087, 137087,
    164735, 274175, 20223, 274175, 274175, 48639,
)  # fmt: skip
"""Total cycles, as SCALE-Sim 3.0.0 reports them."""
THREE_LEVELS = ("32k,8,64", "1m,16,64", "32m,16,64")
HIERARCHIES = {
    "": THREE_LEVELS,
    "plru_": tuple(f"{level},plru" for level in THREE_LEVELS),
    "write_through_": (f"{THREE_LEVELS[0]},write_through", *THREE_LEVELS[1:]),
    "inclusive_": (*THREE_LEVELS[:2], f"{THREE_LEVELS[2]},inclusive"),
    "general_": ("32k,8,64,plru,write_through", "1m,16,64,plru", "32m,16,64,inclusive"),
}
"""What is timed, by its part of the figure's name. All but the first have a fifth of writes."""
CACHE_TRACES = ("stream", "gather", "random")
TARGETS = {
    "dram_cycles_error_reads": Target(1e-3, "<="),
    "dram_cycles_error_writes": Target(1e-2, "<="),
    "dram_outcomes_error": Target(5e-3, "<="),
    "dram_latency_error": Target(2e-2, "<="),
    "dram_csr_mreq_s": Target(1.5),
    **sim_ramulator.TARGETS,
    "cachegrind_error": Target(0, "<="),
    "pycachesim_error": Target(0, "<="),
    **{f"cache_{kind}{trace}_maccess_s": Target(20) for kind in HIERARCHIES for trace in CACHE_TRACES},
    **sim_accelerators.TARGETS,
    "systolic_cycles_error": Target(0, "<="),
    "systolic_resnet18_s": Target(2, "<="),
    "systolic_stepped_error": Target(0, "<="),
    **sim_cachegrind.TARGETS,
    **sim_functional.TARGETS,
    **sim_laws.TARGETS,
    **sim_cpu.TARGETS,
}


def dram_trace(row: dict[str, str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The trace of a row, as the table's description gives it."""
    n, g = int(row["n"]), np.random.default_rng(int(row["seed"]))
    made = {
        "seq": lambda: np.arange(n) * 64,
        "random": lambda: g.integers(0, (1 << 30) // 64, n) * 64,
        "stride": lambda: (np.arange(n) * 64 * 1024 * 17) % (1 << 30),
    }
    if row["kind"] == "csr":
        gathered = g.integers(0, (64 << 20) // 64, n) * 64 + (512 << 20)
        addresses = np.where(g.random(n) < 0.4, gathered, np.arange(n) * 64)
    else:
        addresses = made[row["kind"]]()
    return addresses, g.random(n) < float(row["write_fraction"])


def dram(bench: Benchmark, options: Any) -> None:
    """Cycles until the last request is in a queue, outcomes in the row buffers, and latency, row by row."""
    path = options.reference / "dram_ramulator2.csv"
    if not path.is_file():
        print(f"dram: {path} is not here")
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    worst: dict[str, float] = {}
    for row in rows:
        addresses, writes = dram_trace(row)
        memory = Dram(preset(row["preset"]))
        memory.feed(addresses, writes)
        found = memory.result()
        cycles, n = int(row["cycles"]), len(addresses)
        error = abs(found.accepted_cycles - cycles) / cycles
        outcomes = max(
            abs(ours - int(row[name])) / n
            for name, ours in (
                ("row_hits", found.row_hits), ("row_misses", found.row_misses), ("row_conflicts", found.row_conflicts)
            )
        )  # fmt: skip
        latency = abs(found.average_read_latency_cycles + 1 - float(row["avg_read_latency"]))
        latency /= float(row["avg_read_latency"])
        kind = "reads" if row["write_fraction"] == "0.0" else "writes"
        for name, value in ((f"cycles_error_{kind}", error), ("outcomes_error", outcomes), ("latency_error", latency)):
            worst[name] = max(worst.get(name, 0.0), value)
        name = f"{row['preset']} {row['kind']} {row['write_fraction']}"
        figures = f"cycles {found.accepted_cycles:>8} theirs {cycles:>8} error {error:.1e}  outcomes {outcomes:.1e}"
        print(f"  {name:<28} {figures}")
    for name, value in worst.items():
        bench.report(f"dram_{name}", value, f"worst of {len(rows)} rows, Ramulator 2.1")


def dram_speed(bench: Benchmark, options: Any) -> None:
    """Requests a second on one core: the csr mix, reads only."""
    row = {"kind": "csr", "n": "100000" if options.quick else "1000000", "seed": "11", "write_fraction": "0"}
    addresses, writes = dram_trace(row)
    for name in ("DDR4_2400R", "HBM2_2400", "LPDDR5_6400", "HBM3_6400", "DDR5_4800"):
        seconds = best(lambda name=name: Dram(preset(name)).feed(addresses, writes), options.quick)
        key = "dram_csr_mreq_s" if name == "DDR4_2400R" else f"dram_csr_{name.lower()}_mreq_s"
        bench.report(key, len(addresses) / seconds / 1e6, f"{name}, {len(addresses)} reads, mapping included")
    sim_ramulator.against_ramulator(bench, options.ramulator, dram_trace(row | {"n": "100000"})[0], options.quick)


def cachegrind(bench: Benchmark, options: Any) -> None:
    """Misses of a run of ``true`` under cachegrind, and ours on lackey's trace of it."""
    if shutil.which("valgrind") is None:
        print("cachegrind: valgrind is not installed")
        return
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "trace").write_text(valgrind("lackey", folder, "--trace-mem=yes"))
        trace = read_trace(folder / "trace")
        for first, last in (("32768,8,64", "1048576,16,64"), ("1024,2,64", "8192,4,64")):
            sizes = (f"--I1={first}", f"--D1={first}", f"--LL={last}")
            valgrind("cachegrind", folder, "--cache-sim=yes", *sizes, "--cachegrind-out-file=out")
            lines = (folder / "out").read_text().splitlines()
            names = next(v for v in lines if v.startswith("events:")).split()[1:]
            totals = map(int, next(v for v in lines if v.startswith("summary:")).split()[1:])
            theirs = dict(zip(names, totals, strict=False))
            levels = [CacheLevel.parse(first + ",private"), CacheLevel.parse(last)]
            caches = Caches(levels, cores=2, whole_accesses=True)
            had = caches.access(trace.address, sizes=trace.size, core=trace.kind != INSTRUCTION).level
            ours = [int((had > k).sum()) for k in range(2)]
            wanted = [
                theirs["I1mr"] + theirs["D1mr"] + theirs["D1mw"],
                theirs["ILmr"] + theirs["DLmr"] + theirs["DLmw"],
            ]
            print(f"  {first} {last}: misses {ours} theirs {wanted} of {len(trace)} accesses")
            worst = max(worst, *(abs(a - b) / max(1, b) for a, b in zip(ours, wanted, strict=True)))
    bench.report("cachegrind_error", worst, "misses of both levels, lackey's trace of true")


def valgrind(tool: str, folder: Path, *options: str) -> str:
    command = ["valgrind", f"--tool={tool}", *options, "/bin/true"]
    environment = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True, env=environment).stderr


def pycachesim(bench: Benchmark, options: Any) -> None:
    """Hits and misses of three levels of LRU on a mix of near and far reads."""
    if importlib.util.find_spec("cachesim") is None:
        print("pycachesim: not installed")
        return
    import cachesim

    memory = cachesim.MainMemory()
    l3 = cachesim.Cache("L3", 64, 8, 64, "LRU")
    l2 = cachesim.Cache("L2", 32, 4, 64, "LRU", store_to=l3, load_from=l3)
    l1 = cachesim.Cache("L1", 8, 2, 64, "LRU", store_to=l2, load_from=l2)
    memory.load_to(l3)
    memory.store_from(l3)
    theirs = cachesim.CacheSimulator(l1, memory)
    g = np.random.default_rng(0)
    n = 50000 if options.quick else 500000
    addresses = np.where(g.random(n) < 0.5, np.cumsum(g.integers(-96, 128, n)) % (1 << 17), g.integers(0, 1 << 17, n))
    ours = Caches([CacheLevel.parse(text) for text in ("1k,2,64", "8k,4,64", "32k,8,64")])
    ours.access(addresses)
    for address in addresses.tolist():
        theirs.load(address, 1)
    pairs = [(c.hits, v.backend.HIT_count) for c, v in zip(ours.counts(), (l1, l2, l3), strict=True)]
    print(f"  hits (ours, theirs): {pairs}")
    bench.report("pycachesim_error", max(abs(a - b) / max(1, b) for a, b in pairs), f"hits of three levels, {n} reads")


def cache_speed(bench: Benchmark, options: Any) -> None:
    """Accesses a second through three levels on one core."""
    n = 2_000_000 if options.quick else 10_000_000
    g = np.random.default_rng(0)
    traces = {
        "stream": (np.arange(n) * 8) % (32 << 20),
        "gather": (g.zipf(1.2, n) % (8 << 20)) * 8,
        "random": g.integers(0, 64 << 20, n) & ~7,
    }
    for name in CACHE_TRACES:
        for kind, texts in HIERARCHIES.items():
            levels = [CacheLevel.parse(text) for text in texts]
            few = traces[name][: n // 5] if kind else traces[name]
            writes = g.random(len(few)) < 0.2 if kind else None
            seconds = best(lambda a=few, w=writes, v=levels: Caches(v).access(a, w), options.quick)
            note = f"{' '.join(texts)}, {len(few)} {'accesses, a fifth writes' if kind else 'reads of 8 bytes'}"
            bench.report(f"cache_{kind}{name}_maccess_s", len(few) / seconds / 1e6, note)


def systolic(bench: Benchmark, options: Any) -> None:
    """ResNet-18 layer by layer, counted as SCALE-Sim counts; then exactly, and with a memory."""
    start = time.perf_counter()
    layers = read_topology(RESNET18)
    array = SystolicArray(32, 32, "ws", "scalesim")
    found = [array.cycles(layer.m, layer.k, layer.n) for layer in layers]
    seconds = time.perf_counter() - start
    exact = SystolicArray(32, 32)
    worst = 0.0
    for layer, ours, theirs in zip(layers, found, RESNET18_WS_32X32, strict=True):
        error = abs(ours - theirs) / theirs
        worst = max(worst, error)
        real = exact.cycles(layer.m, layer.k, layer.n)
        print(f"  {layer.name:<20} cycles {ours:>7} theirs {theirs:>7} error {error:.1e}  exact {real:>7}")
    bench.report("systolic_cycles_error", worst, "worst of 21 layers of ResNet-18, ws 32x32, SCALE-Sim 3.0.0")
    bench.report("systolic_resnet18_s", seconds, "reading the topology included")
    start = time.perf_counter()
    for layer in layers[:5] if options.quick else layers:
        run_layer(exact, layer, BandwidthMemory(32))
    count = 5 if options.quick else len(layers)
    bench.report("systolic_memory_s", time.perf_counter() - start, f"{count} layers, step by step, 32 bytes a cycle")


def systolic_stepped(bench: Benchmark, options: Any) -> None:
    """The array that moves numbers against the closed form: cycles, and the product."""
    g = np.random.default_rng(0)
    worst = 0.0
    count = 30 if options.quick else 200
    for k in range(count):
        m, inner, n = (int(v) for v in g.integers(1, 50, 3))
        rows, cols = (int(v) for v in g.integers(1, 17, 2))
        array = SystolicArray(rows, cols, DATAFLOWS[k % 3])
        left, right = g.integers(-99, 99, (m, inner)), g.integers(-99, 99, (inner, n))
        stepped = step_product(array, left, right)
        wanted = array.cycles(m, inner, n)
        wrong = not np.array_equal(stepped.output, left @ right) or stepped.macs != m * inner * n
        worst = max(worst, abs(stepped.cycles - wanted) / wanted, float(wrong))
    bench.report("systolic_stepped_error", worst, f"{count} products, arrays up to 16x16; 1 for a wrong number")


def noc_speed(bench: Benchmark, options: Any) -> None:
    """Packets a second on one core: uniform random traffic at a tenth of a flit per node and cycle, and all at once."""
    n = 20_000 if options.quick else 100_000
    g = np.random.default_rng(0)
    for network in (mesh(8, 8), torus(8, 8)):
        ends = g.integers(0, network.nodes, (2, n))
        for name, load in (("light", 0.1), ("full", None)):
            last = 0 if load is None else int(4 * n / (network.nodes * load))
            arrival = np.sort(g.integers(0, last + 1, n))
            seconds = best(lambda e=ends, a=arrival, v=network: pass_packets(v, e, a), options.quick)
            key = f"noc_{network.name.replace(' ', '_')}_{name}_kpackets_s"
            bench.report(key, n / seconds / 1e3, f"{n} packets of 4 flits")


def pass_packets(network: Network, ends: NDArray[np.int64], arrival: NDArray[np.int64]) -> None:
    noc = Noc(network)
    noc.feed(ends[0], ends[1], 4, arrival)
    noc.drain()


def best(call: Callable[[], object], quick: bool) -> float:
    """CPU seconds of the fastest run; one run before does not count."""
    call()
    seconds = []
    for _ in range(2 if quick else 5):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


SECTIONS: dict[str, Callable[[Benchmark, Any], None]] = {
    "dram": dram,
    "dram_idle": sim_functional.dram_idle,
    "dram_channels": sim_functional.dram_channels,
    "dram_speed": dram_speed,
    "cachegrind": cachegrind,
    "kernel_fills": sim_cachegrind.kernel_fills,
    "pycachesim": pycachesim,
    "cache_speed": cache_speed,
    "sparse": sim_accelerators.sparse,
    "gpu": sim_accelerators.gpu,
    "systolic": systolic,
    "systolic_stepped": systolic_stepped,
    "noc_speed": noc_speed,
    "functional": sim_functional.functional,
    "laws": sim_laws.laws,
    "cached_cpu": sim_cpu.cached_cpu,
}


def main() -> None:
    options = arguments(
        __doc__ or "",
        only={"default": ",".join(SECTIONS), "help": "sections, parted by commas"},
        reference={"type": Path, "default": REFERENCE},
        cached_cpu={"default": "errors,contests", "help": "parts of the section cached_cpu, parted by commas"},
        ramulator={"type": Path, "help": "folder of Ramulator 2.1's Python package, built, to be timed"},
    )
    bench = Benchmark("sim_validation", TARGETS, options.threads)
    for name in options.only.split(","):
        print(f"-- {name}")
        SECTIONS[name](bench, options)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
