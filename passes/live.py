"""Which rows and columns of a weight hold anything: what analyses ask of large weights, without copies of them.

A matrix [n, k] is read block by block until the answer is there: of a weight with zeros here and there all rows and
columns are found to be alive in its first few of the other kind. Elements are read as integers and joined by "or".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spcomp.passes.origins import identity

FIRST = 64
"""Rows or columns that are looked at first; four times as many from then on."""
FEW = 0.25
"""Share of the rows up to which those that nothing was seen of are looked at alone: they are copied for it."""
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def live_rows(weight: Tensor) -> Tensor:
    """Rows [n] (bool) of a matrix [n, k] with an element that is not zero; NaN is none."""
    return _live(weight)


def live_columns(weight: Tensor) -> Tensor:
    """Columns [k] (bool) of a matrix [n, k] with an element that is not zero."""
    return _live(weight.t())


def _live(weight: Tensor, among: Tensor | None = None) -> Tensor:
    """Rows that hold anything, in the columns ``among`` (bool) alone if given."""
    n, k = weight.shape
    bits, sign = _bits(weight)
    wanted = None if among is None else np.where(among.numpy(), sign, bits.dtype.type(0))
    seen = np.zeros(n, dtype=bits.dtype)
    start, width = 0, FIRST
    while start < k and not (seen & sign).all():
        some = slice(start, start + width)
        start, width = start + width, 4 * width
        if wanted is not None and not wanted[some].any():
            continue
        left = np.flatnonzero((seen & sign) == 0)
        few = len(left) < FEW * n
        block = bits[left, some] if few else bits[:, some]
        joined = _joined(block if wanted is None else block & wanted[some])
        if few:
            seen[left] = joined
        else:
            seen |= joined
    return torch.from_numpy((seen & sign) != 0)


def _joined(bits: NDArray[Any]) -> NDArray[Any]:
    """All elements of each row joined by "or"; eight bytes at a time where they lie side by side."""
    many = 8 // bits.itemsize
    if many > 1 and bits.strides[1] == bits.itemsize and bits.shape[1] % many == 0 and bits.size:
        bits = np.bitwise_or.reduce(bits.view(np.int64), axis=1)[:, None].view(bits.dtype)
    joined: NDArray[Any] = np.bitwise_or.reduce(bits, axis=1)
    return joined


def _bits(weight: Tensor) -> tuple[NDArray[Any], Any]:
    """A matrix as integers of its elements' size, and all of their bits but that of the sign of a zero."""
    if weight.is_floating_point() and weight.element_size() in _INTEGERS:
        bits = weight.detach().view(_INTEGERS[weight.element_size()]).numpy()
        return bits, np.iinfo(bits.dtype).max
    plain = weight if weight.dtype == torch.bool else weight != 0
    return plain.detach().numpy().view(np.int8), np.int8(-1)


def _matrix(weight: Tensor) -> Tensor:
    """[n, k] of [n, k, ...]: the taps of a convolution count together."""
    if weight.dim() == 2:
        return weight
    taps = weight.detach().flatten(2)
    bits, sign = _bits(taps)
    seen = np.zeros(bits.shape[:2], dtype=bits.dtype)
    for tap in range(bits.shape[2]):
        seen |= bits[:, :, tap]
    return torch.from_numpy((seen & sign) != 0)


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
        return _live(_matrix(weight).t(), wanted)

    def rows_of_columns(self, weight: Tensor, columns: Tensor) -> Tensor:
        """Rows that hold anything in some columns [k] (bool)."""
        wanted = columns & self.columns(weight)
        if bool((wanted == self.columns(weight)).all()):
            return self.rows(weight)
        if not bool(wanted.any()):
            return torch.zeros(weight.shape[0], dtype=torch.bool)
        return _live(_matrix(weight), wanted)
