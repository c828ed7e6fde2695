"""A systolic array: what a product costs in cycles, in closed form.

>>> SystolicArray(32, 32).cycles(m=12100, k=147, n=64)
121624

A product of [m, k] by [k, n] is cut into folds that fit the array. One dimension lies along its rows, one along its
columns, one streams through: ``ws`` (weights stay) k, n, m; ``os`` (outputs stay) m, n, k; ``is`` (inputs stay)
k, m, n. A fold of r rows, c columns and t elements that stream takes r + c + t - 2 cycles from the first operand at
the edge to the last sum, and r more before that where an operand is loaded that stays. :mod:`systolic_array` moves
the numbers themselves and takes as long. What is modelled and what is not: ``docs/simulation.md``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from spcomp.errors import InputError

DATAFLOWS = ("ws", "os", "is")
MODES = ("exact", "scalesim")
LARGEST_SIDE = 1 << 16


@dataclass(frozen=True)
class Fold:
    """A part of a product that the array computes at once: ranges of k, n and m along rows, columns and time."""

    row_start: int
    rows: int
    col_start: int
    cols: int
    stream: int


@dataclass(frozen=True)
class SystolicArray:
    """rows x cols multipliers.

    Args:
        rows, cols: of the array.
        dataflow: ``ws``, ``os`` or ``is``.
        mode: ``exact`` charges a fold at an edge by its real size. ``scalesim`` charges every fold as a full one and
            counts to the index of the last cycle, one less, as SCALE-Sim 3.0.0 does.

    Raises:
        InputError: an impossible array, another dataflow or mode.
    """

    rows: int
    cols: int
    dataflow: str = "ws"
    mode: str = "exact"

    def __post_init__(self) -> None:
        asked = f"build a systolic array of {self.rows}x{self.cols}"
        if not (1 <= self.rows <= LARGEST_SIDE and 1 <= self.cols <= LARGEST_SIDE):
            raise InputError(asked, "a side out of range", f"sides of 1 to {LARGEST_SIDE}, such as 32x32")
        for name, choices in (("dataflow", DATAFLOWS), ("mode", MODES)):
            if getattr(self, name) not in choices:
                raise InputError(asked, f"{name} is {getattr(self, name)!r}", ", ".join(choices))

    @classmethod
    def parse(cls, text: str, dataflow: str = "ws", mode: str = "exact") -> Self:
        """``32x16`` is 32 rows of 16. Raises :class:`InputError` for anything else."""
        found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip().lower())
        if found is None:
            raise InputError(f"read the array {text!r}", "no rows and columns", "32x32")
        return cls(int(found[1]), int(found[2]), dataflow.lower(), mode.lower())

    def spans(self, m: int, k: int, n: int) -> tuple[int, int, int]:
        """What lies along rows, along columns, and what streams. Raises :class:`InputError` for a side below 1."""
        if min(m, k, n) < 1:
            raise InputError(f"multiply [{m}, {k}] by [{k}, {n}]", "a side below 1", "M, K and N of at least 1")
        return {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[self.dataflow]

    def fold_cycles(self, rows: int, cols: int, stream: int) -> int:
        """Of a fold of this size, from its first cycle to the last sum."""
        load = 0 if self.dataflow == "os" else rows
        return load + rows + cols + stream - 2

    def fold_count(self, m: int, k: int, n: int) -> int:
        along_rows, along_cols, _ = self.spans(m, k, n)
        return -(-along_rows // self.rows) * -(-along_cols // self.cols)

    def cycles(self, m: int, k: int, n: int) -> int:
        """Of a whole product, its operands being there. Source: SCALE-Sim (Samajdar et al., ISPASS 2020)."""
        along_rows, along_cols, stream = self.spans(m, k, n)
        if self.mode == "scalesim":
            return self.fold_count(m, k, n) * self.fold_cycles(self.rows, self.cols, stream) - 1
        return sum(
            row_count * col_count * self.fold_cycles(rows, cols, stream)
            for rows, row_count in _sizes(along_rows, self.rows)
            for cols, col_count in _sizes(along_cols, self.cols)
        )

    def folds(self, m: int, k: int, n: int) -> Iterator[Fold]:
        """In the order in which they run: columns outside, rows inside, so that sums over k stay close together."""
        along_rows, along_cols, stream = self.spans(m, k, n)
        for col in range(0, along_cols, self.cols):
            cols = min(self.cols, along_cols - col)
            for row in range(0, along_rows, self.rows):
                yield Fold(row, min(self.rows, along_rows - row), col, cols, stream)

    def mapping_efficiency(self, m: int, k: int, n: int) -> float:
        """The share of multipliers that have an operand, averaged over folds."""
        along_rows, along_cols, _ = self.spans(m, k, n)
        return along_rows * along_cols / (self.rows * self.cols * self.fold_count(m, k, n))

    def compute_utilization(self, m: int, k: int, n: int) -> float:
        """The share of multiplier cycles that multiply.

        In mode ``scalesim`` a fold of ``ws`` and ``is`` counts, as it does there, for cols - 1 cycles more.
        """
        if self.mode == "exact":
            return m * k * n / (self.rows * self.cols * self.cycles(m, k, n))
        stream = self.spans(m, k, n)[2]
        length = self.fold_cycles(self.rows, self.cols, stream)
        length += 0 if self.dataflow == "os" else self.cols - 1
        return self.mapping_efficiency(m, k, n) * stream / length


def _sizes(span: int, side: int) -> tuple[tuple[int, int], ...]:
    """(size, how many) of the pieces that a span is cut into."""
    whole, rest = divmod(span, side)
    return tuple(pair for pair in ((side, whole), (rest, 1)) if pair[0] and pair[1])
