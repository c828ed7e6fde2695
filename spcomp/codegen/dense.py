"""The best dense program for one linear layer: :func:`best_dense`, which tuner, guard, fallback and benchmarks share.

Members: ``mkl`` (``F.linear`` on the plain weight), ``onednn`` (weight reordered once, epilogue fused) and ``gemv``
(our own streaming kernel, M <= 4); where int8 was asked for, those of :mod:`~spcomp.codegen.dense_int8` too.
Inductor's own GEMM template is no member: on 768 x 768 and 3072 x 768 at M = 1 to 256 it took 1.1 to 3 times as long
as the fastest of the others (docs/decisions.md), and every shape would cost a C++ compilation.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from spcomp.codegen.dense_conv import conv_member, conv_members
from spcomp.codegen.dense_int8 import CONV_INT8_MEMBERS, INT8_MEMBERS, Int8Conv, Int8Linear, serves_int8
from spcomp.codegen.dense_members import DenseMembers, PlainLinear
from spcomp.codegen.mlir_cpu import jit, parallel, small
from spcomp.codegen.mlir_cpu.gemv import gemv_text
from spcomp.codegen.mlir_cpu.laid_down import FLOAT_BYTES, LinearKernel, Work
from spcomp.codegen.reference.backend import activate
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

MEMBERS = ("onednn", "mkl", "gemv")
GEMV_ROWS = 4
Measure = Callable[[Mapping[str, Callable[[], object]]], dict[str, float]]
_ONEDNN_ATTRIBUTES = {
    "none": ("none", ""),
    "relu": ("relu", ""),
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "silu": ("swish", ""),
}


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
        arguments = (x.data_ptr(), self.weight.data_ptr(), y.data_ptr())
        threads = parallel.threads_for(m * call.n * call.k, m)
        parallel.over(self.bodies[m - 1], arguments, call.n, threads)
        if self.bias is not None:
            y += self.bias
        kind = call.epilogue.activation
        return y.relu_() if kind == "relu" else activate(y, kind)

    def work_on_rows(self, m: int) -> Work | None:
        """See :class:`~spcomp.codegen.mlir_cpu.laid_down.LinearKernel`."""
        if m > GEMV_ROWS:
            return None
        n, kind, bias = self.call.n, self.call.epilogue.activation, self.bias
        body, threads = self.bodies[m - 1], parallel.threads_for(m * n * self.call.k, m)
        biased = None if bias is None else small.pair("add", n)
        activated = None if kind == "none" else small.single(kind, m * n)

        def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
            arguments = reads[0], self.weight.data_ptr(), y
            found: list[parallel.Stage] = [[[(body, (*arguments, *share))] for share in parallel.even(n, threads)]]
            if biased is not None and bias is not None:
                for row in range(m):
                    at = y + row * n * FLOAT_BYTES
                    found += biased.stages((at, bias.data_ptr()), at, room)
            return found if activated is None else found + activated.stages((y,), y, room)

        return Work(0, stages)

    def work_on_tiles(self, tiles: int) -> Work | None:
        return None


def onednn_works() -> bool:
    """Whether this torch build has oneDNN's prepacked linear."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def serves(member: str, m: int, dtype: str) -> bool:
    """Whether a member can take ``m`` rows of this dtype on this host at all."""
    match member:
        case "gemv":
            return 1 <= m <= GEMV_ROWS and dtype == "float32" and jit.available() is None
        case "onednn":
            return onednn_works() and dtype in ("float32", "bfloat16")
        case _:
            return True


class BestDense(DenseMembers):
    """The fastest dense program of one layer on the CPU, row count by row count; MKL until it is settled."""

    def names(self, m: int) -> tuple[str, ...]:
        """The members that can take ``m`` rows."""
        if self.call.conv is not None:
            found = conv_members(self.call.dtype)
            return found + (CONV_INT8_MEMBERS if self.call.quantize and serves_int8(self.weight) else ())
        if self.call.n == 0 or self.call.k == 0:
            return ("mkl",)
        found = tuple(name for name in MEMBERS if serves(name, m, self.call.dtype))
        return found + (INT8_MEMBERS if self.call.quantize and serves_int8(self.weight) else ())

    def _build(self, name: str) -> Kernel:
        call, weight, bias = replace(self.call, quantize=""), self.weight, self.bias
        if name in INT8_MEMBERS and any(name in self.names(m) for m in self.rows):
            if call.conv is not None:
                images = max(1, *self.rows) // call.conv.pixels
                return Int8Conv(self.call, weight, bias, self.scale, images)
            return Int8Linear(self.call, weight, bias, name, max(1, *self.rows))
        if call.conv is not None and name in self.names(0):
            return conv_member(name, call, weight, bias, self.scale, max(1, *self.rows) // call.conv.pixels)
        if any(name in self.names(m) for m in self.rows):
            match name:
                case "mkl":
                    return PlainLinear(call, weight, bias)
                case "onednn":
                    return OneDnnLinear(call, weight, bias, max(1, *self.rows))
                case "gemv":
                    return GemvLinear(call, weight, bias)
        raise KernelError(f"build the dense kernel of {call.layer}", f"no member {name[:40]!r} here", "tuning again")

    def work_on_rows(self, m: int) -> Work | None:
        """That of the member that serves so many rows, if it can be laid down."""
        serving = self.member(self.winner(m))
        return serving.work_on_rows(m) if isinstance(serving, LinearKernel) else None

    def work_on_tiles(self, tiles: int) -> Work | None:
        return None

    def measure(self, measure: Measure | None = None) -> dict[int, dict[str, float]]:
        """Time the members at every row count, settle, and give the seconds: {rows: {member: seconds}}.

        ``measure`` times named callables (the default: interleaved, median of nine).
        """
        found: dict[int, dict[str, float]] = {}
        for m in self.rows:
            x = self._example(m)
            work = {name: functools.partial(self.member(name), *x) for name in self.names(m)}
            found[m] = (measure or _interleaved)(work)
        self.settle(found)
        return found

    def _example(self, m: int) -> tuple[torch.Tensor, ...]:
        conv = self.call.conv
        if conv is None:
            return (torch.randn(m, self.call.k).to(self.weight.dtype),)
        planes = (conv.channels, *(conv.height, conv.width)[2 - conv.dims :])
        sizes = [planes, conv.size(self.call.n)][: 1 + self.call.epilogue.residual]
        return tuple(torch.randn(m // conv.pixels, *size).to(self.weight.dtype) for size in sizes)

    def _fallback(self, able: Sequence[str]) -> str:
        return "mkl" if "mkl" in able else able[0]


def best_dense(
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    rows: Sequence[int],
    scale: torch.Tensor | None = None,
) -> BestDense:
    """The best dense program for this call at the row counts it will meet.

    weight [n, k], bias and scale [n] or None, in the call's dtype. Whoever has an own way to time (the tuner,
    next to sparse candidates) times ``member(name)`` for ``names(m)`` and calls ``settle``; everybody else calls
    ``measure()``.
    """
    return BestDense(call, weight, bias, rows, scale)


def _interleaved(work: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(11):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if round_ > 1:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}
