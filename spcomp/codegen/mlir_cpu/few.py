"""Unstructured weights for a few tokens: one call of a compiled function a thread, natural activations, no packing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bitmap import ROWS, bitmap_text
from spcomp.codegen.mlir_cpu.bound import bind, job
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector, pointers
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
    work: parallel.Shares
    """Values stored in each unit of rows, to balance threads."""


def stream_of(call: KernelCall, packed: PackedTensor) -> Stream:
    """The function for this call's encoding."""
    match packed.encoding:
        case Window(width=width):
            shape = WindowShape(call.n, call.k, width)
            return Stream(
                "window",
                functools.partial(window_text, shape),
                ("values", "columns", "first", "group_start", "order"),
                shape.padded_columns,
                parallel.Shares(np.diff(packed.buffers["group_start"].numpy()) * LANES),
            )
        case Bitmap():
            return Stream(
                "bitmap",
                functools.partial(bitmap_text, call.n, call.k),
                ("values", "masks", "row_start"),
                -(-call.k // LANES) * LANES,
                block_work(packed),
            )
        case other:
            raise KernelError(
                f"generate a kernel for few rows for {call.layer}", f"encoding {other}", "window or bitmap"
            )


def block_work(packed: PackedTensor) -> parallel.Shares:
    """Values stored in each block of rows that a bitmap kernel takes at a time."""
    start = packed.buffers["row_start"].numpy()
    return parallel.Shares(np.diff(np.append(start[: -1 : max(ROWS.values())], start[-1])))


def token_counts(call: KernelCall) -> Sizes:
    """``tokens`` of the schedule and the powers of two below; of one number of rows, what that can need."""
    most = dict(call.schedule)["tokens"]
    if call.rows.lo == call.rows.hi:
        most = min(most, call.rows.lo)
    return tuple(t for t in (16, 8, 4, 2, 1) if t <= max(1, most))


class NaturalKernel:
    """Takes x as it lies, some tokens at a time. Subclasses compile their functions, and call them."""

    functions: Iterable[jit.Compiled]

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, columns: int) -> None:
        """``columns``: that a row of x must have."""
        self.call = call
        self.packed = packed
        self.columns = columns
        self.bias = float_vector(bias)
        self._direct = call.dtype == "float32" and columns == call.k

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in self.functions)

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty(*x.shape[:-1], call.n)
        if y.numel() == 0:
            return y
        if not self._direct:  # as float32, with the columns of zeros that a kernel may read
            x = torch.nn.functional.pad(x.to(torch.float32), (0, self.columns - call.k))
        x = x.contiguous()
        m = y.numel() // call.n
        self._multiply(x.data_ptr(), y.data_ptr(), m, parallel.threads_for(m * call.stored, m))
        return y

    def work_on_rows(self, m: int) -> Work | None:
        """See :class:`~spcomp.codegen.mlir_cpu.laid_down.LinearKernel`."""
        if not self._direct:
            return None
        threads = parallel.threads_for(m * self.call.stored, m)
        return Work(0, lambda reads, y, _: self._stages(reads[0], y, m, threads))

    def work_on_tiles(self, tiles: int) -> Work | None:
        return None

    def _multiply(self, x: int, y: int, m: int, threads: int) -> None:
        raise NotImplementedError

    def _stages(self, x: int, y: int, m: int, threads: int) -> list[parallel.Stage]:
        """The calls that :meth:`_multiply` makes."""
        raise NotImplementedError


class FewTokensKernel(NaturalKernel):
    """One function for any number of tokens."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        self.stream = stream = stream_of(call, packed)
        super().__init__(call, packed, bias, stream.padded_columns)
        text = stream.text(token_counts(call), bias is not None, call.epilogue.activation, MLIR_DTYPES[call.dtype])
        held = len(stream.buffers) + 1
        self.body, self._enter = jit.compile_all([(stream.name, text, 2 + held, 3), job(held, 2, rows=True)])
        self.functions = (self.body,)
        self._pointers = (*pointers(packed, stream.buffers), self.bias.data_ptr())
        self._bound = bind(self.body, self._pointers, (0, len(stream.work)), rows=True)

    def _multiply(self, x: int, y: int, m: int, threads: int) -> None:
        if threads == 1:
            self._bound.run(self._bound.address, x, y, m)
        else:
            parallel.over(self.body, (x, *self._pointers, y, m), self.stream.work, threads)

    def _stages(self, x: int, y: int, m: int, threads: int) -> list[parallel.Stage]:
        cuts = self.stream.work.cuts(threads)
        spans = zip(cuts[::2], cuts[1::2], strict=True)
        return [[[(self.body, (x, *self._pointers, y, m, lo, hi))] for lo, hi in spans]]
