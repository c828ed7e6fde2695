"""Dense linear layers in int8: the rivals of int8 sparse ones, where ``quantize="int8"`` was asked for.

The products are torch's: ``int8`` is oneDNN's prepacked quantised linear (``torch.ops.onednn.qlinear_pointwise``),
``int8mm`` is ``torch._int_mm`` on the plain int8 weight. Neither takes a scale a token, so x is quantised before and
the result is scaled after by compiled functions of our own; both compute what ``codegen/reference`` defines.
"""

from __future__ import annotations

import functools

import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.int8_rows import OFFSET, finish_text, quantize_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector
from spcomp.cost.cache import default_folder
from spcomp.encodings.int8 import quantize_weight
from spcomp.encodings.spec import Refusal
from spcomp.errors import KernelError
from spcomp.plan import KernelCall
from spcomp.targets.amx import onednn_int8_works

INT8_MEMBERS = ("int8", "int8mm")


@functools.cache
def _works() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    has = hasattr(torch.ops.onednn, "qlinear_pointwise") and hasattr(torch, "_int_mm")
    return available and has and jit.available() is None and onednn_int8_works(default_folder())


def serves_int8(weight: torch.Tensor) -> bool:
    """Whether the int8 members can take this weight on this host."""
    return weight.numel() > 0 and bool(torch.isfinite(weight).all()) and _works()


class Int8Linear:
    """x to bytes, a library's int8 product, and scales, bias and activation in one sweep."""

    def __init__(
        self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None, member: str, rows: int
    ) -> None:
        quantised = quantize_weight(weight)
        if isinstance(quantised, Refusal):
            raise KernelError(f"build the dense int8 kernel of {call.layer}", quantised.reason, "floating point")
        self.call = call
        self.member = member
        self.source = "torch.ops.onednn.qlinear_pointwise" if member == "int8" else "torch._int_mm"
        self.bias = float_vector(bias)
        self.scale = quantised.scale
        self.unsigned = member == "int8"
        self.width = call.k if call.k % LANES == 0 else -(-call.k // LANES) * LANES
        values = torch.nn.functional.pad(quantised.values, (0, self.width - call.k))
        self.ones = torch.ones(call.n)
        self.zeros = torch.zeros(call.n, dtype=torch.int32)
        self.weight = torch.ops.onednn.qlinear_prepack(values, [rows, self.width]) if self.unsigned else values.t()
        dtype, kind = MLIR_DTYPES[call.dtype], "f32" if self.unsigned else "i32"
        self.quantize, self.finish = jit.compile_all(
            [
                ("quantize", quantize_text(call.k, self.width, dtype, OFFSET if self.unsigned else 0), 3, 2),
                ("finish", finish_text(call.n, kind, bias is not None, call.epilogue.activation, dtype), 5, 2),
            ]
        )

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes + self.scale.nbytes + self.ones.nbytes + self.zeros.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty(*x.shape[:-1], call.n)
        m = y.numel() // call.n
        if m == 0:
            return y
        x = x.contiguous()
        q = torch.empty(m, self.width, dtype=torch.uint8 if self.unsigned else torch.int8, device="cpu")
        scales = torch.empty(m, dtype=torch.float32, device="cpu")
        self.quantize.call(x.data_ptr(), q.data_ptr(), scales.data_ptr(), 0, m)
        if self.unsigned:
            sums = torch.ops.onednn.qlinear_pointwise.default(
                q, 1.0, OFFSET, self.weight, self.ones, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
            )
        else:
            sums = torch._int_mm(q, self.weight)
        self.finish.call(
            sums.data_ptr(), self.scale.data_ptr(), self.bias.data_ptr(), scales.data_ptr(), y.data_ptr(), 0, m
        )
        return y
