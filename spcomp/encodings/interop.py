"""Packed tensors to and from torch's own sparse tensors. Bits survive both ways, -0.0 and NaN included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.sparse import SparseSemiStructuredTensor, SparseSemiStructuredTensorCUTLASS
from torch.sparse._semi_structured_conversions import sparse_semi_structured_from_dense_cutlass

from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor, pack, tensor_from_bits
from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.errors import EncodingError


def to_torch_csr(packed: PackedTensor) -> torch.Tensor:
    """``torch.sparse_csr`` with int64 indices and exactly the structural nonzeros, from any encoding."""
    bits = _bits(packed.unpack(), packed.dtype)
    row, column = np.nonzero(bits)
    starts = np.zeros(packed.shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(row, minlength=packed.shape[0]), out=starts[1:])
    return torch.sparse_csr_tensor(
        torch.from_numpy(starts),
        torch.from_numpy(np.ascontiguousarray(column)),
        tensor_from_bits(bits[row, column], packed.dtype),
        size=packed.shape,
        check_invariants=True,
    )


def from_torch_csr(tensor: torch.Tensor, encoding: Encoding | None = None) -> PackedTensor:
    """Pack a 2-D ``torch.sparse_csr`` tensor, by default as ``Csr()``. Stored +0 values are dropped.

    Raises :class:`~spcomp.errors.EncodingError` for another layout, or indices that torch's own invariants forbid.
    """
    dtype = _expect(tensor, torch.sparse_csr)
    _check_invariants(tensor)
    starts, columns = tensor.crow_indices().cpu().numpy(), tensor.col_indices().cpu().numpy()
    row = np.repeat(np.arange(tensor.shape[0]), np.diff(starts))
    bits = np.zeros(tuple(tensor.shape), dtype=BIT_DTYPES[dtype])
    bits[row, columns] = _bits(tensor.values(), dtype)
    return pack(tensor_from_bits(bits, dtype), encoding or Csr())


def to_torch_bsr(packed: PackedTensor) -> torch.Tensor:
    """``torch.sparse_bsr`` with the same blocks and int32 indices, of a tensor packed as ``Block``.

    Raises :class:`~spcomp.errors.EncodingError` for other encodings and where the blocks do not divide the shape,
    which torch cannot express.
    """
    asked = "a torch.sparse_bsr tensor"
    if not isinstance(packed.encoding, Block):
        raise EncodingError(asked, f"the tensor is packed as {packed.encoding}", "packing it as block(rows=8, cols=8)")
    block = packed.encoding
    if packed.shape[0] % block.rows or packed.shape[1] % block.cols:
        raise EncodingError(asked, f"{block} does not divide the shape {packed.shape}", "to_torch_csr")
    values = packed.buffers["values"].transpose(1, 2).contiguous()
    return torch.sparse_bsr_tensor(
        packed.buffers["row_start"].clone(),
        packed.buffers["columns"].clone(),
        values,
        size=packed.shape,
        check_invariants=True,
    )


def from_torch_bsr(tensor: torch.Tensor, encoding: Encoding | None = None) -> PackedTensor:
    """Pack a 2-D ``torch.sparse_bsr`` tensor, by default as ``Block`` of its block shape; dead blocks are dropped.

    Raises :class:`~spcomp.errors.EncodingError` for another layout, or indices that torch's own invariants forbid.
    """
    dtype = _expect(tensor, torch.sparse_bsr)
    _check_invariants(tensor)
    starts, columns = tensor.crow_indices().cpu().numpy(), tensor.col_indices().cpu().numpy()
    rows, cols = (int(size) for size in tensor.values().shape[1:])
    down, across = tensor.shape[0] // rows, tensor.shape[1] // cols
    block_row = np.repeat(np.arange(down), np.diff(starts))
    tiled = np.zeros((down, rows, across, cols), dtype=BIT_DTYPES[dtype])
    tiled.transpose(0, 2, 1, 3)[block_row, columns] = _bits(tensor.values(), dtype)
    matrix = tensor_from_bits(tiled.reshape(tuple(tensor.shape)), dtype)
    return pack(matrix, encoding or Block(rows, cols))


def to_semi_structured(packed: PackedTensor) -> SparseSemiStructuredTensor:
    """A 2:4 tensor in torch's CUTLASS form, on the CPU (``.cuda()`` moves it), from any encoding of a 2:4 matrix.

    float16, bfloat16 or int8. Raises :class:`~spcomp.errors.EncodingError` for other dtypes, a matrix that is not
    2:4 along K, sides that torch cannot tile, and where torch's form would lose a -0.0.
    """
    asked = "a SparseSemiStructuredTensor"
    if packed.dtype == "float32":
        raise EncodingError(asked, "torch keeps float32 as 1:2, not 2:4", "a float16, bfloat16 or int8 weight")
    dense = packed.unpack()
    try:
        values, meta = sparse_semi_structured_from_dense_cutlass(dense)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise EncodingError(asked, f"torch declines: {error}", "sides that are multiples of 64") from error
    made = SparseSemiStructuredTensorCUTLASS(dense.shape, values, meta, None, None, None)
    if not np.array_equal(_bits(_dense(made), packed.dtype), _bits(dense, packed.dtype)):
        raise EncodingError(asked, "the matrix is not 2:4 along K, or holds a -0.0", "nm(n=2, m=4), which keeps -0.0")
    return made


def from_semi_structured(tensor: SparseSemiStructuredTensor, encoding: Encoding | None = None) -> PackedTensor:
    """Pack a 2:4 tensor, by default as ``Nm(2, 4)``, through its ``to_dense()``.

    Exact for torch's CUTLASS form. cuSPARSELt's form is opaque and lives on CUDA; torch reads it by a product with
    the identity: finite values come back exactly, but -0.0 becomes +0 and one NaN or Inf spoils its row.
    """
    if not isinstance(tensor, SparseSemiStructuredTensor):
        raise EncodingError("a SparseSemiStructuredTensor", f"it is a {type(tensor).__name__}", "pack(weight, nm)")
    return pack(_dense(tensor), encoding or Nm(2, 4))


def _dense(tensor: SparseSemiStructuredTensor) -> torch.Tensor:
    dense: torch.Tensor = tensor.to_dense()  # type: ignore[no-untyped-call]
    return dense


def _expect(tensor: torch.Tensor, layout: torch.layout) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout is not layout or tensor.ndim != 2 or dtype not in TORCH_DTYPES:
        raise EncodingError(
            f"to pack a 2-D {layout} tensor",
            f"it is a {tensor.ndim}-D {tensor.layout} tensor of {dtype}",
            f"one of the dtypes {', '.join(TORCH_DTYPES)}, or pack(weight, encoding) for a strided tensor",
        )
    return dtype


def _bits(values: torch.Tensor, dtype: str) -> NDArray[Any]:
    signed = {4: torch.int32, 2: torch.int16, 1: torch.int8}[values.element_size()]
    array: NDArray[Any] = values.detach().cpu().contiguous().view(signed).numpy()
    return array.view(BIT_DTYPES[dtype])


def _check_invariants(tensor: torch.Tensor) -> None:
    make = torch.sparse_csr_tensor if tensor.layout is torch.sparse_csr else torch.sparse_bsr_tensor
    try:
        make(tensor.crow_indices(), tensor.col_indices(), tensor.values(), size=tensor.shape, check_invariants=True)
    except RuntimeError as error:
        raise EncodingError(
            "to pack a torch sparse tensor", f"its indices are malformed: {error}", "sorted, distinct indices"
        ) from error
