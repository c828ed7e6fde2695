"""Layers that read the same input become one layer: q, k and v, or gate and up.

before:  %q : aten.linear(%x, %wq); %k : aten.linear(%x, %wk); %v : aten.linear(%x, %wv)
after:   %m : aten.linear(%x, %w_merged); %q : aten.slice(%m, -1, 0, 768); %k : aten.slice(%m, -1, 768, 1536); ...

x is packed once, one call is made instead of three, and a kernel has more rows to choose its order among. Whether that
is faster is measured by who runs the pass (:mod:`spcomp.merging`); the pass merges the groups that it is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp import ops
from spcomp.options import JOIN
from spcomp.passes.base import PassContext, Site, attribute, recompile
from spcomp.passes.collect import matches, site_key
from spcomp.passes.dataflow import shape_of
from spcomp.passes.find_tables import weight_key
from spcomp.passes.rewrite import add_constant, refresh, remove_dead_code

aten = torch.ops.aten
Group = tuple[str, ...]
"""Names of the weights of layers that read one input, in graph order."""
WORD = "merged"
ACTIVATIONS = {
    "relu": (aten.relu.default, {}), "silu": (aten.silu.default, {}), "gelu": (aten.gelu.default, {}),
    "gelu_tanh": (aten.gelu.default, {"approximate": "tanh"}),
}  # fmt: skip
VIEWS = (aten.view.default, aten._unsafe_view.default)


@dataclass(frozen=True)
class MergeSiblings:
    """Merge ``groups``, wherever all layers of one read the same input."""

    name: ClassVar[str] = "merge-siblings"
    groups: frozenset[Group] = frozenset()

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = [nodes for nodes in _groups(gm) if _names(nodes) in self.groups]
        for nodes in found:
            _merge(gm, nodes, ctx)
        if found:
            remove_dead_code(gm)
            recompile(gm, ctx)
        return gm


def siblings(graphs: Iterable[fx.GraphModule], ctx: PassContext) -> dict[Group, list[Site]]:
    """Groups that could be merged: the same layers in every program, all of whose uses are in such groups."""
    counted: Counter[Group] = Counter()
    members: dict[Group, list[Site]] = {}
    for gm in graphs:
        for nodes in _groups(gm):
            sites = {m.node: ctx.sites.get(site_key(gm, m)) for m in matches(gm) if m.node in nodes}
            of_nodes = [site for n in nodes if (site := sites.get(n)) is not None]
            if len(of_nodes) == len(nodes) == len({s.slot for s in of_nodes}):
                counted[_names(nodes)] += 1
                members[_names(nodes)] = of_nodes
    tables = set(ctx.tables)
    return {
        group: sites
        for group, sites in members.items()
        if all(s.uses == counted[group] and weight_key(s) not in tables for s in sites)
        and len({(s.dtype, s.bias is None, tuple(s.domains)) for s in sites}) == 1
    }


def _groups(gm: fx.GraphModule) -> list[list[fx.Node]]:
    """Linear layers by the value that they read, where that is more than one."""
    readers: dict[fx.Node, list[fx.Node]] = {}
    for match in matches(gm):
        x = match.node.args[0]
        if match.node.target is aten.linear.default and isinstance(x, fx.Node):
            readers.setdefault(x, []).append(match.node)
    return [nodes for nodes in readers.values() if len(nodes) > 1]


def _names(nodes: list[fx.Node]) -> Group:
    return tuple(str(n.args[1].target) for n in nodes)  # type: ignore[union-attr]


def _merge(gm: fx.GraphModule, nodes: list[fx.Node], ctx: PassContext) -> None:
    first, shape = nodes[0], shape_of(nodes[0])
    assert shape is not None
    args = [first.args[0], _together(gm, [n.args[1] for n in nodes], ctx, first)]  # type: ignore[misc]
    if len(first.args) > 2 and first.args[2] is not None:
        args.append(_together(gm, [n.args[2] for n in nodes], ctx, first))  # type: ignore[misc]
    with gm.graph.inserting_before(first):
        merged = gm.graph.call_function(aten.linear.default, tuple(args))
    merged.meta = {k: v for k, v in first.meta.items() if k in ("nn_module_stack", "stack_trace")}
    made, start = {merged}, 0
    for node in nodes:
        size = int((shape_of(node) or ())[-1])
        with gm.graph.inserting_before(first):
            part = gm.graph.call_function(aten.slice.Tensor, (merged, len(shape) - 1, start, start + size))
        part.meta = {k: v for k, v in node.meta.items() if k in ("nn_module_stack", "stack_trace")}
        made.add(part)
        start += size
        for user in node.users:
            if user.target in VIEWS:
                user.target = aten.reshape.default  # a part is not contiguous
        node.replace_all_uses_with(part)
    refresh(gm, made)


def _together(gm: fx.GraphModule, held: list[fx.Node], ctx: PassContext, before: fx.Node) -> fx.Node:
    """One constant of several, one below the other."""
    names = [str(n.target) for n in held]
    merged = ctx.origins.merged([attribute(gm, n).detach() for n in held])
    of = [ctx.origins.name(name) for name in names]
    kind = of[0].rpartition(".")[2]
    layer = JOIN.join(name.removesuffix(f".{kind}") for name in of)
    node = add_constant(gm, names[0], merged, WORD, before, ctx.origins)
    ctx.origins.call(str(node.target), f"{layer}.{kind}")
    return node


@dataclass(frozen=True)
class MergedCall:
    """The slot of a merged layer, and the activations that are behind its parts instead of in them."""

    slot: int
    activations: tuple[str, ...]


def merged_calls(gm: fx.GraphModule, groups: Mapping[tuple[int, ...], MergedCall]) -> fx.GraphModule:
    """A copy of a lowered graph with some slots' calls on one input made one: shapes alone, no weight is looked at.

    For who weighs what merging would cost before it is done.
    """
    graph, values = fx.Graph(), dict[fx.Node, fx.Node]()
    of = {slot: slots for slots in groups for slot in slots}
    made: dict[tuple[fx.Node, tuple[int, ...]], fx.Node] = {}
    sizes = {n.args[1]: int(n.args[2]) for n in gm.graph.nodes if n.target is ops.LINEAR}
    for node in gm.graph.nodes:
        slots = of.get(node.args[1]) if node.target is ops.LINEAR else None
        if slots is None:
            values[node] = graph.node_copy(node, values.__getitem__)
            continue
        x, slot, n = node.args
        value, wide = node.meta["val"], sum(sizes[s] for s in slots)
        if (x, slots) not in made:
            merged = graph.call_function(ops.LINEAR, (values[x], groups[slots].slot, wide))
            merged.meta["val"] = torch.empty((*value.shape[:-1], wide), dtype=value.dtype, device="meta")
            made[x, slots] = merged
        start = sum(sizes[s] for s in slots[: slots.index(slot)])
        part = graph.call_function(aten.slice.Tensor, (made[x, slots], value.dim() - 1, start, start + n))
        part.meta["val"] = value
        if (activation := groups[slots].activations[slots.index(slot)]) in ACTIVATIONS:
            target, how = ACTIVATIONS[activation]
            part = graph.call_function(target, (part,), dict(how))
            part.meta["val"] = value
        values[node] = part
    return fx.GraphModule(gm, graph)
