"""Unstructured weights for a few tokens: one call of :mod:`~spcomp.codegen.mlir_cpu.window` a thread, no packing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bound import bind
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, pointers
from spcomp.codegen.mlir_cpu.window import WindowShape, window_text
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.window import Window
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

BUFFERS = ("values", "columns", "first", "group_start", "order")


class WindowKernel:
    """Takes ``tokens`` rows of x at a time (and powers of two below, for what is left)."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        if not isinstance(packed.encoding, Window):
            raise KernelError(f"generate a window kernel for {call.layer}", f"encoding {packed.encoding}", "window")
        self.call = call
        self.packed = packed
        self.shape = WindowShape(call.n, call.k, packed.encoding.width)
        self.bias = torch.zeros(1) if bias is None else bias.detach().to(torch.float32).contiguous()
        tokens = dict(call.schedule)["tokens"]
        only = call.rows.lo if call.rows.hi == call.rows.lo else None
        sizes = tuple(t for t in (8, 4, 2, 1) if t <= tokens and (only is None or t <= max(1, only)))
        text = window_text(self.shape, sizes, bias is not None, call.epilogue.activation, MLIR_DTYPES[call.dtype])
        self.body = jit.compile_text("window", text, 3 + len(BUFFERS), 3)
        self.groups = len(packed.buffers["group_start"]) - 1
        self._direct = call.dtype == "float32" and self.shape.padded_columns == call.k
        self.rebind()

    def rebind(self) -> None:
        """Point at the buffers of :attr:`packed`."""
        self._pointers = (*pointers(self.packed, BUFFERS), self.bias.data_ptr())
        self._bound = bind(self.body, self._pointers, (0, self.groups), rows=True)

    @property
    def source(self) -> str:
        return f"// {self.body.name}\n{self.body.text}"

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
        threads = parallel.threads_for(m * call.stored)
        if threads == 1:
            self._bound.run(self._bound.address, x.data_ptr(), y.data_ptr(), m)
            return y
        slots = np.diff(self.packed.buffers["group_start"].numpy())
        cuts = parallel.balance(slots, threads)
        arguments = (x.data_ptr(), *self._pointers, y.data_ptr(), m)
        parallel.run([[(self.body, (*arguments, lo, hi))] for lo, hi in pairwise(cuts)])
        return y

    def _widened(self, x: torch.Tensor) -> torch.Tensor:
        """x as float32, with the columns of zeros that windows may reach."""
        wide = torch.nn.functional.pad(x.to(torch.float32), (0, self.shape.padded_columns - self.call.k))
        return wide.contiguous()
