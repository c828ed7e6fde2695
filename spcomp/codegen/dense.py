"""The best dense program for one linear layer. :func:`best_dense` is it for one row count, measured on its own.

The tuner times :func:`dense_members` next to the sparse candidates and takes the fastest; the guard uses that choice.

Members: ``mkl`` (``F.linear`` on the plain weight), ``onednn`` (weight reordered once, epilogue fused) and ``gemv``
(our own streaming kernel, M <= 4). Inductor's own GEMM template is no member: on 768 x 768 and 3072 x 768 at M = 1 to
256 it took 1.1 to 3 times as long as the fastest of the others (docs/decisions.md), and every shape would cost a C++
compilation.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.gemv import gemv_text
from spcomp.codegen.reference.backend import activate
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

MEMBERS = ("onednn", "mkl", "gemv")
GEMV_ROWS = 4
_ONEDNN_ATTRIBUTES = {
    "none": ("none", ""),
    "relu": ("relu", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "silu": ("swish", ""),
}


@dataclass(eq=False)
class MklLinear:
    """``F.linear`` on the weight as it is: no extra bytes."""

    call: KernelCall
    weight: torch.Tensor
    bias: torch.Tensor | None
    source: str = "torch.nn.functional.linear"

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = F.linear(x, self.weight, self.bias)
        kind = self.call.epilogue.activation
        return y.relu_() if kind == "relu" else activate(y, kind)


class OneDnnLinear:
    """oneDNN with the weight reordered once for about ``rows`` rows, bias and activation fused."""

    source = "torch.ops.mkldnn._linear_pointwise"

    def __init__(self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None, rows: int) -> None:
        self.call = call
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)
        self.bias = bias
        self.attribute, self.algorithm = _ONEDNN_ATTRIBUTES[call.epilogue.activation]
        self._run = torch.ops.mkldnn._linear_pointwise.default

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x, self.weight, self.bias, self.attribute, [], self.algorithm)  # type: ignore[no-any-return]


class GemvLinear:
    """Our own dense product for up to four rows: W streamed once."""

    def __init__(self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.call = call
        self.weight = weight.contiguous()
        self.bias = bias
        texts = [gemv_text(call.n, call.k, t) for t in range(1, GEMV_ROWS + 1)]
        self.bodies = jit.compile_all([("gemv", t, 3, 2) for t in texts])

    @property
    def source(self) -> str:
        return "\n".join(b.text for b in self.bodies)

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty(*x.shape[:-1], call.n)
        m = x.numel() // call.k
        if m == 0:
            return y
        x = x.contiguous()
        body = self.bodies[m - 1]
        arguments = (x.data_ptr(), self.weight.data_ptr(), y.data_ptr())
        threads = parallel.threads_for(m * call.n * call.k)
        if threads == 1:
            body.call(*arguments, 0, call.n)
        else:
            parallel.run([[(body, (*arguments, lo, hi))] for lo, hi in parallel.even(call.n, threads)])
        if self.bias is not None:
            y += self.bias
        kind = call.epilogue.activation
        return y.relu_() if kind == "relu" else activate(y, kind)


def onednn_works() -> bool:
    """Whether this torch build has oneDNN's prepacked linear."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def dense_members(
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    rows: Sequence[int],
    members: Sequence[str] = MEMBERS,
) -> dict[str, Kernel]:
    """The dense kernels among ``members`` that can serve this call. ``rows``: the row counts it will meet."""
    found: dict[str, Kernel] = {}
    if "mkl" in members:
        found["mkl"] = MklLinear(call, weight, bias)
    if call.n == 0 or call.k == 0:
        return found
    if "onednn" in members and serves("onednn", max(rows), call.dtype):
        found["onednn"] = OneDnnLinear(call, weight, bias, max(1, *rows))
    if "gemv" in members and serves("gemv", min(rows), call.dtype):
        found["gemv"] = GemvLinear(call, weight, bias)
    return found


def serves(member: str, m: int, dtype: str) -> bool:
    """Whether a member can take ``m`` rows of this dtype on this host at all."""
    match member:
        case "gemv":
            return 1 <= m <= GEMV_ROWS and dtype == "float32" and jit.available() is None
        case "onednn":
            return onednn_works() and dtype in ("float32", "bfloat16")
        case _:
            return True


@dataclass(frozen=True, eq=False)
class BestDense:
    """The fastest member at one row count, with what every member took."""

    member: str
    kernel: Kernel
    seconds: dict[str, float]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.kernel(x)


def best_dense(
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    m: int,
    measure: Callable[[dict[str, Callable[[], object]]], dict[str, float]] | None = None,
) -> BestDense:
    """The fastest dense program for ``m`` rows of x, measured here and now.

    weight [n, k], bias [n] or None, in the call's dtype; ``measure`` times named callables in seconds (the default:
    interleaved, median of nine).
    """
    members = {name: k for name, k in dense_members(call, weight, bias, [m]).items() if serves(name, m, call.dtype)}
    x = torch.randn(m, call.k).to(weight.dtype)

    def at(kernel: Kernel) -> Callable[[], object]:
        return lambda: kernel(x)

    seconds = (measure or _interleaved)({name: at(kernel) for name, kernel in members.items()})
    name = min(seconds, key=seconds.__getitem__)
    return BestDense(name, members[name], seconds)


def _interleaved(work: dict[str, Callable[[], object]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(11):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if round_ > 1:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}
