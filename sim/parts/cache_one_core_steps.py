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
    DIRTY,
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
    PREFETCHED,
    R_ACCESS,
    R_MARKED,
    R_OUT,
    R_PENDING,
    W_LEVEL,
    W_LINE,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import MARKS, NOTHING, WAYS, close_up, led_to, matches, prefetch_at, put_first

# Columns of ``table``: sets less one, their logarithm, ways, the first set, lines to fetch ahead (0: none), and whether
# replacement is a tree, stores stay, missing stores allocate, and evicted lines leave the levels above; the
# logarithm of a line's bytes; for trees their paths, and the bits that a use of each way keeps and sets.
(F_MASK, F_BITS, F_WAYS, F_BASE, F_DEGREE, F_TREE, F_BACK, F_ALLOCATE, F_INCLUSIVE, F_SHIFT) = range(10)
F_PATHS, F_KEEP = 16, 24
F_PUT = F_KEEP + WAYS
FIELDS = F_PUT + WAYS


@njit(forceinline=True, _nrt=False)
def find(table, entries, lv, line):
    """(the set of a line, a bit for the way that has it)."""
    place = table[lv, F_BASE] + (line & table[lv, F_MASK])
    return place, matches(entries, u(place * WAYS), np.int32((line >> table[lv, F_BITS]) << 2 | MARKS))


@njit(forceinline=True, _nrt=False)
def touch(table, entries, trees, lv, place, found, dirty):
    """Use the way of a set whose bit is given. Returns PREFETCHED if it had been fetched ahead and not used."""
    at, way = place * WAYS, trailing_zeros(found)
    entry = entries[u(at + way)]
    used = np.int32((entry & ~PREFETCHED) | dirty)
    if table[lv, F_TREE]:
        entries[u(at + way)] = used
        trees[u(place)] = (trees[u(place)] & table[lv, u(F_KEEP + way)]) | table[lv, u(F_PUT + way)]
    else:
        put_first(entries, u(at), found | (found - 1), used)
    return np.int64(entry & PREFETCHED)


@njit(forceinline=True, _nrt=False)
def room_in(table, entries, trees, lv, place):
    """The way of a set that gives room: an empty one if there is one."""
    ways = table[lv, F_WAYS]
    if table[lv, F_TREE]:
        room = matches(entries, u(place * WAYS), np.int32(NOTHING)) & ((1 << ways) - 1)
        return trailing_zeros(room or led_to(table, u(lv * FIELDS + F_PATHS), trees[u(place)]))
    return ways - 1


@njit(forceinline=True, _nrt=False)
def fill(table, entries, trees, lv, place, entry):
    """Put an entry into a set. Returns the one that gave room."""
    at, way = place * WAYS, room_in(table, entries, trees, lv, place)
    old = np.int64(entries[u(at + way)])
    if table[lv, F_TREE]:
        entries[u(at + way)] = entry
        trees[u(place)] = (trees[u(place)] & table[lv, u(F_KEEP + way)]) | table[lv, u(F_PUT + way)]
    else:
        put_first(entries, u(at), (2 << way) - 1, np.int32(entry))
    return old


@njit(forceinline=True, _nrt=False)
def take_out_above(table, entries, counts, lv, line):
    """Take a line out of every level above ``lv``. Returns DIRTY if one of them had written to it."""
    dirty = 0
    for k in range(lv):
        place, found = find(table, entries, k, line)
        if found:
            at, way = place * WAYS, trailing_zeros(found)
            dirty |= np.int64(entries[u(at + way)] & DIRTY)
            if table[k, F_TREE]:
                entries[u(at + way)] = NOTHING
            else:
                close_up(entries, u(at), -found, np.int32(NOTHING))
            counts[k, K_INVALIDATIONS] += 1
    return dirty


@njit(forceinline=True, _nrt=False)
def put(table, entries, trees, regs, counts, pending, lv, line, marks):
    """Put a line with marks into a level, which may push another out."""
    index = line & table[lv, F_MASK]
    entry = np.int32((line >> table[lv, F_BITS]) << 2 | marks)
    old = fill(table, entries, trees, lv, table[lv, F_BASE] + index, entry)
    if old != NOTHING:
        counts[lv, K_EVICTIONS] += 1
        gone = (old >> 2 << table[lv, F_BITS]) | index
        written = old & DIRTY
        if table[lv, F_INCLUSIVE]:
            written |= take_out_above(table, entries, counts, lv, gone)
        if written:
            counts[lv, K_WRITEBACKS] += 1
            n = regs[R_PENDING]
            pending[W_LEVEL, n] = lv + 1
            pending[W_LINE, n] = gone
            regs[R_PENDING] = n + 1


@njit(forceinline=True, _nrt=False)
def to_memory(table, regs, out, line, is_write):
    address, access, writes = out
    n = u(regs[R_OUT])
    address[n] = line << table[0, F_SHIFT]
    access[n] = regs[R_ACCESS]
    writes[n] = is_write
    regs[R_OUT] += 1


@njit(forceinline=True, _nrt=False)
def fetch(table, entries, trees, regs, counts, pending, out, top, line):
    """Read a line from level ``top`` downwards and fill those it passed. Returns the level that had it."""
    depth = table.shape[0]
    lv = top
    while lv < depth:
        place, found = find(table, entries, lv, line)
        if found:
            counts[lv, K_READ_HITS] += 1
            marked = touch(table, entries, trees, lv, place, found, 0)
            counts[lv, K_USEFUL] += marked > 0
            regs[R_MARKED] = marked
            break
        counts[lv, K_READ_MISSES] += 1
        lv += 1
    if lv == depth:
        to_memory(table, regs, out, line, 0)
    for k in range(lv - 1, top - 1, -1):
        put(table, entries, trees, regs, counts, pending, k, line, 0)
    return lv


@njit(_nrt=False)
def store_below(table, entries, trees, regs, counts, pending, out, line):
    """A store that the first level hands on. Returns the level that had its line."""
    depth = table.shape[0]
    had = depth
    for lv in range(1, depth):
        place, found = find(table, entries, lv, line)
        if found:
            had = min(had, lv)
            counts[lv, K_WRITE_HITS] += 1
            marked = touch(table, entries, trees, lv, place, found, table[lv, F_BACK])
            counts[lv, K_USEFUL] += marked > 0
            regs[R_MARKED] = marked
        else:
            counts[lv, K_WRITE_MISSES] += 1
            if table[lv, F_ALLOCATE]:
                had = min(had, fetch(table, entries, trees, regs, counts, pending, out, lv + 1, line))
                put(table, entries, trees, regs, counts, pending, lv, line, table[lv, F_BACK])
        if table[lv, F_BACK] and (found or table[lv, F_ALLOCATE]):
            return had
    to_memory(table, regs, out, line, 1)
    return had


@njit(forceinline=True, _nrt=False)
def settle(table, entries, trees, regs, counts, pending, out):
    """Write the waiting victims, which may push out others."""
    depth = table.shape[0]
    k = 0
    while k < regs[R_PENDING]:
        lv, line = pending[W_LEVEL, u(k)], pending[W_LINE, u(k)]
        stays = False
        while lv < depth and not stays:
            counts[lv, K_VICTIMS] += 1
            place, found = find(table, entries, lv, line)
            if found:
                touch(table, entries, trees, lv, place, found, table[lv, F_BACK])
            elif table[lv, F_ALLOCATE]:
                put(table, entries, trees, regs, counts, pending, lv, line, table[lv, F_BACK])
            stays = table[lv, F_BACK] > 0 and (found != 0 or table[lv, F_ALLOCATE] > 0)
            lv += 1
        if not stays:
            to_memory(table, regs, out, line, 1)
        k += 1
    regs[R_PENDING] = 0


@njit(_nrt=False)
def prefetch(table, entries, trees, regs, counts, pending, out, line, had):
    """Let the prefetchers of the levels that saw an access (down to ``had``) fetch ahead."""
    marked = regs[R_MARKED]
    for lv in range(min(had + 1, table.shape[0])):
        if table[lv, F_DEGREE] and (had > lv or marked):
            for ahead in range(line + 1, line + 1 + table[lv, F_DEGREE]):
                if not find(table, entries, lv, ahead)[1]:
                    counts[lv, K_PREFETCHES] += 1
                    fetch(table, entries, trees, regs, counts, pending, out, lv + 1, ahead)
                    put(table, entries, trees, regs, counts, pending, lv, ahead, PREFETCHED)
            if regs[R_PENDING]:
                settle(table, entries, trees, regs, counts, pending, out)


@njit(forceinline=True, _nrt=False)
def look(table, entries, first, line):
    """Ask the host for the sets of a line in the levels from ``first`` on, whose tables are large."""
    for lv in range(first, table.shape[0]):
        place = table[lv, F_BASE] + (line & table[lv, F_MASK])
        prefetch_at(entries, u(place * WAYS))
