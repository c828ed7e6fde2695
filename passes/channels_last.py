"""Convolutions of two dimensions on planes with the channels last, as dense kernels like them.

before:  %a : spcomp.conv_v1(%x, None, 0, [64, 56, 56])
after:   %a : spcomp.conv_last_v1(%x, None, 0, [64, 56, 56])

What lies between two of them (additions, pooling) follows the strides of its inputs, and nothing is converted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from spcomp import ops
from spcomp.passes.base import PassContext

PLANES = 4


@dataclass(frozen=True)
class ChannelsLast:
    """Rewrite a lowered graph; the same object comes back where there is no such convolution."""

    name: ClassVar[str] = "channels-last"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        if not any(_is_planes(node) for node in gm.graph.nodes):
            return gm
        graph, values = fx.Graph(), dict[fx.Node, fx.Node]()
        for node in gm.graph.nodes:
            copy = values[node] = graph.node_copy(node, values.__getitem__)
            if _is_planes(node):
                copy.target = ops.CONV_LAST
        graph.set_codegen(fx.graph.CodeGen())
        new = fx.GraphModule(gm, graph)
        new.meta.update(gm.meta)
        return new


def _is_planes(node: fx.Node) -> bool:
    return node.target is ops.CONV and len(node.args[3]) + 1 == PLANES  # type: ignore[arg-type]
