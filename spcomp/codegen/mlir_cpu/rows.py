"""N:M for a few tokens: sixteen output rows in the lanes, natural activations, no packing at all."""

from __future__ import annotations

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.nm import NmShape, nm_rows_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, Job, pointers
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
        jobs: list[Job] = [("nmrows", t, 5, 2) for t in text]
        self.bodies = dict(zip(sizes, jit.compile_all(jobs), strict=True))
        self._pointers = (*pointers(packed, ("values", "control")), self.bias.data_ptr())

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in self.bodies.values())

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call, shape = self.call, self.shape
        y = x.new_empty((*x.shape[:-1], call.n))
        if y.numel() == 0:
            return y
        wide = x if x.dtype is torch.float32 else x.float()
        if shape.padded_columns != call.k:
            wide = torch.nn.functional.pad(wide, (0, shape.padded_columns - call.k))
        wide = wide.contiguous()
        m = x.numel() // call.k
        x_ptr, y_ptr = wide.data_ptr(), y.data_ptr()
        x_row, y_row = shape.padded_columns * 4, call.n * y.element_size()
        units = -(-call.n // LANES)
        threads = parallel.threads_for(m * call.stored)
        at = 0
        for size, body in self.bodies.items():
            while m - at >= size:
                arguments = (x_ptr + at * x_row, *self._pointers, y_ptr + at * y_row)
                if threads == 1:
                    body.call(*arguments, 0, units)
                else:
                    parallel.run([[(body, (*arguments, lo, hi))] for lo, hi in parallel.even(units, threads)])
                at += size
        return y
