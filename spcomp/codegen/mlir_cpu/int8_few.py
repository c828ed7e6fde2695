"""Int8 kernels that read x as it lies, turned into bytes: bitmaps, fours and N:M."""

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
from spcomp.codegen.mlir_cpu.nm8 import PAST, nm8_text
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
    work: parallel.Weights
    """Instructions of each unit of rows, about, to balance threads."""


def stream8_of(call: KernelCall, packed: PackedTensor) -> Stream8:
    """The function for this call's encoding."""
    n, k, width = call.n, call.k, -(-call.k // COLUMNS) * COLUMNS
    match packed.encoding:
        case Bitmap():
            text = functools.partial(bitmap8_text, n, k)
            return Stream8("bitmap8", text, ("values", "masks", "row_start"), width, block_work(packed))
        case Fours(width=columns):
            width = max(width, columns)
            text = functools.partial(fours8_text, n, width, columns)
            slots = np.diff(packed.buffers["group_start"].numpy())
            return Stream8("fours8", text, ("values", "columns", "first", "group_start", "order"), width, slots * SLOT)
        case Nm(n=most, m=m):
            shape = NmShape(n, k, most, m)
            text = functools.partial(nm8_text, shape, width)
            return Stream8("nm8", text, ("values", "control"), width, -(-n // LANES))
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
        q_bytes = m * width + PAST
        q = scratch(q_bytes + 4 * m)
        scales = q + q_bytes
        threads = parallel.threads_for(m * call.n * call.k // COLUMNS * 4)
        self.quantize.call(x.data_ptr(), q, scales, 0, m)
        parallel.over(self.body, (q, scales, *self._pointers, y.data_ptr(), m), self.stream.work, threads)
        return y
