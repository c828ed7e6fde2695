"""Direct convolution with baked code: pixels in the lanes, every column of the weight a displacement into the planes.

Nothing is unrolled into patches. The planes are padded (and split by phase, where there is a stride) in scratch memory,
or are the input's own; blocks of code run along them; sums are finished into the result, tile by tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from spcomp.codegen.baked_cpu.body import bake, enter, place, unit_rows
from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.planes import Planes, finish_text, planes_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import CHUNK_BYTES, MLIR_DTYPES
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES
from spcomp.codegen.x86.memory import PAGE_BYTES
from spcomp.encodings.pack import PackedTensor
from spcomp.plan import KernelCall

FEWEST_TILES = 8
"""Tiles of a panel, at least: code is read anew for every panel."""


@dataclass(frozen=True)
class _Chunk:
    """Some rows of W and the table of their blocks."""

    row_lo: int
    row_hi: int
    table: tuple[int, int]


class BakedConv:
    """``y = activation(conv(x) * scale + bias + residual)``. Thread safe: scratch is per thread, the rest read-only."""

    def __init__(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None
    ) -> None:
        assert call.conv is not None
        self.call, self.packed = call, packed
        self.planes = planes = Planes(call.conv)
        one = torch.zeros(1)
        self.bias, self.scale = (one if v is None else v.detach().float().contiguous() for v in (bias, scale))
        schedule = dict(call.schedule)
        channels_first = planes.offsets().transpose(2, 0, 1).reshape(-1)
        taps = call.k // call.conv.channels
        order = torch.arange(call.k).reshape(taps, -1).t().reshape(-1).numpy()
        baked = bake(
            packed, schedule["rows"], schedule["columns"], schedule["groups"],
            order=order, offsets=channels_first * FLOAT_BYTES,
        )  # fmt: skip
        self.unit = unit_rows(call.n)
        rows = min(-(-call.n // LANES) * LANES, self.unit)
        self.panel = min(planes.tiles, max(FEWEST_TILES, CHUNK_BYTES // (ZMM_BYTES * rows)))
        self.stride = rows + 8
        dtype = MLIR_DTYPES[call.dtype]
        self.prepare, self.finish = jit.compile_all(
            [
                ("planes", planes_text(planes, dtype), 2, 2),
                ("finish", finish_text(planes, self.stride, call.epilogue, dtype), 8, 3),
            ]
        )
        place(baked)
        self.code = enter(baked, 1, self.stride)
        self.baked = baked
        self.masks, self.low, self.starts = planes.stored()
        self.weights = baked.products
        self._known: dict[int, list[list[_Chunk]]] = {}
        furthest = int(channels_first.max(initial=0)) + planes.tiles * LANES
        self.over_bytes = max(0, furthest - call.conv.inputs) * FLOAT_BYTES
        """How far behind the input's own planes a last tile reads, into lanes that are dropped."""

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in (self.prepare, self.code, self.finish))

    @property
    def extra_nbytes(self) -> int:
        for threads in {1, torch.get_num_threads()}:
            self._parts(threads)
        vectors = self.bias.nbytes + self.scale.nbytes
        return vectors + self.masks.nbytes + self.low.nbytes + self.starts.nbytes + self.baked.nbytes

    def _parts(self, threads: int) -> list[list[_Chunk]]:
        """For each thread its chunks of rows, balanced by nonzeros."""
        known = self._known.get(threads)
        if known is None:
            cuts = parallel.balance(self.weights, threads)
            known = self._known[threads] = [
                [
                    _Chunk(u * self.unit, min((u + 1) * self.unit, self.call.n), self.baked.table(u, u + 1))
                    for u in range(lo, hi)
                ]
                for lo, hi in pairwise(cuts)
            ]
        return known

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        call, conv = self.call, self.planes.conv
        y = x.new_empty((x.shape[0], *conv.size(call.n)))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = y if residual is None else residual.contiguous()
        item = x.element_size()
        threads = parallel.threads_for(conv.pixels * call.stored)
        planes_bytes = -(-(self.planes.total + LANES) * FLOAT_BYTES // PAGE_BYTES) * PAGE_BYTES
        sums_bytes = self.panel * ZMM_BYTES * self.stride
        room = scratch(planes_bytes + threads * sums_bytes)
        for image in range(x.shape[0]):
            at = x.data_ptr() + image * conv.inputs * item
            xs = self._planes(at, room, threads)
            out = image * call.n * conv.pixels * item
            self._image(xs, other.data_ptr() + out, y.data_ptr() + out, room + planes_bytes, sums_bytes, threads)
        return y

    def _planes(self, x: int, room: int, threads: int) -> int:
        """Address of the planes of one image: its own, where a last tile that reads past them stays in their page."""
        conv = self.planes.conv
        if self.planes.natural and self.call.dtype == "float32":
            end = x + conv.inputs * FLOAT_BYTES
            if (end - 1) // PAGE_BYTES == (end + self.over_bytes - 1) // PAGE_BYTES:
                return x
        if threads == 1:
            self.prepare.call(x, room, 0, conv.channels)
        else:
            shares = parallel.even(conv.channels, threads)
            parallel.run([[(self.prepare, (x, room, lo, hi))] for lo, hi in shares])
        return room

    def _image(self, xs: int, residual: int, y: int, sums: int, sums_bytes: int, threads: int) -> None:
        vectors = (self.scale.data_ptr(), self.bias.data_ptr())
        parts = self._parts(threads)
        work: list[list[parallel.Step]] = [[] for _ in parts]
        for first in range(0, self.planes.tiles, self.panel):
            tiles = min(self.panel, self.planes.tiles - first)
            tables = (
                self.masks.ctypes.data + 2 * first, self.low.ctypes.data + 2 * first,
                self.starts.ctypes.data + 8 * first,
            )  # fmt: skip
            for i, part in enumerate(parts):
                mine = sums + i * sums_bytes
                for c in part:
                    base = mine - c.row_lo * ZMM_BYTES
                    multiply = (xs + first * ZMM_BYTES, base, *c.table, 0, tiles)
                    store = (mine, *vectors, residual, y, *tables, tiles, c.row_lo, c.row_hi)
                    if threads == 1:
                        self.code.call(*multiply, 0, 0)
                        self.finish.call(*store)
                    else:
                        work[i] += [(self.code, (*multiply, 0, 0)), (self.finish, store)]
        if threads > 1:
            parallel.run(work)
