"""Queues of a DRAM channel: requests in the order in which they came, and the cells of ``ready`` that they wait for.

A request waits for a column command if its row is open, else for an activation or a precharge. Which one it is changes
only with the row of its bank, so cells are kept, and the search for the next request is one pass of loads and minima.
Places beyond the last request hold no bank and a cell that is never ready, so loops run over whole vectors. ``room`` is
how many places a queue has; a constant when compiled. Names are those of :mod:`dram_steps`; compiled into
:mod:`dram_kernel`.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.dram_layout import (
    ACT,
    B_OWNERS,
    B_ROW,
    BANK_FIELDS,
    CLOSED,
    FAR,
    FAR_CELL,
    LANES,
    P_BANKS,
    P_DUAL_BUS,
    P_RANK_BANKS,
    PLACE_BITS,
    PRE,
    PREA,
    Q_CELL,
    Q_ID,
    Q_PLACE,
    Q_ROW_CELL,
    Q_TX,
    QUEUE_FIELDS,
    R_PAIR_BANK,
    R_PAIR_EDGE,
    R_PAIR_RANK,
    R_QUEUED,
    R_SPLIT_BANK,
    RD,
    TIMED,
)  # fmt: skip

BANK_MASK = (1 << PLACE_BITS) - 1
STEP = 4
"""Places that move at once."""


@njit(_nrt=False, forceinline=True)
def field(room, w, name):
    """Where a field of the requests of queue ``w`` begins."""
    return (w * QUEUE_FIELDS + name) * room


@njit(_nrt=False, forceinline=True)
def queued_bank(room, queue, c, w, slot):
    return queue[c, u(field(room, w, Q_PLACE) + slot)] & BANK_MASK


@njit(_nrt=False, forceinline=True)
def row_cell(par, bank, c, b):
    """The cell that requests for another row than the open one of bank ``b`` wait for."""
    row = bank[c, u(b * BANK_FIELDS + B_ROW)]
    if row == CLOSED:
        return ACT * par[P_BANKS] + b
    if row < 0 or bank[c, u(b * BANK_FIELDS + B_OWNERS)] > 0:
        return TIMED * par[P_BANKS]
    return PRE * par[P_BANKS] + b


@njit(_nrt=False, forceinline=True)
def aim_bank(par, regs, bank, queue, room, c, b):
    """The row of bank ``b`` changed, or who waits for it: what its requests wait for."""
    banks = par[P_BANKS]
    never = TIMED * banks
    other = row_cell(par, bank, c, b)
    # no place has a negative row
    here = (bank[c, u(b * BANK_FIELDS + B_ROW)] << PLACE_BITS) | b
    for w in range(2):
        column = (RD + w) * banks + b
        n = (regs[c, u(R_QUEUED + w)] + STEP - 1) // STEP * STEP
        places, cells = u(field(room, w, Q_PLACE)), u(field(room, w, Q_CELL))
        row_cells = u(field(room, w, Q_ROW_CELL))
        if par[P_DUAL_BUS] > 0:
            for k in range(u(n)):
                place, to, row_to = queue[c, places + k], queue[c, cells + k], queue[c, row_cells + k]
                mine = (place & BANK_MASK) == b
                hit = place == here
                queue[c, cells + k] = (column if hit else never) if mine else to
                queue[c, row_cells + k] = (never if hit else other) if mine else row_to
        else:
            for k in range(u(n)):
                place, to = queue[c, places + k], queue[c, cells + k]
                mine = (place & BANK_MASK) == b
                queue[c, cells + k] = (column if place == here else other) if mine else to


@njit(_nrt=False, forceinline=True)
def push_request(par, regs, bank, queue, room, c, w, request, tx, b, row):
    banks = par[P_BANKS]
    never = TIMED * banks
    n = regs[c, u(R_QUEUED + w)]
    queue[c, u(field(room, w, Q_ID) + n)] = request * 2
    queue[c, u(field(room, w, Q_PLACE) + n)] = (row << PLACE_BITS) | b
    queue[c, u(field(room, w, Q_TX) + n)] = tx
    hit = bank[c, u(b * BANK_FIELDS + B_ROW)] == row
    column, other = (RD + w) * banks + b, row_cell(par, bank, c, b)
    if par[P_DUAL_BUS] > 0:
        queue[c, u(field(room, w, Q_CELL) + n)] = column if hit else never
        queue[c, u(field(room, w, Q_ROW_CELL) + n)] = never if hit else other
    else:
        queue[c, u(field(room, w, Q_CELL) + n)] = column if hit else other
    regs[c, u(R_QUEUED + w)] = n + 1


@njit(_nrt=False, forceinline=True)
def drop_request(par, regs, queue, room, c, w, slot):
    """Those behind it move up, and empty places with them."""
    n = regs[c, u(R_QUEUED + w)] - 1
    regs[c, u(R_QUEUED + w)] = n
    count = u((n - slot + STEP) // STEP * STEP)
    for name in (Q_ID, Q_PLACE, Q_CELL):
        to = u(field(room, w, name) + slot)
        start = u(field(room, w, name) + slot + 1)
        for k in range(count):
            queue[c, to + k] = queue[c, start + k]
    if par[P_DUAL_BUS] > 0:
        to = u(field(room, w, Q_ROW_CELL) + slot)
        start = u(field(room, w, Q_ROW_CELL) + slot + 1)
        for k in range(count):
            queue[c, to + k] = queue[c, start + k]
    if w == 1:
        to = u(field(room, w, Q_TX) + slot)
        start = u(field(room, w, Q_TX) + slot + 1)
        for k in range(count):
            queue[c, to + k] = queue[c, start + k]


@njit(_nrt=False, forceinline=True)
def pick_queued(par, regs, ready, queue, room, c, w, bus, now, edge):
    """The request of a queue that gets a command first, if nothing else happens: (cycle, slot, command).

    Of those that are ready at that cycle, the oldest. ``edge`` is the first cycle from ``now`` on that takes other
    commands than precharges (half ticks).
    """
    banks = par[P_BANKS]
    act_from = banks if regs[c, R_SPLIT_BANK] >= 0 else 0
    falling = regs[c, R_PAIR_EDGE]
    low = high = 0
    if falling >= now:
        low = PRE * banks + regs[c, R_PAIR_RANK] * par[P_RANK_BANKS]
        high = low + par[P_RANK_BANKS]
        if regs[c, R_PAIR_BANK] >= 0:
            low = PRE * banks + regs[c, R_PAIR_BANK]
            high = low + 1
    pre_from = now if bus == 1 else edge
    cells = u(field(room, w, Q_CELL + bus))
    best = FAR_CELL * room
    for k in range(u((regs[c, u(R_QUEUED + w)] + LANES - 1) // LANES * LANES)):
        cell = queue[c, cells + k]
        r = ready[c, u(cell)]
        r = FAR_CELL if cell < act_from else r
        r = max(r, pre_from if cell >= banks else edge)
        r += 1 if r == falling and cell >= low and cell < high else 0
        best = min(best, r * room + np.int64(k))
    first = best // room
    if first >= FAR_CELL:
        return FAR, np.int64(-1), np.int64(-1)
    slot = best - first * room
    cell = queue[c, cells + u(slot)]
    cmd = ACT if cell < banks else PRE if cell < PREA * banks else RD + w
    return first, slot, np.int64(cmd)
