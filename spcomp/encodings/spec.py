"""What an encoding is: its parameters, its buffers, its refusals and its size. No torch, no kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.sparsity.bits import BIT_DTYPES as BIT_DTYPES
from spcomp.sparsity.facts import SparsityFacts

Bits = NDArray[Any]
"""A matrix (N, K) of raw bits: uint32 for float32, uint16 for bfloat16 and float16, uint8 for int8."""
Buffers = dict[str, NDArray[Any]]

ITEM_BYTES: dict[str, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}


@dataclass(frozen=True)
class Refusal:
    """Why something cannot be used. A value while searching; an exception only when someone insists."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Encoding(ABC):
    """How the nonzeros of a matrix (N, K) are stored. The dataclass fields are the encoding's parameters.

    Laws (tested over the whole table): ``unpack(pack(w))`` has the bits of ``w``; ``pack`` succeeds exactly when
    ``refuses`` is None; ``predict_nbytes(facts)`` equals the bytes of the packed buffers, and so does ``exact_sizes``;
    ``gather_bits`` gives rows of what ``unpack_bits`` gives.
    """

    name: ClassVar[str]

    def __str__(self) -> str:
        inner = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return f"{self.name}({inner})"

    def parameters(self) -> dict[str, Any]:
        """The fields as JSON-able data."""
        return asdict(self)

    @abstractmethod
    def refuses(self, facts: SparsityFacts) -> Refusal | None:
        """The reason why a matrix with these facts cannot be stored so, or None if it can."""

    @abstractmethod
    def predict_nbytes(self, facts: SparsityFacts) -> int | None:
        """Bytes that the packed buffers will take, metadata included; None when the facts do not determine it."""

    @abstractmethod
    def stored_values(self, facts: SparsityFacts) -> int | None:
        """Values stored, padding included: the multiplications a kernel executes per token. None as above."""

    def exact_sizes(self, facts: SparsityFacts, bits: Bits) -> tuple[int, int] | None:
        """``(nbytes, stored values)`` of this very matrix, for encodings whose padding the facts do not determine."""
        nbytes, stored = self.predict_nbytes(facts), self.stored_values(facts)
        return None if nbytes is None or stored is None else (nbytes, stored)

    @abstractmethod
    def pack_bits(self, bits: Bits) -> Buffers:
        """Store a matrix of raw bits. Only called when :meth:`refuses` said None."""

    @abstractmethod
    def unpack_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Bits:
        """The matrix of raw bits again, shape (N, K)."""

    def gather_index(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int]) -> Buffers:
        """Small arrays that :meth:`gather_bits` wants beside the buffers, to find a row without reading others."""
        return {}

    @abstractmethod
    def gather_bits(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], ids: NDArray[np.int64]) -> Bits:
        """The rows ``ids`` [M], each from 0 to N - 1, of the matrix of raw bits: [M, K], a new array.

        ``buffers`` hold what :meth:`gather_index` made, too. Only bytes of those rows (and their neighbours in a
        block, a bundle or a group) are read.
        """

    @abstractmethod
    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        """What is wrong with buffers of unknown origin (``values`` as bits), or None.

        None promises that names, dtypes and shapes are right and that every index lies inside the matrix, so that
        neither :meth:`unpack_bits` nor a kernel can read or write outside it.
        """

    def to_mlir(self, shape: tuple[int, int]) -> str | None:
        """The equivalent ``#sparse_tensor.encoding`` attribute, or None where MLIR's has no equal."""
        return None
