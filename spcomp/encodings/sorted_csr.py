"""`SortedCsr`: blocked compressed rows, those of a window sorted by length, so that loops over them end as foreseen.

Rows of one column block have a handful of nonzeros each, and a processor that guesses wrong where such a short loop
ends loses as much time as it spent in it. Rows of equal length next to each other are guessed right. Sorting within
windows is that of SELL-C-sigma (Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014); nothing is padded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import ceil_div, ranges
from spcomp.encodings.csr import Csr
from spcomp.encodings.spec import Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

_WIDEST = 1 << 8


@dataclass(frozen=True)
class SortedCsr(Encoding):
    """Nonzeros as in :class:`~spcomp.encodings.csr.Csr`, but within a column block and a window of rows, rows with
    fewer nonzeros come first.

    - ``order`` uint8 [blocks, N]: which row of its window comes at this place
    - ``counts`` [blocks, N], ``values`` and ``columns`` [nnz]: as ``Csr`` has them, by place
    - ``block_start`` int64 [blocks + 1]
    """

    name: ClassVar[str] = "sorted_csr"
    block_columns: int = 128
    window: int = 128
    """Rows sorted among each other."""

    def __post_init__(self) -> None:
        if not 1 <= self.window <= _WIDEST:
            raise EncodingError(str(self), f"window is not within 1 to {_WIDEST}", "sorted_csr(window=128)")
        Csr(self.block_columns)

    @property
    def by_row(self) -> Csr:
        """The same without the sorting."""
        return Csr(self.block_columns)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        rows, columns = facts.shape
        return self.by_row.predict_nbytes(facts) + self.by_row.blocks(columns) * rows

    def stored_values(self, facts: SparsityFacts) -> int:
        return facts.nonzeros

    def pack_bits(self, bits: Bits) -> Buffers:
        plain = self.by_row.pack_bits(bits)
        counts = plain["counts"]
        order = self.order_of(counts)
        row = self.rows_of(order)
        first = np.cumsum(counts, axis=1, dtype=np.int64) - counts + plain["block_start"][:-1, None]
        counts = np.take_along_axis(counts, row, axis=1)
        _, at = ranges(np.take_along_axis(first, row, axis=1).reshape(-1), counts.reshape(-1))
        return {
            "values": plain["values"][at],
            "columns": plain["columns"][at],
            "counts": counts,
            "order": order,
            "block_start": plain["block_start"],
        }

    def order_of(self, counts: NDArray[Any]) -> NDArray[np.uint8]:
        """Which row of its window comes at which place [blocks, N], of nonzeros by row [blocks, N]."""
        blocks, rows = counts.shape
        windows = ceil_div(rows, self.window)
        keys = np.full((blocks, windows * self.window), np.iinfo(np.int64).max)
        keys[:, :rows] = counts
        order = keys.reshape(blocks, windows, self.window).argsort(axis=2, kind="stable").astype(np.uint8)
        return np.ascontiguousarray(order.reshape(blocks, windows * self.window)[:, :rows])

    def rows_of(self, order: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The row at every place [blocks, N]."""
        place = np.arange(order.shape[1], dtype=np.int64)
        return place - place % self.window + order

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        rows, columns = shape
        values, offsets, counts, start = (buffers[k] for k in ("values", "columns", "counts", "block_start"))
        out = np.zeros(rows * columns, dtype=values.dtype)
        row_first = self.rows_of(buffers["order"]) * columns
        for block in range(self.by_row.blocks(columns)):
            stored = slice(int(start[block]), int(start[block + 1]))
            where = np.repeat(row_first[block] + block * self.block_columns, counts[block])
            where += offsets[stored]
            out[where] = values[stored]
        return out.reshape(shape)

    def gather_index(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Buffers:
        """``anchors`` int64 [blocks, windows]: offset of the first nonzero of every window in each block."""
        counts, start = buffers["counts"], buffers["block_start"]
        if not shape[0]:
            return {"anchors": np.zeros((len(counts), 0), dtype=np.int64)}
        sums = np.add.reduceat(counts, np.arange(0, shape[0], self.window), axis=1, dtype=np.int64)
        return {"anchors": np.cumsum(sums, axis=1) - sums + start[:-1, None]}

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        counts = buffers["counts"]
        out = np.zeros((ids.size, shape[1]), dtype=buffers["values"].dtype)
        if not ids.size:
            return out
        window, within = np.divmod(ids, self.window)
        inside = np.arange(self.window)
        near = np.minimum(window[:, None] * self.window + inside, shape[0] - 1)
        place = (buffers["order"][:, near] == within[:, None]).argmax(axis=2)
        skipped = np.where(inside < place[:, :, None], counts[:, near], 0).sum(axis=2, dtype=np.int64)
        length = np.take_along_axis(counts, window * self.window + place, axis=1)
        owner, at = ranges((buffers["anchors"][:, window] + skipped).reshape(-1), length.reshape(-1))
        block, row = np.divmod(owner, ids.size)
        out[row, block * self.block_columns + buffers["columns"][at]] = buffers["values"][at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        if "order" not in buffers:
            return f"the buffers are {sorted(buffers)}, without order"
        wrong = self.by_row.check({name: b for name, b in buffers.items() if name != "order"}, shape, dtype)
        if wrong:
            return wrong
        return self.bad_order(buffers["order"], shape)

    def bad_order(self, order: NDArray[Any], shape: tuple[int, int]) -> str | None:
        """What keeps ``order`` from naming every row of a window once, or None."""
        wanted = (self.by_row.blocks(shape[1]), shape[0])
        if order.dtype != np.uint8 or order.shape != wanted:
            return f"order is {order.dtype} {order.shape}, not uint8 {wanted}"
        if not np.array_equal(np.sort(self.rows_of(order), axis=1), np.broadcast_to(np.arange(shape[0]), wanted)):
            return "order does not name every row of a window once"
        return None
