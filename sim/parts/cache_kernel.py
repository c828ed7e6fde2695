"""The inner loop of a cache hierarchy, compiled by numba, over whole blocks of addresses with state that persists.

A miss looks downwards until a level has the line, then the line is put into the levels it passed, lowest first. Victims
are written to the level below (dirty ones, or all of them if that level is exclusive) once those fills are done, in
order. The line of an inclusive level that is evicted goes from all levels above it at once. Entries of a set that is
replaced by LRU are kept in order of use, the latest first.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    AHEAD,
    DIRTY,
    EMPTY,
    EXCLUSIVE,
    FIRST_USE,
    G_LARGE,
    G_LINE_SHIFT,
    G_MEMORY,
    G_PAGE_LINES,
    G_PREFETCH,
    G_TIMED,
    G_WHOLE,
    K_PREFETCHES,
    K_READ_HITS,
    K_READ_MISSES,
    K_USEFUL,
    K_VICTIMS,
    K_WRITE_HITS,
    K_WRITE_MISSES,
    L_ALLOCATE,
    L_BASE,
    L_COPIES,
    L_COPY,
    L_DEGREE,
    L_INCLUSION,
    L_POLICY,
    L_PREFETCH,
    L_SETS,
    L_WAYS,
    L_WRITE_BACK,
    LRU,
    NEXT_LINE,
    NO_PREFETCH,
    PREFETCHED,
    R_ACCESS,
    R_CARRIED,
    R_MARKED,
    R_OUT,
    R_PENDING,
    R_RESUME,
    R_SINK,
    S_LINE,
    S_PAGE,
    S_STRIDE,
    S_SURE,
    SPARE,
    STREAMS,
    SURE,
    W_DIRTY,
    W_LEVEL,
    W_LINE,
)  # fmt: skip
from spcomp.sim.parts.cache_steps import (
    access_whole,
    find,
    keep_time,
    put,
    remove,
    to_memory,
    touch,
)  # fmt: skip
from spcomp.sim.parts.stamp import source_stamp


@njit(_nrt=False)
def fetch(levels, entries, tree, regs, counts, pending, out, core, top, line):
    """Read a line from level ``top`` downwards and fill those it passed. Returns the level that had it.

    What it leaves in ``R_CARRIED`` is DIRTY if an exclusive level gave up a line that was written to.
    """
    depth = levels.shape[0]
    lv = top
    regs[R_CARRIED] = 0
    while lv < depth:
        mine = core if levels[lv, L_COPIES] > 1 else 0
        at, way = find(levels, entries, mine, lv, line)
        if way >= 0:
            counts[lv, K_READ_HITS] += 1
            was = touch(levels, entries, tree, mine, lv, line, at, way, 0)
            counts[lv, K_USEFUL] += (was & PREFETCHED) >> 1
            regs[R_MARKED] = was & PREFETCHED
            if levels[lv, L_INCLUSION] == EXCLUSIVE:
                regs[R_CARRIED] = was & DIRTY
                remove(levels, entries, mine, lv, at, 0 if levels[lv, L_POLICY] == LRU else way)
            break
        counts[lv, K_READ_MISSES] += 1
        lv += 1
    if lv == depth:
        to_memory(regs, out, line, 0)
    for k in range(lv - 1, top - 1, -1):
        if levels[k, L_INCLUSION] != EXCLUSIVE:
            mine = core if levels[k, L_COPIES] > 1 else 0
            put(levels, entries, tree, regs, counts, pending, mine, k, line, 0)
    return lv


@njit(_nrt=False)
def store(levels, entries, tree, regs, counts, pending, out, core, top, line, demand, dirty):
    """Write a line at level ``top``: a store (``demand``), or a victim from above. Returns the level that had it."""
    depth = levels.shape[0]
    lv, had = top, depth
    while lv < depth:
        mine = core if levels[lv, L_COPIES] > 1 else 0
        at, way = find(levels, entries, mine, lv, line)
        keep = DIRTY if dirty and levels[lv, L_WRITE_BACK] else 0
        if way >= 0:
            had = min(had, lv)
            was = touch(levels, entries, tree, mine, lv, line, at, way, keep)
            if demand:
                counts[lv, K_WRITE_HITS] += 1
                counts[lv, K_USEFUL] += (was & PREFETCHED) >> 1
                regs[R_MARKED] = was & PREFETCHED
            else:
                counts[lv, K_VICTIMS] += 1
        else:
            if demand:
                counts[lv, K_WRITE_MISSES] += 1
            else:
                counts[lv, K_VICTIMS] += 1
            if levels[lv, L_ALLOCATE]:
                if demand:
                    # the rest of the line comes from below
                    had = min(had, fetch(levels, entries, tree, regs, counts, pending, out, core, lv + 1, line))
                    keep |= regs[R_CARRIED]
                put(levels, entries, tree, regs, counts, pending, mine, lv, line, keep)
        if not dirty or (levels[lv, L_WRITE_BACK] and (way >= 0 or levels[lv, L_ALLOCATE])):
            return had
        lv += 1
    to_memory(regs, out, line, 1)
    return had


@njit(_nrt=False, forceinline=True)
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
    for lv in range(min(missed + 1, levels.shape[0])):
        kind = levels[lv, L_PREFETCH]
        step = 0
        if kind == NEXT_LINE:
            step = 1 if missed > lv or (missed == lv and marked != 0) else 0
        elif kind != NO_PREFETCH:
            page = line // page_lines
            s = page % STREAMS
            if streams[lv, core, S_PAGE, s] != page:
                streams[lv, core, S_PAGE, s] = page
                streams[lv, core, S_STRIDE, s] = 0
                streams[lv, core, S_SURE, s] = 0
            else:
                stride = line - streams[lv, core, S_LINE, s]
                if stride != 0 and stride == streams[lv, core, S_STRIDE, s]:
                    streams[lv, core, S_SURE, s] += 1
                elif stride != 0:
                    streams[lv, core, S_STRIDE, s] = stride
                    streams[lv, core, S_SURE, s] = 1
                if streams[lv, core, S_SURE, s] >= SURE:
                    step = streams[lv, core, S_STRIDE, s]
            streams[lv, core, S_LINE, s] = line
        mine = core if levels[lv, L_COPIES] > 1 else 0
        for k in range(1, levels[lv, L_DEGREE] + 1 if step != 0 else 0):
            ahead = line + k * step
            _, way = find(levels, entries, mine, lv, ahead)
            if ahead >= 0 and way < 0:
                counts[lv, K_PREFETCHES] += 1
                fetch(levels, entries, tree, regs, counts, pending, out, core, lv + 1, ahead)
                carried = regs[R_CARRIED]
                put(levels, entries, tree, regs, counts, pending, mine, lv, ahead, PREFETCHED | carried)
        settle(levels, entries, tree, regs, counts, pending, out, core)


def _compiled(stamp: int) -> Any:
    """The entry point, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(
        common, levels, entries, tree, regs, counts, pending, out, streams, mshrs, addresses, writes, sizes, cores, had,
        start,
    ):  # fmt: skip
        """Run accesses from ``start`` on until all are done or ``out`` is nearly full. Returns how many are done.

        ``writes``, ``sizes`` and ``cores`` may be empty: all reads, within one line, of the first core.
        """
        if stamp < 0:
            return start
        n, room = addresses.size, out.shape[1] - SPARE
        shift, origin = common[G_LINE_SHIFT], regs[R_ACCESS] + 1 - start
        sized = sizes.size > 0
        # hits of the first level that change nothing below it, which most accesses are
        plain = levels[0, L_PREFETCH] == NO_PREFETCH and not common[G_TIMED] and levels[0, L_POLICY] == LRU
        written = DIRTY if levels[0, L_WRITE_BACK] else EMPTY
        mask, ways, spread = levels[0, L_SETS] - 1, levels[0, L_WAYS], levels[0, L_COPY]
        k, hits, stores = start, 0, 0
        while k < n and regs[R_OUT] <= room:
            i = u(k)
            core = np.int64(cores[i]) if cores.size else 0
            is_write = writes.size > 0 and writes[i]
            first = addresses[i] >> shift
            last = (addresses[i] + sizes[i] - 1) >> shift if sized else first
            flags = written if is_write else 0
            if plain and last == first and flags >= 0:
                at = u(core * spread + (first & mask) * ways)
                # one loop looks and moves up what it passes: where it ends is hard to foresee
                way, carried, entry = u(0), EMPTY, entries[at]
                while way < u(ways):
                    entry = entries[at + way]
                    entries[at + way] = carried
                    if entry >> 2 == first:
                        break
                    carried = entry
                    way += u(1)
                if way < u(ways):
                    entries[at] = entry | flags
                    hits += 1
                    stores += is_write
                    k += 1
                    continue
                for way in range(u(ways - 1)):
                    entries[at + way] = entries[at + way + u(1)]
                entries[at + u(ways - 1)] = carried
            if k + AHEAD < n:
                # look into the large tables early, so that the host's own misses overlap
                line = addresses[u(k + AHEAD)] >> shift
                for lv in range(common[G_LARGE], levels.shape[0]):
                    base = levels[lv, L_BASE] + (line & (levels[lv, L_SETS] - 1)) * levels[lv, L_WAYS]
                    regs[R_SINK] ^= entries[u(base)] ^ entries[u(base + levels[lv, L_WAYS] - 1)]
            regs[R_ACCESS] = origin + k
            worst, marks = 0, 0
            if common[G_WHOLE] and last > first:
                worst = access_whole(levels, entries, tree, regs, counts, pending, out, core, first, last)
                last = first - 1
            line = first + regs[R_RESUME]
            while line <= last and regs[R_OUT] <= room:
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
                marks |= FIRST_USE if regs[R_MARKED] else 0
                if common[G_PREFETCH]:
                    pages = common[G_PAGE_LINES]
                    prefetch(levels, entries, tree, regs, counts, pending, out, streams, core, line, level, pages)
                if common[G_TIMED]:
                    keep_time(levels, regs, mshrs, common[G_MEMORY], mine, line, level)
                worst = max(worst, level)
                line += 1
            had[i] = max(had[i] & (FIRST_USE - 1), worst) | (had[i] & FIRST_USE) | marks
            if line <= last:
                regs[R_RESUME] = line - first
                break
            regs[R_RESUME] = 0
            k += 1
        counts[0, K_READ_HITS] += hits - stores
        counts[0, K_WRITE_HITS] += stores
        regs[R_ACCESS] = origin + k - 1
        return k

    return run


run = _compiled(source_stamp("cache_layout.py", "cache_steps.py"))
