"""The machine `cached_cpu` against this host: simulated and measured time of our kernels, and how fast it simulates.

A section of :mod:`benchmarks.sim_validation`. Cases are those of :mod:`benchmarks.cost_cases` whose accesses are
modelled, and for some weights and row counts all encodings that fit, of which the fastest is to be named. The
machine's numbers are microbenchmarks of this host (:mod:`spcomp.codegen.probe`); one constant is calibrated: the
share of a bandwidth that streams of weights reach, from dense gemv and nm tokens, so that all other families are held
out; ``held_out_*`` are those that no constant of the cost model knows.

Hot: the second of two runs is simulated. Measured is time of the thread, of runs spread over some seconds, in
two ways: the least; and (``_steady``) the median over runs of time in units of a loop of multiply-adds timed right
before and after, times the best that loop has done, since neighbours on a shared host halve what a core
does for minutes on end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from benchmarks.cost_cases import FAMILIES, HELD_OUT, CostCase, cost_cases
from benchmarks.cost_model import timed
from benchmarks.harness import Benchmark, Target
from benchmarks.weights import mask
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.probe import CHAINS, fma_text, probe
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Encoding
from spcomp.plan import KernelCall
from spcomp.sim.cpu import CpuState, CpuStep, run_call
from spcomp.sim.machines.measured import measured_machine
from spcomp.sim.machines.schema import Machine
from spcomp.sim.workload import Workload, layer_step
from spcomp.sparsity.measure import measure
from spcomp.targets.host import host_cpu
from spcomp.targets.peaks import Peaks, host_peaks

MODELLED = (
    "csr", "sorted csr", "block 8x1", "block 4x4", "block 8x8", "block 16x16", "nm tiles", "nm tokens", "window",
    "bitmap", "dense onednn", "dense gemv",
)  # fmt: skip
BATCH, ROUNDS = 16, 12
TARGETS = {
    "cached_cpu_median": Target(0.15, "<="),
    "cached_cpu_p90": Target(0.35, "<="),
    "cached_cpu_held_out_median": Target(0.15, "<="),
    "cached_cpu_held_out_p90": Target(0.35, "<="),
    "cached_cpu_fastest_named": Target(0.85),
    "cached_cpu_maccess_s": Target(20),
}


def arrays(case: CostCase, seed: int) -> dict[str, Any]:
    """The packed bytes of the weight that ``case.made`` draws from a generator of this seed."""
    if case.encoding is None:
        return {}
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(case.shape, generator=generator)
    weight = torch.where(mask(case.shape, case.pattern, generator), weight, 0.0).to(case.family.dtype)
    return dict(pack(weight, case.encoding, measure(weight)).arrays())


def simulated(call: KernelCall, m: int, packed: dict[str, Any], machine: Machine) -> tuple[CpuStep, float]:
    """The second of two runs, and millions of accesses a second."""
    step = layer_step(call, m, "x", "y", packed)
    places, state = Workload((step,), "").places(), CpuState(machine)
    run_call(step, machine, places, state)
    start = time.thread_time()
    found = run_call(step, machine, places, state)
    return found, found.accesses / (time.thread_time() - start) / 1e6


@dataclass(frozen=True)
class Compared:
    """A case, its least seconds, its seconds by the control, and what was simulated."""

    case: CostCase
    seconds: float
    steady: float
    step: CpuStep


def compared(cases: list[CostCase], machine: Machine, peaks: Peaks, rounds: int) -> Iterator[Compared]:
    """Families are mixed, so that a busy minute hits all alike."""
    control, numbered = Control(peaks), list(enumerate(cases))
    random.Random(0).shuffle(numbered)
    for start in range(0, len(numbered), BATCH):
        batch = numbered[start : start + BATCH]
        made = [case.made(torch.Generator().manual_seed(seed)) for seed, case in batch]
        times: list[list[tuple[float, float]]] = [[] for _ in batch]
        for _ in range(rounds):
            for (_, run), found in zip(made, times, strict=True):
                before, seconds = control(), timed(run, None)
                found.append((seconds, seconds / (0.5 * (before + control()))))
        for (seed, case), (call, _), found in zip(batch, made, times, strict=True):
            steady = float(np.median([ratio for _, ratio in found])) * control.best
            step = simulated(call, case.m, arrays(case, seed), machine)[0]
            yield Compared(case, min(seconds for seconds, _ in found), steady, step)


class Control:
    """Seconds of a loop of multiply-adds now; ``best``: at the rate that the peaks know."""

    steps = 10_000

    def __init__(self, peaks: Peaks) -> None:
        (self._loop,) = jit.compile_all([("fma", fma_text(), 1, 1)])
        self._sums = torch.zeros(LANES * CHAINS)
        self.best = 2 * self.steps * CHAINS * LANES / (1e9 * peaks.gflops)

    def __call__(self) -> float:
        start = time.thread_time()
        self._loop.call(self._sums.data_ptr(), self.steps)
        return time.thread_time() - start


def contests(quick: bool) -> list[list[CostCase]]:
    """For weights and row counts, a case of every family that could run them."""
    names = {f.name: f for f in FAMILIES}
    shapes = ((768, 768),) if quick else ((768, 768), (3072, 768), (1024, 1024))
    found = []
    for shape in shapes:
        for pattern in ("u50", "u75", "u90", "u95", "b8x1_75", "b8x1_90", "b16x16_90", "nm24", "nm14"):
            for m in (1, 8, 32, 128) if not quick else (8, 128):
                rivals = [CostCase(names["dense onednn"], shape, m, pattern, None)]
                for family in MODELLED[:-2]:
                    if m not in names[family].rows:
                        continue
                    for encoding in _fitting(family, pattern, m):
                        rivals.append(CostCase(names[family], shape, m, pattern, encoding))
                found.append(rivals)
    return found


def _fitting(family: str, pattern: str, m: int) -> list[Encoding]:
    offered = next(f for f in FAMILIES if f.name == family)
    if family.startswith("nm"):
        wanted = {"nm24": "nm(n=2, m=4)", "nm14": "nm(n=1, m=4)"}.get(pattern)
        return [e for e in offered.encodings if str(e) == wanted]
    if family.startswith("block"):
        return (
            list(offered.encodings)
            if pattern.startswith("b") and pattern.split("_")[0] == family.replace("block ", "b")
            else []
        )
    if family == "bitmap" and pattern not in ("u50", "u75", "nm24"):
        return []
    return list(offered.encodings[:2])


def cached_cpu(bench: Benchmark, options: Any) -> None:
    """Errors by family, held-out ones apart; the fastest of all encodings; accesses a second."""
    with torch.no_grad():
        peaks = host_peaks(Path(mkdtemp()), probe)
        machine = measured_machine(peaks, host_cpu())
        each, rounds = (1, 5) if options.quick else (10, ROUNDS)
        cases = [c for c in cost_cases(each, 6) if c.family.name in MODELLED]
        if options.quick:
            cases = [c for c in cases if c.shape[0] * c.shape[1] * c.m <= 768 * 3072 * 128]
        found = list(compared(cases, machine, peaks, rounds))
        for item in found:
            cycle = machine.cycle_fs * 1e-15
            errors = [item.step.cycles * cycle / s - 1 for s in (item.seconds, item.steady)]
            print(
                f"  {item.case.key:<64} {1e6 * item.seconds:>9.1f} us {errors[0]:>+5.0%} {errors[1]:>+5.0%} steady; "
                f"{item.step.cycles} cycles, work {item.step.compute_cycles}, {dict(item.step.stalls)}"
            )
        _errors(bench, machine, found, "cached_cpu", lambda item: item.seconds)
        _errors(bench, machine, found, "cached_cpu_steady", lambda item: item.steady)
        _fastest(bench, machine, peaks, options.quick, rounds)
        _speed(bench, machine)


def _errors(
    bench: Benchmark, machine: Machine, found: list[Compared], name: str, measured: Callable[[Compared], float]
) -> None:
    errors = [(i.case.family.name, i.step.cycles * machine.cycle_fs * 1e-15 / measured(i) - 1) for i in found]
    groups = {family: [e for f, e in errors if f == family] for family in MODELLED}
    groups |= {"held_out": [e for f, e in errors if f in HELD_OUT], "": [e for _, e in errors]}
    for label, group in groups.items():
        if group:
            key = f"{name}_{label.replace(' ', '_')}_" if label else f"{name}_"
            note = f"of {len(group)}; bias {np.median(group):+.0%}; under load"
            bench.report(f"{key}median", float(np.median(np.abs(group))), note)
            bench.report(f"{key}p90", float(np.quantile(np.abs(group), 0.9)))


def _fastest(bench: Benchmark, machine: Machine, peaks: Peaks, quick: bool, rounds: int) -> None:
    named, near, total = 0, 0, 0
    for rivals in contests(quick):
        if len(rivals) < 2:
            continue
        found = list(compared(rivals, machine, peaks, rounds))
        picked, best = min(found, key=lambda f: f.step.cycles), min(found, key=lambda f: f.seconds)
        total += 1
        named += picked is best
        near += picked.seconds <= 1.1 * best.seconds
        ours, theirs = (f.case.encoding or "dense" for f in (picked, best))
        where = f"{best.case.shape} M={best.case.m} {best.case.pattern}"
        print(f"  {where}: {theirs}; named {ours}, {picked.seconds / best.seconds:.2f}")
    bench.report("cached_cpu_fastest_named", named / total, f"of {total} weights and row counts; under load")
    bench.report("cached_cpu_within_10_percent", near / total, "time of the one that was named against the fastest")


def _speed(bench: Benchmark, machine: Machine) -> None:
    case = next(c for c in cost_cases(14, 6) if c.family.name == "csr" and c.m == 128)
    case = replace(case, shape=(768, 768), pattern="u90")
    call, _ = case.made(torch.Generator().manual_seed(0))
    rates = [simulated(call, case.m, arrays(case, 0), machine)[1] for _ in range(5)]
    bench.report("cached_cpu_maccess_s", max(rates), f"{case.key}, streams, caches and time")
