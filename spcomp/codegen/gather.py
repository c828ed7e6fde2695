"""The fastest exact way to read single rows of a layer's weight: :func:`row_gather`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.gather import CompiledRows, walk_of
from spcomp.encodings.dense import Dense
from spcomp.encodings.gather import NEAREST, OUTSIDE, PackedRows
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.transposed import Transposed
from spcomp.errors import KernelError
from spcomp.kernel import RowGather


@dataclass(frozen=True, eq=False)
class DenseRows:
    """Rows of a dense weight [N, K], by torch."""

    weight: torch.Tensor
    extra_nbytes: int = 0
    source: str = "torch.ops.aten.embedding"

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.embedding.default(self.weight, ids)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class ColumnRows:
    """Rows of a weight stored by columns [K, N], by torch: every element of a row lies in another line of memory."""

    values: torch.Tensor
    extra_nbytes: int = 0
    source: str = "torch.index_select along dimension 1"

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        flat = ids.reshape(-1)
        if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < self.values.shape[1]:
            raise IndexError(OUTSIDE)
        return self.values.index_select(1, flat).t().contiguous().reshape(*ids.shape, len(self.values))


def exact(packed: Sequence[PackedTensor], dtype: str) -> PackedTensor | None:
    """Of several encodings of one weight, the quickest to read rows from; None where all are rounded."""
    able = [p for p in packed if p.dtype == dtype]
    return min(able, key=lambda p: NEAREST.index(p.encoding.name), default=None)


def row_gather(packed: Sequence[PackedTensor], weight: torch.Tensor | None, dtype: str) -> RowGather:
    """Rows of a weight [N, K] that is kept in one or more encodings, or dense.

    Packed bytes come first: what is read then is there anyway. Raises :class:`KernelError` where only a rounded weight
    is kept, for an embedding gives out what was put in.
    """
    found = exact(packed, dtype)
    if found is None and weight is not None:
        return DenseRows(weight)
    if found is None:
        raise KernelError("read rows of a weight", "only its rounding to int8 was kept", "keeping the dense weight too")
    match found.encoding:
        case Dense():
            return DenseRows(found.buffers["values"])
        case Transposed():
            return ColumnRows(found.buffers["values"])
    if walk_of(found) is None or jit.available() is not None:
        return PackedRows(found)
    return CompiledRows(found)
