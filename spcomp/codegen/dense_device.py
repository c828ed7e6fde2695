"""The best dense program for one layer on a GPU: :func:`best_dense`, with the members of cuBLAS and cuDNN.

Members: ``cublas`` (``F.linear``, the activation after it), ``cublaslt`` (ReLU, or GELU by tanh, in cuBLASLt's own
epilogue) and, for convolutions, ``cudnn``. What Inductor's max-autotune finds for a layer is no member: it is raced for
the whole model, where it can fuse what is around a layer too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spcomp.codegen.dense_conv import TorchConv
from spcomp.codegen.dense_members import DenseMembers, PlainLinear
from spcomp.errors import KernelError
from spcomp.experts import grouped_dense
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

LT_EPILOGUES = {"relu": False, "gelu_tanh": True}
"""Activations that ``torch._addmm_activation`` has, and its ``use_gelu``."""


class CublasLtLinear(PlainLinear):
    """``F.linear`` with the activation in the product's epilogue."""

    source = "torch._addmm_activation"

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, self.call.k)
        gelu = LT_EPILOGUES[self.call.epilogue.activation]
        assert self.bias is not None
        y = torch._addmm_activation(self.bias, rows, self.weight.t(), use_gelu=gelu)
        return y.reshape(*x.shape[:-1], self.call.n)


class GroupedDense:
    """All experts' products, as the graph would compute them: weight [experts * n, k], one matrix below the other."""

    source = "torch.ops.aten._grouped_mm"
    extra_nbytes = 0

    def __init__(self, call: KernelCall, weight: torch.Tensor) -> None:
        self.call, self.weight = call, weight

    def __call__(self, x: torch.Tensor, *ends: torch.Tensor) -> torch.Tensor:
        stack = self.weight.view(self.call.experts, self.call.outputs, self.call.k).transpose(1, 2)
        return grouped_dense(x, ends[0], stack)


class DeviceDense(DenseMembers):
    """The fastest dense program of one layer on a GPU, row count by row count."""

    comment = "#"

    def names(self, m: int) -> tuple[str, ...]:
        """The members; they take any number of rows."""
        if self.call.conv is not None:
            return ("cudnn",)
        if self.call.experts:
            return ("grouped",)
        fused = self.call.epilogue.activation in LT_EPILOGUES and self.bias is not None
        return ("cublas", "cublaslt") if fused and self.call.n and self.call.k else ("cublas",)

    def _build(self, name: str) -> Kernel:
        if name not in self.names(1):
            raise KernelError(f"build the dense kernel of {self.call.layer}", f"no member {name[:40]!r} on a GPU",
                              "tuning again")  # fmt: skip
        match name:
            case "cublaslt":
                return CublasLtLinear(self.call, self.weight, self.bias)
            case "grouped":
                return GroupedDense(self.call, self.weight)
            case "cudnn":
                return TorchConv(self.call, self.weight, self.bias, self.scale)
            case _:
                return PlainLinear(self.call, self.weight, self.bias)

    def _fallback(self, able: Sequence[str]) -> str:
        return able[0]


def best_dense(
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    rows: Sequence[int],
    scale: torch.Tensor | None = None,
) -> DeviceDense:
    """The best dense program on a GPU: weight [n, k], bias and scale [n] or None, on that GPU already."""
    return DeviceDense(call, weight, bias, rows, scale)
