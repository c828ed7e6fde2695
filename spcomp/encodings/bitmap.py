"""`Bitmap`: one bit per element says where the nonzeros are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import ceil_div, mismatch, ranges, row_chunks
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.sparsity.facts import SparsityFacts


@dataclass(frozen=True)
class Bitmap(Encoding):
    """Nonzeros row-major, and a bit per element.

    - ``values`` [nnz]
    - ``masks`` uint8 [N, 8 * ceil(K / 64)]: bit i of byte b is column 8 * b + i; bits past K are 0
    - ``row_start`` int64 [N + 1]: offset of each row's first value
    """

    name: ClassVar[str] = "bitmap"

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        rows, columns = facts.shape
        return facts.nonzeros * ITEM_BYTES[facts.dtype] + rows * 8 * ceil_div(columns, 64) + 8 * (rows + 1)

    def stored_values(self, facts: SparsityFacts) -> int:
        return facts.nonzeros

    def pack_bits(self, bits: Bits) -> Buffers:
        rows, columns = bits.shape
        masks = np.zeros((rows, 8 * ceil_div(columns, 64)), dtype=np.uint8)
        values = [np.empty(0, dtype=bits.dtype)]
        for chunk in row_chunks(rows, columns):
            piece = np.ascontiguousarray(bits[chunk])
            mask = piece != 0
            masks[chunk, : ceil_div(columns, 8)] = np.packbits(mask, axis=1, bitorder="little")
            values.append(piece.reshape(-1).take(np.flatnonzero(mask)))
        return {"values": np.concatenate(values), "masks": masks, "row_start": _row_start(masks)}

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        rows, columns = shape
        values, masks, start = buffers["values"], buffers["masks"], buffers["row_start"]
        out = np.zeros(shape, dtype=values.dtype)
        for chunk in row_chunks(rows, columns):
            mask = np.unpackbits(masks[chunk], axis=1, count=columns, bitorder="little").view(np.bool_)
            out[chunk].reshape(-1)[np.flatnonzero(mask)] = values[start[chunk.start] : start[chunk.stop]]
        return out

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        start = buffers["row_start"]
        mask = np.unpackbits(buffers["masks"][ids], axis=1, count=shape[1], bitorder="little").view(np.bool_)
        out = np.zeros((ids.size, shape[1]), dtype=buffers["values"].dtype)
        _, at = ranges(start[ids], start[ids + 1] - start[ids])
        out[mask] = buffers["values"][at]
        return out

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        rows, columns = shape
        width = 8 * ceil_div(columns, 64)
        wrong = mismatch(
            buffers,
            {
                "values": (BIT_DTYPES[dtype], (None,)),
                "masks": (np.uint8, (rows, width)),
                "row_start": (np.int64, (rows + 1,)),
            },
        )
        if wrong:
            return wrong
        allowed = np.packbits(np.arange(8 * width) < columns, bitorder="little")
        if (buffers["masks"] & ~allowed).any():
            return f"masks have bits past column {columns}"
        if not np.array_equal(_row_start(buffers["masks"]), buffers["row_start"]):
            return "row_start is not what masks add up to"
        if buffers["row_start"][-1] != buffers["values"].size:
            return f"{buffers['values'].size} values for {buffers['row_start'][-1]} bits in masks"
        return None


def _row_start(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    start = np.zeros(len(masks) + 1, dtype=np.int64)
    np.cumsum(np.bitwise_count(masks).sum(axis=1, dtype=np.int64), out=start[1:])
    return start
