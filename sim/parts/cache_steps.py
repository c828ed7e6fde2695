"""Single steps of a cache hierarchy, compiled into :mod:`cache_kernel`: sets, replacement, eviction, miss registers.

Arguments are the arrays of :class:`spcomp.sim.parts.cache.Caches`, a level ``lv`` and a copy of it, ``core``.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    DIRTY,
    EMPTY,
    EXCLUSIVE,
    INCLUSIVE,
    K_EVICTIONS,
    K_INVALIDATIONS,
    K_READ_HITS,
    K_READ_MISSES,
    K_WRITEBACKS,
    L_BASE,
    L_COPIES,
    L_COPY,
    L_INCLUSION,
    L_LATENCY,
    L_MSHRS,
    L_POLICY,
    L_SETS,
    L_TREE,
    L_TREE_COPY,
    L_WAYS,
    LRU,
    M_DONE,
    M_LINE,
    O_ACCESS,
    O_CYCLE,
    O_LINE,
    O_WRITE,
    PLRU,
    PREFETCHED,
    R_ACCESS,
    R_CYCLE,
    R_LAST,
    R_OUT,
    R_PENDING,
    R_RANDOM,
    R_STALLED,
    W_DIRTY,
    W_LEVEL,
    W_LINE,
)  # fmt: skip


@njit(_nrt=False, forceinline=True)
def find(levels, entries, core, lv, line):
    """(where the set begins, the way that has the line or -1)."""
    ways = levels[lv, L_WAYS]
    at = levels[lv, L_BASE] + core * levels[lv, L_COPY] + (line & (levels[lv, L_SETS] - 1)) * ways
    found = -1
    for w in range(ways):
        if entries[u(at + w)] >> 2 == line:
            found = w
            break
    return at, found


@njit(_nrt=False, forceinline=True)
def point_away(levels, tree, core, lv, line, way):
    """Tree PLRU: every bit on the way to ``way`` points to the other half."""
    t = u(levels[lv, L_TREE] + core * levels[lv, L_TREE_COPY] + (line & (levels[lv, L_SETS] - 1)))
    bits = tree[t]
    node, half, low = 1, levels[lv, L_WAYS] >> 1, 0
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


@njit(_nrt=False, forceinline=True)
def touch(levels, entries, tree, core, lv, line, at, way, flags):
    """Use a way: latest in its order, with ``flags`` added; the mark of a prefetch goes. Returns the entry as it
    was.
    """
    was = entries[u(at + way)]
    entry = (was & ~PREFETCHED) | flags
    if levels[lv, L_POLICY] == LRU:
        for k in range(u(way)):
            w = u(way) - k
            entries[u(at) + w] = entries[u(at) + w - u(1)]
        entries[u(at)] = entry
    else:
        entries[u(at + way)] = entry
        if levels[lv, L_POLICY] == PLRU:
            point_away(levels, tree, core, lv, line, way)
    return was


@njit(_nrt=False, forceinline=True)
def victim_way(levels, entries, tree, regs, core, lv, line, at):
    """The way that gives room: an empty one, or the one that the policy picks."""
    ways = levels[lv, L_WAYS]
    if levels[lv, L_POLICY] == LRU:
        return ways - 1
    for w in range(ways):
        if entries[u(at + w)] == EMPTY:
            return w
    if levels[lv, L_POLICY] == PLRU:
        bits = tree[u(levels[lv, L_TREE] + core * levels[lv, L_TREE_COPY] + (line & (levels[lv, L_SETS] - 1)))]
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


@njit(_nrt=False, forceinline=True)
def remove(levels, entries, core, lv, at, way):
    """Empty a way; with LRU the later ones move up."""
    if levels[lv, L_POLICY] == LRU:
        last = levels[lv, L_WAYS] - 1
        for w in range(way, last):
            entries[u(at + w)] = entries[u(at + w + 1)]
        way = last
    entries[u(at + way)] = EMPTY


@njit(_nrt=False)
def invalidate_above(levels, entries, counts, lv, line):
    """Take a line out of every level above ``lv``. Returns DIRTY if one of them had written to it."""
    dirty = 0
    for k in range(lv):
        for core in range(levels[k, L_COPIES]):
            at, way = find(levels, entries, core, k, line)
            if way >= 0:
                dirty |= entries[u(at + way)] & DIRTY
                remove(levels, entries, core, k, at, way)
                counts[k, K_INVALIDATIONS] += 1
    return dirty


@njit(_nrt=False, forceinline=True)
def put(levels, entries, tree, regs, counts, pending, core, lv, line, flags):
    """Put a line into a level, which may push another out."""
    at = levels[lv, L_BASE] + core * levels[lv, L_COPY] + (line & (levels[lv, L_SETS] - 1)) * levels[lv, L_WAYS]
    way = victim_way(levels, entries, tree, regs, core, lv, line, at)
    out = entries[u(at + way)]
    if out != EMPTY:
        counts[lv, K_EVICTIONS] += 1
        if levels[lv, L_INCLUSION] == INCLUSIVE and lv > 0:
            out |= invalidate_above(levels, entries, counts, lv, out >> 2)
        below = lv + 1
        takes_all = below < levels.shape[0] and levels[below, L_INCLUSION] == EXCLUSIVE
        if out & DIRTY or takes_all:
            counts[lv, K_WRITEBACKS] += out & DIRTY
            n = regs[R_PENDING]
            pending[W_LEVEL, n] = below
            pending[W_LINE, n] = out >> 2
            pending[W_DIRTY, n] = out & DIRTY
            regs[R_PENDING] = n + 1
    entries[u(at + way)] = EMPTY
    touch(levels, entries, tree, core, lv, line, at, way, 0)
    first = at if levels[lv, L_POLICY] == LRU else at + way
    entries[u(first)] = (line << 2) | flags


@njit(_nrt=False, forceinline=True)
def to_memory(regs, out, line, is_write):
    n = regs[R_OUT]
    out[O_LINE, n] = line
    out[O_WRITE, n] = is_write
    out[O_ACCESS, n] = regs[R_ACCESS]
    out[O_CYCLE, n] = regs[R_CYCLE]
    regs[R_OUT] = n + 1


@njit(_nrt=False, forceinline=True)
def access_whole(levels, entries, tree, regs, counts, pending, out, core, first, last):
    """Read lines ``first`` to ``last`` as one access, which misses if one of them does and goes down whole."""
    depth = levels.shape[0]
    had = depth
    for lv in range(depth):
        mine = core if levels[lv, L_COPIES] > 1 else 0
        missed = False
        for line in range(first, last + 1):
            at, way = find(levels, entries, mine, lv, line)
            if way >= 0:
                touch(levels, entries, tree, mine, lv, line, at, way, 0)
            else:
                missed = True
                put(levels, entries, tree, regs, counts, pending, mine, lv, line, 0)
                if lv == depth - 1:
                    to_memory(regs, out, line, 0)
        if not missed:
            counts[lv, K_READ_HITS] += 1
            had = lv
            break
        counts[lv, K_READ_MISSES] += 1
    regs[R_PENDING] = 0
    return had


@njit(_nrt=False, forceinline=True)
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
        for lv in range(min(had + 1, depth)):
            takes += levels[lv, L_LATENCY]
            if lv < had and levels[lv, L_MSHRS] > 0:
                mine = core if levels[lv, L_COPIES] > 1 else 0
                soonest = mshrs[lv, mine, M_DONE, 0]
                for m in range(1, levels[lv, L_MSHRS]):
                    soonest = min(soonest, mshrs[lv, mine, M_DONE, m])
                free = max(free, soonest)
        regs[R_STALLED] += free - start
        start = free
        for lv in range(had):
            mine = core if levels[lv, L_COPIES] > 1 else 0
            for m in range(levels[lv, L_MSHRS]):
                if mshrs[lv, mine, M_DONE, m] <= start:
                    mshrs[lv, mine, M_LINE, m] = line
                    mshrs[lv, mine, M_DONE, m] = start + takes
                    break
        regs[R_LAST] = max(regs[R_LAST], start + takes)
    regs[R_CYCLE] = start
