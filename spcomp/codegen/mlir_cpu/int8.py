"""Layers in int8: weights by row, x by token, sums in 32 bits. Needs AVX-512 VNNI.

x is turned into bytes plus 128, for the instruction multiplies unsigned by signed bytes; 128 times each row's sum of
weights is taken off again in the end.
"""

from __future__ import annotations

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import parallel
from spcomp.codegen.mlir_cpu.conv8 import Conv8Kernel
from spcomp.codegen.mlir_cpu.int8_few import Int8Constants, NaturalInt8Kernel
from spcomp.codegen.mlir_cpu.int8_rows import quantize_text, unpack_int8_text
from spcomp.codegen.mlir_cpu.jit import Job
from spcomp.codegen.mlir_cpu.layout import pack_text
from spcomp.codegen.mlir_cpu.quad import quad_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, Body, TokensKernel, pointers
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.quad import Quad
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

LINE = 64


def build_int8(call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None) -> Kernel:
    """The kernel of a quantised call. scale [n] float32: of each row of the weight."""
    asked = f"generate an int8 kernel for {call.layer}"
    if packed.dtype != "int8" or scale is None or tuple(scale.shape) != (call.n,):
        raise KernelError(
            asked, f"a weight in {packed.dtype} or no scales of its rows", "int8 values with a scale a row"
        )
    if call.conv is not None:
        return Conv8Kernel(call, packed, bias, scale)
    match packed.encoding:
        case Quad():
            return QuadKernel(call, packed, bias, scale)
        case Bitmap() | Fours() | Nm():
            return NaturalInt8Kernel(call, packed, bias, scale)
        case other:
            raise KernelError(asked, f"encoding {other}", "quad, fours, nm or bitmap")


class QuadKernel(TokensKernel):
    """Sixteen tokens in the lanes. A panel of x becomes bytes, then tiles of dwords (four bytes of a token each)."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor) -> None:
        self.constants = Int8Constants(packed, scale, bias)
        self.width = -(-call.k // LANES) * LANES
        super().__init__(call, packed, bias, _body(call, packed))
        self.quantize = self.further[0]

    def _frame(self, bias: bool) -> list[Job]:
        call = self.call
        dtype = MLIR_DTYPES[call.dtype]
        unpack = unpack_int8_text(call.n, self.stride, bias, call.epilogue.activation, dtype)
        # dwords are moved as if they were float32
        pack: Job = ("pack", pack_text(self.width // 4, self.body.padded_k), 2, 3)
        return [pack, ("unpack8", unpack, 6, 5), ("quantize", quantize_text(call.k, self.width, dtype), 3, 2)]

    @property
    def source(self) -> str:
        return f"// quantize\n{self.quantize.text}\n{super().source}"

    @property
    def extra_nbytes(self) -> int:
        return super().extra_nbytes - self.bias.nbytes + self.constants.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call, body = self.call, self.body
        y = x.new_empty((*x.shape[:-1], call.n))
        if y.numel() == 0:
            return y
        m = y.numel() // call.n
        x = x.contiguous()
        threads = parallel.threads_for(m * call.stored // 4)
        step = self.panel * LANES
        xs_bytes = step * body.padded_k * 4
        ys_bytes = step * self.stride * 4
        q_bytes = -(-step * self.width // LINE) * LINE
        xs = scratch(xs_bytes + threads * ys_bytes + q_bytes + step * 4)
        ys = xs + xs_bytes
        q = ys + threads * ys_bytes
        scales = q + q_bytes
        held = (*self.constants.pointers, scales)
        x_ptr, y_ptr, item = x.data_ptr(), y.data_ptr(), x.element_size()
        for row in range(0, m, step):
            rows = min(step, m - row)
            quantize = (x_ptr + row * call.k * item, q, scales)
            parallel.over(self.quantize, quantize, rows, threads if rows >= threads else 1)
            for stage in self._panel(q, held, y_ptr + row * call.n * item, xs, ys, ys_bytes, rows, threads):
                parallel.run(stage)
        return y


def _body(call: KernelCall, packed: PackedTensor) -> Body:
    encoding = packed.encoding
    assert isinstance(encoding, Quad)
    rows = encoding.rows
    dwords = -(-call.k // LANES) * LANES // 4
    start = packed.buffers["row_start"].numpy().astype(np.int64)
    return Body(
        columns=dwords,
        function=lambda tiles, columns, stride: ("quad", quad_text(call.n, stride, columns, rows, tiles), 5, 4),
        pointers=pointers(packed, ("values", "columns", "row_start")),
        row_weights=(start[1:] - start[:-1]) * rows,
        rows_per_unit=rows,
        at=lambda *_: (),
    )
