"""What two threads gain where nothing is shared but the machine, and when the machine has two cores for them.

A host may run a guest's two processors on one core for a while, and on two a moment later: multiply-adds of two
threads, 5 ms after 5 ms, gain 1.15 to 1.2 for a second and 1.8 to 1.9 for the next. A run of several threads is only
worth comparing if they had cores of their own, so short loops of multiply-adds just before and just after it say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from benchmarks.harness import Benchmark, interleave, ratio
from benchmarks.reading import multiplier, multiply_text, reader
from spcomp.codegen.mlir_cpu import jit, parallel

KINDS = {"multiply": 0, "read_l3": 1 << 24, "read_memory": 1 << 28}
"""Bytes that each thread reads, again and again; 0: registers are multiplied. Calls of less than half a millisecond
would wait for each other in Python."""
OWN_CORES = 1.6
"""What two threads of multiply-adds gain at least where each has a core."""
PROBE_TURNS = 40_000
"""Of a loop of multiply-adds: a fifth of a millisecond."""
WORK_BYTES = 1 << 28
MULTIPLICATIONS = 8


def host_scaling(bench: Benchmark, rest_seconds: float, *, rounds: int = 21) -> None:
    """``threads2_host_multiply`` and so on: two shares of work one after the other over both at once, 10 to 25 ms
    each, after as much rest as models get. Not more than this is to be had from two threads here."""
    with ThreadPoolExecutor(2) as pool:
        for kind, nbytes in KINDS.items():
            shares = [_share(nbytes) for _ in range(2)]

            def one(shares: Sequence[Callable[[], None]] = shares) -> None:
                for share in shares:
                    share()

            def two(shares: Sequence[Callable[[], None]] = shares) -> None:
                for done in [pool.submit(share) for share in shares]:
                    done.result()

            times = interleave({"1": one, "2": two}, rounds=rounds, flush=lambda: time.sleep(rest_seconds))
            gain = ratio(times["1"], times["2"])
            least = min(times["1"].seconds) / min(times["2"].seconds)
            note = f"{1e3 * times['1'].median:.1f} ms with one, lower {gain.lower:.2f}, least times {least:.2f}"
            bench.report(f"threads{len(shares)}_host_{kind}", gain.value, note)


class CoreProbe:
    """What two threads that only multiply gain right now, in half a millisecond; caches stay as they are."""

    def __init__(self) -> None:
        self._sums = [torch.zeros(16) for _ in range(2)]
        made = jit.compile_text("multiply", multiply_text(), 1, 1)
        self._parts: list[list[parallel.Step]] = [[(made, (sums.data_ptr(), PROBE_TURNS))] for sums in self._sums]

    def __call__(self) -> float:
        """Leaves torch with two threads."""
        torch.set_num_threads(2)
        alone, both = (
            min(self._seconds(parts) for _ in range(2)) for parts in ([[*self._parts[0], *self._parts[1]]], self._parts)
        )
        return alone / both

    @staticmethod
    def _seconds(parts: Sequence[Sequence[parallel.Step]]) -> float:
        start = time.perf_counter()
        parallel.run(parts)
        return time.perf_counter() - start


@dataclass(frozen=True)
class Round:
    """Seconds of each run, and what two threads gained around it, the lesser of before and after."""

    seconds: Mapping[str, float]
    gained: Mapping[str, float]


def rounds_beside_probes(
    runs: Mapping[str, tuple[int, Callable[[], object]]], before: Callable[[], None], *, wanted: int, most: int
) -> list[Round]:
    """Each of ``runs`` (threads, call) once a round, forth and back, ``before`` it whatever makes caches cold: rounds
    until in ``wanted`` of them those of several threads had cores of their own, at most ``most``; the first is not
    counted."""
    probe, found, good = CoreProbe(), list[Round](), 0
    while good < wanted and len(found) <= most:
        seconds, gained = {}, {}
        for name in list(runs) if len(found) % 2 else reversed(runs):
            threads, run = runs[name]
            before()
            gain = probe()
            torch.set_num_threads(threads)
            start = time.perf_counter()
            run()
            seconds[name] = time.perf_counter() - start
            gained[name] = min(gain, probe())
        found.append(Round(seconds, gained))
        good += len(found) > 1 and all(gained[n] >= OWN_CORES for n, (threads, _) in runs.items() if threads > 1)
    return found[1:]


def _share(nbytes: int) -> Callable[[], None]:
    call = reader(nbytes) if nbytes else multiplier()
    again = WORK_BYTES // nbytes if nbytes else MULTIPLICATIONS

    def run() -> None:
        for _ in range(again):
            call()

    return run
