"""What analyses of a graph share: arguments by name, static sizes, constants, and memory that the graph writes to."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from spcomp.passes.base import attribute
from spcomp.passes.collect import written_storages

aten = torch.ops.aten
MAY_RETURN_INPUT = frozenset((aten.dropout.default, aten.feature_dropout.default, aten.einsum.default))
"""Ops that can return their input, or a view of it, and whose schema does not say so."""


def arguments(node: fx.Node) -> dict[str, Any]:
    """The arguments of an ATen node by the names of its schema, defaults included."""
    schema = node.target._schema  # type: ignore[union-attr]
    found = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    found |= {a.name: v for a, v in zip(schema.arguments, node.args, strict=False)}
    return found | dict(node.kwargs)


def set_argument(node: fx.Node, name: str, value: Any) -> None:
    """Replace one argument of an ATen node, given or not."""
    position = [a.name for a in node.target._schema.arguments].index(name)  # type: ignore[union-attr]
    if position < len(node.args):
        node.update_arg(position, value)
    else:
        node.update_kwarg(name, value)


def shape_of(node: fx.Node) -> tuple[int | torch.SymInt, ...] | None:
    """The shape of a node's tensor; None if it is none."""
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def is_static(size: object) -> bool:
    return type(size) is int


def same_size(a: object, b: object) -> bool:
    """Whether two sizes, symbolic ones included, are surely equal."""
    return a == b if is_static(a) and is_static(b) else str(a) == str(b)


def is_mutable(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def is_random(node: fx.Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def is_part(node: fx.Node) -> bool:
    """Whether a node is one of several results of another."""
    return node.op == "call_function" and node.target is operator.getitem


def shares_memory(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node's result may lie in the memory of an input. What is no ATen op may do anything."""
    if node.op != "call_function":
        return node.op != "output"
    schema = getattr(node.target, "_schema", None)
    if schema is None or node.target in MAY_RETURN_INPUT or schema.name[:6] != "aten::":
        return True
    given = {a.name: v for a, v in zip(schema.arguments, node.args, strict=False)} | dict(node.kwargs)
    return any(a.alias_info is not None and _mentions(given.get(a.name), source) for a in schema.arguments)


def escapes(node: fx.Node) -> bool:
    """Whether a caller gets hold of the memory of a node's value."""
    return any(user.op == "output" or (shares_memory(user, node) and escapes(user)) for user in node.users)


def _mentions(value: object, node: fx.Node) -> bool:
    return value is node or (isinstance(value, list | tuple) and any(_mentions(v, node) for v in value))


def memory_classes(gm: fx.GraphModule) -> dict[fx.Node, set[fx.Node]]:
    """node -> the nodes that may share memory with it."""
    classes: dict[fx.Node, set[fx.Node]] = {}
    for node in gm.graph.nodes:
        mine = classes[node] = {node}
        for source in node.all_input_nodes:
            if shares_memory(node, source) and classes[source] is not mine:
                mine |= classes[source]
                for member in mine:
                    classes[member] = mine
    return classes


@dataclass(frozen=True, eq=False)
class Constants:
    """The tensors of a graph that nothing writes to, and the nodes whose memory something does write to."""

    gm: fx.GraphModule
    storages: frozenset[int]
    opaque: frozenset[fx.Node]
    found: dict[fx.Node, torch.Tensor | None] = field(default_factory=dict)
    """What was asked for before: attributes do not change while an analysis runs."""

    @classmethod
    def of(cls, gm: fx.GraphModule) -> Constants:
        writers = [n for n in gm.graph.nodes if is_mutable(n)]
        opaque: set[fx.Node] = set()
        if writers:
            classes = memory_classes(gm)
            for writer in writers:
                opaque |= classes[writer].union(*(classes[s] for s in writer.all_input_nodes))
        return cls(gm, frozenset(written_storages(gm)), frozenset(opaque))

    def __call__(self, node: object) -> torch.Tensor | None:
        """The constant tensor of a ``get_attr`` node; None for anything else."""
        if not isinstance(node, fx.Node) or node.op != "get_attr" or node in self.opaque:
            return None
        if node not in self.found:
            value = attribute(self.gm, node)
            constant = isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() not in self.storages
            self.found[node] = value.detach() if constant else None
        return self.found[node]
