"""The accesses of slices of rows times tiles of sixteen tokens, window by window.

The conventions of :mod:`spcomp.sim.cpu_streams` hold here.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spcomp.plan import KernelCall
from spcomp.sim.cpu_streams import (
    AHEAD,
    AHEAD_ELEMENTS,
    C_LATENCY,
    C_WINDOW,
    LINE,
    LINE_SHIFT,
    READ,
    S_AGAIN,
    S_AT,
    S_COLUMN,
    S_COUNT,
    S_FETCHED,
    S_FETCHED2,
    S_INSTRUCTIONS,
    S_ORDER,
    S_REST,
    S_TURNS,
    S_VALUE,
    S_WORK,
    WRITE,
    ends,
    lost,
    ports,
    put,
)

START, REST_START, REST_ROWS = range(3)
"""Lines read last of these tables."""


@njit(cache=True)
def sell(
    address, kind, gap, n, spare, state, cost, table, stop, first, size, rows, window, total, lengths, order, start,
    rest_start, rest_rows, columns, seen, bases, strides, items,
):  # fmt: skip
    """Windows ``state[S_AT]`` to ``stop`` of one column block times ``size`` tiles, in slices of ``rows`` of ``total``.

    ``table``: two, of the ends of slices and of rests. ``lengths``, ``order``, ``start``, ``rest_start`` of this block;
    ``rest_rows``, ``columns`` of all. ``seen``: lines of tables read last. ``bases``: x of the block, sums of row 0,
    values, columns, lengths, order, starts, those of the rest, rows of the rest. ``items``: bytes of a value, a length.
    """
    full = address.size - spare
    at = state[S_AT]
    per = window // rows
    moved = 0 if first else size
    turn = ports(cost, rows * size, 0, rows * (size + 1) + 2, 0)
    frame = ports(cost, rows * size if first else 0, 0, rows * (moved + 1) + 2, rows * size)
    each = 3 + rows * (4 + size)
    single = ports(cost, size, 0, 3 + 2 * size, size)
    while at < stop and n < full:
        work = state[S_WORK]
        lo, hi = at * window, min((at + 1) * window, total)
        p = start[at]
        line = (bases[6] + 8 * at) >> LINE_SHIFT
        if line != seen[START]:
            n = put(address, kind, gap, n, line * LINE, READ, work)
            seen[START], work = line | state[S_AGAIN], 0
        for one in range((hi - lo) // rows):
            turns = lengths[at * per + one]
            instructions = turns * each + rows * (8 + size + moved)
            chain = turns * cost[C_LATENCY] * instructions // (instructions + cost[C_WINDOW])
            worked = max(chain, turns * turn + frame)
            surprises = ends(table[0], state[S_TURNS], turns)
            state[S_TURNS] = turns
            state[S_INSTRUCTIONS] += instructions
            work += worked - turns * turn + lost(cost, state, instructions, surprises, worked)
            place = lo + one * rows
            for r in range(rows):
                line = (bases[5] + place + r) >> LINE_SHIFT
                if line != state[S_ORDER]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    state[S_ORDER], work = line | state[S_AGAIN], 0
            line = (bases[4] + (at * per + one) * items[1]) >> LINE_SHIFT
            if line != state[S_COUNT]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COUNT], work = line | state[S_AGAIN], 0
            if not first:
                for r in range(rows):
                    for t in range(size):
                        where = bases[1] + (lo + order[place + r]) * LINE + t * strides[1]
                        n = put(address, kind, gap, n, where, READ, work)
                        work = 0
            line = (bases[3] + p + AHEAD_ELEMENTS) >> LINE_SHIFT
            if line > state[S_FETCHED2]:
                n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                state[S_FETCHED2], work = line, 0
            for _ in range(turns):
                work += turn
                line = (bases[2] + (p + AHEAD_ELEMENTS) * items[0]) >> LINE_SHIFT
                if line > state[S_FETCHED]:
                    n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                    state[S_FETCHED], work = line, 0
                line = (bases[3] + p) >> LINE_SHIFT
                if line != state[S_COLUMN]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    state[S_COLUMN], work = line | state[S_AGAIN], 0
                last = (bases[3] + p + rows - 1) >> LINE_SHIFT
                if last != line:  # one load of as many bytes as rows
                    n = put(address, kind, gap, n, last * LINE, READ, work)
                    state[S_COLUMN], work = last | state[S_AGAIN], 0
                for r in range(rows):
                    line = (bases[2] + (p + r) * items[0]) >> LINE_SHIFT
                    if line != state[S_VALUE]:
                        n = put(address, kind, gap, n, line * LINE, READ, work)
                        state[S_VALUE], work = line | state[S_AGAIN], 0
                    x = bases[0] + columns[p + r] * LINE
                    for t in range(size):
                        n = put(address, kind, gap, n, x + t * strides[0], READ, work)
                        work = 0
                p += rows
            for r in range(rows):
                for t in range(size):
                    where = bases[1] + (lo + order[place + r]) * LINE + t * strides[1]
                    n = put(address, kind, gap, n, where, WRITE, work)
                    work = 0
        if first:
            for place in range(lo + (hi - lo) // rows * rows, hi):
                work += ports(cost, 0, 0, 1, size)
                line = (bases[5] + place) >> LINE_SHIFT
                if line != state[S_ORDER]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    state[S_ORDER], work = line | state[S_AGAIN], 0
                for t in range(size):
                    n = put(address, kind, gap, n, bases[1] + (lo + order[place]) * LINE + t * strides[1], WRITE, work)
                    work = 0
        for i in range(2):
            line = (bases[7] + 8 * (at + i)) >> LINE_SHIFT
            if line != seen[REST_START]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                seen[REST_START], work = line | state[S_AGAIN], 0
        left = rest_start[at + 1] - rest_start[at]
        instructions = left * (8 + 3 * size) + 16
        worked = left * single
        surprises = ends(table[1], state[S_REST], left)
        state[S_REST] = left
        state[S_INSTRUCTIONS] += instructions
        work += lost(cost, state, instructions, surprises, worked)
        for q in range(rest_start[at], rest_start[at + 1]):
            work += single
            line = (bases[3] + p) >> LINE_SHIFT
            if line != state[S_COLUMN]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COLUMN], work = line | state[S_AGAIN], 0
            line = (bases[8] + q) >> LINE_SHIFT
            if line != seen[REST_ROWS]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                seen[REST_ROWS], work = line | state[S_AGAIN], 0
            sums = bases[1] + (lo + rest_rows[q]) * LINE
            for t in range(size):
                n = put(address, kind, gap, n, sums + t * strides[1], READ, work)
                work = 0
            line = (bases[2] + p * items[0]) >> LINE_SHIFT
            if line != state[S_VALUE]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_VALUE], work = line | state[S_AGAIN], 0
            for what in range(2):
                for t in range(size):
                    where = sums + t * strides[1] if what else bases[0] + columns[p] * LINE + t * strides[0]
                    n = put(address, kind, gap, n, where, WRITE if what else READ, work)
                    work = 0
            p += 1
        state[S_WORK] = work
        at += 1
    state[S_AT] = at
    return n


class SellBody:
    """Slices of rows: what a call reads of its buffers, block by block of columns."""

    def __init__(self, walk: Any, call: KernelCall, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]) -> None:
        parameters = call.encoding.parameters()
        self.walk, self.call, self.at = walk, call, at
        self.rows, self.slice = int(parameters["window"]), int(parameters["rows"])
        self.columns, self.width = call.k, int(parameters["block_columns"])
        self.lengths, self.order = packed["lengths"].astype(np.int64), packed["order"].astype(np.int64)
        self.start, self.rest_start = packed["start"], packed["rest_start"]
        self.rest_rows, self.column = packed["rest_rows"].astype(np.int64), packed["columns"].astype(np.int64)
        self.items = np.array([packed["values"].itemsize, packed["lengths"].itemsize], np.int64)
        self.longest = int(np.diff(self.start).max(initial=0))
        self.spare = 0

    def run(self, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> Iterator[int]:
        """Windows ``lo`` to ``hi`` times ``size`` tiles."""
        walk, n, at = self.walk, self.call.n, self.at
        windows = -(-n // self.rows)
        walk.need(max(walk.spare, 64 + self.longest * (6 + 3 * size) + self.rows * (4 + 3 * size)))
        walk.remember(at["values"], lo, size)
        for block, lengths in enumerate(self.lengths):
            here = slice(block * windows, (block + 1) * windows + 1)
            bases = np.array(
                [
                    x + block * self.width * LINE, y, at["values"], at["columns"],
                    at["lengths"] + block * len(lengths) * int(self.items[1]), at["order"] + block * n,
                    at["start"] + 8 * block * windows, at["rest_start"] + 8 * block * windows, at["rest_rows"],
                ],
                np.int64,
            )  # fmt: skip
            yield from walk.run(
                sell, hi, walk.cost, walk.table, hi, block == 0, size, self.slice, self.rows, n, lengths,
                self.order[block], self.start[here], self.rest_start[here], self.rest_rows, self.column,
                np.full(3, -1, np.int64), bases, np.array([x_stride, y_stride], np.int64), self.items, at=lo,
            )  # fmt: skip
