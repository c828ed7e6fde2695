"""Linear layers in bfloat16 by pairs of columns: ``vdpbf16ps``, products exact, sums in float32.

Other kernels widen each weight and all of x to float32; this one moves half the bytes of x, and on CPUs that start two
of these instructions a cycle does twice the products. Subnormal numbers count as zero (the instruction's own rule).
"""

from __future__ import annotations

import numpy as np
import torch

from spcomp.codegen.mlir_cpu.jit import Job
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.quad import quad_text
from spcomp.codegen.mlir_cpu.tokens import Body, TokensKernel, pointers
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.quad import COLUMNS, Quad
from spcomp.errors import KernelError
from spcomp.plan import KernelCall


class PairsKernel(TokensKernel):
    """Two bfloat16 of a token are moved as if they were one float32."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        if not isinstance(packed.encoding, Quad) or packed.dtype != "bfloat16":
            found = f"{packed.encoding} in {packed.dtype}"
            raise KernelError(f"generate a bfloat16 kernel for {call.layer}", found, "quad in bfloat16")
        super().__init__(call, packed, bias, _body(call, packed, packed.encoding.rows))

    def _frame(self, bias: bool) -> list[Job]:
        call = self.call
        unpack = unpack_text(call.n, self.stride, bias, call.epilogue.activation, "bf16")
        return [("pack", pack_text(-(-call.k // 2), self.body.padded_k), 2, 3), ("unpack", unpack, 3, 5)]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(torch.nn.functional.pad(x, (0, 1)) if self.call.k % 2 else x)


def _body(call: KernelCall, packed: PackedTensor, rows: int) -> Body:
    dwords = -(-call.k // COLUMNS) * COLUMNS // 2
    start = packed.buffers["row_start"].numpy().astype(np.int64)
    return Body(
        columns=dwords,
        function=lambda tiles, columns, stride: ("quad", quad_text(call.n, stride, columns, rows, tiles, "bf16"), 5, 4),
        pointers=pointers(packed, ("values", "columns", "row_start")),
        row_weights=(start[1:] - start[:-1]) * rows * COLUMNS,
        rows_per_unit=rows,
        at=lambda *_: (),
    )
