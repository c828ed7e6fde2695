"""2:4 linear layers by torch's own operators: cuSPARSELt's and CUTLASS's, called as they are."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from spcomp.codegen.cusparselt.ending import Ending
from spcomp.codegen.cusparselt.metadata import cutlass_form
from spcomp.codegen.cusparselt.rules import CUTLASS, RULES, Multiples, pad, too_old, up
from spcomp.codegen.scratch import Scratch
from spcomp.cost.cache import default_folder
from spcomp.cost.database import TuningDatabase
from spcomp.cost.records import SearchRecord
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor, pack
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

log = logging.getLogger("spcomp")
FUSED = ("none", "relu", "silu")
"""Activations that CUTLASS applies itself; cuSPARSELt's operator has none."""
Algorithm = tuple[int, int, int, int]
"""alg_id, split_k, split_k_mode, and whether the product writes its result transposed (1), as y is, or W @ x.T (0)."""
UNSEARCHED: Algorithm = (0, 1, -1, 1)
TIMED_CALLS = 10


def capability_of(device: torch.device) -> tuple[int, int] | None:
    """Compute capability, None of a device that is no NVIDIA GPU."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


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
    capability: Callable[[torch.device], tuple[int, int] | None] = capability_of
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
    """y = activation(x @ W.T + bias + residual) with W 2:4 along K, of x in the weight's own dtype.

    The compressed weight is the left operand (torch's operator takes it nowhere else) and ``x.T`` the right one. The
    operator writes y, or y.T, which is then turned: which is faster is searched too. ``search()`` must run before a
    CUDA graph is captured; calls never search. A y that the operator makes is the result itself wherever N needs no
    padding: what it did not do is done in place.
    """

    source = "torch._cslt_sparse_mm"
    into_served = False
    """The operator makes its result."""

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
        asked = f"multiply 2:4 weights of {weight.dtype} into {self.result_dtype}"
        if self.result_dtype not in self.rules.results:
            raise KernelError(asked, "no such product", ", ".join(str(dtype) for dtype in self.rules.results))
        if (reason := too_old(weight.dtype, operators.capability(weight.device))) is not None:
            raise KernelError(asked, reason, "float16 or bfloat16 weights, or a newer GPU")
        self.n, self.k = self.rules.padded(call.n, call.k)
        self.weight_dtype = weight.dtype
        self.compressed = operators.compress(pad(weight, self.n, self.k))
        self.device = weight.device
        own = bias is not None and bias.dtype == self.result_dtype == weight.dtype
        self.bias = _padded_row(bias, self.n, weight.device) if bias is not None and own else None
        late = None if own or bias is None else bias.detach().to(weight.device).contiguous()
        self.alpha = None if scale is None else _padded_row(scale.float(), self.n, weight.device)
        self.scratch = Scratch()
        self.ending = Ending(call, late, self.result_dtype, self.scratch)

    @property
    def out_dtype(self) -> torch.dtype | None:
        """As the operator takes it: torch refuses to be told of operands of 16 bits what they give anyway."""
        return None if self.result_dtype == self.weight_dtype else self.result_dtype

    @property
    def extra_nbytes(self) -> int:
        extra = (self.compressed, self.bias, self.alpha, *self.ending.held())
        return sum(t.nbytes for t in extra if t is not None) + self.scratch.nbytes

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
            arguments = (self.compressed, x.t(), self.bias, self.alpha, self.out_dtype, bool(transposed))
            try:
                algorithm: Algorithm = (*self.operators.best(*arguments), transposed)
                times[algorithm] = self.operators.timed(partial(self._multiplied, x.t(), algorithm))
            except RuntimeError as error:
                if transposed:
                    raise
                log.info("%s: y.T is no result that the library writes: %s", self.call.layer, str(error)[:160])
        return min(times, key=times.__getitem__)

    def prepare(self, m: int) -> None:
        """As :meth:`search`, and compile what ends the layer: other row counts take the library's default algorithm."""
        if self.device.type == "cuda" or self.operators.search is not None:
            self.search(m)
        prepared(self, self.input_dtype, m, self.device)

    @property
    def input_dtype(self) -> torch.dtype:
        return self.weight_dtype

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        shape = (*x.shape[:-1], self.call.n)
        if 0 in shape:
            return x.new_empty(shape, dtype=self.ending.dtype)
        rows = self.scratch.aligned("x", x).view(math.prod(shape[:-1]), self.call.k)
        right, token_scale = self.right(rows)
        return self.ending(self.product(right.t()), len(rows), residual, token_scale).view(shape)

    def right(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """rows [M, K] as the operator takes them, and what scales each one's results."""
        return self.scratch.padded("padded", rows, up(len(rows), self.rules.m), self.k), None

    def product(self, right: torch.Tensor) -> torch.Tensor:
        """right [k, m] -> [m, n], both padded."""
        return self._multiplied(right, _remembered.get(self._key(right.shape[1]), UNSEARCHED))

    def _multiplied(self, right: torch.Tensor, algorithm: Algorithm) -> torch.Tensor:
        number, split_k, mode, transposed = algorithm
        y = self.operators.multiply(
            self.compressed, right, bias=self.bias, alpha=self.alpha, out_dtype=self.out_dtype,
            transpose_result=bool(transposed), alg_id=number, split_k=split_k, split_k_mode=mode,
        )  # fmt: skip
        return y if transposed else y.t().contiguous()


def prepared(kernel: Callable[..., torch.Tensor], dtype: torch.dtype, m: int, device: torch.device) -> None:
    """Run a kernel of 2:4 on zeros once: what ends its layer is compiled then."""
    call: KernelCall = kernel.call  # type: ignore[attr-defined]
    if device.type == "cuda":
        x = torch.zeros(m, call.k, dtype=dtype, device=device)
        other = torch.zeros(m, call.n, dtype=TORCH_DTYPES[call.dtype], device=device)
        kernel(x, *((other,) if call.epilogue.residual else ()))


class CutlassLinear:
    """The same by CUTLASS, which also applies ReLU and SiLU; float16 and bfloat16."""

    source = "torch._sparse_semi_structured_linear"
    into_served = False

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
        self.device, self.scratch = where, Scratch()
        left = "none" if self.fused != "none" else epilogue.activation
        self.ending = Ending(call, None, self.values.dtype, self.scratch, activation=left)

    @property
    def extra_nbytes(self) -> int:
        return sum(t.nbytes for t in (self.values, self.meta, self.bias) if t is not None) + self.scratch.nbytes

    def prepare(self, m: int) -> None:
        """Compile what ends the layer."""
        prepared(self, self.values.dtype, m, self.device)

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        shape = (*x.shape[:-1], self.call.n)
        if 0 in shape:
            return x.new_empty(shape)
        rows = self.scratch.aligned("x", x).view(math.prod(shape[:-1]), self.call.k)
        given = self.scratch.padded("padded", rows, up(len(rows), self.rules.m), self.k)
        name = None if self.fused == "none" else self.fused
        y = self.operators.linear(given, self.values, self.meta, bias=self.bias, activation=name)
        return self.ending(y, len(rows), residual, None).view(shape)


def _padded_row(row: torch.Tensor, n: int, where: torch.device) -> torch.Tensor:
    out = torch.zeros(n, dtype=row.dtype, device=where)
    out[: len(row)] = row.detach().to(where)
    return out
