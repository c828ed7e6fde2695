"""Bitmap weights for a few tokens: sixteen columns in the lanes, stored weights spread out to where their bits are.

At 50 to 75 % zeros a bit an element costs less memory than an index a nonzero, and the multiply-adds of the zeros are
not what a product of few rows waits for. They are masked all the same: 0 x Inf is 0.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.csr import AHEAD
from spcomp.codegen.mlir_cpu.epilogue import BITS, activate
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function, vector

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
    most = max(ROWS.values())
    whole = n // most
    stop = f.smaller("%block_hi", f.idx(whole))
    with f.loop("%block_lo", stop, hint="block") as block:
        _block(f, f.mul(block.index, f.idx(most)), most, n, k, sizes, bias, activation, dtype)
    if n % most:
        last = f.val(f"arith.cmpi sgt, %block_hi, {f.idx(whole)} : index", "p")
        with f.when(last), f.loop(f.idx(whole * most), f.idx(n), hint="row") as row:
            _block(f, row.index, 1, n, k, sizes, bias, activation, dtype)
    return f.text()


def _block(
    f: Function, row: str, rows: int, n: int, k: int, sizes: tuple[int, ...], bias: bool, activation: str, dtype: str
) -> None:
    """All tokens x ``rows`` rows of W; between one size of tokens and the next the weights stay in the caches."""
    at = f.idx(0)
    for i, size in enumerate(sizes):
        stop = "%m"
        if i + 1 < len(sizes) or size > 1:
            left = f.sub("%m", at)
            stop = f.add(at, f.mul(f.val(f"arith.divui {left}, {f.idx(size)} : index", "i"), f.idx(size)))
        with f.loop(at, stop, f.idx(size), hint="token") as token:
            step = min(rows, ROWS[size])
            with f.loop(row, f.add(row, f.idx(rows)), f.idx(step), hint="row") as first:
                totals = _sums(f, first.index, token.index, step, size, k, dtype)
                _store(f, totals, first.index, token.index, step, n, bias, activation, dtype)
        at = stop


def _sums(f: Function, row: str, token: str, rows: int, tokens: int, k: int, dtype: str) -> list[str]:
    """The products of ``rows`` rows of W with ``tokens`` rows of x, as registers still to be summed up."""
    words = -(-k // LANES)
    stride = 4 * -(-k // 64)
    kinds = ["index"] * rows + [VEC] * (rows * tokens)
    begin = [f.load_index("%start", f.add(row, f.idx(r)), "i64") for r in range(rows)]
    carried = [*begin, *[f.splat("0.0")] * (rows * tokens)]
    masks0 = f.mul(row, f.idx(stride))
    x0 = f.mul(token, f.idx(words * LANES))
    kind = vector(dtype)
    with f.loop(f.idx(0), f.idx(words), carried=list(zip(carried, kinds, strict=True)), hint="word") as word:
        places, sums = list(word.carried[:rows]), list(word.carried[rows:])
        x_at = f.add(x0, f.mul(word.index, f.idx(LANES)))
        xs = [f.vload("%x", f.add(x_at, f.idx(t * words * LANES))) for t in range(tokens)]
        for r in range(rows):
            bits = f.load("%masks", f.add(f.add(masks0, f.idx(r * stride)), word.index), "i16")
            one = f.val(f"vector.broadcast {bits} : i16 to vector<1xi16>", "b")
            mask = f.val(f"vector.bitcast {one} : vector<1xi16> to {MASK}", "m")
            ahead = f.add(places[r], f.idx(AHEAD))
            f.do(f"memref.prefetch %values[{ahead}], read, locality<3>, data : memref<?x{dtype}>")
            spread = f"vector.expandload %values[{places[r]}], {mask}, {f.splat('0.0', kind)}"
            weight = f.val(f"{spread} : memref<?x{dtype}>, {MASK}, {kind} into {kind}", "w")
            weight = f.widen(weight, dtype, "w")
            count = f.val(f"math.ctpop {bits} : i16", "b")
            places[r] = f.add(places[r], f.val(f"arith.index_castui {count} : i16 to index", "i"))
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
