"""Int8 kernels that read x row by row, as bytes: bitmaps, fours and N:M, for any number of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bitmap8 import COLUMNS, bitmap8_text
from spcomp.codegen.mlir_cpu.few import Sizes, block_work, token_counts
from spcomp.codegen.mlir_cpu.fours8 import SLOT, fours8_text
from spcomp.codegen.mlir_cpu.int8_rows import OFFSET, quantize_text
from spcomp.codegen.mlir_cpu.nm import NmShape
from spcomp.codegen.mlir_cpu.nm8 import PAST, fits, nm8_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector, pointers
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall


class Int8Constants:
    """What belongs to each row of a quantised weight: its scale, its shift and the bias."""

    def __init__(self, packed: PackedTensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        values = packed.unpack()
        self.shift = (-OFFSET * values.sum(dim=1, dtype=torch.int64)).to(torch.int32)
        self.scale = float_vector(scale)
        self.bias = float_vector(bias)

    @property
    def nbytes(self) -> int:
        return self.shift.nbytes + self.scale.nbytes + self.bias.nbytes

    @property
    def pointers(self) -> tuple[int, int, int]:
        return self.shift.data_ptr(), self.scale.data_ptr(), self.bias.data_ptr()


LINE = 64
PANEL = 32
"""Rows of x that meet the whole weight before the next ones: they stay in the caches, and so may the weight."""


@dataclass(frozen=True, eq=False)
class Stream8:
    """What an encoding contributes."""

    name: str
    text: Callable[[Sizes, bool, str, str], str]
    """(sizes, bias, activation, MLIR dtype) -> text of ``name(q, x_scale, *buffers, shift, weight_scale, bias, y, m,
    unit_lo, unit_hi)``."""
    buffers: tuple[str, ...]
    width: int
    """Bytes from a row of x to the next."""
    work: int | parallel.Shares
    """Units of rows, or the instructions of each, about, to balance threads."""
    past: int = 0
    """Bytes behind the last row that may be read."""


def odd_lines(columns: int) -> int:
    """Bytes of so many columns in an odd number of cache lines, so that rows do not fall into the same few sets."""
    return (-(-columns // LINE) | 1) * LINE


def stream8_of(call: KernelCall, packed: PackedTensor) -> Stream8:
    """The function for this call's encoding."""
    n, k, width = call.n, call.k, odd_lines(call.k)
    match packed.encoding:
        case Bitmap():
            text = functools.partial(bitmap8_text, n, k, width)
            return Stream8("bitmap8", text, ("values", "masks", "row_start"), width, block_work(packed))
        case Fours(width=columns):
            width = odd_lines(max(k, columns))
            text = functools.partial(fours8_text, n, width, columns)
            slots = parallel.Shares(np.diff(packed.buffers["group_start"].numpy()) * SLOT)
            return Stream8("fours8", text, ("values", "columns", "first", "group_start"), width, slots)
        case Nm(n=most, m=m):
            shape = NmShape(n, k, most, m)
            if not fits(shape):
                raise KernelError(f"generate an int8 kernel for {call.layer}", f"{packed.encoding}", "nm(n=2, m=4)")
            text = functools.partial(nm8_text, shape, width)
            return Stream8("nm8", text, ("values", "control"), width, -(-n // LANES), PAST)
        case other:
            raise KernelError(
                f"generate an int8 kernel for few rows for {call.layer}", f"encoding {other}", "fours, nm or bitmap"
            )


class NaturalInt8Kernel:
    """Takes ``tokens`` rows of x at a time (and powers of two below, for what is left)."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor) -> None:
        self.call = call
        self.packed = packed
        self.constants = Int8Constants(packed, scale, bias)
        self.stream = stream = stream8_of(call, packed)
        dtype = MLIR_DTYPES[call.dtype]
        text = stream.text(token_counts(call), bias is not None, call.epilogue.activation, dtype)
        held = len(stream.buffers)
        self.quantize, self.body = jit.compile_all(
            [("quantize", quantize_text(call.k, stream.width, dtype), 3, 2), (stream.name, text, held + 6, 3)]
        )
        self._pointers = (*pointers(packed, stream.buffers), *self.constants.pointers)

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in (self.quantize, self.body))

    @property
    def extra_nbytes(self) -> int:
        return self.constants.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call, width = self.call, self.stream.width
        y = x.new_empty(*x.shape[:-1], call.n)
        if y.numel() == 0:
            return y
        m = y.numel() // call.n
        x = x.contiguous()
        q_bytes = m * width + self.stream.past
        q = scratch(q_bytes + 4 * m)
        scales = q + q_bytes
        threads = parallel.threads_for(m * call.n * call.k // COLUMNS * 4)
        parallel.over(self.quantize, (x.data_ptr(), q, scales), m, threads if m >= threads else 1)
        for row in range(0, m, PANEL):
            to = y.data_ptr() + row * call.n * y.element_size()
            panel = (q + row * width, scales + 4 * row, *self._pointers, to, min(PANEL, m - row))
            parallel.over(self.body, panel, self.stream.work, threads)
        return y
