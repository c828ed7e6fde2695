"""The inner loop of the hierarchies that most machines have, faster: :mod:`cache_kernel` with fewer choices.

One core; levels of up to sixteen ways replaced by LRU or by a tree, that write back or through, allocate or not, are
inclusive or not, with the prefetcher of the next lines or none, and no time. What happens in which order is what that
module does; the results are equal.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import trailing_zeros
from numpy import uint64 as u

from spcomp.sim.parts.cache_layout import (
    FIRST_USE,
    K_READ_HITS,
    K_READ_MISSES,
    K_USEFUL,
    K_WRITE_HITS,
    K_WRITE_MISSES,
    R_ACCESS,
    R_MARKED,
    R_OUT,
    R_PENDING,
    R_RESUME,
    SPARE,
)  # fmt: skip
from spcomp.sim.parts.cache_one_core_steps import (
    F_ALLOCATE,
    F_BACK,
    F_BASE,
    F_BITS,
    F_DEGREE,
    F_MASK,
    F_SHIFT,
    F_TREE,
    fetch,
    look,
    prefetch,
    put,
    settle,
    store_below,
    touch,
)  # fmt: skip
from spcomp.sim.parts.cache_ways import MARKS, WAYS, matches
from spcomp.sim.parts.stamp import source_stamp

AHEAD = 16
"""How many accesses ahead the host is asked for the sets of large levels, when one misses the first."""


def _compiled(stamp: int) -> Any:
    """The entry point, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(large, table, entries, trees, regs, counts, spare, out, addresses, writes, sizes, had, start):
        """Run accesses from ``start`` on until all are done or ``out`` is nearly full. Returns how many are done.

        ``writes`` and ``sizes`` may be empty: all reads, within one line. ``large`` is the first level whose table is
        beyond the host's nearest caches; ``spare``: room for victims.
        """
        if stamp < 0:
            return start
        n, room, shift = addresses.size, out[0].size - SPARE, table[0, F_SHIFT]
        pending = spare[0]
        origin = regs[R_ACCESS] + 1 - start
        mask, bits, base = table[0, F_MASK], table[0, F_BITS], table[0, F_BASE]
        back, allocate = table[0, F_BACK], table[0, F_ALLOCATE]
        prefetching = False
        for lv in range(table.shape[0]):
            prefetching |= table[lv, F_DEGREE] > 0
        looks = large < table.shape[0]
        hits, stores = 0, 0
        k, looked = start, start
        recent, recent_at = -1, 0
        while k < n and regs[R_OUT] <= room:
            i = u(k)
            is_write = 1 if writes.size > 0 and writes[i] else 0
            line = addresses[i] >> shift
            last = (addresses[i] + sizes[i] - 1) >> shift if sizes.size > 0 else line
            if line == recent and line == last and is_write <= back:
                # nothing has happened since but hits: it is the latest of its set
                hits += 1
                stores += is_write
                entries[u(recent_at)] |= is_write
                k += 1
                continue
            first = line
            line += regs[R_RESUME]
            regs[R_RESUME] = 0
            worst, marks = 0, 0
            while line <= last and regs[R_OUT] <= room:
                place = base + (line & mask)
                found = matches(entries, u(place * WAYS), np.int32((line >> bits) << 2 | MARKS))
                level, onward = 0, is_write > back
                if found:
                    hits += 1
                    stores += is_write
                    marked = touch(table, entries, trees, 0, place, found, is_write & back)
                    if not marked and not onward:
                        recent = line
                        recent_at = place * WAYS + (trailing_zeros(found) if table[0, F_TREE] else 0)
                        line += 1
                        continue
                    counts[0, K_USEFUL] += marked > 0
                    regs[R_MARKED], regs[R_ACCESS] = marked, origin + k
                else:
                    regs[R_MARKED], regs[R_ACCESS] = 0, origin + k
                    if looks:
                        looked = max(looked, k + 1)
                        while looked < min(k + AHEAD, n):
                            look(table, entries, large, addresses[u(looked)] >> shift)
                            looked += 1
                    counts[0, K_WRITE_MISSES if is_write else K_READ_MISSES] += 1
                    level = table.shape[0]
                    if not is_write or allocate:
                        level = fetch(table, entries, trees, regs, counts, pending, out, 1, line)
                        put(table, entries, trees, regs, counts, pending, 0, line, is_write & back)
                    onward = onward or (is_write and not allocate)
                if onward:
                    level = min(level, store_below(table, entries, trees, regs, counts, pending, out, line))
                if regs[R_PENDING]:
                    settle(table, entries, trees, regs, counts, pending, out)
                if regs[R_MARKED]:
                    marks = FIRST_USE
                if prefetching:
                    prefetch(table, entries, trees, regs, counts, pending, out, line, level)
                recent = -1
                worst = max(worst, level)
                line += 1
            if worst or marks:
                had[i] = max(had[i] & (FIRST_USE - 1), worst) | (had[i] & FIRST_USE) | marks
            if line <= last:
                regs[R_RESUME] = line - first
                break
            k += 1
        counts[0, K_READ_HITS] += hits - stores
        counts[0, K_WRITE_HITS] += stores
        regs[R_ACCESS] = origin + k - 1
        return k

    return run


run = _compiled(source_stamp("cache_layout.py", "cache_one_core_steps.py", "cache_ways.py"))
