"""The one table of timing constraints, and what tells the standards apart.

A row says: after command A at a node of a level, command B at the same node (or at its siblings) waits that many
cycles, counted from the last A or, with a window w, from the w-th last. Levels from the outside: ``channel``, ``rank``
(the pseudo channel of HBM), ``stack`` (the stack id of HBM3), ``group`` (bank group), ``bank``. ``bus`` is the level
that shares data pins: the channel, or in HBM the pseudo channel.

Names of timings are those of the standards without their ``t`` or ``n``. Sources: JESD79-4 (DDR4), JESD79-5 (DDR5),
JESD209-5B (LPDDR5), JESD235D (HBM2), JESD238 (HBM3). A row counts for a standard if all of its timings have a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.parts.dram_layout import (
    COMMANDS,
    F_HISTORY,
    F_LATENCY,
    F_PARENT,
    F_POST,
    F_SPAN,
    F_STRIDE,
    F_WINDOW,
    RULE_FIELDS,
    TIMED,
)  # fmt: skip

LEVELS = ("channel", "rank", "stack", "group", "bank")
ROW_BUS = frozenset({"ACT", "PRE", "PREA", "REFA", "REFB"})
COLUMN_BUS = frozenset({"RD", "WR"})


@dataclass(frozen=True)
class Constraint:
    """After one of ``before`` at a node of ``level``, each of ``after`` waits ``cycles`` (a sum of timings)."""

    level: str
    before: str
    after: str
    cycles: str
    window: int = 1
    siblings: bool = False


CONSTRAINTS = (
    # the data bus, and the array behind it
    Constraint("bus", "RD", "RD", "BL"),
    Constraint("bus", "WR", "WR", "BL"),
    Constraint("stack", "RD", "RD", "CCDS"),
    Constraint("stack", "WR", "WR", "WCCDS"),
    Constraint("group", "RD", "RD", "CCDL"),
    Constraint("group", "WR", "WR", "WCCDL"),
    # turning the bus round
    Constraint("rank", "RD", "WR", "RTW"),
    Constraint("rank", "WR", "RD", "CWL + BL + WTRS"),
    Constraint("group", "WR", "RD", "CWL + BLMAX + WTRL"),
    Constraint("rank", "RD", "RD WR", "BL + CS", siblings=True),
    Constraint("rank", "WR", "RD", "CWL + BL + CS - CL", siblings=True),
    Constraint("stack", "RD", "RD", "CCDR", siblings=True),
    # activating
    Constraint("bank", "ACT", "RD", "RCDRD"),
    Constraint("bank", "ACT", "WR", "RCDWR"),
    Constraint("bank", "ACT", "ACT", "RC"),
    Constraint("group", "ACT", "ACT", "RRDL"),
    Constraint("rank", "ACT", "ACT", "RRDS"),
    Constraint("rank", "ACT", "ACT", "FAW", window=4),
    # precharging
    Constraint("bank", "ACT", "PRE", "RAS"),
    Constraint("bank", "RD", "PRE", "RTP"),
    Constraint("bank", "WR", "PRE", "CWL + BL + WR"),
    Constraint("bank", "PRE", "ACT", "RP"),
    Constraint("rank", "ACT", "PREA", "RAS"),
    Constraint("rank", "RD", "PREA", "RTP"),
    Constraint("rank", "WR", "PREA", "CWL + BL + WR"),
    Constraint("rank", "PREA", "ACT", "RPA"),
    Constraint("rank", "PRE PREA", "PRE PREA", "PPD"),
    # refreshing all banks of a rank
    Constraint("rank", "ACT", "REFA", "RC"),
    Constraint("rank", "PRE PREA", "REFA", "RP"),
    Constraint("rank", "REFA", "ACT PREA REFA", "RFC"),
    # refreshing one bank
    Constraint("bank", "ACT", "REFB", "RC"),
    Constraint("bank", "PRE", "REFB", "RP"),
    Constraint("bank", "REFB", "ACT", "RFCPB"),
    Constraint("rank", "REFA", "REFB", "RFC"),
    Constraint("rank", "REFB", "REFA", "RFCPB"),
    Constraint("rank", "REFB", "REFB", "PB2PB"),
    Constraint("rank", "REFB", "ACT", "RREFD"),
    Constraint("rank", "ACT", "REFB", "RRDS"),
)

DEFAULTS = {
    "RCDRD": "RCD", "RCDWR": "RCD", "BLMAX": "BL", "RPA": "RP", "WCCDS": "CCDS", "WCCDL": "CCDL", "PB2PB": "RREFD",
    "RTW": "CL + BL + 2 - CWL",
}  # fmt: skip
"""A timing that is not given is this sum."""


@dataclass(frozen=True)
class Standard:
    """What a family of memories shares beside the table. Cycles of the command bus are those of the clock."""

    name: str
    command_cycles: Mapping[str, float]
    """Of commands that take other than one."""
    bus_level: str = "channel"
    dual_bus: bool = False
    """Row and column commands have a bus each."""
    ticks_per_clock: int = 1
    """Controller cycles in a clock: 2 where row commands take half clocks."""
    split_activate: bool = False
    """Activation is two commands, at most AAD apart."""
    clock_sync: bool = False
    """An access after a pause needs a command that starts the data clock."""
    defaults: Mapping[str, str] = field(default_factory=lambda: DEFAULTS)
    per_bank_refresh: bool = True


HALF_CLOCK = {"ACT": 1.5, "PRE": 0.5, "PREA": 0.5, "REFA": 0.5, "REFB": 0.5}
STANDARDS: dict[str, Standard] = {
    s.name: s
    for s in (
        Standard("DDR4", {}, per_bank_refresh=False),
        Standard(
            "DDR5",
            {"ACT": 2, "RD": 2, "WR": 2},
            defaults={**DEFAULTS, "RTW": "CL + BL + 4 - CWL"},
            per_bank_refresh=False,
        ),
        Standard("LPDDR5", {}, split_activate=True, clock_sync=True),
        Standard("HBM2", {"ACT": 2}, bus_level="rank", dual_bus=True),
        Standard("HBM3", HALF_CLOCK, bus_level="rank", dual_bus=True, ticks_per_clock=2),
    )
}


def evaluate(cycles: str, timing: Mapping[str, int]) -> int | None:
    """The value of a sum such as ``CL + BL + 2 - CWL``; None if one of its timings has none."""
    total, sign = 0, 1
    for token in re.findall(r"\w+|[+-]", cycles):
        if token in "+-":
            sign = 1 if token == "+" else -1
        elif token.isdigit():
            total += sign * int(token)
        elif token in timing:
            total += sign * timing[token]
        else:
            return None
    return total


def complete(timing: Mapping[str, int], standard: Standard) -> dict[str, int]:
    """``timing`` with the defaults of its standard filled in."""
    full = dict(timing)
    for name, cycles in standard.defaults.items():
        if name not in full:
            value = evaluate(cycles, full)
            if value is not None:
                full[name] = value
    return full


def ticks(standard: Standard, command: str) -> int:
    """How many controller cycles a command takes on its bus."""
    return int(standard.command_cycles.get(command, 1) * standard.ticks_per_clock)


@dataclass(frozen=True, eq=False)
class RuleTable:
    """The table for one memory, as the kernel reads it (columns: ``F_*`` in :mod:`dram_layout`)."""

    rules: NDArray[np.int64]
    rule_at: NDArray[np.int64]
    """Where the rules of each command begin."""
    histories: int
    """How many of them look further back than the last command."""
    deepest: int
    """The largest window."""


def build_rules(standard: Standard, timing: Mapping[str, int], shape: Mapping[str, int]) -> RuleTable:
    """Resolve the table into controller cycles.

    A standard counts from the last cycle of one command to the last of the next; a controller, from first to first:
    hence the difference of their lengths. On a bus, a command keeps others out for as long as it takes.

    Args:
        timing: clock cycles by name, defaults filled in.
        shape: how many ``ranks``, ``stacks``, ``groups`` and ``banks`` a node of the level above has.
    """
    spans = _spans(shape)
    found: dict[tuple[str, str, int, int, int], int] = {}
    for row in CONSTRAINTS:
        clocks = evaluate(row.cycles, timing)
        if clocks is None:
            continue
        level = standard.bus_level if row.level == "bus" else row.level
        parent = spans[LEVELS[LEVELS.index(level) - 1]] if row.siblings else 0
        for before in row.before.split():
            for after in row.after.split():
                cycles = clocks * standard.ticks_per_clock + ticks(standard, before) - ticks(standard, after)
                key = (before, after, spans[level], parent, row.window)
                found[key] = max(found.get(key, cycles), cycles)
    for bus in (ROW_BUS, COLUMN_BUS) if standard.dual_bus else (ROW_BUS | COLUMN_BUS,):
        for before in bus:
            for after in bus if ticks(standard, before) > 1 else ():
                key = (before, after, spans["channel"], 0, 1)
                found[key] = max(found.get(key, 0), ticks(standard, before))
    return _pack(found, spans["rank"])


def _spans(shape: Mapping[str, int]) -> dict[str, int]:
    """Banks under a node of each level."""
    spans = {"bank": 1}
    spans["group"] = shape["banks"]
    spans["stack"] = spans["group"] * shape["groups"]
    spans["rank"] = spans["stack"] * shape["stacks"]
    spans["channel"] = spans["rank"] * shape["ranks"]
    return spans


def _pack(found: Mapping[tuple[str, str, int, int, int], int], rank_banks: int) -> RuleTable:
    order = sorted(
        found.items(), key=lambda item: (COMMANDS.index(item[0][0]), COMMANDS.index(item[0][1]), item[0][2:])
    )
    rules = np.zeros((len(order), RULE_FIELDS), np.int64)
    histories, deepest = 0, 1
    for r, ((_, after, span, parent, window), cycles) in enumerate(order):
        rules[r, F_SPAN] = span
        rules[r, F_PARENT] = parent
        rules[r, F_POST] = COMMANDS.index(after)
        rules[r, F_LATENCY] = cycles
        rules[r, F_WINDOW] = window
        # commands to a whole rank wait at its first bank
        rules[r, F_STRIDE] = rank_banks if after in ("PREA", "REFA") else 1
        if window > 1:
            rules[r, F_HISTORY] = histories
            histories += 1
            deepest = max(deepest, window)
    commands = [COMMANDS.index(key[0]) for key, _ in order]
    rule_at = np.searchsorted(commands, np.arange(TIMED + 1)).astype(np.int64)
    return RuleTable(rules, rule_at, histories, deepest)
