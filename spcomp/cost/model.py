"""What planners ask of a cost model and of a tuner, for the CPU and for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from spcomp.plan import KernelCall


class Model(Protocol):
    """Predicts what a call takes: :class:`spcomp.cost.analytic.CostModel` and its like."""

    def seconds(self, call: KernelCall, m: int, *, cold_bytes: int = 0) -> float:
        """Seconds at M = ``m``, when ``cold_bytes`` of other weights are read in between."""
        ...


class Measuring(Protocol):
    """Times callables and remembers it: :class:`spcomp.cost.tuner.Tuner` and its like."""

    @property
    def device(self) -> tuple[str, str, int]:
        """What times belong to: the device's name, versions, threads (0: a GPU)."""
        ...

    def remembered(
        self, key: Mapping[str, object], names: frozenset[str], *, again: bool = False
    ) -> dict[str, float] | None:
        """Seconds of every named callable if all are known."""
        ...

    def remember(self, key: Mapping[str, object], seconds: Mapping[str, float]) -> None:
        """Keep what was found out otherwise under a key, beside what is there."""
        ...

    def measure(
        self,
        key: Mapping[str, object],
        work: Callable[[], Mapping[str, Callable[[], object]]],
        names: frozenset[str],
        *,
        cold_bytes: int,
        warm: Callable[[], object] | None = None,
        again: bool = False,
        own: torch.Tensor | None = None,
    ) -> dict[str, float]:
        """Seconds of every named callable."""
        ...
