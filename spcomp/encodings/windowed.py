"""Sixteen rows side by side, every slot with a window of columns of its own: what `Window` and `Fours` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import bad_offsets, ceil_div, mismatch, ranges, row_chunks
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

LANES = 16
"""Rows that lie side by side in a slot."""
UNIT = 16
"""Windows start at multiples of this many columns."""
WIDTHS = (32, 64, 128, 256)
STEP = 2
"""Slots of a group come in multiples of this, so that a kernel can take two at a time."""
_MOST_COLUMNS = UNIT << 16
_ALIKE = 16 * LANES
"""Rows of similar length that are sorted once more, by how many of their nonzeros lie in the left half."""
_NONE = np.int32(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Windowed(Encoding):
    """Slots of up to ``depth`` nonzeros of each of sixteen rows, all within ``width`` columns of each other.

    Rows, or rows of similar length, are taken sixteen at a time; with G = ceil(N / 16) such groups and S slots in all:

    - ``values`` [S, 16], or [S, 16, depth]: the slots of group 0, then those of group 1, ...
    - ``columns`` uint8, of the same shape: column minus the first column of the slot's window
    - ``first`` uint16 [S]: the window's first column, divided by 16
    - ``group_start`` int64 [G + 1]: each group's first slot; a group has an even number of them
    - ``order`` uint32 [N], where rows are sorted: the row that lane i % 16 of group i // 16 holds

    Slot by slot, the window starts at the leftmost nonzero that the group has still to store (rounded down to a
    multiple of 16, and such that no window goes on past the last column while another would do). Every row stores those
    of its next ``depth`` nonzeros that lie in the window; what is left of a slot is 0 with column 0, and so are lanes
    past the last row.
    """

    depth: ClassVar[int]
    sorts: ClassVar[bool]
    """Whether rows of similar length share a group; otherwise neighbours do."""
    width: int = 64

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise EncodingError(str(self), f"width is not one of {WIDTHS}", f"{self.name}(width=64)")

    def last_first(self, columns: int) -> int:
        """The largest ``first`` that a matrix with this many columns needs."""
        return max(0, ceil_div(columns, UNIT) - self.width // UNIT)

    def stops(self, leftmost: NDArray[np.int32], first: NDArray[np.int32]) -> NDArray[np.int32]:
        """Where the windows of each group end, given the leftmost column still to store (a large number for none) and
        ``first``."""
        return first * np.int32(UNIT) + np.int32(self.width)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        if facts.shape[1] > _MOST_COLUMNS:
            return Refusal(f"{facts.shape[1]} columns are more than the {_MOST_COLUMNS} that {self} can number")
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        """Known for a matrix of zeros alone; padding depends on where the nonzeros are: :meth:`exact_sizes`."""
        return None if facts.nonzeros else self._nbytes(0, facts.shape[0], 0)

    def stored_values(self, facts: SparsityFacts) -> int | None:
        return None if facts.nonzeros else 0

    def exact_sizes(self, facts: SparsityFacts, bits: Bits) -> tuple[int, int]:
        slots = int(self._schedule(bits != 0).slots.sum())
        return self._nbytes(slots, facts.shape[0], ITEM_BYTES[facts.dtype]), slots * LANES * self.depth

    def _nbytes(self, slots: int, rows: int, item_bytes: int) -> int:
        return (
            slots * (LANES * self.depth * (item_bytes + 1) + 2)
            + 8 * (ceil_div(rows, LANES) + 1)
            + 4 * rows * self.sorts
        )

    def _schedule(self, mask: NDArray[np.bool_]) -> _Schedule:
        """Which slot of its group every nonzero goes to. All groups advance together, a slot at a time."""
        rows, columns = mask.shape
        order = _similar(mask) if self.sorts else np.arange(rows)
        groups = ceil_div(rows, LANES)
        row, column = _coordinates(mask[order] if rows else mask)
        lengths = np.bincount(row, minlength=groups * LANES)
        # every row's columns, and a mark that it ends
        ends = np.cumsum(lengths + 1)
        place = np.arange(row.size) + row
        pending = np.full(row.size + groups * LANES, _NONE, dtype=np.int32)
        pending[place] = column
        slot, layer = np.zeros((2, pending.size), dtype=np.int32)
        at = ends - lengths - 1
        last = self.last_first(columns)
        firsts: list[NDArray[np.int32]] = []
        while True:
            coming = pending[at]
            leftmost = coming.reshape(groups, LANES).min(axis=1, initial=_NONE)
            if not (leftmost < _NONE).any():
                break
            first = np.where(leftmost < _NONE, np.minimum(leftmost // UNIT, last), -1).astype(np.int32)
            stop = np.repeat(self.stops(leftmost, first), LANES)
            for taken in range(self.depth):
                slot[at], layer[at] = len(firsts), taken  # told again until it is taken
                at += pending[at] < stop
            firsts.append(first)
        table = np.array(firsts, dtype=np.int32).reshape(len(firsts), groups)
        used = (table >= 0).sum(axis=0)
        return _Schedule(order, row, column, slot[place], layer[place], table, ceil_div_all(used, STEP) * STEP)

    def pack_bits(self, bits: Bits) -> Buffers:
        plan = self._schedule(bits != 0)
        start = np.zeros(len(plan.slots) + 1, dtype=np.int64)
        np.cumsum(plan.slots, out=start[1:])
        first = np.zeros(int(start[-1]), dtype=np.uint16)
        for group, (lo, hi) in enumerate(pairwise(start)):
            own = plan.first[: hi - lo, group]
            own = own[own >= 0]
            first[lo:hi] = own[-1] if own.size else 0
            first[lo : lo + own.size] = own
        values = np.zeros((first.size, LANES, self.depth), dtype=bits.dtype)
        offsets = np.zeros(values.shape, dtype=np.uint8)
        slot = start[plan.row // LANES] + plan.slot
        at = slot, plan.row % LANES, plan.layer
        values[at] = bits[plan.order[plan.row], plan.column]
        offsets[at] = plan.column - first[slot].astype(np.int32) * UNIT
        return {
            "values": values if self.depth > 1 else values[:, :, 0],
            "columns": offsets if self.depth > 1 else offsets[:, :, 0],
            "first": first,
            "group_start": start,
            **({"order": plan.order.astype(np.uint32)} if self.sorts else {}),
        }

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        out = np.zeros(shape, dtype=buffers["values"].dtype)
        at, row, column = self._places(buffers)
        out[row, column] = buffers["values"][at]
        return out

    def _shape(self, slots: int | None) -> tuple[int | None, ...]:
        """Of ``values`` and ``columns``."""
        return (slots, LANES) if self.depth == 1 else (slots, LANES, self.depth)

    @staticmethod
    def _places(
        buffers: Mapping[str, NDArray[Any]],
    ) -> tuple[tuple[NDArray[Any], ...], NDArray[Any], NDArray[Any]]:
        """(slot, lane and place within them, row, column) of every nonzero, in the order of slots."""
        at = np.nonzero(buffers["values"])
        slot, lane = at[:2]
        group = np.repeat(np.arange(len(buffers["group_start"]) - 1), np.diff(buffers["group_start"]))
        row = group[slot] * LANES + lane
        if "order" in buffers:
            row = buffers["order"].astype(np.int64)[row]
        column = buffers["first"][slot].astype(np.int64) * UNIT + buffers["columns"][at]
        return at, row, column

    def gather_index(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Buffers:
        """``place`` uint32 [N], where rows are sorted: 16 * group + lane of every row, the inverse of ``order``."""
        if not self.sorts:
            return {}
        place = np.zeros(shape[0], dtype=np.uint32)
        place[buffers["order"]] = np.arange(shape[0], dtype=np.uint32)
        return {"place": place}

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        place = buffers["place"][ids].astype(np.int64) if self.sorts else ids
        group, lane = np.divmod(place, LANES)
        start = buffers["group_start"]
        owner, slot = ranges(start[group], start[group + 1] - start[group])
        values = buffers["values"][slot, lane[owner]].reshape(slot.size, self.depth)
        offsets = buffers["columns"][slot, lane[owner]].reshape(values.shape)
        live, layer = np.nonzero(values)
        out = np.zeros((ids.size, shape[1]), dtype=values.dtype)
        column = buffers["first"][slot[live]].astype(np.int64) * UNIT + offsets[live, layer]
        out[owner[live], column] = values[live, layer]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        slots = buffers["first"].size if "first" in buffers else None
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], self._shape(slots)),
                "columns": (np.uint8, self._shape(slots)),
                "first": (np.uint16, (slots,)),
                "group_start": (np.int64, (ceil_div(rows, LANES) + 1,)),
                **({"order": (np.uint32, (rows,))} if self.sorts else {}),
            },
        ) or bad_offsets("group_start", buffers["group_start"], buffers["first"].size)
        if wrong:
            return wrong
        if (buffers["group_start"] % STEP).any():
            return f"a group's slots are no multiple of {STEP}"
        if self.sorts and not np.array_equal(np.sort(buffers["order"]), np.arange(rows)):
            return "order is no permutation of the rows"
        if (buffers["first"] > self.last_first(columns)).any():
            return f"first points past column {columns}"
        if (buffers["columns"] >= self.width).any():
            return f"columns point past a window of {self.width}"
        if rows % LANES and buffers["values"][buffers["group_start"][-2] :, rows % LANES :].any():
            return f"values has nonzeros past row {rows}"
        _, row, column = self._places(buffers)
        if (column >= columns).any():
            return f"columns point past column {columns}"
        by_row = np.argsort(row, kind="stable")
        place = row[by_row] * columns + column[by_row]
        if (place[1:] <= place[:-1]).any():
            return "columns do not ascend within each row"
        return None


@dataclass(frozen=True, eq=False)
class _Schedule:
    """Where nonzeros go. ``row`` counts rows as they are ordered, so that row % 16 is the lane."""

    order: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    slot: NDArray[np.int32]
    """The nonzero's slot within its group."""
    layer: NDArray[np.int32]
    """Which of its row's nonzeros in that slot it is."""
    first: NDArray[np.int32]
    """Window starts [most slots of any group, G]; -1 where a group has no more."""
    slots: NDArray[np.int64]
    """Slots of each group, padding included."""


def ceil_div_all(values: NDArray[np.int64], unit: int) -> NDArray[np.int64]:
    return -(-values // unit)


def _coordinates(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of what is set, row by row."""
    where = np.flatnonzero(mask)
    row, column = np.divmod(where, max(mask.shape[1], 1))
    return row, column


def _similar(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows, so that neighbours have about as many nonzeros, in both halves: that is what makes slots full."""
    total = np.count_nonzero(mask, axis=1)
    order = np.argsort(-total, kind="stable")
    left = np.count_nonzero(mask[:, : mask.shape[1] // 2], axis=1)
    parts = [order[chunk] for chunk in row_chunks(order.size, 1 << 18, _ALIKE)]
    return np.concatenate([order[:0], *(part[np.argsort(-left[part], kind="stable")] for part in parts)])
