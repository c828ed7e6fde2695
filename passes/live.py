"""Which rows and columns of a weight hold anything: what analyses ask of large weights, without copies of them.

A matrix [n, k] is read block by block, and only where the answer is still open: of a weight with zeros here and there
all rows and columns are found to be alive in its first few of the other kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from spcomp.passes.origins import identity

FIRST = 64
"""Rows or columns that are looked at first; four times as many from then on."""


def live_rows(weight: Tensor) -> Tensor:
    """Rows [n] (bool) of a matrix [n, k] with an element that is not zero; NaN is none."""
    return _live(weight)


def live_columns(weight: Tensor) -> Tensor:
    """Columns [k] (bool) of a matrix [n, k] with an element that is not zero."""
    return _live(weight.t())


def _live(weight: Tensor, among: Tensor | None = None) -> Tensor:
    """Rows that hold anything, in the columns ``among`` (indices) alone if given."""
    n, k = weight.shape
    k = k if among is None else len(among)
    found = torch.zeros(n, dtype=torch.bool)
    start, width = 0, FIRST
    while start < k:
        some = slice(start, start + width)
        block = weight[:, some] if among is None else weight.index_select(1, among[some])
        open_ = (~found).nonzero().reshape(-1)
        if not len(open_):
            break
        if 2 * len(open_) > n:
            found |= (block != 0).any(1)
        else:
            found[open_] = (block.index_select(0, open_) != 0).any(1)
        start, width = start + width, 4 * width
    return found


def _matrix(weight: Tensor) -> Tensor:
    """[n, k] of [n, k, ...]: the taps of a convolution count together."""
    return weight if weight.dim() == 2 else (weight != 0).flatten(2).any(2)


@dataclass(eq=False)
class Live:
    """Live rows and columns of the weights of one compilation, [n, k] or [n, k, ...] with the rest taken together."""

    _found: dict[tuple[object, ...], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    """Identity -> (the weight, kept alive so that nothing else gets its address; rows; columns)."""

    def _of(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        key = identity(weight)
        if key not in self._found:
            matrix = _matrix(weight)
            self._found[key] = weight, live_rows(matrix), live_columns(matrix)
        return self._found[key]

    def rows(self, weight: Tensor) -> Tensor:
        return self._of(weight)[1]

    def columns(self, weight: Tensor) -> Tensor:
        return self._of(weight)[2]

    def columns_of_rows(self, weight: Tensor, rows: Tensor) -> Tensor:
        """Columns that hold anything in some rows [n] (bool)."""
        wanted = rows & self.rows(weight)
        if bool((wanted == self.rows(weight)).all()):
            return self.columns(weight)
        if not bool(wanted.any()):
            return torch.zeros(weight.shape[1], dtype=torch.bool)
        return _live(_matrix(weight).t(), wanted.nonzero().reshape(-1))

    def rows_of_columns(self, weight: Tensor, columns: Tensor) -> Tensor:
        """Rows that hold anything in some columns [k] (bool)."""
        wanted = columns & self.columns(weight)
        if bool((wanted == self.columns(weight)).all()):
            return self.rows(weight)
        if not bool(wanted.any()):
            return torch.zeros(weight.shape[0], dtype=torch.bool)
        return _live(_matrix(weight), wanted.nonzero().reshape(-1))
