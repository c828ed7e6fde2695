"""`Split`: blocks that are worth storing whole, and what is left as compressed rows. Lossless for any weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.block import Block
from spcomp.encodings.buffers import bad_offsets, mismatch, padded, ranges
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

_WIDEST = 1 << 16


@dataclass(frozen=True)
class Split(Encoding):
    """Blocks of ``rows`` x ``cols`` with at least ``fill`` percent nonzeros as in ``block``; all other nonzeros by row.

    - ``columns``, ``row_start``: the blocks, as :class:`~spcomp.encodings.block.Block` has them
    - ``rest_columns`` uint16 [rest], ``rest_start`` int32 [N + 1]: the other nonzeros row by row, ascending column
    - ``values`` [blocks * cols * rows + rest]: of the blocks, each column by column; then of the rest

    Weights that were pruned in blocks and then allowed a few nonzeros elsewhere (or learned them) are such.
    """

    name: ClassVar[str] = "split"
    rows: int
    cols: int
    fill: int = 50

    def __post_init__(self) -> None:
        if self.rows < 1 or self.cols < 1:
            raise EncodingError(str(self), "a side of the block is below 1", "split(rows=8, cols=8)")
        if not 1 <= self.fill <= 100:
            raise EncodingError(str(self), "fill is a percentage from 1 to 100", "split(rows=8, cols=8, fill=50)")

    @property
    def block(self) -> Block:
        return Block(self.rows, self.cols)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        if facts.shape[1] > _WIDEST:
            return Refusal(f"{self} has 16-bit column indices, the weight {facts.shape[1]} columns")
        if facts.nonzeros >= 1 << 31:
            return Refusal(f"{self} counts nonzeros with int32, the weight has {facts.nonzeros}")
        return self.block.refuses(facts)

    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        return None

    def stored_values(self, facts: SparsityFacts) -> int | None:
        return None

    def exact_sizes(self, facts: SparsityFacts, bits: Bits) -> tuple[int, int]:
        """``(nbytes, stored values)``, by looking at every block."""
        _, counts = self._counted(bits)
        full = self._full(counts)
        blocks, rest = int(full.sum()), int(counts[~full].sum())
        item, (rows, down) = ITEM_BYTES[facts.dtype], (bits.shape[0], counts.shape[0])
        nbytes = blocks * (self.rows * self.cols * item + 4) + 4 * (down + 1) + rest * (item + 2) + 4 * (rows + 1)
        return nbytes, blocks * self.rows * self.cols + rest

    def _counted(self, bits: Bits) -> tuple[Bits, NDArray[np.int64]]:
        """The matrix in whole blocks [down, rows, across, cols], and each block's nonzeros [down, across]."""
        down, across = self.block.grid((bits.shape[0], bits.shape[1]))
        whole = padded(bits, down * self.rows, across * self.cols).reshape(down, self.rows, across, self.cols)
        return whole, np.count_nonzero(whole, axis=(1, 3)).astype(np.int64).reshape(down, across)

    def _full(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        return (counts > 0) & (100 * counts >= self.fill * self.rows * self.cols)

    def pack_bits(self, bits: Bits) -> Buffers:
        whole, counts = self._counted(bits)
        full = self._full(counts)
        block_row, block_column = np.nonzero(full)
        row_start = np.zeros(len(full) + 1, dtype=np.int32)
        np.cumsum(full.sum(axis=1), out=row_start[1:])
        inside = full.repeat(self.rows, 0).repeat(self.cols, 1)[: bits.shape[0], : bits.shape[1]]
        row, column = np.nonzero((bits != 0) & ~inside)
        rest_start = np.zeros(bits.shape[0] + 1, dtype=np.int32)
        np.cumsum(np.bincount(row, minlength=bits.shape[0]), out=rest_start[1:])
        blocks = whole.transpose(0, 2, 3, 1)[block_row, block_column]
        return {
            "values": np.concatenate([blocks.reshape(-1), bits[row, column]]),
            "columns": block_column.astype(np.int32),
            "row_start": row_start,
            "rest_columns": column.astype(np.uint16),
            "rest_start": rest_start,
        }

    def _parts(self, buffers: Mapping[str, NDArray[Any]]) -> tuple[Buffers, Bits]:
        """The buffers of the blocks alone, and the values of the rest."""
        values, count = buffers["values"], len(buffers["columns"])
        cut = count * self.rows * self.cols
        whole = values[:cut].reshape(count, self.cols, self.rows)
        return {"values": whole, "columns": buffers["columns"], "row_start": buffers["row_start"]}, values[cut:]

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        blocks, rest = self._parts(buffers)
        out = self.block.unpack_bits(blocks, shape)
        row = np.repeat(np.arange(shape[0]), np.diff(buffers["rest_start"]))
        out[row, buffers["rest_columns"]] = rest
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        blocks, rest = self._parts(buffers)
        out = self.block.gather_bits(blocks, shape, ids)
        start = buffers["rest_start"]
        owner, at = ranges(start[ids], start[ids + 1] - start[ids])
        out[owner, buffers["rest_columns"][at]] = rest[at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        stored = None
        if {"columns", "rest_columns"} <= set(buffers):
            stored = buffers["columns"].size * self.rows * self.cols + buffers["rest_columns"].size
        wrong = mismatch(
            buffers,
            {
                "columns": (np.int32, (None,)),
                "values": (BIT_DTYPES[dtype], (stored,)),
                "row_start": (np.int32, (self.block.grid(shape)[0] + 1,)),
                "rest_columns": (np.uint16, (None,)),
                "rest_start": (np.int32, (shape[0] + 1,)),
            },
        )
        wrong = wrong or self.block.check(self._parts(buffers)[0], shape, dtype)
        wrong = wrong or bad_offsets("rest_start", buffers["rest_start"], len(buffers["rest_columns"]))
        if wrong:
            return wrong
        columns = buffers["rest_columns"].astype(np.int64)
        if columns.size and int(columns.max()) >= shape[1]:
            return f"rest_columns point past the {shape[1]} columns"
        row = np.repeat(np.arange(shape[0], dtype=np.int64), np.diff(buffers["rest_start"]))
        place = row * shape[1] + columns
        if (place[1:] <= place[:-1]).any():
            return "rest_columns do not ascend within each row"
        across = self.block.grid(shape)[1]
        block_row = np.repeat(np.arange(len(buffers["row_start"]) - 1, dtype=np.int64), np.diff(buffers["row_start"]))
        if np.isin(row // self.rows * across + columns // self.cols, block_row * across + buffers["columns"]).any():
            return "rest_columns point into a block that is stored whole"
        return None
