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
    DIRTY,
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
    F_KEEP,
    F_MASK,
    F_PATHS,
    F_PUT,
    F_SHIFT,
    F_TREE,
    F_WAYS,
    FIELDS,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import MARKS, NOTHING, WAYS, led_to, matches, prefetch_at, put_first
from spcomp.sim.parts.stamp import source_stamp

# What one level asks of the next: a line times eight, what is asked, and SILENT where another event of its access says
# which level had it.
READ, STORE, VICTIM = range(3)
SILENT = 4
PIECE = 2048
"""Events that the first level gathers before the next one takes them; no event causes more than two."""
AHEAD = 24
"""How many events ahead the host is asked for a set of a large level."""
FIELD = 20
"""Bits for what a level counts of one kind of event in a piece."""


@njit(forceinline=True, _nrt=False)
def use(table, entries, trees, lv, ways, tree, place, tag, keep, fills):
    """Use the line of a tag, filled if it misses and ``fills``.

    Nothing branches on whether it hits, which the host could not foresee.

    Returns: 1 if it hit; the entry that it had or whose room it took; the way that it has now.
    """
    at = place * WAYS
    found = matches(entries, u(at), np.int32(tag << 2 | MARKS))
    hit = np.int64(found != 0)
    stays = hit | fills
    if tree:
        bits = np.int64(trees[u(place)])
        room = matches(entries, u(at), np.int32(NOTHING)) & ((1 << ways) - 1)
        last = led_to(table, u(lv * FIELDS + F_PATHS), trees[u(place)])
        way = trailing_zeros(found | room << WAYS | last << 2 * WAYS) & (WAYS - 1)
        entry = np.int64(entries[u(at + way)])
        new = tag << 2 | keep | (entry & hit)
        entries[u(at + way)] = new if stays else entry
        trees[u(place)] = (bits & table[lv, u(F_KEEP + way)]) | table[lv, u(F_PUT + way)] if stays else bits
    else:
        chosen = found | 1 << (ways - 1)
        entry = np.int64(entries[u(at + trailing_zeros(chosen))])
        put_first(entries, u(at), (chosen ^ (chosen - 1)) & -stays, np.int32(tag << 2 | keep | (entry & hit)))
        way = 0
    return hit, entry, way


@njit(forceinline=True, _nrt=False)
def push_out(asked, asker, m, gone, entry, line, who):
    """Lay the line of an entry that gave room down as event ``m``. Returns 1 if it is one: ``gone``, and dirty."""
    asked[u(m)], asker[u(m)] = line << 3 | VICTIM, who
    return gone & entry & DIRTY


@njit(_nrt=False)
def pass_level(table, entries, trees, counts, had, large, lv, events, access, n, asked, asker):
    """Take ``n`` events of level ``lv``; what it asks of the next goes to ``asked``. Returns how many that are."""
    mask, bits, base = table[lv, F_MASK], table[lv, F_BITS], table[lv, F_BASE]
    back, allocate = table[lv, F_BACK], table[lv, F_ALLOCATE]
    ways, tree = table[lv, F_WAYS], table[lv, F_TREE]
    seen, hits, evictions, writebacks = 0, 0, 0, 0
    m = 0
    for j in range(n):
        if large:
            prefetch_at(entries, u((base + ((events[u(min(j + AHEAD, n - 1))] >> 3) & mask)) * WAYS))
        event, who = events[u(j)], access[u(j)]
        line, kind = event >> 3, event & 3
        index, is_read, is_victim = line & mask, np.int64(kind == READ), kind >> 1
        fills = is_read | allocate
        hit, entry, _ = use(
            table, entries, trees, lv, ways, tree, base + index, line >> bits, back & ~is_read, fills
        )  # fmt: skip
        one = 1 << kind * FIELD
        seen += one
        hits += one * hit
        known = np.int64(event & (SILENT | VICTIM) == 0) & hit
        had[u(who)] = max(had[u(who)], lv * known)
        # a store that is handed on says itself who had its line
        asked[u(m)], asker[u(m)] = line << 3 | event & SILENT | (kind & ~back & 1) * SILENT, who
        m += fills & ~hit & ~is_victim & 1
        gone = fills & ~hit & np.int64(entry != NOTHING)
        dirty = push_out(asked, asker, m, gone, entry, entry >> 2 << bits | index, who)
        evictions += gone
        writebacks += dirty
        m += dirty
        if not (back and allocate):
            asked[u(m)], asker[u(m)] = event | hit * SILENT, who
            m += ~is_read & ~(back & (allocate | hit)) & 1
    of_kind = (1 << FIELD) - 1
    counts[lv, K_READ_HITS] += hits & of_kind
    counts[lv, K_WRITE_HITS] += (hits >> FIELD) & of_kind
    counts[lv, K_READ_MISSES] += (seen - hits) & of_kind
    counts[lv, K_WRITE_MISSES] += ((seen - hits) >> FIELD) & of_kind
    counts[lv, K_VICTIMS] += seen >> 2 * FIELD
    counts[lv, K_EVICTIONS] += evictions
    counts[lv, K_WRITEBACKS] += writebacks
    return m


@njit(forceinline=True, _nrt=False)
def pass_plain(table, entries, trees, tree, counts, had, large, lv, events, access, n, asked, asker):
    """:func:`pass_level` where nothing but reads and victims come, and both stay."""
    mask, bits, base, ways = table[lv, F_MASK], table[lv, F_BITS], table[lv, F_BASE], table[lv, F_WAYS]
    read_hits, misses, victims, evictions, writebacks, m = 0, 0, 0, 0, 0, 0
    for j in range(n):
        if large:
            prefetch_at(entries, u((base + ((events[u(min(j + AHEAD, n - 1))] >> 3) & mask)) * WAYS))
        event, who = events[u(j)], access[u(j)]
        line, is_victim = event >> 3, event >> 1 & 1
        index = line & mask
        hit, entry, _ = use(table, entries, trees, lv, ways, tree, base + index, line >> bits, is_victim, 1)
        victims += is_victim
        read_hits += hit & ~is_victim
        had[u(who)] = max(had[u(who)], lv * (hit & np.int64(event & (SILENT | VICTIM) == 0)))
        asked[u(m)], asker[u(m)] = event, who
        m += 1 & ~(hit | is_victim)
        misses += 1 & ~(hit | is_victim)
        gone = ~hit & np.int64(entry != NOTHING)
        dirty = push_out(asked, asker, m, gone, entry, entry >> 2 << bits | index, who)
        evictions += gone
        writebacks += dirty
        m += dirty
    counts[lv, K_READ_HITS] += read_hits
    counts[lv, K_READ_MISSES] += misses
    counts[lv, K_VICTIMS] += victims
    counts[lv, K_EVICTIONS] += evictions
    counts[lv, K_WRITEBACKS] += writebacks
    return m


@njit(_nrt=False)
def pass_kind(table, entries, trees, plain, counts, had, large, lv, events, access, n, asked, asker):
    """The loop for a level; ``plain``: whether :func:`pass_plain` serves."""
    if not plain:
        return pass_level(table, entries, trees, counts, had, large, lv, events, access, n, asked, asker)
    if table[lv, F_TREE]:
        return pass_plain(table, entries, trees, 1, counts, had, large, lv, events, access, n, asked, asker)
    return pass_plain(table, entries, trees, 0, counts, had, large, lv, events, access, n, asked, asker)


@njit(forceinline=True, _nrt=False)
def to_memory(shift, depth, origin, out, had, done, events, access, n):
    """Memory has what is left. Returns how many requests there are."""
    address, by, is_write = out
    for j in range(n):
        event, who = events[u(j)], access[u(j)]
        had[u(who)] = max(had[u(who)], depth * np.int64(event & (SILENT | VICTIM) == 0))
        address[u(done + j)] = (event >> 3) << shift
        by[u(done + j)] = origin + who
        is_write[u(done + j)] = event & (SILENT - 1) != READ
    return done + n


def _compiled(stamp: int) -> Any:
    """The entry point, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(large, table, entries, trees, regs, counts, spare, out, addresses, writes, sizes, had, start):
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
        ways, tree = table[0, F_WAYS], table[0, F_TREE]
        k, resume = start, regs[R_RESUME]
        while k < n and regs[R_OUT] <= room:
            m, lines, stores, hits, store_hits, evictions, writebacks = 0, 0, 0, 0, 0, 0, 0
            asked, asker = spare[0, 0], spare[0, 1]
            recent, recent_at = -1, 0
            while k < n and m < PIECE:
                i = u(k)
                is_write = np.int64(writes[i]) if writes.size > 0 else 0
                first = addresses[i] >> shift
                last = (addresses[i] + sizes[i] - 1) >> shift if sizes.size > 0 else first
                if first == recent and first == last and is_write <= back:
                    # it is the latest of its set
                    lines += 1
                    hits += 1
                    stores += is_write
                    store_hits += is_write
                    entries[u(recent_at)] |= is_write
                    k += 1
                    continue
                if large == 0:
                    prefetch_at(entries, u((base + ((addresses[u(min(k + AHEAD, n - 1))] >> shift) & mask)) * WAYS))
                line = first + resume
                while line <= last and m < PIECE:
                    index = line & mask
                    fills = (1 - is_write) | allocate
                    hit, entry, way = use(
                        table, entries, trees, 0, ways, tree, base + index, line >> bits, is_write & back, fills
                    )  # fmt: skip
                    lines += 1
                    stores += is_write
                    hits += hit
                    store_hits += hit & is_write
                    recent = line if hit | fills else -1
                    recent_at = (base + index) * WAYS + way
                    asked[u(m)], asker[u(m)] = line << 3 | (is_write & ~back) * SILENT, k
                    m += fills & ~hit
                    gone = fills & ~hit & np.int64(entry != NOTHING)
                    dirty = push_out(asked, asker, m, gone, entry, entry >> 2 << bits | index, k)
                    evictions += gone
                    writebacks += dirty
                    m += dirty
                    if not (back and allocate):
                        asked[u(m)], asker[u(m)] = line << 3 | STORE | hit * SILENT, k
                        m += is_write & ~(back & (allocate | hit))
                    line += 1
                if line <= last:
                    resume = line - first
                    break
                resume = 0
                k += 1
            counts[0, K_READ_HITS] += hits - store_hits
            counts[0, K_WRITE_HITS] += store_hits
            counts[0, K_READ_MISSES] += lines - stores - (hits - store_hits)
            counts[0, K_WRITE_MISSES] += stores - store_hits
            counts[0, K_EVICTIONS] += evictions
            counts[0, K_WRITEBACKS] += writebacks
            handed = 1 - (back & allocate)
            for lv in range(1, depth):
                here, below = (lv - 1) & 1, lv & 1
                stay = table[lv, F_BACK] & table[lv, F_ALLOCATE]
                m = pass_kind(
                    table, entries, trees, stay & ~handed, counts, had, lv >= large, lv, spare[here, 0], spare[here, 1],
                    m, spare[below, 0], spare[below, 1],
                )  # fmt: skip
                handed &= ~stay
            here = (depth - 1) & 1
            regs[R_OUT] = to_memory(shift, depth, origin, out, had, regs[R_OUT], spare[here, 0], spare[here, 1], m)
        regs[R_RESUME] = resume
        regs[R_ACCESS] = origin + k - 1
        return k

    return run


run = _compiled(source_stamp("cache_layout.py", "cache_one_core_steps.py", "cache_ways.py"))
