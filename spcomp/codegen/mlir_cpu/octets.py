"""Bytes of an image for int8 convolutions: channels are neighbours, rows lie as output rows follow each other.

``q = round_to_even(x * (127 / max|x|)) + 128``, one scale an image, as :mod:`~spcomp.codegen.mlir_cpu.int8_rows` has
it; padding is 128, which stands for zero. Rows of one phase of a vertical stride lie together. Then the bytes that
output pixel q of the flattened plane meets begin ``q * step`` bytes after those of pixel 0, whatever the geometry.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.int8_rows import INFINITE_BITS, OFFSET, SMALLEST_BITS, WHOLE
from spcomp.codegen.mlir_cpu.layout import transposed_fours
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector
from spcomp.conv_shape import ConvShape

SLACK = 512
"""Bytes before and behind an image's that a kernel may read: more than a window."""
WHOLE_BITS = 0x4B400000
"""Bits of :data:`~spcomp.codegen.mlir_cpu.int8_rows.WHOLE`."""


@dataclass(frozen=True)
class Octets:
    """Where the bytes of one image lie. Offsets in bytes."""

    conv: ConvShape
    """Of the convolution that reads them."""

    @property
    def phases(self) -> list[int]:
        """The rows modulo the stride that the taps read, in order."""
        (r, _), (dy, _), (sy, _) = self.conv.kernel, self.conv.dilation, self.conv.stride
        return sorted({i * dy % sy for i in range(r)})

    @property
    def rows(self) -> int:
        """Rows of each phase."""
        (r, _), (dy, _), (sy, _) = self.conv.kernel, self.conv.dilation, self.conv.stride
        return self.conv.output[0] + (r - 1) * dy // sy

    @property
    def across(self) -> int:
        """Output pixels from a row to the next, those beyond the right edge included."""
        wide = max(self.conv.width + self.conv.padding[1], self._reach)
        return -(-wide // self.conv.stride[1])

    @property
    def _reach(self) -> int:
        """Columns that the last output pixel's taps need."""
        (_, s), (_, dx), (_, sx) = self.conv.kernel, self.conv.dilation, self.conv.stride
        return (self.conv.output[1] - 1) * sx + (s - 1) * dx + 1

    @property
    def step(self) -> int:
        """From an output pixel to the next."""
        return self.conv.stride[1] * self.conv.channels

    @property
    def line(self) -> int:
        """From a row to the next of its phase."""
        return self.across * self.step

    @property
    def total(self) -> int:
        return len(self.phases) * self.rows * self.line

    @property
    def span(self) -> int:
        """From the first output pixel to the last, in output pixels."""
        return (self.conv.output[0] - 1) * self.across + self.conv.output[1]

    def runs(self) -> NDArray[np.int64]:
        """Where each run of columns (:attr:`~spcomp.conv_shape.ConvShape.run`) begins for output pixel 0."""
        (r, s), (dy, dx), (sy, _) = self.conv.kernel, self.conv.dilation, self.conv.stride
        place = {phase: i for i, phase in enumerate(self.phases)}
        down = np.array([(place[i * dy % sy] * self.rows + i * dy // sy) * self.line for i in range(r)])
        across = np.arange(1 if dx == 1 else s) * (dx * self.conv.channels)
        return (down[:, None] + across).reshape(-1).astype(np.int64)

    def lines(self) -> NDArray[np.int64]:
        """Where the first pixel of each row of the input goes, -1 for a row that nobody reads."""
        row = np.arange(self.conv.height) + self.conv.padding[0]
        down, phase = np.divmod(row, self.conv.stride[0])
        place = np.full(self.conv.stride[0], -1)
        place[self.phases] = np.arange(len(self.phases))
        to = (place[phase] * self.rows + down) * self.line + self.conv.padding[1] * self.conv.channels
        return np.where((place[phase] >= 0) & (down < self.rows), to, -1).astype(np.int64)

    @property
    def padded(self) -> bool:
        """Whether there are bytes that no pixel of the input goes to."""
        lines = self.lines()
        filled = int((lines >= 0).sum()) * self.conv.width * self.conv.channels
        return filled != self.total

    def pixel(self) -> NDArray[np.int64]:
        """The output pixel in each lane of all tiles of sixteen, or -1."""
        q = np.arange(-(-self.span // LANES) * LANES)
        down, across = np.divmod(q, self.across)
        high, wide = self.conv.output
        return np.where((down < high) & (across < wide), down * wide + across, -1)


@functools.lru_cache(maxsize=8)
def largest_text(dtype: str) -> str:
    """``largest(x of dtype, most[part] of i32, part, lo, hi)``: the bits of max|x| from element lo to hi."""
    f = Function("largest", (("x", dtype), ("most", "i32")), ("part", "lo", "hi"))
    lanes, sixty = f.idx(LANES), f.idx(4 * LANES)
    none = f.splat("0", IVEC)

    def larger(most: str, at: str, mask: str | None = None) -> str:
        bits = f.val(f"arith.bitcast {f.load_wide('%x', at, dtype, mask)} : {VEC} to {IVEC}", "b")
        bits = f.val(f"arith.andi {bits}, {f.splat(str(0x7FFFFFFF), IVEC)} : {IVEC}", "b")
        return f.val(f"arith.maxsi {most}, {bits} : {IVEC}", "b")

    whole = f.val(f"arith.divui {f.sub('%hi', '%lo')}, {sixty} : index", "i")
    stop = f.add("%lo", f.mul(whole, sixty))
    with f.loop("%lo", stop, sixty, [(none, IVEC)] * 4) as c:
        f.yield_(
            [larger(m, f.add(c.index, f.idx(i * LANES))) for i, m in enumerate(c.carried)], [IVEC] * 4
        )  # fmt: skip
    with f.loop(stop, "%hi", lanes, [(none, IVEC)]) as rest:
        keep = f.mask(f.sub("%hi", rest.index))
        f.yield_([larger(rest.carried[0], rest.index, keep)], [IVEC])
    found = rest.results[0]
    for part in c.results:
        found = f.val(f"arith.maxsi {found}, {part} : {IVEC}", "b")
    top = f.val(f"vector.reduction <maxsi>, {found} : {IVEC} into i32", "b")
    f.do(f"memref.store {top}, %most[%part] : memref<?xi32>")
    return f.text()


@functools.lru_cache(maxsize=32)
def octets_text(channels: int, narrow: bool, dtype: str) -> str:
    """``octets(x[C, H, W] of dtype, most[parts] i32, lines[H] i64, q i8, scale[1] f32, parts, plane, width, lo, hi)``.

    Rows lo to hi of all channels, as bytes plus 128, pixel after pixel from ``lines`` of the row on (nowhere for a
    negative one); ``plane`` is H * W. scale is max|x| / 127, or NaN for an image that is not finite. ``narrow``: W is
    below 16; otherwise a row's last sixteen pixels are moved together, whichever of them were before.
    """
    f = Function(
        "octets",
        (("x", dtype), ("most", "i32"), ("lines", "i64"), ("q", "i8"), ("scale", "f32")),
        ("parts", "plane", "width", "lo", "hi"),
    )
    inverse = _scale(f)
    lanes = f.idx(LANES)
    whole = channels // LANES * LANES
    with f.loop("%lo", "%hi", hint="h") as h:
        to = f.val(f"arith.index_cast {f.load('%lines', h.index, 'i64')} : i64 to index", "i")
        read = f.val(f"arith.cmpi sge, {to}, {f.idx(0)} : index", "p")
        with f.when(read):
            x0 = f.mul(h.index, "%width")
            with f.loop(f.idx(0), "%width", lanes, hint="w") as w:
                first = w.index if narrow else f.smaller(w.index, f.sub("%width", lanes))
                at, out = f.add(x0, first), f.add(to, f.mul(first, f.idx(channels)))
                pixels = _Pixels(f, channels, at, out, inverse, dtype, "%width" if narrow else None)
                with f.loop(f.idx(0), f.idx(whole), lanes, hint="c") as c:
                    pixels.move(c.index, LANES)
                if channels > whole:
                    pixels.move(f.idx(whole), channels - whole)
    return f.text()


@functools.lru_cache(maxsize=2)
def octets_of_pixels_text() -> str:
    """``octets_of_pixels(x[H, row] f32, most[parts] i32, lines[H] i64, q i8, scale[1] f32, parts, row, lo, hi)``.

    The same from an image whose channels are neighbours: ``row`` is W * C.
    """
    f = Function(
        "octets_of_pixels",
        (("x", "f32"), ("most", "i32"), ("lines", "i64"), ("q", "i8"), ("scale", "f32")),
        ("parts", "row", "lo", "hi"),
    )
    inverse = _scale(f)
    lanes, sixty = f.idx(LANES), f.idx(4 * LANES)
    whole = f.mul(f.val(f"arith.divui %row, {sixty} : index", "i"), sixty)

    def move(at: str, out: str, mask: str | None) -> None:
        scaled = f.val(f"arith.mulf {f.vload('%x', at, mask=mask)}, {inverse} : {VEC}", "s")
        shifted = f.val(f"arith.addf {scaled}, {f.splat(WHOLE + OFFSET)} : {VEC}", "s")
        bits = f.val(f"arith.bitcast {shifted} : {VEC} to {IVEC}", "b")
        _store(f, f.val(f"arith.trunci {bits} : {IVEC} to {vector('i8')}", "q"), out, mask)

    with f.loop("%lo", "%hi", hint="h") as h:
        to = f.val(f"arith.index_cast {f.load('%lines', h.index, 'i64')} : i64 to index", "i")
        read = f.val(f"arith.cmpi sge, {to}, {f.idx(0)} : index", "p")
        with f.when(read):
            x0 = f.mul(h.index, "%row")
            with f.loop(f.idx(0), whole, sixty, hint="i") as i:
                for part in range(4):
                    at = f.add(i.index, f.idx(part * LANES))
                    move(f.add(x0, at), f.add(to, at), None)
            with f.loop(whole, "%row", lanes, hint="i") as i:
                move(f.add(x0, i.index), f.add(to, i.index), f.mask(f.sub("%row", i.index)))
    return f.text()


def _scale(f: Function) -> str:
    """Store the image's scale; its inverse in all lanes."""
    with f.loop(f.idx(0), "%parts", carried=[(f.const(str(SMALLEST_BITS), "i32"), "i32")], hint="p") as p:
        part = f.load("%most", p.index, "i32")
        f.yield_([f.val(f"arith.maxsi {p.carried[0]}, {part} : i32", "b")], ["i32"])
    top = p.results[0]
    finite = f.val(f"arith.cmpi slt, {top}, {f.const(str(INFINITE_BITS), 'i32')} : i32", "p")
    largest = f.val(f"arith.bitcast {top} : i32 to f32", "s")
    by = f.const("127.0", "f32")
    scale = f.val(f"arith.divf {largest}, {by} : f32", "s")
    scale = f.val(f"arith.select {finite}, {scale}, {f.const('0x7FC00000', 'f32')} : f32", "s")
    f.do(f"memref.store {scale}, %scale[{f.idx(0)}] : memref<?xf32>")
    return f.broadcast(f.val(f"arith.divf {by}, {largest} : f32", "s"))


@dataclass(frozen=True)
class _Pixels:
    """Sixteen neighbouring pixels (or the first ``width``) on their way."""

    f: Function
    channels: int
    at: str
    """Of the first, in channel 0 of x."""
    out: str
    inverse: str
    dtype: str
    width: str | None

    def move(self, first: str, count: int) -> None:
        """``count`` (up to 16) channels from ``first`` on: dwords of four of them, four dwords a pixel."""
        f = self.f
        keep = None if self.width is None else f.mask(self.width)
        dwords = [self._dword(first, i, count, keep) for i in range(0, count, 4)]
        four = transposed_fours(f, dwords + [f.splat("0.0")] * (4 - len(dwords)))
        mask = f.mask(f.idx(count)) if count < LANES else None
        for i in range(LANES):
            own = [4 * (i // 4) + j for j in range(4)]
            kind = f"vector<4xf32> to {vector('i8')}"
            octets = f.val(f"vector.shuffle {four[i % 4]}, {four[i % 4]} {own} : {VEC}, {VEC}", "t")
            octets = f.val(f"vector.bitcast {octets} : {kind}", "q")
            to = f.add(f.add(self.out, first), f.idx(i * self.channels))
            if self.width is None:
                _store(f, octets, to, mask)
                continue
            inside = f.val(f"arith.cmpi slt, {f.idx(i)}, {self.width} : index", "p")
            with f.when(inside):
                _store(f, octets, to, mask)

    def _dword(self, first: str, i: int, count: int, keep: str | None) -> str:
        """The bytes of four channels in each lane, a lane a pixel. What rounding adds above the low byte is one
        constant, taken off at the end."""
        f, total, off = self.f, "", 0
        for b in range(min(4, count - i)):
            row = f.add(self.at, f.mul(f.add(first, f.idx(i + b)), "%plane"))
            scaled = f.val(f"arith.mulf {f.load_wide('%x', row, self.dtype, keep)}, {self.inverse} : {VEC}", "s")
            shifted = f.val(f"arith.addf {scaled}, {f.splat(WHOLE + OFFSET)} : {VEC}", "s")
            bits = f.val(f"arith.bitcast {shifted} : {VEC} to {IVEC}", "b")
            if b:
                bits = f.val(f"arith.shli {bits}, {f.splat(str(8 * b), IVEC)} : {IVEC}", "b")
                bits = f.val(f"arith.addi {total}, {bits} : {IVEC}", "b")
            total, off = bits, off + (WHOLE_BITS << 8 * b)
        off = (-off + 2**31) % 2**32 - 2**31
        total = f.val(f"arith.addi {total}, {f.splat(str(off), IVEC)} : {IVEC}", "b")
        return f.val(f"arith.bitcast {total} : {IVEC} to {VEC}", "t")


def _store(f: Function, octets: str, to: str, mask: str | None) -> None:
    kind = vector("i8")
    if mask is None:
        f.vstore(octets, "%q", to, kind, "i8")
    else:
        f.do(f"vector.maskedstore %q[{to}], {mask}, {octets} : memref<?xi8>, {MASK}, {kind}")
