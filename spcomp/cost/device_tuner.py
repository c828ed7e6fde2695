"""Measure candidates on a GPU: each as CUDA graphs of calls on copies of its weight that are not in the cache."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from spcomp.cost.cache import TuneCache
from spcomp.cost.remembering import Remembering, Work

log = logging.getLogger("spcomp.cost")
Call = Callable[[], object]
ROUNDS = 7
HOPELESS = 2.5
"""A callable this many times slower than the fastest in two rounds is not timed any further."""
MOST_COPIES = 24
HOT_CALLS = 10
"""Calls in a row of a weight that nothing pushes out of the cache."""


class Timer(Protocol):
    """Takes the time of calls on one device."""

    def seconds(self, name: str, calls: Sequence[Call]) -> float:
        """Seconds of one of ``calls``, which run one after another; ``name`` says whose they are."""
        ...


class Rotating(Protocol):
    """A callable whose calls can go over several copies of what it reads."""

    def __call__(self) -> object: ...

    def copies(self, count: int) -> Sequence[Call]:
        """``count`` callables that do the same, each on its own copy of the weight."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that one of them reads of its own."""
        ...


@dataclass(eq=False)
class CudaTimer:
    """CUDA graphs, read by events; plain calls between events where a graph cannot be captured."""

    where: str
    failures: list[str] = field(default_factory=list)
    _graphs: dict[int, tuple[Sequence[Call], Callable[[], None]]] = field(default_factory=dict)

    def seconds(self, name: str, calls: Sequence[Call]) -> float:
        with torch.cuda.device(self.where), torch.no_grad():
            if id(calls) not in self._graphs:
                self._graphs[id(calls)] = calls, self._whole(name, calls)
            whole = self._graphs[id(calls)][1]
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record()
            whole()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1e3 / len(calls)

    def forget(self) -> None:
        """Free the graphs and what they hold."""
        self._graphs.clear()

    def _whole(self, name: str, calls: Sequence[Call]) -> Callable[[], None]:
        # this compiles, and makes the memory that calls keep
        side = torch.cuda.Stream(self.where)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for call in calls:
                    call()
        except RuntimeError as error:
            self.failures.append(f"{name}: no CUDA graph: {str(error)[:160]}")
            log.info("%s", self.failures[-1])
            torch.cuda.synchronize()

            def plain() -> None:
                for call in calls:
                    call()

            return plain
        return graph.replay


@dataclass
class DeviceTuner(Remembering):
    """Times callables against each other on one device and remembers what they take."""

    name: str
    """The device's, as its maker calls it: what records are of."""
    digest: str
    """What measurements are filed under."""
    cache: TuneCache
    versions: str
    timer: Timer
    l2_bytes: int

    @property
    def device(self) -> tuple[str, str, int]:
        """What times belong to: the device's name, versions, and no threads."""
        return self.name, self.versions, 0

    def filed_under(self, key: Mapping[str, object]) -> dict[str, object]:
        """The key with the device and versions."""
        return {**key, "device": self.digest, "versions": self.versions}

    def time(
        self,
        work: Work,
        *,
        cold_bytes: int = 0,
        warm: Callable[[], object] | None = None,
        own: torch.Tensor | None = None,
    ) -> dict[str, float]:
        """Interleaved medians in seconds, without the cache.

        Weights are cold if those of the model (``cold_bytes`` and one of these) fill more than half of L2. ``warm`` and
        ``own`` are of no use here: calls go over copies.
        """
        alive = {name: self._calls(run, cold_bytes) for name, run in work.items()}
        times: dict[str, list[float]] = {name: [] for name in work}
        for round_ in range(ROUNDS):
            for name, calls in alive.items():
                times[name].append(self.timer.seconds(name, calls))
            if round_ == 1:
                best = min(min(t) for t in times.values())
                alive = {name: calls for name, calls in alive.items() if min(times[name]) <= HOPELESS * best}
        if isinstance(self.timer, CudaTimer):
            self.timer.forget()
        return {name: float(np.median(t)) if len(t) > 2 else statistics.fmean(t) for name, t in times.items()}

    def _calls(self, run: Callable[[], object], cold_bytes: int) -> Sequence[Call]:
        """What is timed for a callable: itself several times, or on so many copies that each comes from memory."""
        copies = getattr(run, "copies", None)
        nbytes = int(getattr(run, "nbytes", 0))
        if copies is None or nbytes == 0 or nbytes + cold_bytes <= self.l2_bytes // 2:
            return [run] * HOT_CALLS
        wanted: Sequence[Call] = copies(max(2, min(MOST_COPIES, -(-2 * self.l2_bytes // nbytes))))
        return wanted
