"""Single steps of the DRAM controller, compiled into :mod:`dram_kernel`: constraints, queues, bookkeeping.

Names of arguments are those of the arrays in :class:`spcomp.sim.parts.dram.Dram`; ``c`` is the channel and ``now``
the cycle. Every function changes the arrays in place.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.dram_layout import (
    A_ACCEPT,
    A_BANK,
    A_ID,
    A_WRITE,
    ACT,
    B_OWNERS,
    B_ROW,
    B_USED,
    C_ACTIVATES,
    C_COLUMNS,
    C_COMMANDS,
    C_CONFLICTS,
    C_HITS,
    C_LAST_DONE,
    C_LATENCY,
    C_MISSES,
    C_PRECHARGES,
    C_REFRESHES,
    C_SERVED,
    C_SYNCS,
    CAS,
    CLOSED,
    F_HISTORY,
    F_LATENCY,
    F_PARENT,
    F_POST,
    F_SPAN,
    F_STRIDE,
    F_WINDOW,
    FAR,
    OPENING,
    P_ACTIVATE_TICKS,
    P_BANKS,
    P_HALF_TICKS,
    P_LOG,
    P_RANK_BANKS,
    P_READ_DONE,
    P_SYNC_READ,
    P_SYNC_WRITE,
    P_WRITE_DONE,
    PRE,
    PREA,
    Q_BANK,
    Q_ID,
    Q_ROW,
    Q_SEEN,
    Q_TX,
    R_ACTIVE,
    R_HEAD,
    R_PAIR_BANK,
    R_PAIR_EDGE,
    R_PAIR_RANK,
    R_QUEUED,
    R_SPLIT_BANK,
    R_SYNCED,
    R_WAITING,
    RD,
    REFA,
    REFB,
    TIMED,
    WAITING_REFRESHES,
    WR,
)  # fmt: skip

ONE = u(1)
"""Indices are unsigned where it counts: numba then has no negative ones to look out for."""


@njit(inline="always")
def constrain(rules, rule_at, history, ready, c, cmd, bank, width, now):
    """Apply every constraint that ``cmd`` at ``bank`` (the first of ``width`` banks) puts on later commands."""
    for k in range(rule_at[cmd], rule_at[cmd + 1]):
        r = u(k)
        span = rules[r, F_SPAN]
        low = bank // span * span
        high = low + max(span, width)
        since = now
        window = rules[r, F_WINDOW]
        if window > 1:
            h, node = u(rules[r, F_HISTORY]), u(bank // span)
            at = history[c, h, node, 0]
            history[c, h, node, u(at + 1)] = now
            at = at + 1 if at + 1 < window else 0
            history[c, h, node, 0] = at
            since = history[c, h, node, u(at + 1)]
        until = since + rules[r, F_LATENCY]
        post = u(rules[r, F_POST])
        stride = rules[r, F_STRIDE]
        parent = rules[r, F_PARENT]
        if parent > 0:
            start = bank // parent * parent
            for b in range(start, start + parent, stride):
                if b < low or b >= high:
                    ready[c, post, u(b)] = max(ready[c, post, u(b)], until)
        elif high == low + 1:
            ready[c, post, u(bank)] = max(ready[c, post, u(bank)], until)
        elif stride == 1:
            for b in range(u(low), u(high)):
                ready[c, post, b] = max(ready[c, post, b], until)
        else:
            for b in range(low // stride * stride, high, stride):
                ready[c, post, u(b)] = max(ready[c, post, u(b)], until)


@njit(inline="always")
def write_log(par, regs, log, c, cmd, bank, row, now):
    if par[P_LOG] > 0:
        at = regs[0, C_COMMANDS]
        if at < par[P_LOG]:
            log[at, 0] = now
            log[at, 1] = c
            log[at, 2] = cmd
            log[at, 3] = bank
            log[at, 4] = row
        regs[0, C_COMMANDS] = at + 1


@njit(inline="always")
def close_rows(regs, bank, c, first, width):
    for b in range(first, first + width):
        if bank[c, B_ROW, b] != CLOSED:
            regs[c, C_PRECHARGES] += 1
            bank[c, B_ROW, b] = CLOSED


@njit(inline="always")
def issue(par, rules, rule_at, history, ready, regs, bank, log, c, cmd, first, row, now):
    """Issue one command of the table: its constraints, the state of its banks, its counters."""
    width = par[P_RANK_BANKS] if cmd in (PREA, REFA) else 1
    constrain(rules, rule_at, history, ready, c, cmd, first, width, now)
    write_log(par, regs, log, c, cmd, first, row, now)
    if cmd == ACT:
        regs[c, C_ACTIVATES] += 1
        bank[c, B_ROW, first] = row
        bank[c, B_USED, first] = now
    elif cmd in (PRE, PREA):
        close_rows(regs, bank, c, first, width)
    elif cmd in (REFA, REFB):
        regs[c, C_REFRESHES] += 1
    else:
        regs[c, C_COLUMNS] += 1
        bank[c, B_USED, first] = now
    if par[P_HALF_TICKS] > 0 and now % 2 == 0 and cmd != RD and cmd != WR:
        regs[c, R_PAIR_EDGE] = now + (par[P_ACTIVATE_TICKS] if cmd == ACT else 1)
        regs[c, R_PAIR_RANK] = first // par[P_RANK_BANKS]
        regs[c, R_PAIR_BANK] = first if width == 1 else -1


@njit(inline="always")
def paired(par, regs, c, cmd, first, now):
    """Whether the falling edge ``now`` may not take this precharge, for what the rising edge before it carried."""
    return (
        now == regs[c, R_PAIR_EDGE]
        and regs[c, R_PAIR_RANK] == first // par[P_RANK_BANKS]
        and (regs[c, R_PAIR_BANK] < 0 or cmd != PRE or regs[c, R_PAIR_BANK] == first)
    )


@njit(inline="always")
def retire(par, regs, out, c, request, is_write, accepted, now):
    """A column command was issued: the request is done when its burst is."""
    done = now + (par[P_WRITE_DONE] if is_write else par[P_READ_DONE])
    out[1, request] = now
    out[2, request] = done
    if not is_write:
        regs[c, C_LATENCY] += done - accepted
        regs[c, C_SERVED] += 1
    regs[c, C_LAST_DONE] = max(regs[c, C_LAST_DONE], done)
    regs[c, R_SYNCED] = max(regs[c, R_SYNCED], now + (par[P_SYNC_WRITE] if is_write else par[P_SYNC_READ]))


@njit(inline="always")
def count_outcome(regs, bank, queue, c, w, slot):
    """A request's first command decides: hit if its row is open, conflict if another is, else a miss."""
    if queue[c, w, Q_SEEN, slot] == 0:
        queue[c, w, Q_SEEN, slot] = 1
        row = bank[c, B_ROW, u(queue[c, w, Q_BANK, slot])]
        if row == queue[c, w, Q_ROW, slot]:
            regs[c, C_HITS] += 1
        elif row < 0:
            regs[c, C_MISSES] += 1
        else:
            regs[c, C_CONFLICTS] += 1


@njit(inline="always")
def push_request(regs, queue, c, w, request, tx, bank, row):
    n = regs[c, R_QUEUED + w]
    queue[c, w, Q_ID, n] = request
    queue[c, w, Q_TX, n] = tx
    queue[c, w, Q_BANK, n] = bank
    queue[c, w, Q_ROW, n] = row
    queue[c, w, Q_SEEN, n] = 0
    regs[c, R_QUEUED + w] = n + 1


@njit(inline="always")
def drop_request(regs, queue, c, w, slot):
    n = regs[c, R_QUEUED + w] - 1
    regs[c, R_QUEUED + w] = n
    for f in range(5):
        for k in range(u(slot), u(n)):
            queue[c, u(w), f, k] = queue[c, u(w), f, k + ONE]


@njit(inline="always")
def push_active(regs, bank, active, c, request, first, is_write, accepted):
    n = regs[c, R_ACTIVE]
    active[c, A_ID, n] = request
    active[c, A_BANK, n] = first
    active[c, A_WRITE, n] = is_write
    active[c, A_ACCEPT, n] = accepted
    regs[c, R_ACTIVE] = n + 1
    bank[c, B_OWNERS, first] += 1


@njit(inline="always")
def drop_active(regs, bank, active, c, slot):
    bank[c, B_OWNERS, u(active[c, A_BANK, u(slot)])] -= 1
    n = regs[c, R_ACTIVE] - 1
    regs[c, R_ACTIVE] = n
    for f in range(4):
        for k in range(u(slot), u(n)):
            active[c, f, k] = active[c, f, k + ONE]


@njit(inline="always")
def pick_active(regs, ready, active, c, now):
    """The request that is served first of those whose row was opened for them, and when: (cycle, slot).

    Of those that are ready at that cycle, the oldest.
    """
    chosen, first, oldest = -1, FAR, FAR
    for k in range(u(regs[c, R_ACTIVE])):
        r = max(now, ready[c, u(RD + active[c, A_WRITE, k]), u(active[c, A_BANK, k])])
        if r < first or (r == first and active[c, A_ACCEPT, k] < oldest):
            chosen, first, oldest = np.int64(k), r, active[c, A_ACCEPT, k]
    return first, chosen


@njit(inline="always")
def pick_queued(par, regs, ready, bank, queue, c, w, columns, rows, falling, now):
    """The request of a queue that gets a command first, if nothing else happens: (cycle, slot, command).

    Of those that are ready at that cycle, the oldest. ``columns`` and ``rows`` say which buses are free; a falling edge
    (half ticks) takes precharges only.
    """
    chosen, cmd, first = -1, -1, FAR
    splitting = regs[c, R_SPLIT_BANK] >= 0
    queued = u(R_QUEUED + w)
    q = u(w)
    for k in range(u(regs[c, queued])):
        b = u(queue[c, q, Q_BANK, k])
        row = bank[c, B_ROW, b]
        need = PRE
        if row == queue[c, q, Q_ROW, k]:
            if not columns:
                continue
            need = RD + w
        elif not rows:
            continue
        elif row < 0:
            if splitting or row == OPENING:
                continue
            need = ACT
        elif bank[c, B_OWNERS, b] > 0:
            continue
        r = ready[c, u(need), b]
        if r >= first:
            continue
        if falling and r <= now and (need != PRE or paired(par, regs, c, need, np.int64(b), now)):
            r = now + 1
        if r < first:
            chosen, cmd, first = np.int64(k), need, r
            if r <= now:
                break
    return first, chosen, cmd


@njit(inline="always")
def pick_refresh(par, regs, ready, bank, refresh, c, now, falling, per_bank):
    """What the oldest waiting refresh needs, and when: (cycle, command, its first bank)."""
    first = refresh[c, regs[c, R_HEAD]]
    width = 1 if per_bank else par[P_RANK_BANKS]
    opened, owned = False, False
    for b in range(first, first + width):
        opened = opened or bank[c, B_ROW, b] != CLOSED
        owned = owned or bank[c, B_OWNERS, b] > 0 or bank[c, B_ROW, b] == OPENING
    cmd = REFB if per_bank else REFA
    if opened:
        cmd = PRE if per_bank else PREA
    until = ready[c, cmd, first]
    if opened and owned:
        until = FAR
    elif falling and until <= now and ((cmd != PRE and cmd != PREA) or paired(par, regs, c, cmd, first, now)):
        until = now + 1
    return until, cmd, first


@njit(inline="always")
def pop_refresh(regs, c):
    regs[c, R_HEAD] = (regs[c, R_HEAD] + 1) % WAITING_REFRESHES
    regs[c, R_WAITING] -= 1


@njit(inline="always")
def pick_idle_row(par, regs, ready, bank, queue, c, after, now):
    """The bank that policy closes next, unused for ``after`` cycles and wanted by nobody: (cycle, bank)."""
    chosen, first = -1, FAR
    for b in range(par[P_BANKS]):
        row = bank[c, B_ROW, b]
        wanted = row < 0 or bank[c, B_OWNERS, b] > 0
        for w in range(2):
            for k in range(regs[c, R_QUEUED + w]):
                wanted = wanted or (queue[c, w, Q_BANK, k] == b and queue[c, w, Q_ROW, k] == row)
        r = max(now, ready[c, PRE, b], bank[c, B_USED, b] + after)
        if not wanted and r < first:
            chosen, first = b, r
    return first, chosen


@njit(inline="always")
def sync_clock(par, regs, log, c, bank, now):
    regs[c, C_SYNCS] += 1
    write_log(par, regs, log, c, CAS, bank, -1, now)


assert TIMED == REFB + 1
assert WR == RD + 1
