"""Kernels with sixteen tokens in the lanes: pack x, multiply, unpack with the epilogue.

Blocked CSR, blocks and N:M at any M share everything but the function in the middle (:class:`Body`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.encodings.pack import PackedTensor
from spcomp.plan import KernelCall

MLIR_DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
PANEL_TILES = 8
"""Tiles (of sixteen rows) packed, multiplied and unpacked before the next ones: they stay in the L2 cache."""
CHUNK_BYTES = 256 * 1024
"""Partial sums of the rows of W that are worked on together; half of a small L2."""

Job = tuple[str, str, int, int]
Row = tuple[int, int, tuple[int, ...]]
"""A range of (tiles of) rows of W and further pointers that belong to it."""


@dataclass(frozen=True, eq=False)
class Body:
    """What an encoding contributes: the function's text by tile count, its buffers, and its cuts along the rows."""

    padded_k: int
    padded_n: int
    text: Callable[[int], str]
    name: str
    pointers: tuple[int, ...]
    """Addresses of the packed buffers, in argument order after xs and ys."""
    row_pointers: int
    """Further pointers a row range carries."""
    row_weights: np.ndarray[tuple[int], np.dtype[np.int64]]
    """Work of each (tile or block of) rows, to balance threads."""
    rows_per_unit: int
    """Rows of W in one unit of ``row_weights``."""
    at_row: Callable[[int], tuple[int, ...]]
    """The further pointers of a range that starts at this unit."""
    keep: tuple[object, ...] = ()


class TokensKernel:
    """``y = activation(x @ W.T + bias)`` for any M. Thread safe: scratch is per thread, the rest is read-only."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, body: Body) -> None:
        self.call = call
        self.packed = packed
        self.body = body
        self.tiles = dict(call.schedule)["tiles"]
        self.bias = torch.zeros(1) if bias is None else bias.detach().to(torch.float32).contiguous()
        dtype = MLIR_DTYPES[call.dtype]
        jobs: list[Job] = [
            ("pack", pack_text(call.k, body.padded_k, dtype), 2, 3),
            ("unpack", unpack_text(call.n, body.padded_n, bias is not None, call.epilogue.activation, dtype), 3, 3),
        ]
        sizes = self._sizes()
        jobs += [(body.name, body.text(t), 2 + len(body.pointers) + body.row_pointers, 4) for t in sizes]
        self.pack, self.unpack, *bodies = jit.compile_all(jobs)
        self.bodies = dict(zip(sizes, bodies, strict=True))
        self._rows: dict[tuple[int, int], list[list[Row]]] = {}
        self._bias_ptr = self.bias.data_ptr()

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in (self.pack, *self.bodies.values(), self.unpack))

    @property
    def extra_nbytes(self) -> int:
        return self.bias.nbytes + self.body.row_pointers * 8 * len(self.body.row_weights)

    def _sizes(self) -> list[int]:
        """Tile counts that the calls of this row range can need: the schedule's and what covers a remainder."""
        rows = self.call.rows
        if rows.hi is not None and rows.lo == rows.hi:
            return sorted({t for _, _, t in self._spans(-(-max(1, rows.lo) // LANES))}, reverse=True)
        return [t for t in (16, 8, 4, 2, 1) if t <= self.tiles]

    def _spans(self, tiles: int) -> list[tuple[int, int, int]]:
        """(first tile, last tile, tiles at a time) that cover ``tiles``."""
        spans, at, size = [], 0, self.tiles
        while at < tiles:
            while size > tiles - at:
                size //= 2
            stop = at + (tiles - at) // size * size
            spans.append((at, stop, size))
            at = stop
        return spans

    def _row_ranges(self, threads: int, size: int) -> list[list[Row]]:
        """For each thread its chunks of rows, balanced by work, each small enough for its sums to stay in L2."""
        known = self._rows.get((threads, size))
        if known is not None:
            return known
        units = len(self.body.row_weights)
        chunk = max(1, CHUNK_BYTES // (4 * LANES * size * self.body.rows_per_unit))
        cuts = parallel.balance(self.body.row_weights, threads)
        made = [
            [(a, min(a + chunk, hi), self.body.at_row(a)) for a in range(lo, hi, chunk)]
            for lo, hi in zip(cuts, cuts[1:], strict=False)
            if hi > lo
        ]
        assert not made or made[-1][-1][1] == units
        self._rows[threads, size] = made
        return made

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call, body = self.call, self.body
        y = torch.empty((*x.shape[:-1], call.n), dtype=x.dtype)
        m = x.numel() // call.k if call.k else y.numel() // max(1, call.n)
        if y.numel() == 0:
            return y
        x = x.contiguous()
        panel_bytes = PANEL_TILES * LANES * (body.padded_k + body.padded_n) * 4
        xs = scratch(panel_bytes)
        ys = xs + PANEL_TILES * LANES * body.padded_k * 4
        x_ptr, y_ptr = x.data_ptr(), y.data_ptr()
        threads = parallel.threads_for(m * call.stored)
        step = PANEL_TILES * LANES
        item = x.element_size()
        for row in range(0, m, step):
            rows = min(step, m - row)
            self._panel(x_ptr + row * call.k * item, y_ptr + row * call.n * item, xs, ys, rows, threads)
        return y

    def _panel(self, x: int, y: int, xs: int, ys: int, m: int, threads: int) -> None:
        tiles = -(-m // LANES)
        spans = self._spans(tiles)
        if threads == 1:
            self.pack.call(x, xs, m, 0, tiles)
            for lo, hi, size in spans:
                main = self.bodies[size].call
                for row_lo, row_hi, more in self._row_ranges(1, size)[0]:
                    main(xs, ys, *self.body.pointers, *more, lo, hi, row_lo, row_hi)
            self.unpack.call(ys, self._bias_ptr, y, m, 0, tiles)
            return
        by_tiles = parallel.even(tiles, threads)
        parallel.run(self.pack, [[(x, xs, m, lo, hi)] for lo, hi in by_tiles])
        for lo, hi, size in spans:
            ranges = self._row_ranges(threads, size)
            parallel.run(
                self.bodies[size],
                [[(xs, ys, *self.body.pointers, *more, lo, hi, a, b) for a, b, more in part] for part in ranges],
            )
        parallel.run(self.unpack, [[(ys, self._bias_ptr, y, m, lo, hi)] for lo, hi in by_tiles])


def row_nonzeros(starts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Counts from offsets."""
    return np.diff(starts.astype(np.int64))


def pointers(packed: PackedTensor, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(packed.buffers[name].data_ptr() for name in names)
