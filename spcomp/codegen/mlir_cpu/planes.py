"""Planes for direct convolution: pad and split by phase.

A convolution runs along flattened output planes whose rows are as wide as the taps reach: lane q of a register is
output pixel (q // width, q % width), and what hangs over the right edge is dropped when it is stored
(:mod:`~spcomp.codegen.mlir_cpu.segments`). With a stride,
input pixels (i * stride + a, j * stride + b) form the plane of phase (a, b), where the convolution has stride 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector
from spcomp.conv_shape import ConvShape

_INDICES = vector("index")


@dataclass(frozen=True)
class Planes:
    """The planes that a convolution is computed on, one for each phase and channel. Sizes in elements."""

    conv: ConvShape

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
    def plane(self) -> int:
        """Elements of one plane."""
        return (self.conv.output[0] + self.reach[0]) * self.width

    @property
    def total(self) -> int:
        """Elements of all planes."""
        return self.phases[0] * self.phases[1] * self.conv.channels * self.plane

    @property
    def natural(self) -> bool:
        """Whether the input's own planes are these: stride 1, no padding."""
        return self.conv.stride == (1, 1) and self.conv.padding == (0, 0)

    @property
    def span(self) -> int:
        """Lanes from the first output pixel to the last."""
        return (self.conv.output[0] - 1) * self.width + self.conv.output[1]

    @property
    def tiles(self) -> int:
        return -(-self.span // LANES)

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
        q = np.arange(self.tiles * LANES)
        down, across = np.divmod(q, self.width)
        return np.where((q < self.span) & (across < self.conv.output[1]), down * self.conv.output[1] + across, -1)


def planes_text(planes: Planes, dtype: str = "f32") -> str:
    """``planes(x[C, H, W] of dtype, out, c_lo, c_hi)``: the planes of some channels as f32, all of every plane."""
    conv = planes.conv
    f = Function("planes", (("x", dtype), ("out", "f32")), ("c_lo", "c_hi"))
    with f.loop("%c_lo", "%c_hi", hint="c") as c:
        x0 = f.mul(c.index, f.idx(conv.height * conv.width))
        out0 = f.mul(c.index, f.idx(planes.plane))
        with (
            f.loop(f.idx(0), f.idx(planes.phases[0]), hint="a") as a,
            f.loop(f.idx(0), f.idx(planes.phases[1]), hint="b") as b,
        ):
            phase = f.add(f.mul(a.index, f.idx(planes.phases[1])), b.index)
            to = f.add(out0, f.mul(phase, f.idx(conv.channels * planes.plane)))
            with f.loop(f.idx(0), f.idx(planes.plane // planes.width), hint="i") as i:
                line = f.add(f.mul(i.index, f.idx(conv.stride[0])), a.index)
                line = f.sub(line, f.idx(conv.padding[0]))
                first = f.sub(b.index, f.idx(conv.padding[1]))
                at = f.add(to, f.mul(i.index, f.idx(planes.width)))
                _line(f, planes, x0, line, first, at, dtype)
    return f.text()


def _line(f: Function, planes: Planes, x0: str, line: str, first: str, at: str, dtype: str) -> None:
    """One row of a plane: columns ``first``, ``first + stride``, ... of a row of x; zeros outside."""
    conv = planes.conv
    inside = f.val(f"arith.cmpi ult, {line}, {f.idx(conv.height)} : index", "p")  # a negative row wraps around
    row = f.add(x0, f.mul(line, f.idx(conv.width)))
    if conv.stride[1] <= 2:
        with f.loop(f.idx(0), f.idx(planes.width), f.idx(LANES), hint="j") as j:
            column = f.add(first, f.mul(j.index, f.idx(conv.stride[1])))
            spread = f.val(f"vector.broadcast {inside} : i1 to {MASK}", "m")
            value = _columns(f, conv, row, column, spread, dtype)
            left = f.sub(f.idx(planes.width), j.index)
            keep = f.mask(left)
            store_row(f, value, "%out", f.add(at, j.index), "f32", keep)
        return
    with f.loop(f.idx(0), f.idx(planes.width), hint="j") as j:
        column = f.add(first, f.mul(j.index, f.idx(conv.stride[1])))
        within = f.val(f"arith.cmpi ult, {column}, {f.idx(conv.width)} : index", "p")
        good = f.val(f"arith.andi {inside}, {within} : i1", "p")
        safe = f.val(f"arith.select {good}, {f.add(row, column)}, {f.idx(0)} : index", "i")
        raw = f.load("%x", safe, dtype)
        if dtype != "f32":
            raw = f.val(f"arith.extf {raw} : {dtype} to f32", "s")
        value = f.val(f"arith.select {good}, {raw}, {f.const('0.0', 'f32')} : f32", "s")
        f.do(f"memref.store {value}, %out[{f.add(at, j.index)}] : memref<?xf32>")


def _columns(f: Function, conv: ConvShape, row: str, column: str, inside: str, dtype: str) -> str:
    """Sixteen columns of a row of x from ``column`` on, every one or every other one; zeros outside."""
    parts = []
    lanes = f.const(f"dense<[{', '.join(map(str, range(LANES)))}]>", _INDICES)
    for part in range(conv.stride[1]):
        start = f.add(column, f.idx(part * LANES))
        number = f.val(f"arith.addi {f.val(f'vector.broadcast {start} : index to {_INDICES}')}, {lanes} : {_INDICES}")
        limit = f.const(f"dense<{conv.width}>", _INDICES)
        within = f.val(f"arith.cmpi ult, {number}, {limit} : {_INDICES}", "m")  # a negative column wraps around
        mask = f.val(f"arith.andi {within}, {inside} : {MASK}", "m")
        parts.append(f.load_wide("%x", f.add(row, start), dtype, mask))
    if conv.stride[1] == 1:
        return parts[0]
    even = list(range(0, 2 * LANES, 2))
    return f.val(f"vector.shuffle {parts[0]}, {parts[1]} {even} : {VEC}, {VEC}", "x")
