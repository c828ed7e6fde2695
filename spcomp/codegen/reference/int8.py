"""What ``quantize="int8"`` means, in plain torch, and how far it may be from the layer that was not quantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.conv import finish
from spcomp.conv_shape import ConvShape
from spcomp.encodings.int8 import MOST, quantize_weight
from spcomp.encodings.matrix import weight_of
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.encodings.spec import Refusal
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall
from spcomp.tolerance import TOLERANCES

SMALLEST = 2.0**-100
"""Largest magnitude that a token has at least, as its scale sees it."""
STEEPEST = {"none": 1.0, "relu": 1.0, "gelu": 1.13, "gelu_tanh": 1.13, "silu": 1.1}
"""Largest slope of each activation, rounded up: 1.129 for GELU at x = 1.41, 1.0998 for SiLU at x = 2.40."""
SLACK = 1.001
"""For float32 scales and inverses: a quotient within 2**-21 of a tie may round to either side."""


def quantize_tokens(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [..., K] of any floating dtype -> whole numbers -127 to 127 as float32 [..., K], scales float32 [...].

    In float32: ``round_to_even(x * (127 / largest))`` with the largest magnitude of the token, and the scale
    ``largest / 127``. The scale of a token with Inf or NaN is NaN.
    """
    wide = x.to(torch.float32)
    largest = wide.abs().amax(dim=-1) if x.shape[-1] else wide.new_zeros(x.shape[:-1])
    finite = torch.isfinite(largest)
    largest = largest.clamp(min=SMALLEST)
    inverse = torch.full_like(largest, MOST) / largest  # a number / tensor would be that times a rounded reciprocal
    numbers = torch.round(wide * inverse[..., None]).nan_to_num(0.0)
    return numbers, torch.where(finite, largest / MOST, torch.nan)


def linear_int8(
    x: torch.Tensor, values: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, activation: str
) -> torch.Tensor:
    """``activation(sums * scale * token_scale + bias)`` in float64: x [..., K], values int8 [N, K], scale [N].

    The sums of int8 products are exact. A token with Inf or NaN has NaN in all its results.
    """
    numbers, token_scale = quantize_tokens(x)
    y = numbers.double() @ values.double().T * scale.double() * token_scale.double()[..., None]
    return activate(y if bias is None else y + bias.double(), activation)


def error_bound(x: torch.Tensor, weight: torch.Tensor, activation: str) -> torch.Tensor:
    """How far :func:`linear_int8` can be from the layer in exact numbers: x [..., K], weight [N, K] -> [..., N].

    Rounding moves a nonzero weight by at most half its row's scale s, and an input by at most half its token's scale t;
    zeros of the weight stay zeros. The products of row n with token m therefore move, all together, by at most

        s/2 * sum over nonzeros of |x|  +  t/2 * sum of |w|  +  nonzeros * s * t / 4

    and the result by that times the activation's steepest slope. float64; attained only if all errors conspire.
    """
    wide, w = x.double(), weight.double()
    s = w.abs().amax(dim=1) / MOST if w.shape[1] else w.new_zeros(w.shape[0])
    t = quantize_tokens(x)[1].double()[..., None]
    live = (w != 0).double()
    moved = s / 2 * (wide.abs() @ live.T) + t / 2 * w.abs().sum(dim=1) + live.sum(dim=1) * s * t / 4
    return moved * SLACK * STEEPEST[activation]


def relative_bound(
    x: torch.Tensor,
    weight: torch.Tensor,
    activation: str,
    exact: torch.Tensor,
    dtype: str,
    shape: ConvShape | None = None,
    norm: torch.Tensor | None = None,
) -> float:
    """:func:`error_bound` (of a convolution :func:`conv_error_bound`) as ``max(bound) / max|exact|``, with the
    tolerance of storing results in ``dtype`` added."""
    if exact.numel() == 0:
        return TOLERANCES[dtype]
    if shape is None:
        bound = error_bound(x, weight, activation)
    else:
        bound = conv_error_bound(x, weight, shape, activation, norm)
    largest = exact.abs().nan_to_num(0.0, posinf=0.0).max()
    return float(bound.nan_to_num(0.0).max()) / max(float(largest), 1e-30) * (1 + TOLERANCES[dtype]) + TOLERANCES[dtype]


def quantize_images(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`quantize_tokens` with a scale an image: x [B, C, ...] -> numbers [B, C, ...], scales float32 [B]."""
    numbers, scale = quantize_tokens(x.flatten(1))
    return numbers.reshape(x.shape), scale


def conv_int8(
    x: torch.Tensor,
    values: torch.Tensor,
    scale: torch.Tensor,
    shape: ConvShape,
    bias: torch.Tensor | None,
    activation: str,
    norm: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """``activation(sums * scale * norm * image_scale + bias + residual)`` in float64.

    x [B, C, H, W] (or [B, C, W]), values int8 [n, k], scale, norm (of a BatchNorm) and bias [n], residual like the
    result. Padding is the number 0. An image with Inf or NaN has NaN in all its results.
    """
    numbers, image_scale = quantize_images(x)
    sums = _convolved(numbers, values, shape)
    across = (-1, *(1 for _ in sums.shape[2:]))
    y = sums * scale.double().reshape(across) * image_scale.double().reshape(-1, *(1 for _ in sums.shape[1:]))
    return finish(y, bias, activation, norm, residual)


def _convolved(x: torch.Tensor, matrix: torch.Tensor, shape: ConvShape) -> torch.Tensor:
    """x [B, C, ...] with the matrix [n, k] of a weight, both finite: [B, n, ...] in float64."""
    if not len(x):
        return x.new_zeros(0, *shape.size(len(matrix))).double()
    run = F.conv2d if shape.dims == 2 else F.conv1d
    stride, padding, dilation = (list(p[2 - shape.dims :]) for p in (shape.stride, shape.padding, shape.dilation))
    weight = weight_of(matrix.double(), shape.weight_shape)
    return run(x.double(), weight, None, stride=stride, padding=padding, dilation=dilation)


def conv_error_bound(
    x: torch.Tensor, weight: torch.Tensor, shape: ConvShape, activation: str, norm: torch.Tensor | None
) -> torch.Tensor:
    """:func:`error_bound` of :func:`conv_int8`: weight [n, k] -> like the result, in float64.

    The token is the image: its scale moves every input of a patch by half of itself at most, padding not at all.
    """
    s = (weight.double().abs().amax(dim=1) / MOST).reshape(-1, *(1 for _ in x.shape[2:]))
    t = quantize_images(x)[1].double().reshape(-1, *(1 for _ in x.shape[1:]))
    inside = torch.ones_like(x, dtype=torch.float64)
    live, w = (weight != 0).double(), weight.double().abs()
    finite = x.double().abs().nan_to_num(0.0, posinf=0.0)
    moved = s / 2 * _convolved(finite, live, shape)
    moved = moved + t / 2 * _convolved(inside, w, shape) + _convolved(inside, live, shape) * s * t / 4
    if norm is not None:
        moved = moved * norm.double().abs().reshape(-1, *(1 for _ in x.shape[2:]))
    return moved * SLACK * STEEPEST[activation]


@dataclass(eq=False)
class Int8ReferenceKernel:
    """Unpacks and multiplies at every call."""

    call: KernelCall
    packed: PackedTensor
    bias: torch.Tensor | None
    scale: torch.Tensor
    source: str = "spcomp.codegen.reference.int8.linear_int8"

    @property
    def extra_nbytes(self) -> int:
        return self.scale.nbytes + (0 if self.bias is None else self.bias.nbytes)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = linear_int8(x, self.packed.unpack(), self.scale, self.bias, self.call.epilogue.activation)
        return y.to(TORCH_DTYPES[self.call.dtype])


def disagreement(
    kernel: Kernel,
    x: Sequence[torch.Tensor],
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    norm: torch.Tensor | None = None,
) -> float:
    """max|y - reference| / max|reference| of an int8 kernel on finite inputs (x, and a residual): rounding of sums
    and scales alone. norm: BatchNorm's scale."""
    quantised = quantize_weight(weight)
    if isinstance(quantised, Refusal):
        return float("inf")
    known, activation = (quantised.values, quantised.scale), kernel.call.epilogue.activation
    if kernel.call.conv is None:
        exact = linear_int8(x[0], *known, bias, activation)
    else:
        exact = conv_int8(x[0], *known, kernel.call.conv, bias, activation, norm, *x[1:])
    y = kernel(*x).double()
    if exact.numel() == 0:
        return 0.0
    error = float((y - exact).abs().max()) / max(float(exact.abs().max()), 1e-30)
    return error if error == error else float("inf")
