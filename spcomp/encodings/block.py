"""`Block`: the aligned blocks that hold a nonzero, each stored whole. Known as BSR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import bad_offsets, ceil_div, mismatch, padded, ranges
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

_INDEX_LIMIT = 2**31


@dataclass(frozen=True)
class Block(Encoding):
    """Live blocks of ``rows`` x ``cols``, block row by block row, ascending column; ragged edges zero padded.

    - ``values`` [blocks, cols, rows]: column by column inside a block
    - ``columns`` int32 [blocks]: block-column index
    - ``row_start`` int32 [ceil(N / rows) + 1]: index of each block row's first block
    """

    name: ClassVar[str] = "block"
    rows: int
    cols: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise EncodingError(str(self), "a side of the block is below 1", "block(rows=8, cols=8)")

    def grid(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Block rows and block columns that cover a matrix (N, K)."""
        return ceil_div(shape[0], self.rows), ceil_div(shape[1], self.cols)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        down, across = self.grid(facts.shape)
        most = facts.block_counts.get((self.rows, self.cols), down * across)
        if most >= _INDEX_LIMIT or across >= _INDEX_LIMIT:
            return Refusal(f"{self} indexes blocks with int32, but there may be {most} of them: use larger blocks")
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        blocks = facts.block_counts.get((self.rows, self.cols))
        if blocks is None:
            return None
        block_bytes = self.rows * self.cols * ITEM_BYTES[facts.dtype] + 4
        return blocks * block_bytes + 4 * (self.grid(facts.shape)[0] + 1)

    def stored_values(self, facts: SparsityFacts) -> int | None:
        blocks = facts.block_counts.get((self.rows, self.cols))
        return None if blocks is None else blocks * self.rows * self.cols

    def pack_bits(self, bits: Bits) -> Buffers:
        down, across = self.grid((bits.shape[0], bits.shape[1]))
        whole = padded(bits, down * self.rows, across * self.cols)
        strips = np.bitwise_or.reduce(whole.reshape(down, self.rows, across * self.cols), axis=1)
        live = np.bitwise_or.reduce(strips.reshape(down, across, self.cols), axis=2) != 0
        block_row, block_column = np.nonzero(live)
        tiled = whole.reshape(down, self.rows, across, self.cols).transpose(0, 2, 3, 1)
        row_start = np.zeros(down + 1, dtype=np.int32)
        np.cumsum(live.sum(axis=1), out=row_start[1:])
        return {
            "values": np.ascontiguousarray(tiled[block_row, block_column]),
            "columns": block_column.astype(np.int32),
            "row_start": row_start,
        }

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        down, across = self.grid(shape)
        values = buffers["values"]
        tiled = np.zeros((down, self.rows, across, self.cols), dtype=values.dtype)
        block_row = np.repeat(np.arange(down), np.diff(buffers["row_start"]))
        tiled.transpose(0, 2, 3, 1)[block_row, buffers["columns"]] = values
        whole = tiled.reshape(down * self.rows, across * self.cols)
        return np.ascontiguousarray(whole[: shape[0], : shape[1]])

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        block_row, within = np.divmod(ids, self.rows)
        start = buffers["row_start"]
        owner, at = ranges(start[block_row], start[block_row + 1] - start[block_row])
        across = self.grid(shape)[1]
        whole = np.zeros((ids.size, across, self.cols), dtype=buffers["values"].dtype)
        whole[owner, buffers["columns"][at]] = buffers["values"][at, :, within[owner]]
        return np.ascontiguousarray(whole.reshape(ids.size, across * self.cols)[:, : shape[1]])

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        down, across = self.grid(shape)
        stored = buffers["columns"].size if "columns" in buffers else None
        wrong = mismatch(
            buffers,
            {
                "columns": (np.int32, (None,)),
                "values": (BIT_DTYPES[dtype], (stored, self.cols, self.rows)),
                "row_start": (np.int32, (down + 1,)),
            },
        ) or bad_offsets("row_start", buffers["row_start"], len(buffers["columns"]))
        if wrong:
            return wrong
        columns = buffers["columns"].astype(np.int64)
        if columns.size and (int(columns.min()) < 0 or int(columns.max()) >= across):
            return f"columns point past the {across} block columns"
        place = np.repeat(np.arange(down, dtype=np.int64) * across, np.diff(buffers["row_start"])) + columns
        if (place[1:] <= place[:-1]).any():
            return "columns do not ascend within each block row"
        return None

    def to_mlir(self, shape: tuple[int, int]) -> str | None:
        """BSR with column-major blocks, if the blocks divide the shape."""
        if shape[0] % self.rows or shape[1] % self.cols:
            return None
        levels = (
            f"i floordiv {self.rows} : dense, j floordiv {self.cols} : compressed, "
            f"j mod {self.cols} : dense, i mod {self.rows} : dense"
        )
        return f"#sparse_tensor.encoding<{{ map = (i, j) -> ({levels}), posWidth = 32, crdWidth = 32 }}>"
