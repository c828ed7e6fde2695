"""After a convolution: where each lane of its sums belongs, and the pass that scales, shifts, adds, activates, stores.

A segment is some neighbouring lanes of one tile of sums that are neighbours in the result too, whatever the layout of
either (:mod:`spcomp.conv_layout`): ``[source, mask, to]``. Geometry is in these tables only, so that one compiled
function serves every convolution with the same epilogue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu.epilogue import activate
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector
from spcomp.conv_layout import Padded
from spcomp.plan import Epilogue

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segments:
    """Where lanes go. Offsets in elements."""

    source: Ints
    """First lane of the tile in the sums, of row 0."""
    to: Ints
    """Where lane 0 would go in channel 0, and :data:`LANES`: lane 15 may be the first that goes anywhere."""
    masks: NDArray[np.uint16]
    first: Ints
    """Number of each tile's first segment, and of all."""
    step: int
    """From a channel to the next in the result."""

    @property
    def nbytes(self) -> int:
        return self.source.nbytes + self.to.nbytes + self.masks.nbytes + self.first.nbytes

    def tables(self) -> tuple[int, int, int]:
        return self.source.ctypes.data, self.masks.ctypes.data, self.to.ctypes.data


def segments(pixel: Ints, destination: Ints, stride: int, step: int) -> Segments:
    """``pixel``: the output pixel in each lane of all tiles, -1 for none; ``destination``: of each pixel, in channel 0.

    ``stride``: rows of a tile of sums.
    """
    lane = np.arange(len(pixel))
    used = np.flatnonzero(pixel >= 0)
    to = destination[pixel[used]]
    tile = used // LANES
    starts = np.ones(len(used), np.bool_)
    starts[1:] = (np.diff(to) != 1) | (np.diff(tile) != 0) | (np.diff(used) != 1)
    number = np.cumsum(starts) - 1
    masks = np.zeros(int(starts.sum()), np.int64)
    np.add.at(masks, number, 1 << (lane[used] % LANES))
    tile, begin = tile[starts], used[starts]
    first = np.searchsorted(tile, np.arange(len(pixel) // LANES + 1))
    return Segments(
        tile * (stride * LANES),
        to[starts] - begin % LANES + LANES,
        masks.astype(np.uint16),
        first.astype(np.int64),
        step,
    )


def natural_destination(pixels: int) -> Ints:
    return np.arange(pixels)


def tiles_destination(pixels: int, channels: int) -> Ints:
    p = np.arange(pixels)
    return p // LANES * (channels * LANES) + p % LANES


def planes_destination(height: int, width: int, to: Padded) -> Ints:
    down, across = np.divmod(np.arange(height * width), width)
    return (down + to.top) * to.width + across + to.left


def border(height: int, width: int, to: Padded) -> tuple[Ints, NDArray[np.uint16]]:
    """(offset, mask) of pieces of at most sixteen elements that together are what is around a plane."""
    around = np.ones((to.rows, to.width), np.bool_)
    around[to.top : to.top + height, to.left : to.left + width] = False
    return uncovered(~around)


def uncovered(filled: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.uint16]]:
    """(offset, mask) of pieces of at most sixteen elements that together are what is not ``filled``."""
    left = np.flatnonzero(~filled)
    at, masks = [], []
    while len(left):
        mine = left < left[0] + LANES
        at.append(left[0])
        masks.append((1 << (left[mine] - left[0])).sum())
        left = left[~mine]
    return np.array(at, np.int64), np.array(masks).astype(np.uint16)


def finish_text(epilogue: Epilogue, dtype: str, *, by_rows: bool) -> str:
    """``finish(ys, scale, bias, residual, y, source, masks, to, lo, hi, step, row_lo, row_hi)``: segments lo to hi.

    ys of f32; scale and bias [n]; residual and y, of dtype and laid out alike, begin :data:`LANES` elements after what
    is given. ``by_rows``: row after row, for results whose pixels are neighbours; else segment after segment.
    """
    pointers = (
        ("ys", "f32"), ("scale", "f32"), ("bias", "f32"), ("residual", dtype), ("y", dtype), ("source", "i64"),
        ("masks", "i16"), ("to", "i64"),
    )  # fmt: skip
    f = Function("finish", pointers, ("lo", "hi", "step", "row_lo", "row_hi"))
    if by_rows:
        with f.loop("%row_lo", "%row_hi", hint="n") as n:
            vectors = _vectors(f, epilogue, n.index)
            with f.loop("%lo", "%hi", hint="s") as s:
                _segment(f, epilogue, dtype, n.index, *_table(f, s.index), vectors)
    else:
        with f.loop("%lo", "%hi", hint="s") as s:
            table = _table(f, s.index)
            with f.loop("%row_lo", "%row_hi", hint="n") as n:
                _segment(f, epilogue, dtype, n.index, *table, _vectors(f, epilogue, n.index))
    return f.text()


def _vectors(f: Function, epilogue: Epilogue, n: str) -> tuple[str | None, str | None]:
    scale = f.broadcast(f.load("%scale", n)) if epilogue.scale else None
    return scale, f.broadcast(f.load("%bias", n)) if epilogue.bias else None


def _table(f: Function, s: str) -> tuple[str, str, str]:
    return f.load_index("%source", s, "i64"), load_mask(f, "%masks", s), f.load_index("%to", s, "i64")


def _segment(
    f: Function,
    epilogue: Epilogue,
    dtype: str,
    n: str,
    source: str,
    mask: str,
    to: str,
    vectors: tuple[str | None, str | None],
) -> None:
    scale, bias = vectors
    value = f.vload("%ys", f.add(source, f.mul(n, f.idx(LANES))))
    at = f.add(to, f.mul(n, "%step"))
    if scale is not None:
        value = f.fma(value, scale, bias or f.splat("0.0"))
    elif bias is not None:
        value = f.val(f"arith.addf {value}, {bias} : {VEC}", "y")
    if epilogue.residual:
        other = f.vload("%residual", at, vector(dtype), dtype, mask, hint="r")
        value = f.val(f"arith.addf {value}, {f.widen(other, dtype, 'r')} : {VEC}", "y")
    store_row(f, activate(f, value, epilogue.activation), "%y", at, dtype, mask)


def load_mask(f: Function, buffer: str, index: str) -> str:
    return f.val(f"llvm.bitcast {f.load(buffer, index, 'i16')} : i16 to {MASK}", "m")


def tiles_text(dtype: str) -> str:
    """``tiles(x[C, pixels] of dtype, out[ceil(pixels / 16), C, 16] of f32, c_lo, c_hi, channels, pixels)``."""
    f = Function("tiles", (("x", dtype), ("out", "f32")), ("c_lo", "c_hi", "channels", "pixels"))
    lanes = f.idx(LANES)
    step = f.mul("%channels", lanes)
    with f.loop("%c_lo", "%c_hi", hint="c") as c:
        x0, out0 = f.mul(c.index, "%pixels"), f.mul(c.index, lanes)
        with f.loop(f.idx(0), "%pixels", lanes, hint="p") as p:
            left = f.sub("%pixels", p.index)
            keep = f.mask(left)
            value = f.load_wide("%x", f.add(x0, p.index), dtype, keep)
            tile = f.val(f"arith.divui {p.index}, {lanes} : index", "i")
            f.vstore(value, "%out", f.add(out0, f.mul(tile, step)))
    return f.text()


def border_text() -> str:
    """``border(y, to, masks, count, plane, n_lo, n_hi)``: zeros in the pieces of :func:`border` of some channels."""
    f = Function("border", (("y", "f32"), ("to", "i64"), ("masks", "i16")), ("count", "plane", "n_lo", "n_hi"))
    with f.loop("%n_lo", "%n_hi", hint="n") as n:
        base = f.mul(n.index, "%plane")
        with f.loop(f.idx(0), "%count", hint="s") as s:
            at = f.add(base, f.load_index("%to", s.index, "i64"))
            mask = load_mask(f, "%masks", s.index)
            store_row(f, f.splat("0.0"), "%y", at, "f32", mask)
    return f.text()
