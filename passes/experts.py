"""Experts' matrices as layers: how they are collected, and how the op over them is lowered.

before:  %y : spcomp.experts_dense_v1(%x, %ends, [%w_0, %w_1, ...])     (constants [n, k], measured)
after:   %y : spcomp.experts_v1(%x, %ends, [slot of %w_0, slot of %w_1, ...], n)

before:  %y : spcomp.grouped_dense_v1(%x, %ends, %stack, %matrix)
after:   %y : spcomp.grouped_v1(%x, %ends, slot of %matrix, n), or the product with %stack as it was captured

An expert may be sent any number of rows, from none to all S of x; where it has none, its kernel is not called.
"""

from __future__ import annotations

from typing import Any

from torch import fx

from spcomp.experts import EXPERTS, EXPERTS_DENSE, GROUPED, GROUPED_DENSE
from spcomp.passes.base import PassContext, attribute
from spcomp.passes.origins import identity
from spcomp.plan import RowRange
from spcomp.sparsity.annotation import of

AS_IT_WAS = "as it was"
"""What a node's meta data call the op that it was captured as, where that is torch's own."""


def matrices(node: fx.Node) -> list[fx.Node]:
    """The nodes of all experts' matrices, in order; none for any other op."""
    return list(node.args[2]) if node.target is EXPERTS_DENSE else []  # type: ignore[arg-type]


def expert_layers(gm: fx.GraphModule, written: set[int]) -> list[fx.Node]:
    """Ops over experts all of whose matrices are measured constants; ``written``: storages that are none."""
    mixtures = [node for node in gm.graph.nodes if matrices(node)]
    return [node for node in mixtures if all(_is_layer(gm, w, written) for w in matrices(node))]


def _is_layer(gm: fx.GraphModule, weight: fx.Node, written: set[int]) -> bool:
    if weight.op != "get_attr" or of(weight) is None:
        return False
    return attribute(gm, weight).untyped_storage().data_ptr() not in written


def all_experts(gm: fx.GraphModule, written: set[int]) -> list[fx.Node]:
    """Products with a stack of experts that one kernel may serve: nodes whose matrix is a measured constant."""
    return [node for node in gm.graph.nodes if (w := matrix(node)) is not None and _is_layer(gm, w, written)]


def matrix(node: fx.Node) -> fx.Node | None:
    """The node of all experts' matrices, one below the other; None for any other op."""
    given = node.args[3] if node.target is GROUPED_DENSE and len(node.args) > 3 else None
    return given if isinstance(given, fx.Node) else None


def expert_key(gm: fx.GraphModule, weight: fx.Node) -> tuple[object, ...]:
    """Identity of an expert's site: as of a linear layer without bias and activation."""
    return identity(attribute(gm, weight)), None, "none"


def rows_sent(node: fx.Node) -> RowRange:
    """Row counts with which an expert's kernel is called: from one to all of x."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    rows = x.meta["val"].shape[0]
    return RowRange(1, rows if isinstance(rows, int) and rows else None)


def lower_experts(gm: fx.GraphModule, ctx: PassContext, written: set[int]) -> bool:
    """Put slots in the place of matrices. Whether there were any."""
    changed = False
    for node in expert_layers(gm, written):
        sites = [ctx.sites.get(expert_key(gm, w)) for w in matrices(node)]
        slots = [s.slot for s in sites if s is not None]
        if len(slots) != len(sites) or sites[0] is None:
            continue
        x, ends = node.args[:2]
        with gm.graph.inserting_before(node):
            new = gm.graph.call_function(EXPERTS, (x, ends, slots, sites[0].n))
        new.meta = _kept(node.meta)
        node.replace_all_uses_with(new)
        gm.graph.erase_node(node)
        changed = True
    return changed


def lower_all_experts(gm: fx.GraphModule, ctx: PassContext, written: set[int]) -> bool:
    """One kernel in the place of a stack, or the product as it was captured. Whether there were any."""
    able = set(all_experts(gm, written))
    found = [node for node in gm.graph.nodes if node.target is GROUPED_DENSE and matrix(node) is not None]
    for node in found:
        site = ctx.sites.get(expert_key(gm, matrix(node))) if node in able else None  # type: ignore[arg-type]
        x, ends, stack = node.args[:3]
        with gm.graph.inserting_before(node):
            if site is not None and site.slot not in ctx.left:
                new = gm.graph.call_function(GROUPED, (x, ends, site.slot, site.n // site.experts))
            elif (plain := node.meta.get(AS_IT_WAS)) is not None:
                new = gm.graph.call_function(plain, (x, stack), {"offs": ends})
            else:
                new = gm.graph.call_function(GROUPED_DENSE, (x, ends, stack))
        new.meta = _kept(node.meta)
        node.replace_all_uses_with(new)
        gm.graph.erase_node(node)
    return bool(found)


def _kept(meta: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in meta.items() if k in ("val", "nn_module_stack", "stack_trace")}
