"""What machines compute against the reference, and the idle latency of memories: sections of
:mod:`benchmarks.sim_validation`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Benchmark, Target
from spcomp.check import relative_error
from spcomp.codegen.reference.backend import linear
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Encoding
from spcomp.encodings.table import parse_encoding
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.sim.functional import execute
from spcomp.sim.machines import MACHINES, load_machine
from spcomp.sim.parts.dram import Dram, preset, presets
from spcomp.sim.workload import layer_step
from spcomp.sparsity.measure import measure

TARGETS = {
    "functional_error": Target(1e-12, "<="),
    "functional_macs_error": Target(0, "<="),
    "dram_idle_latency_error": Target(0, "<="),
    "dram_more_channels": Target(1, "<="),
    "dram_lone_read_spread": Target(0, "<="),
}
PARAMETERS = {"nm": "nm(n=1, m=8)", "block": "block(rows=8, cols=8)", "window": "window(width=64)"}
"""Of encodings that a machine runs with any."""
LATER = {"HBM2": 1, "HBM3": 2}
"""Cycles (of HBM3 half clocks) beyond RCD + CL + BL, by standard: an activation takes more than one to send."""


def functional(bench: Benchmark, options: Any) -> None:
    """Every encoding on every machine that accepts it: outputs against the reference, multiplications by nonzeros."""
    n, k, m = (48, 64, 20) if options.quick else (200, 320, 70)
    worst, wrong, pairs = 0.0, 0, 0
    for name in MACHINES:
        machine = load_machine(name)
        for text in machine.encodings.runs:
            encoding = parse_encoding(PARAMETERS.get(text, text))
            weight = drawn(encoding, n, k)
            packed = pack(weight, encoding, measure(weight))
            nonzeros = int((weight != 0).sum())
            call = KernelCall(
                "fc", 0, RowRange(1, None), n, k, "float32", encoding, nonzeros, nonzeros, packed.nbytes, "w",
                Epilogue(), "", "",
            )  # fmt: skip
            x = np.random.default_rng(1).standard_normal((m, k))
            done = execute(machine, layer_step(call, m, "x", "y", dict(packed.arrays())), x)
            wanted = linear(torch.from_numpy(x), weight, None, "none")
            error = relative_error(torch.from_numpy(np.ascontiguousarray(done.output)), wanted)
            print(f"  {name:<18} {text:<16} error {error:.1e}  products {done.macs} nonzeros x rows {m * nonzeros}")
            worst, wrong, pairs = max(worst, error), wrong + (done.macs != m * nonzeros), pairs + 1
    bench.report("functional_error", worst, f"{pairs} pairs of machine and encoding against codegen/reference")
    bench.report("functional_macs_error", wrong, "pairs whose multiplications are not the nonzeros times rows")


def drawn(encoding: Encoding, n: int, k: int) -> torch.Tensor:
    """[n, k]: a quarter nonzero, or as an N:M has them."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n, k, generator=generator)
    kept = torch.rand(n, k, generator=generator) < (1.0 if encoding == Dense() else 0.25)
    if isinstance(encoding, Nm):
        kept = (torch.arange(k) % encoding.m < encoding.n).expand(n, k)
    return torch.where(kept, weight, 0.0)


def dram_idle(bench: Benchmark, options: Any) -> None:
    """One read of a closed row, long after anything else; LPDDR5 with its data clock running."""
    worst = 0
    for name in presets():
        config = preset(name).with_settings({"refresh": "none", "clock_sync": False})
        memory = Dram(config)
        memory.feed([4096], arrival_fs=[10**9])
        found, ticks = memory.drain().read_latency_cycles, config.standard.ticks_per_clock
        wanted = sum(config.timing[part] for part in ("RCDRD", "CL", "BL")) * ticks
        later = LATER.get(config.standard.name, 0)
        print(f"  {name:<12} ours {found} cycles, RCD + CL + BL {wanted}, sending the activation {later}")
        worst = max(worst, abs(found - wanted - later))
    bench.report("dram_idle_latency_error", worst, f"cycles off RCD + CL + BL (HBM: {LATER} more), of {len(presets())}")


def dram_channels(bench: Benchmark, options: Any) -> None:
    """All presets with 1, 2 and 8 channels: more never cost cycles, and lone reads take what they take of one."""
    n = 2_000 if options.quick else 20_000
    g = np.random.default_rng(5)
    traces = {"stream": np.arange(n) * 64, "random": g.integers(0, 1 << 24, n) * 64}
    worst, spread = 0.0, 0
    for name in presets():
        calm = preset(name).with_settings({"row_policy": "closed", "refresh": "none", "clock_sync": False})
        lone = set()
        taken: dict[str, list[int]] = {kind: [] for kind in traces}
        for channels in (1, 2, 8):
            for kind, addresses in traces.items():
                memory = Dram(preset(name).with_settings({"channels": channels}))
                memory.feed(addresses)
                taken[kind].append(memory.drain().cycles)
            slow = Dram(calm.with_settings({"channels": channels}))
            slow.feed(traces["random"][:64], arrival_fs=np.arange(64) * 10**9)
            done = slow.drain()
            lone |= set((done.completion_cycle - done.accept_cycle).tolist())
        worst = max(worst, *(after / before for t in taken.values() for before, after in itertools.pairwise(t)))
        spread = max(spread, max(lone) - min(lone))
        print(f"  {name:<12} cycles with 1, 2, 8 channels {taken}, lone reads {sorted(lone)}")
    bench.report("dram_more_channels", worst, f"most cycles over those with fewer channels, {len(presets())} presets")
    bench.report("dram_lone_read_spread", spread, "cycles between lone reads at 1 to 8 channels")
