"""Nodes that only move values: views, copies that make tiles or take them apart, and means, which read tiles as well.

%t : transpose(%xs, 1, 2); %r : reshape(%t, [-1, c, 48]); %s : slice(%r, 2, 0, 42)
%y : clone(reshape(%s, [-1, c, 6, 7]))     one copy of %xs, of which nobody sees the nodes between
%m : mean(%y, [2, 3])                      reads %xs itself
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import fx

from spcomp import ops

aten = torch.ops.aten
VIEWS = frozenset(
    {
        aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unsqueeze.default, aten.squeeze.dim,
        aten.squeeze.dims, aten.transpose.int, aten.permute.default, aten.t.default, aten.unbind.int,
        aten.select.int, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.slice.Tensor,
        aten.detach.default, aten.contiguous.default, aten.alias.default, operator.getitem,
    }
)  # fmt: skip
"""Of a value that stays contiguous, an address in the same memory."""
COPIES = frozenset({aten.clone.default, aten.contiguous.default, aten.reshape.default})
"""Of a value that is not contiguous, what makes it so."""
_reshape, _transpose = aten.reshape.default, aten.transpose.int
FROM_TILES = _reshape, aten.slice.Tensor, _reshape, _transpose
INTO_TILES = _transpose, _reshape, aten.constant_pad_nd.default, _reshape
"""What the pass that lays out convolutions writes, from the last node to the first."""


def shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def flat(node: object) -> bool:
    """Whether a node's value is a contiguous float32 tensor of known sizes on the CPU."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return (
        isinstance(value, torch.Tensor)
        and value.dtype is torch.float32
        and value.device.type == "cpu"
        and all(type(size) is int for size in value.shape)
        and value.is_contiguous()
    )


def turned(node: fx.Node) -> fx.Node | None:
    """The source [b, r, c] of a node that copies its transpose [b, c, r], r or c being tiles' sixteen; else None."""
    if node.target not in COPIES or not flat(node):
        return None
    view = node.all_input_nodes[0]
    if view.target is not aten.transpose.int or flat(view):
        return None
    args: Any = view.args
    source, *dims = args
    last = flat(source) and len(shape(source)) == 3 and sorted(d % 3 for d in dims) == [1, 2]
    return source if last and ops.LANES in shape(source)[1:] else None


def planes_of(node: fx.Node) -> fx.Node | None:
    """The tiles [1, tiles, c, 16] of a node that copies them to natural planes [1, c, ...]; else None."""
    if not flat(node) or len(shape(node)) < 3 or shape(node)[0] != 1:
        return None
    source = _before(node.args[0] if node.target is aten.clone.default else node, FROM_TILES)
    channels, pixels = shape(node)[1], math.prod(shape(node)[2:])
    return source if source is not None and shape(source) == _tiled(channels, pixels) else None


def tiles_of(node: fx.Node) -> fx.Node | None:
    """The natural planes [1, c, ...] of a node that copies them to tiles [1, tiles, c, 16]; else None."""
    if not flat(node) or node.target is not aten.clone.default:
        return None
    source = _before(node.args[0], INTO_TILES)
    if source is None or len(shape(source)) < 3 or shape(source)[0] != 1:
        return None
    return source if shape(node) == _tiled(shape(source)[1], math.prod(shape(source)[2:])) else None


def _tiled(channels: int, pixels: int) -> tuple[int, int, int, int]:
    return 1, -(-pixels // ops.LANES), channels, ops.LANES


def _before(node: object, targets: Sequence[object]) -> fx.Node | None:
    """What a row of nodes with these targets, the last one given, starts from, if it is flat and has two more
    dimensions swapped, sliced from the start and padded with zeros behind; else None."""
    for target in targets:
        if not isinstance(node, fx.Node) or node.target is not target or node.kwargs:
            return None
        given: Any = node.args[1:]
        if target is aten.transpose.int and sorted(given) != [1, 2]:
            return None
        if target is aten.slice.Tensor and (len(given) != 3 or given[:2] != (2, 0)):
            return None
        if target is aten.constant_pad_nd.default and (len(given) != 1 or len(given[0]) != 2 or given[0][0] != 0):
            return None
        node = node.args[0]
    return node if isinstance(node, fx.Node) and flat(node) else None


def meant(node: fx.Node) -> tuple[fx.Node, int] | None:
    """x of a node that is its mean over the last dimensions, and the product of those; else None."""
    args: Any = node.args
    if node.target is aten.adaptive_avg_pool2d.default:
        x, over = args[0], [-2, -1]
        if not flat(x) or any(n != 1 for n in args[1]):
            return None
    elif node.target is aten.mean.dim:
        x, over = args[0], args[1]
        if not flat(x) or node.kwargs.get("dtype") not in (None, torch.float32):
            return None
    else:
        return None
    sizes = shape(x)
    last = sorted(d % len(sizes) for d in (range(len(sizes)) if over is None else over))
    if not last or last != list(range(last[0], len(sizes))) or 0 in sizes:
        return None
    return x, math.prod(sizes[last[0] :])


def meant_tiles(node: fx.Node) -> fx.Node | None:
    """The tiles of which a node is the mean of each plane, through a copy; else None."""
    found = meant(node)
    if found is None:
        return None
    x, columns = found
    return planes_of(x) if columns == math.prod(shape(x)[2:]) else None


def unread(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    """Those of a graph's nodes, in its order, that only move values to nodes which read the source themselves."""
    past: dict[fx.Node, set[fx.Node]] = {}
    ends = set()
    for end in nodes:
        path = _passed(end)
        if path:
            ends.add(end)
        for user, node in pairwise([end, *path]):
            past.setdefault(node, set()).add(user)
    found: set[fx.Node] = set()
    for node in reversed(nodes):
        if node in past and all(user in past[node] and (user in ends or user in found) for user in node.users):
            found.add(node)
    return found


def _passed(node: fx.Node) -> list[fx.Node]:
    """The nodes between one that is a copy, or the mean of one, and its source, the nearest first; none of others."""
    if turned(node) is not None:
        return node.all_input_nodes[:1]
    if (tiles := meant_tiles(node)) is not None:
        return _until(node, tiles)
    source = planes_of(node)
    source = tiles_of(node) if source is None else source
    return [] if source is None else _until(node, source)


def _until(node: fx.Node, source: fx.Node) -> list[fx.Node]:
    path = [node.all_input_nodes[0]]
    while path[-1] is not source:
        path.append(path[-1].all_input_nodes[0])
    return path[:-1]
