"""Bitmap weights in int8 for a few tokens: 64 columns at a time, stored bytes spread out to where their bits are.

A word of 64 columns costs one expanding load, and for each token one VNNI instruction. Sixteen sums of sixteen lanes
are added up together by shuffles, and finished as one register.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.bitmap import by_blocks, spread
from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply, scaled
from spcomp.codegen.mlir_cpu.layout import ROUNDS
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function, vector

COLUMNS = 4 * LANES
AHEAD = 2048
"""Bytes to fetch ahead."""


def bitmap8_text(
    n: int, k: int, stride: int, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str = "f32"
) -> str:
    """``bitmap8(q, x_scale, values, masks, start, shift, weight_scale, bias, y, m, block_lo, block_hi)``.

    q [m, stride] bytes of x plus 128, stride at least k rounded up to 64; x_scale [m] f32, masks as 64-bit words,
    shift [n] i32 (minus 128 times the row's sum), y [m, n] of ``dtype``; blocks of four rows of W. For each block,
    tokens are taken by ``sizes`` at a time, largest first. Needs AVX-512 VNNI and VBMI2.
    """
    f = Function(
        "bitmap8",
        (
            ("q", "i8"), ("x_scale", "f32"), ("values", "i8"), ("masks", "i64"), ("start", "i64"), ("shift", "i32"),
            ("weight_scale", "f32"), ("bias", "f32"), ("y", dtype),
        ),
        ("m", "block_lo", "block_hi"),
    )  # fmt: skip
    for row, token, rows, tokens in by_blocks(f, n, sizes):
        sums = _sums(f, row, token, rows, tokens, k, stride)
        _store(f, sums, row, token, rows, n, bias, activation, dtype)
    return f.text()


def _sums(f: Function, row: str, token: str, rows: int, tokens: int, k: int, stride: int) -> list[str]:
    """The products of ``rows`` rows of W with ``tokens`` rows of x, token by token, still to be added up."""
    words = -(-k // COLUMNS)
    kinds = ["index"] * rows + [IVEC] * (rows * tokens)
    begin = [f.load_index("%start", f.add(row, f.idx(r)), "i64") for r in range(rows)]
    carried = [*begin, *[f.splat("0", IVEC)] * (rows * tokens)]
    masks0 = f.mul(row, f.idx(words))
    x0 = f.mul(token, f.idx(stride))
    zero = f.splat("0", BYTES)
    with f.loop(f.idx(0), f.idx(words), carried=list(zip(carried, kinds, strict=True)), hint="word") as word:
        places, sums = list(word.carried[:rows]), list(word.carried[rows:])
        x_at = f.add(x0, f.mul(word.index, f.idx(COLUMNS)))
        xs = [f.vload("%q", f.add(x_at, f.idx(t * stride)), BYTES, "i8") for t in range(tokens)]
        for r in range(rows):
            at = f.add(f.add(masks0, f.idx(r * words)), word.index)
            _, weight, places[r] = spread(f, at, places[r], f.idx(AHEAD), zero, COLUMNS, "i8")
            for t in range(tokens):
                sums[t * rows + r] = multiply(f, sums[t * rows + r], xs[t], weight)
        f.yield_([*places, *sums], kinds)
    return word.results[rows:]


def _store(
    f: Function, sums: list[str], row: str, token: str, rows: int, n: int, bias: bool, activation: str, dtype: str
) -> None:
    """The totals (lane t * rows + r), scaled and through the epilogue, to their places in y."""
    tokens = len(sums) // rows
    totals = add_up(f, sums)
    shift = _spread(f, "%shift", row, rows, tokens, "i32", by_token=False)
    totals = f.val(f"arith.addi {totals}, {shift} : {IVEC}", "s")
    value = f.val(f"arith.sitofp {totals} : {IVEC} to {VEC}", "y")
    weight_scale = _spread(f, "%weight_scale", row, rows, tokens, "f32", by_token=False)
    token_scale = _spread(f, "%x_scale", token, rows, tokens, "f32", by_token=True)
    added = _spread(f, "%bias", row, rows, tokens, "f32", by_token=False) if bias else None
    value = activate(f, scaled(f, value, weight_scale, token_scale, added), activation)
    value = f.narrow(value, dtype)
    for t in range(tokens):
        head = f"vector.extract_strided_slice {value} {{offsets = [{t * rows}], sizes = [{rows}], strides = [1]}}"
        few = f"vector<{rows}x{dtype}>"
        part = f.val(f"{head} : {vector(dtype)} to {few}", "y")
        f.vstore(part, "%y", f.add(f.mul(f.add(token, f.idx(t)), f.idx(n)), row), few, dtype)


def _spread(f: Function, buffer: str, at: str, rows: int, tokens: int, element: str, *, by_token: bool) -> str:
    """One number a row (or a token) in the lanes that belong to it."""
    count = tokens if by_token else rows
    few = f"vector<{count}x{element}>"
    loaded = f.vload(buffer, at, few, element)
    lanes = [min(i // rows, tokens - 1) if by_token else i % rows for i in range(LANES)]
    return f.val(f"vector.shuffle {loaded}, {loaded} {lanes} : {few}, {few}", "l")


def add_up(f: Function, sums: list[str]) -> str:
    """Lane i: all lanes of ``sums[i]`` added up; lanes past the last are zero. Up to sixteen registers.

    Four rounds of shuffles and additions, each of which halves the registers: neighbours are interleaved by 32 bits,
    then by 64, then by 128 bits twice. The totals come out in order.
    """
    zero = f.splat("0", IVEC)
    held = sums + [zero] * (LANES - len(sums))
    for _, lanes, other in ROUNDS:
        merged = []
        for a, b in zip(held[::2], held[1::2], strict=True):
            if a == b == zero:
                merged.append(zero)
                continue
            low = f.val(f"vector.shuffle {a}, {b} {lanes} : {IVEC}, {IVEC}", "t")
            high = f.val(f"vector.shuffle {a}, {b} {[j + other for j in lanes]} : {IVEC}, {IVEC}", "t")
            merged.append(f.val(f"arith.addi {low}, {high} : {IVEC}", "s"))
        held = merged
    return held[0]
