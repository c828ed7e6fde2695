"""N:M for a few tokens: sixteen output rows in the lanes, natural activations, no packing at all."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bound import bind, job
from spcomp.codegen.mlir_cpu.few import NaturalKernel, token_counts
from spcomp.codegen.mlir_cpu.nm import NmShape, nm_rows_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, pointers
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import KernelError
from spcomp.plan import KernelCall


class RowsKernel(NaturalKernel):
    """One function for each number of tokens."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> None:
        if not isinstance(packed.encoding, Nm):
            raise KernelError(f"generate a row kernel for {call.layer}", f"encoding {packed.encoding}", "nm")
        shape = NmShape(call.n, call.k, packed.encoding.n, packed.encoding.m)
        super().__init__(call, packed, bias, shape.padded_columns)
        sizes, dtype = token_counts(call), MLIR_DTYPES[call.dtype]
        text = [nm_rows_text(shape, t, bias is not None, call.epilogue.activation, dtype) for t in sizes]
        jobs: list[jit.Job] = [("nmrows", t, 5, 2) for t in text]
        *bodies, self._enter = jit.compile_all([*jobs, job(3, 2, rows=False)])
        self.bodies = dict(zip(sizes, bodies, strict=True))
        self.functions = bodies
        self._pointers = (*pointers(packed, ("values", "control")), self.bias.data_ptr())
        self._units = -(-call.n // LANES)
        self._bound = {t: bind(body, self._pointers, (0, self._units), rows=False) for t, body in self.bodies.items()}

    def _multiply(self, x: int, y: int, m: int, threads: int) -> None:
        for size, xs, ys in self._portions(x, y, m):
            if threads == 1:
                bound = self._bound[size]
                bound.run(bound.address, xs, ys)
            else:
                parallel.over(self.bodies[size], (xs, *self._pointers, ys), self._units, threads)

    def _stages(self, x: int, y: int, m: int, threads: int) -> list[parallel.Stage]:
        calls = [(self.bodies[size], (xs, *self._pointers, ys)) for size, xs, ys in self._portions(x, y, m)]
        return [[[(body, (*held, *share)) for body, held in calls] for share in parallel.even(self._units, threads)]]

    def _portions(self, x: int, y: int, m: int) -> Iterator[tuple[int, int, int]]:
        """Tokens that a function takes, with their addresses, until there are none left."""
        x_bytes, y_bytes = self.columns * 4, self.call.n * ITEM_BYTES[self.call.dtype]
        for size in self.bodies:
            while m >= size:
                yield size, x, y
                m -= size
                x += size * x_bytes
                y += size * y_bytes
