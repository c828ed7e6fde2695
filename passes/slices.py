"""Some slices of a constant, along one dimension or several, in one go and in memory of the result's size alone.

taken(weight [5632, 2048], [(0, rows), (1, columns)]) -> [3380, 1228], contiguous

Elements are moved as integers of their size, whole rows as memory, columns a few rows at a time while those are in the
cache. The result is torch's memory: numpy's asks for large pages, and on a virtual machine that had to be given them
first, touching those took seven times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_CHUNK_BYTES = 1 << 17
"""Rows on their way to having columns picked out of them."""
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def taken(tensor: Tensor, keep: Sequence[tuple[int, Tensor]]) -> Tensor:
    """``tensor`` with the indices of each (dimension, int64 index [kept]) alone, in their order; bit-equal."""
    picked = dict(keep)
    plain = tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.element_size() in _INTEGERS
    if not plain or tensor.is_complex() or len(picked) < len(keep) or not picked.keys() <= {0, 1} or not tensor.numel():
        for dim, index in keep:
            tensor = tensor.index_select(dim, index)
        return tensor
    rows, columns = (picked[d].numpy() if d in picked else None for d in (0, 1))
    size = [len(picked[d]) if d in picked else s for d, s in enumerate(tensor.shape)]
    made = torch.empty(size, dtype=tensor.dtype)
    source, out = _integers(tensor), _integers(made)
    if not out.size:
        return made
    for wanted, length in ((rows, source.shape[0]), (columns, source.shape[1] if source.ndim > 1 else 0)):
        if wanted is not None and (wanted.min() < 0 or wanted.max() >= length):
            raise IndexError(f"an index is not within 0 to {length - 1}")
    if columns is None:
        assert rows is not None
        np.take(source, rows, axis=0, out=out, mode="clip")
        return made
    step = max(1, _CHUNK_BYTES // max(1, source[0].nbytes))
    between = None if rows is None else np.empty((step, *source.shape[1:]), dtype=source.dtype)
    for start in range(0, len(out), step):
        into = out[start : start + step]
        block = source[start : start + step]
        if rows is not None and between is not None:
            block = between[: len(into)]
            np.take(source, rows[start : start + step], axis=0, out=block, mode="clip")
        np.take(block, columns, axis=1, out=into, mode="clip")
    return made


def _integers(tensor: Tensor) -> NDArray[np.signedinteger]:
    array: NDArray[np.signedinteger] = tensor.detach().view(_INTEGERS[tensor.element_size()]).numpy()
    return array
