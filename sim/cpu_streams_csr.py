"""The accesses of blocked rows times tiles of sixteen tokens, row by row or several rows together.

The conventions of :mod:`spcomp.sim.cpu_streams` hold here.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit

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
    S_JOINT,
    S_NEXT,
    S_ODD,
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

TABLES = 5
"""Of the ends of loops: one row's, unrolled, and its rest; that of rows together, and its odd turn; what is left of
each of these rows."""
JOINT = 2
"""Turns of the loop of rows together that LLVM makes one."""
NARROW = 2 / 3
"""Of the time that a load of a line takes its ports: what any load takes where a third port has narrow ones besides
(Golden Cove's, https://uops.info). It shows where no chain holds the core up: with rows together."""


@njit(cache=True)
def _single(state, cost, table, count, size, moved, each, unrolled, turn, frame):
    """Ticks of one row beside those of its nonzeros, and its instructions."""
    # a loop unrolled, and one for the rest; rows overlap as far as the window reaches
    instructions = count * each + 3 * (count // unrolled + count % unrolled) + 16 + moved + size
    chain = count * cost[C_LATENCY] * instructions // (instructions + cost[C_WINDOW])
    worked = max(chain, count * turn + frame)
    # the unrolled loop and the one for the rest end on their own; a rest of up to one is a branch
    turns, rest = count // unrolled, count % unrolled
    surprises = ends(table[0], state[S_TURNS], turns) + ends(table[1], state[S_REST], rest)
    state[S_TURNS], state[S_REST] = turns, rest
    state[S_INSTRUCTIONS] += instructions
    return worked - count * turn + lost(cost, state, instructions, surprises, worked)


@njit(cache=True)
def _group(state, cost, table, counts, shortest, size, moved, each, turn, frame):
    """The same of rows together: chains run side by side for ``shortest`` turns, what is left comes row by row."""
    total, rows = counts.sum(), counts.size
    instructions = total * each + 3 * (shortest // JOINT) + rows * (36 + moved + size)
    chain, surprises = shortest, ends(table[2], state[S_JOINT], shortest // JOINT)
    surprises += ends(table[3], state[S_ODD], shortest % JOINT)
    state[S_JOINT], state[S_ODD] = shortest // JOINT, shortest % JOINT
    for i in range(rows):
        rest = counts[i] - shortest
        instructions += 3 * rest
        chain += rest
        surprises += ends(table[4], i, rest)  # of each row a loop of its own
    chain = chain * cost[C_LATENCY] * instructions // (instructions + cost[C_WINDOW])
    worked = max(chain, total * turn + rows * frame)
    state[S_INSTRUCTIONS] += instructions
    return worked - total * turn + lost(cost, state, instructions, surprises, worked)


@njit(cache=True)
def csr(
    address, kind, gap, n, spare, state, cost, table, stop, first, size, window, together, counts, order, columns,
    bases, strides, items,
):  # fmt: skip
    """Rows ``state[S_AT]`` to ``stop`` of one column block times ``size`` tiles.

    ``table``: :data:`TABLES` of them.
    ``counts``, ``order`` [rows of W] of this block (``order`` empty without a window); ``columns`` of all nonzeros.
    ``bases``: x of the block, sums of row 0, values, columns, counts, order. ``strides`` of x and sums from tile to
    tile; ``items``: bytes of a value, a column, a count. ``state[S_NEXT]``: the next nonzero.

    So many rows ``together`` as a window holds whole groups of, its last ones one by one.
    """
    full = address.size - spare
    row, p = state[S_AT], state[S_NEXT]
    turn = ports(cost, size, 0, size + 2, 0)
    alongside = ports(cost, size, 0, max(float(size), NARROW * (size + 2)), 0)
    each, unrolled = size + 3, 8 if size == 1 else 4 if size < 8 else 2
    moved = 0 if first else size
    frame = ports(cost, size if first else 0, 0, moved + 5, size)
    begins = np.zeros(together + 1, np.int64)
    last = np.zeros((together, 2), np.int64)  # lines of columns and values that each row of a group read last
    kept = ports(cost, size if first else 0, 0, moved + 9, size + 3)  # of a row among others: places on the stack
    while row < stop and n < full:
        rows, shortest, spent = 1, 0, turn
        if together > 1 and row + together <= min(stop, (row // window + 1) * window):
            rows, shortest, spent = together, counts[row : row + together].min(), alongside
            work = _group(state, cost, table, counts[row : row + rows], shortest, size, moved, each, spent, kept)
        else:
            work = _single(state, cost, table, counts[row], size, moved, each, unrolled, turn, frame)
        work += state[S_WORK]
        if order.size:
            for at in range(row, row + rows):
                line = (bases[5] + at) >> LINE_SHIFT
                if line != state[S_ORDER]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    state[S_ORDER], work = line | state[S_AGAIN], 0
        for i in range(rows):
            begins[i] = p
            last[i, 0], last[i, 1] = state[S_COLUMN], state[S_VALUE]
            line = (bases[4] + (row + i) * items[2]) >> LINE_SHIFT
            if line != state[S_COUNT]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COUNT], work = line | state[S_AGAIN], 0
            if not first:
                place = row // window * window + order[row + i] if order.size else row
                for t in range(size):
                    n = put(address, kind, gap, n, bases[1] + place * LINE + t * strides[1], READ, work)
                    work = 0
            for k in range(2):
                line = (bases[2] + (p + AHEAD_ELEMENTS + 16 * k) * items[0]) >> LINE_SHIFT
                if line > state[S_FETCHED]:
                    n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                    state[S_FETCHED], work = line, 0
            line = (bases[3] + (p + AHEAD_ELEMENTS) * items[1]) >> LINE_SHIFT
            if line > state[S_FETCHED2]:
                n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                state[S_FETCHED2], work = line, 0
            p += counts[row + i]
        begins[rows] = p
        for part in range(shortest + rows):  # turns of all rows, then what is left of each
            joint = part < shortest
            i = 0 if joint else part - shortest
            q = begins[i] + min(part, shortest)
            for k in range(rows if joint else begins[i + 1] - q):
                if joint:
                    i, q = k, begins[k] + part
                work += spent
                line = (bases[3] + q * items[1]) >> LINE_SHIFT
                if line != last[i, 0]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    last[i, 0], work = line | state[S_AGAIN], 0
                line = (bases[2] + q * items[0]) >> LINE_SHIFT
                if line != last[i, 1]:
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    last[i, 1], work = line | state[S_AGAIN], 0
                x = bases[0] + columns[q] * LINE
                for t in range(size):
                    n = put(address, kind, gap, n, x + t * strides[0], READ, work)
                    work = 0
                q += 1
            if not joint:
                place = row // window * window + order[row + i] if order.size else row
                for t in range(size):
                    n = put(address, kind, gap, n, bases[1] + place * LINE + t * strides[1], WRITE, work)
                    work = 0
        state[S_COLUMN], state[S_VALUE], state[S_WORK] = last[rows - 1, 0], last[rows - 1, 1], work
        row += rows
    state[S_AT], state[S_NEXT] = row, p
    return n
