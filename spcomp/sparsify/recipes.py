"""`Recipe`: what to prune, by how much, how to choose, and when. Data only; nothing here touches a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from spcomp.errors import RecipeError
from spcomp.sparsify.schedules import OneShot, Schedule
from spcomp.sparsity.pattern import NM, VNM, Block, Unstructured

PrunePattern = Unstructured | NM | VNM | Block


@dataclass(frozen=True)
class Recipe:
    """How a model is pruned.

    Raises:
        RecipeError: the fields contradict each other, for example ``sparsity`` beside an N:M pattern, which already
            fixes it, or a block pattern without one.
    """

    pattern: PrunePattern
    """Where zeros may be: ``Unstructured(0.9)``, ``NM(2, 4)``, ``VNM(64, 2, 8)`` or ``Block(8, 1)``."""
    sparsity: float | None = None
    """For block patterns, the fraction of blocks to prune, in [0, 1); the others state it themselves."""
    scope: Literal["layer", "global"] = "layer"
    """``layer``: the same fraction in every layer. ``global``: one threshold over all layers."""
    criterion: Literal["magnitude"] = "magnitude"
    """What makes a weight worth keeping: its magnitude, for a block or column the sum of squares (Han et al. 2015)."""
    include: tuple[str, ...] = ("*",)
    """``fnmatch`` globs of module names to prune."""
    exclude: tuple[str, ...] = ()
    """Globs of module names to leave dense; stronger than ``include``."""
    schedule: Schedule = field(default_factory=OneShot)
    monotone: bool = True
    """Whether a pruned weight stays pruned; otherwise each renewal chooses among all weights."""

    def __post_init__(self) -> None:
        self._check_types()
        self._check_sparsity()
        self.schedule.check(self.final_sparsity)

    @property
    def final_sparsity(self) -> float:
        """The fraction pruned at the end: of weights, or for blocks of blocks; 1 - n/m for N:M and V:N:M."""
        match self.pattern:
            case Unstructured(sparsity=sparsity):
                return sparsity
            case NM(n=n, m=m) | VNM(n=n, m=m):
                return 1.0 - n / m
            case Block():
                assert self.sparsity is not None  # __post_init__ saw to it
                return self.sparsity

    def selects(self, module_name: str) -> bool:
        """Whether the globs let this module be pruned."""
        return _any_match(module_name, self.include) and not _any_match(module_name, self.exclude)

    def __str__(self) -> str:
        amount = "" if self.sparsity is None else f" at {self.sparsity:.4g}"
        return f"prune{{{self.pattern}{amount}, scope={self.scope}, {self.criterion}, {self.schedule}}}"

    def _check_types(self) -> None:
        if not isinstance(self.pattern, Unstructured | NM | VNM | Block):
            raise RecipeError(
                f"a recipe with the pattern {self.pattern!r}",
                "it is none that can be pruned for",
                "Unstructured(0.9), NM(2, 4), VNM(64, 2, 8) or Block(8, 1)",
            )
        if self.scope not in ("layer", "global"):
            raise RecipeError(f"scope={self.scope!r}", "no such scope", '"layer" or "global"')
        if self.criterion != "magnitude":
            raise RecipeError(f"criterion={self.criterion!r}", "no such criterion", '"magnitude"')
        for name, globs in (("include", self.include), ("exclude", self.exclude)):
            if isinstance(globs, str):
                raise RecipeError(f"{name}={globs!r}", "a string, not a tuple of globs", f"{name}=({globs!r},)")

    def _check_sparsity(self) -> None:
        asked = f"a recipe with {self.pattern} and sparsity={self.sparsity}"
        match self.pattern:
            case NM() | VNM():
                if self.sparsity is not None:
                    raise RecipeError(asked, "N:M fixes the sparsity by itself", "leave sparsity out")
                if self.scope == "global":
                    raise RecipeError(
                        f"{self.pattern} with scope='global'",
                        "N:M keeps the same number in every group, so layers cannot trade",
                        "scope='layer', or Unstructured or Block with scope='global'",
                    )
            case Unstructured():
                if self.sparsity is not None:
                    raise RecipeError(asked, "the pattern states the sparsity already", "leave sparsity out")
            case Block():
                if self.sparsity is None:
                    raise RecipeError(asked, "a block pattern does not say how much to prune", "sparsity=0.9")
        if not 0.0 <= self.final_sparsity < 1.0:
            raise RecipeError(asked, "the sparsity is outside [0, 1)", "a fraction such as 0.9")


def _any_match(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
