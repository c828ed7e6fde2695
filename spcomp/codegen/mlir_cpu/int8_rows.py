"""Rows of x as bytes, and the finish of int8 products: what all int8 kernels share, as MLIR text.

``q = round_to_even(x * (127 / max|x|))`` for each row (token) of x, stored as the byte ``q + 128``. Rounding adds
12582912 = 1.5 * 2**23, above which float32 holds whole numbers only: the low byte of the sum's bits is the number.
"""

from __future__ import annotations

import functools

from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.layout import store_row, unpacked
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function, vector

OFFSET = 128
"""Added to what is multiplied as an unsigned byte."""
WHOLE = 12582912
"""From here (up to twice as much) float32 counts in ones."""
SMALLEST_BITS = 0x0D800000
"""Bits of 2**-100, as which smaller row maxima count: its inverse is finite, and so is that of all greater ones."""
INFINITE_BITS = 0x7F800000
PAIR = "vpdpbusd"
BYTES = f"vector<{4 * LANES}xi8>"


@functools.lru_cache(maxsize=64)
def quantize_text(k: int, stride: int, dtype: str, offset: int = OFFSET) -> str:
    """``quantize(x[M, k] of dtype, q[M, stride] of i8, scale[M] f32, row_lo, row_hi)``.

    stride is at least k rounded up to 16. scale is max|x| / 127, or NaN for a row that is not finite.
    """
    f = Function("quantize", (("x", dtype), ("q", "i8"), ("scale", "f32")), ("row_lo", "row_hi"))
    whole = k // LANES * LANES
    rest = f.mask(f.idx(k - whole)) if k % LANES else ""

    def part(at: str, mask: str | None) -> str:
        return f.load_wide("%x", at, dtype, mask)

    def larger(most: str, x: str) -> str:
        bits = f.val(f"arith.bitcast {x} : {VEC} to {IVEC}", "b")
        bits = f.val(f"arith.andi {bits}, {f.splat(str(0x7FFFFFFF), IVEC)} : {IVEC}", "b")
        return f.val(f"arith.maxsi {most}, {bits} : {IVEC}", "b")

    def rounded(x: str, inverse: str, at: str) -> None:
        scaled = f.val(f"arith.mulf {x}, {inverse} : {VEC}", "s")
        shifted = f.val(f"arith.addf {scaled}, {f.splat(WHOLE + offset)} : {VEC}", "s")
        bits = f.val(f"arith.bitcast {shifted} : {VEC} to {IVEC}", "b")
        octets = f.val(f"arith.trunci {bits} : {IVEC} to {vector('i8')}", "q")
        f.vstore(octets, "%q", at, vector("i8"), "i8")

    with f.loop("%row_lo", "%row_hi", hint="row") as row:
        x0, q0 = f.mul(row.index, f.idx(k)), f.mul(row.index, f.idx(stride))
        none = f.splat("0", IVEC)
        paired = whole // (2 * LANES) * 2 * LANES
        with f.loop(f.idx(0), f.idx(paired), f.idx(2 * LANES), [(none, IVEC)] * 2) as c:
            at = f.add(x0, c.index)
            more = f.add(at, f.idx(LANES))
            f.yield_([larger(c.carried[0], part(at, None)), larger(c.carried[1], part(more, None))], [IVEC] * 2)
        most = f.val(f"arith.maxsi {c.results[0]}, {c.results[1]} : {IVEC}", "b")
        if paired < whole:
            most = larger(most, part(f.add(x0, f.idx(paired)), None))
        if rest:
            most = larger(most, part(f.add(x0, f.idx(whole)), rest))
        top = f.val(f"vector.reduction <maxsi>, {most} : {IVEC} into i32", "b")
        finite = f.val(f"arith.cmpi slt, {top}, {f.const(str(INFINITE_BITS), 'i32')} : i32", "p")
        top = f.val(f"arith.maxsi {top}, {f.const(str(SMALLEST_BITS), 'i32')} : i32", "b")
        largest = f.val(f"arith.bitcast {top} : i32 to f32", "s")
        by = f.const("127.0", "f32")
        scale = f.val(f"arith.divf {largest}, {by} : f32", "s")
        scale = f.val(f"arith.select {finite}, {scale}, {f.const('0x7FC00000', 'f32')} : f32", "s")
        f.do(f"memref.store {scale}, %scale[{row.index}] : memref<?xf32>")
        inverse = f.broadcast(f.val(f"arith.divf {by}, {largest} : f32", "s"))
        with f.loop(f.idx(0), f.idx(whole), f.idx(LANES)) as c:
            rounded(part(f.add(x0, c.index), None), inverse, f.add(q0, c.index))
        if rest:
            rounded(part(f.add(x0, f.idx(whole)), rest), inverse, f.add(q0, f.idx(whole)))
    return f.text()


@functools.lru_cache(maxsize=32)
def finish_text(n: int, kind: str, bias: bool, activation: str, dtype: str) -> str:
    """``finish(sums[M, n] of kind, weight_scale[n], bias[n], x_scale[M], y[M, n] of dtype, row_lo, row_hi)``.

    ``y = activation(sums * weight_scale * x_scale + bias)``; kind is ``i32`` or ``f32``.
    """
    f = Function(
        "finish",
        (("sums", kind), ("weight_scale", "f32"), ("bias", "f32"), ("x_scale", "f32"), ("y", dtype)),
        ("row_lo", "row_hi"),
    )
    whole = n // LANES * LANES
    rest = f.mask(f.idx(n - whole)) if n % LANES else None

    def part(buffer: str, at: str, mask: str | None, element: str) -> str:
        return f.vload(buffer, at, vector(element), element, mask)

    def block(at: str, column: str, token: str, mask: str | None) -> None:
        value = part("%sums", at, mask, kind)
        if kind == "i32":
            value = f.val(f"arith.sitofp {value} : {vector(kind)} to {VEC}", "f")
        added = part("%bias", column, mask, "f32") if bias else None
        value = scaled(f, value, part("%weight_scale", column, mask, "f32"), token, added)
        store_row(f, activate(f, value, activation), "%y", at, dtype, mask)

    with f.loop("%row_lo", "%row_hi", hint="row") as row:
        y0 = f.mul(row.index, f.idx(n))
        token = f.broadcast(f.load("%x_scale", row.index))
        with f.loop(f.idx(0), f.idx(whole), f.idx(LANES)) as c:
            block(f.add(y0, c.index), c.index, token, None)
        if rest is not None:
            block(f.add(y0, f.idx(whole)), f.idx(whole), token, rest)
    return f.text()


def scaled(f: Function, sums: str, weight_scale: str, token_scale: str, bias: str | None) -> str:
    """``sums * weight_scale * token_scale (+ bias)``, in this order everywhere, so that all kernels round alike."""
    product = f.val(f"arith.mulf {sums}, {weight_scale} : {VEC}", "y")
    product = f.val(f"arith.mulf {product}, {token_scale} : {VEC}", "y")
    return product if bias is None else f.val(f"arith.addf {product}, {bias} : {VEC}", "y")


def multiply(f: Function, sums: str, unsigned: str, signed: str) -> str:
    """``sums`` plus, in each of sixteen lanes, four products of an unsigned and a signed byte (VNNI)."""
    call = f'llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"({sums}, {unsigned}, {signed})'
    return f.val(f"{call} : ({IVEC}, {BYTES}, {BYTES}) -> {IVEC}", "d")


@functools.lru_cache(maxsize=32)
def unpack_int8_text(features: int, stride: int, bias: bool, activation: str, dtype: str = "f32") -> str:
    """``unpack8(ys[ceil(M/16), stride, 16] of i32, shift[features] i32, weight_scale[features], bias[features],
    x_scale[M], y[M, features] of dtype, M, tile_lo, tile_hi, n_lo, n_hi)``.

    ``y = activation((ys transposed + shift) * weight_scale * x_scale + bias)``, as
    :func:`~spcomp.codegen.mlir_cpu.layout.unpack_text` otherwise.
    """
    f = Function(
        "unpack8",
        (
            ("ys", "f32"), ("shift", "i32"), ("weight_scale", "f32"), ("bias", "f32"), ("x_scale", "f32"),
            ("y", dtype),
        ),
        ("m", "tile_lo", "tile_hi", "n_lo", "n_hi"),
    )  # fmt: skip
    for rows, columns, n, row0, some in unpacked(f, features, stride):
        mask = f.mask(f.idx(columns)) if columns < LANES else None
        shift = f.vload("%shift", n, IVEC, "i32", mask, hint="b")
        weight_scale = f.vload("%weight_scale", n, mask=mask, hint="b")
        added = f.vload("%bias", n, mask=mask, hint="b") if bias else None
        for i, row in enumerate(rows):
            inside = f.val(f"arith.cmpi slt, {f.idx(i)}, {some} : index", "p")
            with f.when(inside):
                sums = f.val(f"arith.bitcast {row} : {VEC} to {IVEC}", "s")
                sums = f.val(f"arith.addi {sums}, {shift} : {IVEC}", "s")
                value = f.val(f"arith.sitofp {sums} : {IVEC} to {VEC}", "y")
                at = f.add(row0, f.idx(i))
                token = f.broadcast(f.load("%x_scale", at))
                value = activate(f, scaled(f, value, weight_scale, token, added), activation)
                store_row(f, value, "%y", f.add(f.mul(at, f.idx(features)), n), dtype, mask)
    return f.text()
