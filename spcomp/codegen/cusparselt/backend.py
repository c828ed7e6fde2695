"""`CuSparseLt`: 2:4 linear layers by torch's own operators, called as they are, without its tensor subclass."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from spcomp.codegen.cusparselt.metadata import cutlass_form
from spcomp.codegen.cusparselt.rules import CUTLASS, RULES, Multiples, pad, up
from spcomp.codegen.reference.backend import activate
from spcomp.cost.cache import default_folder
from spcomp.cost.database import TuningDatabase
from spcomp.cost.records import SearchRecord
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor, pack
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule
from spcomp.targets.cuda import cuda_missing

log = logging.getLogger("spcomp")
TARGET = "cuda"
LIBRARIES = ("cusparselt", "cutlass")
"""Values 0 and 1 of the option ``library`` of a schedule."""
FUSED = ("none", "relu", "silu")
"""Activations that CUTLASS applies itself; cuSPARSELt's operator has none."""
Algorithm = tuple[int, int, int, int]
"""alg_id, split_k, split_k_mode, and whether the product writes its result transposed (1), as y is, or W @ x.T (0)."""
UNSEARCHED: Algorithm = (0, 1, -1, 1)
TIMED_CALLS = 10


def seconds_of(run: Callable[[], object]) -> float:
    """Seconds of one call on the current GPU, by events around several."""
    run()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    for _ in range(TIMED_CALLS):
        run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / TIMED_CALLS


@dataclass(frozen=True)
class Operators:
    """What is called; tests put others in their place."""

    compress: Callable[..., torch.Tensor] = torch._cslt_compress
    multiply: Callable[..., torch.Tensor] = torch._cslt_sparse_mm
    search: Callable[..., Any] | None = None
    """(compressed, x.T, bias, alpha, result dtype, transposed) -> alg_id, or (alg_id, split_k, mode, ...). None: what
    this torch has."""
    linear: Callable[..., torch.Tensor] = torch._sparse_semi_structured_linear

    timed: Callable[[Callable[[], object]], float] = seconds_of

    def best(self, *arguments: Any) -> tuple[int, int, int]:
        """The fastest algorithm for these operands, by trying; split-K too, where torch can search it."""
        extended = getattr(getattr(torch._C, "_cusparselt", None), "mm_search", None)
        found = (self.search or extended or torch._cslt_sparse_mm_search)(*arguments)
        return (int(found), 1, -1) if isinstance(found, int) else (int(found[0]), int(found[1]), int(found[2]))


_remembered: dict[tuple[object, ...], Algorithm] = {}
"""By device, sizes, dtypes and bias: what was found fastest. A fact of the machine, as cuBLAS's heuristics are; it is
in the tuning database too, for other processes."""


def _versions() -> str:
    """Of what numbers the algorithms."""
    library = torch.backends.cusparselt.version() if torch.backends.cusparselt.is_available() else None
    return f"torch={torch.__version__} cusparselt={library}"


class CuSparseLtLinear:
    """y = activation(x @ W.T + bias + residual) with W 2:4 along K.

    The compressed weight is the left operand (torch's operator takes it nowhere else) and ``x.T`` the right one. The
    product writes y, or y.T, which is then turned: which is faster is searched too. ``search()`` must run before a CUDA
    graph is captured; calls never search.
    """

    source = "torch._cslt_sparse_mm"

    def __init__(
        self,
        call: KernelCall,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        operators: Operators,
        result_dtype: torch.dtype | None = None,
        scale: torch.Tensor | None = None,
    ) -> None:
        self.call, self.operators = call, operators
        self.rules = RULES[weight.dtype]
        self.result_dtype = result_dtype or self.rules.results[0]
        if self.result_dtype not in self.rules.results:
            asked = f"multiply 2:4 weights of {weight.dtype} into {self.result_dtype}"
            raise KernelError(asked, "no such product", ", ".join(str(dtype) for dtype in self.rules.results))
        self.n, self.k = self.rules.padded(call.n, call.k)
        self.weight_dtype = weight.dtype
        self.compressed = operators.compress(pad(weight, self.n, self.k))
        self.device = weight.device
        own = bias is not None and bias.dtype == self.result_dtype == weight.dtype
        self.bias = _padded_row(bias, self.n, weight.device) if bias is not None and own else None
        self.late_bias = None if own or bias is None else bias.to(weight.device)
        self.alpha = None if scale is None else _padded_row(scale.float(), self.n, weight.device)

    @property
    def extra_nbytes(self) -> int:
        extra = (self.compressed, self.bias, self.late_bias, self.alpha)
        return sum(t.nbytes for t in extra if t is not None)

    def _key(self, m: int) -> tuple[object, ...]:
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        known = (self.bias is not None, self.alpha is not None)
        return (device, self.n, self.k, m, self.weight_dtype, self.result_dtype, *known)

    def search(self, m: int) -> Algorithm:
        """The fastest algorithm for M = ``m`` rows on this device: found once, by this process or an earlier one."""
        m = up(m, self.rules.m)
        key = self._key(m)
        if key in _remembered:
            return _remembered[key]
        device, about = str(key[0]), f"cusparselt {' '.join(map(str, key[1:]))}"
        database = TuningDatabase(default_folder())
        found = database.search(device, _versions(), about)
        if found is not None and len(found) == len(UNSEARCHED):
            _remembered[key] = (found[0], found[1], found[2], found[3])
        else:
            _remembered[key] = self._fastest(torch.zeros(m, self.k, dtype=self.weight_dtype, device=self.device))
            database.add([SearchRecord(device, _versions(), about, _remembered[key])])
        return _remembered[key]

    def _fastest(self, x: torch.Tensor) -> Algorithm:
        """The best algorithm of either orientation of the result, and of those the faster, turning y.T included."""
        times: dict[Algorithm, float] = {}
        for transposed in (1, 0):
            arguments = (self.compressed, x.t(), self.bias, self.alpha, self.result_dtype, bool(transposed))
            try:
                algorithm: Algorithm = (*self.operators.best(*arguments), transposed)
                times[algorithm] = self.operators.timed(partial(self._product, x.t(), algorithm))
            except RuntimeError as error:
                if transposed:
                    raise
                log.info("%s: y.T is no result that the library writes: %s", self.call.layer, str(error)[:160])
        return min(times, key=times.__getitem__)

    def _product(self, right: torch.Tensor, algorithm: Algorithm) -> torch.Tensor:
        """x [K, M], transposed -> y [M, N], contiguous."""
        number, split_k, mode, transposed = algorithm
        y = self.operators.multiply(
            self.compressed, right, bias=self.bias, alpha=self.alpha, out_dtype=self.result_dtype,
            transpose_result=bool(transposed), alg_id=number, split_k=split_k, split_k_mode=mode,
        )  # fmt: skip
        return y if transposed else y.t().contiguous()

    def prepare(self, m: int) -> None:
        """As :meth:`search`: other row counts take the library's default algorithm."""
        if self.device.type == "cuda" or self.operators.search is not None:
            self.search(m)

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        n, k = self.call.n, self.call.k
        shape = (*x.shape[:-1], n)
        if 0 in shape:
            return x.new_empty(shape, dtype=self.result_dtype)
        rows = x.reshape(math.prod(x.shape[:-1]), k)
        m = up(len(rows), self.rules.m)
        right = pad(rows.contiguous(), m, self.k).t()
        y = self._product(right, _remembered.get(self._key(m), UNSEARCHED))
        return _ended(y[: len(rows), :n], self.late_bias, residual, self.call.epilogue.activation, shape)


class CutlassLinear:
    """The same by CUTLASS, which also applies ReLU and SiLU; float16 and bfloat16."""

    source = "torch._sparse_semi_structured_linear"

    def __init__(
        self,
        call: KernelCall,
        packed: PackedTensor,
        bias: torch.Tensor | None,
        operators: Operators,
        where: torch.device,
    ) -> None:
        self.call, self.operators = call, operators
        self.rules: Multiples = CUTLASS[TORCH_DTYPES[packed.dtype]]
        self.n, self.k = self.rules.padded(call.n, call.k)
        if (self.n, self.k) != packed.shape:
            packed = pack(pad(packed.unpack(), self.n, self.k), packed.encoding)
        values, meta = cutlass_form(packed)
        self.values, self.meta = values.to(where), meta.to(where)
        self.bias = None if bias is None else _padded_row(bias, self.n, where)
        epilogue = call.epilogue
        self.fused = epilogue.activation if epilogue.activation in FUSED and not epilogue.residual else "none"

    @property
    def extra_nbytes(self) -> int:
        return sum(t.nbytes for t in (self.values, self.meta, self.bias) if t is not None)

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        n = self.call.n
        shape = (*x.shape[:-1], n)
        if 0 in shape:
            return x.new_empty(shape)
        rows = x.reshape(math.prod(x.shape[:-1]), self.call.k)
        given = pad(rows.contiguous(), up(len(rows), self.rules.m), self.k)
        name = None if self.fused == "none" else self.fused
        y = self.operators.linear(given, self.values, self.meta, bias=self.bias, activation=name)
        left = "none" if self.fused != "none" else self.call.epilogue.activation
        return _ended(y[: len(rows), :n], None, residual, left, shape)


def _padded_row(row: torch.Tensor, n: int, where: torch.device) -> torch.Tensor:
    out = torch.zeros(n, dtype=row.dtype, device=where)
    out[: len(row)] = row.detach().to(where)
    return out


def _ended(
    y: torch.Tensor,
    bias: torch.Tensor | None,
    residual: Sequence[torch.Tensor],
    activation: str,
    shape: tuple[int, ...],
) -> torch.Tensor:
    """What the operator did not do, and y whole and in shape."""
    if bias is not None:
        y = y + bias
    if residual:
        y = y + residual[0].reshape(y.shape)
    return activate(y, activation).contiguous().reshape(shape)


@dataclass(frozen=True)
class CuSparseLt:
    """2:4 along K in float16 and bfloat16. :class:`CuSparseLtLinear` itself also takes int8 and float8 weights."""

    name: str = "cusparselt"
    operators: Operators = field(default_factory=Operators)

    def unavailable(self) -> str | None:
        if (missing := cuda_missing()) is not None:
            return missing
        if torch.version.hip is not None:
            return "cuSPARSELt is NVIDIA's, and this torch is built for ROCm"
        if not torch.backends.cusparselt.is_available():
            return f"torch {torch.__version__} was built without cuSPARSELt"
        major, minor = torch.cuda.get_device_capability()
        if (major, minor) < (8, 0):
            return f"the GPU has compute capability {major}.{minor}; sparse tensor cores came with 8.0"
        return None

    def capabilities(self) -> frozenset[KernelKey]:
        if self.unavailable() is not None:
            return frozenset()
        return frozenset(KernelKey("linear", "nm", dtype, TARGET) for dtype in ("float16", "bfloat16"))

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        if call.encoding != Nm(2, 4) or call.dtype not in ("float16", "bfloat16") or call.quantize:
            return []
        return [(("library", 0),), (("library", 1),)]

    def extra_nbytes(self, call: KernelCall) -> int:
        """The kept values and their bits, in the library's own order: 9/16 of the dense weight's bytes."""
        rules = (RULES, CUTLASS)[dict(call.schedule).get("library", 0)][TORCH_DTYPES[call.dtype]]
        n, k = rules.padded(call.n, call.k)
        return n * k * 9 // 8 + n * 2 * call.epilogue.bias

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        asked = f"build the 2:4 kernel of {call.layer}"
        if (reason := self.unavailable()) is not None:
            raise KernelError(asked, reason, "target='cpu', or a machine with an NVIDIA GPU")
        return self.kernel_of(call, packed, bias, torch.device("cuda", torch.cuda.current_device()))

    def kernel_of(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, where: torch.device
    ) -> Kernel:
        """As :meth:`build`, with the weight on ``where``."""
        if call.encoding != Nm(2, 4):
            found = f"the encoding {call.encoding}: sparse tensor cores multiply 2:4 along K alone"
            raise KernelError(f"build the 2:4 kernel of {call.layer}", found, "nm(n=2, m=4), or the triton backend")
        if LIBRARIES[dict(call.schedule)["library"]] == "cutlass":
            return CutlassLinear(call, packed, bias, self.operators, where)
        return CuSparseLtLinear(call, packed.unpack().to(where), bias, self.operators)
