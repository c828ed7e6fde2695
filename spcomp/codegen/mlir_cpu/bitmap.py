"""Bitmap weights for a few tokens: sixteen columns in the lanes, stored weights spread out to where their bits are.

At 50 to 75 % zeros a bit an element costs less memory than an index a nonzero, and the multiply-adds of the zeros are
not what a product of few rows waits for. They are masked all the same: 0 x Inf is 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from spcomp.codegen.mlir_cpu.csr import AHEAD
from spcomp.codegen.mlir_cpu.epilogue import BITS, activate
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function, vector

ROWS = {8: 2, 4: 4, 2: 4, 1: 4}
"""Tokens at a time -> rows of W at a time: up to sixteen sums in registers."""


def bitmap_text(n: int, k: int, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str = "f32") -> str:
    """``bitmap(x, values, masks, start, bias, y, m, block_lo, block_hi)``; blocks of four rows of W.

    x [m, k rounded up to 16] f32, y [m, n] of ``dtype``, masks as 16-bit words. For each block, tokens are taken by
    ``sizes`` at a time, largest first. Needs AVX-512.
    """
    f = Function(
        "bitmap",
        (("x", "f32"), ("values", dtype), ("masks", "i16"), ("start", "i64"), ("bias", "f32"), ("y", dtype)),
        ("m", "block_lo", "block_hi"),
    )
    for row, token, rows, tokens in by_blocks(f, n, sizes):
        totals = _sums(f, row, token, rows, tokens, k, dtype)
        _store(f, totals, row, token, rows, n, bias, activation, dtype)
    return f.text()


def by_blocks(f: Function, n: int, sizes: tuple[int, ...]) -> Iterator[tuple[str, str, int, int]]:
    """All blocks x all tokens: (row, token, rows, tokens) whose products are to be written.

    Between one size of tokens and the next the weights of a block stay in the caches.
    """
    most = max(ROWS.values())
    whole = n // most
    stop = f.smaller("%block_hi", f.idx(whole))
    with f.loop("%block_lo", stop, hint="block") as block:
        yield from _block(f, f.mul(block.index, f.idx(most)), most, sizes)
    if n % most:
        last = f.val(f"arith.cmpi sgt, %block_hi, {f.idx(whole)} : index", "p")
        with f.when(last), f.loop(f.idx(whole * most), f.idx(n), hint="row") as row:
            yield from _block(f, row.index, 1, sizes)


def _block(f: Function, row: str, rows: int, sizes: tuple[int, ...]) -> Iterator[tuple[str, str, int, int]]:
    for token, size in f.portions("%m", sizes, "token"):
        step = min(rows, ROWS[size])
        with f.loop(row, f.add(row, f.idx(rows)), f.idx(step), hint="row") as first:
            yield first.index, token, step, size


def spread(
    f: Function, bits_at: str, place: str, ahead: str, zero: str, columns: int, element: str
) -> tuple[str, str, str]:
    """A word of ``columns`` bits, the stored values from ``place`` on spread out to where they are, the next place.

    Values of 16 bits come as f32; further ones are fetched ``ahead``.
    """
    word, kind, lanes = f"i{columns}", f"vector<{columns}x{element}>", f"vector<{columns}xi1>"
    bits = f.load("%masks", bits_at, word)
    one = f.val(f"vector.broadcast {bits} : {word} to vector<1x{word}>", "b")
    mask = f.val(f"vector.bitcast {one} : vector<1x{word}> to {lanes}", "m")
    f.do(f"memref.prefetch %values[{f.add(place, ahead)}], read, locality<3>, data : memref<?x{element}>")
    head = f"vector.expandload %values[{place}], {mask}, {zero}"
    values = f.val(f"{head} : memref<?x{element}>, {lanes}, {kind} into {kind}", "w")
    if columns == LANES:
        values = f.widen(values, element, "w")
    count = f.val(f"math.ctpop {bits} : {word}", "b")
    return mask, values, f.add(place, f.val(f"arith.index_castui {count} : {word} to index", "i"))


def _sums(f: Function, row: str, token: str, rows: int, tokens: int, k: int, dtype: str) -> list[str]:
    """The products of ``rows`` rows of W with ``tokens`` rows of x, as registers still to be summed up."""
    words = -(-k // LANES)
    stride = 4 * -(-k // 64)
    kinds = ["index"] * rows + [VEC] * (rows * tokens)
    begin = [f.load_index("%start", f.add(row, f.idx(r)), "i64") for r in range(rows)]
    carried = [*begin, *[f.splat("0.0")] * (rows * tokens)]
    masks0 = f.mul(row, f.idx(stride))
    x0 = f.mul(token, f.idx(words * LANES))
    with f.loop(f.idx(0), f.idx(words), carried=list(zip(carried, kinds, strict=True)), hint="word") as word:
        places, sums = list(word.carried[:rows]), list(word.carried[rows:])
        x_at = f.add(x0, f.mul(word.index, f.idx(LANES)))
        xs = [f.vload("%x", f.add(x_at, f.idx(t * words * LANES))) for t in range(tokens)]
        for r in range(rows):
            at = f.add(f.add(masks0, f.idx(r * stride)), word.index)
            ahead, zero = f.idx(AHEAD), f.splat("0.0", vector(dtype))
            mask, weight, places[r] = spread(f, at, places[r], ahead, zero, LANES, dtype)
            for t in range(tokens):
                i = r * tokens + t
                added = f.fma(weight, xs[t], sums[i])
                sums[i] = f.val(f"arith.select {mask}, {added}, {sums[i]} : {BITS}, {VEC}", "f")
        f.yield_([*places, *sums], kinds)
    return word.results[rows:]


def _store(
    f: Function, sums: list[str], row: str, token: str, rows: int, n: int, bias: bool, activation: str, dtype: str
) -> None:
    """One number of each register, through the epilogue, to its place in y; sixteen of them at most."""
    tokens = len(sums) // rows
    totals = []
    for r in range(rows):
        added = f.load("%bias", f.add(row, f.idx(r))) if bias else None
        for t in range(tokens):
            head = f"vector.reduction <add>, {sums[r * tokens + t]} fastmath<reassoc> : {VEC} into f32"
            total = f.val(head, "s")
            totals.append(total if added is None else f.val(f"arith.addf {total}, {added} : f32", "s"))
    if activation != "none":
        padded = totals + [f.const("0.0", "f32")] * (LANES - len(totals))
        together = f.val(f"vector.from_elements {', '.join(padded)} : {VEC}", "y")
        together = activate(f, together, activation)
        totals = [f.val(f"vector.extract {together}[{i}] : f32 from {VEC}", "s") for i in range(len(totals))]
    for i, total in enumerate(totals):
        r, t = divmod(i, tokens)
        if dtype != "f32":
            total = f.val(f"arith.truncf {total} : f32 to {dtype}", "s")
        at = f.add(f.mul(f.add(token, f.idx(t)), f.idx(n)), f.add(row, f.idx(r)))
        f.do(f"memref.store {total}, %y[{at}] : memref<?x{dtype}>")
