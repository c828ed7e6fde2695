"""The accesses of kernels with weights in the lanes (few tokens), and of dense products.

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
    LINE,
    READ,
    S_AT,
    S_COLUMN,
    S_COUNT,
    S_FETCHED,
    S_FETCHED2,
    S_FETCHED3,
    S_INSTRUCTIONS,
    S_NEXT,
    S_ORDER,
    S_TURNS,
    S_WORK,
    WRITE,
    busiest,
    ends,
    lost,
    put,
)  # fmt: skip

WIDEST_PERMUTED = 128
"""Columns of a window that permutes reach; wider ones are gathered."""
FIRST_AHEAD = 256
"""Slots from one whose window is read to the one whose window is fetched."""
PANEL_LINES = 4
"""Lines of W, sixteen outputs each, that a dense product multiplies at a time."""
REGISTER_ROWS = 6
"""Rows of x that it multiplies them with: 24 sums in registers."""


@njit
def run_of(address, kind, gap, n, where, nbytes, follows, what, work):
    """Append the lines of so many bytes; if they follow others, without the line that those ended in."""
    first, last = where // LINE, (where + nbytes - 1) // LINE
    for line in range(first + (1 if follows and where % LINE else 0), last + 1):
        n = put(address, kind, gap, n, line * LINE, what, work)
        work = 0
    return n


@njit
def nm_rows(address, kind, gap, n, spare, state, cost, stop, tokens, shape, padded, rows, bases, item, y_item):
    """Tiles ``state[S_AT]`` to ``stop`` of sixteen rows of W, times ``tokens`` rows of x.

    ``shape``: N, M, bits of a field, slots of a word, columns of a word, words of a row. ``bases``: x, y, values,
    control.
    """
    full = address.size - spare
    few, many, _, slots, width, words = shape
    at = state[S_AT]
    chains = max(1, 4 // tokens)
    groups = slots // few
    turn = busiest(cost, 1 + 2 * tokens, tokens, 2, 0, 3 + 2 * tokens)
    turn = max(turn, cost[C_LATENCY] // chains)
    frame = busiest(cost, 2, groups * tokens // 2, 1 + groups * tokens, 0, 4 + groups * tokens)
    while at < stop and n < full:
        work = state[S_WORK]
        for word in range(words):
            here = at * words + word
            n = put(address, kind, gap, n, bases[3] + here * LINE, READ, work)
            work = frame
            for t in range(tokens):
                x = bases[0] + (t * padded + word * width) * 4
                for line in range(x // LINE, (x + groups * many * 4 - 1) // LINE + 1):
                    n = put(address, kind, gap, n, line * LINE, READ, work)
                    work = 0
            for slot in range(slots):
                value = bases[2] + (here * slots + slot) * 16 * item
                n = put(address, kind, gap, n, (value + AHEAD_ELEMENTS * item) // LINE * LINE, AHEAD, work + turn)
                n = put(address, kind, gap, n, value // LINE * LINE, READ, 0)
                work = 0
        for t in range(tokens):
            work += busiest(cost, chains + 1, 0, 1, 1, 8)
            y = bases[1] + (t * rows + at * 16) * y_item
            n = run_of(address, kind, gap, n, y, min(16, rows - at * 16) * y_item, False, WRITE, work)
            work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += words * (slots * (3 + 2 * tokens) + 4 + groups * tokens)
        at += 1
    state[S_AT] = at
    return n


@njit
def window(
    address, kind, gap, n, spare, state, cost, table, stop, m, most, width, padded, rows, values, columns, first, start,
    order, bases, item, y_item,
):  # fmt: skip
    """Groups ``state[S_AT]`` to ``stop`` of sixteen rows of W, times ``m`` rows of x, ``most`` and fewer at a time.

    ``values`` and ``columns`` [slots, 16], ``first`` [slots], ``start`` [groups + 1], ``order`` [rows]. ``bases``: x,
    y, values, columns, first, start, order. A group may stop between tokens: ``state[S_NEXT]``.
    """
    full = address.size - spare
    group, token = state[S_AT], state[S_NEXT]
    gathered = width > WIDEST_PERMUTED
    permutes = 0 if gathered else width // 32
    choices = 0
    while permutes >> (choices + 1):
        choices += 1
    while group < stop and n < full:
        work = state[S_WORK]
        begin, end = start[group], start[group + 1]
        if token == 0:
            n = put(address, kind, gap, n, bases[6] + group * LINE, READ, work)
            work = busiest(cost, 2, 0, 3, 0, 10)
            line = (bases[5] + 8 * (group + 1)) // LINE
            if line != state[S_ORDER]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_ORDER], work = line, 0
        size = most
        while size > m - token:
            size //= 2
        surprises = ends(table, state[S_TURNS], (end - begin) // (2 if size <= 2 else 1))
        state[S_TURNS] = (end - begin) // (2 if size <= 2 else 1)
        vectors = 3 + choices + size * (2 * permutes if permutes else 1)
        loads = 6 + size * (16 if gathered else 2 * permutes)
        turn = busiest(
            cost, vectors, 2 + choices + size * permutes, loads, 0, 12 + size * (26 if gathered else 3 * permutes)
        )
        turn = max(turn, cost[C_LATENCY] // 2 if size <= 2 else cost[C_LATENCY])
        instructions = (end - begin) * (12 + size * (26 if gathered else 3 * permutes))
        work += lost(cost, state, instructions, surprises, (end - begin) * turn)
        for slot in range(begin, end):
            work += turn
            value = bases[2] + slot * 16 * item
            line = value // LINE
            if line != state[S_COUNT]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COUNT], work = line, 0
            line = (bases[3] + slot * 16) // LINE
            if line != state[S_COLUMN]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COLUMN], work = line, 0
            line = (value + AHEAD_ELEMENTS * item) // LINE
            if line > state[S_FETCHED]:
                n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                state[S_FETCHED], work = line, 0
            line = (bases[3] + slot * 16 + AHEAD_ELEMENTS) // LINE
            if line > state[S_FETCHED2]:
                n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                state[S_FETCHED2], work = line, 0
            line = (bases[4] + 2 * (slot + FIRST_AHEAD)) // LINE
            if line > state[S_FETCHED3]:
                n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                state[S_FETCHED3], work = line, 0
            if slot == begin or (bases[4] + 2 * slot) % LINE < 2:
                n = put(address, kind, gap, n, (bases[4] + 2 * slot) // LINE * LINE, READ, work)
                work = 0
            for t in range(size):
                x = bases[0] + ((token + t) * padded + np.int64(first[slot]) * 16) * 4
                if gathered:
                    for lane in range(16):
                        if values[slot, lane] != 0:
                            where = (x + np.int64(columns[slot, lane]) * 4) // LINE * LINE
                            n = put(address, kind, gap, n, where, READ, work)
                            work = 0
                else:
                    for line in range(x // LINE, (x + width * 4 - 1) // LINE + 1):
                        n = put(address, kind, gap, n, line * LINE, READ, work)
                        work = 0
            state[S_INSTRUCTIONS] += 12 + size * (26 if gathered else 3 * permutes)
        for t in range(size):
            work += busiest(cost, 4, 0, 2, 16, 30)
            for lane in range(min(16, rows - group * 16)):
                y = bases[1] + ((token + t) * rows + np.int64(order[group * 16 + lane])) * y_item
                n = put(address, kind, gap, n, y // LINE * LINE, WRITE, work)
                work = 0
        state[S_WORK] = work
        token += size
        if token >= m:
            group, token = group + 1, 0
    state[S_AT], state[S_NEXT] = group, token
    return n


@njit
def bitmap(
    address, kind, gap, n, spare, state, cost, stop, m, most, k, rows, steps, masks, start, bases, item, y_item
):  # fmt: skip
    """Blocks ``state[S_AT]`` to ``stop`` of four rows of W, times ``m`` rows of x, ``most`` and fewer at a time.

    ``masks`` uint16 [rows, words], ``start`` [rows + 1]; ``steps[log2 tokens]``: rows of W at a time. ``bases``: x, y,
    values, masks, start.
    """
    full = address.size - spare
    at, token = state[S_AT], state[S_NEXT]
    words = (k + 15) // 16
    place = np.zeros(4, np.int64)
    seen = np.zeros(4, np.int64)
    while at < stop and n < full:
        work = state[S_WORK]
        size, log = most, 0
        while size > m - token:
            size //= 2
        while size >> (log + 1):
            log += 1
        high = min(4, rows - at * 4)
        step = steps[log] if high == 4 else 1
        for low in range(0, high, step):
            row = at * 4 + low
            for r in range(step):
                place[r] = start[row + r]
                seen[r] = -1
                n = put(address, kind, gap, n, (bases[4] + 8 * (row + r)) // LINE * LINE, READ, work)
                work = 0
            turn = busiest(cost, step * (3 + size), 3 * step, step * 3 + size, 0, step * (8 + size) + size + 2)
            turn = max(turn, cost[C_LATENCY])
            for word in range(words):
                work += turn
                for t in range(size):
                    x = bases[0] + ((token + t) * words + word) * LINE
                    n = put(address, kind, gap, n, x, READ, work)
                    work = 0
                for r in range(step):
                    where = bases[3] + ((row + r) * masks.shape[1] + word) * 2
                    if word == 0 or where % LINE < 2:
                        n = put(address, kind, gap, n, where // LINE * LINE, READ, work)
                        work = 0
                    bits = np.int64(masks[row + r, word])
                    stored = 0
                    while bits:
                        bits &= bits - 1
                        stored += 1
                    ahead = bases[2] + (place[r] + AHEAD_ELEMENTS) * item
                    value = bases[2] + place[r] * item
                    last = (value + stored * item - 1) // LINE
                    if stored and last != seen[r]:
                        n = put(address, kind, gap, n, ahead // LINE * LINE, AHEAD, work)
                        work = 0
                        for line in range(max(value // LINE, seen[r] + 1), last + 1):
                            n = put(address, kind, gap, n, line * LINE, READ, 0)
                        seen[r] = last
                    place[r] += stored
            for r in range(step):
                for t in range(size):
                    y = bases[1] + ((token + t) * rows + row + r) * y_item
                    n = put(address, kind, gap, n, y // LINE * LINE, WRITE, work + busiest(cost, 8, 4, 1, 1, 12))
                    work = 0
            state[S_INSTRUCTIONS] += words * (step * (8 + size) + size + 2)
        state[S_WORK] = work
        token += size
        if token >= m:
            at, token = at + 1, 0
    state[S_AT], state[S_NEXT] = at, token
    return n


@njit
def gemv(address, kind, gap, n, spare, state, cost, stop, tokens, k, rows, bases, item):
    """Groups ``state[S_AT]`` to ``stop`` of four rows of a dense W, in whole registers, times ``tokens`` rows."""
    full = address.size - spare
    at = state[S_AT]
    while at < stop and n < full:
        high = min(4, rows - at * 4)
        work = state[S_WORK]
        turn = busiest(cost, high * tokens, 0, high + tokens, 0, high * (tokens + 1) + 2)
        turn = max(turn, cost[C_LATENCY] // (2 if high * tokens < 8 else 1))
        for column in range(0, k, 16):
            work += turn
            for t in range(tokens):
                x = bases[0] + (t * k + column) * item
                n = run_of(address, kind, gap, n, x, min(16, k - column) * item, column > 0, READ, work)
                work = 0
            for r in range(high):
                w = bases[2] + ((at * 4 + r) * k + column) * item
                n = run_of(address, kind, gap, n, w, min(16, k - column) * item, column > 0, READ, work)
        for t in range(tokens):
            work += busiest(cost, 8 * high, 4 * high, 0, high, 12 * high)
            y = bases[1] + (t * rows + at * 4) * item
            n = run_of(address, kind, gap, n, y, high * item, False, WRITE, work)
            work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += (k + 15) // 16 * (high * (tokens + 1) + 2)
        at += 1
    state[S_AT] = at
    return n


@njit
def gemm(address, kind, gap, n, spare, state, cost, stop, m, k, columns, bases, item):
    """Tiles ``state[S_AT]`` to ``stop`` of a dense product: six rows of x by 64 columns, all of K in registers.

    W lies in panels [64 columns][K][64], as a library lays it out before; all rows of x pass a panel before the next.
    ``bases``: x [m, k], y [m, columns], W.
    """
    full = address.size - spare
    at = state[S_AT]
    blocks = (m + REGISTER_ROWS - 1) // REGISTER_ROWS
    while at < stop and n < full:
        panel, piece = at // blocks, at % blocks
        low, high = piece * m // blocks, (piece + 1) * m // blocks
        rows = high - low
        lines = min(PANEL_LINES, (columns - panel * 16 * PANEL_LINES + 15) // 16)
        turn = busiest(cost, rows * lines, 0, rows + lines, 0, rows * lines + rows + lines)
        turn = max(turn, cost[C_LATENCY] // (4 if rows * lines < 8 else 1))
        work = state[S_WORK]
        w = bases[2] + panel * 16 * PANEL_LINES * k * item
        for depth in range(k):
            work += turn
            if depth * item % LINE == 0:
                for r in range(low, high):
                    x = bases[0] + (r * k + depth) * item
                    n = run_of(address, kind, gap, n, x, min(LINE, (k - depth) * item), depth > 0, READ, work)
                    work = 0
            for line in range(lines):
                n = put(address, kind, gap, n, (w + (depth * lines + line) * 16 * item) // LINE * LINE, READ, work)
                work = 0
        work += busiest(cost, rows * lines, 0, lines, rows * lines, 2 * rows * lines + 20)
        for r in range(low, high):
            for line in range(lines):
                column = (panel * PANEL_LINES + line) * 16
                y = bases[1] + (r * columns + column) * item
                n = run_of(address, kind, gap, n, y, min(16, columns - column) * item, line > 0, WRITE, work)
                work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += k * (rows * lines + rows + lines) + 2 * rows * lines + 20
        at += 1
    state[S_AT] = at
    return n
