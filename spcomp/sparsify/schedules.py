"""When masks are renewed and how much is pruned by then: :class:`OneShot` and :class:`Cubic`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from spcomp.errors import RecipeError


class Schedule(ABC):
    """Sparsity as a function of the step, counted in calls of :meth:`spcomp.sparsify.Sparsifier.step` from 0."""

    @property
    @abstractmethod
    def last_step(self) -> int:
        """The step at which the final sparsity is reached; masks are fixed from there on."""

    @abstractmethod
    def updates_at(self, step: int) -> bool:
        """Whether masks are chosen anew at ``step``."""

    @abstractmethod
    def sparsity_at(self, step: int, final: float) -> float:
        """The fraction of weights to prune at ``step``, between 0 and ``final``; exactly ``final`` at the last step."""

    def check(self, final: float) -> None:  # noqa: B027 - most schedules fit every final sparsity
        """Raise :class:`RecipeError` when the schedule cannot end at ``final``."""


@dataclass(frozen=True)
class OneShot(Schedule):
    """Everything at once, at step 0, before any fine-tuning."""

    @property
    def last_step(self) -> int:
        return 0

    def updates_at(self, step: int) -> bool:
        return step == 0

    def sparsity_at(self, step: int, final: float) -> float:
        return final


@dataclass(frozen=True)
class Cubic(Schedule):
    """Fast at first, when weights are redundant, and slowly towards the end.

    ``s(t) = s_f + (s_i - s_f) * (1 - (t - begin) / steps)**3`` for ``begin <= t <= begin + steps``: equation 1 of
    Zhu & Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878. Masks are renewed every ``frequency`` steps and,
    whether or not ``frequency`` divides ``steps``, at the last one.
    """

    steps: int
    """Steps from the first renewal to the last (n * delta_t of the paper)."""
    begin: int = 0
    """The step of the first renewal (t_0); before it nothing is pruned."""
    initial: float = 0.0
    """Sparsity at ``begin`` (s_i)."""
    frequency: int = 1
    """Steps between two renewals (delta_t)."""

    def __post_init__(self) -> None:
        asked = f"Cubic(steps={self.steps}, begin={self.begin}, initial={self.initial}, frequency={self.frequency})"
        if self.steps < 1:
            raise RecipeError(asked, "a gradual schedule needs at least one step", "OneShot() to prune at once")
        if self.begin < 0:
            raise RecipeError(asked, "begin is negative", "begin >= 0, counted in optimizer steps")
        if not 1 <= self.frequency <= self.steps:
            raise RecipeError(asked, "frequency is outside [1, steps]", f"a frequency of 1 to {self.steps} steps")
        if not 0.0 <= self.initial < 1.0:
            raise RecipeError(asked, "the initial sparsity is outside [0, 1)", "initial=0.0")

    @property
    def last_step(self) -> int:
        return self.begin + self.steps

    def updates_at(self, step: int) -> bool:
        if not self.begin <= step <= self.last_step:
            return False
        return step == self.last_step or (step - self.begin) % self.frequency == 0

    def sparsity_at(self, step: int, final: float) -> float:
        if step < self.begin:
            return 0.0
        left = max(0.0, 1.0 - (step - self.begin) / self.steps)
        return final + (self.initial - final) * left**3

    def check(self, final: float) -> None:
        if self.initial > final:
            raise RecipeError(
                f"a cubic schedule from sparsity {self.initial} to {final}",
                "the initial sparsity is above the final one",
                f"initial <= {final}",
            )
