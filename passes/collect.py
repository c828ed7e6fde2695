"""Find the linear layers that can be compiled, with the activation that follows them.

before:  %y : aten.linear(%x, %w, %b); %z : aten.gelu(%y)        (%y has no other user)
after:   the same graph; ctx.sites knows (%w, %b, gelu) and the row counts M it will meet here

The graph is changed by ``lower`` only, when kernels have been chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.passes.base import PassContext, Site, attribute
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.annotation import of

aten = torch.ops.aten


@dataclass(frozen=True)
class Match:
    """A linear node and what its kernel would replace: the last node is the activation, or the linear itself."""

    linear: fx.Node
    last: fx.Node
    activation: str


def activation_of(node: fx.Node) -> str | None:
    """The epilogue activation that a node computes, or None."""
    match node.target:
        case aten.relu.default | aten.relu_.default:
            return "relu"
        case aten.silu.default | aten.silu_.default:
            return "silu"
        case aten.gelu.default | aten.gelu_.default:
            approximate = node.kwargs.get("approximate", node.args[1] if len(node.args) > 1 else "none")
            return {"none": "gelu", "tanh": "gelu_tanh"}.get(str(approximate))
        case _:
            return None


def matches(gm: fx.GraphModule) -> list[Match]:
    """Linear layers with measured constant weights, in graph order."""
    found = []
    written = _written(gm)
    for node in gm.graph.nodes:
        if node.target is not aten.linear.default or node.args[1].op != "get_attr" or of(node.args[1]) is None:
            continue
        if len(node.args) > 2 and node.args[2] is not None and node.args[2].op != "get_attr":
            continue
        constants = [attribute(gm, a) for a in node.args[1:] if a is not None]
        if any(c.untyped_storage().data_ptr() in written for c in constants):
            continue
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != attribute(gm, node.args[1]).dtype:
            continue
        users = list(node.users)
        activation = activation_of(users[0]) if len(users) == 1 else None
        found.append(Match(node, users[0] if activation else node, activation or "none"))
    return found


def _written(gm: fx.GraphModule) -> set[int]:
    """Storages of the attributes that the graph writes to, directly or through a view: they are no constants."""
    found = set()
    for node in gm.graph.nodes:
        value = attribute(gm, node) if node.op == "get_attr" else None
        if isinstance(value, torch.Tensor) and _is_written(node):
            found.add(value.untyped_storage().data_ptr())
    return found


def _is_written(node: fx.Node) -> bool:
    for user in node.users:
        schema = getattr(user.target, "_schema", None)
        if schema is None:
            continue
        given = {a.name: v for a, v in zip(schema.arguments, user.args, strict=False)} | dict(user.kwargs)
        aliases = [a.alias_info for a in schema.arguments if a.alias_info is not None and given.get(a.name) is node]
        if any(a.is_write for a in aliases) or (aliases and _is_written(user)):
            return True
    return False


def identity(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for the same elements of the same memory: an address alone is shared with slices, or 0 if empty."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def site_key(gm: fx.GraphModule, match: Match) -> tuple[object, ...]:
    """Identity of a site: the memory of weight and bias, and the activation."""
    weight = attribute(gm, match.linear.args[1])  # type: ignore[arg-type]
    bias = _bias(gm, match.linear)
    return identity(weight), None if bias is None else identity(bias), match.activation


@dataclass(frozen=True)
class CollectLinear:
    """Fill ``ctx.sites``."""

    name: ClassVar[str] = "collect-linear"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        for match in matches(gm):
            key = site_key(gm, match)
            weight_node = match.linear.args[1]
            assert isinstance(weight_node, fx.Node)
            facts = of(weight_node)
            assert facts is not None
            bias = _bias(gm, match.linear)
            site = ctx.sites.get(key)
            if site is None:
                target = str(weight_node.target)
                site = ctx.sites[key] = Site(
                    slot=len(ctx.sites),
                    layer=target.removesuffix(".weight"),
                    weight=attribute(gm, weight_node).detach(),
                    bias=None if bias is None else bias.detach(),
                    epilogue=Epilogue(bias is not None, match.activation),
                    facts=facts,
                    weight_name=target,
                    bias_name=None if bias is None else str(match.linear.args[2].target),  # type: ignore[union-attr]
                )
            domain = rows_of(match.linear)
            site.uses += 1
            if domain not in site.domains:
                site.domains.append(domain)
        return gm


def _bias(gm: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    if len(node.args) < 3 or node.args[2] is None:
        return None
    bias = attribute(gm, node.args[2])  # type: ignore[arg-type]
    assert isinstance(bias, torch.Tensor)
    return bias


def rows_of(node: fx.Node) -> RowRange:
    """Row counts M that a linear node meets: one, or from the smallest (every dynamic size at its least) upwards."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    least, dynamic = 1, False
    for size in x.meta["val"].shape[:-1]:
        if isinstance(size, int):
            least *= size
        else:
            dynamic = True
            bounds = size.node.shape_env.bound_sympy(size.node.expr)
            lower = int(bounds.lower) if bounds.lower.is_finite else 1
            least *= max(1, lower)
    return RowRange(least, None if dynamic else least)
