"""Rows of a packed weight by their numbers: what an embedding reads of a table that is a layer's weight too."""

from __future__ import annotations

import torch

from spcomp.encodings.pack import PackedTensor, bit_views, tensor_from_bits

OUTSIDE = "index out of range in self"
"""What torch says for a number that is no row's; an ``IndexError``."""
NEAREST = (
    "dense", "csr", "sorted_csr", "sell", "bitmap", "block", "split", "quad", "window", "fours", "nm", "nm_rest", "vnm",
    "transposed",
)  # fmt: skip
"""Encodings by how close together they keep a row's values, closest first."""


class PackedRows:
    """``rows(ids)``: the rows ``ids`` of a packed weight [N, K], bit by bit as they were packed.

    In plain numpy: what every faster one must agree with.
    """

    def __init__(self, packed: PackedTensor) -> None:
        self.packed = packed
        self.index = packed.encoding.gather_index(bit_views(packed.buffers, packed.dtype), packed.shape)

    @property
    def extra_nbytes(self) -> int:
        """Bytes kept beside the packed weight."""
        return sum(array.nbytes for array in self.index.values())

    @property
    def source(self) -> str:
        """What computes it."""
        return f"numpy: {type(self.packed.encoding).__name__}.gather_bits"

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """ids [...] int32 or int64 -> [..., K] in the weight's dtype. Raises IndexError for a number that is no row."""
        flat = ids.detach().reshape(-1).to(torch.int64).numpy()
        rows, columns = self.packed.shape
        if flat.size and not 0 <= flat.min() <= flat.max() < rows:
            raise IndexError(OUTSIDE)
        buffers = {**bit_views(self.packed.buffers, self.packed.dtype), **self.index}
        bits = self.packed.encoding.gather_bits(buffers, self.packed.shape, flat)
        return tensor_from_bits(bits, self.packed.dtype).reshape(*ids.shape, columns)
