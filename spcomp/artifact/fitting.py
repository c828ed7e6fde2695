"""Whether a node of a saved graph gives a kernel the inputs that it was made for: kernels read memory by address."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.symbolic_shapes import statically_known_true

from spcomp import ops
from spcomp.conv_layout import PLANES, Padded, makes, reads, shape_of
from spcomp.experts import EXPERTS, EXPERTS_DENSE, GROUPED, GROUPED_DENSE
from spcomp.ops_attention import TILES_ATTENTION, Heads
from spcomp.passes.base import input_size
from spcomp.plan import KernelCall


def fits(node: fx.Node, calls: Sequence[KernelCall]) -> bool:
    """For a node that calls one of our ops, its operands' fake values in ``meta``; ``calls``: one of each slot."""
    if node.kwargs:
        return False
    match node.target, node.args:
        case ops.LINEAR, (fx.Node() as x, int() as slot, int() as n) if 0 <= slot < len(calls):
            return _linear(_value(x), n, calls[slot])
        case (ops.CONV | ops.CONV_LAST), (
            fx.Node() as x, residual, int() as slot, list() | tuple() as size
        ) if 0 <= slot < len(calls):  # fmt: skip
            flat = node.target is ops.CONV or len(size) == 3
            return flat and _present(residual) and _conv(_value(x), _value(residual), tuple(size), calls[slot])
        case ops.CONV_LAID, (
            fx.Node() as x, residual, int() as slot, list() | tuple() as size, str() as given, str() as made,
            list() | tuple() as planes,
        ) if 0 <= slot < len(calls):  # fmt: skip
            layouts = (given, made, tuple(planes))
            return _present(residual) and _laid(_value(x), _value(residual), tuple(size), layouts, calls[slot])
        case ops.EMBEDDING, (
            fx.Node() as ids, int() as slot, int() as k, torch.dtype() as dtype
        ) if 0 <= slot < len(calls):  # fmt: skip
            return _embedding(_value(ids), k, dtype, calls[slot])
        case _, (fx.Node() as x, fx.Node() as ends, list() | tuple() as slots, int() as n) if node.target is EXPERTS:
            return _experts(_value(x), _value(ends), slots, n, calls)
        case _, (fx.Node() as x, fx.Node() as ends, list() | tuple() as weights) if node.target is EXPERTS_DENSE:
            return _experts_dense(_value(x), _value(ends), [_value(w) for w in weights])
        case _, (fx.Node() as x, fx.Node() as ends, int() as slot, int() as n) if node.target is GROUPED:
            return 0 <= slot < len(calls) and _grouped(_value(x), _value(ends), n, calls[slot])
        case _, (fx.Node() as x, fx.Node() as ends, fx.Node() as stack) if node.target is GROUPED_DENSE:
            return _grouped_dense(_value(x), _value(ends), _value(stack))
        case ops.MAX_POOL, (fx.Node() as x, kernel, stride, padding):
            return _pool(_value(x), (kernel, stride, padding))
        case ops.TILES_LINEAR, (fx.Node() as x, int() as slot, int() as n, int() as m) if 0 <= slot < len(calls):
            return _tiles(_value(x), n, m, calls[slot])
        case ops.TILES_NORM, (fx.Node() as x, residual, weight, bias, float()):
            return all(map(_present, (residual, weight, bias))) and _norm(
                _value(x), _value(residual), (_value(weight), _value(bias))
            )
        case _, (
            fx.Node() as q, fx.Node() as k, fx.Node() as v, mask, list() | tuple() as firsts, int() as count,
            int() as width, int() as length, float() as scale, bool() as causal,
        ) if node.target is TILES_ATTENTION:  # fmt: skip
            if not 0 < scale < math.inf or len(firsts) != 3 or not _present(mask):
                return False
            heads = Heads.of(firsts, count, width, length, scale, causal)
            return _attention([_value(n) for n in (q, k, v)], _value(mask), heads)
        case _:
            return False


def _value(argument: object) -> Any:
    return argument.meta.get("val") if isinstance(argument, fx.Node) else None


def _present(argument: object) -> bool:
    """Whether an optional operand is nothing, or a node with a tensor."""
    return argument is None or isinstance(_value(argument), torch.Tensor)


def _linear(value: Any, n: int, call: KernelCall) -> bool:
    if call.conv is not None or call.experts or not isinstance(value, torch.Tensor):
        return False
    if not value.dim() or type(value.shape[-1]) is not int:
        return False
    return (n, value.shape[-1], str(value.dtype)) == (call.n, call.k, f"torch.{call.dtype}")


def _embedding(ids: Any, k: int, dtype: torch.dtype, call: KernelCall) -> bool:
    """Any numbers will do, for a gather looks at each; what it gives must be said to be a row of this very weight."""
    if call.conv is not None or not isinstance(ids, torch.Tensor) or ids.dtype not in (torch.int32, torch.int64):
        return False
    return (k, str(dtype)) == (call.k, f"torch.{call.dtype}")


def _experts(value: Any, ends: Any, slots: Sequence[Any], n: int, calls: Sequence[KernelCall]) -> bool:
    """Any ends will do, for the op cuts them to the rows that are there; every slot must take these rows."""
    if not slots or not all(type(s) is int and 0 <= s < len(calls) for s in slots) or not _ends(ends, len(slots)):
        return False
    return isinstance(value, torch.Tensor) and value.dim() == 2 and all(_linear(value, n, calls[s]) for s in slots)


def _experts_dense(value: Any, ends: Any, weights: Sequence[Any]) -> bool:
    if not weights or not all(isinstance(t, torch.Tensor) and t.dim() == 2 for t in (value, *weights)):
        return False
    first = weights[0]
    alike = all((w.shape, w.dtype) == (first.shape, value.dtype) for w in weights)
    return alike and statically_known_true(first.shape[1] == value.shape[1]) and _ends(ends, len(weights))


def _grouped(value: Any, ends: Any, n: int, call: KernelCall) -> bool:
    """One kernel for all experts: any ends will do, for it cuts them to the rows that are there."""
    if not call.experts or not isinstance(value, torch.Tensor) or value.dim() != 2 or not _ends(ends, call.experts):
        return False
    return (n, value.shape[1], str(value.dtype)) == (call.outputs, call.k, f"torch.{call.dtype}")


def _grouped_dense(value: Any, ends: Any, stack: Any) -> bool:
    if not all(isinstance(t, torch.Tensor) for t in (value, stack)) or (value.dim(), stack.dim()) != (2, 3):
        return False
    alike = value.dtype is stack.dtype and statically_known_true(stack.shape[1] == value.shape[1])
    return alike and _ends(ends, int(stack.shape[0]))


def _ends(ends: Any, experts: int) -> bool:
    return isinstance(ends, torch.Tensor) and ends.dtype in (torch.int32, torch.int64) and ends.shape == (experts,)


def _conv(value: Any, residual: Any, size: tuple[Any, ...], call: KernelCall) -> bool:
    if call.conv is None or not isinstance(value, torch.Tensor) or not value.dim():
        return False
    if tuple(value.shape[1:]) != input_size(call.conv) or str(value.dtype) != f"torch.{call.dtype}":
        return False
    if size != call.conv.size(call.n):
        return False
    if not call.epilogue.residual:
        return residual is None
    if not isinstance(residual, torch.Tensor) or residual.dtype is not value.dtype:
        return False
    return tuple(residual.shape[1:]) == size and statically_known_true(residual.shape[0] == value.shape[0])


def _laid(
    value: Any, residual: Any, size: tuple[Any, ...], layouts: tuple[str, str, tuple[Any, ...]], call: KernelCall
) -> bool:
    given, made, planes = layouts
    conv = call.conv
    if conv is None or call.dtype != "float32" or size != conv.size(call.n):
        return False
    if given not in reads(conv, call.quantize) or made not in makes(call.quantize):
        return False
    if (made == PLANES) != (len(planes) == 4):
        return False
    if made == PLANES:
        if any(type(v) is not int or not 0 <= v < 1 << 20 for v in planes):
            return False
        to, (height, width) = Padded(*planes), conv.output
        if to.top + height > to.rows or to.left + width > to.width:
            return False
    wanted = shape_of(given, input_size(conv), Padded.read_by(conv).numbers())
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32 or tuple(value.shape[1:]) != wanted:
        return False
    if not call.epilogue.residual:
        return residual is None
    if not isinstance(residual, torch.Tensor) or residual.dtype is not torch.float32:
        return False
    if tuple(residual.shape[1:]) != shape_of(made, size, planes):
        return False
    return statically_known_true(residual.shape[0] == value.shape[0])


def _pool(value: Any, numbers: tuple[Any, ...]) -> bool:
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or value.dtype is not torch.float32:
        return False
    if any(not isinstance(p, list | tuple) or len(p) != 2 or any(type(v) is not int for v in p) for p in numbers):
        return False
    if any(type(size) is not int for size in value.shape[2:]):
        return False
    pairs = zip(value.shape[2:], *numbers, strict=True)
    return all(k > 0 and s > 0 and 0 <= 2 * p <= k <= size + 2 * p for size, k, s, p in pairs)


def _tiles(value: Any, n: int, m: int, call: KernelCall) -> bool:
    if call.conv is not None or call.dtype != "float32" or n != call.n or m < 1 or not _is_tiles(value):
        return False
    return tuple(value.shape) == (-(-m // ops.LANES), call.k, ops.LANES)


def _norm(value: Any, residual: Any, vectors: tuple[Any, Any]) -> bool:
    if not _is_tiles(value) or (residual is not None and not _is_tiles(residual)):
        return False
    if residual is not None and residual.shape != value.shape:
        return False
    given = [v for v in vectors if v is not None]
    return all(v.dtype is torch.float32 and tuple(v.shape) == (value.shape[1],) for v in given)


def _attention(values: list[Any], mask: Any, heads: Heads) -> bool:
    """Heads inside the features of tiles that are whole sequences, and a mask for them."""
    if not all(map(_is_tiles, values)) or min(heads.count, heads.width, heads.length) < 1 or heads.width % 8:
        return False
    tiles, sequence = values[0].shape[0], -(-heads.length // ops.LANES)
    whole = heads.length % ops.LANES == 0
    if tiles % sequence or not (whole or (tiles == sequence and not heads.causal)):
        return False
    if mask is not None:
        most = (tiles // sequence, heads.count)
        known = mask.dtype is torch.float32 and mask.dim() == 5 and mask.is_contiguous() and not heads.causal
        if not known or tuple(mask.shape[2:]) != (sequence, heads.length, ops.LANES):
            return False
        if any(size not in (1, full) for size, full in zip(mask.shape[:2], most, strict=True)):
            return False
    return all(
        type(first) is int and 0 <= first <= value.shape[1] - heads.features and value.shape[0] == tiles
        for first, value in zip(heads.firsts, values, strict=True)
    )


def _is_tiles(value: Any) -> bool:
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32 or value.dim() != 3:
        return False
    return all(type(size) is int for size in value.shape) and value.shape[2] == ops.LANES
