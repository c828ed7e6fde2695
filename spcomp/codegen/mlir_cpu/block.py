"""Block-sparse W x packed activations: a register tile of block rows x ``tiles`` token vectors stays in accumulators.

A block row is summed over all its blocks before anything is stored, so partial sums never touch memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from spcomp.codegen.mlir_cpu.csr import load_weight, prefetch, sum_nonzeros
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

UNROLL = 8
"""Columns of a block written out in a row; wider blocks loop over such pieces."""


def block_text(n: int, padded_n: int, padded_k: int, rows: int, cols: int, tiles: int, dtype: str = "f32") -> str:
    """``block(xs, ys, values, columns, row_start, tile_lo, tile_hi, row_lo, row_hi)``; rows count block rows.

    xs [*, padded_k, 16], ys [*, padded_n, 16]; ``values`` [blocks, cols, rows]. ``rows * tiles`` accumulators.
    """
    f = Function(
        "block",
        (("xs", "f32"), ("ys", "f32"), ("values", dtype), ("columns", "i32"), ("row_start", "i32")),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )
    for row, x0, y0, kept in block_rows(f, n, padded_n, padded_k, rows, tiles):
        _row(f, row, x0, y0, n, padded_n, padded_k, rows, cols, tiles, dtype, kept)
    return f.text()


def split_text(n: int, padded_n: int, padded_k: int, rows: int, cols: int, tiles: int, dtype: str = "f32") -> str:
    """``split(xs, ys, values, columns, row_start, rest_values, rest_columns, rest_start, tile_lo, tile_hi, row_lo,
    row_hi)``: as :func:`block_text`; what no block holds is added to a row's sums while those are in registers."""
    f = Function(
        "split",
        (
            ("xs", "f32"), ("ys", "f32"), ("values", dtype), ("columns", "i32"), ("row_start", "i32"),
            ("rest_values", dtype), ("rest_columns", "i16"), ("rest_start", "i32"),
        ),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )  # fmt: skip
    for row, x0, y0, kept in block_rows(f, n, padded_n, padded_k, rows, tiles):
        _row(f, row, x0, y0, n, padded_n, padded_k, rows, cols, tiles, dtype, kept, rest=True)
    return f.text()


def block_rows(
    f: Function, n: int, padded_n: int, padded_k: int, rows: int, tiles: int
) -> Iterator[tuple[str, str, str, int]]:
    """Loops over tiles and block rows: (block row, start in xs, start in ys, rows of it that W has)."""
    whole = n // rows
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        last = f.smaller("%row_hi", f.idx(whole)) if n % rows else "%row_hi"
        with f.loop("%row_lo", last, hint="row") as row:
            yield row.index, x0, y0, rows
        if n % rows:
            inside = f.val(f"arith.cmpi sgt, %row_hi, {f.idx(whole)} : index", "p")
            with f.when(inside):
                yield f.idx(whole), x0, y0, n % rows


def _row(
    f: Function,
    row: str,
    x0: str,
    y0: str,
    n: int,
    padded_n: int,
    padded_k: int,
    rows: int,
    cols: int,
    tiles: int,
    dtype: str,
    kept: int,
    *,
    rest: bool = False,
) -> None:
    begin = f.load_index("%row_start", row, "i32")
    end = f.load_index("%row_start", f.add(row, f.idx(1)), "i32")
    tiles_types = [VEC] * (rows * tiles)
    with f.loop(begin, end, carried=[(f.splat("0.0"), VEC)] * (rows * tiles), hint="b") as block:
        column = f.load_index("%columns", block.index, "i32")
        x_at = f.add(x0, f.mul(column, f.idx(cols * LANES)))
        w_at = f.mul(block.index, f.idx(cols * rows))
        prefetch(f, "%values", w_at, min(4, -(-rows * cols // LANES)), dtype)
        if cols <= UNROLL:
            sums = _columns(f, x_at, w_at, block.carried, padded_k, rows, cols, tiles, dtype)
        else:
            with f.loop(f.idx(0), f.idx(cols), carried=[(c, VEC) for c in block.carried], hint="c") as inner:
                x_in = f.add(x_at, f.mul(inner.index, f.idx(LANES)))
                w_in = f.add(w_at, f.mul(inner.index, f.idx(rows)))
                f.yield_(_columns(f, x_in, w_in, inner.carried, padded_k, rows, 1, tiles, dtype), tiles_types)
            sums = inner.results
        f.yield_(sums, tiles_types)
    out = f.add(y0, f.mul(row, f.idx(rows * LANES)))
    for r in range(kept):
        sums = block.results[r * tiles : (r + 1) * tiles]
        if rest:
            own = f.add(f.mul(row, f.idx(rows)), f.idx(r))
            span = f.load_index("%rest_start", own, "i32"), f.load_index("%rest_start", f.add(own, f.idx(1)), "i32")
            sums = sum_nonzeros(f, "%rest_values", "%rest_columns", "i16", span, x0, sums, padded_k, dtype)
        for t in range(tiles):
            f.vstore(sums[t], "%ys", f.add(out, f.idx((t * padded_n + r) * LANES)))


def _columns(
    f: Function,
    x_at: str,
    w_at: str,
    sums: list[str],
    padded_k: int,
    rows: int,
    cols: int,
    tiles: int,
    dtype: str,
) -> list[str]:
    """``cols`` columns of a block, written out."""
    sums = list(sums)
    for c in range(cols):
        xs = [f.vload("%xs", f.add(x_at, f.idx((t * padded_k + c) * LANES))) for t in range(tiles)]
        for r in range(rows):
            weight = load_weight(f, "%values", f.add(w_at, f.idx(c * rows + r)), dtype)
            for t in range(tiles):
                sums[r * tiles + t] = f.fma(weight, xs[t], sums[r * tiles + t])
    return sums
