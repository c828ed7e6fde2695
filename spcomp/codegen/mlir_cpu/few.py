"""Unstructured weights for a few tokens: one call of a compiled function a thread, natural activations, no packing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bitmap import ROWS, bitmap_text
from spcomp.codegen.mlir_cpu.bound import bind, job
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, pointers
from spcomp.codegen.mlir_cpu.window import WindowShape, window_text
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.window import Window
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

Sizes = tuple[int, ...]
"""Tokens whose sums are kept in registers together, largest first."""


@dataclass(frozen=True, eq=False)
class Stream:
    """What an encoding contributes."""

    name: str
    text: Callable[[Sizes, bool, str, str], str]
    """(sizes, bias, activation, MLIR dtype) -> text of ``name(x, *buffers, bias, y, m, unit_lo, unit_hi)``."""
    buffers: tuple[str, ...]
    padded_columns: int
    """Columns that a row of x must have."""
    work: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Values stored in each unit of rows, to balance threads."""


def stream_of(call: KernelCall, packed: PackedTensor) -> Stream:
    """The function for this call's encoding."""
    match packed.encoding:
        case Window(width=width):
            shape = WindowShape(call.n, call.k, width)
            return Stream(
                "window",
                lambda sizes, bias, activation, dtype: window_text(shape, sizes, bias, activation, dtype),
                ("values", "columns", "first", "group_start", "order"),
                shape.padded_columns,
                np.diff(packed.buffers["group_start"].numpy()) * LANES,
            )
        case Bitmap():
            start = packed.buffers["row_start"].numpy()
            most = max(ROWS.values())
            ends = np.append(start[:-1:most], start[-1])
            return Stream(
                "bitmap",
                lambda sizes, bias, activation, dtype: bitmap_text(call.n, call.k, sizes, bias, activation, dtype),
                ("values", "masks", "row_start"),
                -(-call.k // LANES) * LANES,
                np.diff(ends),
            )
        case other:
            raise KernelError(
                f"generate a kernel for few rows for {call.layer}", f"encoding {other}", "window or bitmap"
            )


class FewTokensKernel:
    """Takes ``tokens`` rows of x at a time (and powers of two below, for what is left)."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        self.call = call
        self.packed = packed
        self.stream = stream_of(call, packed)
        self.bias = torch.zeros(1) if bias is None else bias.detach().to(torch.float32).contiguous()
        tokens = dict(call.schedule)["tokens"]
        only = call.rows.lo if call.rows.hi == call.rows.lo else None
        sizes = tuple(t for t in (8, 4, 2, 1) if t <= max(1, tokens) and (only is None or t <= max(1, only)))
        name = self.stream.name
        text = self.stream.text(sizes, bias is not None, call.epilogue.activation, MLIR_DTYPES[call.dtype])
        held = len(self.stream.buffers) + 1
        self.body, self._enter = jit.compile_all([(name, text, 2 + held, 3), job(held, 2, rows=True)])
        self._direct = call.dtype == "float32" and self.stream.padded_columns == call.k
        self.rebind()

    def rebind(self) -> None:
        """Point at the buffers of :attr:`packed`."""
        self._pointers = (*pointers(self.packed, self.stream.buffers), self.bias.data_ptr())
        self._bound = bind(self.body, self._pointers, (0, len(self.stream.work)), rows=True)

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
        cuts = parallel.balance(self.stream.work, threads)
        arguments = (x.data_ptr(), *self._pointers, y.data_ptr(), m)
        parallel.run([[(self.body, (*arguments, lo, hi))] for lo, hi in pairwise(cuts)])
        return y

    def _widened(self, x: torch.Tensor) -> torch.Tensor:
        """x as float32, with the columns of zeros that the kernel may read."""
        wide = torch.nn.functional.pad(x.to(torch.float32), (0, self.stream.padded_columns - self.call.k))
        return wide.contiguous()
