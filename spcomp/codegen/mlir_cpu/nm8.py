"""N:M weights in int8, sixteen output rows in the lanes: four slots of each row make one VNNI instruction.

A control word's fields are taken out for four slots at once, a byte each (``vpmultishiftqb``), the slots' groups are
set into their upper bits, and the bytes pick among 64 of x. Four slots x sixteen rows lie slot by slot in memory; a
permute with constant indices puts the four of a row side by side.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.fours8 import AHEAD, ONE, SLOT, permute, store_sums
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply
from spcomp.codegen.mlir_cpu.nm import NmShape
from spcomp.codegen.mlir_cpu.text import LANES, Function

TOGETHER = 4
"""Slots of a row that one instruction multiplies."""
PAST = 2 * SLOT
"""Bytes behind the last row of x that may be read, and multiplied by zeros."""
SHIFT = "llvm.x86.avx512.pmultishift.qb.512"


def fits(shape: NmShape) -> bool:
    """Whether words hold whole fours of slots, and a four never parts a group that another four has begun."""
    return shape.slots_per_word % TOGETHER == 0 and (TOGETHER % shape.n == 0 or shape.n % TOGETHER == 0)


def nm8_text(
    shape: NmShape, stride: int, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str = "f32"
) -> str:
    """``nm8(q, x_scale, values, control, shift, weight_scale, bias, y, m, row_lo, row_hi)``; rows count sixteens.

    q [m, stride] bytes of x plus 128, and :data:`PAST` readable bytes after the last; x_scale [m] f32, shift [n] i32
    (minus 128 times the row's sum), y [m, n] of ``dtype``. For each sixteen rows, tokens are taken by ``sizes`` at a
    time, largest first. Needs AVX-512 VNNI and VBMI.
    """
    f = Function(
        "nm8",
        (
            ("q", "i8"), ("x_scale", "f32"), ("values", "i8"), ("control", "i32"), ("shift", "i32"),
            ("weight_scale", "f32"), ("bias", "f32"), ("y", dtype),
        ),
        ("m", "row_lo", "row_hi"),
    )  # fmt: skip
    with f.loop("%row_lo", "%row_hi", hint="rows") as row_tile:
        row = f.mul(row_tile.index, f.idx(LANES))
        for token, size in f.portions("%m", sizes, "token"):
            sums = _sums(f, shape, stride, row_tile.index, token, size)
            store_sums(f, sums, token, row, shape.rows, bias, activation, dtype)
    return f.text()


def _sums(f: Function, shape: NmShape, stride: int, row_tile: str, token: str, tokens: int) -> list[str]:
    """The products of sixteen rows with ``tokens`` rows of x; one or two tokens have a sum for every other four."""
    chains = 2 if tokens <= 2 and shape.slots_per_word > TOGETHER else 1
    kinds = [IVEC] * (tokens * chains)
    zero = f.splat("0", IVEC)
    x_token = f.mul(token, f.idx(stride))
    with f.loop(f.idx(0), f.idx(shape.words), carried=[(zero, IVEC)] * len(kinds), hint="word") as word:
        here = f.add(f.mul(row_tile, f.idx(shape.words)), word.index)
        control = f.vload("%control", f.mul(here, f.idx(LANES)), IVEC, "i32")
        control = f.val(f"vector.bitcast {control} : {IVEC} to {BYTES}", "c")
        v0 = f.mul(here, f.idx(shape.slots_per_word * LANES))
        x0 = f.add(x_token, f.mul(word.index, f.idx(shape.word_columns)))
        sums, start, xs = list(word.carried), -1, [""] * tokens
        for four in range(shape.slots_per_word // TOGETHER):
            at = f.add(v0, f.idx(four * SLOT))
            weight = permute(f, ONE, (f.vload("%values", at, BYTES, "i8"), _constant(f, _by_row())))
            f.do(f"memref.prefetch %values[{f.add(at, f.idx(AHEAD))}], read, locality<3>, data : memref<?xi8>")
            first = four * TOGETHER // shape.n * shape.m
            if first // SLOT != start:
                start = first // SLOT
                xs = [f.vload("%q", f.add(x0, f.idx(t * stride + start * SLOT)), BYTES, "i8") for t in range(tokens)]
            columns = _columns(f, shape, control, four, first % SLOT)
            for t in range(tokens):
                i = t * chains + four % chains
                sums[i] = multiply(f, sums[i], permute(f, ONE, (xs[t], columns)), weight)
        f.yield_(sums, kinds)
    results = word.results
    if chains == 1:
        return results
    return [f.val(f"arith.addi {a}, {b} : {IVEC}", "s") for a, b in zip(results[::2], results[1::2], strict=True)]


def _columns(f: Function, shape: NmShape, control: str, four: int, first: int) -> str:
    """For each row its four slots' columns, from ``first`` on: a field of the control word, and its group's place."""
    bits = [shape.bits * (four * TOGETHER + j) for j in range(TOGETHER)]
    shifts = _constant(f, [half * 32 + bit for _ in range(LANES // 2) for half in (0, 1) for bit in bits])
    call = f'llvm.call_intrinsic "{SHIFT}"({shifts}, {control})'
    fields = f.val(f"{call} : ({BYTES}, {BYTES}) -> {BYTES}", "c")
    fields = f.val(f"arith.andi {fields}, {f.splat(str((1 << shape.bits) - 1), BYTES)} : {BYTES}", "c")
    places = [first + j // shape.n * shape.m for j in range(TOGETHER)]
    if not any(places):
        return fields
    return f.val(f"arith.ori {fields}, {_constant(f, places * LANES)} : {BYTES}", "c")


def _by_row() -> list[int]:
    return [slot * LANES + row for row in range(LANES) for slot in range(TOGETHER)]


def _constant(f: Function, values: list[int]) -> str:
    return f.const(f"dense<{values}>", BYTES)
