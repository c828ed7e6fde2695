"""Measure every constant weight of a linear layer, a convolution (as the matrix that will be encoded) or an expert.

before:  %w : get_attr[weight]; %y : aten.linear(%x, %w, %b)
after:   the same graph; spcomp.sparsity.annotation.of(%w) holds exact SparsityFacts

Facts are cached by content, so that a second program of the same model costs a hash. ``weight * mask`` leaves -0.0
where a negative weight was pruned; by the bits that is a nonzero, so such weights are measured and packed with +0
instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.encodings.matrix import matrix_of
from spcomp.passes.base import PassContext, attribute
from spcomp.passes.conv import is_conv
from spcomp.passes.experts import matrices
from spcomp.sparsity.annotation import annotate, of
from spcomp.sparsity.facts import SparsityFacts
from spcomp.sparsity.measure import measure

MEASURABLE = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class InferSparsity:
    """Annotate constant weights with exact facts."""

    name: ClassVar[str] = "infer-sparsity"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        known: dict[tuple[object, ...], SparsityFacts] = {}
        for node in gm.graph.nodes:
            conv = is_conv(node)
            linear = node.target is torch.ops.aten.linear.default
            for weight_node in [node.args[1]] if linear or conv else matrices(node):
                if weight_node.op != "get_attr" or of(weight_node) is not None:
                    continue
                weight = attribute(gm, weight_node)
                if (weight.dim() == 2 or conv) and weight.dtype in MEASURABLE:
                    memory = weight.data_ptr(), tuple(weight.shape), weight.stride()
                    known[memory] = facts = known.get(memory) or measure(positive_zeros(matrix_of(weight)))
                    annotate(weight_node, facts)
        return gm


def positive_zeros(weight: torch.Tensor) -> torch.Tensor:
    """The weight with every -0.0 made +0.0: itself if it has none, else a copy. Equal as numbers."""
    weight = weight.detach()
    bits = weight.view({4: torch.int32, 2: torch.int16}[weight.element_size()])
    negative = torch.iinfo(bits.dtype).min
    least = int(bits.min()) if bits.numel() else 0  # the bits of -0.0 are those of the least integer
    return weight + 0.0 if least == negative else weight
