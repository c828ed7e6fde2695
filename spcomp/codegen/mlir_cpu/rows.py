"""N:M for a few tokens: sixteen output rows in the lanes, natural activations, no packing at all."""

from __future__ import annotations

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bound import bind, job
from spcomp.codegen.mlir_cpu.nm import NmShape, nm_rows_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, pointers
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall


class RowsKernel:
    """Takes ``tokens`` rows of x at a time (and powers of two below, for what is left)."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        if not isinstance(packed.encoding, Nm):
            raise KernelError(f"generate a row kernel for {call.layer}", f"encoding {packed.encoding}", "nm")
        self.call = call
        self.packed = packed
        self.shape = NmShape(call.n, call.k, packed.encoding.n, packed.encoding.m)
        self.bias = torch.zeros(1) if bias is None else bias.detach().to(torch.float32).contiguous()
        tokens = dict(call.schedule)["tokens"]
        rows = call.rows
        only = rows.lo if rows.hi == rows.lo else None
        sizes = [t for t in (8, 4, 2, 1) if t <= tokens and (only is None or t <= max(1, only))]
        dtype = MLIR_DTYPES[call.dtype]
        text = [nm_rows_text(self.shape, t, bias is not None, call.epilogue.activation, dtype) for t in sizes]
        jobs: list[jit.Job] = [("nmrows", t, 5, 2) for t in text]
        *bodies, self._enter = jit.compile_all([*jobs, job(3, 2, rows=False)])
        self.bodies = dict(zip(sizes, bodies, strict=True))
        self._direct = call.dtype == "float32" and self.shape.padded_columns == call.k
        self.rebind()

    def rebind(self) -> None:
        """Point at the buffers of :attr:`packed`."""
        self._pointers = (*pointers(self.packed, ("values", "control")), self.bias.data_ptr())
        units = -(-self.call.n // LANES)
        self._bound = {size: bind(body, self._pointers, (0, units), rows=False) for size, body in self.bodies.items()}

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in self.bodies.values())

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty(*x.shape[:-1], call.n)
        m = y.numel() // call.n if call.n else 0
        if m == 0:
            return y
        x = x.contiguous() if self._direct else self._widened(x)
        x_ptr, y_ptr = x.data_ptr(), y.data_ptr()
        threads = parallel.threads_for(m * call.stored)
        if threads > 1:
            self._in_parallel(x_ptr, y_ptr, m, y.element_size(), threads)
            return y
        for size, bound in self._bound.items():
            while m >= size:
                bound.run(bound.address, x_ptr, y_ptr)
                m -= size
                x_ptr += size * self.shape.padded_columns * 4
                y_ptr += size * call.n * y.element_size()
        return y

    def _in_parallel(self, x: int, y: int, m: int, item: int, threads: int) -> None:
        cuts = parallel.even(-(-self.call.n // LANES), threads)
        for size, body in self.bodies.items():
            while m >= size:
                parallel.run([[(body, (x, *self._pointers, y, lo, hi))] for lo, hi in cuts])
                m -= size
                x += size * self.shape.padded_columns * 4
                y += size * self.call.n * item

    def _widened(self, x: torch.Tensor) -> torch.Tensor:
        """x as float32, with the columns of zeros that the last control word covers."""
        wide = torch.nn.functional.pad(x.to(torch.float32), (0, self.shape.padded_columns - self.call.k))
        return wide.contiguous()
