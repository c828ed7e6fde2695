"""The FR-FCFS controller's inner loop, compiled by numba: time, arbitration, issue. :mod:`dram_steps` holds single
steps.

All times are controller cycles. A cycle of a channel goes: take in requests, let refresh ask, then issue at most one
command, or one on each of the two buses of HBM. In between, time jumps to the next cycle in which something can happen.
State lives in arrays that the caller keeps, so a stream may be fed in pieces.

Arbitration: a request whose row was opened for it comes first (the oldest that is ready); then the oldest refresh;
then, if no refresh waits, the oldest ready request of the queue in turn, where writes have their turn from the high
watermark down to the low one, or while no read waits. Nobody precharges a bank in which a row waits for the request it
was opened for.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.dram_front import accept, ask_for_refresh
from spcomp.sim.parts.dram_layout import (
    A_ACCEPT,
    A_BANK,
    A_ID,
    A_WRITE,
    ACT,
    ACT2,
    ACTIVE_FIELDS,
    B_OWNERS,
    B_ROW,
    BANK_FIELDS,
    FAR,
    FROM_ACTIVE,
    FROM_REFRESH,
    N_CMD,
    N_SLOT,
    N_SOURCE,
    N_TIME,
    NO_REFRESH,
    NOBODY,
    OPENING,
    P_CLOSE_AFTER,
    P_DUAL_BUS,
    P_HALF_TICKS,
    P_HIGH,
    P_LOW,
    P_RANK_BANKS,
    P_REFRESH,
    P_SPLIT,
    P_SPLIT_LIMIT,
    P_SYNC,
    P_WIDTH,
    PER_BANK,
    PLACE_BITS,
    PRE,
    PREA,
    Q_ID,
    Q_PLACE,
    R_ACTIVE,
    R_CAS_SLOT,
    R_CAS_SOURCE,
    R_FORESEEN,
    R_NEXT_REFRESH,
    R_QUEUED,
    R_QUEUED_WRITES,
    R_SPLIT_BANK,
    R_SPLIT_DEADLINE,
    R_SPLIT_ID,
    R_SPLIT_ROW,
    R_SPLIT_WRITE,
    R_SYNCED,
    R_TAKEN,
    R_TIME,
    R_WAITING,
    R_WAKE,
    R_WRITING,
    RD,
    REFA,
    REFB,
    WR,
)  # fmt: skip
from spcomp.sim.parts.dram_queue import BANK_MASK, aim_bank, drop_request, field, pick_queued, queued_bank
from spcomp.sim.parts.dram_steps import (
    count_outcome,
    drop_active,
    issue,
    pick_active,
    pick_idle_row,
    pick_refresh,
    pop_refresh,
    push_active,
    retire,
    sync_clock,
    write_log,
)  # fmt: skip
from spcomp.sim.parts.stamp import source_stamp


@njit(_nrt=False, forceinline=True)
def take_turn(par, regs, c):
    """Whose turn it is: 1 for writes, 0 for reads."""
    if regs[c, R_WRITING] == 0:
        if regs[c, R_QUEUED_WRITES] > par[P_HIGH] or regs[c, R_QUEUED] == 0:
            regs[c, R_WRITING] = 1
    elif regs[c, R_QUEUED_WRITES] < par[P_LOW] and regs[c, R_QUEUED] > 0:
        regs[c, R_WRITING] = 0
    return regs[c, R_WRITING]


@njit(_nrt=False, forceinline=True)
def finish_activation(par, regs, bank, queue, room, active, log, out, c, now):
    """The second half of a split activation: the row is open."""
    first = regs[c, R_SPLIT_BANK]
    bank[c, u(first * BANK_FIELDS + B_ROW)] = regs[c, R_SPLIT_ROW]
    request = regs[c, R_SPLIT_ID]
    push_active(regs, bank, active, c, request, first, regs[c, R_SPLIT_WRITE], out[0, request])
    regs[c, R_SPLIT_BANK] = -1
    aim_bank(par, regs, bank, queue, room, c, first)
    write_log(par, regs, log, c, ACT2, first, regs[c, R_SPLIT_ROW], now)


@njit(_nrt=False, forceinline=True)
def serve(
    par, effects, effect_at, history, ready, regs, bank, queue, room, active, log, out, c, source, slot, cmd, now
):
    """Issue the next command of a request, which moves on or is done; or one of refresh, whose bank is ``slot``."""
    request, accepted, row, first, w = np.int64(-1), np.int64(0), np.int64(-1), np.int64(slot), np.int64(source)
    if source == FROM_ACTIVE:
        at = slot * ACTIVE_FIELDS
        request, first, w = active[c, u(at + A_ID)], active[c, u(at + A_BANK)], active[c, u(at + A_WRITE)]
        accepted = active[c, u(at + A_ACCEPT)]
        drop_active(regs, bank, active, c, slot)
    elif source != FROM_REFRESH:
        at = u(field(room, w, Q_ID) + slot)
        seen, place = queue[c, at], queue[c, u(field(room, w, Q_PLACE) + slot)]
        request, first, row = seen >> 1, place & BANK_MASK, place >> PLACE_BITS
        accepted = out[0, u(request)]
        if seen & 1 == 0:
            queue[c, at] = seen | 1
            count_outcome(regs, bank, c, first, row)
        if cmd != PRE:
            drop_request(par, regs, queue, room, c, w, slot)
    issue(par, effects, effect_at, history, ready, regs, bank, log, c, cmd, first, row, now)
    if cmd in (RD, WR):
        retire(par, regs, out, c, request, w, accepted, now)
        if source == FROM_ACTIVE and bank[c, u(first * BANK_FIELDS + B_OWNERS)] == 0:
            aim_bank(par, regs, bank, queue, room, c, first)
        return
    if cmd in (REFA, REFB):
        pop_refresh(regs, c)
        return
    if cmd == ACT and par[P_SPLIT]:
        bank[c, u(first * BANK_FIELDS + B_ROW)] = OPENING
        regs[c, R_SPLIT_BANK] = first
        regs[c, R_SPLIT_ID] = request
        regs[c, R_SPLIT_ROW] = row
        regs[c, R_SPLIT_WRITE] = w
        regs[c, R_SPLIT_DEADLINE] = now + par[P_SPLIT_LIMIT]
    elif cmd == ACT:
        push_active(regs, bank, active, c, request, first, w, accepted)
    for b in range(first, first + (par[P_RANK_BANKS] if cmd == PREA else 1)):
        aim_bank(par, regs, bank, queue, room, c, b)


@njit(_nrt=False, forceinline=True)
def choose(par, regs, ready, bank, queue, room, active, refresh, c, bus, now):
    """What a bus carries next if nothing else happens: (cycle, source, slot, command)."""
    columns = bus == 0
    rows = bus == 1 or not par[P_DUAL_BUS]
    edge = now + (now & par[P_HALF_TICKS])
    time, source, slot, cmd = FAR, NOBODY, np.int64(-1), np.int64(-1)
    if columns and regs[c, R_ACTIVE] > 0:
        time, slot = pick_active(par, regs, ready, active, c, edge)
        source, cmd = FROM_ACTIVE, RD + active[c, u(slot * ACTIVE_FIELDS + A_WRITE)]
        if time <= now:
            return time, source, slot, cmd
    if regs[c, R_WAITING] > 0:
        if rows:
            refreshes, need, first = pick_refresh(
                par, regs, ready, bank, refresh, c, now, edge, par[P_REFRESH] == PER_BANK
            )
            if refreshes < time:
                time, source, slot, cmd = refreshes, FROM_REFRESH, first, need
        return time, source, slot, cmd
    w = take_turn(par, regs, c)
    queued, at, need = pick_queued(par, regs, ready, queue, room, c, w, bus, now, edge)
    if queued < time:
        time, source, slot, cmd = queued, w, at, need
    if time > now and rows and par[P_CLOSE_AFTER] >= 0:
        idle, at = pick_idle_row(par, regs, ready, bank, queue, room, c, par[P_CLOSE_AFTER], edge)
        if idle < time:
            time, source, slot, cmd = idle, FROM_REFRESH, at, np.int64(PRE)
    return time, source, slot, cmd


@njit(_nrt=False, forceinline=True)
def tick(par, effects, effect_at, history, ready, regs, bank, queue, room, active, refresh, log, out, c, now):
    """One cycle of one channel. Returns the next cycle in which something can happen if nothing arrives."""
    ask_for_refresh(par, regs, refresh, c, now)
    splitting = par[P_SPLIT] > 0
    issued, opening = False, False
    wake = FAR
    if splitting and regs[c, R_SPLIT_BANK] >= 0 and now >= regs[c, R_SPLIT_DEADLINE]:
        opening = True
    for bus in range(2 if par[P_DUAL_BUS] else 1):
        if opening:
            break
        synced = regs[c, R_CAS_SOURCE] != NOBODY
        if synced:
            # the data clock was started for this access in the cycle before: nothing comes between
            time, source, slot = now, regs[c, R_CAS_SOURCE], regs[c, R_CAS_SLOT]
            cmd = RD + (active[c, u(slot * ACTIVE_FIELDS + A_WRITE)] if source == FROM_ACTIVE else source)
            regs[c, R_CAS_SOURCE] = NOBODY
        elif regs[c, R_FORESEEN]:
            time, source = regs[c, u(N_TIME + bus)], regs[c, u(N_SOURCE + bus)]
            slot, cmd = regs[c, u(N_SLOT + bus)], regs[c, u(N_CMD + bus)]
        else:
            time, source, slot, cmd = choose(par, regs, ready, bank, queue, room, active, refresh, c, bus, now)
        if time > now:
            regs[c, u(N_TIME + bus)], regs[c, u(N_SOURCE + bus)] = time, source
            regs[c, u(N_SLOT + bus)], regs[c, u(N_CMD + bus)] = slot, cmd
            wake = min(wake, time)
            continue
        issued = True
        regs[c, R_FORESEEN] = 0
        if par[P_SYNC] and not synced and cmd in (RD, WR) and now >= regs[c, R_SYNCED]:
            if regs[c, R_SPLIT_BANK] >= 0 and regs[c, R_SPLIT_DEADLINE] <= now + 1:
                opening = True
            else:
                if source == FROM_ACTIVE:
                    first = active[c, u(slot * ACTIVE_FIELDS + A_BANK)]
                else:
                    first = queued_bank(room, queue, c, source, slot)
                sync_clock(par, regs, log, c, first, now)
                regs[c, R_CAS_SOURCE], regs[c, R_CAS_SLOT] = source, slot
        else:
            serve(
                par,
                effects,
                effect_at,
                history,
                ready,
                regs,
                bank,
                queue,
                room,
                active,
                log,
                out,
                c,
                source,
                slot,
                cmd,
                now,
            )
    if splitting and regs[c, R_SPLIT_BANK] >= 0 and (opening or not issued):
        finish_activation(par, regs, bank, queue, room, active, log, out, c, now)
        issued = True
        regs[c, R_FORESEEN] = 0
    if issued:
        return now + 1
    regs[c, R_FORESEEN] = 1
    if par[P_REFRESH] != NO_REFRESH:
        wake = min(wake, regs[c, R_NEXT_REFRESH])
    return max(wake, now + 1)


def _compiled(stamp: int, room: int) -> Any:
    """The entry point for queues of ``room`` places, kept on disk under a key of which ``stamp`` is a part."""

    @njit(cache=True, _nrt=False)
    def run(
        par, effects, effect_at, history, ready, regs, bank, queue, active, refresh, log, out, channel, tx, banks,
        rows, writes, arrival, order, base, low, high,
    ):  # fmt: skip
        """Advance channels ``low`` to ``high``, cycle by cycle in step, until the requests ``order`` have been taken
        in.

        Requests are taken in the order given, ``par[P_WIDTH]`` of them a cycle; one whose queue is full holds up those
        behind it. With ``order`` empty, run until every queue is empty. ``base`` is where the block begins in ``out``.
        """
        if stamp < 0:
            return
        now, taken = regs[low, R_TIME], regs[low, R_TAKEN]
        at, n = 0, order.size
        draining = n == 0
        while True:
            due = FAR
            while at < n and taken < par[P_WIDTH]:
                r = order[at]
                if arrival[r] > now:
                    due = arrival[r]
                    break
                if not accept(
                    par, regs, bank, queue, room, out, u(channel[r]), base + r, tx[r], banks[r], rows[r], writes[r], now
                ):
                    break
                at += 1
                taken += 1
            if at >= n and not draining:
                break
            if taken >= par[P_WIDTH]:
                due = now + 1
            busy = False
            for k in range(low, high):
                c = u(k)
                if regs[c, R_WAKE] <= now:
                    regs[c, R_WAKE] = tick(
                        par,
                        effects,
                        effect_at,
                        history,
                        ready,
                        regs,
                        bank,
                        queue,
                        room,
                        active,
                        refresh,
                        log,
                        out,
                        c,
                        now,
                    )
                due = min(due, regs[c, R_WAKE])
                waiting = regs[c, R_QUEUED] + regs[c, R_QUEUED_WRITES] + regs[c, R_ACTIVE]
                busy = busy or waiting > 0 or regs[c, R_SPLIT_BANK] >= 0
            taken = 0
            if draining and not busy:
                now += 1
                break
            now = max(due, now + 1)
        for c in range(low, high):
            regs[c, R_TIME] = now
            regs[c, R_TAKEN] = taken

    return run


@functools.cache
def controller(room: int) -> Any:
    """The compiled loop for queues of ``room`` places, at least :data:`LANES` more than requests in the longest."""
    return _compiled(source_stamp("dram_layout.py", "dram_front.py", "dram_queue.py", "dram_steps.py"), room)
