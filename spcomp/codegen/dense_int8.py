"""Dense layers in int8: the rivals of int8 sparse ones, where ``quantize="int8"`` was asked for.

The products are torch's: ``int8`` is oneDNN's prepacked quantised linear (``torch.ops.onednn.qlinear_pointwise``),
``int8mm`` is ``torch._int_mm`` on the plain int8 weight. Neither takes a scale a token, so x is quantised before and
the result is scaled after by compiled functions of our own; both compute what ``codegen/reference`` defines. So does
``int8`` of a convolution, oneDNN's quantised one on channels-last bytes.
"""

from __future__ import annotations

import functools

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu import segments as seg
from spcomp.codegen.mlir_cpu.conv8 import Rounding
from spcomp.codegen.mlir_cpu.int8_rows import OFFSET, finish_text, quantize_text
from spcomp.codegen.mlir_cpu.octets import Octets
from spcomp.codegen.mlir_cpu.taps8 import planes8_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector
from spcomp.conv_layout import PARTS
from spcomp.conv_shape import ConvShape
from spcomp.cost.cache import default_folder
from spcomp.encodings.int8 import Int8Weight, quantize_weight
from spcomp.encodings.matrix import weight_of
from spcomp.encodings.spec import Refusal
from spcomp.errors import KernelError
from spcomp.plan import KernelCall
from spcomp.targets.amx import onednn_int8_works

INT8_MEMBERS = ("int8", "int8mm")
CONV_INT8_MEMBERS = ("int8",)


@functools.cache
def _works() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    ours = ("qlinear_pointwise", "qconv_pointwise", "qconv_prepack")
    has = all(hasattr(torch.ops.onednn, name) for name in ours) and hasattr(torch, "_int_mm")
    return available and has and jit.available() is None and onednn_int8_works(default_folder())


def serves_int8(weight: torch.Tensor) -> bool:
    """Whether the int8 members can take this weight on this host."""
    return weight.numel() > 0 and bool(torch.isfinite(weight).all()) and _works()


def _quantised(call: KernelCall, weight: torch.Tensor) -> Int8Weight:
    quantised = quantize_weight(weight)
    if isinstance(quantised, Refusal):
        raise KernelError(f"build the dense int8 kernel of {call.layer}", quantised.reason, "floating point")
    return quantised


class Int8Linear:
    """x to bytes, a library's int8 product, and scales, bias and activation in one sweep."""

    def __init__(
        self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None, member: str, rows: int
    ) -> None:
        quantised = _quantised(call, weight)
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


class Int8Conv:
    """x to bytes, channels last; oneDNN's int8 convolution; scales, bias, residual, activation as planes are made."""

    source = "torch.ops.onednn.qconv_pointwise"

    def __init__(
        self,
        call: KernelCall,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor | None,
        images: int,
    ) -> None:
        """weight: the matrix [n, k]; scale: of a BatchNorm."""
        conv = call.conv
        assert conv is not None
        quantised = _quantised(call, weight)
        self.call, self.conv = call, conv
        self.bias = float_vector(bias)
        self.scale = quantised.scale if scale is None else quantised.scale * scale.to(torch.float32)
        self.pairs = ([*conv.stride], [*conv.padding], [*conv.dilation], 1)
        kernel = weight_of(quantised.values, (conv.channels, *conv.kernel)).contiguous()
        self.ones, self.zeros = torch.ones(call.n), torch.zeros(call.n, dtype=torch.int32)
        self.size = (conv.channels, conv.height, conv.width)
        self.weight = torch.ops.onednn.qconv_prepack(
            kernel, self.ones, 1.0, OFFSET, *self.pairs, [max(1, images), *self.size]
        )
        dtype = MLIR_DTYPES[call.dtype]
        self.rounding = Rounding(Octets(ConvShape(2, *self.size, (1, 1))), dtype)
        text = planes8_text(call.n % LANES, "f32", call.epilogue, dtype)
        (self.finish,) = jit.compile_all([("planes8", text, 10, 7)])
        self.tiles = -(-conv.pixels // LANES)
        pixel = seg.natural_destination(self.tiles * LANES)
        pixel[conv.pixels :] = -1
        self.table = seg.segments(pixel, seg.natural_destination(conv.pixels), call.n, conv.pixels)

    @property
    def extra_nbytes(self) -> int:
        vectors = self.bias.nbytes + self.scale.nbytes + self.ones.nbytes + self.zeros.nbytes
        return vectors + self.table.nbytes + self.rounding.lines.nbytes

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        call, conv = self.call, self.conv
        y = x.new_empty((x.shape[0], *conv.size(call.n)))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = residual[0].contiguous() if residual else y
        threads = parallel.threads_for(y.numel() * LANES)
        images = len(x)
        channels, height, width = self.size
        q = torch.empty(images, height, width, channels, dtype=torch.uint8, device="cpu").permute(0, 3, 1, 2)
        scales = torch.empty(images, dtype=torch.float32, device="cpu")
        most = torch.empty(PARTS, dtype=torch.int32, device="cpu")
        inputs, outputs = x.nbytes // images, y.nbytes // images
        for i in range(images):
            at = (x.data_ptr() + i * inputs, q.data_ptr() + i * conv.inputs, most.data_ptr())
            self.rounding(*at, scales.data_ptr() + 4 * i, threads)
        sums = torch.ops.onednn.qconv_pointwise.default(
            q, 1.0, OFFSET, self.weight, self.ones, self.zeros, None, *self.pairs, 1.0, 0, torch.float32, "none", [], ""
        ).contiguous(memory_format=torch.channels_last)
        table = (self.table.masks.ctypes.data, self.table.to.ctypes.data, self.table.first.ctypes.data)
        vectors = (self.zeros.data_ptr(), self.scale.data_ptr(), self.bias.data_ptr())
        before = LANES * y.element_size()
        for i in range(images):
            ends = (other.data_ptr() + i * outputs - before, y.data_ptr() + i * outputs - before)
            known = (sums.data_ptr() + i * sums.nbytes // images, *vectors, scales.data_ptr() + 4 * i, *ends, *table)
            sizes = (conv.pixels, call.n, conv.pixels, 0, self.tiles)
            parallel.run([[(self.finish, (*known, *sizes, lo, hi))] for lo, hi in _cuts(call.n, threads)])
        return y


def _cuts(n: int, threads: int) -> list[tuple[int, int]]:
    """Ranges of rows that begin at multiples of sixteen."""
    groups = parallel.even(-(-n // LANES), threads)
    return [(lo * LANES, min(hi * LANES, n)) for lo, hi in groups if lo < hi]
