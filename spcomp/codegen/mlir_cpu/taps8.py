"""Int8 convolutions: four nonzeros of sixteen output channels a slot meet 64 bytes of x, pixel by pixel.

The loop of :mod:`~spcomp.codegen.mlir_cpu.fours8`, with a place in the image for every slot and sums that are kept as
whole numbers; then the pass that turns them into planes: scaled, shifted, added to, activated, stored.
"""

from __future__ import annotations

import functools

from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.fours8 import AHEAD, SLOT, pick, upper_half
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply, scaled
from spcomp.codegen.mlir_cpu.layout import store_row, transpose
from spcomp.codegen.mlir_cpu.segments import load_mask
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function, vector
from spcomp.plan import Epilogue


@functools.lru_cache(maxsize=64)
def taps8_text(step: int, width: int, pixels: int) -> str:
    """``taps8(q, values, columns, at, start, ys, stride, count, group_lo, group_hi)``.

    q: bytes of x plus 128; at [slots] i32: where a slot's window lies for pixel 0; pixel p is ``p * step`` bytes
    further on. ys [count, stride] of i32: the sums of ``count`` pixels, a multiple of ``pixels``, which are taken at a
    time. Needs AVX-512 VNNI and VBMI.
    """
    f = Function(
        "taps8",
        (("q", "i8"), ("values", "i8"), ("columns", "i8"), ("at", "i32"), ("start", "i64"), ("ys", "i32")),
        ("stride", "count", "group_lo", "group_hi"),
    )
    with f.loop("%group_lo", "%group_hi", hint="group") as group:
        lo = f.load_index("%start", group.index, "i64")
        hi = f.load_index("%start", f.add(group.index, f.idx(1)), "i64")
        row = f.mul(group.index, f.idx(LANES))
        with f.loop(f.idx(0), "%count", f.idx(pixels), hint="pixel") as pixel:
            sums = _sums(f, f.mul(pixel.index, f.idx(step)), step, width, pixels, (lo, hi))
            for t, total in enumerate(sums):
                to = f.add(f.mul(f.add(pixel.index, f.idx(t)), "%stride"), row)
                f.vstore(total, "%ys", to, IVEC, "i32")
    return f.text()


def _sums(f: Function, x0: str, step: int, width: int, pixels: int, span: tuple[str, str]) -> list[str]:
    """The products of a group of rows with ``pixels`` pixels."""
    kinds = [IVEC] * pixels
    zero = f.splat("0", IVEC)
    with f.loop(*span, carried=[(zero, IVEC)] * pixels, hint="slot") as slot:
        at = f.mul(slot.index, f.idx(SLOT))
        weight = f.vload("%values", at, BYTES, "i8")
        columns = f.vload("%columns", at, BYTES, "i8")
        for buffer in ("%values", "%columns"):
            f.do(f"memref.prefetch {buffer}[{f.add(at, f.idx(AHEAD))}], read, locality<3>, data : memref<?xi8>")
        place = f.val(f"arith.index_cast {f.load('%at', slot.index, 'i32')} : i32 to index", "i")
        first = f.add(x0, place)
        upper = upper_half(f, columns) if width > 2 * SLOT else ""
        sums = []
        for t, total in enumerate(slot.carried):
            x = pick(f, width, f.add(first, f.idx(t * step)), columns, upper)
            sums.append(multiply(f, total, x, weight))
        f.yield_(sums, kinds)
    return slot.results


@functools.lru_cache(maxsize=64)
def planes8_text(rest: int, kind: str, epilogue: Epilogue, dtype: str) -> str:
    """``planes8(ys, shift, weight_scale, bias, x_scale, residual, y, masks, to, first, pixels, stride, step, tile_lo,
    tile_hi, n_lo, n_hi)``: sums of sixteen pixels a tile to planes.

    ys [pixels, stride] of ``kind`` (i32, or f32 that are whole numbers and need no shift), shift i32, weight_scale and
    bias f32 [n]; x_scale [1]: of the image. Tile tile_lo begins at pixel 0 of ys; what a last tile has more is not
    read. Segments ``first[tile]`` to ``first[tile + 1]`` say where lanes go, as in
    :mod:`~spcomp.codegen.mlir_cpu.segments`: y and residual begin 16 elements after what is given. n_lo is a multiple
    of 16, and so is n_hi, unless it is n, which is ``rest`` modulo 16.
    """
    f = Function(
        "planes8",
        (
            ("ys", kind), ("shift", "i32"), ("weight_scale", "f32"), ("bias", "f32"), ("x_scale", "f32"),
            ("residual", dtype), ("y", dtype), ("masks", "i16"), ("to", "i64"), ("first", "i64"),
        ),
        ("pixels", "stride", "step", "tile_lo", "tile_hi", "n_lo", "n_hi"),
    )  # fmt: skip
    lanes = f.idx(LANES)
    image = f.broadcast(f.load("%x_scale", f.idx(0)))
    whole = f.mul(f.val(f"arith.divui %n_hi, {lanes} : index", "i"), lanes)
    with f.loop("%tile_lo", "%tile_hi", hint="tile") as tile:
        base = f.mul(f.sub(tile.index, "%tile_lo"), lanes)
        span = (
            f.load_index("%first", tile.index, "i64"), f.load_index("%first", f.add(tile.index, f.idx(1)), "i64")
        )  # fmt: skip
        with f.loop("%n_lo", whole, lanes, hint="n") as n:
            _block(f, base, n.index, LANES, kind, epilogue, dtype, image, span)
        if rest:
            more = f.val(f"arith.cmpi slt, {whole}, %n_hi : index", "p")
            with f.when(more):
                _block(f, base, whole, rest, kind, epilogue, dtype, image, span)
    return f.text()


def _block(
    f: Function,
    base: str,
    n: str,
    count: int,
    kind: str,
    epilogue: Epilogue,
    dtype: str,
    image: str,
    span: tuple[str, str],
) -> None:
    """``count`` output channels from ``n`` on of sixteen pixels."""
    mask = f.mask(f.idx(count)) if count < LANES else None
    shift = f.vload("%shift", n, IVEC, "i32", mask)
    scale = f.vload("%weight_scale", n, mask=mask)
    added = f.vload("%bias", n, mask=mask) if epilogue.bias else None
    rows = []
    last = f.sub("%pixels", f.idx(1))
    for i in range(LANES):
        at = f.add(f.mul(f.smaller(f.add(base, f.idx(i)), last), "%stride"), n)
        sums = f.vload("%ys", at, vector(kind), kind, mask if kind == "f32" else None)
        if kind == "i32":
            sums = f.val(f"arith.addi {sums}, {shift} : {IVEC}", "s")
            sums = f.val(f"arith.sitofp {sums} : {IVEC} to {VEC}", "y")
        rows.append(scaled(f, sums, scale, image, added))
    planes = transpose(f, rows)[:count]
    if not epilogue.residual:
        planes = [activate(f, p, epilogue.activation) for p in planes]
    with f.loop(*span, hint="s") as s:
        keep, to = load_mask(f, "%masks", s.index), f.load_index("%to", s.index, "i64")
        for i, value in enumerate(planes):
            at = f.add(to, f.mul(f.add(n, f.idx(i)), "%step"))
            if epilogue.residual:
                other = f.vload("%residual", at, vector(dtype), dtype, keep, hint="r")
                value = f.val(f"arith.addf {value}, {f.widen(other, dtype, 'r')} : {VEC}", "y")
                value = activate(f, value, epilogue.activation)
            store_row(f, value, "%y", at, dtype, keep)
