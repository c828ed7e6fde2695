"""Forward rules of ops that take parts of a value, put parts together, or work on planes."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from spcomp.passes.dataflow import is_static, shape_of
from spcomp.passes.known import Known, common_sizes, known
from spcomp.passes.known_rules import Knowledge, Result, Rule

aten = torch.ops.aten


def _cat(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    shapes, found = [shape_of(t) for t in given["tensors"]], [facts.get(t) for t in given["tensors"]]
    if any(s is None for s in shapes) or all(k is None for k in found) or len({len(s or ()) for s in shapes}) > 1:
        return None
    rank = len(shapes[0] or ())
    dim = given["dim"] % rank
    if not all(is_static((s or ())[dim]) for s in shapes):
        return None
    dtype = node.meta["val"].dtype
    nothing = Known(torch.zeros((1,) * rank, dtype=torch.bool), torch.zeros((1,) * rank, dtype=dtype))
    parts = [(k or nothing).along(dim, s[dim]) for k, s in zip(found, shapes, strict=True)]  # type: ignore[index]
    rest = common_sizes(*(tuple(1 if d == dim else n for d, n in enumerate(p.sizes)) for p in parts))
    wide = [p.map(lambda t, p=p: t.expand([p.sizes[d] if d == dim else n for d, n in enumerate(rest)])) for p in parts]  # type: ignore[misc]
    return known(torch.cat([p.mask for p in wide], dim), torch.cat([p.value.to(dtype) for p in wide], dim))


def _slice(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    own, shape = facts.get(given["self"]), shape_of(given["self"])
    if own is None or shape is None:
        return None
    dim = given["dim"] % len(shape)
    if own.sizes[dim] == 1:
        return own
    rest = {k: v for k, v in given.items() if k != "self"}
    if any(isinstance(v, fx.Node) for v in rest.values()):
        return None
    return _known(own.full().map(lambda t: node.target(t, **rest)))  # type: ignore[operator]


def _select(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    own, shape = facts.get(given["self"]), shape_of(given["self"])
    if own is None or shape is None or isinstance(given["index"], fx.Node):
        return None
    dim = given["dim"] % len(shape)
    index = 0 if own.sizes[dim] == 1 else given["index"]
    return _known(own.full().map(lambda t: t.select(dim, index)))


def _index_select(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    own, index, shape = facts.get(given["self"]), facts.constants(given["index"]), shape_of(given["self"])
    if own is None or index is None or shape is None:
        return None
    dim = given["dim"] % len(shape)
    return own if own.sizes[dim] == 1 else _known(own.full().map(lambda t: t.index_select(dim, index)))


def _split(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Result:
    values = node.meta.get("val")
    own, shape = facts.get(given["self"]), shape_of(given["self"])
    if own is None or shape is None or not isinstance(values, list | tuple):
        return None
    dim = given["dim"] % len(shape)
    if own.sizes[dim] == 1:
        return [own] * len(values)
    if not is_static(shape[dim]):
        return None
    lengths = [int(v.shape[dim]) for v in values]
    full = own.full()
    masks, parts = torch.split(full.mask, lengths, dim), torch.split(full.value, lengths, dim)
    return [known(m, v) for m, v in zip(masks, parts, strict=True)]


def _unbind(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Result:
    values = node.meta.get("val")
    own, shape = facts.get(given["self"]), shape_of(given["self"])
    if own is None or shape is None or not isinstance(values, list | tuple):
        return None
    dim = given["dim"] % len(shape)
    full = own.along(dim, len(values))
    return [known(full.mask.select(dim, i), full.value.select(dim, i)) for i in range(len(values))]


def _expand(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    own, shape = facts.get(given["self"]), shape_of(node)
    if own is None or shape is None:
        return None
    more = len(shape) - own.mask.dim()
    return own.map(lambda t: t.reshape((1,) * more + tuple(t.shape)))


def _reduce(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Means and extremes of constants, over dimensions that are all known or uniform."""
    own, shape = facts.get(given["self"]), shape_of(given["self"])
    if own is None or shape is None:
        return None
    dims = given["dim"] if isinstance(given["dim"], list | tuple) else [given["dim"]]
    dims = sorted(d % len(shape) for d in dims if d is not None) or list(range(len(shape)))
    full = own.full()
    mask = full.mask
    for d in dims:
        mask = mask.all(d, keepdim=True)
    value = node.target(full.value, **{k: v for k, v in given.items() if k not in ("self", "keepdim")}, keepdim=True)  # type: ignore[operator]
    if not given["keepdim"]:
        for d in reversed(dims):
            mask, value = mask.squeeze(d), value.squeeze(d)
    return known(mask, value)


def _planes(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """A plane of one constant stays one, unless padding comes in or weights sum to 1 but for rounding."""
    own, shape = facts.get(given.get("self", given.get("input"))), shape_of(node)
    if own is None or shape is None:
        return None
    spatial = SPATIAL[node.target]
    if any(s != 1 for s in own.sizes[len(shape) - spatial :]):
        return None
    if node.target in AVERAGES:
        padding = given["padding"] if isinstance(given["padding"], list | tuple) else [given["padding"]]
        counted = any(padding) and given["count_include_pad"]
        if counted or given.get("divisor_override") is not None:
            return known(own.zeros(), own.value)
    return known(own.zeros(), own.value) if node.target in SMOOTH else own


def _padded(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    """Channels of the constant that is padded with, if they themselves are not padded."""
    own, shape = facts.get(given["self"]), shape_of(node)
    if own is None or shape is None:
        return None
    padded = len(given["pad"]) // 2
    if any(s != 1 for s in own.sizes[len(shape) - padded :]):
        return None
    return known(own.mask & (own.value == given["value"]), own.value)


def _known(own: Known) -> Known | None:
    return known(own.mask, own.value)


AVERAGES = frozenset((aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default))
SMOOTH = frozenset((aten.upsample_bilinear2d.vec, aten.upsample_linear1d.vec, aten.upsample_bicubic2d.vec))
SPATIAL: dict[Any, int] = {
    **{getattr(aten, f"{kind}_pool{d}d").default: d for kind in ("max", "avg", "adaptive_avg") for d in (1, 2, 3)},
    aten.upsample_nearest1d.vec: 1,
    aten.upsample_nearest1d.default: 1,
    aten.upsample_linear1d.vec: 1,
    aten.upsample_nearest2d.vec: 2,
    aten.upsample_nearest2d.default: 2,
    aten.upsample_bilinear2d.vec: 2,
    aten.upsample_bicubic2d.vec: 2,
}
"""Ops on planes, and how many dimensions a plane has."""

RULES: dict[Any, Rule] = {
    aten.cat.default: _cat,
    aten.slice.Tensor: _slice,
    aten.narrow.default: _slice,
    aten.select.int: _select,
    aten.index_select.default: _index_select,
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default, aten.split.sizes, aten.chunk.default), _split),
    aten.unbind.int: _unbind,
    aten.expand.default: _expand,
    **dict.fromkeys((aten.mean.dim, aten.amax.default, aten.amin.default), _reduce),
    **dict.fromkeys(SPATIAL, _planes),
    aten.constant_pad_nd.default: _padded,
    aten.pad.default: lambda node, given, facts: _constant_pad(node, given, facts),
}


def _constant_pad(node: fx.Node, given: dict[str, Any], facts: Knowledge) -> Known | None:
    if given["mode"] != "constant":
        return None
    return _padded(node, {**given, "value": given["value"] or 0.0}, facts)
