"""Which rows of a unit share their loads of x: rows whose nonzeros stand in the same columns make a group.

A group loads x once for every column in which any of its rows has a nonzero, and rows that are alike have fewer such
columns together. A group begins with the row that has most nonzeros and takes, one by one, the row that adds fewest
columns. Sums are addressed row by row, so that an order costs nothing when the code runs; each range of columns has its
own. Units and ranges of columns do not depend on each other and are worked on side by side.

Grouping the rows of a sparse matrix by their columns is as old as blocked formats (Pinar & Heath, 1999).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.signedinteger[Any]]
MOST_COLUMNS = 1 << 13
_PAST_END, _TAKEN = np.uint16(1 << 14), np.uint16(1 << 15)
"""Costs that no count of columns reaches: of rows that are none, and of rows that are in a group already."""


def alike(bits: NDArray[Any], step: int, cuts: list[int], columns: int) -> Ints:
    """Orders of the rows of each unit of ``step`` rows of a matrix [N, K], as [units, ranges of ``columns``, step].

    ``cuts``: where the groups of an order begin, and ``step``. Rows past the end of the last unit come last. There may
    be at most :data:`MOST_COLUMNS` columns in a range.
    """
    words, units, across = _words(bits, step, columns)
    count = np.bitwise_count(words).sum(axis=0, dtype=np.uint16)
    cost = np.zeros_like(count)
    cost.reshape(units, across, step)[-1, :, len(bits) - (units - 1) * step :] = _PAST_END
    order = np.empty(count.shape, np.int64)
    every, added = np.arange(len(count)), np.empty_like(count)
    foreign, counted = np.empty_like(words[0]), np.empty(count.shape, np.uint8)
    for lo, hi in pairwise(cuts):
        picked = ((count + 2) * (cost == 0) + (cost == _PAST_END)).argmax(axis=1)
        union = np.zeros_like(words[:, :, 0])
        for i in range(lo, hi):
            order[:, i] = picked
            cost[every, picked] = _TAKEN
            union |= words[:, every, picked]
            np.copyto(added, cost)
            for word, others in zip(words, ~union, strict=True):
                np.bitwise_and(word, others[:, None], out=foreign)
                np.add(added, np.bitwise_count(foreign, out=counted), out=added)
            picked = added.argmin(axis=1)
    return order.reshape(units, across, step)


def _words(bits: NDArray[Any], step: int, columns: int) -> tuple[NDArray[np.uint64], int, int]:
    """Where a matrix is not zero, a bit an element: [words of a range, units x ranges, step]; the units, the ranges."""
    n, k = bits.shape
    units, across, wide = -(-n // step), -(-k // columns), -(-columns // 64)
    held = np.zeros((n, across * columns), np.bool_)
    np.not_equal(bits, 0, out=held[:, :k])
    whole = np.zeros((units * step, across, 64 * wide), np.bool_)
    whole[:n, :, :columns] = held.reshape(n, across, columns)
    packed = np.packbits(whole, axis=2, bitorder="little").view("<u8").reshape(units, step, across, wide)
    return np.ascontiguousarray(packed.transpose(3, 0, 2, 1)).reshape(wide, units * across, step), units, across
