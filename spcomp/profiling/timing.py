"""Interleaved timing: every callable once a round, in one process; ratios of neighbouring runs with bounds."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of one callable: all runs, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range over median."""
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low) / self.median


@dataclass(frozen=True)
class Ratio:
    """How many times faster B is than A: median of neighbouring runs' ratios, and its lower 95 % bound."""

    value: float
    lower: float


def interleave(
    work: Mapping[str, Work],
    *,
    rounds: int = 15,
    warmup: int = 2,
    flush: Callable[[], None] | None = None,
    inner: int = 1,
    hot: bool = False,
) -> dict[str, Timing]:
    """Run every callable once a round, in an order that is drawn anew every round; ``inner`` calls are timed together.

    A fixed order would favour whoever runs after something small that leaves the caches alone.

    ``flush`` runs before each, for cold caches; ``hot`` runs the callable itself once untimed before each, as a server
    does that runs one model. With neither, what the neighbour left in the caches decides small differences.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    order = random.Random(0)
    for round_ in range(rounds + warmup):
        for name, run in order.sample(list(work.items()), len(work)):
            if flush is not None:
                flush()
            if hot:
                run()
            start = time.perf_counter()
            for _ in range(inner):
                run()
            if round_ >= warmup:
                times[name].append((time.perf_counter() - start) / inner)
    return {name: Timing(tuple(t)) for name, t in times.items()}


def interleave_for(work: Mapping[str, Work], seconds: float, *, least: int = 5, most: int = 201) -> dict[str, Timing]:
    """:func:`interleave` for about ``seconds`` in all, with hot caches: calls under 2 ms are timed several at once, and
    there are as many rounds as fit, from ``least`` to ``most``. Calls over 100 ms get no untimed run before each."""
    once = {name: timing.median for name, timing in interleave(work, rounds=1, warmup=1).items()}
    hot = max(once.values()) < 0.1
    inner = max(1, min(50, int(2e-3 / max(once.values()))))
    rounds = max(least, min(most, int(seconds / ((inner + hot) * sum(once.values())))))
    return interleave(work, rounds=rounds, warmup=0, inner=inner, hot=hot)


def ratio(slow: Timing, fast: Timing, *, seed: int = 0) -> Ratio:
    """``slow / fast`` run by run; the lower bound is the 2.5th percentile of bootstrapped medians."""
    pairs = np.array(slow.seconds) / np.array(fast.seconds)
    g = np.random.default_rng(seed)
    medians = np.median(g.choice(pairs, (1000, len(pairs))), axis=1)
    return Ratio(float(np.median(pairs)), float(np.percentile(medians, 2.5)))
