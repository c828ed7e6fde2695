"""Where things stand in the controller's arrays: commands, parameters, registers, fields. Shared by kernel and
caller.
"""

from __future__ import annotations

FAR = 1 << 60
"""A cycle that never comes."""

FAR_CELL = 1 << 50
"""What a cell of ``ready`` holds that is never ready: with the place in a queue behind it, it still fits a word."""

# Commands. ``ready`` has a cell for each that the table of constraints knows and each bank, and one run of cells that
# are never ready; the last two commands take no part in the table.
ACT, PRE, PREA, RD, WR, REFA, REFB, ACT2, CAS = range(9)
COMMANDS = ("ACT", "PRE", "PREA", "RD", "WR", "REFA", "REFB", "ACT2", "CAS")
TIMED = 7
"""How many commands the table of constraints knows."""

# Of each bank in ``bank[channel]``: the open row (or one of the two below), requests that wait for it, the last cycle
# of use.
B_ROW, B_OWNERS, B_USED = range(3)
BANK_FIELDS = 4
CLOSED, OPENING = -1, -2

# Runs of ``queue[channel]``, for reads and then for writes, oldest first: the request (times two, and 1 once it was
# counted), its row and bank in one word, the cell of ``ready`` that its next command waits for, on each bus that may
# carry it, and its transaction.
Q_ID, Q_PLACE, Q_CELL, Q_ROW_CELL, Q_TX = range(5)
QUEUE_FIELDS = 5
PLACE_BITS = 12
"""Of a bank in the word that has the row, too: banks in a channel are at most 4096."""
LANES = 16
"""Queues are searched so many places at once; there is room for them beyond the last request."""
SHORT_QUEUE = 32
"""Places of a queue up to which there is one compiled loop; beyond, there is one for each power of two."""

# Of each request in ``active[channel]``, whose row was opened for it.
A_ID, A_BANK, A_WRITE, A_ACCEPT = range(4)
ACTIVE_FIELDS = 4

# Columns of ``rules``: banks under a node of the level; banks under its parent where siblings are meant, else 0; the
# command that has to wait; cycles; how many commands back they count from; stride over banks; row of ``history``.
F_SPAN, F_PARENT, F_POST, F_LATENCY, F_WINDOW, F_STRIDE, F_HISTORY = range(7)
RULE_FIELDS = 7

# Columns of ``effects``: first cell, cells, cycles, 1 where they are rounded up to even ones; how many commands back
# they count from, and where in ``history[channel]`` those are kept.
E_START, E_COUNT, E_LATENCY, E_EVEN, E_WINDOW, E_HISTORY = range(6)
EFFECT_FIELDS = 6

# Parameters.
(
    P_BANKS, P_RANK_BANKS, P_QUEUE_READ, P_QUEUE_WRITE, P_HIGH, P_LOW, P_READ_DONE, P_WRITE_DONE, P_REFRESH, P_INTERVAL,
    P_CLOSE_AFTER, P_DUAL_BUS, P_HALF_TICKS, P_ACTIVATE_TICKS, P_SPLIT, P_SPLIT_LIMIT, P_SYNC, P_SYNC_READ,
    P_SYNC_WRITE, P_WIDTH, P_LOG,
) = range(21)  # fmt: skip
PARAMETERS = 21
NO_REFRESH, ALL_BANK, PER_BANK = range(3)

# Registers of a channel: time and arbitration, then counters.
(
    R_TIME, R_TAKEN, R_WAKE, R_QUEUED, R_QUEUED_WRITES, R_ACTIVE, R_WRITING, R_NEXT_REFRESH, R_REFRESH_BANK, R_WAITING,
    R_HEAD, R_SYNCED, R_CAS_SOURCE, R_CAS_SLOT, R_SPLIT_BANK, R_SPLIT_ID, R_SPLIT_ROW, R_SPLIT_WRITE, R_SPLIT_DEADLINE,
    R_PAIR_EDGE, R_PAIR_BANK, R_PAIR_RANK, R_FORESEEN,
    C_ACTIVATES, C_PRECHARGES, C_REFRESHES, C_READS, C_WRITES, C_COLUMNS, C_HITS, C_MISSES, C_CONFLICTS, C_FORWARDED,
    C_MERGED, C_LATENCY, C_SERVED, C_SYNCS, C_LAST_ACCEPT, C_LAST_DONE, C_COMMANDS,
) = range(40)  # fmt: skip
# Then, for each of two buses, the command that is next if nothing is taken in before.
N_TIME, N_SOURCE, N_SLOT, N_CMD = range(40, 48, 2)
REGISTERS = 48

# Who a command is for.
NOBODY, FROM_READS, FROM_WRITES, FROM_ACTIVE, FROM_REFRESH = -1, 0, 1, 2, 3

WAITING_REFRESHES = 4096
"""Room for refreshes that are due but not issued."""
