"""Four nonzeros of each of sixteen rows a slot, in int8: a permute of 64 bytes of x and a VNNI instruction a token.

A byte index reaches 64 columns in one register, where float32 reaches 16: a slot of 64 weights is one permute for 64
columns, two for 128. Stored zeros are padding and multiply harmlessly, for bytes are finite.
"""

from __future__ import annotations

from collections.abc import Sequence

from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply, scaled
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function
from spcomp.encodings.windowed import UNIT

SLOT = 4 * LANES
"""Values in a slot, and bytes in a register."""
AHEAD = 2048
"""Bytes to fetch ahead."""
ONE, TWO = "llvm.x86.avx512.permvar.qi.512", "llvm.x86.avx512.vpermi2var.qi.512"
"""Permutes of 64 bytes of one register, and of two."""
MASK = f"vector<{SLOT}xi1>"
CHAINS = 2
"""Slots at a time for one or two tokens: one chain of sums would wait for itself."""


def fours8_text(
    n: int, stride: int, width: int, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str = "f32"
) -> str:
    """``fours8(q, x_scale, values, columns, first, start, shift, weight_scale, bias, y, m, group_lo, group_hi)``.

    q [m, stride] bytes of x plus 128, x_scale [m] f32, shift [n] i32 (minus 128 times the row's sum), y [m, n] of
    ``dtype``. stride is at least the last column of any window. For each group of sixteen rows, tokens are taken by
    ``sizes`` at a time, largest first. Needs AVX-512 VNNI and VBMI.
    """
    f = Function(
        "fours8",
        (
            ("q", "i8"), ("x_scale", "f32"), ("values", "i8"), ("columns", "i8"), ("first", "i16"), ("start", "i64"),
            ("shift", "i32"), ("weight_scale", "f32"), ("bias", "f32"), ("y", dtype),
        ),
        ("m", "group_lo", "group_hi"),
    )  # fmt: skip
    with f.loop("%group_lo", "%group_hi", hint="group") as group:
        span = (
            f.load_index("%start", group.index, "i64"),
            f.load_index("%start", f.add(group.index, f.idx(1)), "i64"),
        )
        row = f.mul(group.index, f.idx(LANES))
        for token, size in f.portions("%m", sizes, "token"):
            sums = _sums(f, width, stride, token, span, size)
            store_sums(f, sums, token, row, n, bias, activation, dtype)
    return f.text()


def store_sums(
    f: Function, sums: Sequence[str], token: str, row: str, n: int, bias: bool, activation: str, dtype: str
) -> None:
    """``sums``, one register a token, of the sixteen rows from ``row`` on: scaled, through the epilogue, and to y."""
    mask = f.mask(f.sub(f.idx(n), row)) if n % LANES else None
    shift = f.vload("%shift", row, IVEC, "i32", mask, hint="b")
    scale = f.vload("%weight_scale", row, mask=mask, hint="b")
    added = f.vload("%bias", row, mask=mask, hint="b") if bias else None
    for t, total in enumerate(sums):
        at = f.add(token, f.idx(t))
        total = f.val(f"arith.addi {total}, {shift} : {IVEC}", "s")
        value = f.val(f"arith.sitofp {total} : {IVEC} to {VEC}", "y")
        value = scaled(f, value, scale, f.broadcast(f.load("%x_scale", at)), added)
        store_row(f, activate(f, value, activation), "%y", f.add(f.mul(at, f.idx(n)), row), dtype, mask)


def _sums(f: Function, width: int, stride: int, token: str, span: tuple[str, str], tokens: int) -> list[str]:
    """The products of a group with ``tokens`` rows of x."""
    unroll = CHAINS if tokens <= 2 else 1
    x0 = f.mul(token, f.idx(stride))
    kinds = [IVEC] * (tokens * unroll)
    zero = f.splat("0", IVEC)
    with f.loop(*span, f.idx(unroll), [(zero, IVEC)] * len(kinds), hint="slot") as slot:
        sums = list(slot.carried)
        for u in range(unroll):
            here = f.add(slot.index, f.idx(u))
            at = f.mul(here, f.idx(SLOT))
            weight = f.vload("%values", at, BYTES, "i8")
            columns = f.vload("%columns", at, BYTES, "i8")
            for buffer in ("%values", "%columns"):
                f.do(f"memref.prefetch {buffer}[{f.add(at, f.idx(AHEAD))}], read, locality<3>, data : memref<?xi8>")
            first = f.add(x0, f.mul(f.load_index("%first", here, "i16"), f.idx(UNIT)))
            upper = upper_half(f, columns) if width > 2 * SLOT else ""
            for t in range(tokens):
                x = pick(f, width, f.add(first, f.idx(t * stride)), columns, upper)
                i = t * unroll + u
                sums[i] = multiply(f, sums[i], x, weight)
        f.yield_(sums, kinds)
    results = slot.results
    if unroll == 1:
        return results
    return [f.val(f"arith.addi {a}, {b} : {IVEC}", "s") for a, b in zip(results[::2], results[1::2], strict=True)]


def upper_half(f: Function, columns: str) -> str:
    """Which columns lie in the second half of a window of 256."""
    return f.val(f"arith.cmpi slt, {columns}, {f.splat('0', BYTES)} : {BYTES}", "m")


def pick(f: Function, width: int, at: str, columns: str, upper: str) -> str:
    """q[at + columns], byte by byte."""
    parts = [f.vload("%q", f.add(at, f.idx(c)), *_part(width)) for c in range(0, width, SLOT)]
    if width < SLOT:
        lanes = [i % width for i in range(SLOT)]
        kind = _part(width)[0]
        parts = [f.val(f"vector.shuffle {parts[0]}, {parts[0]} {lanes} : {kind}, {kind}", "x")]
    if len(parts) == 1:
        return permute(f, ONE, (parts[0], columns))
    picked = [permute(f, TWO, (low, columns, high)) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    if len(picked) == 1:
        return picked[0]
    return f.val(f"arith.select {upper}, {picked[1]}, {picked[0]} : {MASK}, {BYTES}", "p")


def _part(width: int) -> tuple[str, str]:
    return f"vector<{min(width, SLOT)}xi8>", "i8"


def permute(f: Function, name: str, operands: Sequence[str]) -> str:
    """Bytes of registers, chosen by bytes; one source and then the choice, or a source, the choice, a source."""
    kinds = ", ".join([BYTES] * len(operands))
    return f.val(f'llvm.call_intrinsic "{name}"({", ".join(operands)}) : ({kinds}) -> {BYTES}', "p")
