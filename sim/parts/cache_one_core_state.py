"""What the levels of :mod:`cache_one_core` hold: :class:`OneCore`."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Sequence
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.parts import cache_layout as at
from spcomp.sim.parts import cache_one_core_steps as one
from spcomp.sim.parts.cache_by_level import PIECE
from spcomp.sim.parts.cache_by_level import run as run_by_level
from spcomp.sim.parts.cache_level import CacheLevel
from spcomp.sim.parts.cache_one_core import run as run_one_core
from spcomp.sim.parts.cache_requests import Requests, Rows
from spcomp.sim.parts.cache_ways import MARKS, NOTHING, WAYS, tree_paths

Array: TypeAlias = NDArray[np.int64]
MOST_TAG = (1 << 29) - 1
MOST_SETS = 1 << 21
"""Of all levels: sixteen entries of four bytes each, however few ways a level has."""
LARGEST_STEP = 1 << 20
"""Lines that prefetchers may reach past an address; its tag must still fit."""
LARGE_SETS = 1 << 13
"""Sets of a level whose entries are beyond the host's nearest caches."""
HOST_LINE_BYTES = 64
LARGE_PAGE_BYTES = 1 << 21
MOST_BY_LEVEL = 6
"""Levels; room for what one asks of the next doubles with each."""


class OneCore:
    """Entries and trees of every set, one level after the other."""

    def __init__(self, levels: Sequence[CacheLevel]) -> None:
        self._levels = tuple(levels)
        self._shift = levels[0].line_bytes.bit_length() - 1
        self._table = np.zeros((len(levels), one.FIELDS), np.int64)
        base = 0
        for row, level in zip(self._table, levels, strict=True):
            tree = level.replacement == "plru"
            row[: one.F_SHIFT + 1] = (
                level.sets - 1, level.sets.bit_length() - 1, level.ways, base,
                level.degree if level.prefetch == "next_line" else 0, tree, level.write_back, level.write_allocate,
                level.inclusion == "inclusive", self._shift,
            )  # fmt: skip
            if tree:
                row[one.F_PATHS : one.F_KEEP], row[one.F_KEEP : one.F_PUT], row[one.F_PUT :] = tree_paths(level.ways)
            base += level.sets
        self._large = next((k for k, v in enumerate(levels) if v.sets >= LARGE_SETS), len(levels))
        self._entries = _aligned(base * WAYS)
        self._entries[:] = NOTHING
        self._trees = np.zeros(base, np.uint16)
        self._by_level = len(levels) <= MOST_BY_LEVEL and all(
            v.prefetch == "none" and v.inclusion == "non_inclusive" for v in levels
        )
        events = PIECE + 2 << len(levels) if self._by_level else at.SPARE
        self._spare = np.zeros((2, 2, events), np.int64)
        self._requests = Requests(events)
        self._most = min((MOST_TAG << int(bits)) for bits in self._table[:, one.F_BITS]) - LARGEST_STEP

    @classmethod
    def of(cls, levels: Sequence[CacheLevel]) -> Self | None:
        """None: the levels are not what the fast loop is for."""
        fits = all(
            v.replacement != "random" and v.inclusion != "exclusive" and v.prefetch != "stride" and v.ways <= WAYS
            for v in levels
        )
        return cls(levels) if fits and sum(v.sets for v in levels) <= MOST_SETS else None

    def holds(self, address: int, nbytes: int) -> bool:
        """Whether the tags of accesses up to this address fit."""
        return (address + nbytes) >> self._shift <= self._most

    def run(
        self,
        state: tuple[Array, Array],
        addresses: Array,
        writes: NDArray[np.bool_],
        sizes: Array,
        had: NDArray[np.uint8],
    ) -> Rows:
        """All accesses. ``state``: registers and counts. Returns requests: addresses, accesses, which are writes."""
        registers = state[0]
        registers[at.R_OUT] = done = 0
        loop = run_by_level if self._by_level else run_one_core
        own = (self._large, self._table, self._entries, self._trees, *state, self._spare)
        rows = self._requests.room_for(addresses.size)
        while True:
            done = loop(*own, rows, addresses, writes, sizes, had, done)
            if done == addresses.size:
                return self._requests.take(int(registers[at.R_OUT]))
            rows = self._requests.grown(int(registers[at.R_OUT]))

    def entries(self) -> Array:
        """As :mod:`cache_kernel` keeps them: of each set its lines with marks; with LRU the latest first."""
        found = []
        for level, row in zip(self._levels, self._table, strict=True):
            held = self._entries.reshape(-1, WAYS)[self._places(row, level), : level.ways].astype(np.int64)
            lines = (held >> 2 << int(row[one.F_BITS])) | np.arange(level.sets)[:, None]
            found.append(np.where(held == NOTHING, at.EMPTY, lines * 4 | held & MARKS).ravel())
        return np.concatenate(found)

    def trees(self) -> Array:
        """As :mod:`cache_kernel` keeps them: of each set the bits of its tree; 0 with LRU."""
        return self._trees.astype(np.int64)

    @staticmethod
    def _places(row: Array, level: CacheLevel) -> slice:
        return slice(int(row[one.F_BASE]), int(row[one.F_BASE]) + level.sets)


def _aligned(count: int) -> NDArray[np.int32]:
    """Words that begin at a line of the host, so that the sixteen entries of a set lie in one; many in large pages."""
    nbytes = 4 * count + HOST_LINE_BYTES
    if nbytes < LARGE_PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return _from(np.empty(nbytes // 4, np.int32), HOST_LINE_BYTES, count)
    whole = -(-nbytes // LARGE_PAGE_BYTES) * LARGE_PAGE_BYTES
    room = mmap.mmap(-1, whole + LARGE_PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        room.madvise(mmap.MADV_HUGEPAGE)
    return _from(np.frombuffer(room, np.int32), LARGE_PAGE_BYTES, count)


def _from(words: NDArray[np.int32], unit: int, count: int) -> NDArray[np.int32]:
    """``count`` of them, from the first whose address is a multiple of ``unit`` on."""
    skip = -words.ctypes.data % unit // 4
    return words[skip : skip + count]
