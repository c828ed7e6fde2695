"""`SlotRecord`: what a slot of the kernel table computes and where its weight came from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spcomp.conv_shape import ConvShape
from spcomp.encodings.int8 import dequantize
from spcomp.encodings.matrix import weight_of
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.passes.base import Norm, combined
from spcomp.plan import Epilogue, RowRange


@dataclass(frozen=True, eq=False)
class SlotRecord:
    """One compiled layer apart from its kernels."""

    slot: int
    layer: str
    weight_name: str
    bias_name: str | None
    epilogue: Epilogue
    bias: torch.Tensor | None
    packed: tuple[PackedTensor, ...]
    """Every encoding kept for this slot; empty when dense."""
    weight: torch.Tensor | None
    """The dense weight, where a dense kernel serves."""
    domains: tuple[RowRange, ...]
    conv: ConvShape | None = None
    scale: torch.Tensor | None = None
    norm: Norm | None = None
    zero_inputs: float | None = None
    int8_scale: torch.Tensor | None = None
    """Scales of the rows [n], where an int8 weight is among ``packed``."""
    dtype: str = "float32"
    gathered: bool = False
    """Whether the graph reads single rows of the weight, for an embedding."""
    experts: int = 0
    """As in a :class:`~spcomp.passes.base.Site`."""
    where: str = "cpu"
    """The torch device that its kernels are on. What is held here is on the CPU."""

    def scale_for(self, quantize: str) -> torch.Tensor | None:
        """What a backend is given as ``scale``: see :meth:`~spcomp.passes.base.Site.scale_for`."""
        if not quantize or self.int8_scale is None:
            return self.scale
        return combined(self.int8_scale, self.scale)

    def dense_weight(self) -> torch.Tensor:
        """The weight [n, k] as it was (bit-equal but for -0.0); a view of the dense one or a new tensor.

        Where int8 alone was kept, the weight that it stands for.
        """
        if self.weight is not None:
            return self.weight
        for packed in self.packed:
            if packed.dtype == self.dtype:
                return packed.unpack()
        assert self.int8_scale is not None
        return dequantize(self.packed[0].unpack(), self.int8_scale, TORCH_DTYPES[self.dtype])

    def original_weight(self) -> torch.Tensor:
        """:meth:`dense_weight` in the shape that the model has it in."""
        matrix = self.dense_weight()
        return matrix if self.conv is None else weight_of(matrix, self.conv.weight_shape)
