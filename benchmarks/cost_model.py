"""Predicted against measured time of single kernels: what the cost model is worth on this machine.

python -m benchmarks.cost_model [--quick] [--each N] [--seed S] [--cold] [--threads N] [--json FILE]

Keys are families: median and 90th percentile of ``|predicted / measured - 1|``. The model's constants were taken from
cases drawn with seed 5, those of held-out families and shapes left out (see :mod:`benchmarks.cost_cases`); the default
seed draws others, and ``held_out_*`` covers of these the families and shapes that no constant knows. The table has a
line for each case: family, shape, rows, zeros, predicted and measured microseconds, error.

Measured is the least of runs spread over several seconds, in time of the thread (``CLOCK_THREAD_CPUTIME_ID``), as the
host's peaks are: other work on the machine only ever adds time, and waiting for a core is no property of a kernel. Hot:
each timed run follows another of the same kernel. ``--cold``: 96 MB of other memory are read before each.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

from benchmarks.cost_cases import FAMILIES, CostCase, cost_cases
from benchmarks.harness import Benchmark, Target, arguments
from spcomp.codegen.probe import probe
from spcomp.cost.analytic import CostModel
from spcomp.plan import KernelCall
from spcomp.targets.host import host_cpu
from spcomp.targets.peaks import host_peaks

EACH = 14
BATCH = 28
"""Kernels that are timed in turns."""
ROUNDS = 20
BURST_SECONDS = 1e-3
"""Runs under this time are timed several together."""
COLD_BYTES = 96 << 20
TARGETS = {
    "median": Target(0.15, "<="),
    "p90": Target(0.35, "<="),
    "held_out_median": Target(0.15, "<="),
    "held_out_p90": Target(0.35, "<="),
}


@dataclass(frozen=True)
class Measured:
    """One case: what the model is asked, and seconds as measured."""

    case: CostCase
    call: KernelCall
    seconds: float


def measured(cases: list[CostCase], *, cold: bool = False, rounds: int = ROUNDS) -> Iterator[Measured]:
    """Build and time the cases, batch by batch; families are mixed, so that a busy minute hits all alike."""
    mixed = random.Random(0).sample(cases, len(cases))
    generator = torch.Generator().manual_seed(0)
    flush = torch.ones(COLD_BYTES // 4) if cold else None
    for start in range(0, len(mixed), BATCH):
        batch = mixed[start : start + BATCH]
        made = [case.made(generator) for case in batch]
        times: list[list[float]] = [[] for _ in batch]
        for _ in range(rounds):
            for (_, run), found in zip(made, times, strict=True):
                found.append(timed(run, flush))
        for case, (call, _), found in zip(batch, made, times, strict=True):
            yield Measured(case, call, min(found))


def timed(run: Callable[[], object], flush: torch.Tensor | None) -> float:
    """Seconds of one run, after another or after other memory was read."""
    repeats = 1
    if flush is not None:
        flush.sum()
    else:
        begin = time.thread_time()
        run()
        repeats = max(1, min(50, int(BURST_SECONDS / (time.thread_time() - begin + 1e-9))))
    begin = time.thread_time()
    for _ in range(repeats):
        run()
    return (time.thread_time() - begin) / repeats


def report(bench: Benchmark, model: CostModel, found: list[Measured], *, cold: bool) -> None:
    """The table, and the errors of each family and of all."""
    cold_bytes = COLD_BYTES if cold else 0
    print(f"{'family':<14} {'shape':<12} {'M':>5} {'zeros':>6} {'predicted us':>13} {'measured us':>12} {'error':>7}")
    errors: dict[str, list[float]] = {family.name: [] for family in FAMILIES}
    held = []
    for item in sorted(found, key=lambda i: (i.case.family.name, i.case.shape, i.case.m)):
        call, m = item.call, item.case.m
        predicted = model.seconds(call, m, cold_bytes=cold_bytes)
        error = predicted / item.seconds - 1
        errors[item.case.family.name].append(error)
        held += [error] * item.case.held_out
        zeros = 1 - call.nonzeros / (call.n * call.k)
        print(
            f"{item.case.family.name:<14} {call.n:>5}x{call.k:<6} {m:>5} {zeros:>6.0%} {1e6 * predicted:>13.1f} "
            f"{1e6 * item.seconds:>12.1f} {error:>+7.0%}   {call.encoding}"
        )
        details = {"predicted_us": 1e6 * predicted, "measured_us": 1e6 * item.seconds, "error": error}
        bench.details[item.case.key] = {name: float(f"{value:.4g}") for name, value in details.items()}
    every = list(itertools.chain.from_iterable(errors.values()))
    for label, group in [*errors.items(), ("held_out", held), ("", every)]:
        if group:
            key = f"{label.replace(' ', '_')}_" if label else ""
            size = np.abs(group)
            bench.report(f"{key}median", float(np.median(size)), f"of {len(group)}; bias {np.median(group):+.0%}")
            bench.report(f"{key}p90", float(np.quantile(size, 0.9)))


def main() -> None:
    options = arguments(
        __doc__ or "",
        each={"type": int, "default": EACH, "help": "cases of each family"},
        seed={"type": int, "default": 6, "help": "another one draws other cases; constants are from 5"},
        cold={"action": "store_true", "help": "read other memory before each run"},
    )
    bench = Benchmark("cost_model", TARGETS, options.threads)
    each = 2 if options.quick else options.each
    cases = [c for c in cost_cases(each, options.seed) if not options.quick or c.shape[0] * c.shape[1] <= 3072 * 768]
    with torch.no_grad():
        model = CostModel(host_cpu(), host_peaks(Path(mkdtemp()), probe))
        found = list(measured(cases, cold=options.cold, rounds=7 if options.quick else ROUNDS))
        report(bench, model, found, cold=options.cold)
    bench.notes["peaks"] = str(model.peaks)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
