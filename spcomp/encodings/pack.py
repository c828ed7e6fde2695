"""`PackedTensor`: a weight in an encoding, as named torch buffers. This is where bytes meet torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.encodings.table import encoding_from_dict, encoding_to_dict
from spcomp.errors import EncodingError
from spcomp.sparsity.bits import as_matrix, weight_bits
from spcomp.sparsity.digest import in_threads, leaf_digest, root_digest
from spcomp.sparsity.facts import SparsityFacts
from spcomp.sparsity.measure import measure

TORCH_DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
_INDEX_DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.uint8: np.dtype(np.uint8),
    torch.uint16: np.dtype(np.uint16),
    torch.uint32: np.dtype(np.uint32),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
}
_LEAF_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """A matrix (N, K) stored in ``encoding``.

    The buffer ``values`` has the weight's dtype; the others hold unsigned or signed integers as the encoding's
    docstring says. All are contiguous CPU tensors; treat them as read-only.
    """

    encoding: Encoding
    shape: tuple[int, int]
    dtype: str
    """``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"int8"``."""
    buffers: dict[str, torch.Tensor]
    nonzeros: int

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, metadata included."""
        return sum(buffer.nbytes for buffer in self.buffers.values())

    def unpack(self) -> torch.Tensor:
        """The weight again, shape (N, K), bit-equal to what was packed; a new tensor."""
        return tensor_from_bits(self.unpack_bits(), self.dtype)

    def unpack_bits(self) -> NDArray[Any]:
        """The weight's raw bits, shape (N, K), as unsigned integers of its width; a new array."""
        return self.encoding.unpack_bits(bit_views(self.buffers, self.dtype), self.shape)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Numpy views of the buffers, no copies. bfloat16 values, which numpy lacks, are uint16: see ``dtype``."""
        arrays = bit_views(self.buffers, self.dtype)
        if self.dtype != "bfloat16":
            arrays["values"] = arrays["values"].view(self.dtype)
        return arrays

    @cached_property
    def digest(self) -> str:
        """128-bit hex digest of encoding, shape, dtype and all buffers' bytes; computed once."""
        header = [str(self.encoding), f"{self.dtype} {self.shape[0]}x{self.shape[1]}"]
        leaves: list[bytes] = []
        for name, bits in sorted(bit_views(self.buffers, self.dtype).items()):
            header.append(f"{name} {bits.dtype} {bits.shape}")
            octets = bits.reshape(-1).view(np.uint8).data
            leaves += in_threads(leaf_digest, [octets[i : i + _LEAF_BYTES] for i in range(0, len(octets), _LEAF_BYTES)])
        return root_digest("; ".join(header), leaves)

    def manifest(self) -> dict[str, Any]:
        """Everything but the bytes, JSON-able; :meth:`from_buffers` reads it."""
        return {
            "encoding": encoding_to_dict(self.encoding),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "nonzeros": self.nonzeros,
            "buffers": {
                name: {"dtype": _dtype_name(buffer), "shape": list(buffer.shape)}
                for name, buffer in self.buffers.items()
            },
        }

    @classmethod
    def from_buffers(cls, manifest: Mapping[str, Any], buffers: Mapping[str, torch.Tensor]) -> Self:
        """Put together what :meth:`manifest` and :attr:`buffers` gave; neither is trusted.

        Names, dtypes, shapes, the number of nonzeros and every index are checked, so that no kernel can be led
        outside its buffers. Raises :class:`~spcomp.errors.EncodingError`.
        """
        encoding, shape, dtype, nonzeros, described = _read_manifest(manifest)
        found = {name: {"dtype": _dtype_name(b), "shape": list(b.shape)} for name, b in buffers.items()}
        if found != described:
            raise _bad_manifest(f"it describes {described}, the buffers are {found}")
        own = {name: buffer.detach().cpu().contiguous() for name, buffer in buffers.items()}
        for name, buffer in own.items():
            if name != "values" and buffer.dtype not in _INDEX_DTYPES:
                raise _bad_manifest(f"{name} is {_dtype_name(buffer)}, which no index buffer is")
        if "values" in own and own["values"].dtype is not TORCH_DTYPES[dtype]:
            raise _bad_manifest(f"values is {_dtype_name(own['values'])}, the weight {dtype}")
        bits = bit_views(own, dtype)
        if wrong := encoding.check(bits, shape, dtype):
            raise EncodingError(f"a {encoding} of shape {shape}", wrong, "packing the weight again")
        if np.count_nonzero(bits["values"]) != nonzeros:
            raise EncodingError(
                f"a {encoding} with {nonzeros} nonzeros",
                f"values has {np.count_nonzero(bits['values'])}",
                "packing the weight again",
            )
        return cls(encoding, shape, dtype, own, nonzeros)


def pack(weight: torch.Tensor, encoding: Encoding, facts: SparsityFacts | None = None) -> PackedTensor:
    """Store ``weight`` in ``encoding``, every bit of it.

    ``weight`` has two or more dimensions (more are packed as the matrix (shape[0], everything else)) and is float32,
    bfloat16, float16 or int8. ``facts`` spares measuring it again; they must be this weight's. Raises
    :class:`~spcomp.errors.EncodingError` with the reason when the encoding refuses, and
    :class:`~spcomp.errors.WeightError`.
    """
    array, dtype = weight_bits(weight)
    facts = measure(weight) if facts is None else facts
    matrix = as_matrix(array)
    if (facts.shape, facts.dtype) != (matrix.shape, dtype):
        raise EncodingError(
            f"to pack a {dtype} matrix of shape {matrix.shape}",
            f"the facts given are of a {facts.dtype} matrix of shape {facts.shape}",
            "measure(weight), or leaving facts out",
        )
    if refusal := encoding.refuses(facts):
        raise EncodingError(f"to pack a matrix of shape {facts.shape} as {encoding}", str(refusal), "another encoding")
    bits = encoding.pack_bits(matrix)
    if np.may_share_memory(bits["values"], array):
        bits["values"] = bits["values"].copy()
    buffers = {name: torch.from_numpy(b) for name, b in bits.items() if name != "values"}
    return PackedTensor(
        encoding, facts.shape, dtype, {"values": tensor_from_bits(bits["values"], dtype), **buffers}, facts.nonzeros
    )


def tensor_from_bits(bits: NDArray[Any], dtype: str) -> torch.Tensor:
    """A torch tensor of this dtype over the same memory as an array of unsigned integers of its width."""
    signed = bits.view(f"i{bits.dtype.itemsize}")
    return torch.from_numpy(signed).view(TORCH_DTYPES[dtype])


def bit_views(buffers: Mapping[str, torch.Tensor], dtype: str) -> dict[str, NDArray[Any]]:
    """Numpy views of buffers, ``values`` as unsigned integers of the dtype's width; no copies."""
    signed = {4: torch.int32, 2: torch.int16, 1: torch.int8}[np.dtype(BIT_DTYPES[dtype]).itemsize]
    views: dict[str, NDArray[Any]] = {
        name: buffer.view(signed).numpy().view(BIT_DTYPES[dtype]) if name == "values" else buffer.numpy()
        for name, buffer in buffers.items()
    }
    return views


def _dtype_name(buffer: torch.Tensor) -> str:
    return str(buffer.dtype).removeprefix("torch.")


def _bad_manifest(found: str) -> EncodingError:
    return EncodingError("a packed tensor", found, "saving the model again; the file is damaged or of another version")


def _read_manifest(manifest: Mapping[str, Any]) -> tuple[Encoding, tuple[int, int], str, int, dict[str, Any]]:
    keys = {"encoding": dict, "shape": list, "dtype": str, "nonzeros": int, "buffers": dict}
    for key, kind in keys.items():
        if type(manifest.get(key)) is not kind:
            raise _bad_manifest(f"its manifest has no {key} ({kind.__name__})")
    shape, dtype = manifest["shape"], manifest["dtype"]
    if len(shape) != 2 or any(type(size) is not int or size < 0 for size in shape):
        raise _bad_manifest(f"its shape is {shape}")
    if dtype not in TORCH_DTYPES:
        raise _bad_manifest(f"its dtype is {dtype}")
    encoding = encoding_from_dict(manifest["encoding"])
    return encoding, (shape[0], shape[1]), dtype, manifest["nonzeros"], manifest["buffers"]
