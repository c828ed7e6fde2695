"""The inner loop of the hierarchies that most machines have, faster: :mod:`cache_kernel` with fewer choices.

One core; all levels write back, allocate on a store miss, neither inclusive nor exclusive, of up to sixteen ways
replaced by LRU, with the prefetcher of the next lines or none, and no time. What happens in which order is what that
module does; the results are equal.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    FIRST_USE,
    K_EVICTIONS,
    K_PREFETCHES,
    K_READ_HITS,
    K_READ_MISSES,
    K_USEFUL,
    K_VICTIMS,
    K_WRITE_HITS,
    K_WRITE_MISSES,
    K_WRITEBACKS,
    O_ACCESS,
    O_CYCLE,
    O_LINE,
    O_WRITE,
    R_ACCESS,
    R_MARKED,
    R_OUT,
    R_PENDING,
    SPARE,
    W_LEVEL,
    W_LINE,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import NO_TAG, WAYS, oldest, used, way_of
from spcomp.sim.parts.stamp import source_stamp

# Columns of ``table``: sets less one, their logarithm, ways, the first set, and lines to fetch ahead (0: none).
F_MASK, F_BITS, F_WAYS, F_BASE, F_DEGREE = range(5)
FIELDS = 5

# Columns of ``sets``: the order of use; and marks, a bit for each way that was written to and, from FETCHED on, for
# each that was fetched ahead and not used since.
X_ORDER, X_MARKS = range(2)
FETCHED = 16


@njit(inline="always")
def find(table, tags, lv, line):
    """(the set of a line, the way that has it or -1)."""
    place = table[lv, F_BASE] + (line & table[lv, F_MASK])
    return place, way_of(tags, place, np.int32(line >> table[lv, F_BITS]))


@njit(inline="always")
def touch(sets, place, way, dirty):
    """Use a way. Returns 1 if it had been fetched ahead and not used, which it no longer is."""
    order = sets[place, X_ORDER]
    if order & (WAYS - 1) != way:
        sets[place, X_ORDER] = used(order, way)
    marks = sets[place, X_MARKS]
    sets[place, X_MARKS] = (marks | dirty << way) & ~(1 << FETCHED << way)
    return (marks >> FETCHED >> way) & 1


@njit(inline="always")
def put(table, tags, sets, regs, counts, pending, lv, line, dirty, ahead):
    """Put a line into a level, which may push another out."""
    index = line & table[lv, F_MASK]
    place = table[lv, F_BASE] + index
    order = sets[place, X_ORDER]
    way = oldest(order, table[lv, F_WAYS])
    at = u(place * WAYS + way)
    old, marks = np.int64(tags[at]), sets[place, X_MARKS]
    if old != NO_TAG:
        counts[lv, K_EVICTIONS] += 1
        if (marks >> way) & 1:
            counts[lv, K_WRITEBACKS] += 1
            n = regs[R_PENDING]
            pending[W_LEVEL, n] = lv + 1
            pending[W_LINE, n] = (old << table[lv, F_BITS]) | index
            regs[R_PENDING] = n + 1
    tags[at] = np.int32(line >> table[lv, F_BITS])
    sets[place, X_ORDER] = used(order, way)
    one = 1 << way
    sets[place, X_MARKS] = (marks & ~(one | one << FETCHED)) | dirty << way | ahead << FETCHED << way


@njit(inline="always")
def to_memory(regs, out, line, is_write):
    n = regs[R_OUT]
    out[O_LINE, n] = line
    out[O_WRITE, n] = is_write
    out[O_ACCESS, n] = regs[R_ACCESS]
    out[O_CYCLE, n] = -1
    regs[R_OUT] = n + 1


@njit(inline="always")
def fetch(table, tags, sets, regs, counts, pending, out, top, line):
    """Read a line from level ``top`` downwards and fill those it passed. Returns the level that had it."""
    depth = table.shape[0]
    lv = top
    while lv < depth:
        place, way = find(table, tags, lv, line)
        if way >= 0:
            counts[lv, K_READ_HITS] += 1
            marked = touch(sets, place, way, 0)
            counts[lv, K_USEFUL] += marked
            regs[R_MARKED] = marked
            break
        counts[lv, K_READ_MISSES] += 1
        lv += 1
    if lv == depth:
        to_memory(regs, out, line, 0)
    for k in range(lv - 1, top - 1, -1):
        put(table, tags, sets, regs, counts, pending, k, line, 0, 0)
    return lv


@njit(inline="always")
def settle(table, tags, sets, regs, counts, pending, out):
    """Write the waiting victims, which may push out others."""
    k = 0
    while k < regs[R_PENDING]:
        lv, line = pending[W_LEVEL, k], pending[W_LINE, k]
        if lv == table.shape[0]:
            to_memory(regs, out, line, 1)
        else:
            counts[lv, K_VICTIMS] += 1
            place, way = find(table, tags, lv, line)
            if way >= 0:
                touch(sets, place, way, 1)
            else:
                put(table, tags, sets, regs, counts, pending, lv, line, 1, 0)
        k += 1
    regs[R_PENDING] = 0


@njit(inline="always")
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


def _compiled(stamp: int) -> Any:
    """The entry point, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(shift, table, tags, sets, regs, counts, pending, out, addresses, writes, sizes, had, start):
        """Run accesses from ``start`` on until all are done or ``out`` is nearly full. Returns how many are done.

        ``writes`` and ``sizes`` may be empty: all reads, within one line.
        """
        if stamp < 0:
            return start
        n, room = addresses.size, out.shape[1] - SPARE
        origin = regs[R_ACCESS] + 1 - start
        mask, bits, base = table[0, F_MASK], table[0, F_BITS], table[0, F_BASE]
        plain = table[0, F_DEGREE] == 0
        ahead = False
        for lv in range(table.shape[0]):
            ahead |= table[lv, F_DEGREE] > 0
        hits, stores = 0, 0
        k = start
        while k < n and regs[R_OUT] <= room:
            i = u(k)
            is_write = 1 if writes.size > 0 and writes[i] else 0
            line = addresses[i] >> shift
            last = (addresses[i] + sizes[i] - 1) >> shift if sizes.size > 0 else line
            worst, marks = 0, 0
            while line <= last:
                place = base + (line & mask)
                tag = np.int32(line >> bits)
                order = sets[place, X_ORDER]
                way = order & (WAYS - 1)
                if tags[u(place * WAYS + way)] != tag:
                    way = way_of(tags, place, tag)
                    if way >= 0:
                        sets[place, X_ORDER] = used(order, way)
                if way >= 0:
                    hits += 1
                    stores += is_write
                    if plain:
                        sets[place, X_MARKS] |= is_write << way
                    elif touch(sets, place, way, is_write):
                        counts[0, K_USEFUL] += 1
                        marks = FIRST_USE
                        regs[R_ACCESS] = origin + k
                        regs[R_MARKED] = 1
                        prefetch(table, tags, sets, regs, counts, pending, out, line, 0)
                else:
                    regs[R_ACCESS] = origin + k
                    regs[R_MARKED] = 0
                    counts[0, K_WRITE_MISSES if is_write else K_READ_MISSES] += 1
                    level = fetch(table, tags, sets, regs, counts, pending, out, 1, line)
                    put(table, tags, sets, regs, counts, pending, 0, line, is_write, 0)
                    if regs[R_PENDING]:
                        settle(table, tags, sets, regs, counts, pending, out)
                    if regs[R_MARKED]:
                        marks = FIRST_USE
                    if ahead:
                        prefetch(table, tags, sets, regs, counts, pending, out, line, level)
                    worst = max(worst, level)
                line += 1
            had[i] = worst | marks
            k += 1
        counts[0, K_READ_HITS] += hits - stores
        counts[0, K_WRITE_HITS] += stores
        regs[R_ACCESS] = origin + k - 1
        return k

    return run


run = _compiled(source_stamp("cache_layout.py", "cache_ways.py"))
