"""In-place ops on values that the graph made itself become functional, where no view of the value was taken before.

before:  %h : aten.conv2d(%x, %w); %y : aten.relu_(%h); %z : aten.add(%h, 1)
after:   %h : aten.conv2d(%x, %w); %y : aten.relu(%h); %z : aten.add(%y, 1)
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import fx

from spcomp.passes.dataflow import is_mutable, memory_classes, same_size

aten = torch.ops.aten


def functionalize(gm: fx.GraphModule) -> bool:
    """Rewrite what can be rewritten; says whether anything was."""
    if not any(is_mutable(n) for n in gm.graph.nodes):
        return False
    changed = False
    order = {node: i for i, node in enumerate(gm.graph.nodes)}
    classes = {id(c): c for c in memory_classes(gm).values()}
    for members in classes.values():
        writes = sorted((n for n in members if is_mutable(n)), key=order.__getitem__)
        if writes and _own(members, writes, order):
            changed |= _rewrite(gm, writes)
    return changed


def _own(members: set[fx.Node], writes: list[fx.Node], order: dict[fx.Node, int]) -> bool:
    """One value made by the graph, written to as a whole or through a view that alone reads it; other views come after
    the last write."""
    before = sorted((n for n in members if order[n] <= order[writes[-1]] and n not in writes), key=order.__getitem__)
    if not before or before[0].op != "call_function" or order[before[-1]] > order[writes[0]]:
        return False
    if any(set(node.users) != {reader} for node, reader in pairwise(before)):
        return False
    whole = {before[-1], *writes}
    return all(w.args and w.args[0] in whole and _functional(w) is not None for w in writes)


def _functional(node: fx.Node) -> Any:
    """The functional form of an in-place op that gives the same shape and dtype; None if there is none."""
    schema = node.target._schema  # type: ignore[union-attr]
    writes = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    name = schema.name.removeprefix("aten::")
    if writes != [schema.arguments[0].name] or not name.endswith("_") or name.endswith("__"):
        return None
    packet = getattr(aten, name[:-1], None)
    found = getattr(packet, schema.overload_name or "default", None) if packet is not None else None
    x = node.args[0]
    assert isinstance(x, fx.Node)
    mine, given = node.meta.get("val"), x.meta.get("val")
    if found is None or not isinstance(mine, torch.Tensor) or not isinstance(given, torch.Tensor):
        return None
    others = [s.meta.get("val") for s in node.all_input_nodes[1:]]
    if any(isinstance(o, torch.Tensor) and o.dtype != given.dtype for o in others):
        return None
    numbers = [a for a in (*node.args[1:], *node.kwargs.values()) if isinstance(a, (float, complex))]
    if numbers and not given.is_floating_point():
        return None
    same = len(mine.shape) == len(given.shape) and all(map(same_size, mine.shape, given.shape))
    exact = given.is_floating_point() or name == "detach_"
    return found if same and mine.dtype == given.dtype and exact else None


def _rewrite(gm: fx.GraphModule, writes: list[fx.Node]) -> bool:
    for node in writes:
        node.target = _functional(node)
        source = node.args[0]
        assert isinstance(source, fx.Node)
        seen = False
        for later in list(gm.graph.nodes):
            if later is node:
                seen = True
            elif seen and source in later.all_input_nodes:
                later.replace_input_with(source, node)
    return True
