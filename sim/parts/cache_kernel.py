"""The inner loop of a cache hierarchy, compiled by numba, over whole blocks of addresses with state that persists.

A miss looks downwards until a level has the line, then the line is put into the levels it passed, lowest first. Victims
are written to the level below (dirty ones, or all of them if that level is exclusive) once those fills are done, in order.
The line of an inclusive level that is evicted goes from all levels above it at once. Entries of a set that is replaced by
LRU are kept in order of use, the latest first.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    AHEAD, G_LARGE, R_SINK,
    DIRTY, EMPTY, EXCLUSIVE, G_LINE_SHIFT, G_MEMORY, G_PAGE_LINES, G_PREFETCH, G_TIMED, G_WHOLE, INCLUSIVE,
    K_EVICTIONS, K_INVALIDATIONS, K_PREFETCHES, K_READ_HITS, K_READ_MISSES, K_USEFUL, K_VICTIMS, K_WRITEBACKS,
    K_WRITE_HITS, K_WRITE_MISSES, LRU, L_ALLOCATE, L_BASE, L_COPIES, L_COPY, L_DEGREE, L_INCLUSION, L_LATENCY,
    L_MSHRS, L_POLICY, L_PREFETCH, L_SETS, L_TREE, L_TREE_COPY, L_WAYS, L_WRITE_BACK, M_DONE, M_LINE, NEXT_LINE,
    NO_PREFETCH, O_ACCESS, O_CYCLE, O_LINE, O_WRITE, PLRU, PREFETCHED, R_ACCESS, R_CARRIED, R_CYCLE, R_LAST,
    R_MARKED, R_OUT, R_PENDING, R_RANDOM, R_STALLED, SPARE, STREAMS, SURE, S_LINE, S_PAGE, S_STRIDE, S_SURE,
    W_DIRTY, W_LEVEL, W_LINE,
)  # fmt: skip


@njit(inline="always")
def find(levels, entries, core, l, line):
    """(where the set begins, the way that has the line or -1)."""
    ways = levels[l, L_WAYS]
    at = levels[l, L_BASE] + core * levels[l, L_COPY] + (line & (levels[l, L_SETS] - 1)) * ways
    found = -1
    for w in range(ways):
        if entries[u(at + w)] >> 2 == line:
            found = w
            break
    return at, found


@njit(inline="always")
def point_away(levels, tree, core, l, line, way):
    """Tree PLRU: every bit on the way to ``way`` points to the other half."""
    t = u(levels[l, L_TREE] + core * levels[l, L_TREE_COPY] + (line & (levels[l, L_SETS] - 1)))
    bits = tree[t]
    node, half, low = 1, levels[l, L_WAYS] >> 1, 0
    while half > 0:
        if way < low + half:
            bits |= 1 << node
            node = 2 * node
        else:
            bits &= ~(1 << node)
            node = 2 * node + 1
            low += half
        half >>= 1
    tree[t] = bits


@njit(inline="always")
def touch(levels, entries, tree, core, l, line, at, way, flags):
    """Use a way: latest in its order, with ``flags`` added; the mark of a prefetch goes. Returns the entry as it was."""
    was = entries[u(at + way)]
    entry = (was & ~PREFETCHED) | flags
    if levels[l, L_POLICY] == LRU:
        for k in range(u(way)):
            w = u(way) - k
            entries[u(at) + w] = entries[u(at) + w - u(1)]
        entries[u(at)] = entry
    else:
        entries[u(at + way)] = entry
        if levels[l, L_POLICY] == PLRU:
            point_away(levels, tree, core, l, line, way)
    return was


@njit(inline="always")
def victim_way(levels, entries, tree, regs, core, l, line, at):
    """The way that gives room: an empty one, or the one that the policy picks."""
    ways = levels[l, L_WAYS]
    if levels[l, L_POLICY] == LRU:
        return ways - 1
    for w in range(ways):
        if entries[u(at + w)] == EMPTY:
            return w
    if levels[l, L_POLICY] == PLRU:
        bits = tree[u(levels[l, L_TREE] + core * levels[l, L_TREE_COPY] + (line & (levels[l, L_SETS] - 1)))]
        node, half, low = 1, ways >> 1, 0
        while half > 0:
            if (bits >> node) & 1:
                node = 2 * node + 1
                low += half
            else:
                node = 2 * node
            half >>= 1
        return low
    # xorshift64 (Marsaglia 2003), of which 62 bits are used
    x = regs[R_RANDOM]
    x ^= x << 13
    x ^= (x >> 7) & ((1 << 57) - 1)
    x ^= x << 17
    regs[R_RANDOM] = x
    return ((x >> 1) & ((1 << 62) - 1)) % ways


@njit(inline="always")
def remove(levels, entries, core, l, at, way):
    """Empty a way; with LRU the later ones move up."""
    if levels[l, L_POLICY] == LRU:
        last = levels[l, L_WAYS] - 1
        for w in range(way, last):
            entries[u(at + w)] = entries[u(at + w + 1)]
        way = last
    entries[u(at + way)] = EMPTY


@njit(_nrt=False)
def invalidate_above(levels, entries, counts, l, line):
    """Take a line out of every level above ``l``. Returns DIRTY if one of them had written to it."""
    dirty = 0
    for k in range(l):
        for core in range(levels[k, L_COPIES]):
            at, way = find(levels, entries, core, k, line)
            if way >= 0:
                dirty |= entries[u(at + way)] & DIRTY
                remove(levels, entries, core, k, at, way)
                counts[k, K_INVALIDATIONS] += 1
    return dirty


@njit(inline="always")
def put(levels, entries, tree, regs, counts, pending, core, l, line, flags):
    """Put a line into a level, which may push another out."""
    at = levels[l, L_BASE] + core * levels[l, L_COPY] + (line & (levels[l, L_SETS] - 1)) * levels[l, L_WAYS]
    way = victim_way(levels, entries, tree, regs, core, l, line, at)
    out = entries[u(at + way)]
    if out != EMPTY:
        counts[l, K_EVICTIONS] += 1
        if levels[l, L_INCLUSION] == INCLUSIVE and l > 0:
            out |= invalidate_above(levels, entries, counts, l, out >> 2)
        below = l + 1
        takes_all = below < levels.shape[0] and levels[below, L_INCLUSION] == EXCLUSIVE
        if out & DIRTY or takes_all:
            counts[l, K_WRITEBACKS] += out & DIRTY
            n = regs[R_PENDING]
            pending[W_LEVEL, n] = below
            pending[W_LINE, n] = out >> 2
            pending[W_DIRTY, n] = out & DIRTY
            regs[R_PENDING] = n + 1
    entries[u(at + way)] = EMPTY
    touch(levels, entries, tree, core, l, line, at, way, 0)
    first = at if levels[l, L_POLICY] == LRU else at + way
    entries[u(first)] = (line << 2) | flags


@njit(inline="always")
def to_memory(regs, out, line, is_write):
    n = regs[R_OUT]
    out[O_LINE, n] = line
    out[O_WRITE, n] = is_write
    out[O_ACCESS, n] = regs[R_ACCESS]
    out[O_CYCLE, n] = regs[R_CYCLE]
    regs[R_OUT] = n + 1


@njit(_nrt=False)
def fetch(levels, entries, tree, regs, counts, pending, out, core, top, line):
    """Read a line from level ``top`` downwards and fill those it passed. Returns the level that had it.

    What it leaves in ``R_CARRIED`` is DIRTY if an exclusive level gave up a line that was written to.
    """
    depth = levels.shape[0]
    l = top
    regs[R_CARRIED] = 0
    while l < depth:
        mine = core if levels[l, L_COPIES] > 1 else 0
        at, way = find(levels, entries, mine, l, line)
        if way >= 0:
            counts[l, K_READ_HITS] += 1
            was = touch(levels, entries, tree, mine, l, line, at, way, 0)
            counts[l, K_USEFUL] += (was & PREFETCHED) >> 1
            regs[R_MARKED] = was & PREFETCHED
            if levels[l, L_INCLUSION] == EXCLUSIVE:
                regs[R_CARRIED] = was & DIRTY
                remove(levels, entries, mine, l, at, 0 if levels[l, L_POLICY] == LRU else way)
            break
        counts[l, K_READ_MISSES] += 1
        l += 1
    if l == depth:
        to_memory(regs, out, line, 0)
    for k in range(l - 1, top - 1, -1):
        if levels[k, L_INCLUSION] != EXCLUSIVE:
            mine = core if levels[k, L_COPIES] > 1 else 0
            put(levels, entries, tree, regs, counts, pending, mine, k, line, 0)
    return l


@njit(_nrt=False)
def store(levels, entries, tree, regs, counts, pending, out, core, top, line, demand, dirty):
    """Write a line at level ``top``: a store (``demand``), or a victim from above. Returns the level that had it."""
    depth = levels.shape[0]
    l, had = top, depth
    while l < depth:
        mine = core if levels[l, L_COPIES] > 1 else 0
        at, way = find(levels, entries, mine, l, line)
        keep = DIRTY if dirty and levels[l, L_WRITE_BACK] else 0
        if way >= 0:
            had = min(had, l)
            was = touch(levels, entries, tree, mine, l, line, at, way, keep)
            if demand:
                counts[l, K_WRITE_HITS] += 1
                counts[l, K_USEFUL] += (was & PREFETCHED) >> 1
                regs[R_MARKED] = was & PREFETCHED
            else:
                counts[l, K_VICTIMS] += 1
        else:
            if demand:
                counts[l, K_WRITE_MISSES] += 1
            else:
                counts[l, K_VICTIMS] += 1
            if levels[l, L_ALLOCATE]:
                if demand:
                    # the rest of the line comes from below
                    had = min(had, fetch(levels, entries, tree, regs, counts, pending, out, core, l + 1, line))
                    keep |= regs[R_CARRIED]
                put(levels, entries, tree, regs, counts, pending, mine, l, line, keep)
        if not dirty or (levels[l, L_WRITE_BACK] and (way >= 0 or levels[l, L_ALLOCATE])):
            return had
        l += 1
    to_memory(regs, out, line, 1)
    return had


@njit(inline="always")
def settle(levels, entries, tree, regs, counts, pending, out, core):
    """Write the waiting victims, which may push out others."""
    k = 0
    while k < regs[R_PENDING]:
        store(
            levels, entries, tree, regs, counts, pending, out, core, pending[W_LEVEL, k], pending[W_LINE, k], False,
            pending[W_DIRTY, k],
        )  # fmt: skip
        k += 1
    regs[R_PENDING] = 0


@njit(_nrt=False)
def prefetch(levels, entries, tree, regs, counts, pending, out, streams, core, line, missed, page_lines):
    """Let the prefetchers of the levels that saw an access (down to ``missed``) fetch ahead."""
    marked = regs[R_MARKED]
    for l in range(min(missed + 1, levels.shape[0])):
        kind = levels[l, L_PREFETCH]
        step = 0
        if kind == NEXT_LINE:
            step = 1 if missed > l or (missed == l and marked != 0) else 0
        elif kind != NO_PREFETCH:
            page = line // page_lines
            s = page % STREAMS
            if streams[l, core, S_PAGE, s] != page:
                streams[l, core, S_PAGE, s] = page
                streams[l, core, S_STRIDE, s] = 0
                streams[l, core, S_SURE, s] = 0
            else:
                stride = line - streams[l, core, S_LINE, s]
                if stride != 0 and stride == streams[l, core, S_STRIDE, s]:
                    streams[l, core, S_SURE, s] += 1
                elif stride != 0:
                    streams[l, core, S_STRIDE, s] = stride
                    streams[l, core, S_SURE, s] = 1
                if streams[l, core, S_SURE, s] >= SURE:
                    step = streams[l, core, S_STRIDE, s]
            streams[l, core, S_LINE, s] = line
        mine = core if levels[l, L_COPIES] > 1 else 0
        for k in range(1, levels[l, L_DEGREE] + 1 if step != 0 else 0):
            ahead = line + k * step
            at, way = find(levels, entries, mine, l, ahead)
            if ahead >= 0 and way < 0:
                counts[l, K_PREFETCHES] += 1
                fetch(levels, entries, tree, regs, counts, pending, out, core, l + 1, ahead)
                carried = regs[R_CARRIED]
                put(levels, entries, tree, regs, counts, pending, mine, l, ahead, PREFETCHED | carried)
        settle(levels, entries, tree, regs, counts, pending, out, core)


@njit(inline="always")
def access_whole(levels, entries, tree, regs, counts, pending, out, core, first, last):
    """Read lines ``first`` to ``last`` as one access, which misses if one of them does and goes down whole."""
    depth = levels.shape[0]
    had = depth
    for l in range(depth):
        mine = core if levels[l, L_COPIES] > 1 else 0
        missed = False
        for line in range(first, last + 1):
            at, way = find(levels, entries, mine, l, line)
            if way >= 0:
                touch(levels, entries, tree, mine, l, line, at, way, 0)
            else:
                missed = True
                put(levels, entries, tree, regs, counts, pending, mine, l, line, 0)
                if l == depth - 1:
                    to_memory(regs, out, line, 0)
        if not missed:
            counts[l, K_READ_HITS] += 1
            had = l
            break
        counts[l, K_READ_MISSES] += 1
    regs[R_PENDING] = 0
    return had


@njit(inline="always")
def keep_time(levels, regs, mshrs, memory_cycles, core, line, had):
    """When an access starts and ends: in order, one a cycle; a miss waits for room in the miss registers it passes.

    A second miss on a line that is under way ends with the first and takes no register.
    """
    depth = levels.shape[0]
    start = regs[R_CYCLE] + 1
    merged = False
    for m in range(levels[0, L_MSHRS]):
        if mshrs[0, core, M_LINE, m] == line and mshrs[0, core, M_DONE, m] > start:
            merged = True
            regs[R_LAST] = max(regs[R_LAST], mshrs[0, core, M_DONE, m])
    if not merged:
        free = start
        takes = memory_cycles if had == depth else 0
        for l in range(min(had + 1, depth)):
            takes += levels[l, L_LATENCY]
            if l < had and levels[l, L_MSHRS] > 0:
                mine = core if levels[l, L_COPIES] > 1 else 0
                soonest = mshrs[l, mine, M_DONE, 0]
                for m in range(1, levels[l, L_MSHRS]):
                    soonest = min(soonest, mshrs[l, mine, M_DONE, m])
                free = max(free, soonest)
        regs[R_STALLED] += free - start
        start = free
        for l in range(had):
            mine = core if levels[l, L_COPIES] > 1 else 0
            for m in range(levels[l, L_MSHRS]):
                if mshrs[l, mine, M_DONE, m] <= start:
                    mshrs[l, mine, M_LINE, m] = line
                    mshrs[l, mine, M_DONE, m] = start + takes
                    break
        regs[R_LAST] = max(regs[R_LAST], start + takes)
    regs[R_CYCLE] = start


@njit(cache=True, _nrt=False)
def run(
    common, levels, entries, tree, regs, counts, pending, out, streams, mshrs, addresses, writes, sizes, cores, had,
    start,
):  # fmt: skip
    """Run accesses from ``start`` on until all are done or ``out`` is nearly full. Returns how many are done.

    ``writes``, ``sizes`` and ``cores`` may be empty: all reads, within one line, of the first core.
    """
    n, room = addresses.size, out.shape[1] - SPARE
    shift = common[G_LINE_SHIFT]
    k = start
    while k < n and regs[R_OUT] <= room:
        i = u(k)
        core = np.int64(cores[i]) if cores.size else 0
        is_write = writes.size > 0 and writes[i]
        first = addresses[i] >> shift
        last = (addresses[i] + sizes[i] - 1) >> shift if sizes.size else first
        if k + AHEAD < n:
            # look into the large tables early, so that the host's own misses overlap
            line = addresses[u(k + AHEAD)] >> shift
            for l in range(common[G_LARGE], levels.shape[0]):
                base = levels[l, L_BASE] + (line & (levels[l, L_SETS] - 1)) * levels[l, L_WAYS]
                regs[R_SINK] ^= entries[u(base)] ^ entries[u(base + levels[l, L_WAYS] - 1)]
        regs[R_ACCESS] += 1
        worst = 0
        if common[G_WHOLE] and last > first:
            worst = access_whole(levels, entries, tree, regs, counts, pending, out, core, first, last)
            last = first - 1
        for line in range(first, last + 1):
            mine = core if levels[0, L_COPIES] > 1 else 0
            regs[R_MARKED] = 0
            level = 0
            if is_write:
                level = store(levels, entries, tree, regs, counts, pending, out, core, 0, line, True, 1)
            else:
                at, way = find(levels, entries, mine, 0, line)
                if way >= 0:
                    counts[0, K_READ_HITS] += 1
                    was = touch(levels, entries, tree, mine, 0, line, at, way, 0)
                    counts[0, K_USEFUL] += (was & PREFETCHED) >> 1
                    regs[R_MARKED] = was & PREFETCHED
                else:
                    counts[0, K_READ_MISSES] += 1
                    level = fetch(levels, entries, tree, regs, counts, pending, out, core, 1, line)
                    carried = regs[R_CARRIED]
                    put(levels, entries, tree, regs, counts, pending, mine, 0, line, carried)
            settle(levels, entries, tree, regs, counts, pending, out, core)
            if common[G_PREFETCH]:
                prefetch(
                    levels, entries, tree, regs, counts, pending, out, streams, core, line, level, common[G_PAGE_LINES]
                )
            if common[G_TIMED]:
                keep_time(levels, regs, mshrs, common[G_MEMORY], mine, line, level)
            worst = max(worst, level)
        had[i] = worst
        k += 1
    return k
