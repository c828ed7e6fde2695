"""What stands between the layers of a network with few rows, each a small function: sums, norms, attention, caches.

Inductor and torch have all of it, a call at a time from Python, at 10 to 60 us each where weights fill the caches.
These are for chains (:mod:`~spcomp.codegen.mlir_cpu.laid_down`): float32, contiguous, sizes known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from spcomp.codegen.mlir_cpu import jit, parallel, tiled
from spcomp.codegen.mlir_cpu.epilogue import activate, exp
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.layout import pack_text, store_row, unpack_text
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

BINARY = {"add": "addf", "sub": "subf", "mul": "mulf"}
MOST_WIDTH = 128
"""Of a head: its query and its result are kept in registers, eight each."""
ZMM_BYTES = 4 * LANES
LOWEST = "0xFF800000"
"""Minus infinity as float32 bits."""


def pair_text(kind: str) -> str:
    """``pair(a, b, y, lo, hi)``: one of :data:`BINARY` of elements lo to hi."""
    f = Function("pair", (("a", "f32"), ("b", "f32"), ("y", "f32")), ("lo", "hi"))
    with f.loop("%lo", "%hi", f.idx(LANES), hint="i") as i:
        keep = f.mask(f.sub("%hi", i.index))
        a, b = (f.vload(name, i.index, mask=keep) for name in ("%a", "%b"))
        store_row(f, f.val(f"arith.{BINARY[kind]} {a}, {b} : {VEC}", "y"), "%y", i.index, "f32", keep)
    return f.text()


def single_text(activation: str) -> str:
    """``single(x, y, lo, hi)``: an activation of elements lo to hi."""
    f = Function("single", (("x", "f32"), ("y", "f32")), ("lo", "hi"))
    with f.loop("%lo", "%hi", f.idx(LANES), hint="i") as i:
        keep = f.mask(f.sub("%hi", i.index))
        value = activate(f, f.vload("%x", i.index, mask=keep), activation)
        store_row(f, value, "%y", i.index, "f32", keep)
    return f.text()


def norm_text(features: int, eps: float, *, weight: bool, bias: bool) -> str:
    """``norm(x, weight[features], bias[features], y, row_lo, row_hi)``: LayerNorm of rows [features].

    Two passes, mean first, in float32.
    """
    f = Function("norm", tuple((name, "f32") for name in ("x", "weight", "bias", "y")), ("row_lo", "row_hi"))
    end, zero = f.idx(features), f.splat("0.0")
    with f.loop("%row_lo", "%row_hi", hint="row") as row:
        base = f.mul(row.index, end)

        def part(column: str) -> tuple[str, str]:
            keep = f.mask(f.sub(end, column))
            return f.vload("%x", f.add(base, column), mask=keep), keep

        with f.loop(f.idx(0), end, f.idx(LANES), [(zero, VEC)], hint="i") as i:
            f.yield_([f.val(f"arith.addf {i.carried[0]}, {part(i.index)[0]} : {VEC}", "s")], [VEC])
        share = f.const(f"{1 / features:.9e}", "f32")
        mean = f.broadcast(f.val(f"arith.mulf {_sum(f, i.results[0])}, {share} : f32", "m"))
        with f.loop(f.idx(0), end, f.idx(LANES), [(zero, VEC)], hint="i") as i:
            value, keep = part(i.index)
            gap = f.val(f"arith.subf {value}, {mean} : {VEC}", "d")
            gap = f.val(f"arith.select {keep}, {gap}, {zero} : vector<{LANES}xi1>, {VEC}", "d")
            f.yield_([f.fma(gap, gap, i.carried[0])], [VEC])
        spread = f.val(f"arith.mulf {_sum(f, i.results[0])}, {share} : f32", "m")
        spread = f.val(f"arith.addf {spread}, {f.const(f'{eps:.9e}', 'f32')} : f32", "m")
        root = f.val(f"math.sqrt {spread} : f32", "r")
        inverse = f.broadcast(f.val(f"arith.divf {f.const('1.0', 'f32')}, {root} : f32", "r"))
        with f.loop(f.idx(0), end, f.idx(LANES), hint="i") as i:
            value, keep = part(i.index)
            value = f.val(f"arith.mulf {f.val(f'arith.subf {value}, {mean} : {VEC}', 'd')}, {inverse} : {VEC}", "y")
            for name, op in (("weight", "mulf"), ("bias", "addf")):
                if (weight, bias)[name == "bias"]:
                    value = f.val(f"arith.{op} {value}, {f.vload(f'%{name}', i.index, mask=keep)} : {VEC}", "y")
            store_row(f, value, "%y", f.add(base, i.index), "f32", keep)
    return f.text()


def mean_text(columns: int) -> str:
    """``mean(x, y, row_lo, row_hi)``: of each row [columns]."""
    f = Function("mean", (("x", "f32"), ("y", "f32")), ("row_lo", "row_hi"))
    end, zero, share = f.idx(columns), f.splat("0.0"), f.const(f"{1 / columns:.9e}", "f32")
    with f.loop("%row_lo", "%row_hi", hint="row") as row:
        base = f.mul(row.index, end)
        with f.loop(f.idx(0), end, f.idx(LANES), [(zero, VEC)], hint="i") as i:
            value = f.vload("%x", f.add(base, i.index), mask=f.mask(f.sub(end, i.index)))
            f.yield_([f.val(f"arith.addf {i.carried[0]}, {value} : {VEC}", "s")], [VEC])
        whole = f.val(f"arith.mulf {_sum(f, i.results[0])}, {share} : f32", "m")
        f.do(f"memref.store {whole}, %y[{row.index}] : memref<?xf32>")
    return f.text()


def mean_of_tiles_text(channels: int, pixels: int) -> str:
    """``mean_of_tiles(xs, y, channel_lo, channel_hi)``: of each plane in tiles xs [tiles, channels, 16]."""
    f = Function("mean_of_tiles", (("xs", "f32"), ("y", "f32")), ("channel_lo", "channel_hi"))
    end, zero, share = f.idx(pixels), f.splat("0.0"), f.const(f"{1 / pixels:.9e}", "f32")
    with f.loop("%channel_lo", "%channel_hi", hint="c") as c:
        with f.loop(f.idx(0), end, f.idx(LANES), [(zero, VEC)], hint="i") as i:
            at = f.add(f.mul(i.index, f.idx(channels)), f.mul(c.index, f.idx(LANES)))
            value = f.vload("%xs", at, mask=f.mask(f.sub(end, i.index)))
            f.yield_([f.val(f"arith.addf {i.carried[0]}, {value} : {VEC}", "s")], [VEC])
        whole = f.val(f"arith.mulf {_sum(f, i.results[0])}, {share} : f32", "m")
        f.do(f"memref.store {whole}, %y[{c.index}] : memref<?xf32>")
    return f.text()


def planes_text(channels: int, pixels: int, *, into: bool) -> str:
    """``planes(from, to, channel_lo, channel_hi)``: natural planes [channels, pixels] of tiles [tiles, channels, 16];
    ``into``: tiles of natural planes, zeros behind the last pixel."""
    f = Function("planes", (("from", "f32"), ("to", "f32")), ("channel_lo", "channel_hi"))
    end = f.idx(pixels)
    with (
        f.loop("%channel_lo", "%channel_hi", hint="c") as c,
        f.loop(f.idx(0), end, f.idx(LANES), hint="i") as i,
    ):
        keep = f.mask(f.sub(end, i.index))
        tiled = f.add(f.mul(i.index, f.idx(channels)), f.mul(c.index, f.idx(LANES)))
        plain = f.add(f.mul(c.index, end), i.index)
        if into:
            f.vstore(f.vload("%from", plain, mask=keep), "%to", tiled)
        else:
            store_row(f, f.vload("%from", tiled), "%to", plain, "f32", keep)
    return f.text()


def _sum(f: Function, vector: str) -> str:
    return f.val(f"vector.reduction <add>, {vector} fastmath<reassoc> : {VEC} into f32", "s")


def copy_text() -> str:
    """``copy(source, index, to, count, rows, inner, lo, hi)``: source [outer, count, inner] to rows ``index`` of
    to [outer, rows, inner], for the outer ones from lo to hi."""
    f = Function("copy", (("source", "f32"), ("index", "i64"), ("to", "f32")), ("count", "rows", "inner", "lo", "hi"))
    with f.loop("%lo", "%hi", hint="o") as o, f.loop(f.idx(0), "%count", hint="c") as c:
        from_ = f.mul(f.add(f.mul(o.index, "%count"), c.index), "%inner")
        to = f.mul(f.add(f.mul(o.index, "%rows"), f.load_index("%index", c.index, "i64")), "%inner")
        with f.loop(f.idx(0), "%inner", f.idx(LANES), hint="i") as i:
            keep = f.mask(f.sub("%inner", i.index))
            value = f.vload("%source", f.add(from_, i.index), mask=keep)
            store_row(f, value, "%to", f.add(to, i.index), "f32", keep)
    return f.text()


def take_text() -> str:
    """``take(table, index, y, inner, lo, hi)``: rows ``index`` of table [*, inner], those from lo to hi of them."""
    f = Function("take", (("table", "f32"), ("index", "i64"), ("y", "f32")), ("inner", "lo", "hi"))
    with f.loop("%lo", "%hi", hint="c") as c:
        from_ = f.mul(f.load_index("%index", c.index, "i64"), "%inner")
        to = f.mul(c.index, "%inner")
        with f.loop(f.idx(0), "%inner", f.idx(LANES), hint="i") as i:
            keep = f.mask(f.sub("%inner", i.index))
            store_row(f, f.vload("%table", f.add(from_, i.index), mask=keep), "%y", f.add(to, i.index), "f32", keep)
    return f.text()


def attend_text(queries: int, keys: int, width: int, scale: float) -> str:
    """``attend(q, k, v, scores, y, head_lo, head_hi)``: softmax(q k^T scale) v for heads of any batch.

    q and y [heads, queries, width], k and v [heads, keys, width]; scores: room for ``keys`` numbers, rounded up to
    whole registers, of each head. A width is whole registers, at most :data:`MOST_WIDTH`.
    """
    f = Function("attend", tuple((name, "f32") for name in ("q", "k", "v", "scores", "y")), ("head_lo", "head_hi"))
    parts, padded = range(0, width, LANES), -(-keys // LANES) * LANES
    lowest, zero = f.const(LOWEST, "f32"), f.splat("0.0")
    with f.loop("%head_lo", "%head_hi", hint="h") as h, f.loop(f.idx(0), f.idx(queries), hint="m") as m:
        row = f.mul(f.add(f.mul(h.index, f.idx(queries)), m.index), f.idx(width))
        first, room = f.mul(h.index, f.idx(keys * width)), f.mul(h.index, f.idx(padded))
        query = [
            f.val(f"arith.mulf {f.vload('%q', f.add(row, f.idx(p)))}, {f.splat(scale)} : {VEC}", "q") for p in parts
        ]
        with f.loop(f.idx(0), f.idx(keys), carried=[(lowest, "f32")], hint="c") as c:
            at = f.add(first, f.mul(c.index, f.idx(width)))
            total = f.val(f"arith.mulf {query[0]}, {f.vload('%k', at)} : {VEC}", "s")
            for p, part in zip(parts[1:], query[1:], strict=True):
                total = f.fma(part, f.vload("%k", f.add(at, f.idx(p))), total)
            score = _sum(f, total)
            f.do(f"memref.store {score}, %scores[{f.add(room, c.index)}] : memref<?xf32>")
            f.yield_([f.val(f"arith.maximumf {c.carried[0]}, {score} : f32", "x")], ["f32"])
        most = f.broadcast(c.results[0])
        with f.loop(f.idx(0), f.idx(keys), f.idx(LANES), [(zero, VEC)], hint="c") as c:
            at, keep = f.add(room, c.index), f.mask(f.sub(f.idx(keys), c.index))
            grown = exp(f, f.val(f"arith.subf {f.vload('%scores', at)}, {most} : {VEC}", "d"))
            grown = f.val(f"arith.select {keep}, {grown}, {zero} : vector<{LANES}xi1>, {VEC}", "e")
            f.vstore(grown, "%scores", at)
            f.yield_([f.val(f"arith.addf {c.carried[0]}, {grown} : {VEC}", "s")], [VEC])
        whole = f.broadcast(_sum(f, c.results[0]))
        with f.loop(f.idx(0), f.idx(keys), carried=[(zero, VEC)] * len(parts), hint="c") as c:
            share = f.broadcast(f.load("%scores", f.add(room, c.index)))
            at = f.add(first, f.mul(c.index, f.idx(width)))
            sums = [
                f.fma(share, f.vload("%v", f.add(at, f.idx(p))), own) for p, own in zip(parts, c.carried, strict=True)
            ]
            f.yield_(sums, [VEC] * len(parts))
        for p, total in zip(parts, c.results, strict=True):
            f.vstore(f.val(f"arith.divf {total}, {whole} : {VEC}", "y"), "%y", f.add(row, f.idx(p)))
    return f.text()


@functools.lru_cache(maxsize=256)
def _compiled(name: str, text: str, pointers: int, scalars: int) -> jit.Compiled:
    return jit.compile_text(name, text, pointers, scalars)


def _even(
    function: jit.Compiled, count: int, before: tuple[int, ...], products: int, rows: int = parallel.FEW
) -> list[parallel.Stage]:
    """Items in even shares, as many as so many products deserve; ``rows``: which what is read is multiplied with."""
    threads = min(count, parallel.threads_for(products, rows))
    return [[[(function, (*before, lo, hi))] for lo, hi in parallel.even(count, threads)]]


def pair(kind: str, elements: int) -> Work:
    """Of two tensors of one shape."""
    function = _compiled("pair", pair_text(kind), 3, 2)
    return Work(0, lambda reads, y, _: [[[(function, (reads[0], reads[1], y, 0, elements))]]])


def single(activation: str, elements: int) -> Work:
    function = _compiled("single", single_text(activation), 2, 2)
    return Work(0, lambda reads, y, _: [[[(function, (reads[0], y, 0, elements))]]])


def norm(rows: int, features: int, eps: float, *, weight: bool, bias: bool) -> Work:
    """Of x; it reads those of weight and bias that there are after it."""
    function = _compiled("norm", norm_text(features, eps, weight=weight, bias=bias), 4, 2)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        x, *more = reads
        given = (more.pop(0) if weight else x, more.pop(0) if bias else x)
        return _even(function, rows, (x, *given, y), 4 * rows * features)

    return Work(0, stages)


def mean(rows: int, columns: int) -> Work:
    function = _compiled("mean", mean_text(columns), 2, 2)
    return Work(0, lambda reads, y, _: _even(function, rows, (reads[0], y), rows * columns))


def mean_of_tiles(channels: int, pixels: int) -> Work:
    """Of natural planes that lie in tiles."""
    function = _compiled("mean_of_tiles", mean_of_tiles_text(channels, pixels), 2, 2)
    return Work(0, lambda reads, y, _: _even(function, channels, (reads[0], y), channels * pixels))


def planes(channels: int, pixels: int, *, into: bool = False) -> Work:
    """Of tiles to natural planes; ``into``: the other way."""
    function = _compiled("planes", planes_text(channels, pixels, into=into), 2, 2)
    return Work(0, lambda reads, y, _: _even(function, channels, (reads[0], y), channels * pixels))


def copy(outer: int, count: int, rows: int, inner: int) -> Work:
    """Into its first tensor [outer, rows, inner], at rows that the second names, the third [outer, count, inner]."""
    function = _compiled("copy", copy_text(), 3, 5)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        to, index, source = reads
        return [[[(function, (source, index, to, count, rows, inner, 0, outer))]]]

    return Work(0, stages)


def take(count: int, inner: int) -> Work:
    """Of its first tensor [rows, inner] those that the second [count] names."""
    function = _compiled("take", take_text(), 3, 3)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        return [[[(function, (*reads, y, inner, 0, count))]]]

    return Work(0, stages)


def attend(heads: int, queries: int, keys: int, width: int, scale: float) -> Work | None:
    """Of q, k and v; None for widths that it does not know."""
    if width % LANES or not 0 < width <= MOST_WIDTH or keys == 0 or not math.isfinite(scale):
        return None
    function = _compiled("attend", attend_text(queries, keys, width, scale), 5, 2)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        return _even(function, heads, (*reads, room, y), 2 * heads * queries * keys * width, queries)

    return Work(4 * heads * -(-keys // LANES) * LANES, stages)


def turn(batch: int, rows: int, columns: int) -> Work:
    """[batch, rows, columns] to [batch, columns, rows], of which rows or columns are sixteen: into tiles, or out."""
    if rows == LANES:
        pack = _compiled("pack", pack_text(columns, columns), 2, 3)
        return Work(0, lambda reads, y, _: _even(pack, batch, (reads[0], y, batch * LANES), batch * rows * columns))
    unpack = _compiled("unpack", unpack_text(rows, rows, False, "none"), 3, 5)
    more = (batch * LANES, 0, batch)
    pieces = parallel.threads_for(batch * rows * columns)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        shares = [(LANES * lo, min(rows, LANES * hi)) for lo, hi in parallel.even(-(-rows // LANES), pieces)]
        return [[[(unpack, (reads[0] + ZMM_BYTES * lo, y, y, *more, lo, hi))] for lo, hi in shares]]

    return Work(0, stages)


def tiles_norm(tiles: int, features: int, eps: float, residual: bool, weight: bool, bias: bool) -> Work:
    """``ops.tiles_norm`` of xs and those of residual, weight and bias that there are after it."""
    function = tiled.norm(features, eps, residual, weight, bias)

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        xs, *more = reads
        given = [more.pop(0) if there else xs for there in (residual, weight, bias)]
        return _even(function, tiles, (xs, *given, y), 8 * tiles * features * LANES)

    return Work(0, stages)
