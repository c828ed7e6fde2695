"""Single steps of :mod:`cache_one_core`: sets, replacement, eviction, victims, prefetches.

Arguments are the arrays of :class:`spcomp.sim.parts.cache_one_core_state.OneCore`, and a level ``lv``.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    K_EVICTIONS,
    K_INVALIDATIONS,
    K_PREFETCHES,
    K_READ_HITS,
    K_READ_MISSES,
    K_USEFUL,
    K_VICTIMS,
    K_WRITE_HITS,
    K_WRITE_MISSES,
    K_WRITEBACKS,
    R_ACCESS,
    R_MARKED,
    R_OUT,
    R_PENDING,
    W_LEVEL,
    W_LINE,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import (
    NO_TAG,
    WAYS,
    emptied,
    matches,
    oldest,
    pointed_to,
    prefetch_at,
    used,
    way_of,
)  # fmt: skip

# Columns of ``table``: sets less one, their logarithm, ways, the first set, lines to fetch ahead (0: none), and whether
# replacement is a tree, stores stay, missing stores allocate, and evicted lines leave the levels above; the
# logarithm of a line's bytes; for trees the bits that a use of each way keeps and sets.
(F_MASK, F_BITS, F_WAYS, F_BASE, F_DEGREE, F_TREE, F_BACK, F_ALLOCATE, F_INCLUSIVE, F_SHIFT) = range(10)
F_KEEP = 16
F_PUT = F_KEEP + WAYS
FIELDS = F_PUT + WAYS

# Columns of ``sets``: the order of use or the bits of the tree; and marks, a bit for each way that was written to and,
# from FETCHED on, for each that was fetched ahead and not used since.
X_ORDER, X_MARKS = range(2)
FETCHED = 16


@njit(forceinline=True, _nrt=False)
def find(table, tags, lv, line):
    """(the set of a line, the way that has it or -1)."""
    place = table[lv, F_BASE] + (line & table[lv, F_MASK])
    return place, way_of(tags, place, np.int32(line >> table[lv, F_BITS]))


@njit(forceinline=True, _nrt=False)
def order_after(table, lv, order, way):
    """The word of replacement after a use of ``way``."""
    if table[lv, F_TREE]:
        return (order & table[lv, u(F_KEEP + way)]) | table[lv, u(F_PUT + way)]
    return used(order, way)


@njit(forceinline=True, _nrt=False)
def victim(table, tags, lv, place, order):
    """The way of a set that gives room."""
    ways = table[lv, F_WAYS]
    if table[lv, F_TREE]:
        room = matches(tags, u(place * WAYS), np.int32(NO_TAG)) & ((1 << ways) - 1)
        return trailing_zeros(room) if room else pointed_to(order, ways)
    return oldest(order, ways)


@njit(forceinline=True, _nrt=False)
def touch(table, sets, lv, place, way, dirty):
    """Use a way. Returns 1 if it had been fetched ahead and not used, which it no longer is."""
    sets[u(place), X_ORDER] = order_after(table, lv, sets[u(place), X_ORDER], way)
    marks = sets[u(place), X_MARKS]
    sets[u(place), X_MARKS] = (marks | dirty << way) & ~(1 << FETCHED << way)
    return (marks >> FETCHED >> way) & 1


@njit(forceinline=True, _nrt=False)
def take_out_above(table, tags, sets, counts, lv, line):
    """Take a line out of every level above ``lv``. Returns 1 if one of them had written to it."""
    dirty = 0
    for k in range(lv):
        place, way = find(table, tags, k, line)
        if way >= 0:
            dirty |= (sets[u(place), X_MARKS] >> way) & 1
            tags[u(place * WAYS + way)] = NO_TAG
            if not table[k, F_TREE]:
                sets[u(place), X_ORDER] = emptied(sets[u(place), X_ORDER], way, table[k, F_WAYS])
            counts[k, K_INVALIDATIONS] += 1
    return dirty


@njit(forceinline=True, _nrt=False)
def put(table, tags, sets, regs, counts, pending, lv, line, dirty, ahead):
    """Put a line into a level, which may push another out."""
    index = line & table[lv, F_MASK]
    place = table[lv, F_BASE] + index
    order = sets[u(place), X_ORDER]
    way = victim(table, tags, lv, place, order)
    at = u(place * WAYS + way)
    old, marks = np.int64(tags[at]), sets[u(place), X_MARKS]
    if old != NO_TAG:
        counts[lv, K_EVICTIONS] += 1
        gone = (old << table[lv, F_BITS]) | index
        written = (marks >> way) & 1
        if table[lv, F_INCLUSIVE]:
            written |= take_out_above(table, tags, sets, counts, lv, gone)
        if written:
            counts[lv, K_WRITEBACKS] += 1
            n = regs[R_PENDING]
            pending[W_LEVEL, n] = lv + 1
            pending[W_LINE, n] = gone
            regs[R_PENDING] = n + 1
    tags[at] = np.int32(line >> table[lv, F_BITS])
    sets[u(place), X_ORDER] = order_after(table, lv, order, way)
    one = 1 << way
    sets[u(place), X_MARKS] = (marks & ~(one | one << FETCHED)) | dirty << way | ahead << FETCHED << way


@njit(forceinline=True, _nrt=False)
def to_memory(table, regs, out, line, is_write):
    address, access, writes = out
    n = u(regs[R_OUT])
    address[n] = line << table[0, F_SHIFT]
    access[n] = regs[R_ACCESS]
    writes[n] = is_write
    regs[R_OUT] += 1


@njit(forceinline=True, _nrt=False)
def fetch(table, tags, sets, regs, counts, pending, out, top, line):
    """Read a line from level ``top`` downwards and fill those it passed. Returns the level that had it."""
    depth = table.shape[0]
    lv = top
    while lv < depth:
        place, way = find(table, tags, lv, line)
        if way >= 0:
            counts[lv, K_READ_HITS] += 1
            marked = touch(table, sets, lv, place, way, 0)
            counts[lv, K_USEFUL] += marked
            regs[R_MARKED] = marked
            break
        counts[lv, K_READ_MISSES] += 1
        lv += 1
    if lv == depth:
        to_memory(table, regs, out, line, 0)
    for k in range(lv - 1, top - 1, -1):
        put(table, tags, sets, regs, counts, pending, k, line, 0, 0)
    return lv


@njit(_nrt=False)
def store_below(table, tags, sets, regs, counts, pending, out, line):
    """A store that the first level hands on. Returns the level that had its line."""
    depth = table.shape[0]
    had = depth
    for lv in range(1, depth):
        place, way = find(table, tags, lv, line)
        if way >= 0:
            had = min(had, lv)
            counts[lv, K_WRITE_HITS] += 1
            marked = touch(table, sets, lv, place, way, table[lv, F_BACK])
            counts[lv, K_USEFUL] += marked
            regs[R_MARKED] = marked
        else:
            counts[lv, K_WRITE_MISSES] += 1
            if table[lv, F_ALLOCATE]:
                had = min(had, fetch(table, tags, sets, regs, counts, pending, out, lv + 1, line))
                put(table, tags, sets, regs, counts, pending, lv, line, table[lv, F_BACK], 0)
        if table[lv, F_BACK] and (way >= 0 or table[lv, F_ALLOCATE]):
            return had
    to_memory(table, regs, out, line, 1)
    return had


@njit(forceinline=True, _nrt=False)
def settle(table, tags, sets, regs, counts, pending, out):
    """Write the waiting victims, which may push out others."""
    depth = table.shape[0]
    k = 0
    while k < regs[R_PENDING]:
        lv, line = pending[W_LEVEL, u(k)], pending[W_LINE, u(k)]
        stays = False
        while lv < depth and not stays:
            counts[lv, K_VICTIMS] += 1
            place, way = find(table, tags, lv, line)
            if way >= 0:
                touch(table, sets, lv, place, way, table[lv, F_BACK])
            elif table[lv, F_ALLOCATE]:
                put(table, tags, sets, regs, counts, pending, lv, line, table[lv, F_BACK], 0)
            stays = table[lv, F_BACK] > 0 and (way >= 0 or table[lv, F_ALLOCATE] > 0)
            lv += 1
        if not stays:
            to_memory(table, regs, out, line, 1)
        k += 1
    regs[R_PENDING] = 0


@njit(_nrt=False)
def prefetch(table, tags, sets, regs, counts, pending, out, line, had):
    """Let the prefetchers of the levels that saw an access (down to ``had``) fetch ahead."""
    marked = regs[R_MARKED]
    for lv in range(min(had + 1, table.shape[0])):
        if table[lv, F_DEGREE] and (had > lv or marked):
            for ahead in range(line + 1, line + 1 + table[lv, F_DEGREE]):
                if find(table, tags, lv, ahead)[1] < 0:
                    counts[lv, K_PREFETCHES] += 1
                    fetch(table, tags, sets, regs, counts, pending, out, lv + 1, ahead)
                    put(table, tags, sets, regs, counts, pending, lv, ahead, 0, 1)
            if regs[R_PENDING]:
                settle(table, tags, sets, regs, counts, pending, out)


@njit(forceinline=True, _nrt=False)
def look(table, tags, sets, first, line):
    """Ask the host for the sets of a line in the levels from ``first`` on, whose tables are large."""
    for lv in range(first, table.shape[0]):
        place = table[lv, F_BASE] + (line & table[lv, F_MASK])
        prefetch_at(tags, u(place * WAYS))
        prefetch_at(sets, u(2 * place))
