"""Attention between layers, as a decomposed graph says it: heads split off rows, attention, heads put side by side.

%q : view(slice(%l, 2, 0, 768), [1, 128, 12, 64]); %t : transpose(%q, 1, 2)      so for %k and %v, of one value or three
%a : scaled_dot_product_attention(%t, %tk, %tv); %y : view(transpose(%a, 1, 2), [1, 128, 768])

Whichever views there are, what they name is read from the strides of their fake values. Masks may be causal, or
booleans or numbers that broadcast to [sequences, heads, queries, keys].
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from spcomp.ops import LANES
from spcomp.ops_attention import Heads, mask_shape

aten = torch.ops.aten
VIEWS = frozenset(
    {
        aten.view.default, aten.reshape.default, aten.transpose.int, aten.permute.default, aten.slice.Tensor,
        aten.select.int, aten.unbind.int, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default,
        aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.alias.default, operator.getitem,
    }
)  # fmt: skip
COPIES = frozenset({aten.clone.default, aten.contiguous.default})
WIDTHS = range(8, 257, 8)
"""Of heads."""
MOST_ROWS = 4096
"""Of a sequence: the scores of two tiles of queries take 512 KB, which L2 holds."""


@dataclass(frozen=True)
class Attended:
    """Attention whose result is one node, of what three others hold."""

    heads: Heads
    sources: tuple[fx.Node, fx.Node, fx.Node]
    """Of q, k and v: [..., features] with a row for each of the result's."""
    mask: fx.Node | None
    inside: frozenset[fx.Node]
    """The nodes between, which nobody else reads."""


def attended(gm: fx.GraphModule) -> dict[fx.Node, Attended]:
    """Attention of float32 rows of known number, by the node with its result."""
    found = {}
    for node in gm.graph.find_nodes(op="call_function", target=aten.scaled_dot_product_attention.default):
        if not all(type(size) is int for n in (node, *node.all_input_nodes) for size in n.meta["val"].shape):
            continue
        ends = _ends(node)
        made = None if ends is None else _attended(node, ends)
        if ends is not None and made is not None:
            found[ends[-1]] = made
    return found


def _attended(node: fx.Node, ends: list[fx.Node]) -> Attended | None:
    args: Any = node.args
    given: dict[str, Any] = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "enable_gqa": False}
    given |= dict(zip(given, args[3:], strict=False)) | dict(node.kwargs)
    mask, causal = given["attn_mask"], bool(given["is_causal"])
    shape, *others = (tuple(n.meta["val"].shape) for n in args[:3])
    if given["dropout_p"] or given["enable_gqa"] or (mask is not None and causal):
        return None
    if len(shape) != 4 or any(other != shape for other in others):
        return None
    batch, count, length, width = shape
    if (
        width not in WIDTHS
        or not 1 < length <= MOST_ROWS
        or batch * length < LANES
        or ((batch > 1 or causal) and length % LANES)
    ):
        return None
    scale: Any = given.get("scale")
    used = 1 / math.sqrt(width) if scale is None else float(scale)
    if not (math.isfinite(used) and used > 0):
        return None
    parts = [_source(n) for n in args[:3]]
    for source, _, _ in parts:
        if not _is_rows(source, batch * length):
            return None
    firsts = [first for _, _, first in parts]
    for (source, _, first), n in zip(parts, args[:3], strict=True):
        features = source.meta["val"].shape[-1]
        wanted = (length * features, width, features, 1)
        strides = zip(n.meta["val"].stride(), wanted, shape, strict=True)
        if (
            not all(stride == right or size == 1 for stride, right, size in strides)
            or not 0 <= first <= features - count * width
        ):
            return None
    inside = {node, *ends[:-1], *(n for _, between, _ in parts for n in between)}
    if any(user not in inside and user is not ends[-1] for n in inside for user in n.users):
        return None
    heads = Heads((firsts[0], firsts[1], firsts[2]), count, width, length, used, causal)
    if mask is not None and (mask in inside or not _is_mask(mask, heads, batch)):
        return None
    return Attended(heads, (parts[0][0], parts[1][0], parts[2][0]), mask, frozenset(inside))


def _is_mask(mask: fx.Node, heads: Heads, sequences: int) -> bool:
    value = mask.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype not in (torch.bool, torch.float32):
        return False
    return mask_shape(heads, sequences, value.shape) is not None


def _ends(node: fx.Node) -> list[fx.Node] | None:
    """What follows attention [B, H, L, W] up to rows [..., H W]: a transposition, perhaps a copy, and a view."""
    shape = tuple(node.meta["val"].shape)
    ends = [node]
    for wanted in (_swapped, _copied, _joined):
        last = ends[-1]
        following = next(iter(last.users)) if len(last.users) == 1 else None
        if following is not None and wanted(following, shape):
            ends.append(following)
        elif wanted is not _copied:
            return None
    return ends[1:]


def _swapped(node: fx.Node, shape: tuple[int, ...]) -> bool:
    args: Any = node.args
    if node.target is aten.transpose.int:
        return sorted(d % 4 for d in args[1:]) == [1, 2]
    return node.target is aten.permute.default and [d % 4 for d in args[1]] == [0, 2, 1, 3]


def _copied(node: fx.Node, shape: tuple[int, ...]) -> bool:
    return node.target in COPIES


def _joined(node: fx.Node, shape: tuple[int, ...]) -> bool:
    if node.target not in (aten.view.default, aten.reshape.default) or len(shape) != 4:
        return False
    batch, count, length, width = shape
    return tuple(node.meta["val"].shape) in ((batch, length, count * width), (batch * length, count * width))


def _source(node: fx.Node) -> tuple[fx.Node, list[fx.Node], int]:
    """(what a view shows, the views between, the first element)."""
    between = []
    at = node
    for at in _upwards(node):
        if at.target not in VIEWS:
            break
        between.append(at)
    mine, theirs = node.meta["val"], at.meta.get("val")
    first = mine.storage_offset() - theirs.storage_offset() if isinstance(theirs, torch.Tensor) else -1
    return at, between, int(first)


def _upwards(node: fx.Node) -> Iterator[fx.Node]:
    yield node
    while node.op == "call_function" and node.args and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        yield node


def _is_rows(source: fx.Node, rows: int) -> bool:
    value = source.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32 or value.dim() < 2:
        return False
    return math.prod(value.shape[:-1]) == rows and value.is_contiguous() and source.op == "call_function"
