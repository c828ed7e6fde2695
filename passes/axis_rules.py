"""Backward rules: how an op relates the axes of its inputs and its result. No rule: none of them may be cut.

That an element of an input goes is always said by its readers; a producer follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx

from spcomp.passes.axes import Axis, Bits, Cuts, Only, Part, Product, Read, Same
from spcomp.passes.dataflow import Constants, arguments, is_part, is_static, same_size, shape_of
from spcomp.passes.known import dimension_groups
from spcomp.passes.known_rules import Knowledge, conv_groups, zero_padding
from spcomp.passes.known_rules_parts import SPATIAL
from spcomp.passes.pointwise import is_pointwise

aten = torch.ops.aten
Rule = Callable[[fx.Node, dict[str, Any], "Relating"], None]


@dataclass(eq=False)
class Relating:
    """The relations of one graph while they are collected."""

    cuts: Cuts
    facts: Knowledge
    constants: Constants
    rules: Mapping[Any, Rule]

    def axis(self, node: object, dim: int) -> Axis | None:
        """A dimension that could be cut; None for symbolic ones, those of size 0 and 1, and those of constants."""
        if not isinstance(node, fx.Node) or self.constants(node) is not None:
            return None
        shape = shape_of(node)
        if shape is None:
            return None
        axis = (node, dim % len(shape))
        return axis if axis in self.cuts.cut else None

    def keep(self, node: object, *dims: int) -> None:
        """Nothing of these dimensions (of all, if none is given) is cut."""
        shape = shape_of(node) if isinstance(node, fx.Node) else None
        for dim in dims or range(len(shape or ())):
            if (axis := self.axis(node, dim)) is not None:
                self.cuts.keep(axis)

    def keep_some(self, node: object, dims: Sequence[int]) -> None:
        """Nothing of these dimensions, maybe none, is cut."""
        if dims:
            self.keep(node, *dims)

    def same(self, a: object, dim_a: int, b: object, dim_b: int) -> None:
        """Two dimensions are cut alike; neither is cut where only one of them could be."""
        one, other = self.axis(a, dim_a), self.axis(b, dim_b)
        if one is not None and other is not None and len(self.cuts.cut[one]) == len(self.cuts.cut[other]):
            self.cuts.relate(Same(one, other))
            return
        for axis in (one, other):
            if axis is not None:
                self.cuts.keep(axis)

    def all_same(self, a: fx.Node, b: fx.Node, *but: int) -> None:
        """All dimensions of two values of equal rank are cut alike, some apart, which are kept in both."""
        rank = len(shape_of(a) or ())
        apart = {d % rank for d in but}
        for d in range(rank):
            if d in apart:
                self.keep(a, d)
                self.keep(b, d)
            else:
                self.same(a, d, b, d)

    def stop(self, node: fx.Node) -> None:
        """All inputs and the result, or the parts of it, stay as they are."""
        for other in (*node.all_input_nodes, node, *(user for user in node.users if is_part(user))):
            self.keep(other)

    def relate(self, node: fx.Node) -> None:
        if node.op in ("placeholder", "output") or node in self.constants.opaque:
            self.stop(node)
        elif node.op == "get_attr":
            self.keep(node)
        elif is_part(node):
            return  # with what it is a part of
        elif not hasattr(node.target, "_schema") or node.op != "call_function":
            self.stop(node)
        elif is_pointwise(node.target, given := arguments(node)):
            _pointwise(node, given, self)
        elif (rule := self.rules.get(node.target)) is not None:
            rule(node, given, self)
        else:
            self.stop(node)


def aligned(node: fx.Node, operand: fx.Node) -> list[tuple[int, int]]:
    """(dimension of the result, of the operand) that an operand is not broadcast along."""
    shape, own = shape_of(node) or (), shape_of(operand) or ()
    more = len(shape) - len(own)
    return [(d + more, d) for d in range(len(own)) if same_size(own[d], shape[d + more])]


def _pointwise(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    for operand in node.all_input_nodes:
        if shape_of(operand) is not None and r.constants(operand) is None:
            for mine, theirs in aligned(node, operand):
                r.same(node, mine, operand, theirs)


def _linear(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x, weight = given["input"], r.constants(given["weight"])
    bias = given["bias"] is None or r.constants(given["bias"]) is not None
    if weight is None or weight.dim() != 2 or not bias or x is given["weight"]:
        r.stop(node)
        return
    rank = len(shape_of(x) or ())
    for d in range(rank - 1):
        r.same(x, d, node, d)
    if (axis := r.axis(x, rank - 1)) is not None:
        foldable = folded(r.facts, x, rank - 1, weight.shape[1], padded=False)
        r.cuts.relate(Read(axis, r.axis(node, rank - 1), _reader(r, weight), foldable))


def _reader(r: Relating, weight: torch.Tensor) -> Callable[[Bits], Bits]:
    """Which inputs the given rows of a weight (or all, if one bit is given) multiply."""
    live = r.facts.live

    def read(rows: Bits) -> Bits:
        wanted = torch.from_numpy(rows).expand(weight.shape[0])
        found: Bits = live.columns_of_rows(weight, wanted).numpy()
        return found

    return read


def folded(facts: Knowledge, x: fx.Node, dim: int, size: int, *, padded: bool) -> Bits:
    """Inputs [size] whose constants can go into the bias."""
    own = facts.get(x)
    if own is None:
        return np.zeros(size, dtype=np.bool_)
    mask, value = own.channels(dim, size)
    found: Bits = (mask & (value == 0) if padded else mask).numpy()
    return found


def _conv(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x, weight = given["input"], r.constants(given["weight"])
    groups = conv_groups(node, given)
    bias = given["bias"] is None or r.constants(given["bias"]) is not None
    if weight is None or groups is None or not bias:
        r.stop(node)
        return
    rank = weight.dim()
    r.same(x, 0, node, 0)
    for d in range(2, rank):
        r.keep(x, d)
        r.keep(node, d)
    inputs, results = r.axis(x, 1), r.axis(node, 1)
    if groups == 1 and inputs is not None:
        foldable = folded(r.facts, x, 1, weight.shape[1], padded=not zero_padding(given))
        r.cuts.relate(Read(inputs, results, _reader(r, weight), foldable))
    elif groups > 1 and (inputs is None or results is None):
        r.keep(x, 1)
        r.keep(node, 1)
    elif groups > 1:
        _in_groups(node, groups, r, (inputs, results))


def _in_groups(node: fx.Node, groups: int, r: Relating, axes: tuple[Axis | None, ...]) -> None:
    """Channels go in whole groups."""
    virtual: Axis = (node, "groups")
    r.cuts.add(virtual, groups)
    for axis in axes:
        if axis is not None:
            r.cuts.relate(Product(axis, (virtual, None), (groups, len(r.cuts.cut[axis]) // groups)))


def _batch_norm(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    constants = [given[n] for n in ("weight", "bias", "running_mean", "running_var")]
    if given["training"] or any(c is not None and r.constants(c) is None for c in constants):
        r.stop(node)
        return
    r.all_same(given["input"], node)


def _layer_norm(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    if any(given.get(n) is not None and r.constants(given[n]) is None for n in ("weight", "bias")):
        r.stop(node)
        return
    r.all_same(given["input"], node, *(-1 - i for i in range(len(given["normalized_shape"]))))


def _group_norm(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    if any(given[n] is not None and r.constants(given[n]) is None for n in ("weight", "bias")):
        r.stop(node)
        return
    rank = len(shape_of(node) or ())
    r.all_same(given["input"], node, *range(2, rank))
    _in_groups(node, given["num_groups"], r, (r.axis(node, 1),))


def _reshape(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x = given["self"]
    before, after = shape_of(x), shape_of(node)
    groups = None if before is None or after is None else dimension_groups(before, after)
    if groups is None or before is None or after is None:
        r.stop(node)
        return
    for old, new in groups:
        if len(old) == len(new) == 1:
            r.same(x, old[0], node, new[0])
            continue
        splits = len(old) == 1 and _product(r, x, old[0], node, new, after)
        merges = not splits and len(new) == 1 and _product(r, node, new[0], x, old, before)
        if not splits and not merges:
            r.keep_some(x, old)
            r.keep_some(node, new)


def _product(r: Relating, flat: fx.Node, dim: int, parts: fx.Node, dims: list[int], sizes: tuple[Any, ...]) -> bool:
    axis = r.axis(flat, dim)
    if axis is None or not dims or not all(is_static(sizes[d]) for d in dims):
        return False
    r.cuts.relate(Product(axis, tuple(r.axis(parts, d) for d in dims), tuple(int(sizes[d]) for d in dims)))
    return True


def _transpose(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    rank = len(shape_of(node) or ())
    order = list(range(rank))
    a, b = (0, 1) if node.target is aten.t.default else (given["dim0"], given["dim1"])
    if rank > 1:
        order[a], order[b] = order[b], order[a]
    for mine, theirs in enumerate(order):
        r.same(node, mine, given["self"], theirs)


def _permute(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    for mine, theirs in enumerate(given["dims"]):
        r.same(node, mine, given["self"], theirs)


def _expand(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    pairs = dict(aligned(node, given["self"]))
    for d in range(len(shape_of(node) or ())):
        if d in pairs:
            r.same(node, d, given["self"], pairs[d])
        else:
            r.keep(node, d)


def _embedding(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    shape = shape_of(node) or ()
    last = len(shape) - 1
    keep = range(len(shape)) if r.constants(given["weight"]) is None else range(last)
    for d in keep:
        r.keep(node, d)
    r.keep(given["indices"])
    if r.constants(given["weight"]) is None:
        r.keep(given["weight"])


def _planes(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    r.all_same(given["self" if "self" in given else "input"], node, *(-1 - i for i in range(SPATIAL[node.target])))


def _mixes_one(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    r.all_same(given["self"], node, given["dim"])


def _padded(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    r.all_same(given["self"], node, *(-1 - i for i in range(len(given["pad"]) // 2)))


def _reduce(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    x = given["self"]
    rank = len(shape_of(x) or ())
    dims = given["dim"] if isinstance(given["dim"], list | tuple) else [given["dim"]]
    gone = {d % rank for d in dims if d is not None} or set(range(rank))
    at = 0
    for d in range(rank):
        if d in gone:
            r.keep(x, d)
            at += bool(given["keepdim"])
        else:
            r.same(x, d, node, at)
            at += 1


def _metadata(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    if given.get("size") is not None or given.get("stride") is not None:
        r.stop(node)


def _sym_size(node: fx.Node, given: dict[str, Any], r: Relating) -> None:
    r.keep(given["self"], given["dim"])


RULES: dict[Any, Rule] = {
    aten.linear.default: _linear,
    **dict.fromkeys((aten.conv1d.default, aten.conv2d.default, aten.conv3d.default), _conv),
    **dict.fromkeys((aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding), _conv),
    aten.batch_norm.default: _batch_norm,
    **dict.fromkeys((aten.layer_norm.default, aten.rms_norm.default), _layer_norm),
    aten.group_norm.default: _group_norm,
    **dict.fromkeys(
        (aten.view.default, aten.reshape.default, aten._unsafe_view.default, aten.flatten.using_ints,
         aten.unflatten.int, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default),
        _reshape,
    ),
    **dict.fromkeys((aten.transpose.int, aten.t.default), _transpose),
    aten.permute.default: _permute,
    aten.expand.default: _expand,
    aten.embedding.default: _embedding,
    **dict.fromkeys(SPATIAL, _planes),
    **dict.fromkeys((aten.softmax.int, aten._softmax.default, aten.log_softmax.int, aten.cumsum.default), _mixes_one),
    **dict.fromkeys((aten.constant_pad_nd.default, aten.pad.default), _padded),
    **dict.fromkeys((aten.mean.dim, aten.amax.default, aten.amin.default, aten.sum.dim_IntList), _reduce),
    aten._assert_tensor_metadata.default: _metadata,
    aten.sym_size.int: _sym_size,
}  # fmt: skip


def part(big: Axis | None, small: Axis | None, index: np.ndarray[Any, np.dtype[np.int64]], r: Relating) -> None:
    """``small`` holds the elements ``index`` of ``big``; where one of them cannot be cut, neither are those."""
    if big is not None and small is not None:
        r.cuts.relate(Part(big, small, index))
    elif small is not None:
        r.cuts.keep(small)
    elif big is not None:
        allowed = np.ones(len(r.cuts.cut[big]), dtype=np.bool_)
        allowed[index] = False
        r.cuts.relate(Only(big, allowed))
