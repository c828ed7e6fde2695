"""`Dense`: every element, zeros too. The encoding that nothing is refused by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.buffers import mismatch
from spcomp.encodings.spec import BIT_DTYPES, ITEM_BYTES, Bits, Buffers, Encoding, Refusal
from spcomp.sparsity.facts import SparsityFacts


@dataclass(frozen=True)
class Dense(Encoding):
    """``values`` [N, K], row-major."""

    name: ClassVar[str] = "dense"

    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        return None

    def predict_nbytes(self, facts: SparsityFacts) -> int:
        return facts.elements * ITEM_BYTES[facts.dtype]

    def stored_values(self, facts: SparsityFacts) -> int:
        return facts.elements

    def pack_bits(self, bits: Bits) -> Buffers:
        return {"values": np.ascontiguousarray(bits)}

    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        return buffers["values"].reshape(shape).copy()

    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        rows: Bits = buffers["values"][ids]
        return rows

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        return mismatch(buffers, {"values": (BIT_DTYPES[dtype], shape)})
