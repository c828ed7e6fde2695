"""Forward rules: what is known of an op's result, given what is known of its inputs. No rule: nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from spcomp.passes.dataflow import Constants, arguments, is_part, is_static, shape_of
from spcomp.passes.known import Known, common_sizes, known, reshaped
from spcomp.passes.live import Live
from spcomp.passes.pointwise import PRODUCTS, is_pointwise

aten = torch.ops.aten
TABLE_ROWS = 256
"""Rows of an embedding's table that are compared at a time: most have nothing constant in the first few."""
Result = Known | list[Known | None] | None
Rule = Callable[[fx.Node, dict[str, Any], "Knowledge"], "Result"]


@dataclass(eq=False)
class Knowledge:
    """What is known of the nodes of a graph."""

    constants: Constants
    rules: Mapping[Any, Rule]
    live: Live = field(default_factory=Live)
    of: dict[fx.Node, Result] = field(default_factory=dict)

    def get(self, node: object) -> Known | None:
        """What is known of an argument, constants included."""
        found = self.of.get(node) if isinstance(node, fx.Node) else None
        if isinstance(found, Known):
            return found
        constant = self.constants(node)
        return None if constant is None else Known.constant(constant)

    def learn(self, node: fx.Node) -> None:
        """Apply the rule of a node; its inputs come first."""
        if node.op != "call_function" or node in self.constants.opaque or not node.all_input_nodes:
            return
        if is_part(node):
            source, index = node.args
            found = self.of.get(source)  # type: ignore[arg-type]
            if isinstance(found, list) and isinstance(index, int):
                self.of[node] = found[index]
            return
        if not hasattr(node.target, "_schema"):
            return
        given = arguments(node)
        if is_pointwise(node.target, given):
            self.of[node] = _pointwise(node, given, self)
        elif (rule := self.rules.get(node.target)) is not None:
            self.of[node] = rule(node, given, self)


def _pointwise(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    shape = shape_of(node)
    nodes = [v for v in given.values() if isinstance(v, fx.Node)]
    if shape is None or any(shape_of(n) is None for n in nodes):
        return None
    found = {n: facts.get(n) for n in nodes}
    product = node.target in PRODUCTS
    if not nodes or all(k is None for k in found.values()) or (not product and None in found.values()):
        return None
    rank = len(shape)
    mask: Tensor | None = None
    value: Tensor | None = None
    if None not in found.values():
        inputs = {name: found[v].value if isinstance(v, fx.Node) else v for name, v in given.items()}  # type: ignore[union-attr]
        masks = [_ranked(k.mask, rank) for k in found.values() if k is not None]
        mask, value = masks[0], node.target(**inputs)  # type: ignore[operator]
        for other in masks[1:]:
            mask = mask & other
        value = _ranked(value, rank)
    if product:
        for own in found.values():
            if own is not None:
                zeros = _ranked(own.zeros(), rank)
                if mask is None or value is None:
                    mask, value = zeros, torch.zeros((1,) * rank, dtype=node.meta["val"].dtype)
                else:
                    value, mask = torch.where(zeros, torch.zeros_like(value), value), mask | zeros
    assert mask is not None
    assert value is not None
    if any(s != 1 and not is_static(size) for s, size in zip(value.shape, shape, strict=True)):
        return None
    return known(mask, value)


def _ranked(t: Tensor, rank: int) -> Tensor:
    return t.reshape((1,) * (rank - t.dim()) + tuple(t.shape))


def affine(
    x: Known | None, rank: int, dim: int, weight: Tensor, bias: Tensor | None, padded: bool, live: Live
) -> Known | None:
    """Of a linear layer or one group of a convolution: weight [n, k, ...], the channels of x along ``dim``.

    A row that multiplies nothing but known channels is constant. Sums are in float64.
    """
    n, k = weight.shape[:2]
    if x is None:
        mask, value = ~live.rows(weight), torch.zeros(n, dtype=torch.float64)
        shape = [1] * rank
        shape[dim] = n
        mask, value = mask.reshape(shape), value.reshape(shape)
    else:
        own = x.along(dim, k)
        usable = own.mask & (own.value == 0) if padded else own.mask
        usable, values = usable.movedim(dim, -1), own.value.movedim(dim, -1)
        mask = ~_read(weight, ~usable, live).movedim(-1, dim)
        some = usable & (values != 0)
        value = torch.zeros((1,) * (rank - 1) + (n,), dtype=torch.float64)
        if bool(some.any()):
            columns = some.reshape(-1, k).any(0)
            taps = weight[:, columns].double().flatten(2).sum(2) if weight.dim() > 2 else weight[:, columns].double()
            value = torch.where(some, values.double(), 0.0)[..., columns] @ taps.t()
        value = value.movedim(-1, dim)
    if bias is not None:
        shape = [1] * rank
        shape[dim] = n
        value = value + bias.double().reshape(shape)
    return known(mask, value.to(weight.dtype))


def _read(weight: Tensor, columns: Tensor, live: Live) -> Tensor:
    """Rows [..., n] of a weight that hold anything in some columns [..., k]."""
    flat = columns.reshape(-1, columns.shape[-1])
    if len(flat) == 1:
        return live.rows_of_columns(weight, flat[0]).reshape(*columns.shape[:-1], -1)
    used = (weight != 0).flatten(2).any(2) if weight.dim() > 2 else weight != 0
    return columns.float() @ used.t().float() != 0


def _linear(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    weight, bias = facts.constants(given["weight"]), facts.constants(given["bias"])
    shape = shape_of(given["input"])
    if weight is None or shape is None or weight.dim() != 2 or (given["bias"] is not None and bias is None):
        return None
    return affine(facts.get(given["input"]), len(shape), len(shape) - 1, weight, bias, False, facts.live)


def zero_padding(given: dict[str, Any]) -> bool:
    """Whether a convolution adds no zeros around its input."""
    padding = given["padding"]
    if isinstance(padding, str):
        return padding == "valid"
    return not any(padding) if isinstance(padding, list | tuple) else padding == 0


def conv_groups(node: fx.Node, given: dict[str, Any]) -> int | None:
    """Groups of a batched convolution; None if it is something else."""
    shape, weight = shape_of(given["input"]), shape_of(given["weight"])
    return int(given["groups"]) if shape is not None and weight is not None and len(shape) == len(weight) else None


def _conv(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    weight, bias = facts.constants(given["weight"]), facts.constants(given["bias"])
    groups = conv_groups(node, given)
    if weight is None or groups is None or (given["bias"] is not None and bias is None):
        return None
    x, rank = facts.get(given["input"]), weight.dim()
    if x is not None and any(s != 1 for s in x.sizes[2:]):
        x = None
    n, k = weight.shape[0] // groups, weight.shape[1]
    wide = None if x is None else x.along(1, k * groups)
    masks, values = [], []
    for g in range(groups):
        own = None if wide is None else wide.map(lambda t, g=g: t.narrow(1, g * k, k))  # type: ignore[misc]
        rows = slice(g * n, (g + 1) * n)
        some = affine(
            own, rank, 1, weight[rows], None if bias is None else bias[rows], not zero_padding(given), facts.live
        )
        some = some or Known(torch.zeros((1,) * rank, dtype=torch.bool), torch.zeros((1,) * rank, dtype=weight.dtype))
        some = some.along(1, n)
        masks.append(some.mask)
        values.append(some.value)
    shapes = common_sizes(*(m.shape for m in masks))
    return known(torch.cat([m.expand(shapes) for m in masks], 1), torch.cat([v.expand(shapes) for v in values], 1))


def _batch_norm(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    shape = shape_of(node)
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {n: facts.constants(given[n]) for n in names}
    if given["training"] or shape is None or any(given[n] is not None and tensors[n] is None for n in names):
        return None
    if tensors["running_var"] is None or not is_static(shape[1]):
        return None
    x, channels = facts.get(given["input"]), int(shape[1])
    sizes = [1, channels, *[1] * (len(shape) - 2)]
    mask = torch.zeros(sizes, dtype=torch.bool)
    value = torch.zeros(sizes, dtype=node.meta["val"].dtype)
    if x is not None:
        own = x.along(1, channels)
        value = node.target(own.value.contiguous(), **{k: tensors.get(k, v) for k, v in given.items() if k != "input"})  # type: ignore[operator]
        mask = own.mask
    if (weight := tensors["weight"]) is not None:
        mask, value = _unscaled(mask, value, weight.reshape(sizes), tensors["bias"], sizes)
    return known(mask, value)


def _unscaled(
    mask: Tensor, value: Tensor, weight: Tensor, bias: Tensor | None, sizes: list[int]
) -> tuple[Tensor, Tensor]:
    """A norm's channels of scale zero are its bias."""
    zero = weight == 0
    shift = torch.zeros((), dtype=value.dtype) if bias is None else bias.reshape(sizes).to(value.dtype)
    return mask | zero, torch.where(zero, shift, value)


def _norm(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Layer, group and RMS norms mix their channels: only a scale of zero makes a constant."""
    shape, weight = shape_of(node), facts.constants(given["weight"])
    bias = facts.constants(given.get("bias"))
    if shape is None or weight is None or (given.get("bias") is not None and bias is None):
        return None
    rank = len(shape)
    group = node.target is aten.group_norm.default
    sizes = [1, *weight.shape, *[1] * (rank - 2)] if group else [1] * (rank - weight.dim()) + list(weight.shape)
    nothing = torch.zeros((1,) * rank, dtype=torch.bool)
    value = torch.zeros((1,) * rank, dtype=node.meta["val"].dtype)
    return known(*_unscaled(nothing, value, weight.reshape(sizes), bias, sizes))


def _reshape(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    own, before, after = facts.get(given["self"]), shape_of(given["self"]), shape_of(node)
    return None if own is None or before is None or after is None else reshaped(own, before, after)


def _moved(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Transpose and permute are applied to the knowledge itself."""
    own = facts.get(given["self"])
    rest = {k: v for k, v in given.items() if k != "self"}
    return None if own is None else own.map(lambda t: node.target(t, **rest))  # type: ignore[operator]


def _embedding(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    table, shape = facts.constants(given["weight"]), shape_of(node)
    if table is None or shape is None or not len(table):
        return None
    sizes = [1] * (len(shape) - 1) + [table.shape[1]]
    same = torch.ones(table.shape[1], dtype=torch.bool)
    for start in range(0, len(table), TABLE_ROWS):
        same &= (table[start : start + TABLE_ROWS] == table[0]).all(0)
        if not bool(same.any()):
            return None
    return known(same.reshape(sizes), table[0].reshape(sizes))


def _matmul(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Zero where every product is."""
    left, right = given["self"], given["mat2" if "mat2" in given else "other"]
    shapes = [shape_of(left), shape_of(right)]
    if any(s is None or len(s) < 2 for s in shapes):
        return None
    a, b = facts.get(left), facts.get(right)
    if a is None and b is None:
        return None
    alive = [torch.ones((1, 1)) if own is None else (~own.zeros()).float() for own in (a, b)]
    inner = max(alive[0].shape[-1], alive[1].shape[-2])
    x, y = (
        alive[0].expand(*alive[0].shape[:-1], inner),
        alive[1].expand(*alive[1].shape[:-2], inner, alive[1].shape[-1]),
    )
    mask = x @ y == 0
    rank = len(shape_of(node) or ())
    return known(_ranked(mask, rank), torch.zeros((1,) * rank, dtype=node.meta["val"].dtype))


def _attention(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Features of v that are zero in every token stay zero; no others do: a softmax sums to 1 but for rounding."""
    v, shape = facts.get(given["value"]), shape_of(node)
    if v is None or shape is None or given["dropout_p"] or given["enable_gqa"]:
        return None
    zeros = v.zeros().all(-2, keepdim=True)
    return known(_ranked(zeros, len(shape)), torch.zeros((1,) * len(shape), dtype=node.meta["val"].dtype))


RULES: dict[Any, Rule] = {
    aten.linear.default: _linear,
    **dict.fromkeys((aten.conv1d.default, aten.conv2d.default, aten.conv3d.default), _conv),
    **dict.fromkeys((aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding), _conv),
    aten.batch_norm.default: _batch_norm,
    **dict.fromkeys((aten.layer_norm.default, aten.group_norm.default, aten.rms_norm.default), _norm),
    **dict.fromkeys(
        (aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
         aten.unflatten.int, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default),
        _reshape,
    ),
    **dict.fromkeys((aten.transpose.int, aten.permute.default, aten.t.default), _moved),
    aten.embedding.default: _embedding,
    **dict.fromkeys((aten.matmul.default, aten.bmm.default, aten.mm.default), _matmul),
    aten.scaled_dot_product_attention.default: _attention,
}  # fmt: skip
