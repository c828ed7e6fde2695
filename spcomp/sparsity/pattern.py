"""Patterns: promises about where zeros are. No bytes, no hardware, no torch."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import PatternError
from spcomp.sparsity.facts import Axis

Mask = NDArray[np.bool_]
"""Shape (N, K); True where the element is a nonzero."""

ACCEPTED_FORMS = (
    "nm 2:4 (or 2:4, nm 2:4 axis 0), vnm 64:2:8, block 8x8 (or 8x8), unstructured 90% (or 90%), dead rows, "
    "dead columns, or several of them joined by ' & '"
)


@dataclass(frozen=True)
class Pattern(ABC):
    """A promise about where zeros are in a matrix (N, K). ``parse_pattern(str(p)) == p``."""

    @abstractmethod
    def holds(self, mask: Mask) -> bool:
        """Whether a matrix with these nonzeros, a bool array of shape (N, K), keeps the promise.

        A pattern that says "at most" or "all or nothing" holds for an empty matrix.
        """

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class NM(Pattern):
    """At most ``n`` nonzeros in every aligned group of ``m`` along ``axis`` (1: along K, within a row).

    A ragged last group counts as a group.
    """

    n: int
    m: int
    axis: Axis = 1

    def __post_init__(self) -> None:
        if not 1 <= self.n < self.m:
            raise PatternError(f"the pattern nm {self.n}:{self.m}", "it needs 1 <= n < m", "nm 2:4")
        if self.axis not in (0, 1):
            raise PatternError(f"the pattern nm on axis {self.axis}", "a matrix has the axes 0 and 1", "axis=1")

    def holds(self, mask: Mask) -> bool:
        lines = mask if self.axis == 1 else mask.T
        if lines.size == 0:
            return True
        return _most_in_group(lines, self.m) <= self.n

    def __str__(self) -> str:
        return f"nm {self.n}:{self.m}" + (" axis 0" if self.axis == 0 else "")


@dataclass(frozen=True)
class VNM(Pattern):
    """At most ``n`` nonzeros in every aligned group of ``m`` along K, and those of ``v`` rows in ``2 * n`` columns.

    The columns are any, in each aligned block of ``v`` x ``m`` others; ragged blocks count as blocks. Castro et al.,
    SC 2023. 64:2:4 is 2:4.
    """

    v: int
    n: int
    m: int

    def __post_init__(self) -> None:
        if self.v < 1 or self.n < 1 or 2 * self.n > self.m:
            found = "it needs 1 <= v and 1 <= 2 * n <= m"
            raise PatternError(f"the pattern vnm {self.v}:{self.n}:{self.m}", found, "vnm 64:2:8")

    @property
    def columns(self) -> int:
        """Columns with nonzeros in a block, at most."""
        return 2 * self.n

    def holds(self, mask: Mask) -> bool:
        if mask.size == 0:
            return True
        live = np.logical_or.reduceat(mask, np.arange(0, mask.shape[0], self.v), axis=0)
        return NM(self.n, self.m).holds(mask) and _most_in_group(live, self.m) <= self.columns

    def __str__(self) -> str:
        return f"vnm {self.v}:{self.n}:{self.m}"


@dataclass(frozen=True)
class Block(Pattern):
    """Every aligned block of ``rows`` x ``cols`` is all nonzero or all zero, the ragged blocks at the edges too."""

    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise PatternError(f"the pattern block {self.rows}x{self.cols}", "a side is below 1", "block 8x8")

    def holds(self, mask: Mask) -> bool:
        if mask.size == 0:
            return True
        corners = mask[:: self.rows, :: self.cols]
        spread = corners.repeat(self.rows, axis=0)[: mask.shape[0]].repeat(self.cols, axis=1)[:, : mask.shape[1]]
        return bool(np.array_equal(spread, mask))

    def __str__(self) -> str:
        return f"block {self.rows}x{self.cols}"


@dataclass(frozen=True)
class Unstructured(Pattern):
    """At least the share ``sparsity`` (0 to 1) of all elements is zero, anywhere."""

    sparsity: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity <= 1.0:
            raise PatternError(f"unstructured sparsity of {self.sparsity}", "it is not within 0 to 1", "0.9, or '90%'")
        object.__setattr__(self, "sparsity", float(self.sparsity))

    def holds(self, mask: Mask) -> bool:
        zeros = mask.size - int(np.count_nonzero(mask))
        return zeros >= Fraction(Decimal(repr(self.sparsity))) * mask.size

    def __str__(self) -> str:
        percent = Decimal(repr(self.sparsity)) * 100
        return f"unstructured {percent.normalize():f}%"


@dataclass(frozen=True)
class DeadRows(Pattern):
    """At least ``least`` rows (output features) have no nonzero at all."""

    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise PatternError(f"dead rows {self.least}", "the number of rows is below 1", "dead rows 1")

    def holds(self, mask: Mask) -> bool:
        return int(np.count_nonzero(~mask.any(axis=1))) >= self.least

    def __str__(self) -> str:
        return "dead rows" + (f" {self.least}" if self.least > 1 else "")


@dataclass(frozen=True)
class DeadColumns(Pattern):
    """At least ``least`` columns (input features) have no nonzero at all."""

    least: int = 1

    def __post_init__(self) -> None:
        if self.least < 1:
            raise PatternError(f"dead columns {self.least}", "the number of columns is below 1", "dead columns 1")

    def holds(self, mask: Mask) -> bool:
        return int(np.count_nonzero(~mask.any(axis=0))) >= self.least

    def __str__(self) -> str:
        return "dead columns" + (f" {self.least}" if self.least > 1 else "")


@dataclass(frozen=True)
class And(Pattern):
    """All of ``patterns`` hold. Nested ones are flattened; at least two."""

    patterns: tuple[Pattern, ...]

    def __post_init__(self) -> None:
        flat: list[Pattern] = []
        for pattern in self.patterns:
            flat.extend(pattern.patterns if isinstance(pattern, And) else (pattern,))
        if len(flat) < 2:
            raise PatternError("a pattern made of several", f"it was given {len(flat)}", "two or more patterns")
        object.__setattr__(self, "patterns", tuple(flat))

    def holds(self, mask: Mask) -> bool:
        return all(pattern.holds(mask) for pattern in self.patterns)

    def __str__(self) -> str:
        return " & ".join(str(pattern) for pattern in self.patterns)


def _most_in_group(lines: Mask, m: int) -> int:
    """The largest number of nonzeros in an aligned group of ``m`` along a line, of at least one line and group."""
    return int(np.add.reduceat(lines, np.arange(0, lines.shape[1], m), axis=1, dtype=np.int64).max())


_NM = re.compile(r"(?:nm )?(\d{1,9}):(\d{1,9})(?: axis ([01]))?", re.ASCII)
_VNM = re.compile(r"vnm (\d{1,9}):(\d{1,9}):(\d{1,9})", re.ASCII)
_BLOCK = re.compile(r"(?:block )?(\d{1,9})x(\d{1,9})", re.ASCII)
_UNSTRUCTURED = re.compile(r"(?:unstructured )?(\d{1,3}(?:\.\d{1,400})?)%", re.ASCII)
_DEAD = re.compile(r"dead (rows|columns)(?: (\d{1,18}))?", re.ASCII)


def parse_pattern(text: str) -> Pattern:
    """The pattern that prints as ``text``; the short forms ``2:4``, ``8x1`` and ``90%`` are understood too.

    Letter case and extra blanks do not matter. Raises :class:`~spcomp.errors.PatternError` naming the accepted forms.
    """
    parts = [" ".join(part.lower().split()) for part in text.split("&")]
    if len(parts) > 1:
        return And(tuple(_parse_one(part, text) for part in parts))
    return _parse_one(parts[0], text)


def _parse_one(part: str, text: str) -> Pattern:
    if match := _NM.fullmatch(part):
        return NM(int(match[1]), int(match[2]), 0 if match[3] == "0" else 1)
    if match := _VNM.fullmatch(part):
        return VNM(int(match[1]), int(match[2]), int(match[3]))
    if match := _BLOCK.fullmatch(part):
        return Block(int(match[1]), int(match[2]))
    if match := _UNSTRUCTURED.fullmatch(part):
        return Unstructured(float(Decimal(match[1]) / 100))
    if match := _DEAD.fullmatch(part):
        kind = DeadRows if match[1] == "rows" else DeadColumns
        return kind(int(match[2] or 1))
    raise PatternError(f"the pattern {text!r}", f"{part!r} is no pattern", ACCEPTED_FORMS)
