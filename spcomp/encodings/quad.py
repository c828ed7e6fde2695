"""`Quad`: groups of four consecutive columns that hold a nonzero, for instructions that add four int8 products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.block import Block
from spcomp.encodings.spec import ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.errors import EncodingError
from spcomp.sparsity.facts import SparsityFacts

COLUMNS = 4


@dataclass(frozen=True)
class Quad(Encoding):
    """Live blocks of ``rows`` x 4, as :class:`~spcomp.encodings.block.Block` orders them, each row by row.

    - ``values`` [blocks, rows, 4]: the four columns of a row are neighbours
    - ``columns`` int32 [blocks]: first column, divided by 4
    - ``row_start`` int32 [ceil(N / rows) + 1]: index of each block row's first block
    """

    name: ClassVar[str] = "quad"
    rows: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise EncodingError(str(self), "rows is below 1", "quad(rows=1)")

    @property
    def _block(self) -> Block:
        return Block(self.rows, COLUMNS)

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return self._block.refuses(facts)

    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        return self._block.predict_nbytes(facts)

    def stored_values(self, facts: SparsityFacts) -> int | None:
        return self._block.stored_values(facts)

    def exact_sizes(self, facts: SparsityFacts, bits: Bits) -> tuple[int, int]:
        down, across = self._block.grid(facts.shape)
        quads = np.logical_or.reduceat(bits != 0, np.arange(0, bits.shape[1], COLUMNS), axis=1) if across else bits
        live = np.logical_or.reduceat(quads, np.arange(0, bits.shape[0], self.rows), axis=0) if down else quads
        blocks = int(np.count_nonzero(live))
        size = self.rows * COLUMNS
        return blocks * (size * ITEM_BYTES[facts.dtype] + 4) + 4 * (down + 1), blocks * size

    def pack_bits(self, bits: Bits) -> Buffers:
        buffers = self._block.pack_bits(bits)
        return {**buffers, "values": np.ascontiguousarray(buffers["values"].swapaxes(1, 2))}

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        return self._block.unpack_bits({**buffers, "values": buffers["values"].swapaxes(1, 2)}, shape)

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        return self._block.gather_bits({**buffers, "values": buffers["values"].swapaxes(1, 2)}, shape, ids)

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        values = buffers.get("values")
        if values is None or values.ndim != 3:
            return self._block.check(buffers, shape, dtype)
        return self._block.check({**buffers, "values": values.swapaxes(1, 2)}, shape, dtype)
