"""Direct convolutions in int8: weights by output channel, x by image, sums in 32 bits. Needs AVX-512 VNNI and VBMI.

An image becomes bytes once (:mod:`~spcomp.codegen.mlir_cpu.octets`), with zeros around it; nothing is unrolled into
patches. Then panel by panel of pixels: sums of all rows, and the pass that makes planes of them.
"""

from __future__ import annotations

import ctypes
from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu import segments as seg
from spcomp.codegen.mlir_cpu.int8_rows import OFFSET
from spcomp.codegen.mlir_cpu.octets import PARTS, SLACK, Octets, largest_text, octets_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.taps8 import planes8_text, taps8_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector, pointers
from spcomp.encodings.fours import Fours
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.windowed import UNIT
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

PANEL_BYTES = 256 * 1024
"""Of sums that wait to become planes, at most."""
INT_BYTES = 4
LINE = 64


class Rounding:
    """An image as bytes: its largest magnitude, then its pixels. Thread safe."""

    def __init__(self, octets: Octets, dtype: str) -> None:
        conv = octets.conv
        self.octets, self.conv = octets, conv
        self.largest, self.copy = jit.compile_all(
            [
                ("largest", largest_text(dtype), 2, 3),
                ("octets", octets_text(conv.channels, conv.width < LANES, dtype), 5, 5),
            ]
        )
        self.lines = octets.lines()
        self.padded = octets.padded

    @property
    def source(self) -> str:
        return f"// largest\n{self.largest.text}\n// octets\n{self.copy.text}"

    def __call__(self, x: int, q: int, most: int, scale: int, threads: int) -> None:
        """Addresses of one image, of its bytes, of :data:`PARTS` numbers and of its scale."""
        conv, parts = self.conv, min(threads, PARTS)
        shares = parallel.even(conv.inputs, parts)
        parallel.run([[(self.largest, (x, most, i, lo, hi))] for i, (lo, hi) in enumerate(shares)])
        if self.padded:
            ctypes.memset(q, OFFSET, self.octets.total)
        sizes = (parts, conv.height * conv.width, conv.width)
        known = (x, most, self.lines.ctypes.data, q, scale, *sizes)
        parallel.run([[(self.copy, (*known, lo, hi))] for lo, hi in parallel.even(conv.height, threads)])


class Conv8Kernel:
    """``y = activation(sums * weight_scale * image_scale + bias + residual)``. Thread safe: scratch is per thread."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor) -> None:
        """scale [n]: of each row of the weight, times BatchNorm's."""
        encoding, conv = packed.encoding, call.conv
        assert conv is not None
        self.octets = octets = Octets(conv)
        if not isinstance(encoding, Fours) or (encoding.run or call.k) != conv.run:
            raise KernelError(
                f"generate an int8 convolution for {call.layer}", f"encoding {encoding}",
                f"fours(width=64, run={conv.run})",
            )  # fmt: skip
        parallel.ready()
        self.call, self.packed = call, packed
        self.bias, self.scale = float_vector(bias), float_vector(scale)
        self.shift = (-OFFSET * packed.unpack().sum(dim=1, dtype=torch.int64)).to(torch.int32)
        self.pixels = next(p for p in (1, 2, 4, 8, 16) if p >= min(16, octets.span))
        self.at = _places(octets, encoding, packed)
        self.slots = np.diff(packed.buffers["group_start"].numpy())
        self.stride = -(-call.n // LANES) * LANES
        self.tiles = -(-octets.span // LANES)
        self.panel = max(1, min(self.tiles, PANEL_BYTES // (LANES * INT_BYTES * max(1, self.stride))))
        self.table = seg.segments(octets.pixel(), seg.natural_destination(conv.pixels), self.stride, conv.pixels)
        dtype = MLIR_DTYPES[call.dtype]
        text = taps8_text(octets.step, encoding.width, self.pixels)
        finish = planes8_text(call.n % LANES, "i32", call.epilogue, dtype)
        self.rounding = Rounding(octets, dtype)
        self.body, self.finish = jit.compile_all([("taps8", text, 6, 4), ("planes8", finish, 10, 7)])
        values, columns, start = pointers(packed, ("values", "columns", "group_start"))
        self._pointers = (values, columns, self.at.ctypes.data, start)

    @property
    def source(self) -> str:
        return "\n".join([self.rounding.source, *(f"// {c.name}\n{c.text}" for c in (self.body, self.finish))])

    @property
    def extra_nbytes(self) -> int:
        vectors = self.shift.nbytes + self.scale.nbytes + self.bias.nbytes
        return vectors + self.at.nbytes + self.table.nbytes + self.rounding.lines.nbytes

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        call, octets = self.call, self.octets
        assert call.conv is not None
        y = x.new_empty((x.shape[0], *call.conv.size(call.n)))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = y if residual is None else residual.contiguous()
        threads = parallel.threads_for(call.conv.pixels * call.stored // 4)
        image = -(-(octets.total + LANES * octets.step + SLACK) // LINE) * LINE
        sums = self.panel * LANES * self.stride * INT_BYTES
        q = scratch(SLACK + image + LINE * 4 + sums) + SLACK
        most, scale = q + image, q + image + PARTS * INT_BYTES
        ys = q + image + 4 * LINE
        inputs, outputs = call.conv.inputs * x.element_size(), y.numel() // len(y) * y.element_size()
        for i in range(len(x)):
            self.rounding(x.data_ptr() + i * inputs, q, most, scale, threads)
            out = (other.data_ptr() + i * outputs, y.data_ptr() + i * outputs)
            parallel.run(self._steps(threads, q, scale, *out, ys, y.element_size()))
        return y

    def _steps(
        self, threads: int, q: int, scale: int, residual: int, y: int, ys: int, item: int
    ) -> list[list[parallel.Step]]:
        """Each thread's calls: its rows of every panel, and what becomes of them."""
        vectors = (self.shift.data_ptr(), self.scale.data_ptr(), self.bias.data_ptr(), scale)
        table = (self.table.masks.ctypes.data, self.table.to.ctypes.data, self.table.first.ctypes.data)
        known = (*vectors, residual - LANES * item, y - LANES * item, *table)
        sizes = (self.stride, self.table.step)
        cuts = [0, len(self.slots)] if threads == 1 else parallel.balance(self.slots, threads)
        work: list[list[parallel.Step]] = [[] for _ in range(threads)]
        for tile in range(0, self.tiles, self.panel):
            stop = min(tile + self.panel, self.tiles)
            from_ = q + tile * LANES * self.octets.step
            count = -(-min((stop - tile) * LANES, self.octets.span - tile * LANES) // self.pixels) * self.pixels
            for mine, (lo, hi) in zip(work, pairwise(cuts), strict=True):
                if lo == hi:
                    continue
                rows = (lo * LANES, min(hi * LANES, self.call.n))
                mine.append((self.body, (from_, *self._pointers, ys, self.stride, count, lo, hi)))
                mine.append((self.finish, (ys, *known, count, *sizes, tile, stop, *rows)))
        return work


def _places(octets: Octets, encoding: Fours, packed: PackedTensor) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Where each slot's window begins in an image's bytes, for output pixel 0."""
    buffers = {name: buffer.numpy() for name, buffer in packed.buffers.items()}
    first = buffers["first"].astype(np.int64) * UNIT
    run = encoding.runs(buffers)
    starts = octets.runs()
    if not encoding.run or not starts.size:
        return first.astype(np.int32)
    found = np.where(buffers["values"].any(axis=(1, 2)), starts[run] + first - run * encoding.run, 0)
    return found.astype(np.int32)
