"""Laws of simulated runs, each as a figure: a section of :mod:`benchmarks.sim_validation`.

Exact for one cold requester and a memory of bandwidth and latency; through the DRAM part, steps of a whole model within
1 %. Tests draw many more cases (`tests/test_systolic_memory.py`, `test_simulate.py`, `test_sim_laws.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import spcomp
from benchmarks.harness import Benchmark, Target, prune_
from benchmarks.sim_speed import Gpt2Layer
from spcomp.encodings.csr import Csr
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Encoding
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.report.simulated import SimReport
from spcomp.sim.functional import execute
from spcomp.sim.machines import load_machine
from spcomp.sim.parts.dram import Dram, preset
from spcomp.sim.parts.systolic import DATAFLOWS, SystolicArray
from spcomp.sim.parts.systolic_machine import run_layer
from spcomp.sim.parts.systolic_memory import BandwidthMemory
from spcomp.sim.place import Places
from spcomp.sim.replan import replan
from spcomp.sim.topology import Layer
from spcomp.sim.workload import Step, Workload, layer_step
from spcomp.sparsity.measure import measure
from spcomp.workload import workload_of

TARGETS = {
    "law_bytes_over_packed": Target(1, ">="),
    "law_double_bandwidth_exact": Target(1, "<="),
    "law_double_bandwidth_dram": Target(1.01, "<="),
    "law_bounds_exact_broken": Target(0, "<="),
    "law_bounds_dram_broken": Target(0, "<="),
    "law_2_4_macs": Target(0.5, "<="),
    "law_2_4_metadata_bits": Target(2, ">="),
    "law_moved_outputs_wrong": Target(0, "<="),
    "law_index_width_wrong": Target(0, "<="),
    "law_trcd_wrong": Target(0, "<="),
}
ARRAYS = ("systolic_ws", "stc_2_4", "stc_flexible", "dual_side_sparse")


def laws(bench: Benchmark, options: Any) -> None:
    """A layer of GPT-2's shape, 2:4, on four machines; products on a systolic array; single changes."""
    exact(bench, 20 if options.quick else 200)
    whole_models(bench, 64 if options.quick else 256)
    single_changes(bench)


def exact(bench: Benchmark, count: int) -> None:
    g = np.random.default_rng(0)
    worst, broken = 0.0, 0
    for k in range(count):
        m, inner, n = (int(v) for v in g.integers(1, 300, 3))
        array = SystolicArray(8, 8, DATAFLOWS[k % 3])
        layer = Layer("product", m, inner, n)
        slow, fast = (run_layer(array, layer, BandwidthMemory(rate, 20)) for rate in (4, 8))
        worst = max(worst, fast.total_cycles / slow.total_cycles)
        for run in (slow, fast):
            within = max(run.memory_cycles, run.compute_cycles) <= run.total_cycles
            broken += not (within and run.total_cycles <= run.memory_cycles + run.compute_cycles)
    bench.report("law_double_bandwidth_exact", worst, f"most cycles over those at half the rate, {count} products")
    bench.report("law_bounds_exact_broken", broken, "runs outside max(memory, compute) .. memory + compute")


def whole_models(bench: Benchmark, width: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Gpt2Layer(width, 4), Gpt2Layer(width, 4)).eval()
    prune_(model, 0.5, "2:4")
    x = torch.randn(1, 64, width)
    dense = workload_of(spcomp.compile(model, x, policy="off", engine="eager", guard=False).parts, [x])
    least, slower, broken = float("inf"), 0.0, 0
    for name in ARRAYS:
        machine = load_machine(name)
        workload, _ = replan(dense, machine)
        report = spcomp.simulate(workload, machine)
        least = min(least, read_over_packed(workload, report, name))
        broken += sum(outside(s) for s in report.steps)
        calm = {"dram.refresh": "none"}
        channels = 2 * machine.dram.channels  # type: ignore[union-attr]
        once, twice = (spcomp.simulate(workload, machine, **calm, **more) for more in ({}, {"dram.channels": channels}))
        slower = max(slower, *(b.cycles / a.cycles for a, b in zip(once.steps, twice.steps, strict=True)))
        if name == "stc_2_4":
            two_of_four(bench, dense, workload, report)
    bench.report("law_bytes_over_packed", least, f"least of layers on {', '.join(ARRAYS)}, from cold")
    bench.report("law_double_bandwidth_dram", slower, "most cycles of a step over those with half the channels")
    bench.report("law_bounds_dram_broken", broken, "steps outside max(memory, compute) .. memory + compute")


def read_over_packed(workload: Workload, report: SimReport, name: str) -> float:
    """Bytes that came from DRAM over the bytes of packed weight and input, the least of all layers."""
    machine = load_machine(name)
    section = machine.systolic or machine.mac_array
    places = Places.of(workload, section.word_bytes)  # type: ignore[union-attr]
    least = float("inf")
    for step, found in zip(workload.steps, report.steps, strict=True):
        if step.call is not None:
            unique = sum(places.weight_bytes(step).values()) + places.nbytes(step.reads[0])
            least = min(least, found.read_bytes["dram"] / unique)
    return least


def outside(step: Any) -> bool:
    """A hundredth of slack, as memory is the DRAM part."""
    memory = max(step.memory_cycles.values(), default=0)
    low, high = max(step.compute_cycles, memory), step.compute_cycles + sum(step.memory_cycles.values())
    return bool(step.cycles < low * 0.99 or step.cycles > high * 1.01)


def two_of_four(bench: Benchmark, dense: Workload, sparse: Workload, report: SimReport) -> None:
    whole = {s.name: s for s in spcomp.simulate(dense, "stc_2_4").steps}
    pairs = [(whole[s.name], s, step) for step, s in zip(sparse.steps, report.steps, strict=True) if step.call]
    macs = [s.executed_macs / d.executed_macs for d, s, _ in pairs]
    bits = [8 * s.metadata_bytes / (step.n * step.k / 2) for _, s, step in pairs]
    if max(macs) != min(macs) or max(bits) != min(bits):
        raise AssertionError(f"2:4 layers differ: products {macs}, bits {bits}")
    bench.report("law_2_4_macs", macs[0], f"of the dense products, {len(pairs)} layers")
    bench.report("law_2_4_metadata_bits", bits[0], "of each entry that stays")


def made(weight: torch.Tensor, encoding: Encoding, m: int) -> Step:
    """A layer of ``weight`` [N, K] on ``m`` rows."""
    n, k = weight.shape
    packed = pack(weight, encoding, measure(weight))
    nonzeros = int((weight != 0).sum())
    call = KernelCall(
        "fc",
        0,
        RowRange(1, None),
        n,
        k,
        "float32",
        encoding,
        nonzeros,
        nonzeros,
        packed.nbytes,
        "w",
        Epilogue(),
        "",
        "",
        (("tiles", 2),),
    )
    return layer_step(call, m, "x", "y", dict(packed.arrays()))


def moved_nonzero(name: str, seed: int) -> list[str]:
    """What is wrong when a nonzero goes to the next column, in a window of its own row: nothing, by name."""
    g = np.random.default_rng(seed)
    weight = torch.from_numpy(np.where(g.random((96, 256)) < 0.3, g.standard_normal((96, 256)), 0.0)).float()
    row = int(g.integers(96))
    weight[row, :2] = torch.tensor([1.5, 0.0])
    other = weight.clone()
    other[row, :2] = torch.tensor([0.0, 1.5])
    x = g.standard_normal((40, 256)) + 5
    machine = load_machine(name)
    steps = [made(w, Csr(256), 40) for w in (weight, other)]
    before, after = (execute(machine, step, x) for step in steps)
    changed = np.flatnonzero((before.output != after.output).any(axis=0)).tolist()
    one, two = (spcomp.simulate(Workload((step,), ""), machine) for step in steps)
    wrong = [] if changed == [row] else [f"rows {changed} changed, not {row}"]
    wrong += [] if before.macs == after.macs else ["multiplications"]
    wrong += [] if one.steps[0].read_bytes == two.steps[0].read_bytes else ["bytes"]
    return wrong


def index_width(name: str) -> list[str]:
    """What is wrong when columns are stored in 16 bits instead of 8: only a byte a nonzero may be added."""
    g = np.random.default_rng(3)
    weight = torch.from_numpy(np.where(g.random((96, 256)) < 0.3, g.standard_normal((96, 256)), 0.0)).float()
    nonzeros = int((weight != 0).sum())
    x = g.standard_normal((40, 256))
    machine = load_machine(name)
    steps = [made(weight, Csr(columns), 40) for columns in (256, 512)]
    narrow, wide = (execute(machine, step, x) for step in steps)
    wrong = [] if np.array_equal(narrow.output, wide.output) else ["outputs"]
    wrong += [] if narrow.macs == wide.macs else ["multiplications"]
    wrong += [] if steps[1].weight_nbytes - steps[0].weight_nbytes == nonzeros else ["packed bytes"]
    one, two = (spcomp.simulate(Workload((step,), ""), machine).steps[0] for step in steps)
    passes = (two.metadata_bytes - one.metadata_bytes) / nonzeros
    if name != "cached_cpu":
        wrong += [] if passes == 1 else [f"metadata of {passes} passes"]
    more = two.read_bytes["dram"] - one.read_bytes["dram"]
    # prefetchers of a core run past the ends of buffers: within 1 %
    slack = one.read_bytes["dram"] // 100 if name == "cached_cpu" else 128
    wrong += [] if abs(more - nonzeros) <= slack else [f"{more} bytes from memory for {nonzeros}"]
    wrong += [] if two.executed_macs == one.executed_macs else ["products"]
    return wrong


def later_rows(clocks: int) -> list[int]:
    """Cycles by which each of five lone reads ends later if tRCD is ``clocks`` longer; two of them open rows."""
    base = preset("DDR4_2400R").with_settings({"refresh": "none"})
    row = base.banks_per_channel * base.columns * 64
    ends = []
    for config in (base, base.with_settings({"tRCD": base.timing["RCD"] + clocks})):
        memory = Dram(config)
        memory.feed([0, 64, 128, row, row + 64], arrival_fs=np.arange(5) * 10**9)
        ends.append(memory.drain().completion_cycle)
    return [int(v) for v in ends[1] - ends[0]]


def single_changes(bench: Benchmark) -> None:
    wrong = 0
    for name in ("stc_flexible", "dual_side_sparse", "cached_cpu"):
        found = [text for seed in range(5) for text in moved_nonzero(name, seed)]
        wrong += len(found)
        print(f"  a moved nonzero on {name}: {found or 'its row alone'}")
    bench.report("law_moved_outputs_wrong", wrong, "outputs, products or bytes that should not have moved")
    wide = {name: index_width(name) for name in ("stc_flexible", "dual_side_sparse", "cached_cpu")}
    print(f"  indices of 16 bits: {wide}")
    bench.report("law_index_width_wrong", sum(map(len, wide.values())), "a byte a nonzero and nothing else")
    bench.report("law_trcd_wrong", sum(a != b for a, b in zip(later_rows(4), (4, 0, 0, 4, 0), strict=True)), "reads")
