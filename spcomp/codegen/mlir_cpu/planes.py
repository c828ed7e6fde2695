"""Planes for direct convolution: pad and split by phase.

A convolution runs along flattened output planes, or bands of their rows, as wide as the taps reach: lane q of a
register is output pixel (q // width, q % width), and what hangs over the right edge is dropped when it is stored
(:mod:`~spcomp.codegen.mlir_cpu.segments`). With a stride, input pixels (i * stride + a, j * stride + b) form the plane
of phase (a, b), where the convolution has stride 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function
from spcomp.conv_shape import ConvShape


@dataclass(frozen=True)
class Planes:
    """The planes that a convolution is computed on, one for each phase and channel. Sizes in elements."""

    conv: ConvShape
    at_once: int = 0
    """Rows of the result that are made while their rows of the planes, a band, are in memory; 0: all."""

    @property
    def reach(self) -> tuple[int, int]:
        """(down, across): how far the taps reach in a phase plane."""
        (r, s), (dy, dx), (sy, sx) = self.conv.kernel, self.conv.dilation, self.conv.stride
        return (r - 1) * dy // sy, (s - 1) * dx // sx

    @property
    def phases(self) -> tuple[int, int]:
        """(down, across)."""
        (r, s), (dy, dx), (sy, sx) = self.conv.kernel, self.conv.dilation, self.conv.stride
        return min(sy, (r - 1) * dy + 1), min(sx, (s - 1) * dx + 1)

    @property
    def width(self) -> int:
        return self.conv.output[1] + self.reach[1]

    @property
    def height(self) -> int:
        """Rows of a plane."""
        return self.conv.output[0] + self.reach[0]

    @property
    def held(self) -> int:
        """Rows of a plane that are in memory."""
        return self.band_rows + self.reach[0]

    @property
    def band_rows(self) -> int:
        """Rows of the result that a band makes; the last one may make fewer."""
        return min(self.at_once or self.conv.output[0], self.conv.output[0])

    @property
    def plane(self) -> int:
        """Elements of one plane that are in memory."""
        return self.held * self.width

    @property
    def total(self) -> int:
        """Elements of all planes that are in memory."""
        return self.phases[0] * self.phases[1] * self.conv.channels * self.plane

    @property
    def room(self) -> int:
        """The same with what lanes that are dropped read behind them."""
        return self.total + LANES + self.reach[1]

    @property
    def natural(self) -> bool:
        """Whether the input's own planes are these: stride 1, no padding."""
        return self.conv.stride == (1, 1) and self.conv.padding == (0, 0)

    @property
    def bands(self) -> int:
        return -(-self.conv.output[0] // self.band_rows)

    @property
    def tiles(self) -> int:
        return self.band_tiles(self.bands - 1)[1]

    def band_tiles(self, band: int) -> tuple[int, int]:
        """(from, to): the tiles of sums of a band, from its first output pixel to its last."""
        rows = min(self.band_rows, self.conv.output[0] - band * self.band_rows)
        each = self._tiles_of(self.band_rows)
        return band * each, band * each + self._tiles_of(rows)

    def _tiles_of(self, rows: int) -> int:
        return -(-((rows - 1) * self.width + self.conv.output[1]) // LANES)

    def rows(self, first: int, stop: int) -> tuple[int, int]:
        """(from, to): the rows of a plane that the bands of these tiles read."""
        each = self._tiles_of(self.band_rows)
        last = min(-(-stop // each) * self.band_rows, self.conv.output[0])
        return first // each * self.band_rows, last + self.reach[0]

    def offsets(self) -> NDArray[np.int64]:
        """Where each column of the weight matrix, ordered (r, s, c), finds its input, in elements from lane 0."""
        conv = self.conv
        down, across = (np.arange(size) * d for size, d in zip(conv.kernel, conv.dilation, strict=True))
        phase = (down % conv.stride[0])[:, None] * self.phases[1] + across % conv.stride[1]
        inside = (down // conv.stride[0])[:, None] * self.width + across // conv.stride[1]
        channel = np.arange(conv.channels) * self.plane
        return (phase * (conv.channels * self.plane) + inside)[:, :, None].astype(np.int64) + channel

    def pixel(self) -> NDArray[np.int64]:
        """The output pixel that each lane of all tiles is, or -1."""
        band, q = np.divmod(np.arange(self.tiles * LANES), self._tiles_of(self.band_rows) * LANES)
        down, across = np.divmod(q, self.width)
        row = band * self.band_rows + down
        inside = (down < self.band_rows) & (row < self.conv.output[0]) & (across < self.conv.output[1])
        return np.where(inside, row * self.conv.output[1] + across, -1)


def planes_text(planes: Planes, dtype: str = "f32") -> str:
    """``planes(x[C, H, W] of dtype, out, c_lo, c_hi, row_lo, row_hi)``: rows of the planes of some channels as f32.

    Row row_lo becomes the first that is in memory.
    """
    conv, (down, across) = planes.conv, planes.phases
    f = Function("planes", (("x", dtype), ("out", "f32")), ("c_lo", "c_hi", "row_lo", "row_hi"))
    apart = f.idx(conv.channels * planes.plane)
    with f.loop("%c_lo", "%c_hi", hint="c") as c, f.loop(f.idx(0), f.idx(down), hint="a") as a:
        top = f.sub(a.index, f.idx(conv.padding[0]))
        phase = f.add(f.mul(a.index, f.mul(f.idx(across), apart)), f.mul(c.index, f.idx(planes.plane)))
        for b in range(across):
            to = f.add(phase, f.mul(f.idx(b), apart))
            with f.loop("%row_lo", "%row_hi", hint="i") as i:
                line = f.add(f.mul(i.index, f.idx(conv.stride[0])), top)
                inside = f.val(f"arith.cmpi ult, {line}, {f.idx(conv.height)} : index", "p")  # a negative row wraps
                row = f.add(f.mul(c.index, f.idx(conv.height * conv.width)), f.mul(line, f.idx(conv.width)))
                at = f.add(to, f.mul(f.sub(i.index, "%row_lo"), f.idx(planes.width)))
                f.do(f"scf.if {inside} {{")
                f.depth += 1
                _line(f, planes, row, b, at, dtype)
                f.depth -= 1
                f.do("} else {")
                f.depth += 1
                _zeros(f, at, 0, planes.width)
                f.depth -= 1
                f.do("}")
    return f.text()


def _line(f: Function, planes: Planes, row: str, b: int, at: str, dtype: str) -> None:
    """One row of a plane of phase ``b``: every so many columns of a row of x, zeros where there is none."""
    step, left = planes.conv.stride[1], planes.conv.padding[1] - b
    row = f.sub(row, f.idx(left))
    if step <= 2:
        vectors = range(0, planes.width, LANES)
        whole = [j for j in vectors if j + LANES <= planes.width and all(map(all, _inside(planes, left, j)))]
        for j in vectors:
            if j not in whole:
                _columns(f, planes, row, f.idx(j), at, dtype, _inside(planes, left, j), planes.width - j)
            elif j == whole[0]:
                with f.loop(f.idx(j), f.idx(whole[-1] + 1), f.idx(LANES), hint="j") as j_:
                    _columns(f, planes, row, j_.index, at, dtype, [None] * step, LANES)
        return
    lo = min(planes.width, max(0, -(-left // step)))
    hi = max(lo, min(planes.width, (planes.conv.width - 1 + left) // step + 1))
    _zeros(f, at, 0, lo)
    with f.loop(f.idx(lo), f.idx(hi), hint="j") as j_:
        value = f.load("%x", f.add(row, f.mul(j_.index, f.idx(step))), dtype)
        if dtype != "f32":
            value = f.val(f"arith.extf {value} : {dtype} to f32", "s")
        f.do(f"memref.store {value}, %out[{f.add(at, j_.index)}] : memref<?xf32>")
    _zeros(f, at, hi, planes.width)


def _inside(planes: Planes, left: int, j: int) -> list[list[bool]]:
    """For each register of x that column ``j`` of a plane and the fifteen after it come from: which lanes are in x."""
    conv = planes.conv
    first = [j * conv.stride[1] - left + part * LANES for part in range(conv.stride[1])]
    return [[0 <= column < conv.width for column in range(at, at + LANES)] for at in first]


def _columns(
    f: Function,
    planes: Planes,
    row: str,
    j: str,
    at: str,
    dtype: str,
    inside: Sequence[list[bool] | None],
    count: int,
) -> None:
    """Sixteen columns of a plane, or ``count``, from ``j`` on: every one of x or every other one."""
    step = planes.conv.stride[1]
    parts = []
    for part, lanes in enumerate(inside):
        start = f.add(f.add(row, f.mul(j, f.idx(step))), f.idx(part * LANES))
        mask = None if lanes is None or all(lanes) else _lanes(f, lanes)
        some = lanes is None or any(lanes)
        parts.append(f.load_wide("%x", start, dtype, mask) if some else f.splat("0.0"))
    value = parts[0]
    if step == 2:
        value = f.val(f"vector.shuffle {parts[0]}, {parts[1]} {list(range(0, 2 * LANES, 2))} : {VEC}, {VEC}", "x")
    store_row(f, value, "%out", f.add(at, j), "f32", None if count >= LANES else _first(f, count))


def _zeros(f: Function, at: str, lo: int, hi: int) -> None:
    """Zeros in columns ``lo`` to ``hi`` of a row of a plane."""
    whole = lo + (hi - lo) // LANES * LANES
    if whole > lo:
        with f.loop(f.idx(lo), f.idx(whole), f.idx(LANES), hint="j") as j:
            f.vstore(f.splat("0.0"), "%out", f.add(at, j.index))
    if hi > whole:
        store_row(f, f.splat("0.0"), "%out", f.add(at, f.idx(whole)), "f32", _first(f, hi - whole))


def _first(f: Function, count: int) -> str:
    return _lanes(f, [lane < count for lane in range(LANES)])


def _lanes(f: Function, lanes: list[bool]) -> str:
    return f.const(f"dense<[{', '.join(str(lane).lower() for lane in lanes)}]>", MASK)
