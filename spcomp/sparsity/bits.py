"""Weights seen as raw bits: the one place that decides what a zero is. Loads torch only when given a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import WeightError

if TYPE_CHECKING:
    import torch

BIT_DTYPES: dict[str, type[np.unsignedinteger[Any]]] = {
    "float32": np.uint32,
    "bfloat16": np.uint16,
    "float16": np.uint16,
    "int8": np.uint8,
}
"""Name of a weight's dtype -> the unsigned integer of the same width that holds its bits."""


def weight_bits(weight: torch.Tensor | NDArray[Any]) -> tuple[NDArray[Any], str]:
    """The raw bits of a weight and the name of its dtype, e.g. ``(uint16 array, "bfloat16")``.

    The array has the weight's shape (two or more dimensions) and strides, and shares its memory where it can (CPU,
    native byte order). Raises :class:`~spcomp.errors.WeightError` for other dtypes, fewer than two dimensions,
    sparse layouts, and tensors without data.
    """
    return _numpy_bits(weight) if isinstance(weight, np.ndarray) else _torch_bits(weight)


def as_matrix(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` of two or more dimensions as (shape[0], everything else); a copy only where strides demand it."""
    return array.reshape(matrix_shape(array.shape))


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """``(N, K)`` of a weight of this shape."""
    columns = 1
    for size in shape[1:]:
        columns *= int(size)
    return int(shape[0]), columns


def _numpy_bits(weight: NDArray[Any]) -> tuple[NDArray[Any], str]:
    dtype = weight.dtype.name
    if dtype not in BIT_DTYPES:
        raise _unsupported(dtype)
    _need_matrix(weight.shape)
    native = weight if weight.dtype.isnative else weight.astype(weight.dtype.newbyteorder("="))
    return native.view(BIT_DTYPES[dtype]), dtype


def _torch_bits(weight: torch.Tensor) -> tuple[NDArray[Any], str]:
    import torch

    if not isinstance(weight, torch.Tensor):
        raise WeightError("a weight matrix", f"it is a {type(weight).__name__}", "a torch.Tensor or a numpy array")
    dtype = str(weight.dtype).removeprefix("torch.")
    if dtype not in BIT_DTYPES:
        raise _unsupported(dtype)
    _need_matrix(tuple(weight.shape))
    if weight.layout is not torch.strided:
        raise WeightError(
            "a weight matrix",
            f"its layout is {weight.layout}",
            "a strided tensor; spcomp.encodings.interop reads torch.sparse_csr and torch.sparse_bsr",
        )
    if weight.device.type == "meta":
        raise WeightError("a weight matrix", "the tensor is on the meta device and has no data", "a materialised model")
    signed = {"float32": torch.int32, "bfloat16": torch.int16, "float16": torch.int16, "int8": torch.int8}[dtype]
    array: NDArray[Any] = weight.detach().cpu().view(signed).numpy()
    return array.view(BIT_DTYPES[dtype]), dtype


def _unsupported(dtype: str) -> WeightError:
    return WeightError(
        "a weight matrix", f"its dtype is {dtype}", f"one of {', '.join(BIT_DTYPES)}; cast the weight with .to(...)"
    )


def _need_matrix(shape: tuple[int, ...]) -> None:
    if len(shape) < 2:
        raise WeightError(
            "a weight matrix",
            f"the tensor has {len(shape)} dimensions: shape {shape}",
            "a tensor of two or more dimensions; biases and scales stay dense",
        )
