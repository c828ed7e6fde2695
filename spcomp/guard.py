"""The whole-model guard: is the compiled model really not slower than the same program with best dense kernels?

Both run the same compiled graph with different kernel tables. Each timed run follows an untimed one of the same kind,
so that a server's state of the caches is what is timed, and the two take turns in going first. Other work on the
machine only ever adds time, so lower quartiles are compared; but it adds more to some kernels than to others, so
medians are too, and the worse of both counts. A verdict that is not clearly good is looked at again, longer, before it
is believed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from spcomp import ops
from spcomp.check import relative_error
from spcomp.parts import Parts, Program
from spcomp.writes import written

log = logging.getLogger("spcomp")

MARGIN = 1.0
"""Compiled over dense may not be below this: the promise is 0.97, clocks are noisy."""
GOOD = 1.05
"""From here on one look is enough."""
ROUNDS = (7, 31)
"""Least pairs of runs at the first and at the second look."""
SECONDS = (0.05, 0.3)
"""Short runs are paired for so long."""
MOST_ROUNDS = 300
SHARES = (0.25, 0.5)
"""Quantiles that are compared."""
SAME = 1e-4
"""Relative difference that two orders of float32 operations may show over a whole model."""
CLEAR = (3, 1.2)
"""After so many pairs a look ends early, if every run of ours took less than any of theirs by this factor."""


def slowest_speedup(
    parts: Parts,
    dense: ops.KernelTable,
    inputs: Sequence[Sequence[Any]],
    dense_programs: Sequence[Program] | None = None,
) -> tuple[float, list[float]]:
    """The least speed-up over ``dense`` and the speed-up of every program, on these flat inputs.

    ``dense_programs``: what the dense kernels run in, if it is not the programs of ``parts``.
    """
    rivals = parts.programs if dense_programs is None else dense_programs
    found = [
        speedup(parts.tensors, (program, parts.table), (rival, dense), flat)
        for program, rival, flat in zip(parts.programs, rivals, inputs, strict=True)
    ]
    return min(found, default=1.0), found


Side = tuple[Program, ops.KernelTable]
"""A program and the kernels that it runs with."""


def agree(tensors: Mapping[str, torch.Tensor], ours: Side, theirs: Side, flat: Sequence[Any]) -> bool:
    """Whether both give the same results on these flat inputs and write the same, but for rounding."""
    found = []
    for program, table in (theirs, ours):
        writes = {name: tensors[name].clone() for name in sorted(written(program))}
        given = [writes.get(name, tensors[name]) for name in program.lifted]
        with torch.no_grad(), ops.active(table):
            found.append([*program.run(*given, *flat), *writes.values()])
    pairs = [(a, b) for a, b in zip(*found, strict=True) if isinstance(a, torch.Tensor) and a.is_floating_point()]
    if any(a.shape != b.shape or relative_error(b, a.double()) > SAME for a, b in pairs):
        log.warning("a program that was laid out otherwise gave other results and is not used")
        return False
    return True


def speedup(
    tensors: Mapping[str, torch.Tensor],
    ours: Side,
    theirs: Side,
    flat: Sequence[Any],
) -> float:
    """How many times faster our program with our kernels is than theirs with theirs."""
    run = _timer(tensors, (ours, theirs), flat)
    pair = 2 * (run(ours) + run(theirs))
    value = 1.0
    for least, seconds in zip(ROUNDS, SECONDS, strict=True):
        rounds = max(least, min(MOST_ROUNDS, int(seconds / pair)))
        times: dict[bool, list[float]] = {True: [], False: []}
        for i in range(rounds):
            for mine in (True, False) if i % 2 else (False, True):
                times[mine].append(run(ours if mine else theirs))
            if i + 1 >= CLEAR[0] and min(times[False]) > CLEAR[1] * max(times[True]):
                break
        value = float(np.min(np.quantile(times[False], SHARES) / np.quantile(times[True], SHARES)))
        if value >= GOOD:
            break
    return value


def paired_speedup(tensors: Mapping[str, torch.Tensor], ours: Side, theirs: Side, flat: Sequence[Any]) -> float:
    """The same for two of which neither is to be doubted more: the median over neighbouring runs of both."""
    run = _timer(tensors, (ours, theirs), flat)
    pair = 2 * (run(ours) + run(theirs))
    ratios: list[float] = []
    for i in range(max(ROUNDS[1], min(MOST_ROUNDS, int(SECONDS[1] / pair)))):
        sides = (ours, theirs) if i % 2 else (theirs, ours)
        first, second = map(run, sides)
        ratios.append(second / first if i % 2 else first / second)
        if i + 1 >= ROUNDS[0] and min(ratios) > GOOD:
            break
    return float(np.median(ratios))


def _timer(tensors: Mapping[str, torch.Tensor], sides: Sequence[Side], flat: Sequence[Any]) -> Callable[[Side], float]:
    """Runs a side twice on memory of its own where it writes, and says how long the second run took."""
    state = {name: tensors[name] for program, _ in sides for name in program.lifted}
    state |= {name: tensors[name].clone() for program, _ in sides for name in written(program)}
    gpus = {str(t.device) for t in (*state.values(), *flat) if isinstance(t, torch.Tensor) and t.is_cuda}

    def run(side: Side) -> float:
        program, table = side
        given = [state[name] for name in program.lifted]
        for _ in range(2):
            start = time.perf_counter()
            with torch.no_grad(), ops.active(table):
                program.run(*given, *flat)
            for gpu in gpus:
                torch.cuda.synchronize(gpu)
        return time.perf_counter() - start

    run(sides[0])
    return run
