"""Single steps of the DRAM controller, compiled into :mod:`dram_kernel`: constraints, queues, bookkeeping.

Names of arguments are those of the arrays in :class:`spcomp.sim.parts.dram.Dram`; ``c`` is the channel and ``now``
the cycle. Every function changes the arrays in place. Indices are unsigned where it counts: numba then has no negative
ones to look out for.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit
from numpy import uint64 as u

from spcomp.sim.parts.dram_layout import (
    A_ACCEPT,
    A_BANK,
    A_ID,
    A_WRITE,
    ACT,
    ACTIVE_FIELDS,
    B_OWNERS,
    B_ROW,
    B_USED,
    BANK_FIELDS,
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
    E_COUNT,
    E_EVEN,
    E_HISTORY,
    E_LATENCY,
    E_START,
    E_WINDOW,
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
    PLACE_BITS,
    PRE,
    PREA,
    Q_PLACE,
    R_ACTIVE,
    R_HEAD,
    R_PAIR_BANK,
    R_PAIR_EDGE,
    R_PAIR_RANK,
    R_QUEUED,
    R_SYNCED,
    R_WAITING,
    RD,
    REFA,
    REFB,
    TIMED,
    WAITING_REFRESHES,
    WR,
)  # fmt: skip
from spcomp.sim.parts.dram_queue import field


@njit(_nrt=False, forceinline=True)
def constrain(par, effects, effect_at, history, ready, c, cmd, bank, now):
    """Apply every constraint that ``cmd`` at ``bank`` (the first of its banks) puts on later commands."""
    at = cmd * par[P_BANKS] + bank
    for k in range(u(effect_at[u(at)]), u(effect_at[u(at + 1)])):
        since = now
        window = effects[k, E_WINDOW]
        if window > 1:
            ring = effects[k, E_HISTORY]
            place = history[c, u(ring)]
            history[c, u(ring + 1 + place)] = now
            place = place + 1 if place + 1 < window else 0
            history[c, u(ring)] = place
            since = history[c, u(ring + 1 + place)]
        until = since + effects[k, E_LATENCY]
        until += until & effects[k, E_EVEN]
        start = u(effects[k, E_START])
        for cell in range(start, start + u(effects[k, E_COUNT])):
            ready[c, cell] = max(ready[c, cell], until)


@njit(_nrt=False, forceinline=True)
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


@njit(_nrt=False, forceinline=True)
def close_rows(regs, bank, c, first, width):
    for b in range(first, first + width):
        if bank[c, u(b * BANK_FIELDS + B_ROW)] != CLOSED:
            regs[c, C_PRECHARGES] += 1
            bank[c, u(b * BANK_FIELDS + B_ROW)] = CLOSED


@njit(_nrt=False, forceinline=True)
def issue(par, effects, effect_at, history, ready, regs, bank, log, c, cmd, first, row, now):
    """Issue one command of the table: its constraints, the state of its banks, its counters."""
    width = par[P_RANK_BANKS] if cmd in (PREA, REFA) else 1
    constrain(par, effects, effect_at, history, ready, c, cmd, first, now)
    write_log(par, regs, log, c, cmd, first, row, now)
    if cmd == ACT:
        regs[c, C_ACTIVATES] += 1
        bank[c, u(first * BANK_FIELDS + B_ROW)] = row
        bank[c, u(first * BANK_FIELDS + B_USED)] = now
    elif cmd in (PRE, PREA):
        close_rows(regs, bank, c, first, width)
    elif cmd in (REFA, REFB):
        regs[c, C_REFRESHES] += 1
    else:
        regs[c, C_COLUMNS] += 1
        bank[c, u(first * BANK_FIELDS + B_USED)] = now
    if par[P_HALF_TICKS] > 0 and now % 2 == 0 and cmd != RD and cmd != WR:
        regs[c, R_PAIR_EDGE] = now + (par[P_ACTIVATE_TICKS] if cmd == ACT else 1)
        regs[c, R_PAIR_RANK] = first // par[P_RANK_BANKS]
        regs[c, R_PAIR_BANK] = first if width == 1 else -1


@njit(_nrt=False, forceinline=True)
def paired(par, regs, c, cmd, first, now):
    """Whether the falling edge ``now`` may not take this precharge, for what the rising edge before it carried."""
    return (
        now == regs[c, R_PAIR_EDGE]
        and regs[c, R_PAIR_RANK] == first // par[P_RANK_BANKS]
        and (regs[c, R_PAIR_BANK] < 0 or cmd != PRE or regs[c, R_PAIR_BANK] == first)
    )


@njit(_nrt=False, forceinline=True)
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


@njit(_nrt=False, forceinline=True)
def count_outcome(regs, bank, c, first, wanted):
    """A request's first command decides: hit if its row is open, conflict if another is, else a miss."""
    row = bank[c, u(first * BANK_FIELDS + B_ROW)]
    if row == wanted:
        regs[c, C_HITS] += 1
    elif row < 0:
        regs[c, C_MISSES] += 1
    else:
        regs[c, C_CONFLICTS] += 1


@njit(_nrt=False, forceinline=True)
def push_active(regs, bank, active, c, request, first, is_write, accepted):
    n = regs[c, R_ACTIVE]
    active[c, u(n * ACTIVE_FIELDS + A_ID)] = request
    active[c, u(n * ACTIVE_FIELDS + A_BANK)] = first
    active[c, u(n * ACTIVE_FIELDS + A_WRITE)] = is_write
    active[c, u(n * ACTIVE_FIELDS + A_ACCEPT)] = accepted
    regs[c, R_ACTIVE] = n + 1
    bank[c, u(first * BANK_FIELDS + B_OWNERS)] += 1


@njit(_nrt=False, forceinline=True)
def drop_active(regs, bank, active, c, slot):
    first = active[c, u(slot * ACTIVE_FIELDS + A_BANK)]
    bank[c, u(first * BANK_FIELDS + B_OWNERS)] -= 1
    n = regs[c, R_ACTIVE] - 1
    regs[c, R_ACTIVE] = n
    for k in range(u(slot * ACTIVE_FIELDS), u(n * ACTIVE_FIELDS)):
        active[c, k] = active[c, k + u(ACTIVE_FIELDS)]


@njit(_nrt=False, forceinline=True)
def pick_active(par, regs, ready, active, c, edge):
    """The request that is served first of those whose row was opened for them, and when: (cycle, slot).

    Of those that are ready at that cycle, the oldest. ``edge`` is the first cycle that may take a column command.
    """
    chosen, first, oldest = -1, FAR, FAR
    for k in range(regs[c, R_ACTIVE]):
        at = k * ACTIVE_FIELDS
        b, w, accepted = active[c, u(at + A_BANK)], active[c, u(at + A_WRITE)], active[c, u(at + A_ACCEPT)]
        r = max(edge, ready[c, u((RD + w) * par[P_BANKS] + b)])
        if r < first or (r == first and accepted < oldest):
            chosen, first, oldest = k, r, accepted
    return first, chosen


@njit(_nrt=False, forceinline=True)
def pick_refresh(par, regs, ready, bank, refresh, c, now, edge, per_bank):
    """What the oldest waiting refresh needs, and when: (cycle, command, its first bank)."""
    first = refresh[c, regs[c, R_HEAD]]
    width = 1 if per_bank else par[P_RANK_BANKS]
    opened, owned = False, False
    for b in range(first, first + width):
        opened = opened or bank[c, u(b * BANK_FIELDS + B_ROW)] != CLOSED
        owned = owned or bank[c, u(b * BANK_FIELDS + B_OWNERS)] > 0 or bank[c, u(b * BANK_FIELDS + B_ROW)] == OPENING
    cmd = REFB if per_bank else REFA
    if opened:
        cmd = PRE if per_bank else PREA
    until = ready[c, cmd * par[P_BANKS] + first]
    if opened and owned:
        until = FAR
    elif opened:
        until = max(until, now)
        until += 1 if paired(par, regs, c, cmd, first, until) else 0
    else:
        until = max(until, edge)
    return until, cmd, first


@njit(_nrt=False, forceinline=True)
def pop_refresh(regs, c):
    regs[c, R_HEAD] = (regs[c, R_HEAD] + 1) % WAITING_REFRESHES
    regs[c, R_WAITING] -= 1


@njit(_nrt=False, forceinline=True)
def pick_idle_row(par, regs, ready, bank, queue, room, c, after, edge):
    """The bank that policy closes next, unused for ``after`` cycles and wanted by nobody: (cycle, bank)."""
    chosen, first = -1, FAR
    for b in range(par[P_BANKS]):
        row = bank[c, u(b * BANK_FIELDS + B_ROW)]
        if row < 0 or bank[c, u(b * BANK_FIELDS + B_OWNERS)] > 0:
            continue
        r = max(edge, ready[c, PRE * par[P_BANKS] + b], bank[c, u(b * BANK_FIELDS + B_USED)] + after)
        r += r & par[P_HALF_TICKS]
        if r >= first:
            continue
        wanted = False
        for w in range(2):
            places = u(field(room, w, Q_PLACE))
            for k in range(u(regs[c, u(R_QUEUED + w)])):
                wanted |= queue[c, places + k] == (row << PLACE_BITS) | b
        if not wanted:
            chosen, first = b, r
    return first, chosen


@njit(_nrt=False, forceinline=True)
def sync_clock(par, regs, log, c, bank, now):
    regs[c, C_SYNCS] += 1
    write_log(par, regs, log, c, CAS, bank, -1, now)


assert TIMED == REFB + 1
assert WR == RD + 1
