"""Flatten the calling convention.

before:  def forward(self, x, mask=None): ...; return pytree.tree_unflatten([a, b], spec)
after:   def forward(self, x, mask): ...; return (a, b)

Placeholders are the flat inputs in pytree order (constants included), the output is one flat tuple: what Inductor
and the saved form want. Structure is kept beside the graph, in the signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx
from torch.utils import _pytree as pytree

from spcomp.passes.base import PassContext, recompile


@dataclass(frozen=True)
class Flatten:
    """Replace the pytree calling convention by flat placeholders and a flat tuple."""

    name: ClassVar[str] = "flatten"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        (output,) = (n for n in gm.graph.nodes if n.op == "output")
        flat = tuple(pytree.tree_leaves(output.args[0]))
        if type(gm.graph._codegen) is fx.graph.CodeGen and output.args == (flat,):
            return gm
        gm.graph.set_codegen(fx.graph.CodeGen())
        gm._forward_pre_hooks.clear()  # torch.export's check of the calling convention that goes
        gm._forward_pre_hooks_with_kwargs.clear()
        output.args = (flat,)
        for node in gm.graph.nodes:
            if node.op == "placeholder":
                node.args = ()
        for node in list(gm.graph.nodes):
            if node.op == "call_module" and not node.users and str(node.target).startswith("_guards"):
                gm.graph.erase_node(node)
        recompile(gm, ctx)
        return gm
