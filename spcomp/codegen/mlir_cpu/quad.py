"""Four columns at a time, int8: a register tile of ``rows`` rows x ``tiles`` token vectors stays in accumulators.

x is packed as dwords of four bytes: a lane is a token. A weight group of one row is a dword too, broadcast to all
lanes; one VNNI instruction adds sixteen tokens x four columns.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.csr import prefetch
from spcomp.codegen.mlir_cpu.epilogue import IVEC
from spcomp.codegen.mlir_cpu.int8_rows import BYTES, multiply
from spcomp.codegen.mlir_cpu.text import LANES, Function


def quad_text(n: int, padded_n: int, padded_k4: int, rows: int, tiles: int) -> str:
    """``quad(xs, ys, values, columns, row_start, tile_lo, tile_hi, row_lo, row_hi)``; rows count block rows.

    xs [*, padded_k4, 16] and ys [*, padded_n, 16] of i32; ``values`` [groups, rows] as i32. Needs AVX-512 VNNI.
    """
    f = Function(
        "quad",
        (("xs", "i32"), ("ys", "i32"), ("values", "i32"), ("columns", "i32"), ("row_start", "i32")),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )
    whole = n // rows
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k4 * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        last = f.val(f"arith.minsi %row_hi, {f.idx(whole)} : index", "i") if n % rows else "%row_hi"
        with f.loop("%row_lo", last, hint="row") as row:
            _row(f, row.index, x0, y0, padded_n, padded_k4, rows, tiles, rows)
        if n % rows:
            inside = f.val(f"arith.cmpi sgt, %row_hi, {f.idx(whole)} : index", "p")
            with f.when(inside):
                _row(f, f.idx(whole), x0, y0, padded_n, padded_k4, rows, tiles, n % rows)
    return f.text()


def _row(
    f: Function, row: str, x0: str, y0: str, padded_n: int, padded_k4: int, rows: int, tiles: int, kept: int
) -> None:
    begin = f.load_index("%row_start", row, "i32")
    end = f.load_index("%row_start", f.add(row, f.idx(1)), "i32")
    kinds = [IVEC] * (rows * tiles)
    with f.loop(begin, end, carried=[(f.splat("0", IVEC), IVEC)] * len(kinds), hint="g") as group:
        x_at = f.add(x0, f.mul(f.load_index("%columns", group.index, "i32"), f.idx(LANES)))
        w_at = f.mul(group.index, f.idx(rows))
        prefetch(f, "%values", w_at, 1, "i32")
        sums = list(group.carried)
        xs = [_bytes(f, f.vload("%xs", f.add(x_at, f.idx(t * padded_k4 * LANES)), IVEC, "i32")) for t in range(tiles)]
        for r in range(rows):
            four = f.load("%values", f.add(w_at, f.idx(r)), "i32")
            weight = _bytes(f, f.broadcast(four, IVEC, "i32"))
            for t in range(tiles):
                sums[r * tiles + t] = multiply(f, sums[r * tiles + t], xs[t], weight)
        f.yield_(sums, kinds)
    out = f.add(y0, f.mul(row, f.idx(rows * LANES)))
    for r in range(kept):
        for t in range(tiles):
            f.vstore(group.results[r * tiles + t], "%ys", f.add(out, f.idx((t * padded_n + r) * LANES)), IVEC, "i32")


def _bytes(f: Function, dwords: str) -> str:
    return f.val(f"vector.bitcast {dwords} : {IVEC} to {BYTES}", "q")
