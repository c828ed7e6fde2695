"""What a convolution node is, and what after it can be fused: an eval-mode BatchNorm and the addition of a residual."""

from __future__ import annotations

import torch
from torch import fx

from spcomp.conv_shape import ConvShape
from spcomp.errors import PlanError
from spcomp.passes.base import attribute

aten = torch.ops.aten
_DIMS = {aten.conv1d.default: 1, aten.conv2d.default: 2}
_ADDS = (aten.add.Tensor, aten.add_.Tensor)
Fused = tuple[fx.Node | None, fx.Node | None, fx.Node]


def is_conv(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target in _DIMS


def conv_shape(node: fx.Node) -> ConvShape | None:
    """The geometry of a convolution that kernels can serve: batched planes of static size, one group. Else None."""
    dims = _DIMS[node.target]  # type: ignore[index]
    x, weight = (a.meta.get("val") if isinstance(a, fx.Node) else None for a in node.args[:2])
    given = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:], strict=False)) | dict(node.kwargs)
    if not isinstance(x, torch.Tensor) or not isinstance(weight, torch.Tensor) or x.dim() != dims + 2:
        return None
    sizes = [*x.shape[1:], *weight.shape]
    if given.get("groups", 1) != 1 or any(type(v) is not int for v in sizes):
        return None
    stride, dilation = (_pair(given.get(name, 1), dims, 1) for name in ("stride", "dilation"))
    padding = _pair(given.get("padding", 0), dims, 0)
    planes = (1, int(x.shape[2])) if dims == 1 else (int(x.shape[2]), int(x.shape[3]))
    kernel = _pair(tuple(weight.shape[2:]), dims, 1)
    try:
        return ConvShape(dims, int(x.shape[1]), *planes, kernel, stride, padding, dilation)
    except PlanError:
        return None


def _pair(value: object, dims: int, down: int) -> tuple[int, int]:
    """(down, across); in one dimension ``down`` is what says that nothing happens downwards."""
    numbers = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]  # type: ignore[call-overload]
    if dims == 1:
        return down, numbers[0]
    return numbers[0], numbers[-1]


def fused(gm: fx.GraphModule, node: fx.Node, written: set[int], taken: set[fx.Node]) -> Fused:
    """(BatchNorm, addition of a residual, last of them) after a convolution; each may be missing."""
    norm = _only_user(node, taken)
    if norm is None or not _is_norm(gm, norm, written):
        norm = None
    end = norm or node
    add = _only_user(end, taken)
    residual = _residual(gm, node, end, add, norm) if add is not None else None
    if residual is None:
        return norm, None, end
    assert add is not None
    return norm, add, add


def _only_user(node: fx.Node, taken: set[fx.Node]) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 and users[0] not in taken else None


def _is_norm(gm: fx.GraphModule, node: fx.Node, written: set[int]) -> bool:
    """A BatchNorm in eval mode with constant statistics."""
    if node.target is not aten.batch_norm.default or len(node.args) < 8 or node.args[5] is not False:
        return False
    nodes = node.args[1:5]
    if not all(n is None or (isinstance(n, fx.Node) and n.op == "get_attr") for n in nodes) or None in nodes[2:]:
        return False
    values = [attribute(gm, n) for n in nodes if isinstance(n, fx.Node)]
    return all(v.untyped_storage().data_ptr() not in written for v in values)


def _residual(gm: fx.GraphModule, first: fx.Node, end: fx.Node, add: fx.Node, norm: fx.Node | None) -> fx.Node | None:
    """The other operand of an addition of equal shapes, if nothing is written in place meanwhile; else None."""
    if add.target not in _ADDS or add.kwargs.get("alpha", 1) != 1 or len(add.args) != 2:
        return None
    a, b = add.args
    other = b if a is end else a
    if not isinstance(other, fx.Node) or other is end or (add.target is aten.add_.Tensor and a is not end):
        return None
    mine, theirs = end.meta.get("val"), other.meta.get("val")
    if not isinstance(theirs, torch.Tensor) or not isinstance(mine, torch.Tensor):
        return None
    if theirs.dtype != mine.dtype or len(theirs.shape) != len(mine.shape):
        return None
    if any(not _same_size(s, t) for s, t in zip(theirs.shape, mine.shape, strict=True)):
        return None
    node = first.next
    while node is not add:
        schema = getattr(node.target, "_schema", None)
        if node is not norm and schema is not None and schema.is_mutable:
            return None
        node = node.next
    return other


def _same_size(a: object, b: object) -> bool:
    return a == b if type(a) is int and type(b) is int else str(a) == str(b)
