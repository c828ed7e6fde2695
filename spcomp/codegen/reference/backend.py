"""`Reference`: plain torch, any encoding, float64 inside. It defines what a compiled layer means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.encodings.table import ENCODINGS
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule

ROWS_AT_ONCE = 64
"""Rows of W multiplied at a time; bounds the memory of the product of all pairs."""


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    """``activation(x @ weight.T + bias)``: x [..., K], weight [N, K] -> [..., N] in float64.

    A weight whose bits are +0 is skipped, not multiplied: 0 x Inf is 0 here.
    """
    rows = x.reshape(-1, x.shape[-1]).double()
    skip = (weight == 0) & ~torch.signbit(weight)
    parts = []
    for start in range(0, weight.shape[0], ROWS_AT_ONCE):
        w, none = weight[start : start + ROWS_AT_ONCE].double(), skip[start : start + ROWS_AT_ONCE]
        products = torch.where(none, 0.0, rows[:, None, :] * w)
        parts.append(products.sum(-1))
    y = torch.cat(parts, dim=1) if parts else rows.new_zeros(rows.shape[0], 0)
    if bias is not None:
        y = y + bias.double()
    return activate(y, activation).reshape(*x.shape[:-1], weight.shape[0])


def activate(y: torch.Tensor, activation: str) -> torch.Tensor:
    """The epilogue's activation, as torch defines it."""
    match activation:
        case "none":
            return y
        case "relu":
            return F.relu(y)
        case "gelu":
            return F.gelu(y)
        case "gelu_tanh":
            return F.gelu(y, approximate="tanh")
        case "silu":
            return F.silu(y)
        case _:
            raise ValueError(f"no such activation: {activation}")


@dataclass(eq=False)
class ReferenceKernel:
    """Unpacks and multiplies at every call."""

    call: KernelCall
    packed: PackedTensor
    bias: torch.Tensor | None
    source: str = "spcomp.codegen.reference.backend.linear"

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = linear(x, self.packed.unpack(), self.bias, self.call.epilogue.activation)
        return y.to(TORCH_DTYPES[self.call.dtype])


@dataclass(frozen=True)
class Reference:
    """Every encoding in every floating dtype and in int8, on any machine."""

    name: str = "reference"

    def unavailable(self) -> str | None:
        return None

    def capabilities(self) -> frozenset[KernelKey]:
        dtypes = ("float32", "bfloat16", "float16", "int8")
        return frozenset(KernelKey("linear", e, d, "reference") for e in ENCODINGS for d in dtypes)

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        return [()]

    def extra_nbytes(self, call: KernelCall) -> int:
        return 0

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        if call.quantize:
            from spcomp.codegen.reference.int8 import Int8ReferenceKernel

            if scale is None:
                raise KernelError(f"build the int8 kernel of {call.layer}", "no scales of its rows", "a scale a row")
            return Int8ReferenceKernel(call, packed, bias, scale)
        return ReferenceKernel(call, packed, bias)
