"""What the encodings share when they pack and check buffers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Expected = dict[str, tuple[DTypeLike, tuple[int | None, ...]]]
"""Buffer name -> dtype and shape; None stands for any length."""

_CHUNK_ELEMENTS = 1 << 18


def ceil_div(value: int, unit: int) -> int:
    return -(-value // unit)


def row_chunks(rows: int, columns: int, unit: int = 1) -> Iterator[slice]:
    """Row ranges that cut a matrix in pieces that fit a core's cache; each starts at a multiple of ``unit``."""
    height = max(_CHUNK_ELEMENTS // max(columns, 1) // unit, 1) * unit
    for start in range(0, rows, height):
        yield slice(start, min(start + height, rows))


def padded(matrix: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """``matrix`` as a contiguous array of exactly (rows, columns), zeros added below and to the right."""
    if matrix.shape == (rows, columns):
        return np.ascontiguousarray(matrix)
    out = np.zeros((rows, columns), dtype=matrix.dtype)
    out[: matrix.shape[0], : matrix.shape[1]] = matrix
    return out


def mismatch(buffers: Mapping[str, NDArray[Any]], expected: Expected) -> str | None:
    """The first difference in names, dtypes and shapes, in words, or None."""
    if set(buffers) != set(expected):
        return f"the buffers are {sorted(buffers)}, not {sorted(expected)}"
    for name, (dtype, shape) in expected.items():
        array = buffers[name]
        if array.dtype != np.dtype(dtype):
            return f"{name} is {array.dtype}, not {np.dtype(dtype)}"
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            return f"{name} has shape {array.shape}, not ({wanted})"
    return None


def bad_offsets(name: str, offsets: NDArray[np.signedinteger[Any]], end: int) -> str | None:
    """What keeps ``offsets`` (at least one) from rising from 0 to ``end``, or None."""
    if offsets[0] != 0 or offsets[-1] != end:
        return f"{name} goes from {offsets[0]} to {offsets[-1]}, not from 0 to {end}"
    if (offsets[1:] < offsets[:-1]).any():
        return f"{name} falls somewhere"
    return None


def ranges(start: NDArray[Any], length: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``length[i]`` consecutive numbers from ``start[i]`` on, one range after the other: (which i, the numbers)."""
    length = length.astype(np.int64)
    owner = np.repeat(np.arange(length.size), length)
    return owner, np.arange(owner.size) + (start - (np.cumsum(length) - length))[owner]
