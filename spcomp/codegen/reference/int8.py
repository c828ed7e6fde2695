"""What ``quantize="int8"`` means, in plain torch, and how far it may be from the layer that was not quantised."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spcomp.codegen.reference.backend import activate
from spcomp.encodings.int8 import MOST, quantize_weight
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
    numbers = torch.round(wide * (MOST / largest)[..., None]).nan_to_num(0.0)
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


def relative_bound(x: torch.Tensor, weight: torch.Tensor, activation: str, exact: torch.Tensor, dtype: str) -> float:
    """:func:`error_bound` as ``max(bound) / max|exact|``, with the tolerance of storing results in ``dtype`` added."""
    if exact.numel() == 0:
        return TOLERANCES[dtype]
    bound = error_bound(x, weight, activation)
    largest = exact.abs().nan_to_num(0.0, posinf=0.0).max()
    return float(bound.nan_to_num(0.0).max()) / max(float(largest), 1e-30) * (1 + TOLERANCES[dtype]) + TOLERANCES[dtype]


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


def disagreement(kernel: Kernel, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> float:
    """max|y - reference| / max|reference| of an int8 kernel on finite inputs: rounding of sums and scales alone."""
    quantised = quantize_weight(weight)
    if isinstance(quantised, Refusal):
        return float("inf")
    exact = linear_int8(x, quantised.values, quantised.scale, bias, kernel.call.epilogue.activation)
    y = kernel(x).double()
    if exact.numel() == 0:
        return 0.0
    error = float((y - exact).abs().max()) / max(float(exact.abs().max()), 1e-30)
    return error if error == error else float("inf")
