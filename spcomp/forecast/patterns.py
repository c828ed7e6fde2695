"""Which patterns are looked at, at which shares of zeros, and copies of weights that are pruned to them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from spcomp.encodings.spec import Refusal
from spcomp.errors import InputError, PatternError, RecipeError
from spcomp.sparsify import Recipe, sparsify
from spcomp.sparsify.recipes import PrunePattern
from spcomp.sparsity.pattern import NM, Block, Pattern, Unstructured, parse_pattern

UNSTRUCTURED = "unstructured"
PATTERNS = (UNSTRUCTURED, "nm 2:4", "nm 1:4", "nm 4:8", "block 8x1", "block 4x4", "block 8x8", "block 16x16")
ZEROS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Family:
    """A pattern without its share of zeros: None is unstructured."""

    pattern: NM | Block | None

    def __str__(self) -> str:
        return UNSTRUCTURED if self.pattern is None else str(self.pattern)

    def shares(self, zeros: Sequence[float]) -> tuple[float, ...]:
        """The shares at which it is looked at: the grid, but for N:M, which stands at ``1 - n / m`` alone."""
        return (1.0 - self.pattern.n / self.pattern.m,) if isinstance(self.pattern, NM) else tuple(zeros)

    def recipe(self, zeros: float) -> Recipe:
        """How :func:`spcomp.sparsify` prunes to it."""
        found: PrunePattern = Unstructured(zeros) if self.pattern is None else self.pattern
        return Recipe(found, sparsity=zeros if isinstance(self.pattern, Block) else None)


def families(patterns: str | Pattern | Sequence[str | Pattern] | None) -> tuple[Family, ...]:
    """The patterns to look at, each once. Raises :class:`InputError` for what is none, with near names."""
    given = PATTERNS if patterns is None else (patterns,) if isinstance(patterns, str | Pattern) else tuple(patterns)
    if not given:
        raise InputError("look at patterns", "an empty list", f"None for all of {', '.join(PATTERNS)}")
    return tuple(dict.fromkeys(map(_family, given)))


def _family(given: str | Pattern) -> Family:
    if isinstance(given, str) and given.strip().lower() == UNSTRUCTURED:
        return Family(None)
    try:
        pattern = parse_pattern(given) if isinstance(given, str) else given
    except PatternError as error:
        near = difflib.get_close_matches(str(given).lower(), PATTERNS, n=3, cutoff=0.4) or PATTERNS
        raise InputError(f"look at the pattern {given!r}", error.found, ", ".join(near)) from error
    if isinstance(pattern, Unstructured):
        raise InputError(
            f"look at the pattern {given!r}", "it states a share of zeros", f"{UNSTRUCTURED!r}, and shares in zeros="
        )
    if not isinstance(pattern, NM | Block):
        raise InputError(f"look at the pattern {given!r}", "nothing is pruned to it", ", ".join(PATTERNS))
    return Family(pattern)


def grid(zeros: float | Sequence[float]) -> tuple[float, ...]:
    """Shares of zeros, ascending, each once. Raises :class:`InputError` for what is not between 0 and 1."""
    given = (zeros,) if isinstance(zeros, int | float) else tuple(zeros)
    odd = [z for z in given if isinstance(z, bool) or not isinstance(z, int | float) or not 0.0 < z < 1.0]
    if odd or not given:
        found = f"{odd[0]!r}" if odd else "an empty list"
        raise InputError("look at shares of zeros", found, "fractions between 0 and 1, such as zeros=(0.5, 0.9)")
    return tuple(sorted({float(z) for z in given}))


def pruned(weight: torch.Tensor, family: Family, zeros: float) -> torch.Tensor | Refusal:
    """A copy of a weight of two or more dimensions, pruned by magnitude as :func:`spcomp.sparsify` would prune it; a
    :class:`Refusal` where it is too small for the pattern."""
    holder = nn.Linear(1, 1, bias=False)  # any module whose weight is a matrix, or is seen as one
    holder.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    try:
        sparsify(holder, family.recipe(zeros)).remove()
    except RecipeError as error:
        return Refusal(error.found)
    return holder.weight.detach()
