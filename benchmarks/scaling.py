"""What two threads gain where nothing is shared but the machine: each multiplies, or reads memory of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.harness import Benchmark, interleave, ratio
from benchmarks.reading import multiplier, reader

KINDS = {"multiply": 0, "read_l3": 1 << 24, "read_memory": 1 << 28}
"""Bytes that each thread reads, again and again; 0: registers are multiplied. Calls of less than half a millisecond
would wait for each other in Python."""
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


def _share(nbytes: int) -> Callable[[], None]:
    call = reader(nbytes) if nbytes else multiplier()
    again = WORK_BYTES // nbytes if nbytes else MULTIPLICATIONS

    def run() -> None:
        for _ in range(again):
            call()

    return run
