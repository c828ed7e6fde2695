"""The table of constraints, unrolled: for every command at every bank, which cells of ``ready`` it moves, and how far.

A cell is the first cycle in which one command may go to one bank; cells of a command lie together, bank by bank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.parts.dram_layout import (
    COMMANDS,
    E_COUNT,
    E_EVEN,
    E_HISTORY,
    E_LATENCY,
    E_START,
    E_WINDOW,
    EFFECT_FIELDS,
    F_HISTORY,
    F_LATENCY,
    F_PARENT,
    F_POST,
    F_SPAN,
    F_STRIDE,
    F_WINDOW,
    PRE,
    PREA,
    TIMED,
)  # fmt: skip
from spcomp.sim.parts.dram_rules import RuleTable

Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Effects:
    """What commands do to later ones (columns: ``E_*`` in :mod:`dram_layout`)."""

    table: Array
    """[effects, EFFECT_FIELDS], by command and bank."""
    at: Array
    """[TIMED * banks + 1]: where those of a command at a bank begin."""


def unroll(rules: RuleTable, banks: int, rank_banks: int, half_ticks: bool) -> Effects:
    """Unroll ``rules`` for a channel of ``banks`` banks.

    With ``half_ticks``, commands other than precharges go on even cycles only: what they wait for is rounded up to one.
    """
    made, owners = [], []
    for before in range(TIMED):
        width = rank_banks if COMMANDS[before] in ("PREA", "REFA") else 1
        firsts = np.arange(0, banks, width)
        for rule in rules.rules[rules.rule_at[before] : rules.rule_at[before + 1]]:
            for start, count, bank in _ranges(rule, firsts, width):
                effect = np.zeros((len(bank), EFFECT_FIELDS), np.int64)
                effect[:, E_START] = rule[F_POST] * banks + start
                effect[:, E_COUNT] = count
                effect[:, E_LATENCY] = rule[F_LATENCY]
                effect[:, E_EVEN] = int(half_ticks and rule[F_POST] not in (PRE, PREA))
                effect[:, E_WINDOW] = rule[F_WINDOW]
                node = rule[F_HISTORY] * banks + bank // rule[F_SPAN]
                effect[:, E_HISTORY] = node * (rules.deepest + 1)
                made.append(effect)
                owners.append(before * banks + bank)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    at = np.searchsorted(owner[order], np.arange(TIMED * banks + 1)).astype(np.int64)
    return Effects(np.ascontiguousarray(np.concatenate(made)[order]), at)


def _ranges(rule: Array, firsts: Array, width: int) -> list[tuple[Array, int, Array]]:
    """Runs of banks that wait after a command at each of ``firsts``: (first bank, how many banks, the command's)."""
    span, parent, stride = int(rule[F_SPAN]), int(rule[F_PARENT]), int(rule[F_STRIDE])
    low = firsts // span * span
    reach = max(span, width)
    if parent:
        found = []
        around = firsts // parent * parent
        for step in range(0, parent, reach):
            other = around + step != low
            found.append(((around + step)[other], reach, firsts[other]))
    else:
        found = [(low, reach, firsts)]
    if stride == 1:
        return found
    # commands to a whole rank wait at its first bank
    return [
        (start // stride * stride + step, 1, bank) for start, count, bank in found for step in range(0, count, stride)
    ]
