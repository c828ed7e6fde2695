"""Find the layers that can be compiled, with what follows them and can be fused.

before:  %y : aten.linear(%x, %w, %b); %z : aten.gelu(%y)        (%y has no other user)
after:   the same graph; ctx.sites knows (%w, %b, gelu) and the row counts M it will meet here

before:  %y : aten.conv2d(%x, %w); %n : aten.batch_norm(%y, ...); %s : aten.add(%n, %r); %z : aten.relu(%s)
after:   the same graph; ctx.sites knows (%w, the BatchNorm as scale and shift, a residual, relu)

The graph is changed by ``lower`` only, when kernels have been chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.encodings.matrix import matrix_of
from spcomp.passes.base import Norm, PassContext, Site, attribute
from spcomp.passes.conv import conv_shape, fused, is_conv
from spcomp.passes.experts import all_experts, expert_key, expert_layers, matrices, matrix, rows_sent
from spcomp.passes.origins import identity
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.annotation import of

aten = torch.ops.aten


@dataclass(frozen=True)
class Match:
    """A node with a weight and what its kernel would replace, up to ``last`` (which may be the node itself)."""

    node: fx.Node
    last: fx.Node
    activation: str
    norm: fx.Node | None = None
    add: fx.Node | None = None

    @property
    def residual(self) -> fx.Node | None:
        """The other operand of the addition, whatever it has become meanwhile."""
        if self.add is None:
            return None
        end = self.norm or self.node
        other = next(a for a in self.add.args if a is not end)
        assert isinstance(other, fx.Node)
        return other

    @property
    def chain(self) -> tuple[fx.Node, ...]:
        """The nodes that go, last one first."""
        found = dict.fromkeys(n for n in (self.last, self.add, self.norm, self.node) if n is not None)
        return tuple(found)


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
    """Layers with measured constant weights, in graph order."""
    found: list[Match] = []
    written = written_storages(gm)
    taken: set[fx.Node] = set()
    for node in gm.graph.nodes:
        if node.target is not aten.linear.default and not is_conv(node):
            continue
        if node.args[1].op != "get_attr" or of(node.args[1]) is None or not _constant_bias(node):
            continue
        constants = [attribute(gm, a) for a in node.args[1:3] if a is not None]
        if any(c.untyped_storage().data_ptr() in written for c in constants):
            continue
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != attribute(gm, node.args[1]).dtype:
            continue
        match = _fused_linear(node)
        if is_conv(node):
            if conv_shape(node) is None:
                continue
            match = _fused_conv(gm, node, written, taken)
        taken.update(match.chain)
        found.append(match)
    return found


def _constant_bias(node: fx.Node) -> bool:
    bias = node.args[2] if len(node.args) > 2 else None
    return bias is None or (isinstance(bias, fx.Node) and bias.op == "get_attr")


def _fused_linear(node: fx.Node) -> Match:
    activation = activation_of(next(iter(node.users))) if len(node.users) == 1 else None
    return Match(node, next(iter(node.users)) if activation else node, activation or "none")


def _fused_conv(gm: fx.GraphModule, node: fx.Node, written: set[int], taken: set[fx.Node]) -> Match:
    norm, add, end = fused(gm, node, written, taken)
    user = next(iter(end.users)) if len(end.users) == 1 else None
    activation = activation_of(user) if user is not None else None
    last = user if activation and user is not None else end
    return Match(node, last, activation or "none", norm, add)


def written_storages(gm: fx.GraphModule) -> set[int]:
    """Storages of the attributes that the graph writes to, directly or through a view: they are no constants."""
    found: set[int] = set()
    schemas = (getattr(node.target, "_schema", None) for node in gm.graph.nodes)
    if not any(schema is not None and schema.is_mutable for schema in schemas):
        return found
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


def site_key(gm: fx.GraphModule, match: Match) -> tuple[object, ...]:
    """Identity of a site: the memory of all its constants, its geometry, and what is fused."""
    weight = attribute(gm, match.node.args[1])  # type: ignore[arg-type]
    bias = _bias(gm, match.node)
    key = identity(weight), None if bias is None else identity(bias), match.activation
    if not is_conv(match.node):
        return key
    norm = None if match.norm is None else identity(attribute(gm, match.norm.args[3]))  # type: ignore[arg-type]
    return *key, conv_shape(match.node), norm, match.add is not None


@dataclass(frozen=True)
class Collect:
    """Fill ``ctx.sites``."""

    name: ClassVar[str] = "collect"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        for match in matches(gm):
            key = site_key(gm, match)
            site = ctx.sites.get(key)
            if site is None:
                site = ctx.sites[key] = _site(gm, match, ctx)
            domain = rows_of(match.node, site.pixels)
            site.uses += 1
            if domain not in site.domains:
                site.domains.append(domain)
        for node in expert_layers(gm, written_storages(gm)):
            for weight_node in matrices(node):
                key = expert_key(gm, weight_node)
                site = ctx.sites.get(key)
                if site is None:
                    site = ctx.sites[key] = plain_site(gm, weight_node, ctx)
                site.uses += 1
                if rows_sent(node) not in site.domains:
                    site.domains.append(rows_sent(node))
        for node in all_experts(gm, written_storages(gm)):
            whole = matrix(node)
            assert whole is not None
            key = expert_key(gm, whole)
            site = ctx.sites.get(key)
            if site is None:
                site = ctx.sites[key] = plain_site(gm, whole, ctx)
                site.experts = int(node.args[1].meta["val"].shape[0])  # type: ignore[union-attr]
            site.uses += 1
            if rows_of(node) not in site.domains:
                site.domains.append(rows_of(node))
        return gm


def plain_site(gm: fx.GraphModule, weight_node: fx.Node, ctx: PassContext) -> Site:
    """A matrix [n, k] alone: no bias, nothing fused."""
    facts, target, weight = of(weight_node), str(weight_node.target), attribute(gm, weight_node).detach()
    assert facts is not None
    layer = ctx.origins.name(target).removesuffix(".weight")
    where = device_of(weight_node)
    return Site(len(ctx.sites), layer, weight, None, Epilogue(), facts, target, None, where=where)


def device_of(node: fx.Node) -> str:
    """The torch device that the model has a constant on, as the graph's fake values say: ``cpu``, ``cuda:1``."""
    value = node.meta.get("val")
    return str(value.device) if isinstance(value, torch.Tensor) else "cpu"


def _site(gm: fx.GraphModule, match: Match, ctx: PassContext) -> Site:
    weight_node = match.node.args[1]
    assert isinstance(weight_node, fx.Node)
    facts = of(weight_node)
    assert facts is not None
    target = str(weight_node.target)
    weight, bias = attribute(gm, weight_node).detach(), _bias(gm, match.node)
    bias_name = None if bias is None else str(match.node.args[2].target)  # type: ignore[union-attr]
    scale, norm = None, None
    if match.norm is not None:
        norm, state = norm_of(gm, match.norm, bias_name, bias)
        scale, bias = norm.fold(state, weight.dtype)
        bias_name = None
    conv = conv_shape(match.node) if is_conv(match.node) else None
    return Site(
        slot=len(ctx.sites),
        layer=ctx.origins.name(target).removesuffix(".weight"),
        weight=weight if conv is None else matrix_of(weight),
        bias=None if bias is None else bias.detach(),
        epilogue=Epilogue(bias is not None, match.activation, scale is not None, match.add is not None),
        facts=facts,
        weight_name=target,
        bias_name=bias_name,
        conv=conv,
        original=None if conv is None else weight,
        scale=scale,
        norm=norm,
        constants={} if match.norm is None else state,
        gone=max(0.0, 1.0 - weight.numel() / max(1, sum(p.root.numel() for p in ctx.origins.roots(weight)))),
        spared=ctx.spared.get(ctx.origins.name(target), ""),
        where=device_of(weight_node),
    )


def norm_of(
    gm: fx.GraphModule, node: fx.Node, conv_bias: str | None, bias: torch.Tensor | None
) -> tuple[Norm, dict[str, torch.Tensor]]:
    """A BatchNorm's names and constants, the convolution's own bias among them."""
    nodes = [a if isinstance(a, fx.Node) else None for a in node.args[1:5]]
    weight, shift, mean, var = (None if n is None else str(n.target) for n in nodes)
    state = {str(n.target): attribute(gm, n).detach() for n in nodes if n is not None}
    if conv_bias is not None and bias is not None:
        state[conv_bias] = bias.detach()
    assert mean is not None
    assert var is not None
    return Norm(weight, shift, mean, var, float(node.args[7]), conv_bias), state  # type: ignore[arg-type]


def _bias(gm: fx.GraphModule, node: fx.Node) -> torch.Tensor | None:
    if len(node.args) < 3 or node.args[2] is None:
        return None
    bias = attribute(gm, node.args[2])  # type: ignore[arg-type]
    assert isinstance(bias, torch.Tensor)
    return bias


def rows_of(node: fx.Node, pixels: int = 1) -> RowRange:
    """Row counts M that a node meets: one, or from the smallest (every dynamic size at its least) upwards."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    shape = x.meta["val"].shape
    least, dynamic = pixels, False
    for size in shape[:1] if is_conv(node) else shape[:-1]:
        if isinstance(size, int):
            least *= size
        else:
            dynamic = True
            bounds = size.node.shape_env.bound_sympy(size.node.expr)
            lower = int(bounds.lower) if bounds.lower.is_finite else 1
            least *= max(1, lower)
    return RowRange(least, None if dynamic else least)
