"""Backward rules of ops that take parts of a value, put parts together, or contract two values."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from spcomp.passes.axes import Only, Same
from spcomp.passes.axis_rules import Relating, Rule, part
from spcomp.passes.dataflow import is_part, is_static, same_size, shape_of
from spcomp.passes.known import Known

aten = torch.ops.aten


def _cat(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    rank = len(shape_of(node) or ())
    dim = given["dim"] % rank
    sizes = [(shape_of(t) or ()) for t in given["tensors"]]
    if any(len(s) != rank or not is_static(s[dim]) for s in sizes):
        r.stop(node)
        return
    big, start = r.axis(node, dim), 0
    for tensor, size in zip(given["tensors"], sizes, strict=True):
        index = np.arange(start, start + int(size[dim]))
        start += int(size[dim])
        if r.constants(tensor) is None:
            part(big, r.axis(tensor, dim), index, r)
        for d in range(rank):
            if d != dim and (r.constants(tensor) is None or not is_static(size[d])):
                r.same(node, d, tensor, d)


def _rest_same(node: fx.Node, x: fx.Node, dim: int, r: Relating) -> None:
    for d in range(len(shape_of(x) or ())):
        if d != dim:
            r.same(x, d, node, d)


def _slice(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x, shape = given["self"], shape_of(given["self"]) or ()
    dim = given["dim"] % len(shape)
    bounds = slice_bounds(given, shape[dim])
    _rest_same(node, x, dim, r)
    if bounds is None:
        r.keep(x, dim)
        r.keep(node, dim)
        return
    part(r.axis(x, dim), r.axis(node, dim), np.arange(*bounds), r)


def slice_bounds(given: dict[str, Any], size: object) -> tuple[int, int] | None:
    """(start, end) of a slice of a static dimension in steps of one; None for anything else."""
    if "length" in given:
        given = {"start": given["start"], "end": _end(given["start"], given["length"]), "step": 1}
    start, end, step = given["start"] or 0, given["end"], given["step"]
    if not isinstance(size, int) or not is_static(start) or step != 1 or (end is not None and not is_static(end)):
        return None
    low, high, _ = slice(start, end, 1).indices(size)
    return low, max(low, high)


def _end(start: object, length: object) -> object:
    if not isinstance(start, int) or not isinstance(length, int):
        return object()
    return None if start < 0 and start + length == 0 else start + length


def _select(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x = given["self"]
    shape = shape_of(x) or ()
    dim = given["dim"] % len(shape)
    for d in range(len(shape)):
        if d != dim:
            r.same(x, d, node, d - (d > dim))
    axis = r.axis(x, dim)
    if axis is None:
        return
    if not isinstance(given["index"], int):
        r.cuts.keep(axis)
        return
    allowed = np.ones(len(r.cuts.cut[axis]), dtype=np.bool_)
    allowed[given["index"]] = False
    r.cuts.relate(Only(axis, allowed))


def _index_select(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x, index = given["self"], r.constants(given["index"])
    if index is None:
        r.stop(node)
        return
    dim = given["dim"] % len(shape_of(x) or ())
    _rest_same(node, x, dim, r)
    part(r.axis(x, dim), r.axis(node, dim), index.reshape(-1).numpy(), r)


def _split(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    """Pieces that nobody takes leave their elements free to go."""
    x, values = given["self"], node.meta.get("val")
    shape = shape_of(x) or ()
    dim = given["dim"] % len(shape)
    if not isinstance(values, list | tuple) or not is_static(shape[dim]):
        r.stop(node)
        return
    starts = np.cumsum([0] + [int(v.shape[dim]) for v in values])
    for user in node.users:
        if not is_part(user) or not isinstance(user.args[1], int):
            r.keep(x)
            r.keep(user)
            continue
        _rest_same(user, x, dim, r)
        i = user.args[1] % len(values)
        part(r.axis(x, dim), r.axis(user, dim), np.arange(starts[i], starts[i + 1]), r)


def _unbind(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x = given["self"]
    shape = shape_of(x) or ()
    dim = given["dim"] % len(shape)
    r.keep(x, dim)
    for user in node.users:
        for d in range(len(shape)):
            if d != dim and is_part(user):
                r.same(x, d, user, d - (d > dim))
            elif d != dim:
                r.keep(x, d)


def _zeros(own: Known | None, dim: int, size: int) -> torch.Tensor:
    """Slices [size] along a dimension that are known to be zero."""
    if own is None:
        return torch.zeros(size, dtype=torch.bool)
    zeros = own.zeros()
    for d in range(zeros.dim()):
        if d != dim % zeros.dim():
            zeros = zeros.all(d, keepdim=True)
    return zeros.reshape(-1).expand(size)


def _contracted(a: fx.Node, dim_a: int, b: fx.Node, dim_b: int, r: Relating) -> None:
    """A dimension that is multiplied and summed away: elements go where either side is zero."""
    one, other = r.axis(a, dim_a), r.axis(b, dim_b)
    if one is None or other is None:
        r.same(a, dim_a, b, dim_b)
        return
    size = len(r.cuts.cut[one])
    allowed = _zeros(r.facts.get(a), dim_a, size) | _zeros(r.facts.get(b), dim_b, size)
    r.cuts.relate(Same(one, other))
    r.cuts.relate(Only(one, allowed.numpy()))


def _matmul(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    a, b = given["self"], given["mat2" if "mat2" in given else "other"]
    shapes = [shape_of(node) or (), shape_of(a) or (), shape_of(b) or ()]
    if any(len(s) < 2 for s in shapes) or a is b:
        r.stop(node)
        return
    _contracted(a, -1, b, -2, r)
    r.same(node, -2, a, -2)
    r.same(node, -1, b, -1)
    _batch_same(node, (a, b), r)


def _batch_same(node: fx.Node, operands: tuple[fx.Node, ...], r: Relating) -> None:
    """All but the last two dimensions are cut alike, broadcast ones apart."""
    shape = shape_of(node) or ()
    for operand in operands:
        own = shape_of(operand) or ()
        more = len(shape) - len(own)
        for d in range(len(own) - 2):
            if same_size(own[d], shape[d + more]):
                r.same(node, d + more, operand, d)


def _attention(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    """q, k and v share their heads; q and k their features, where one of them is zero; v and the result theirs."""
    q, k, v, mask = (given[n] for n in ("query", "key", "value", "attn_mask"))
    if given["enable_gqa"] or given["dropout_p"] or len({q, k, v}) < 3:
        r.stop(node)
        return
    for tensor in (q, k, v, node):
        r.keep(tensor, -2)
    _contracted(q, -1, k, -1, r)
    r.same(v, -1, node, -1)
    _batch_same(node, (q, k, v), r)
    if mask is not None and r.constants(mask) is None:
        shape, own = shape_of(node) or (), shape_of(mask) or ()
        r.keep(mask, *range(max(0, len(own) - 2), len(own)))
        for d in range(len(own) - 2):
            if same_size(own[d], shape[d + len(shape) - len(own)]):
                r.same(node, d + len(shape) - len(own), mask, d)


RULES: dict[Any, Rule] = {
    aten.cat.default: _cat,
    **dict.fromkeys((aten.slice.Tensor, aten.narrow.default), _slice),
    aten.select.int: _select,
    aten.index_select.default: _index_select,
    **dict.fromkeys((aten.split.Tensor, aten.split_with_sizes.default, aten.split.sizes, aten.chunk.default), _split),
    aten.unbind.int: _unbind,
    **dict.fromkeys((aten.matmul.default, aten.bmm.default, aten.mm.default), _matmul),
    aten.scaled_dot_product_attention.default: _attention,
}
