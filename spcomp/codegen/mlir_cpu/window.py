"""Windowed weights for a few tokens: sixteen rows in the lanes, x permuted out of a window that registers hold.

A slot brings sixteen weights, their columns within the slot's window and where that window starts. Up to 128 columns
are permuted: two registers of x make one two-source permute, and the upper bits of the column choose among permutes.
Wider windows are gathered. Padding multiplies nothing: its lanes are masked, or Inf x 0 would make a NaN of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from spcomp.codegen.mlir_cpu.csr import prefetch
from spcomp.codegen.mlir_cpu.epilogue import BITS, IVEC, activate
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector

PERMUTE = "llvm.x86.avx512.vpermi2var.ps.512"
PAIR = 2 * LANES
"""Columns that one permute reaches."""
WIDEST_PERMUTED = 128
FIRST_AHEAD = 256
"""Slots from one whose window is read to the one whose window is fetched: eight cache lines of them."""


@dataclass(frozen=True)
class WindowShape:
    """The sizes that a window kernel is written for."""

    rows: int
    columns: int
    width: int

    @property
    def padded_columns(self) -> int:
        """Columns that a row of x must have, so that no window is read past its end."""
        if self.width > WIDEST_PERMUTED:
            return self.columns
        return max(self.width, -(-self.columns // LANES) * LANES)


def window_text(shape: WindowShape, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str = "f32") -> str:
    """``window(x, values, columns, first, start, order, bias, y, m, group_lo, group_hi)``.

    x [m, padded columns] f32, y [m, rows] of ``dtype``. For each group of sixteen rows, tokens are taken by ``sizes``
    at a time, largest first, so that the group's weights come from memory once. Needs AVX-512.
    """
    f = Function(
        "window",
        (
            ("x", "f32"), ("values", dtype), ("columns", "i8"), ("first", "i16"), ("start", "i64"), ("order", "i32"),
            ("bias", "f32"), ("y", dtype),
        ),
        ("m", "group_lo", "group_hi"),
    )  # fmt: skip
    with f.loop("%group_lo", "%group_hi", hint="group") as group:
        slot_lo = f.load_index("%start", group.index, "i64")
        slot_hi = f.load_index("%start", f.add(group.index, f.idx(1)), "i64")
        row = f.mul(group.index, f.idx(LANES))
        left = f.sub(f.idx(shape.rows), row)
        mask = f.mask(left)
        order = f.vload("%order", row, IVEC, "i32", mask, hint="v")
        for token, size in f.portions("%m", sizes, "token"):
            sums = _sums(f, shape, token, slot_lo, slot_hi, mask, size, dtype)
            for t, total in enumerate(sums):
                out = f.mul(f.add(token, f.idx(t)), f.idx(shape.rows))
                _store(f, total, order, mask, out, bias, activation, dtype)
    return f.text()


def _sums(
    f: Function, shape: WindowShape, token: str, slot_lo: str, slot_hi: str, mask: str, tokens: int, dtype: str
) -> list[str]:
    """The products of a group with ``tokens`` rows of x, each summed up in one register."""
    unroll = 2 if tokens <= 2 else 1
    x0 = f.mul(token, f.idx(shape.padded_columns))
    kinds = [VEC] * (tokens * unroll)
    zero = f.splat("0.0")
    with f.loop(slot_lo, slot_hi, f.idx(unroll), [(zero, VEC)] * len(kinds), hint="slot") as slot:
        sums = list(slot.carried)
        for u in range(unroll):
            here = f.add(slot.index, f.idx(u))
            at = f.mul(here, f.idx(LANES))
            weight, stored = _weights(f, at, mask, dtype)
            octets = f.vload("%columns", at, vector("i8"), "i8")
            columns = f.val(f"arith.extui {octets} : vector<{LANES}xi8> to {IVEC}", "c")
            prefetch(f, "%values", at, 1, dtype)
            prefetch(f, "%columns", at, 1, "i8")
            f.do(f"memref.prefetch %first[{f.add(here, f.idx(FIRST_AHEAD))}], read, locality<3>, data : memref<?xi16>")
            first = f.add(x0, f.mul(f.load_index("%first", here, "i16"), f.idx(LANES)))
            chosen = _choices(f, shape.width, columns)
            for t in range(tokens):
                x = _pick(f, shape.width, f.add(first, f.idx(t * shape.padded_columns)), columns, chosen, stored)
                i = t * unroll + u
                added = f.fma(weight, x, sums[i])
                sums[i] = f.val(f"arith.select {stored}, {added}, {sums[i]} : {BITS}, {VEC}", "f")
        f.yield_(sums, kinds)
    results = slot.results
    if unroll == 1:
        return results
    return [f.val(f"arith.addf {a}, {b} : {VEC}", "f") for a, b in zip(results[::2], results[1::2], strict=True)]


def _weights(f: Function, at: str, mask: str, dtype: str) -> tuple[str, str]:
    """Sixteen weights as f32, and which of them are nonzero by their bits.

    ``mask`` says nothing new, but keeps LLVM from testing for zero instead and then blending after every multiply-add.
    """
    raw = f.vload("%values", at, vector(dtype), dtype)
    width = 32 if dtype == "f32" else 16
    whole = f"vector<{LANES}xi{width}>"
    bits = f.val(f"arith.bitcast {raw} : vector<{LANES}x{dtype}> to {whole}", "b")
    stored = f.val(f"arith.cmpi ne, {bits}, {f.splat('0', whole)} : {whole}", "m")
    stored = f.val(f"arith.andi {stored}, {mask} : {MASK}", "m")
    return f.widen(raw, dtype, "w"), stored


def _choices(f: Function, width: int, columns: str) -> list[str]:
    """For each bit of the column above those that a permute reads, the lanes in which it is set, lowest first."""
    found = []
    bit = PAIR
    while bit < width <= WIDEST_PERMUTED:
        only = f.val(f"arith.andi {columns}, {f.splat(str(bit), IVEC)} : {IVEC}", "c")
        found.append(f.val(f"arith.cmpi ne, {only}, {f.splat('0', IVEC)} : {IVEC}", "m"))
        bit *= 2
    return found


def _pick(f: Function, width: int, at: str, columns: str, chosen: list[str], stored: str) -> str:
    """x[at + columns], lane by lane."""
    if width > WIDEST_PERMUTED:
        head = f"vector.gather %x[{at}] [{columns}], {stored}, {f.splat('0.0')}"
        return f.val(f"{head} : memref<?xf32>, {IVEC}, {MASK}, {VEC} into {VEC}", "p")
    parts = []
    for start in range(0, width, PAIR):
        low, high = f.vload("%x", f.add(at, f.idx(start))), f.vload("%x", f.add(at, f.idx(start + LANES)))
        call = f'llvm.call_intrinsic "{PERMUTE}"({low}, {columns}, {high})'
        parts.append(f.val(f"{call} : ({VEC}, {IVEC}, {VEC}) -> {VEC}", "p"))
    for mask in chosen:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        parts = [f.val(f"arith.select {mask}, {high}, {low} : {BITS}, {VEC}", "p") for low, high in pairs]
    return parts[0]


def _store(f: Function, total: str, order: str, mask: str, out: str, bias: bool, activation: str, dtype: str) -> None:
    """Each lane to its row of y."""
    if bias:
        head = f"vector.gather %bias[{f.idx(0)}] [{order}], {mask}, {f.splat('0.0')}"
        added = f.val(f"{head} : memref<?xf32>, {IVEC}, {MASK}, {VEC} into {VEC}", "b")
        total = f.val(f"arith.addf {total}, {added} : {VEC}", "y")
    total = activate(f, total, activation)
    total = f.narrow(total, dtype)
    f.do(f"vector.scatter %y[{out}] [{order}], {mask}, {total} : memref<?x{dtype}>, {IVEC}, {MASK}, {vector(dtype)}")
