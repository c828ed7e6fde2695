"""Four columns at a time, int8 or bfloat16: ``rows`` rows x ``tiles`` token vectors stay in accumulators.

x is packed as dwords, a lane a token: four bytes, or two bfloat16. The weights of a row are dwords too, broadcast to
all lanes; one instruction adds sixteen tokens x four (VNNI) or two (AVX-512 BF16) columns.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.block import block_rows
from spcomp.codegen.mlir_cpu.csr import prefetch
from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

PAIRS = f"vector<{2 * LANES}xbf16>"
DWORDS = {"i8": 1, "bf16": 2}
"""Dwords that four values take."""
SUMS = {"i8": IVEC, "bf16": VEC}


def quad_text(n: int, padded_n: int, padded_k: int, rows: int, tiles: int, dtype: str = "i8") -> str:
    """``quad(xs, ys, values, columns, row_start, tile_lo, tile_hi, row_lo, row_hi)``; rows count block rows.

    xs [*, padded_k, 16] of dwords, ys [*, padded_n, 16] of i32 (bf16: f32), ``values`` [groups, rows, dwords]. Needs
    AVX-512 VNNI, or AVX-512 BF16.
    """
    sums = "i32" if dtype == "i8" else "f32"
    f = Function(
        "quad",
        (("xs", "i32"), ("ys", sums), ("values", "i32"), ("columns", "i32"), ("row_start", "i32")),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )
    for row, x0, y0, kept in block_rows(f, n, padded_n, padded_k, rows, tiles):
        _row(f, row, x0, y0, padded_n, padded_k, rows, tiles, dtype, kept)
    return f.text()


def _row(
    f: Function, row: str, x0: str, y0: str, padded_n: int, padded_k: int, rows: int, tiles: int, dtype: str, kept: int
) -> None:
    begin = f.load_index("%row_start", row, "i32")
    end = f.load_index("%row_start", f.add(row, f.idx(1)), "i32")
    kind, dwords = SUMS[dtype], DWORDS[dtype]
    kinds = [kind] * (rows * tiles)
    zero = f.splat("0" if dtype == "i8" else "0.0", kind)
    with f.loop(begin, end, carried=[(zero, kind)] * len(kinds), hint="g") as group:
        x_at = f.add(x0, f.mul(f.load_index("%columns", group.index, "i32"), f.idx(LANES * dwords)))
        w_at = f.mul(group.index, f.idx(rows * dwords))
        prefetch(f, "%values", w_at, 1, "i32")
        sums = list(group.carried)
        for d in range(dwords):
            at = [f.add(x_at, f.idx((t * padded_k + d) * LANES)) for t in range(tiles)]
            xs = [_narrow(f, f.vload("%xs", a, IVEC, "i32"), dtype) for a in at]
            for r in range(rows):
                weights = f.load("%values", f.add(w_at, f.idx(r * dwords + d)), "i32")
                weight = _narrow(f, f.broadcast(weights, IVEC, "i32"), dtype)
                for t in range(tiles):
                    sums[r * tiles + t] = _multiply(f, sums[r * tiles + t], xs[t], weight, dtype)
        f.yield_(sums, kinds)
    out = f.add(y0, f.mul(row, f.idx(rows * LANES)))
    element = "i32" if dtype == "i8" else "f32"
    for r in range(kept):
        for t in range(tiles):
            f.vstore(group.results[r * tiles + t], "%ys", f.add(out, f.idx((t * padded_n + r) * LANES)), kind, element)


def _narrow(f: Function, dwords: str, dtype: str) -> str:
    return f.val(f"vector.bitcast {dwords} : {IVEC} to {BYTES if dtype == 'i8' else PAIRS}", "q")


def _multiply(f: Function, sums: str, x: str, weight: str, dtype: str) -> str:
    if dtype == "i8":
        return multiply(f, sums, x, weight)
    call = f'llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"({sums}, {x}, {weight})'
    return f.val(f"{call} : ({VEC}, {PAIRS}, {PAIRS}) -> {VEC}", "d")
