"""Blocked CSR x packed activations: one weight broadcast and ``tiles`` fused multiply-adds a nonzero.

A column block of x (block_columns x tiles x 64 bytes) stays in L1 while all rows of W pass over it; the partial sums
of a row are one load and one store a column block. Inner loop after the blocked CSR of the literature on
cache-blocked SpMM; nothing in it is gathered.

A sum waits for the one before, four cycles a nonzero. With one or two tiles there are too few of them for two units,
and the next rows' are out of sight behind a row's end that was guessed wrong; so sorted rows, about equally long, are
summed up three together.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

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
    window: int = 0,
    together: int = 1,
) -> str:
    """``csr(xs, ys, values, columns, counts, start, tile_lo, tile_hi, row_lo, row_hi)``.

    xs [*, padded_k, 16], ys [*, padded_n, 16]; ``start`` [column blocks] is the offset of row ``row_lo``'s first
    nonzero in each column block. Tiles are taken ``tiles`` at a time: ``tile_hi - tile_lo`` must be a multiple.
    With a ``window``, rows are sorted within windows of so many: ``sorted_csr(xs, ys, values, columns, counts, order,
    start, tile_lo, tile_hi, window_lo, window_hi)``, which takes ``together`` of them at a time.
    """
    order = (("order", "i8"),) if window else ()
    f = Function(
        "sorted_csr" if window else "csr",
        (
            ("xs", "f32"), ("ys", "f32"), ("values", dtype), ("columns", index), ("counts", count), *order,
            ("start", "i64"),
        ),
        ("tile_lo", "tile_hi", *(("window_lo", "window_hi") if window else ("row_lo", "row_hi"))),
    )  # fmt: skip
    blocks = -(-k // block_columns)
    shape = _Shape(n, padded_n, padded_k, tiles, index, count, dtype, window, together)
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        _block(f, f.idx(0), x0, y0, shape, first=True)
        if blocks > 1:
            with f.loop(f.idx(1), f.idx(blocks), hint="block") as block:
                x_block = f.add(x0, f.mul(block.index, f.idx(block_columns * LANES)))
                _block(f, block.index, x_block, y0, shape, first=False)
    return f.text()


@dataclass(frozen=True)
class _Shape:
    """Sizes and types that every part of the function needs."""

    n: int
    padded_n: int
    padded_k: int
    tiles: int
    index: str
    count: str
    dtype: str
    window: int
    together: int


def _block(f: Function, block: str, x0: str, y0: str, shape: _Shape, *, first: bool) -> None:
    """All rows times one block of columns."""
    start = f.load_index("%start", block, "i64")
    counts0 = f.mul(block, f.idx(shape.n))
    if not shape.window:
        with f.loop("%row_lo", "%row_hi", carried=[(start, "index")], hint="row") as row:
            end = _rows(f, row.carried[0], [f.add(counts0, row.index)], [row.index], x0, y0, shape, first=first)
            f.yield_([end], ["index"])
        return
    with f.loop("%window_lo", "%window_hi", carried=[(start, "index")], hint="window") as window:
        lo = f.mul(window.index, f.idx(shape.window))
        hi = f.val(f"arith.minui {f.add(lo, f.idx(shape.window))}, {f.idx(shape.n)} : index", "i")
        begin, at = window.carried[0], lo
        for size in sorted({shape.together, 1}, reverse=True):
            stop = hi
            if size > 1:
                whole = f.val(f"arith.divui {f.sub(hi, lo)}, {f.idx(size)} : index", "i")
                stop = f.add(lo, f.mul(whole, f.idx(size)))
            with f.loop(at, stop, f.idx(size), [(begin, "index")], hint="place") as place:
                first_of = f.add(counts0, place.index)
                ats = [f.add(first_of, f.idx(i)) if i else first_of for i in range(size)]
                rows = [f.add(lo, f.load_index("%order", one, "i8")) for one in ats]
                end = _rows(f, place.carried[0], ats, rows, x0, y0, shape, first=first)
                f.yield_([end], ["index"])
            begin, at = place.results[0], stop
        f.yield_([begin], ["index"])


def _rows(
    f: Function, begin: str, ats: list[str], rows: list[str], x0: str, y0: str, shape: _Shape, *, first: bool
) -> str:
    """Rows whose nonzeros follow each other from ``begin`` on, counted by ``counts[at]``; returns where they end.

    As many of each as the shortest has are summed up together, the rest row by row.
    """
    spans, places, sums = [], [], []
    for at, row in zip(ats, rows, strict=True):
        spans.append((begin, f.add(begin, f.load_index("%counts", at, shape.count))))
        out = f.add(y0, f.mul(row, f.idx(LANES)))
        places.append([f.add(out, f.idx(t * shape.padded_n * LANES)) for t in range(shape.tiles)])
        sums.append([f.splat("0.0") if first else f.vload("%ys", place) for place in places[-1]])
        prefetch(f, "%values", begin, 2, shape.dtype)
        prefetch(f, "%columns", begin, 1, shape.index)
        begin = spans[-1][1]
    if len(ats) > 1:
        shortest = functools.reduce(f.smaller, [f.sub(end, start) for start, end in spans])
        flat = [(one, VEC) for own in sums for one in own]
        with f.loop(f.idx(0), shortest, carried=flat, hint="p") as nonzero:
            new = []
            for i, (start, _) in enumerate(spans):
                own = nonzero.carried[i * shape.tiles : (i + 1) * shape.tiles]
                place = f.add(start, nonzero.index)
                new += _added(f, "%values", "%columns", shape.index, place, x0, own, shape.padded_k, shape.dtype)
            f.yield_(new, [VEC] * len(new))
        sums = [list(nonzero.results[i * shape.tiles : (i + 1) * shape.tiles]) for i in range(len(ats))]
        spans = [(f.add(start, shortest), end) for start, end in spans]
    for span, own, outs in zip(spans, sums, places, strict=True):
        totals = sum_nonzeros(f, "%values", "%columns", shape.index, span, x0, own, shape.padded_k, shape.dtype)
        for place, total in zip(outs, totals, strict=True):
            f.vstore(total, "%ys", place)
    return begin


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
        new = _added(f, values, columns, index, nonzero.index, x0, nonzero.carried, padded_k, dtype)
        f.yield_(new, [VEC] * len(sums))
    return list(nonzero.results)


def _added(
    f: Function,
    values: str,
    columns: str,
    index: str,
    at: str,
    x0: str,
    sums: Sequence[str],
    padded_k: int,
    dtype: str,
) -> list[str]:
    """The nonzero ``at`` times its column of x, added to its row's sums."""
    column = f.load_index(columns, at, index)
    x_at = f.add(x0, f.mul(column, f.idx(LANES)))
    weight = load_weight(f, values, at, dtype)
    return [
        f.fma(weight, f.vload("%xs", f.add(x_at, f.idx(t * padded_k * LANES))), carried)
        for t, carried in enumerate(sums)
    ]


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
