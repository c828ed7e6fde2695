"""2:4 as tensor cores read it: kept values [N, K/2] and two bits for each, in the order of CUTLASS.

The order is that of NVIDIA CUTLASS's ``ColumnMajorInterleaved<2>`` metadata for mma.sp (CUTLASS,
``include/cutlass/layout/matrix.h`` and ``tools/util/include/cutlass/util/host_reorder.h``: ``reorder_meta``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError

KEPT = np.zeros((16, 2), dtype=np.uint8)
"""Nonzeros of a group of four as bits -> the two columns that are kept. What is not there is filled from the right."""
for _bits, _pair in {
    0b0000: (2, 3), 0b0001: (0, 2), 0b0010: (1, 2), 0b0100: (2, 3), 0b1000: (2, 3), 0b0011: (0, 1), 0b0101: (0, 2),
    0b1001: (0, 3), 0b0110: (1, 2), 0b1010: (1, 3), 0b1100: (2, 3),
}.items():  # fmt: skip
    KEPT[_bits] = _pair


def cutlass_form(packed: PackedTensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(values [N, K/2], metadata) of a 2:4 weight of float16, bfloat16 or int8, on the CPU.

    Metadata: int16 [N, K/16], of int8 int32 [N, K/32]. N must be a multiple of 32 (int8: 16), K of 32 (int8: 64):
    what the metadata's tiles and pairs of words hold. Raises :class:`KernelError` for other sizes and dtypes, and for
    more than two nonzeros in a group.
    """
    dense = packed.unpack()
    asked = f"lay out a {packed.dtype} weight {packed.shape} for sparse tensor cores"
    itemsize = dense.element_size()
    rows, columns = (32, 32) if itemsize == 2 else (16, 64)
    if itemsize > 2:
        raise KernelError(asked, "values of four bytes", "float16, bfloat16 or int8")
    if packed.shape[0] % rows or packed.shape[1] % columns or 0 in packed.shape:
        raise KernelError(asked, f"sides that are no multiples of {rows} and {columns}", "padding it with zeros")
    raw = dense.view(torch.int16 if itemsize == 2 else torch.int8).numpy().reshape(packed.shape[0], -1, 4)
    live = raw != 0
    if int(live.sum(-1).max(initial=0)) > 2:
        raise KernelError(asked, "more than two nonzeros in a group of four", "another encoding")
    kept = KEPT[np.packbits(live, axis=-1, bitorder="little")[..., 0]]
    values = np.take_along_axis(raw, kept.astype(np.int64), axis=-1).reshape(packed.shape[0], -1)
    return torch.from_numpy(values.copy()).view(dense.dtype), _in_order(kept, itemsize)


def _in_order(kept: NDArray[np.uint8], itemsize: int) -> torch.Tensor:
    """Columns kept [N, K/4, 2] -> metadata, eight (or four) groups a word, interleaved as mma.sp reads it."""
    nibbles = (kept[..., 0] | (kept[..., 1] << 2)).astype(np.int64)
    a_word = 4 if itemsize == 2 else 8
    words = (nibbles.reshape(len(kept), -1, a_word) << (4 * np.arange(a_word))).sum(-1)
    row, column = np.indices(words.shape)
    tile, beside = (32, 4) if itemsize == 2 else (16, 2)
    to_row = row // tile * tile + row % 8 * beside + row % tile // 8
    across = ((to_row % 2 == 0) & (column % 2 == 1)).astype(np.int64) - ((to_row % 2 == 1) & (column % 2 == 0))
    to_row, to_column = to_row + across, column - across  # the off-diagonal of every 2 x 2 changes places
    at = to_column // 2 * (2 * len(kept)) + 2 * to_row + to_column % 2
    out = np.empty(words.size, dtype=np.int16 if itemsize == 2 else np.int32)
    out[at.reshape(-1)] = words.reshape(-1).astype(out.dtype)
    return torch.from_numpy(out).reshape(words.shape)
