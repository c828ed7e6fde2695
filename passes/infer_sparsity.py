"""Measure every constant weight of a linear layer, a convolution (as the matrix that will be encoded) or an expert.

before:  %w : get_attr[weight]; %y : aten.linear(%x, %w, %b)
after:   the same graph; spcomp.sparsity.annotation.of(%w) holds exact SparsityFacts

Facts are cached by content, so that a second program of the same model costs a hash. ``weight * mask`` leaves -0.0
where a negative weight was pruned; by the bits that is a nonzero, so such weights are measured and packed with +0
instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.encodings.matrix import matrix_of
from spcomp.passes.base import PassContext, attribute
from spcomp.passes.conv import is_conv
from spcomp.passes.experts import matrices, matrix
from spcomp.passes.origins import identity
from spcomp.sparsity.annotation import annotate, of
from spcomp.sparsity.facts import SparsityFacts
from spcomp.sparsity.measure import measure, measure_all

MEASURABLE = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class InferSparsity:
    """Annotate constant weights with exact facts."""

    name: ClassVar[str] = "infer-sparsity"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        wanted: dict[fx.Node, torch.Tensor] = {}
        for node in gm.graph.nodes:
            conv = is_conv(node)
            linear = node.target is torch.ops.aten.linear.default
            whole = matrix(node)
            for weight_node in [node.args[1]] if linear or conv else [whole] if whole else matrices(node):
                if weight_node.op != "get_attr" or of(weight_node) is not None:
                    continue
                weight = attribute(gm, weight_node)
                if (weight.dim() == 2 or conv) and weight.dtype in MEASURABLE:
                    wanted[weight_node] = weight
        for weight_node, facts in zip(wanted, facts_of(list(wanted.values()), ctx), strict=True):
            annotate(weight_node, facts)
        return gm


def facts_of(weights: Sequence[torch.Tensor], ctx: PassContext) -> list[SparsityFacts]:
    """Facts of weights as they will be packed, each measured once in a compilation."""
    new = {identity(w): w for w in weights if identity(w) not in ctx.facts}
    plain = [w for w in new.values() if w.dim() == 2]
    ctx.facts |= {
        identity(w): (w, facts) for w, facts in zip(plain, measure_all(plain, negative_zeros=False), strict=True)
    }
    for key, weight in new.items():
        if weight.dim() != 2:  # a matrix of it is a copy: one at a time
            ctx.facts[key] = weight, measure(matrix_of(weight), negative_zeros=False)
    return [ctx.facts[identity(w)][1] for w in weights]


def positive_zeros(weight: torch.Tensor) -> torch.Tensor:
    """The weight with every -0.0 made +0.0: itself if it has none, else a copy. Equal as numbers."""
    weight = weight.detach()
    bits = weight.view({4: torch.int32, 2: torch.int16}[weight.element_size()])
    negative = torch.iinfo(bits.dtype).min
    least = int(bits.min()) if bits.numel() else 0  # the bits of -0.0 are those of the least integer
    return weight + 0.0 if least == negative else weight
