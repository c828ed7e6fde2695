"""Single steps of the DRAM controller, compiled into :mod:`dram_kernel`: constraints, queues, bookkeeping.

Names of arguments are those of the arrays in :class:`spcomp.sim.parts.dram_state.State`; ``c`` is the channel and ``now``
the cycle. Every function changes the arrays in place.
"""

from __future__ import annotations

from numba import njit

from spcomp.sim.parts.dram_layout import (
    A_ACCEPT, A_BANK, A_ID, A_WRITE, ACT, B_OWNERS, B_ROW, B_USED, C_ACTIVATES, C_COLUMNS, C_COMMANDS, C_CONFLICTS,
    C_HITS, C_LAST_DONE, C_LATENCY, C_MISSES, C_PRECHARGES, C_REFRESHES, C_SERVED,
    C_SYNCS, CAS, CLOSED, F_HISTORY,
    F_LATENCY, F_PARENT, F_POST, F_SPAN, F_STRIDE, F_WINDOW, FAR, OPENING, P_ACTIVATE_TICKS, P_BANKS, P_HALF_TICKS,
    P_LOG, P_RANK_BANKS, P_READ_DONE, P_SYNC_READ, P_SYNC_WRITE, P_WRITE_DONE, PRE, PREA, Q_BANK, Q_ID, Q_ROW, Q_SEEN,
    Q_TX, R_ACTIVE, R_HEAD, R_PAIR_BANK, R_PAIR_EDGE, R_PAIR_RANK, R_QUEUED, R_SPLIT_BANK, R_SYNCED, R_WAITING, RD, REFA,
    REFB, TIMED, WAITING_REFRESHES, WR,
)  # fmt: skip


@njit(inline="always")
def constrain(rules, rule_at, history, ready, c, cmd, bank, width, now):
    """Apply every constraint that ``cmd`` at ``bank`` (the first of ``width`` banks) puts on later commands."""
    for r in range(rule_at[cmd], rule_at[cmd + 1]):
        span = rules[r, F_SPAN]
        low = bank // span * span
        high = low + max(span, width)
        since = now
        window = rules[r, F_WINDOW]
        if window > 1:
            h = rules[r, F_HISTORY]
            node = bank // span
            at = history[c, h, node, 0]
            history[c, h, node, at + 1] = now
            at = at + 1 if at + 1 < window else 0
            history[c, h, node, 0] = at
            since = history[c, h, node, at + 1]
        until = since + rules[r, F_LATENCY]
        post = rules[r, F_POST]
        stride = rules[r, F_STRIDE]
        parent = rules[r, F_PARENT]
        if parent > 0:
            start = bank // parent * parent
            for b in range(start, start + parent, stride):
                if (b < low or b >= high) and ready[c, post, b] < until:
                    ready[c, post, b] = until
        elif stride == 1:
            for b in range(low, high):
                ready[c, post, b] = max(ready[c, post, b], until)
        else:
            for b in range(low // stride * stride, high, stride):
                ready[c, post, b] = max(ready[c, post, b], until)


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
    width = par[P_RANK_BANKS] if cmd == PREA or cmd == REFA else 1
    constrain(rules, rule_at, history, ready, c, cmd, first, width, now)
    write_log(par, regs, log, c, cmd, first, row, now)
    if cmd == ACT:
        regs[c, C_ACTIVATES] += 1
        bank[c, B_ROW, first] = row
        bank[c, B_USED, first] = now
    elif cmd == PRE or cmd == PREA:
        close_rows(regs, bank, c, first, width)
    elif cmd == REFA or cmd == REFB:
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
        row = bank[c, B_ROW, queue[c, w, Q_BANK, slot]]
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
        for k in range(slot, n):
            queue[c, w, f, k] = queue[c, w, f, k + 1]


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
    bank[c, B_OWNERS, active[c, A_BANK, slot]] -= 1
    n = regs[c, R_ACTIVE] - 1
    regs[c, R_ACTIVE] = n
    for f in range(4):
        for k in range(slot, n):
            active[c, f, k] = active[c, f, k + 1]


@njit(inline="always")
def pick_active(regs, ready, active, c, now):
    """The oldest ready request of those whose row was opened for them: (slot or -1, next cycle that could differ)."""
    found, oldest, later = -1, FAR, FAR
    for k in range(regs[c, R_ACTIVE]):
        r = ready[c, RD + active[c, A_WRITE, k], active[c, A_BANK, k]]
        if r > now:
            later = min(later, r)
        elif active[c, A_ACCEPT, k] < oldest:
            found, oldest = k, active[c, A_ACCEPT, k]
    return found, later


@njit(inline="always")
def pick_queued(par, regs, ready, bank, queue, c, w, columns, rows, falling, now):
    """The oldest ready request of a queue: (slot or -1, its next command, next cycle that could differ).

    ``columns`` and ``rows`` say which buses are free; a falling edge (half ticks) takes precharges only.
    """
    found, chosen, later = -1, -1, FAR
    splitting = regs[c, R_SPLIT_BANK] >= 0
    for k in range(regs[c, R_QUEUED + w]):
        b = queue[c, w, Q_BANK, k]
        row = bank[c, B_ROW, b]
        cmd = PRE
        if row == queue[c, w, Q_ROW, k]:
            if not columns:
                continue
            cmd = RD + w
        elif not rows or row == OPENING:
            continue
        elif row == CLOSED:
            if splitting:
                continue
            cmd = ACT
        elif bank[c, B_OWNERS, b] > 0:
            continue
        r = ready[c, cmd, b]
        if r > now:
            later = min(later, r)
        elif falling and (cmd != PRE or paired(par, regs, c, cmd, b, now)):
            later = now + 1
        else:
            found, chosen = k, cmd
            break
    return found, chosen, later


@njit(inline="always")
def pick_refresh(par, regs, ready, bank, refresh, c, now, falling, per_bank):
    """What the oldest waiting refresh needs: (command or -1, its first bank, next cycle that could differ)."""
    first = refresh[c, regs[c, R_HEAD]]
    width = 1 if per_bank else par[P_RANK_BANKS]
    opened, owned = False, False
    for b in range(first, first + width):
        opened = opened or bank[c, B_ROW, b] != CLOSED
        owned = owned or bank[c, B_OWNERS, b] > 0 or bank[c, B_ROW, b] == OPENING
    cmd = REFB if per_bank else REFA
    if opened:
        cmd = PRE if per_bank else PREA
    later = FAR
    if opened and owned:
        return -1, first, later
    until = ready[c, cmd, first]
    if until > now:
        return -1, first, until
    if falling and ((cmd != PRE and cmd != PREA) or paired(par, regs, c, cmd, first, now)):
        return -1, first, now + 1
    return cmd, first, later


@njit(inline="always")
def pop_refresh(regs, c):
    regs[c, R_HEAD] = (regs[c, R_HEAD] + 1) % WAITING_REFRESHES
    regs[c, R_WAITING] -= 1


@njit(inline="always")
def pick_idle_row(par, regs, ready, bank, queue, c, after, now):
    """A bank to close by policy: unused for ``after`` cycles and wanted by nobody: (bank or -1, next cycle)."""
    found, later = -1, FAR
    for b in range(par[P_BANKS]):
        row = bank[c, B_ROW, b]
        if row < 0 or bank[c, B_OWNERS, b] > 0:
            continue
        wanted = False
        for w in range(2):
            for k in range(regs[c, R_QUEUED + w]):
                if queue[c, w, Q_BANK, k] == b and queue[c, w, Q_ROW, k] == row:
                    wanted = True
        if wanted:
            continue
        r = max(ready[c, PRE, b], bank[c, B_USED, b] + after)
        if r <= now:
            found = b
            break
        later = min(later, r)
    return found, later


@njit(inline="always")
def sync_clock(par, regs, log, c, bank, now):
    regs[c, C_SYNCS] += 1
    write_log(par, regs, log, c, CAS, bank, -1, now)


assert TIMED == REFB + 1
assert WR == RD + 1
