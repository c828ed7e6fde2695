"""Measure candidates on the machine: interleaved, as cold as the rest of the model would leave the caches."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from spcomp.cost.cache import TuneCache
from spcomp.cost.records import HOT_BYTES
from spcomp.cost.remembering import Remembering, Work
from spcomp.targets.host import HostCpu

ROUNDS = 9
LEAST_COLD_BYTES = HOT_BYTES
HOT_SECONDS = 1e-3
"""Hot runs are timed several together, for about so long."""
LONG_SECONDS = 0.4
"""A round longer than this is repeated five times only."""
HOPELESS = 2.5
"""A callable this many times slower than the fastest in two runs is not timed any further."""


@dataclass
class Tuner(Remembering):
    """Times callables against each other and remembers what they take."""

    host: HostCpu
    cache: TuneCache
    versions: str
    """Versions of everything that generates code."""
    others: Sequence[torch.Tensor] = ()
    """Weights of the model, read to cool the caches; memory of our own is used only for what they do not fill."""
    _flush: torch.Tensor | None = field(default=None, repr=False)

    @property
    def device(self) -> tuple[str, str, int]:
        """What times belong to: the device's name, versions, threads."""
        return self.host.device, self.versions, torch.get_num_threads()

    def filed_under(self, key: Mapping[str, object]) -> dict[str, object]:
        """The key with the host, versions and threads."""
        return {**key, "host": self.host.digest, "versions": self.versions, "threads": torch.get_num_threads()}

    def time(
        self,
        work: Work,
        *,
        cold_bytes: int = 0,
        warm: Callable[[], object] | None = None,
        rounds: int = ROUNDS,
        own: torch.Tensor | None = None,
    ) -> dict[str, float]:
        """Interleaved lower quartiles in seconds (other work only ever adds time), without the cache."""
        samples = self.samples(work, cold_bytes=cold_bytes, warm=warm, rounds=rounds, own=own)
        return {name: float(np.quantile(times, 0.25)) for name, times in samples.items()}

    def samples(
        self,
        work: Work,
        *,
        cold_bytes: int = 0,
        warm: Callable[[], object] | None = None,
        rounds: int = ROUNDS,
        own: torch.Tensor | None = None,
    ) -> dict[str, list[float]]:
        """Every timed run in seconds; run i of all names happened in the same round. Hopeless ones get two runs."""
        times: dict[str, list[float]] = {name: [] for name in work}
        for run in work.values():
            run()
        alive = dict(work)
        hot = cold_bytes < LEAST_COLD_BYTES
        order = random.Random(0)
        start = time.perf_counter()
        for round_ in range(2 * rounds if hot else rounds):
            for name, run in order.sample(list(alive.items()), len(alive)):
                self._cool(cold_bytes, own)
                if warm is not None and not hot:
                    warm()
                repeats = 1
                if hot:  # nothing else is in the model: the state of the caches is what the run before left
                    begin = time.perf_counter()
                    run()
                    repeats = max(1, min(20, int(HOT_SECONDS / (time.perf_counter() - begin + 1e-9))))
                begin = time.perf_counter()
                for _ in range(repeats):
                    run()
                times[name].append((time.perf_counter() - begin) / repeats)
            if round_ == 1:
                best = min(min(t) for t in times.values())
                alive = {name: run for name, run in alive.items() if min(times[name]) <= HOPELESS * best}
            if round_ >= 4 and time.perf_counter() - start > LONG_SECONDS * round_:
                break
        return times

    def _cool(self, nbytes: int, own: torch.Tensor | None) -> None:
        """Read up to one and a half last-level caches of other memory."""
        nbytes = min(nbytes, 3 * (self.host.l3_bytes or 1 << 25) // 2)
        if nbytes < LEAST_COLD_BYTES:
            return
        for weight in self.others:
            if own is None or weight.data_ptr() != own.data_ptr():
                weight.sum()
                nbytes -= weight.nbytes
                if nbytes <= 0:
                    return
        if self._flush is None or self._flush.nbytes < nbytes:
            self._flush = torch.ones(-(-nbytes // 4))
        self._flush[: nbytes // 4].sum()
