"""What the passes started from: enough of a captured program to run them again on other weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from spcomp.errors import InputError
from spcomp.passes.base import PassContext, attribute, run_passes
from spcomp.passes.merge_siblings import Group, MergeSiblings
from spcomp.passes.origins import identity
from spcomp.passes.pipelines import CANONICAL, COLLECT, SHRINK


@dataclass(eq=False)
class Source:
    """A flat graph as it was captured, its constants that are no state of the model, and what became of it."""

    graph: fx.Graph
    constants: dict[str, Any]
    fixed: frozenset[str]
    """Names of the constants that are no state of the model."""
    shrink: bool
    merged: frozenset[Group] = frozenset()
    """Groups of layers that were merged."""
    text: str = ""
    """The lowered graph, to see whether other weights lead to the same."""

    @classmethod
    def of(cls, gm: fx.GraphModule, fixed: frozenset[str], *, shrink: bool) -> Source:
        """A copy of the graph; only tensors named in ``fixed`` are kept."""
        read = {str(n.target): attribute(gm, n) for n in gm.graph.nodes if n.op == "get_attr"}
        own = {name: v for name, v in read.items() if name in fixed or not isinstance(v, torch.Tensor)}
        return cls(copy.deepcopy(gm.graph), own, fixed, shrink)

    def restored(self, state: Mapping[str, torch.Tensor]) -> fx.GraphModule:
        """The graph as it was captured, with other weights.

        Raises:
            InputError: one is missing, or of another shape or dtype.
        """
        graph = copy.deepcopy(self.graph)
        given = dict(self.constants)
        for node in graph.nodes:
            name = str(node.target)
            if node.op != "get_attr" or name in given:
                continue
            if name not in state:
                raise InputError(
                    "update the weights", f"the model has no {name}", "a model of the compiled architecture"
                )
            own, wanted = state[name], node.meta.get("val")
            if isinstance(wanted, torch.Tensor) and (own.shape != wanted.shape or own.dtype != wanted.dtype):
                raise InputError(
                    "update the weights", f"{name} is {own.dtype} of shape {tuple(own.shape)}",
                    f"{wanted.dtype} of shape {tuple(wanted.shape)}, as it was compiled",
                )  # fmt: skip
            given[name] = own
        return fx.GraphModule(given, graph)

    def analysed(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        """What the passes make of it, as they did the first time."""
        merging = (MergeSiblings(self.merged),) if self.merged else ()
        return run_passes((*(SHRINK if self.shrink else CANONICAL), *COLLECT, *merging), gm, ctx)


def collected(graphs: Sequence[fx.GraphModule], ctx: PassContext) -> None:
    """Look for layers once more, in graphs that were changed."""
    ctx.sites.clear()
    ctx.tables.clear()
    for gm in graphs:
        run_passes(COLLECT, gm, ctx)


def constants_read(gm: fx.GraphModule) -> dict[tuple[object, ...], int]:
    """Identities of the tensors that a graph reads, and their bytes."""
    found = (attribute(gm, n) for n in gm.graph.nodes if n.op == "get_attr")
    return {identity(t): t.nbytes for t in found if isinstance(t, torch.Tensor)}
