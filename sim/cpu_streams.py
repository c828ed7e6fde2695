"""The accesses of kernels with sixteen tokens in the lanes, line by line, from the real packed arrays.

Every function appends to a block (``address``, ``kind``, ``gap``): the byte address of an access, what it is
(:data:`READ`, :data:`WRITE`, :data:`AHEAD`), and the work of the core since the access before it, in ticks, of which
:data:`TICKS` are a cycle. It goes on from ``state[S_AT]`` until it is done or the block has no more than ``spare``
places left, and returns how many places are filled. What a stream of weights, indices or counts reads again from the
line that it read last is no access: it hits by construction, and its load is in the work. With ``state[S_AGAIN]`` of -1
it is one, as the order in which lines were used then is the kernel's to the last place.

Loops over a number of turns that varies end as a table of three-bit counters says, by the turn and by how many turns
the loop took before; what it does not foresee costs ``cost[C_SURPRISE]``, also where units have work left (a loop of
eight sums loses as much as a loop of one: :mod:`spcomp.codegen.probe`). Ends in an order that the core has seen before
and still remembers are no surprises: ``state[S_MISSED]`` is the share, in thousandths, that it does not remember.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from math import exp

import numpy as np
from numba import njit

READ, WRITE, AHEAD = range(3)
"""Kinds of accesses. Nothing waits for an access ahead."""
TICKS = 120
"""Ticks a cycle: whole numbers for two, three and six operations a cycle."""
LINE = 64
LINE_SHIFT = 6
AHEAD_ELEMENTS = 1024
"""How far ahead the kernels fetch their weights."""

# Ticks of one operation: a multiply-add or other vector operation, a permute, a load, a store, an instruction; and of
# a surprise, the latency of a multiply-add; instructions in flight; a hundred times the exponent of ``ports``; ends of
# loops whose order is remembered; and a hundred times the exponent of work with permutes.
C_VECTOR, C_PERMUTE, C_LOAD, C_STORE, C_ISSUE, C_SURPRISE, C_LATENCY, C_WINDOW, C_OVERLAP, C_LEARNED, C_PERMUTED = (
    range(11)
)
COSTS = 11

# Where a stream is: the next row; lines read last; work not yet given to an access; and what was counted.
(
    S_AT, S_NEXT, S_VALUE, S_COLUMN, S_COUNT, S_ORDER, S_FETCHED, S_FETCHED2, S_WORK, S_SURPRISES, S_TURNS, S_REST,
    S_INSTRUCTIONS, S_AGAIN, S_LOST, S_MISSED, S_ENDS, S_JOINT, S_ODD, S_FETCHED3,
) = range(20)  # fmt: skip
STATES = 20
THOUSANDTHS = 1000
DEEPEST = 64
"""Turns that the table of counters tells apart."""
SATURATED = 7
"""Of a counter: three bits, as in TAGE (Seznec, A new case for the TAGE branch predictor, MICRO 2011)."""


@njit(inline="always")
def put(address, kind, gap, n, where, what, work):
    """Append an access."""
    address[n] = where
    kind[n] = what
    gap[n] = work
    return n + 1


@njit(cache=True)
def ports(cost, vectors, permutes, loads, stores):
    """Ticks of a core's units together: a norm of what each takes alone, since they get in each other's way.

    With a large exponent that is the busiest of them; the core's own come from a loop of loads and multiply-adds, and
    from one with permutes besides, whose chains leave the units more freedom.
    Permutes are among the vector operations: they have one of those units to themselves.
    """
    p = cost[C_PERMUTED if permutes else C_OVERLAP] / 100
    total = max(vectors * cost[C_VECTOR], permutes * cost[C_PERMUTE]) ** p
    total += (loads * cost[C_LOAD]) ** p + (stores * cost[C_STORE]) ** p
    return np.int64(round(total ** (1 / p)))


@njit(cache=True)
def busiest(cost, vectors, permutes, loads, stores, instructions):
    """Ticks of the units, or of bringing the instructions in."""
    return max(ports(cost, vectors, permutes, loads, stores), instructions * cost[C_ISSUE])


@njit(inline="always")
def lost(cost, state, instructions, surprises, worked):
    """Ticks that instructions come in later than units would have ``worked`` on them, and those of a loop's surprises.

    Counts surprises in thousandths, and one more loop that ended.
    """
    missed = surprises * state[S_MISSED]
    state[S_SURPRISES] += missed
    state[S_ENDS] += 1
    stopped = missed * cost[C_SURPRISE] // THOUSANDTHS
    state[S_LOST] += stopped
    return max(0, instructions * cost[C_ISSUE] - worked) + stopped


@njit(cache=True)
def ends(table, before, turns):
    """Surprises of a loop of ``turns`` turns after one of ``before``; teaches the table."""
    row = min(before, DEEPEST - 1)
    surprises = 0
    for turn in range(min(turns, DEEPEST - 1) + 1):
        ended = turn == turns
        counter = table[row, turn]
        if (counter > SATURATED // 2) != ended:
            surprises += 1
        table[row, turn] = min(SATURATED, counter + 1) if ended else max(0, counter - 1)
    if turns >= DEEPEST:
        surprises += 1
    return surprises


def missed(ends: int, learned: int) -> float:
    """Share of ``ends`` that come again and again in the same order which a table of ``learned`` places does not hold.

    Places are given up at random: of m misses in a round none hits one place in exp(-m * ends / learned) of the cases,
    and that share is still there when its turn comes, so ``1 - m = exp(-m * ends / learned)``.
    """
    if ends <= learned:
        return 0.0
    share = 1.0
    for _ in range(200):
        share = 1 - exp(-share * ends / learned)
    return share


@njit(cache=True)
def block(
    address, kind, gap, n, spare, state, cost, table, stop, size, rows, cols, kept, columns, start, bases, strides, item
):  # fmt: skip
    """Block rows ``state[S_AT]`` to ``stop`` times ``size`` tiles; the last of W has ``kept`` rows.

    ``columns`` [blocks], ``start`` [block rows + 1]. ``bases``: x, sums of row 0, values, columns, starts.
    ``item``: bytes of a value.
    """
    full = address.size - spare
    row, p = state[S_AT], state[S_NEXT]
    inside = state[S_ORDER] if state[S_ORDER] > 0 else 0
    in_block = cols * (rows * size + size + (rows if size > 1 else 0)) + 7
    turn = busiest(cost, cols * rows * size, 0, cols * (rows + size) + 1, 0, in_block)
    turn = max(turn, cols * cost[C_LATENCY])
    last = start.size - 2
    fetched = min(4, (rows * cols + 15) // 16)
    while row < stop and n < full:
        begin, end = start[row], start[row + 1]
        if inside == 0:
            p = begin
            frame = busiest(cost, rows * size, 0, 2, rows * size, 12 + 2 * rows * size)
            surprises = ends(table, state[S_TURNS], end - begin)
            state[S_TURNS] = end - begin
            instructions = 12 + 2 * rows * size + (end - begin) * in_block
            state[S_WORK] += frame + lost(cost, state, instructions, surprises, frame + (end - begin) * turn)
            state[S_INSTRUCTIONS] += 12 + 2 * rows * size
            for k in range(2):
                line = (bases[4] + 4 * (row + k)) // LINE
                if line != state[S_COUNT]:
                    n = put(address, kind, gap, n, line * LINE, READ, state[S_WORK])
                    state[S_COUNT], state[S_WORK] = line | state[S_AGAIN], 0
        work = state[S_WORK]
        while p < end and n < full:
            work += turn
            line = (bases[3] + 4 * p) // LINE
            if line != state[S_COLUMN]:
                n = put(address, kind, gap, n, line * LINE, READ, work)
                state[S_COLUMN], work = line | state[S_AGAIN], 0
            w = bases[2] + p * rows * cols * item
            for k in range(fetched):
                line = (w + (AHEAD_ELEMENTS + 16 * k) * item) // LINE
                if line > state[S_FETCHED]:
                    n = put(address, kind, gap, n, line * LINE, AHEAD, work)
                    state[S_FETCHED], work = line, 0
            x = bases[0] + columns[p] * cols * LINE
            for c in range(cols):
                for t in range(size):
                    n = put(address, kind, gap, n, x + t * strides[0] + c * LINE, READ, work)
                    work = 0
                for line in range((w + c * rows * item) // LINE, (w + (c + 1) * rows * item - 1) // LINE + 1):
                    if line != state[S_VALUE]:
                        n = put(address, kind, gap, n, line * LINE, READ, work)
                        state[S_VALUE], work = line | state[S_AGAIN], 0
            state[S_INSTRUCTIONS] += in_block
            p += 1
        state[S_WORK] = work
        inside = 1
        if p == end and n < full:
            for r in range(kept if row == last else rows):
                for t in range(size):
                    where = bases[1] + (row * rows + r) * LINE + t * strides[1]
                    n = put(address, kind, gap, n, where, WRITE, state[S_WORK])
                    state[S_WORK] = 0
            row += 1
            inside = 0
    state[S_AT], state[S_NEXT], state[S_ORDER] = row, p, inside
    return n


@njit(cache=True)
def nm(address, kind, gap, n, spare, state, cost, stop, first, size, words, shape, control, bases, strides, item):
    """Rows ``state[S_AT]`` to ``stop`` (sixteen a tile) of words ``words[0]`` to ``words[1]`` times ``size`` tiles.

    ``shape``: N, M, bits of a field, slots of a word, columns of a word, words of a row, rows at a time (which divide
    16). ``control`` [tiles, words, 16]. ``bases``: x, sums of row 0, values, control. ``item``: bytes of a value.
    """
    full = address.size - spare
    few, many, bits, slots, width, all_words, rows = shape
    row = state[S_AT]
    chains = rows * max(1, 4 // size)
    slot_work = busiest(cost, size, 0, size + 1, 0, size + 5)
    slot_work = max(slot_work, cost[C_LATENCY] // chains)
    word_work = rows * busiest(cost, 0, 0, 1 + (slots + 15) // 16, 0, 6)
    moved = 0 if first else size
    frame = rows * busiest(cost, size * chains // rows, 0, moved, size, 10 + 2 * size)
    mask = (1 << bits) - 1
    while row < stop and n < full:
        tile, r = row // 16, row % 16
        work = state[S_WORK] + frame
        out = bases[1] + row * LINE
        if not first:
            for i in range(rows):
                for t in range(size):
                    n = put(address, kind, gap, n, out + i * LINE + t * strides[1], READ, work)
                    work = 0
        for word in range(words[0], words[1]):
            here = tile * all_words + word
            work += word_work
            for _ in range(rows):
                n = put(address, kind, gap, n, bases[3] + here * LINE, READ, work)
                work = 0
            for i in range(rows):
                for slot in range(0, slots, 16):
                    ahead = bases[2] + ((here + all_words) * slots + r + i + slot) * 16 * item
                    n = put(address, kind, gap, n, ahead // LINE * LINE, AHEAD, 0)
            x = bases[0] + word * width * LINE
            for slot in range(slots):
                for i in range(rows):
                    field = control[tile, word, r + i]
                    work += slot_work
                    value = bases[2] + ((here * slots + slot) * 16 + r + i) * item
                    n = put(address, kind, gap, n, value // LINE * LINE, READ, work)
                    work = 0
                    at = x + (slot // few * many + ((field >> (bits * slot)) & mask)) * LINE
                    for t in range(size):
                        n = put(address, kind, gap, n, at + t * strides[0], READ, 0)
        for i in range(rows):
            for t in range(size):
                n = put(address, kind, gap, n, out + i * LINE + t * strides[1], WRITE, work)
                work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += rows * ((words[1] - words[0]) * (slots * (size + 5) + 6) + 10 + 2 * size)
        row += rows
    state[S_AT] = row
    return n
