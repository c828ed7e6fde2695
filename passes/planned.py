"""What planning one layer makes, and what it asks of a dense program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from spcomp.kernel import Kernel
from spcomp.passes.base import Site
from spcomp.passes.choose import Choice
from spcomp.passes.propose import Candidate
from spcomp.plan import KernelCall


class Dense(Kernel, Protocol):
    """The best dense program of one layer, as the code generators make it: a kernel, and what it is made of."""

    def names(self, m: int) -> Sequence[str]:
        """Members that can take ``m`` rows."""
        ...

    def member(self, name: str) -> Kernel:
        """One of them."""
        ...

    def settle(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        """Told the seconds of every member by row count, it becomes the fastest."""
        ...


BestDense = Callable[[KernelCall, torch.Tensor, torch.Tensor | None, Sequence[int], torch.Tensor | None], Dense]


@dataclass(eq=False)
class Planned:
    """A site with its choice, what was measured, and kernels that were built on the way (by name)."""

    site: Site
    choice: Choice
    measured: dict[int, dict[str, float]]
    candidates: dict[str, Candidate]
    dense: Dense | None
    """Settled by what was measured; None where nothing dense is asked for any more."""
    sources: dict[int, str] = field(default_factory=dict)
    """Where the times of a row count come from, if not from a clock here."""
    tiles: dict[str, float] = field(default_factory=dict)
    """Seconds on tiles of the kernels that can work on them and were tried, at the one row count of a static layer."""
