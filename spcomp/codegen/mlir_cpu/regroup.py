"""Tiles of the convolution before, taken apart: into the planes, or the tiles, that a strided convolution reads.

before: x [tiles, C, 16]: tile 0 holds pixels (0, 0), (0, 1), ... of a plane
after:  the plane of each phase, zeros around it; or, of a 1x1 convolution, tiles of every other pixel

A piece is those lanes of a tile that become neighbours: one load, a compression of lanes and a masked store a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.planes import Planes
from spcomp.codegen.mlir_cpu.segments import Ints, border_text, load_mask, tiles_destination, uncovered
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function
from spcomp.conv_layout import pointwise

COMPRESS = "llvm.experimental.vector.compress.v16f32"


@dataclass(frozen=True, eq=False)
class Pieces:
    """Where the lanes of one image go. Offsets in elements, of channel 0."""

    source: Ints
    """A tile's first lane."""
    taken: NDArray[np.uint16]
    """Its lanes that go to ``to`` and the elements after it."""
    to: Ints
    step: int
    """From a channel to the next in the result."""
    around: Ints
    """Where zeros go, sixteen elements at a time, ..."""
    zeros: NDArray[np.uint16]
    """... of which these."""

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.source, self.taken, self.to, self.around, self.zeros))

    def tables(self) -> tuple[int, int, int, int, int]:
        """The first arguments of ``regroup`` after x and out."""
        return self.source.ctypes.data, self.taken.ctypes.data, self.to.ctypes.data, len(self.to), self.step


def into_planes(planes: Planes) -> Pieces:
    """From tiles of the input's pixels to the planes that :class:`Planes` says."""
    conv = planes.conv
    (sy, sx), (down, across) = conv.stride, planes.phases
    height = planes.plane // planes.width
    y, x = np.divmod(np.arange(conv.height * conv.width), conv.width)
    y, x = y + conv.padding[0], x + conv.padding[1]
    phase = y % sy * across + x % sx
    read = (y % sy < down) & (x % sx < across) & (y // sy < height) & (x // sx < planes.width)
    inside = y // sy * planes.width + x // sx
    apart = conv.channels * planes.plane
    to = np.where(read, phase * apart + inside, -1)
    filled = np.zeros((down * across, planes.plane), np.bool_)
    filled[phase[read], inside[read]] = True
    around = [(number * apart, *uncovered(plane)) for number, plane in enumerate(filled)]
    return _pieces(
        conv.channels, to, planes.plane,
        np.concatenate([first + at for first, at, _ in around]), np.concatenate([masks for *_, masks in around]),
    )  # fmt: skip


def into_tiles(planes: Planes) -> Pieces:
    """From tiles of the input's pixels to tiles of those that a 1x1 convolution reads, zeros in the last one's rest."""
    conv = planes.conv
    y, x = np.divmod(np.arange(conv.height * conv.width), conv.width)
    (sy, sx), (height, width) = conv.stride, conv.output
    read = (y % sy == 0) & (x % sx == 0) & (y // sy < height) & (x // sx < width)
    where = tiles_destination(conv.pixels, conv.channels)
    to = np.full(y.size, -1)
    to[read] = where[(y // sy * width + x // sx)[read]]
    last, used = divmod(conv.pixels, LANES)
    around = np.array([last * conv.channels * LANES] if used else [], np.int64)
    return _pieces(conv.channels, to, LANES, around, np.full(around.shape, (1 << LANES) - (1 << used), np.uint16))


def _pieces(channels: int, to: Ints, step: int, around: Ints, zeros: NDArray[np.uint16]) -> Pieces:
    """``to``: of each pixel of the input, where it goes in channel 0, or -1."""
    pixel = np.flatnonzero(to >= 0)
    pixel = pixel[np.lexsort((to[pixel], pixel // LANES))]
    goal, tile = to[pixel], pixel // LANES
    starts = np.ones(pixel.size, np.bool_)
    starts[1:] = (np.diff(goal) != 1) | (np.diff(tile) != 0)
    masks = np.zeros(int(starts.sum()), np.int64)
    np.add.at(masks, np.cumsum(starts) - 1, 1 << (pixel % LANES))
    source = (tile[starts] * (channels * LANES)).astype(np.int64)
    return Pieces(source, masks.astype(np.uint16), goal[starts].astype(np.int64), step, around, zeros)


def regroup_text() -> str:
    """``regroup(x, out, source, taken, to, count, step, c_lo, c_hi)``: the pieces of some channels. Needs AVX-512."""
    pointers = (("x", "f32"), ("out", "f32"), ("source", "i64"), ("taken", "i16"), ("to", "i64"))
    f = Function("regroup", pointers, ("count", "step", "c_lo", "c_hi"))
    with f.loop(f.idx(0), "%count", hint="p") as p:
        source, to = f.load_index("%source", p.index, "i64"), f.load_index("%to", p.index, "i64")
        taken = load_mask(f, "%taken", p.index)
        lanes = f.val(f"math.ctpop {f.load('%taken', p.index, 'i16')} : i16", "n")
        stored = f.mask(f.val(f"arith.index_castui {lanes} : i16 to index", "n"))
        with f.loop("%c_lo", "%c_hi", hint="c") as c:
            value = f.vload("%x", f.add(source, f.mul(c.index, f.idx(LANES))))
            call = f'llvm.call_intrinsic "{COMPRESS}"({value}, {taken}, {f.splat("0.0")})'
            value = f.val(f"{call} : ({VEC}, {MASK}, {VEC}) -> {VEC}", "x")
            store_row(f, value, "%out", f.add(to, f.mul(c.index, "%step")), "f32", stored)
    return f.text()


@dataclass(frozen=True, eq=False)
class Regrouping:
    """Pieces, and the functions that move them."""

    pieces: Pieces
    channels: int
    move: jit.Compiled
    clear: jit.Compiled

    @classmethod
    def of(cls, planes: Planes) -> Self:
        """For the convolution of these planes; compiled once for all."""
        pieces = into_tiles(planes) if pointwise(planes.conv) else into_planes(planes)
        move, clear = jit.compile_all([("regroup", regroup_text(), 5, 4), ("border", border_text(), 3, 4)])
        return cls(pieces, planes.conv.channels, move, clear)

    @property
    def nbytes(self) -> int:
        return self.pieces.nbytes

    def __call__(self, x: int, out: int, threads: int) -> None:
        """Addresses of one image in tiles, and of room for what it becomes."""
        p = self.pieces
        work: list[list[parallel.Step]] = []
        for lo, hi in parallel.even(self.channels, threads):
            clear = (out, p.around.ctypes.data, p.zeros.ctypes.data, len(p.around), p.step, lo, hi)
            work.append([(self.clear, clear), (self.move, (x, out, *p.tables(), lo, hi))])
        parallel.run(work)
