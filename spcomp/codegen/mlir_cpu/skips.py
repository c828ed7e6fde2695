"""Rows of x that are mostly zeros, one at a time: :mod:`~spcomp.codegen.mlir_cpu.skip` on a transposed weight."""

from __future__ import annotations

import ctypes

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.skip import CHUNK, SLACK, columns_text, nonzeros_text
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.transposed import Transposed
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall

PERCENT = "percent"
"""Schedule option: the share of nonzero inputs above which ``otherwise`` serves."""


class SkipKernel:
    """Adds up the columns of W whose input is not zero; with too many of those, lets another kernel do it.

    ``otherwise`` computes the same from a weight of its own. Without it all the nonzero columns are added up, however
    many: no more bytes than a dense product reads. A weight with Inf or NaN is not taken, for 0 x Inf is not 0.
    """

    def __init__(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, otherwise: Kernel | None = None
    ) -> None:
        asked = f"generate an activation-skipping kernel for {call.layer}"
        if not isinstance(packed.encoding, Transposed):
            raise KernelError(asked, f"encoding {packed.encoding}", "transposed")
        values = packed.buffers["values"]
        if not torch.isfinite(values).all():
            raise KernelError(
                asked, "a weight that is Inf or NaN, whose column must not be skipped", "another encoding"
            )
        self.call = call
        self.packed = packed
        self.otherwise = otherwise
        self.most = call.k * dict(call.schedule)[PERCENT] // 100
        self.bias = float_vector(bias)
        text = columns_text(call.n, bias is not None, call.epilogue.activation, MLIR_DTYPES[call.dtype])
        self.find, self.add = jit.compile_all([("nonzeros", nonzeros_text(call.k), 4, 0), ("columns", text, 5, 3)])
        self._pointers = (packed.buffers["values"].data_ptr(), self.bias.data_ptr())

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in (self.find, self.add))

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes + (0 if self.otherwise is None else self.otherwise.extra_nbytes)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty(*x.shape[:-1], call.n)
        if y.numel() == 0:
            return y
        wide = x.to(torch.float32).contiguous()
        where = scratch(8 * (call.k + SLACK) + 8)
        what = where + 4 * (call.k + SLACK)
        count = ctypes.c_int64.from_address(what + 4 * (call.k + SLACK))
        chunks = -(-call.n // CHUNK)
        for row in range(y.numel() // call.n):
            self.find.call(wide.data_ptr() + 4 * row * call.k, where, what, ctypes.addressof(count))
            found = count.value
            if found > self.most and self.otherwise is not None:
                return self.otherwise(x)
            arguments = (where, what, *self._pointers, y.data_ptr() + row * call.n * y.element_size(), found)
            parallel.over(self.add, arguments, chunks, parallel.threads_for(found * call.n))
        return y
