"""`SparsityFacts`: what was measured, exactly, on one weight tensor. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Axis = Literal[0, 1]
NM_GROUPS: tuple[int, ...] = (2, 4, 8, 16)
"""Group lengths for which N:M is measured."""
NM_RESTS: tuple[tuple[int, int], ...] = ((1, 4), (2, 4))
"""(N, M) for which the nonzeros that fit into no group are counted."""
VNM_GROUPS: tuple[int, ...] = (4, 8, 16, 32)
"""M of V:2:M."""
VNM_ROWS: tuple[int, ...] = (16, 32, 64)
"""V of V:2:M. What holds for 128 rows holds for 64."""
VNM_COLUMNS = 4
"""Columns with nonzeros in a V x M block: what sparse tensor cores choose two of."""
BLOCK_SHAPES: tuple[tuple[int, int], ...] = (
    (1, 4), (1, 8), (1, 16), (2, 2), (4, 1), (4, 4), (8, 1), (8, 8), (16, 1), (16, 16), (32, 1), (32, 32), (64, 64),
)  # fmt: skip
"""Block shapes (rows, columns) for which occupancy is measured."""


@dataclass(frozen=True, eq=False)
class SparsityFacts:
    """Exact counts of one matrix of shape ``(N, K)``; an element whose bits are not those of +0 is a nonzero.

    A tensor of more than two dimensions is seen as ``(shape[0], everything else)``.
    """

    shape: tuple[int, int]
    dtype: str
    """``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"int8"``."""
    digest: str
    """128-bit hex digest of dtype, shape and bytes: BLAKE2b over SHA-256 leaves, see :mod:`spcomp.sparsity.digest`."""
    nonzeros: int
    row_nonzeros: NDArray[np.int64]
    """Nonzeros per row, shape (N,)."""
    column_nonzeros: NDArray[np.int64]
    """Nonzeros per column, shape (K,)."""
    group_max: dict[tuple[Axis, int], int]
    """(axis, M) -> the largest number of nonzeros in any aligned group of M along that axis (1: along K, within a row).

    N:M holds exactly when N >= this. A ragged last group counts as a group.
    """
    block_counts: dict[tuple[int, int], int]
    """(rows, cols) -> aligned blocks that hold at least one nonzero; ragged edge blocks count as blocks."""

    rests: dict[tuple[int, int], int]
    """(N, M) -> nonzeros beyond the first N of their aligned group of M along K."""
    live_columns: dict[tuple[int, int], int]
    """(V, M), M above 4 -> the largest number of columns with a nonzero in any aligned block of V rows and M columns.

    M where some row of some block has more than two nonzeros. V:2:M holds exactly when this is at most 4.
    """

    @property
    def elements(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def density(self) -> float:
        """Nonzeros over elements; 0.0 for an empty matrix."""
        return self.nonzeros / self.elements if self.elements else 0.0

    @property
    def sparsity(self) -> float:
        return 1.0 - self.density

    @property
    def dead_rows(self) -> NDArray[np.bool_]:
        dead: NDArray[np.bool_] = self.row_nonzeros == 0
        return dead

    @property
    def dead_columns(self) -> NDArray[np.bool_]:
        dead: NDArray[np.bool_] = self.column_nonzeros == 0
        return dead

    @property
    def row_spread(self) -> float:
        """Standard deviation over mean of nonzeros per row; 0.0 where there are none."""
        mean = float(self.row_nonzeros.mean()) if self.row_nonzeros.size else 0.0
        return float(self.row_nonzeros.std()) / mean if mean else 0.0

    def block_occupancy(self, rows: int, cols: int) -> float:
        """Nonzeros over the elements of the blocks that would be stored (edges counted whole); 0.0 if none."""
        stored = self.block_counts[rows, cols] * rows * cols
        return self.nonzeros / stored if stored else 0.0
