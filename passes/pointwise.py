"""The ops that compute every element of their result from the elements at its place in their (broadcast) inputs."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten
_UNARY = (
    "relu", "gelu", "silu", "tanh", "sigmoid", "leaky_relu", "elu", "celu", "selu", "hardtanh", "relu6",
    "hardswish", "hardsigmoid", "softplus", "softshrink", "hardshrink", "mish", "log_sigmoid", "threshold", "abs",
    "neg", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "square", "reciprocal", "erf", "cos", "sin",
    "tan", "atan", "sinh", "cosh", "floor", "ceil", "round", "trunc", "sign", "clamp", "clamp_min", "clamp_max",
    "logical_not", "bitwise_not", "isnan", "isinf", "contiguous", "clone", "to", "_to_copy", "detach", "alias",
    "nan_to_num", "lift_fresh_copy",
)  # fmt: skip
_BINARY = (
    "add", "sub", "mul", "div", "pow", "maximum", "minimum", "where", "masked_fill", "lerp", "addcmul", "addcdiv",
    "rsub", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "bitwise_and",
    "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__", "fmod", "remainder", "atan2",
)  # fmt: skip
PRODUCTS = frozenset((aten.mul.Tensor,))
"""Ops whose result is zero where either operand is."""


def _overloads(names: tuple[str, ...]) -> frozenset[Any]:
    found = set()
    for name in names:
        packet = getattr(aten, name, None)
        for overload in packet.overloads() if packet is not None else ():
            op = getattr(packet, overload)
            schema = op._schema
            tensors = [a.name for a in schema.arguments if str(a.type) in ("Tensor", "Optional[Tensor]")]
            fresh = not schema.is_mutable and len(schema.returns) == 1 and str(schema.returns[0].type) == "Tensor"
            if (
                fresh
                and "out" not in tensors
                and overload != "other"
                and torch.Tag.nondeterministic_seeded not in op.tags
            ):
                found.add(op)
    return frozenset(found)


POINTWISE = _overloads(_UNARY + _BINARY) | {aten.dropout.default, aten.feature_dropout.default}
"""Dropout counts where it is in eval mode: see :func:`is_pointwise`."""


def is_pointwise(target: object, given: dict[str, Any]) -> bool:
    """Whether an op with these arguments is one of them. One that moves to a GPU is not: what is known of its input is
    on the CPU."""
    moves = given.get("device")
    here = moves is None or (isinstance(moves, torch.device) and moves.type == "cpu")
    return target in POINTWISE and here and not given.get("train", False)
