"""Pixels of a layout, taken apart: into the planes, or the tiles, that a strided convolution reads.

before: x [tiles, C, 16], tile 0 holds pixels (0, 0), (0, 1), ... of a plane; or, for tiles, planes as they are
after:  rows of the planes of each phase, zeros around them; or, of a 1x1 convolution, tiles of every other pixel

A piece is at most sixteen neighbours in the result that come from 32 neighbouring pixels, and zeros among them: for
each channel two loads, one permutation of their lanes and one masked store.
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
from spcomp.codegen.mlir_cpu.segments import Ints, load_mask, tiles_destination
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector
from spcomp.codegen.mlir_cpu.window import PERMUTE
from spcomp.conv_layout import NATURAL, TILES, pointwise
from spcomp.conv_shape import ConvShape

CHANNELS = 16
"""That are moved together: their lines of the result stay in the L1 cache from piece to piece."""
_ALL = (1 << LANES) - 1


@dataclass(frozen=True, eq=False)
class Pieces:
    """Where the lanes of one image go. Offsets in elements, of channel 0."""

    starts: Ints
    """[pieces, 3]: of sixteen pixels, of the sixteen after them (or of the same), and where the piece goes."""
    masks: NDArray[np.uint16]
    """[pieces, 4]: which lanes of the two are there, which of the piece are pixels, and which are stored."""
    lanes: NDArray[np.uint8]
    """[pieces, 16]: which of the 32 becomes each lane of the piece."""
    steps: tuple[int, int]
    """From a channel to the next, in x and in the result."""

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.masks.nbytes + self.lanes.nbytes

    def tables(self) -> tuple[int, ...]:
        """The arguments of ``regroup`` between out and the channels."""
        return *(a.ctypes.data for a in (self.starts, self.masks, self.lanes)), len(self.starts), *self.steps


def into_planes(planes: Planes, lo: int, hi: int, given: str = TILES) -> Pieces:
    """To rows ``lo`` to ``hi`` of the planes, the first of them at the beginning."""
    conv = planes.conv
    (sy, sx), (down, across) = conv.stride, planes.phases
    phase, i, j = (v.reshape(-1) for v in np.indices((down * across, hi - lo, planes.width)))
    y = (lo + i) * sy + phase // across - conv.padding[0]
    x = j * sx + phase % across - conv.padding[1]
    inside = (y >= 0) & (y < conv.height) & (x >= 0) & (x < conv.width)
    to = phase * (conv.channels * planes.plane) + i * planes.width + j
    return _pieces(conv, given, np.where(inside, y * conv.width + x, -1), i, to, planes.plane)


def into_tiles(planes: Planes, first: int, stop: int, given: str = TILES) -> Pieces:
    """To tiles ``first`` to ``stop`` of the pixels that a 1x1 convolution reads, the first of them at the beginning.

    What is left of the last one is zeros.
    """
    conv = planes.conv
    pixel = np.arange(first * LANES, stop * LANES)
    y, x = np.divmod(pixel, conv.output[1])
    source = y * conv.stride[0] * conv.width + x * conv.stride[1]
    to = tiles_destination(pixel.size, conv.channels)
    return _pieces(conv, given, np.where(pixel < conv.pixels, source, -1), y, to, LANES)


def _pieces(conv: ConvShape, given: str, pixel: Ints, line: Ints, to: Ints, step: int) -> Pieces:
    """``pixel``: of each element of the result in channel 0, the input's pixel, or -1 for zero; ``to``: its offset.

    ``line``: the same number where pixels ascend; ``step``: from a channel to the next in the result.
    """
    begin = _begins(pixel, line, to)
    number = np.repeat(np.arange(begin.size), np.diff(begin, append=pixel.size))
    used = np.flatnonzero(pixel >= 0)
    mine, tile = number[used], pixel[used] // LANES
    first, other = np.full(begin.size, pixel.size + pixel.max(initial=0)), np.zeros(begin.size, np.int64)
    np.minimum.at(first, mine, tile)
    np.maximum.at(other, mine, tile)
    first = np.minimum(first, other)  # zeros alone read the first tile
    lane = np.arange(pixel.size) - begin[number]
    lanes = np.zeros((begin.size, LANES), np.uint8)
    lanes[mine, lane[used]] = pixel[used] % LANES + LANES * (tile - first[mine])
    taken, stored = np.zeros(begin.size, np.int64), np.zeros(begin.size, np.int64)
    np.add.at(taken, mine, 1 << lane[used])
    np.add.at(stored, number, 1 << lane)
    pixels, size = conv.height * conv.width, LANES if given == NATURAL else conv.channels * LANES
    there = [_ALL if given == TILES else _ALL >> np.maximum(0, (t + 1) * LANES - pixels) for t in (first, other)]
    masks = np.stack([*np.broadcast_arrays(*there, taken, stored)], 1).astype(np.uint16)
    starts = np.stack([first * size, other * size, to[begin]], 1)
    order = np.argsort(first, kind="stable")
    return Pieces(starts[order], masks[order], lanes[order], (pixels if given == NATURAL else LANES, step))


def _begins(pixel: Ints, line: Ints, to: Ints) -> Ints:
    """The first element of each piece. A zero goes with what is before it, if anything is and has room for it."""
    starts = np.ones(pixel.size, np.bool_)
    starts[1:] = np.diff(to) != 1
    run = np.cumsum(starts)
    used = np.flatnonzero(pixel >= 0)
    tile, fresh = pixel[used] // LANES, np.diff(run[used], prepend=0) != 0
    leads = fresh | (np.diff(line[used], prepend=-1) != 0)
    pair = (tile - tile[leads][np.cumsum(leads) - 1]) // 2
    starts[used[~fresh & (leads | (np.diff(pair, prepend=0) != 0))]] = True
    starts |= (np.arange(pixel.size) - np.flatnonzero(starts)[np.cumsum(starts) - 1]) % LANES == 0
    begin = np.flatnonzero(starts)
    some, size = np.logical_or.reduceat(pixel >= 0, begin), np.diff(begin, append=pixel.size)
    joins = ~some[:-1] & some[1:] & (size[:-1] + size[1:] <= LANES) & (np.diff(run[begin]) == 0)
    return np.delete(begin, np.flatnonzero(joins) + 1)


def regroup_text(dtype: str = "f32") -> str:
    """``regroup(x of dtype, out, starts, masks, lanes, count, x_step, step, c_lo, c_hi)``: the pieces of some channels.

    Needs AVX-512.
    """
    pointers = (("x", dtype), ("out", "f32"), ("starts", "i64"), ("masks", "i16"), ("lanes", "i8"))
    f = Function("regroup", pointers, ("count", "x_step", "step", "c_lo", "c_hi"))
    with f.loop("%c_lo", "%c_hi", f.idx(CHANNELS), hint="block") as block, f.loop(f.idx(0), "%count", hint="p") as p:
        at, of = f.mul(p.index, f.idx(3)), f.mul(p.index, f.idx(4))
        *sources, to = (f.load_index("%starts", f.add(at, f.idx(i)), "i64") for i in range(3))
        *there, taken, stored = (load_mask(f, "%masks", f.add(of, f.idx(i))) for i in range(4))
        narrow = f.vload("%lanes", f.mul(p.index, f.idx(LANES)), vector("i8"), "i8")
        lanes = f.val(f"arith.extui {narrow} : {vector('i8')} to {IVEC}", "v")
        stop = f.smaller(f.add(block.index, f.idx(CHANNELS)), "%c_hi")
        with f.loop(block.index, stop, hint="c") as c:
            across = f.mul(c.index, "%x_step")
            pair = [f.load_wide("%x", f.add(s, across), dtype, mask) for s, mask in zip(sources, there, strict=True)]
            call = f'llvm.call_intrinsic "{PERMUTE}"({pair[0]}, {lanes}, {pair[1]})'
            value = f.val(f"{call} : ({VEC}, {IVEC}, {VEC}) -> {VEC}", "x")
            value = f.val(f"arith.select {taken}, {value}, {f.splat('0.0')} : {MASK}, {VEC}", "x")
            store_row(f, value, "%out", f.add(to, f.mul(c.index, "%step")), "f32", stored)
    return f.text()


@dataclass(frozen=True, eq=False)
class Regrouping:
    """What moves an image, or what some tiles of the result need of it."""

    planes: Planes
    given: str
    """The layout of x: natural or tiles."""
    move: jit.Compiled
    _known: dict[tuple[int, int], Pieces] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, planes: Planes, given: str, dtype: str) -> Self:
        """For the convolution of these planes; compiled once for all."""
        return cls(planes, given, jit.compile_text("regroup", regroup_text(dtype), 5, 5))

    @property
    def nbytes(self) -> int:
        with self._lock:
            return sum(pieces.nbytes for pieces in self._known.values())

    def pieces(self, first: int, stop: int) -> Pieces:
        """Of what tiles ``first`` to ``stop`` of the sums read."""
        planes = self.planes
        with self._lock:
            if (first, stop) not in self._known:
                made = (
                    into_tiles(planes, first, stop, self.given)
                    if pointwise(planes.conv)
                    else into_planes(planes, *planes.rows(first, stop), self.given)
                )
                self._known[first, stop] = made
            return self._known[first, stop]

    def step(self, x: int, out: int, tiles: tuple[int, int], channels: tuple[int, int]) -> parallel.Step:
        """The call that moves what these tiles of the sums read, of some channels, from ``x`` to ``out``."""
        return self.move, (x, out, *self.pieces(*tiles).tables(), *channels)
