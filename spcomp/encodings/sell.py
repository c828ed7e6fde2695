"""`Sell`: blocked compressed rows in slices of rows whose nonzeros are interleaved; what is longer is a rest.

A loop over a slice multiplies one nonzero of each of its rows a turn: as many sums run side by side, the indices of all
of them are one load, and there is one end of a loop to foresee where there were as many as rows. Slices and sorting
windows are those of SELL-C-sigma (Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014), which pads rows to the longest of
their slice. Here a slice is as long as its shortest row, and the rest of a window is kept by coordinates, as in the
hybrid of ELL and COO of Bell and Garland (SC 2009): a zero times an infinite input would be NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import bad_offsets, ceil_div, mismatch, ranges
from spcomp.encodings.csr import Csr
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

_WIDEST = 1 << 8
_HINT = "sell(block_columns=256, window=128, rows=8)"


@dataclass(frozen=True)
class Sell(Encoding):
    """Column block by column block, in it window by window of ``window`` rows: slices of ``rows`` rows, then the rest.

    Rows of a window stand in ascending order of their nonzeros in the block. A slice's first nonzeros come first, one
    of each row, then its second ones, as many as its shortest row has; a last slice of fewer rows has none. What is
    left of all rows of the window follows, in each turn at most one of a row.

    - ``order`` uint8 [blocks, N]: which row of its window comes at this place
    - ``lengths`` [blocks, slices]: turns of a slice: uint8 up to 255 columns a block, else uint16
    - ``rest_rows`` uint8 [rest]: row within its window
    - ``start``, ``rest_start`` int64 [blocks * windows + 1]: where a window's values and its rest begin
    - ``values`` [nnz]; ``columns`` uint8 [nnz], relative to the block's first column
    """

    name: ClassVar[str] = "sell"
    block_columns: int = 256
    window: int = 128
    rows: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.block_columns <= _WIDEST:
            raise EncodingError(str(self), f"block_columns is not within 1 to {_WIDEST}", _HINT)
        if not 1 <= self.rows <= self.window <= _WIDEST or self.window % self.rows:
            raise EncodingError(
                str(self), f"window is not within 1 to {_WIDEST}, or no multiple of rows (at least 1)", _HINT
            )

    @property
    def by_row(self) -> SortedCsr:
        """The same rows in the same order, one after the other."""
        return SortedCsr(self.block_columns, self.window)

    def windows(self, rows: int) -> int:
        """Windows of a matrix with this many rows."""
        return ceil_div(rows, self.window)

    def slices(self, rows: int) -> int:
        """Slices of a matrix with this many rows; those of a window begin at a multiple of ``window / rows``."""
        return ceil_div(rows, self.rows)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        return None  # how much is left over depends on where the nonzeros are

    def stored_values(self, facts: SparsityFacts) -> int:
        return facts.nonzeros

    def exact_sizes(self, facts: SparsityFacts, bits: Bits) -> tuple[int, int]:
        rows, columns = facts.shape
        csr = Csr(self.block_columns)
        edges = np.arange(0, columns, self.block_columns)
        counts = np.add.reduceat(bits != 0, edges, axis=1, dtype=np.int64).T if columns else np.zeros((0, rows), int)
        lengths = self._lengths(np.take_along_axis(counts, self._rows(self.by_row.order_of(counts)), axis=1))
        blocks = len(edges)
        rest = facts.nonzeros - int(lengths.sum()) * self.rows
        nbytes = facts.nonzeros * (ITEM_BYTES[facts.dtype] + 1) + blocks * rows + rest
        nbytes += lengths.size * csr.count_dtype.itemsize + 16 * (blocks * self.windows(rows) + 1)
        return nbytes, facts.nonzeros

    def _rows(self, order: NDArray[np.uint8]) -> NDArray[np.int64]:
        return self.by_row.rows_of(order)

    def _lengths(self, counts: NDArray[Any]) -> NDArray[np.int64]:
        """Turns of every slice [blocks, slices], of counts by place [blocks, N]."""
        blocks, rows = counts.shape
        whole = rows // self.rows
        lengths = np.zeros((blocks, self.slices(rows)), np.int64)
        lengths[:, :whole] = counts[:, : whole * self.rows].reshape(blocks, whole, self.rows)[:, :, 0]
        return lengths

    def _joint(self, lengths: NDArray[Any], rows: int) -> NDArray[np.int64]:
        """Nonzeros in slices, of every window of every block [blocks * windows]."""
        per = self.window // self.rows
        joint: NDArray[np.int64] = self._by_window(lengths, per, rows).sum(axis=1) * self.rows
        return joint

    def _by_window(self, numbers: NDArray[Any], each: int, rows: int) -> NDArray[np.int64]:
        """Numbers [blocks, some of each window] as [blocks * windows, each], zeros where a window has fewer."""
        blocks, windows = len(numbers), self.windows(rows)
        filled = np.zeros((blocks, windows * each), np.int64)
        filled[:, : numbers.shape[1]] = numbers
        return filled.reshape(blocks * windows, each)

    def pack_bits(self, bits: Bits) -> Buffers:
        rows = bits.shape[0]
        plain = self.by_row.pack_bits(bits)
        counts = plain["counts"].astype(np.int64)
        lengths = self._lengths(counts)
        windows = self.windows(rows)
        joint = self._joint(lengths, rows)
        sizes = self._by_window(counts, self.window, rows).sum(axis=1)
        start, rest_start = (np.concatenate([[0], np.cumsum(part)]) for part in (sizes, sizes - joint))

        # of every nonzero, in the order of rows: its place, its turn, its window
        owner, _ = ranges(np.zeros(counts.size, np.int64), counts.reshape(-1))
        first = np.cumsum(counts.reshape(-1)) - counts.reshape(-1)
        turn = np.arange(owner.size) - first[owner]
        block, place = np.divmod(owner, max(1, rows))
        window = block * windows + place // self.window
        common = np.repeat(lengths, self.rows, axis=1)[:, :rows].reshape(-1)[owner]
        # slices begin where those before them in their block end
        before = (np.cumsum(lengths, axis=1) - lengths) * self.rows
        per = self.window // self.rows
        opening = before[:, ::per].reshape(-1) if rows else before.reshape(-1)
        inside = before[block, place // self.rows] - opening[window]
        to = start[window] + inside + turn * self.rows + place % self.rows
        left = np.flatnonzero(turn >= common)
        left = left[np.lexsort((place[left], (turn - common)[left], window[left]))]
        at = window[left]
        to[left] = start[at] + joint[at] + np.arange(left.size) - rest_start[at]
        values, columns = np.empty_like(plain["values"]), np.empty(owner.size, np.uint8)
        values[to], columns[to] = plain["values"], plain["columns"]
        return {
            "values": values,
            "columns": columns,
            "lengths": lengths.astype(Csr(self.block_columns).count_dtype),
            "order": plain["order"],
            "rest_rows": plain["order"].reshape(-1)[owner[left]],
            "start": start,
            "rest_start": rest_start,
        }

    def _owners(
        self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of every stored value."""
        rows, windows = shape[0], self.windows(shape[0])
        lengths = buffers["lengths"].astype(np.int64)
        row_at = self._rows(buffers["order"])
        joint = self._joint(lengths, rows)
        row = np.empty(buffers["values"].size, np.int64)
        block = np.repeat(np.arange(len(lengths)).repeat(windows), np.diff(buffers["start"]))
        slice_of, step = ranges(np.zeros(lengths.size, np.int64), lengths.reshape(-1) * self.rows)
        in_block, number = np.divmod(slice_of, max(1, lengths.shape[1]))
        _, joined = ranges(buffers["start"][:-1], joint)
        window, left = ranges(buffers["start"][:-1] + joint, np.diff(buffers["rest_start"]))
        row[joined] = row_at[in_block, number * self.rows + step % self.rows]
        row[left] = window % max(1, windows) * self.window + buffers["rest_rows"]
        return row, block * self.block_columns + buffers["columns"]

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        out = np.zeros(shape, dtype=buffers["values"].dtype)
        row, column = self._owners(buffers, shape)
        out[row, column] = buffers["values"]
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        out = np.zeros((ids.size, shape[1]), dtype=buffers["values"].dtype)
        lengths, start, rest_start = (buffers[name] for name in ("lengths", "start", "rest_start"))
        blocks, per = len(lengths), self.window // self.rows
        if not ids.size or not blocks:
            return out
        window, within = np.divmod(ids, self.window)
        near = np.minimum(window[:, None] * self.window + np.arange(self.window), shape[0] - 1)
        place = (buffers["order"][:, near] == within[:, None]).argmax(axis=2)  # [blocks, ids]
        slices = np.minimum(window[:, None] * per + np.arange(per), lengths.shape[1] - 1)
        known = window[:, None] * per + np.arange(per) < lengths.shape[1]
        turns = np.where(known, lengths[:, slices], 0).astype(np.int64)  # [blocks, ids, per]
        own = place // self.rows
        skipped = np.where(np.arange(per) < own[:, :, None], turns, 0).sum(axis=2) * self.rows
        at_window = np.arange(blocks)[:, None] * self.windows(shape[0]) + window
        first = start[at_window] + skipped + place % self.rows
        length = np.take_along_axis(turns, own[:, :, None], axis=2)[:, :, 0]
        owner, step = ranges(np.zeros(length.size, np.int64), length.reshape(-1))
        at = first.reshape(-1)[owner] + step * self.rows
        rests, rest = ranges(
            rest_start[at_window].reshape(-1), (rest_start[at_window + 1] - rest_start[at_window]).reshape(-1)
        )
        mine = buffers["rest_rows"][rest] == within[rests % ids.size]
        rests, rest = rests[mine], rest[mine]
        place_of_rest = (start[at_window] + turns.sum(axis=2) * self.rows - rest_start[at_window]).reshape(-1)
        owner, at = np.concatenate([owner, rests]), np.concatenate([at, place_of_rest[rests] + rest])
        block, row = np.divmod(owner, ids.size)
        out[row, block * self.block_columns + buffers["columns"][at]] = buffers["values"][at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        blocks, windows = ceil_div(columns, self.block_columns), self.windows(rows)
        stored = buffers["values"].size if "values" in buffers else None
        rest = buffers["rest_rows"].size if "rest_rows" in buffers else 0
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], (None,)),
                "columns": (np.uint8, (stored,)),
                "lengths": (Csr(self.block_columns).count_dtype, (blocks, self.slices(rows))),
                "order": (np.uint8, (blocks, rows)),
                "rest_rows": (np.uint8, (None,)),
                "start": (np.int64, (blocks * windows + 1,)),
                "rest_start": (np.int64, (blocks * windows + 1,)),
            },
        )
        wrong = wrong or bad_offsets("start", buffers["start"], buffers["values"].size)
        wrong = wrong or bad_offsets("rest_start", buffers["rest_start"], rest)
        wrong = wrong or self.by_row.bad_order(buffers["order"], shape)
        if wrong:
            return wrong
        if rows % self.rows and buffers["lengths"][:, -1].any():
            return f"the last slice has fewer than {self.rows} rows, and lengths says it has turns"
        joint = self._joint(buffers["lengths"].astype(np.int64), rows)
        if not np.array_equal(joint + np.diff(buffers["rest_start"]), np.diff(buffers["start"])):
            return "lengths and rest_start do not add up to start"
        window = np.repeat(np.arange(blocks * windows) % max(1, windows), np.diff(buffers["rest_start"]))
        if (buffers["rest_rows"] >= np.minimum(self.window, rows - window * self.window)).any():
            return "rest_rows point past their window"
        row, column = self._owners(buffers, shape)
        if (buffers["columns"] >= self.block_columns).any() or (column >= columns).any():
            return f"columns point past the {self.block_columns} of a block, or past column {columns}"
        taken = np.zeros(rows * columns, np.bool_)
        taken[row * columns + column] = True
        if np.count_nonzero(taken) != row.size:
            return "two values stand at one place"
        return None
