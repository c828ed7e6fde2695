"""Pack and unpack: natural activations [M, F] <-> packed [ceil(M/16), F, 16], by 16 x 16 register transposes.

The packed layout puts sixteen rows of x (tokens) in the lanes of one register, so that a weight is a broadcast.
``unpack`` applies the epilogue: by then sixteen output features of one row lie in a register, as bias does in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from spcomp.codegen.mlir_cpu.epilogue import activate
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector

_SINGLES = [j for q in range(0, LANES, 4) for j in (q, LANES + q, q + 1, LANES + q + 1)]
_PAIRS = [j for q in range(0, LANES, 4) for j in (q, q + 1, LANES + q, LANES + q + 1)]
_QUADS = [*range(4), *range(8, 12), *range(16, 20), *range(24, 28)]
ROUNDS = ((1, _SINGLES, 2), (2, _PAIRS, 2), (4, _QUADS, 4), (8, _QUADS, 4))
"""Distance of the registers that are shuffled together, lanes of the lower result, what to add for the upper one's."""


def transpose(f: Function, rows: list[str]) -> list[str]:
    """Transpose sixteen 16-lane registers in 64 two-input shuffles that x86 has as single instructions.

    Two rounds interleave 32-bit and 64-bit elements inside 128-bit lanes (unpack low, unpack high), two rounds
    exchange whole 128-bit lanes; what comes out has the two low bits of its column number swapped.
    """
    for near, lanes, other in ROUNDS:
        new = list(rows)
        for i in range(LANES):
            if not i & near:
                new[i] = _shuffle(f, rows[i], rows[i + near], lanes)
                new[i + near] = _shuffle(f, rows[i], rows[i + near], [j + other for j in lanes])
        rows = new
    return [rows[i & ~3 | (i & 1) << 1 | (i & 2) >> 1] for i in range(LANES)]


def transposed_fours(f: Function, rows: list[str]) -> list[str]:
    """Of four 16-lane registers: lanes 4 q to 4 q + 3 of register j of the result are lane 4 q + j of all four."""
    for near, lanes, other in ROUNDS[:2]:
        new = list(rows)
        for i in range(4):
            if not i & near:
                new[i] = _shuffle(f, rows[i], rows[i + near], lanes)
                new[i + near] = _shuffle(f, rows[i], rows[i + near], [j + other for j in lanes])
        rows = new
    return [rows[(i & 1) << 1 | (i & 2) >> 1] for i in range(4)]


def _shuffle(f: Function, a: str, b: str, lanes: list[int]) -> str:
    return f.val(f"vector.shuffle {a}, {b} {lanes} : {VEC}, {VEC}", "t")


@functools.lru_cache(maxsize=32)
def pack_text(features: int, padded: int, dtype: str = "f32") -> str:
    """``pack(x[M, features] of dtype, xs[ceil(M/16), padded, 16] of f32, M, tile_lo, tile_hi)``.

    Columns from ``features`` to ``padded`` and rows beyond M are zeros in ``xs``.
    """
    f = Function("pack", (("x", dtype), ("xs", "f32")), ("m", "tile_lo", "tile_hi"))
    lanes, width = f.idx(LANES), f.idx(features)
    with f.loop("%tile_lo", "%tile_hi", hint="tile") as tile:
        row0 = f.mul(tile.index, lanes)
        left = f.sub("%m", row0)
        out0 = f.mul(tile.index, f.idx(padded * LANES))
        whole = features // LANES * LANES
        full = f.val(f"arith.cmpi sge, {left}, {lanes} : index", "p")
        with f.loop(f.idx(0), f.idx(whole), lanes, hint="k") as k:
            f.do(f"scf.if {full} {{")
            f.depth += 1
            _pack_block(f, row0, k.index, out0, width, dtype, None, None)
            f.depth -= 1
            f.do("} else {")
            f.depth += 1
            _pack_block(f, row0, k.index, out0, width, dtype, left, None)
            f.depth -= 1
            f.do("}")
        if features % LANES:
            _pack_block(f, row0, f.idx(whole), out0, width, dtype, left, f.idx(features - whole), padded - whole)
            whole += LANES
        zero = f.splat("0.0")
        for k_pad in range(whole, padded):
            f.vstore(zero, "%xs", f.add(out0, f.idx(k_pad * LANES)))
    return f.text()


def _pack_block(
    f: Function,
    row0: str,
    k: str,
    out0: str,
    width: str,
    dtype: str,
    left: str | None,
    columns: str | None,
    keep: int = LANES,
) -> None:
    rows = []
    mask = f.mask(columns) if columns else f.const("dense<true>", MASK)
    for i in range(LANES):
        at = f.add(f.mul(f.add(row0, f.idx(i)), width), k)
        row_mask = mask
        if left is not None:
            here = f.val(f"arith.cmpi slt, {f.idx(i)}, {left} : index", "p")
            spread = f.val(f"vector.broadcast {here} : i1 to {MASK}", "m")
            row_mask = f.val(f"arith.andi {mask}, {spread} : {MASK}", "m")
        rows.append(f.load_wide("%x", at, dtype, row_mask if left or columns else None))
    base = f.add(out0, f.mul(k, f.idx(LANES)))
    for i, column in enumerate(transpose(f, rows)[:keep]):
        f.vstore(column, "%xs", f.add(base, f.idx(i * LANES)))


@functools.lru_cache(maxsize=32)
def unpack_text(features: int, stride: int, bias: bool, activation: str, dtype: str = "f32") -> str:
    """``unpack(ys[ceil(M/16), stride, 16] of f32, bias[features], y[M, features], M, tile_lo, tile_hi, n_lo, n_hi)``.

    ``y = activation(ys transposed + bias)`` for features n_lo to n_hi (n_lo a multiple of 16), stored in ``dtype``; ys
    holds feature n_lo first; rows beyond M are not written.
    """
    f = Function("unpack", (("ys", "f32"), ("bias", "f32"), ("y", dtype)), ("m", "tile_lo", "tile_hi", "n_lo", "n_hi"))
    for rows, columns, n, row0, some in unpacked(f, features, stride):
        mask = f.mask(f.idx(columns))
        used = None if columns == LANES else mask
        if bias:
            b = f.vload("%bias", n, mask=used, hint="b")
            rows = [f.val(f"arith.addf {r}, {b} : {VEC}", "y") for r in rows]
        for i, row in enumerate(rows):
            inside = f.val(f"arith.cmpi slt, {f.idx(i)}, {some} : index", "p")
            with f.when(inside):
                value = activate(f, row, activation)
                store_row(f, value, "%y", f.add(f.mul(f.add(row0, f.idx(i)), f.idx(features)), n), dtype, used)
    return f.text()


def unpacked(f: Function, features: int, stride: int) -> Iterator[tuple[list[str], int, str, str, str]]:
    """Loops over 16 x 16 pieces of ``ys``: (rows, how many lanes of them are features, first feature, first row, rows
    that are there)."""
    lanes, whole = f.idx(LANES), features // LANES * LANES
    stop = f.smaller("%n_hi", f.idx(whole))
    with f.loop("%tile_lo", "%tile_hi", hint="tile") as tile:
        row0 = f.mul(tile.index, lanes)
        in0 = f.mul(tile.index, f.idx(stride * LANES))
        in0 = f.sub(in0, f.mul("%n_lo", lanes))
        some = f.smaller(f.sub("%m", row0), lanes)
        with f.loop("%n_lo", stop, lanes, hint="n") as n:
            yield _rows(f, in0, n.index, LANES), LANES, n.index, row0, some
        if features % LANES:
            rest = f.val(f"arith.cmpi sgt, %n_hi, {f.idx(whole)} : index", "p")
            with f.when(rest):
                yield _rows(f, in0, f.idx(whole), features - whole), features - whole, f.idx(whole), row0, some


def _rows(f: Function, in0: str, n: str, columns: int) -> list[str]:
    base = f.add(in0, f.mul(n, f.idx(LANES)))
    read = [f.vload("%ys", f.add(base, f.idx(i * LANES))) for i in range(columns)]
    return transpose(f, read + [f.splat("0.0")] * (LANES - columns))


def store_row(f: Function, value: str, buffer: str, at: str, dtype: str, mask: str | None) -> None:
    """Store sixteen results, rounded to ``dtype``, all or under a mask."""
    value, kind = f.narrow(value, dtype), vector(dtype)
    if mask is None:
        f.vstore(value, buffer, at, kind, dtype)
    else:
        f.do(f"vector.maskedstore {buffer}[{at}], {mask}, {value} : memref<?x{dtype}>, {MASK}, {kind}")
