"""`Csr`: compressed rows, cut in column blocks so that indices are short and the input slice stays in cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import bad_offsets, ceil_div, mismatch, ranges, row_chunks
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

_WIDEST = 1 << 16
ANCHOR_ROWS = 64
"""Rows from one known offset to the next, when single rows are read."""


@dataclass(frozen=True)
class Csr(Encoding):
    """Nonzeros block by block, within a column block row by row, within a row by ascending column.

    - ``values`` [nnz]
    - ``columns`` [nnz], relative to the block's first column: uint8 up to 256 columns a block, else uint16
    - ``counts`` [blocks, N], nonzeros of that row in that block: uint8 up to 255 columns a block, uint16 up to
      65535, else uint32
    - ``block_start`` int64 [blocks + 1], offset of each block's first nonzero
    """

    name: ClassVar[str] = "csr"
    block_columns: int = 128

    def __post_init__(self) -> None:
        if not 1 <= self.block_columns <= _WIDEST:
            raise EncodingError(
                f"csr(block_columns={self.block_columns})", f"it is not within 1 to {_WIDEST}", "block_columns=128"
            )

    @property
    def column_dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        return np.dtype(np.uint8 if self.block_columns <= 1 << 8 else np.uint16)

    @property
    def count_dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        return np.min_scalar_type(self.block_columns)

    def blocks(self, columns: int) -> int:
        """Column blocks of a matrix with this many columns."""
        return ceil_div(columns, self.block_columns)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        rows, columns = facts.shape
        blocks = self.blocks(columns)
        per_value = ITEM_BYTES[facts.dtype] + self.column_dtype.itemsize
        return facts.nonzeros * per_value + blocks * rows * self.count_dtype.itemsize + 8 * (blocks + 1)

    def stored_values(self, facts: SparsityFacts) -> int:
        return facts.nonzeros

    def pack_bits(self, bits: Bits) -> Buffers:
        rows, columns = bits.shape
        blocks = self.blocks(columns)
        counts = np.zeros((blocks, rows), dtype=self.count_dtype)
        values = [np.empty(0, dtype=bits.dtype)]
        offsets = [np.empty(0, dtype=self.column_dtype)]
        for block in range(blocks):
            part = bits[:, block * self.block_columns : (block + 1) * self.block_columns]
            width = part.shape[1]
            for chunk in row_chunks(rows, width):
                piece = np.ascontiguousarray(part[chunk])
                mask = piece != 0
                where = np.flatnonzero(mask)
                values.append(piece.reshape(-1).take(where))
                column_of = np.tile(np.arange(width, dtype=self.column_dtype), piece.shape[0])
                offsets.append(column_of.take(where))
                counts[block, chunk] = np.count_nonzero(mask, axis=1)
        block_start = np.zeros(blocks + 1, dtype=np.int64)
        np.cumsum(counts.sum(axis=1, dtype=np.int64), out=block_start[1:])
        return {
            "values": np.concatenate(values),
            "columns": np.concatenate(offsets),
            "counts": counts,
            "block_start": block_start,
        }

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        rows, columns = shape
        values, offsets, counts, start = (buffers[k] for k in ("values", "columns", "counts", "block_start"))
        out = np.zeros(rows * columns, dtype=values.dtype)
        row_first = np.arange(rows, dtype=np.int64) * columns
        for block in range(self.blocks(columns)):
            stored = slice(int(start[block]), int(start[block + 1]))
            where = np.repeat(row_first + block * self.block_columns, counts[block])
            where += offsets[stored]
            out[where] = values[stored]
        return out.reshape(shape)

    def gather_index(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Buffers:
        """``anchors`` int64 [blocks, ceil(N / 64)]: offset of the first nonzero of every 64th row in each block."""
        counts, start = buffers["counts"], buffers["block_start"]
        if not shape[0]:
            return {"anchors": np.zeros((len(counts), 0), dtype=np.int64)}
        sums = np.add.reduceat(counts, np.arange(0, shape[0], ANCHOR_ROWS), axis=1, dtype=np.int64)
        return {"anchors": np.cumsum(sums, axis=1) - sums + start[:-1, None]}

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        counts, offsets = buffers["counts"], buffers["columns"]
        out = np.zeros((ids.size, shape[1]), dtype=buffers["values"].dtype)
        anchor, past = np.divmod(ids, ANCHOR_ROWS)
        before = np.arange(ANCHOR_ROWS)[None, :]
        near = np.minimum(anchor[:, None] * ANCHOR_ROWS + before, ids[:, None])
        skipped = np.where(before < past[:, None], counts[:, near], 0).sum(axis=2, dtype=np.int64)
        start = buffers["anchors"][:, anchor] + skipped
        owner, at = ranges(start.reshape(-1), counts[:, ids].reshape(-1))
        block, row = np.divmod(owner, max(ids.size, 1))
        out[row, block * self.block_columns + offsets[at]] = buffers["values"][at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        blocks = self.blocks(columns)
        stored = buffers["values"].size if "values" in buffers else None
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], (None,)),
                "columns": (self.column_dtype, (stored,)),
                "counts": (self.count_dtype, (blocks, rows)),
                "block_start": (np.int64, (blocks + 1,)),
            },
        )
        if wrong:
            return wrong
        counts, start = buffers["counts"], buffers["block_start"]
        wrong = bad_offsets("block_start", start, buffers["values"].size)
        if wrong:
            return wrong
        if not np.array_equal(counts.sum(axis=1, dtype=np.int64), np.diff(start)):
            return "counts and block_start disagree"
        for block in range(blocks):
            width = min(self.block_columns, columns - block * self.block_columns)
            offsets = buffers["columns"][start[block] : start[block + 1]].astype(np.int64)
            if offsets.size and int(offsets.max()) >= width:
                return f"columns of block {block} point past its {width} columns"
            place = np.repeat(np.arange(rows, dtype=np.int64) * width, counts[block]) + offsets
            if (place[1:] <= place[:-1]).any():
                return f"columns of block {block} do not ascend within each row"
        return None

    def to_mlir(self, shape: tuple[int, int]) -> str | None:
        """Plain CSR, if all columns lie in one block (there ``counts`` are the differences of MLIR's positions)."""
        if shape[1] > self.block_columns:
            return None
        width = 8 * self.column_dtype.itemsize
        return f"#sparse_tensor.encoding<{{ map = (d0, d1) -> (d0 : dense, d1 : compressed), crdWidth = {width} }}>"
