"""What a DRAM channel takes in: requests, and the refreshes that fall due. Compiled into :mod:`dram_kernel`."""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.dram_layout import (
    C_FORWARDED,
    C_LAST_ACCEPT,
    C_LAST_DONE,
    C_LATENCY,
    C_MERGED,
    C_READS,
    NO_REFRESH,
    P_BANKS,
    P_INTERVAL,
    P_QUEUE_READ,
    P_RANK_BANKS,
    P_REFRESH,
    PER_BANK,
    Q_TX,
    R_FORESEEN,
    R_HEAD,
    R_NEXT_REFRESH,
    R_QUEUED,
    R_QUEUED_WRITES,
    R_REFRESH_BANK,
    R_WAITING,
    R_WAKE,
    WAITING_REFRESHES,
)  # fmt: skip
from spcomp.sim.parts.dram_queue import field, push_request


@njit(_nrt=False, forceinline=True)
def ask_for_refresh(par, regs, refresh, c, now):
    """Queue the refreshes that are due: of every rank, or of one bank in each rank, in turn."""
    if par[P_REFRESH] == NO_REFRESH or now < regs[c, R_NEXT_REFRESH]:
        return
    regs[c, R_NEXT_REFRESH] += par[P_INTERVAL]
    regs[c, R_FORESEEN] = 0
    bank = regs[c, R_REFRESH_BANK]
    for first in range(0, par[P_BANKS], par[P_RANK_BANKS]):
        if regs[c, R_WAITING] < WAITING_REFRESHES:
            refresh[c, (regs[c, R_HEAD] + regs[c, R_WAITING]) % WAITING_REFRESHES] = first + bank
            regs[c, R_WAITING] += 1
    if par[P_REFRESH] == PER_BANK:
        regs[c, R_REFRESH_BANK] = (bank + 1) % par[P_RANK_BANKS]


@njit(_nrt=False, forceinline=True)
def accept(par, regs, bank, queue, room, out, c, request, tx, first, row, is_write, now):
    """Take in one request: into a queue, or answer it from the write queue. False where the queue is full."""
    writes = regs[c, R_QUEUED_WRITES]
    known = False
    start = u(field(room, 1, Q_TX))
    for k in range(u(writes)):
        known |= queue[c, start + k] == tx
    w = 1 if is_write else 0
    if known:
        regs[c, C_MERGED if is_write else C_FORWARDED] += 1
        out[1, request] = now
        out[2, request] = now + 1
        regs[c, C_LATENCY] += 0 if is_write else 1
        regs[c, C_LAST_DONE] = max(regs[c, C_LAST_DONE], now + 1)
    elif regs[c, R_QUEUED + w] >= par[P_QUEUE_READ + w]:
        return False
    else:
        push_request(par, regs, bank, queue, room, c, w, request, tx, first, row)
    out[0, request] = now
    regs[c, C_READS + w] += 1
    regs[c, C_LAST_ACCEPT] = now
    regs[c, R_WAKE] = now
    regs[c, R_FORESEEN] = 0
    return True
