"""The best dense program for one layer on a GPU: :func:`best_dense`, with the members of cuBLAS and cuDNN.

Members: ``cublas`` (``F.linear``, the activation after it), ``cublaslt`` (ReLU, or GELU by tanh, in cuBLASLt's own
epilogue) and, for convolutions, ``cudnn``. What Inductor's max-autotune finds for a layer is no member: it is raced for
the whole model, where it can fuse what is around a layer too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from spcomp.codegen.dense_conv import TorchConv
from spcomp.codegen.reference.backend import activate
from spcomp.errors import KernelError
from spcomp.experts import grouped_dense
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

LT_EPILOGUES = {"relu": False, "gelu_tanh": True}
"""Activations that ``torch._addmm_activation`` has, and its ``use_gelu``."""


class CublasLinear:
    """``F.linear`` on the weight as it is, on whatever device that is on."""

    source = "torch.nn.functional.linear"

    def __init__(self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.call, self.weight, self.bias = call, weight, bias

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x, self.weight, self.bias)
        kind = self.call.epilogue.activation
        return y.relu_() if kind == "relu" else activate(y, kind)


class CublasLtLinear(CublasLinear):
    """The same with the activation in the product's epilogue."""

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


class DeviceDense:
    """The fastest dense program of one layer, row count by row count, as :class:`spcomp.codegen.dense.BestDense` is."""

    def __init__(
        self,
        call: KernelCall,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        rows: Sequence[int],
        scale: torch.Tensor | None = None,
    ) -> None:
        self.call, self.weight, self.bias, self.scale, self.rows = call, weight, bias, scale, tuple(rows)
        self._built: dict[str, Kernel] = {}
        self._winners: dict[int, str] = {}

    def names(self, m: int) -> tuple[str, ...]:
        """The members; they take any number of rows."""
        if self.call.conv is not None:
            return ("cudnn",)
        if self.call.experts:
            return ("grouped",)
        fused = self.call.epilogue.activation in LT_EPILOGUES and self.bias is not None
        return ("cublas", "cublaslt") if fused and self.call.n and self.call.k else ("cublas",)

    def member(self, name: str) -> Kernel:
        """One member. Raises :class:`KernelError` for one that there is none of."""
        if name not in self.names(1):
            raise KernelError(f"build the dense kernel of {self.call.layer}", f"no member {name[:40]!r} on a GPU",
                              "tuning again")  # fmt: skip
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def _build(self, name: str) -> Kernel:
        match name:
            case "cublaslt":
                return CublasLtLinear(self.call, self.weight, self.bias)
            case "grouped":
                return GroupedDense(self.call, self.weight)
            case "cudnn":
                return TorchConv(self.call, self.weight, self.bias, self.scale)
            case _:
                return CublasLinear(self.call, self.weight, self.bias)

    def settle(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        """Serve each row count by the fastest member there."""
        self._winners = {m: min(seconds, key=seconds.__getitem__) for m, seconds in measured.items()}

    def winner(self, m: int) -> str:
        """The member that serves ``m`` rows: the fastest at the nearest measured row count."""
        near = min(self._winners, key=lambda p: abs(p - m), default=None)
        return self.names(m)[0] if near is None else self._winners[near]

    @property
    def source(self) -> str:
        return "\n".join(f"# rows {m}: {name}" for m, name in self._winners.items())

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        k, conv = self.call.k, self.call.conv
        m = len(x) * conv.pixels if conv is not None else x.numel() // k if k else 0
        return self.member(self.winner(m))(x, *residual)


def best_dense(
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    rows: Sequence[int],
    scale: torch.Tensor | None = None,
) -> DeviceDense:
    """The best dense program on a GPU: weight [n, k], bias and scale [n] or None, on that GPU already."""
    return DeviceDense(call, weight, bias, rows, scale)
