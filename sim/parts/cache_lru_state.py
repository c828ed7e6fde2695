"""What the levels of :mod:`cache_lru` hold: :class:`LruSets`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.parts import cache_layout as at
from spcomp.sim.parts import cache_lru as lru
from spcomp.sim.parts.cache_level import CacheLevel
from spcomp.sim.parts.cache_ways import FIRST_ORDER, NO_TAG, WAYS

Array: TypeAlias = NDArray[np.int64]
MOST_TAG = (1 << 31) - 1
MOST_SETS = 1 << 21
"""Of all levels: sixteen tags of four bytes each, however few ways a level has."""
LARGEST_STEP = 1 << 20
"""Lines that prefetchers may reach past an address; its tag must still fit."""


class LruSets:
    """Tags, orders and marks of every set, one level after the other."""

    def __init__(self, levels: Sequence[CacheLevel]) -> None:
        self._levels = tuple(levels)
        self._table = np.zeros((len(levels), lru.FIELDS), np.int64)
        base = 0
        for row, level in zip(self._table, levels, strict=True):
            degree = level.degree if level.prefetch == "next_line" else 0
            row[:] = level.sets - 1, level.sets.bit_length() - 1, level.ways, base, degree
            base += level.sets
        self._shift = levels[0].line_bytes.bit_length() - 1
        self._tags = np.full(base * WAYS, NO_TAG, np.int32)
        self._sets = np.zeros((base, 2), np.int64)
        self._sets[:, lru.X_ORDER] = FIRST_ORDER
        self._most = min((MOST_TAG << int(bits)) for bits in self._table[:, lru.F_BITS]) - LARGEST_STEP

    @classmethod
    def of(cls, levels: Sequence[CacheLevel]) -> Self | None:
        """None: the levels are not what the fast loop is for."""
        fits = all(
            v.replacement == "lru" and v.write_back and v.write_allocate and v.inclusion == "non_inclusive"
            and v.prefetch != "stride" and v.ways <= WAYS
            for v in levels
        )  # fmt: skip
        return cls(levels) if fits and sum(v.sets for v in levels) <= MOST_SETS else None

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether the tags of accesses up to this address fit."""
        return (address + nbytes) >> self._shift <= self._most

    def run(
        self,
        state: tuple[Array, Array, Array, Array],
        addresses: Array,
        writes: NDArray[np.bool_],
        sizes: Array,
        had: NDArray[np.uint8],
        start: int,
    ) -> int:
        """Accesses from ``start`` on; returns how many are done. ``state``: registers, counts, pending, out."""
        done: int = lru.run(
            self._shift, self._table, self._tags, self._sets, *state, addresses, writes, sizes, had, start
        )
        return done

    def entries(self) -> Array:
        """As :mod:`cache_kernel` keeps them: of each set its lines, the one used last first, with their marks."""
        found = []
        for level, row in zip(self._levels, self._table, strict=True):
            places = slice(int(row[lru.F_BASE]), int(row[lru.F_BASE]) + level.sets)
            sets = self._sets[places]
            order = (sets[:, lru.X_ORDER, None] >> 4 * np.arange(level.ways)) & (WAYS - 1)
            tags = np.take_along_axis(self._tags.reshape(-1, WAYS)[places], order, 1).astype(np.int64)
            marks = sets[:, lru.X_MARKS, None] >> order
            dirty, ahead = marks & 1, (marks >> lru.FETCHED) & 1
            lines = (tags << int(row[lru.F_BITS])) | np.arange(level.sets)[:, None]
            kept = lines * 4 | dirty * at.DIRTY | ahead * at.PREFETCHED
            found.append(np.where(tags == NO_TAG, at.EMPTY, kept).ravel())
        return np.concatenate(found)
