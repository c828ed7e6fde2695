"""Which functions the graph of a saved model may call. Everything else is refused, by name, before anything runs.

Allowed are: overloads of public ``aten`` operators that the dispatcher knows, except those that touch files, streams,
raw storages or unchecked memory; the few private ones that ``torch.export`` emits; our own op; and arithmetic on sizes.
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable
from typing import Any

import torch

from spcomp import ops
from spcomp.errors import ArtifactError
from spcomp.experts import EXPERTS, EXPERTS_DENSE, GROUPED, GROUPED_DENSE
from spcomp.ops_attention import TILES_ATTENTION

OWN = {
    str(op): op
    for op in (
        ops.LINEAR, ops.CONV, ops.CONV_LAST, ops.CONV_LAID, ops.MAX_POOL, ops.TILES_LINEAR, ops.TILES_NORM,
        TILES_ATTENTION, ops.EMBEDDING, EXPERTS, EXPERTS_DENSE, GROUPED, GROUPED_DENSE,
    )
}  # fmt: skip
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        f"operator.{name}": getattr(operator, name)
        for name in (
            "getitem", "add", "sub", "mul", "floordiv", "mod", "truediv", "neg", "pow", "lt", "le", "gt", "ge", "eq",
            "ne", "and_", "or_", "not_",
        )
    },
    **{
        f"torch.{name}": getattr(torch, name)
        for name in ("sym_int", "sym_float", "sym_max", "sym_min", "sym_not", "sym_ite", "sym_sum", "sym_sqrt")
        if hasattr(torch, name)
    },
    **{f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")},
}  # fmt: skip
"""Python functions on sizes that ``torch.export`` emits."""
LARGEST_POWER = 8
_NAMES = {function: name for name, function in FUNCTIONS.items()}
_OPERATOR = re.compile(r"aten\.([a-z_][a-z0-9_]{0,80})\.([A-Za-z_][A-Za-z0-9_]{0,60})", re.ASCII | re.IGNORECASE)
_DUNDER = frozenset(f"__{i}{name}__" for i in ("", "i") for name in ("and", "or", "xor", "lshift", "rshift"))
_PRIVATE = frozenset(
    (
        "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "_addmm_activation", "_assert_async", "_assert_scalar",
        "_assert_tensor_metadata", "_cdist_forward", "_conj", "_conj_physical", "_convolution", "_fft_c2c", "_fft_c2r",
        "_fft_r2c", "_functional_assert_async", "_functional_assert_scalar", "_functional_sym_constrain_range",
        "_functional_sym_constrain_range_for_size", "_fused_rms_norm", "_int_mm", "_linalg_det", "_linalg_eigh",
        "_linalg_slogdet", "_linalg_solve_ex", "_linalg_svd", "_local_scalar_dense", "_log_softmax",
        "_native_batch_norm_legit", "_native_batch_norm_legit_functional", "_native_batch_norm_legit_no_training",
        "_neg_view", "_pdist_forward", "_safe_softmax", "_scaled_dot_product_attention_math",
        "_scaled_dot_product_flash_attention_for_cpu", "_shape_as_tensor", "_softmax", "_stack", "_to_copy",
        "_trilinear", "_unsafe_view", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "_weight_norm", "_weight_norm_interface",
    )
)  # fmt: skip
_REFUSED = frozenset(("from_file", "set", "set_", "set_data", "record_stream", "resize_", "resize_as_", "as_strided_"))
_REFUSED_PREFIXES = (
    "cudnn_", "miopen_", "mkldnn_", "mps_", "nested_", "sparse_", "quantize", "fbgemm_", "unsafe_",
    "embedding_renorm_", "rename", "refine_names", "align_",
)  # fmt: skip
_SPLITS = frozenset(("unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes"))


@functools.cache
def _known() -> frozenset[str]:
    return frozenset(torch._C._dispatch_get_all_op_names())


def refusal(target: str) -> str | None:
    """Why a saved graph may not call ``target`` (``aten.add.Tensor``), or None if it may."""
    if target in OWN or target in FUNCTIONS:
        return None
    match = _OPERATOR.fullmatch(target)
    if match is None:
        return "no aten operator, size arithmetic or kernel of this version"
    name, overload = match.groups()
    if name in _REFUSED or (name.startswith(_REFUSED_PREFIXES) and name not in _SPLITS):
        return "reaches past tensors (files, streams, storages or unchecked memory)"
    if name.startswith("_") and name not in _PRIVATE and name not in _DUNDER:
        return "a private operator outside the list of those that torch.export emits"
    qualified = f"aten::{name}" if overload == "default" else f"aten::{name}.{overload}"
    return None if qualified in _known() else "no operator of this version of torch"


def resolve(target: str, node: str) -> Callable[..., Any]:
    """The function that ``target`` names. Raises :class:`ArtifactError` naming it if it is not allowed."""
    if reason := refusal(target):
        raise ArtifactError(
            "read the graph of a saved model", f"{node} calls {target[:120]!r}: {reason}",
            "a file written by save() of this version; do not trust this one",
        )  # fmt: skip
    if target in OWN:
        return OWN[target]
    if target in FUNCTIONS:
        return FUNCTIONS[target]
    _, name, overload = target.split(".")
    found = getattr(getattr(torch.ops.aten, name), overload)
    assert isinstance(found, torch._ops.OpOverload)
    return found


def name_of(function: object) -> str | None:
    """How a graph's target is written down, or None if there is no way."""
    if isinstance(function, torch._ops.OpOverload):
        return str(function)
    try:
        return _NAMES.get(function)  # type: ignore[call-overload,no-any-return]
    except TypeError:
        return None
