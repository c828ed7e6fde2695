"""Blocked CSR x packed activations: one weight broadcast and ``tiles`` fused multiply-adds a nonzero.

A column block of x (block_columns x tiles x 64 bytes) stays in L1 while all rows of W pass over it; the partial sums
of a row are one load and one store a column block. Inner loop after the blocked CSR of the literature on
cache-blocked SpMM; nothing in it is gathered.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

AHEAD = 1024
"""How far ahead of its use a stream of weights is fetched, in elements: 4 KB of float32."""


def csr_text(
    n: int,
    padded_n: int,
    padded_k: int,
    k: int,
    block_columns: int,
    tiles: int,
    index: str,
    count: str,
    dtype: str = "f32",
) -> str:
    """``csr(xs, ys, values, columns, counts, start, tile_lo, tile_hi, row_lo, row_hi)``.

    xs [*, padded_k, 16], ys [*, padded_n, 16]; ``start`` [column blocks] is the offset of row ``row_lo``'s first
    nonzero in each column block. Tiles are taken ``tiles`` at a time: ``tile_hi - tile_lo`` must be a multiple.
    """
    f = Function(
        "csr",
        (("xs", "f32"), ("ys", "f32"), ("values", dtype), ("columns", index), ("counts", count), ("start", "i64")),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )
    blocks = -(-k // block_columns)
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        _block(f, f.idx(0), x0, y0, n, padded_n, padded_k, tiles, index, count, dtype, first=True)
        if blocks > 1:
            with f.loop(f.idx(1), f.idx(blocks), hint="block") as block:
                x_block = f.add(x0, f.mul(block.index, f.idx(block_columns * LANES)))
                _block(f, block.index, x_block, y0, n, padded_n, padded_k, tiles, index, count, dtype, first=False)
    return f.text()


def _block(
    f: Function,
    block: str,
    x0: str,
    y0: str,
    n: int,
    padded_n: int,
    padded_k: int,
    tiles: int,
    index: str,
    count: str,
    dtype: str,
    *,
    first: bool,
) -> None:
    start = f.load_index("%start", block, "i64")
    counts0 = f.mul(block, f.idx(n))
    with f.loop("%row_lo", "%row_hi", carried=[(start, "index")], hint="row") as row:
        (begin,) = row.carried
        end = f.add(begin, f.load_index("%counts", f.add(counts0, row.index), count))
        out = f.add(y0, f.mul(row.index, f.idx(LANES)))
        at = [f.add(out, f.idx(t * padded_n * LANES)) for t in range(tiles)]
        sums = [f.splat("0.0") if first else f.vload("%ys", a) for a in at]
        prefetch(f, "%values", begin, 2, dtype)
        prefetch(f, "%columns", begin, 1, index)
        totals = sum_nonzeros(f, "%values", "%columns", index, (begin, end), x0, sums, padded_k, dtype)
        for a, total in zip(at, totals, strict=True):
            f.vstore(total, "%ys", a)
        f.yield_([end], ["index"])


def sum_nonzeros(
    f: Function,
    values: str,
    columns: str,
    index: str,
    span: tuple[str, str],
    x0: str,
    sums: list[str],
    padded_k: int,
    dtype: str,
) -> list[str]:
    """The nonzeros in ``span`` of one row times their columns of x, added to the row's sums (one a tile)."""
    with f.loop(*span, carried=[(s, VEC) for s in sums], hint="p") as nonzero:
        column = f.load_index(columns, nonzero.index, index)
        x_at = f.add(x0, f.mul(column, f.idx(LANES)))
        weight = load_weight(f, values, nonzero.index, dtype)
        new = [
            f.fma(weight, f.vload("%xs", f.add(x_at, f.idx(t * padded_k * LANES))), carried)
            for t, carried in enumerate(nonzero.carried)
        ]
        f.yield_(new, [VEC] * len(sums))
    return list(nonzero.results)


def prefetch(f: Function, buffer: str, at: str, lines: int, element: str) -> None:
    """Fetch lines of a stream :data:`AHEAD` elements on: hardware prefetchers stop at pages and lag behind L3."""
    for line in range(lines):
        ahead = f.add(at, f.idx(AHEAD + line * LANES))
        f.do(f"memref.prefetch {buffer}[{ahead}], read, locality<3>, data : memref<?x{element}>")


def load_weight(f: Function, buffer: str, at: str, dtype: str) -> str:
    """One stored weight in all lanes, as f32."""
    scalar = f.load(buffer, at, dtype)
    if dtype != "f32":
        scalar = f.val(f"arith.extf {scalar} : {dtype} to f32", "s")
    return f.broadcast(scalar)
