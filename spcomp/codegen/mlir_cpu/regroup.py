"""Tiles of the convolution before, taken apart: into the planes, or the tiles, that a strided convolution reads.

before: x [tiles, C, 16]: tile 0 holds pixels (0, 0), (0, 1), ... of a plane
after:  the plane of each phase, zeros around it; or, of a 1x1 convolution, tiles of every other pixel

A piece is neighbours in the result, at most sixteen, that two neighbouring tiles have, and zeros among them: for each
channel two loads, one permutation of their lanes and one masked store.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.planes import Planes
from spcomp.codegen.mlir_cpu.segments import Ints, load_mask
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector
from spcomp.codegen.mlir_cpu.window import PERMUTE
from spcomp.conv_layout import pointwise


@dataclass(frozen=True, eq=False)
class Pieces:
    """Where the lanes of one image go. Offsets in elements, of channel 0."""

    source: Ints
    """First lane of a tile, ..."""
    other: Ints
    """... and of the one after it, or of the same where that has none of the piece."""
    lanes: NDArray[np.uint8]
    """[pieces, 16]: of those 32, which becomes each lane of the piece, ..."""
    taken: NDArray[np.uint16]
    """... in these lanes; the others of ``stored`` become zero."""
    stored: NDArray[np.uint16]
    to: Ints
    step: int
    """From a channel to the next in the result."""

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in self._arrays())

    def tables(self) -> tuple[int, ...]:
        """The arguments of ``regroup`` between out and the channels."""
        return *(a.ctypes.data for a in self._arrays()), len(self.to), self.step

    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        return self.source, self.other, self.lanes, self.taken, self.stored, self.to


def into_planes(planes: Planes, lo: int, hi: int) -> Pieces:
    """From tiles of the input's pixels to rows ``lo`` to ``hi`` of the planes, the first of them at the beginning."""
    conv = planes.conv
    (sy, sx), (down, across) = conv.stride, planes.phases
    phase, i, j = (v.reshape(-1) for v in np.indices((down * across, hi - lo, planes.width)))
    y = (lo + i) * sy + phase // across - conv.padding[0]
    x = j * sx + phase % across - conv.padding[1]
    inside = (y >= 0) & (y < conv.height) & (x >= 0) & (x < conv.width)
    to = phase * (conv.channels * planes.plane) + i * planes.width + j
    row = phase * (hi - lo) + i
    chunk = row * -(-planes.width // LANES) + j // LANES
    return _pieces(conv.channels, np.where(inside, y * conv.width + x, -1), to, chunk, planes.plane)


def into_tiles(planes: Planes, first: int, stop: int) -> Pieces:
    """From tiles of the input's pixels to tiles of those that a 1x1 convolution reads, zeros in the last one's rest.

    Tiles ``first`` to ``stop`` of them, the first of them at the beginning.
    """
    conv = planes.conv
    pixel = np.arange(first * LANES, stop * LANES)
    y, x = np.divmod(pixel, conv.output[1])
    source = y * conv.stride[0] * conv.width + x * conv.stride[1]
    tile, lane = np.divmod(np.arange(pixel.size), LANES)
    to = tile * (conv.channels * LANES) + lane
    return _pieces(conv.channels, np.where(pixel < conv.pixels, source, -1), to, tile, LANES)


def _pieces(channels: int, pixel: Ints, to: Ints, chunk: Ints, step: int) -> Pieces:
    """``pixel``: of each element of the result in channel 0, the input's pixel, or -1 for zero; ``to``: its offset.

    ``chunk``: the same number for at most sixteen neighbours, whose pixels only ascend.
    """
    starts = np.ones(pixel.size, np.bool_)
    starts[1:] = np.diff(chunk) != 0
    number = np.cumsum(starts) - 1
    tile = np.where(pixel >= 0, pixel // LANES, 0)
    low = np.full(int(starts.sum()), pixel.max(initial=0) // LANES)
    np.minimum.at(low, number[pixel >= 0], tile[pixel >= 0])
    pair = np.where(pixel >= 0, (tile - low[number]) // 2, 0)
    latest = np.maximum.accumulate(number * (pair.max(initial=0) + 1) + pair)  # a zero goes with what is before it
    starts[1:] = np.diff(latest) != 0
    number, begin = np.cumsum(starts) - 1, np.flatnonzero(starts)
    source = np.full(begin.size, pixel.max(initial=0) // LANES)
    np.minimum.at(source, number[pixel >= 0], tile[pixel >= 0])
    other = source.copy()
    np.maximum.at(other, number[pixel >= 0], tile[pixel >= 0])
    lane = np.arange(pixel.size) - begin[number]
    lanes = np.zeros((begin.size, LANES), np.uint8)
    lanes[number, lane] = np.where(pixel >= 0, pixel % LANES + LANES * (tile != source[number]), 0)
    bits = np.int64(1) << lane
    taken = np.bincount(number, np.where(pixel >= 0, bits, 0), begin.size).astype(np.uint16)
    stored = np.bincount(number, bits, begin.size).astype(np.uint16)
    order = np.argsort(source, kind="stable")
    size = channels * LANES
    return Pieces(
        source[order] * size, other[order] * size, lanes[order], taken[order], stored[order], to[begin][order], step
    )


def regroup_text() -> str:
    """``regroup(x, out, source, other, lanes, taken, stored, to, count, step, c_lo, c_hi)``: pieces of some channels.

    Needs AVX-512.
    """
    tables = (("source", "i64"), ("other", "i64"), ("lanes", "i8"), ("taken", "i16"), ("stored", "i16"), ("to", "i64"))
    f = Function("regroup", (("x", "f32"), ("out", "f32"), *tables), ("count", "step", "c_lo", "c_hi"))
    with f.loop(f.idx(0), "%count", hint="p") as p:
        source, other, to = (f.load_index(f"%{name}", p.index, "i64") for name in ("source", "other", "to"))
        narrow = f.vload("%lanes", f.mul(p.index, f.idx(LANES)), vector("i8"), "i8")
        lanes = f.val(f"arith.extui {narrow} : {vector('i8')} to {IVEC}", "v")
        taken, stored = load_mask(f, "%taken", p.index), load_mask(f, "%stored", p.index)
        with f.loop("%c_lo", "%c_hi", hint="c") as c:
            at = f.mul(c.index, f.idx(LANES))
            pair = [f.vload("%x", f.add(start, at)) for start in (source, other)]
            call = f'llvm.call_intrinsic "{PERMUTE}"({pair[0]}, {lanes}, {pair[1]})'
            value = f.val(f"{call} : ({VEC}, {IVEC}, {VEC}) -> {VEC}", "x")
            value = f.val(f"arith.select {taken}, {value}, {f.splat('0.0')} : {MASK}, {VEC}", "x")
            store_row(f, value, "%out", f.add(to, f.mul(c.index, "%step")), "f32", stored)
    return f.text()


@dataclass(frozen=True, eq=False)
class Regrouping:
    """What moves the tiles of an image, or what some tiles of the result need of it."""

    planes: Planes
    move: jit.Compiled
    _known: dict[tuple[int, int], Pieces] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, planes: Planes) -> Self:
        """For the convolution of these planes; compiled once for all."""
        return cls(planes, jit.compile_text("regroup", regroup_text(), 8, 4))

    @property
    def nbytes(self) -> int:
        with self._lock:
            return sum(pieces.nbytes for pieces in self._known.values())

    def pieces(self, first: int, stop: int) -> Pieces:
        """What tiles ``first`` to ``stop`` of the sums read."""
        with self._lock:
            if (first, stop) not in self._known:
                planes = self.planes
                made = into_tiles(planes, first, stop) if pointwise(planes.conv) else into_planes(planes, *planes.rows(first, stop))
                self._known[first, stop] = made
            return self._known[first, stop]

    def step(self, x: int, out: int, tiles: tuple[int, int], channels: tuple[int, int]) -> parallel.Step:
        """The call that moves what these tiles of the sums need, of some channels, from ``x`` to ``out``."""
        return self.move, (x, out, *self.pieces(*tiles).tables(), *channels)
