"""Remove slices of values that are constant or unread, physically.

before:  %h : aten.linear(%x, %w1, %b1) [8, 16]; %a : aten.relu(%h); %y : aten.linear(%a, %w2, %b2)
after:   %h : aten.linear(%x, %w1_kept, %b1_kept) [8, 11]; %a : aten.relu(%h); %y : aten.linear(%a, %w2_kept, %b2_kept)

Rows of producers and columns of consumers go, whole groups through residual streams and heads. A constant that was
removed is folded into the bias of the layer that read it, summed in float64 and stored in the layer's dtype. A value
that is constant throughout becomes a constant, and what computed it goes. Inputs and outputs keep their shapes.
Cut constants lie beside their originals: ``fc.weight`` is read as ``fc.kept.weight``. On a GPU some slices stay, as
they are, where sizes without them would be worse: see :mod:`spcomp.passes.round_cuts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.passes.base import PassContext, recompile
from spcomp.passes.canonicalize import fold_constants
from spcomp.passes.dataflow import arguments, escapes, is_static, same_size, shape_of
from spcomp.passes.known import Known
from spcomp.passes.live import Live
from spcomp.passes.origins import Origins
from spcomp.passes.pointwise import is_pointwise
from spcomp.passes.propagate_sparsity import KEY, Propagated, propagate
from spcomp.passes.rewrite import add_constant, refresh, remove_dead_code
from spcomp.passes.round_cuts import round_cuts
from spcomp.passes.shrink import Shrinking

aten = torch.ops.aten
MAX_ROUNDS = 8


@dataclass(frozen=True)
class EliminateDead:
    """Shrink the graph until nothing more goes."""

    name: ClassVar[str] = "eliminate-dead"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        changed = False
        live, spared = Live(), dict[str, str]()
        for _ in range(MAX_ROUNDS):
            found = propagate(gm, live)
            again = replace_constants(gm, found, ctx.origins)
            if again:
                fold_constants(gm, ctx.origins)
                remove_dead_code(gm)
                found = propagate(gm, live)
            spared = round_cuts(gm, found, ctx)
            again |= shrink(gm, found, ctx.origins)
            changed |= again
            if not again:
                break
        ctx.spared |= spared
        if changed:
            for node in gm.graph.nodes:
                node.meta.pop("known", None)
                node.meta.pop(KEY, None)
            recompile(gm, ctx)
        return gm


def shrink(gm: fx.GraphModule, found: Propagated, origins: Origins) -> bool:
    """Cut everything that was found removable."""
    if not any(found.is_cut(node) for node in gm.graph.nodes):
        return False
    shrinking = Shrinking(gm, found, origins)
    for node in list(gm.graph.nodes):
        shrinking.rewrite(node)
    remove_dead_code(gm)
    refresh(gm, shrinking.changed)
    return True


def replace_constants(gm: fx.GraphModule, found: Propagated, origins: Origins) -> bool:
    """Values that are constant throughout become constants."""
    depends: set[fx.Node] = set()
    changed: set[fx.Node] = set()
    for node in list(gm.graph.nodes):
        if node.op == "placeholder" or any(s in depends for s in node.all_input_nodes):
            depends.add(node)
        own, shape = found.facts.of.get(node), shape_of(node)
        if any(user in found.facts.constants.opaque for user in node.users):
            continue
        if node not in depends or not isinstance(own, Known) or shape is None or not own.whole or not node.users:
            continue
        own = own.full()
        constant: fx.Node | None = None
        for user in list(node.users):
            if isinstance(theirs := found.facts.of.get(user), Known) and theirs.whole:
                continue  # it becomes a constant itself
            fits = is_pointwise(user.target, arguments(user)) if hasattr(user.target, "_schema") else False
            fits = fits and _needs_no_shape(user, node, own)
            if not fits and not all(is_static(s) for s in shape):
                continue
            if constant is None:
                value = origins.computed(own.value, own.value.clone())
                constant = add_constant(gm, f"{node.name}", value, "known", node, origins)
            if fits and (other := _unchanged(user, node, own)) is not None:
                user.replace_all_uses_with(other)
                changed.add(user)
                continue
            user.replace_input_with(node, constant if fits else _expanded(gm, constant, node, changed))
            changed.add(user)
    if changed:
        refresh(gm, changed)
    return bool(changed)


def _needs_no_shape(user: fx.Node, node: fx.Node, own: Known) -> bool:
    """Whether a pointwise op's result has its shape without the sizes along which the constant is uniform."""
    shape = shape_of(user) or ()
    others = [shape_of(o) for o in user.all_input_nodes if o is not node]
    for d, size in enumerate(shape):
        from_end = d - len(shape)
        sizes = [o[from_end] for o in others if o is not None and len(o) >= -from_end]
        if len(own.sizes) >= -from_end:
            sizes.append(own.sizes[from_end])
        if not any(same_size(s, size) for s in sizes):
            return False
    return all(o is not None for o in others) and bool(others)


def _unchanged(user: fx.Node, node: fx.Node, own: Known) -> fx.Node | None:
    """The other operand of an addition of zeros that changes nothing about it."""
    if user.target is not aten.add.Tensor or bool((own.value != 0).any()) or escapes(user):
        return None  # the caller's own result is no other value, least of all an input
    given = arguments(user)
    other = given["self"] if given["other"] is node else given["other"]
    if not isinstance(other, fx.Node) or other is node or (given["alpha"] != 1 and given["other"] is not node):
        return None
    mine, theirs = user.meta["val"], other.meta["val"]
    same = len(mine.shape) == len(theirs.shape) and all(map(same_size, mine.shape, theirs.shape))
    return other if same and mine.dtype == theirs.dtype else None


def _expanded(gm: fx.GraphModule, constant: fx.Node, node: fx.Node, changed: set[fx.Node]) -> fx.Node:
    """The constant in the full, static shape of the node."""
    with gm.graph.inserting_before(node):
        wide = gm.graph.call_function(aten.expand.default, (constant, [int(s) for s in shape_of(node) or ()]))
        whole = gm.graph.call_function(aten.clone.default, (wide,), {"memory_format": torch.contiguous_format})
    changed |= {wide, whole}
    return whole
