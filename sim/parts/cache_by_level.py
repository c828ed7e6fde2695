"""Hierarchies of one core without prefetchers and inclusion, level by level; results are those of :mod:`cache_kernel`.

Such a level never changes one above it, so a piece of the accesses passes the first level, what that asks of the next
(reads, stores that go on, dirty victims, in their order) passes the next, and so on to memory. Each level sees what it
sees when every access goes all the way before the next begins: of one access, what a level hands down while lines are
filled comes before the victims, and a level that has dirty victims takes every line that was just filled.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    K_EVICTIONS,
    K_READ_HITS,
    K_READ_MISSES,
    K_VICTIMS,
    K_WRITE_HITS,
    K_WRITE_MISSES,
    K_WRITEBACKS,
    R_ACCESS,
    R_OUT,
    R_RESUME,
)  # fmt: skip
from spcomp.sim.parts.cache_one_core_steps import (
    F_ALLOCATE,
    F_BACK,
    F_BASE,
    F_BITS,
    F_MASK,
    F_SHIFT,
    X_MARKS,
    X_ORDER,
    order_after,
    victim,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import NO_TAG, WAYS, matches, prefetch_at
from spcomp.sim.parts.stamp import source_stamp

# What one level asks of the next: a line times eight, what is asked, and SILENT where another event of its access says
# which level had it.
READ, STORE, VICTIM = range(3)
SILENT = 4
PIECE = 2048
"""Events that the first level gathers before the next one takes them; no event causes more than two."""
AHEAD = 24
"""How many events ahead the host is asked for a set of a large level."""


@njit(forceinline=True, _nrt=False)
def fill(table, tags, sets, lv, place, tag, dirty):
    """Put a line into a set. Returns (the tag that was there, whether it was dirty)."""
    order, marks = sets[u(place), X_ORDER], sets[u(place), X_MARKS]
    way = victim(table, tags, lv, place, order)
    at = u(place * WAYS + way)
    old = np.int64(tags[at])
    tags[at] = tag
    sets[u(place), X_ORDER] = order_after(table, lv, order, way)
    sets[u(place), X_MARKS] = (marks & ~(1 << way)) | dirty << way
    return old, 0 if old == NO_TAG else (marks >> way) & 1


@njit(_nrt=False)
def pass_level(table, tags, sets, counts, had, large, lv, events, access, n, asked, asker):
    """Take ``n`` events of level ``lv``; what it asks of the next goes to ``asked``. Returns how many that are."""
    mask, bits, base = table[lv, F_MASK], table[lv, F_BITS], table[lv, F_BASE]
    back, allocate = table[lv, F_BACK], table[lv, F_ALLOCATE]
    read_hits, read_misses, write_hits, write_misses, victims, evictions, writebacks = 0, 0, 0, 0, 0, 0, 0
    m = 0
    for j in range(n):
        if large:
            soon = base + ((events[u(min(j + AHEAD, n - 1))] >> 3) & mask)
            prefetch_at(tags, u(soon * WAYS))
            prefetch_at(sets, u(2 * soon))
        event, who = events[u(j)], access[u(j)]
        line, kind, silent = event >> 3, event & 3, event & SILENT
        index = line & mask
        place, tag = base + index, np.int32(line >> bits)
        keep = back if kind != READ else 0
        victims += kind == VICTIM
        found = matches(tags, u(place * WAYS), tag)
        if found:
            way = trailing_zeros(found)
            sets[u(place), X_ORDER] = order_after(table, lv, sets[u(place), X_ORDER], way)
            sets[u(place), X_MARKS] |= keep << way
            read_hits += kind == READ
            write_hits += kind == STORE
            if kind != VICTIM and not silent:
                had[u(who)] = max(had[u(who)], lv)
            asked[u(m)], asker[u(m)] = event | SILENT, who
            m += kind != READ and not back
        else:
            read_misses += kind == READ
            write_misses += kind == STORE
            fills = kind == READ or allocate
            # a store that is handed on says itself who had its line
            asked[u(m)], asker[u(m)] = (line << 3) | silent | (SILENT if kind == STORE and not back else 0), who
            m += fills and kind != VICTIM
            if fills:
                old, dirty = fill(table, tags, sets, lv, place, tag, keep)
                evictions += old != NO_TAG
                writebacks += dirty
                asked[u(m)], asker[u(m)] = (((old << bits) | index) << 3) | VICTIM, who
                m += dirty
            asked[u(m)], asker[u(m)] = event, who
            m += kind != READ and not (back and allocate)
    counts[lv, K_READ_HITS] += read_hits
    counts[lv, K_READ_MISSES] += read_misses
    counts[lv, K_WRITE_HITS] += write_hits
    counts[lv, K_WRITE_MISSES] += write_misses
    counts[lv, K_VICTIMS] += victims
    counts[lv, K_EVICTIONS] += evictions
    counts[lv, K_WRITEBACKS] += writebacks
    return m


@njit(forceinline=True, _nrt=False)
def to_memory(shift, depth, origin, out, had, done, events, access, n):
    """Memory has what is left. Returns how many requests there are."""
    address, by, is_write = out
    for j in range(n):
        event, who = events[u(j)], access[u(j)]
        if not event & (SILENT | VICTIM):
            had[u(who)] = depth
        address[u(done + j)] = (event >> 3) << shift
        by[u(done + j)] = origin + who
        is_write[u(done + j)] = event & (SILENT - 1) != READ
    return done + n


def _compiled(stamp: int) -> Any:
    """The entry point, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(large, table, tags, sets, regs, counts, spare, out, addresses, writes, sizes, had, start):
        """Run accesses from ``start`` on until all are done or ``out`` is nearly full. Returns how many are done.

        ``writes`` and ``sizes`` may be empty: all reads, within one line. ``large`` is the first level whose table is
        beyond the host's nearest caches; ``spare``: two times two rows for PIECE events and what they cause.
        """
        if stamp < 0:
            return start
        n, depth, shift = addresses.size, table.shape[0], table[0, F_SHIFT]
        room = out[0].size - (PIECE + 2 << depth)
        origin = regs[R_ACCESS] + 1 - start
        mask, bits, base = table[0, F_MASK], table[0, F_BITS], table[0, F_BASE]
        back, allocate = table[0, F_BACK], table[0, F_ALLOCATE]
        k = start
        while k < n and regs[R_OUT] <= room:
            m, hits, stores, misses, store_misses, evictions, writebacks = 0, 0, 0, 0, 0, 0, 0
            asked, asker = spare[0, 0], spare[0, 1]
            recent, recent_place, recent_way = -1, 0, 0
            while k < n and m < PIECE:
                i = u(k)
                is_write = 1 if writes.size > 0 and writes[i] else 0
                first = addresses[i] >> shift
                last = (addresses[i] + sizes[i] - 1) >> shift if sizes.size > 0 else first
                if first == recent and first == last and is_write <= back:
                    # nothing has happened since but hits: it is the latest of its set
                    hits += 1
                    stores += is_write
                    sets[u(recent_place), X_MARKS] |= is_write << recent_way
                    k += 1
                    continue
                if large == 0:
                    soon = base + ((addresses[u(min(k + AHEAD, n - 1))] >> shift) & mask)
                    prefetch_at(tags, u(soon * WAYS))
                    prefetch_at(sets, u(2 * soon))
                line = first + regs[R_RESUME]
                while line <= last and m < PIECE:
                    index = line & mask
                    place, tag = base + index, np.int32(line >> bits)
                    found = matches(tags, u(place * WAYS), tag)
                    if found:
                        way = trailing_zeros(found)
                        hits += 1
                        stores += is_write
                        sets[u(place), X_ORDER] = order_after(table, 0, sets[u(place), X_ORDER], way)
                        sets[u(place), X_MARKS] |= (is_write & back) << way
                        recent, recent_place, recent_way = line, place, way
                        asked[u(m)], asker[u(m)] = (line << 3) | STORE | SILENT, k
                        m += is_write > back
                    else:
                        recent = -1
                        misses += 1
                        store_misses += is_write
                        fills = not is_write or allocate
                        asked[u(m)], asker[u(m)] = (line << 3) | (SILENT if is_write > back else 0), k
                        m += fills
                        if fills:
                            old, dirty = fill(table, tags, sets, 0, place, tag, is_write & back)
                            evictions += old != NO_TAG
                            writebacks += dirty
                            asked[u(m)], asker[u(m)] = (((old << bits) | index) << 3) | VICTIM, k
                            m += dirty
                        asked[u(m)], asker[u(m)] = (line << 3) | STORE, k
                        m += is_write > (back & allocate)
                    line += 1
                if line <= last:
                    regs[R_RESUME] = line - first
                    break
                regs[R_RESUME] = 0
                k += 1
            counts[0, K_READ_HITS] += hits - stores
            counts[0, K_WRITE_HITS] += stores
            counts[0, K_READ_MISSES] += misses - store_misses
            counts[0, K_WRITE_MISSES] += store_misses
            counts[0, K_EVICTIONS] += evictions
            counts[0, K_WRITEBACKS] += writebacks
            for lv in range(1, depth):
                here, below = (lv - 1) & 1, lv & 1
                m = pass_level(
                    table, tags, sets, counts, had, lv >= large, lv, spare[here, 0], spare[here, 1], m, spare[below, 0],
                    spare[below, 1],
                )  # fmt: skip
            here = (depth - 1) & 1
            regs[R_OUT] = to_memory(shift, depth, origin, out, had, regs[R_OUT], spare[here, 0], spare[here, 1], m)
        regs[R_ACCESS] = origin + k - 1
        return k

    return run


run = _compiled(source_stamp("cache_layout.py", "cache_one_core_steps.py", "cache_ways.py"))
