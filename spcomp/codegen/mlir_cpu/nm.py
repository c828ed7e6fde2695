"""N:M weights with control words, two ways: sixteen tokens in the lanes (large M) or sixteen output rows (small M).

Both read the same bytes (:class:`spcomp.encodings.nm.Nm`): for every sixteen rows a value vector a slot and a 32-bit
word a row whose fields are the slots' columns within their groups.
"""

from __future__ import annotations

from dataclasses import dataclass

from spcomp.codegen.mlir_cpu.csr import load_weight, prefetch, sum_nonzeros
from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

PERMUTE = {
    2: "llvm.x86.avx512.vpermilvar.ps.512",
    4: "llvm.x86.avx512.vpermilvar.ps.512",
    8: "llvm.x86.avx512.permvar.sf.512",
    16: "llvm.x86.avx512.permvar.sf.512",
}
"""Group length -> the AVX-512 permute that picks a lane by the low bits of its control (2 bits, or 4)."""


@dataclass(frozen=True)
class NmShape:
    """The sizes that an N:M kernel is written for. Groups of ``m`` columns hold at most ``n`` nonzeros."""

    rows: int
    columns: int
    n: int
    m: int

    @property
    def bits(self) -> int:
        return 2 if self.m <= 4 else 4

    @property
    def groups_per_word(self) -> int:
        return (32 // self.bits) // self.n

    @property
    def words(self) -> int:
        groups = -(-self.columns // self.m)
        return -(-groups // self.groups_per_word)

    @property
    def slots_per_word(self) -> int:
        return self.groups_per_word * self.n

    @property
    def word_columns(self) -> int:
        return self.groups_per_word * self.m

    @property
    def padded_columns(self) -> int:
        return self.words * self.word_columns


def nm_tokens_text(
    shape: NmShape,
    padded_k: int,
    padded_n: int,
    tiles: int,
    words_per_block: int,
    dtype: str = "f32",
    *,
    rows: int = 2,
    rest: bool = False,
) -> str:
    """``nm(xs, ys, values, control, tile_lo, tile_hi, row_lo, row_hi)``; rows count tiles of sixteen rows.

    With ``rest``: ``nmrest(xs, ys, values, control, rest_values, rest_columns, rest_start, ...)``; what fits into no
    slot is where a row's sums begin.

    xs [*, padded_k, 16], ys [*, padded_n, 16]. ``rows`` rows at a time: for eight tiles, the sums of one are eight
    chains of additions, which is no more than their latency asks for. A word's slots are written out;
    ``words_per_block`` words (a column block of x that stays in L1) are summed before the partial sums go back to
    memory.
    """
    f = Function(
        "nmrest" if rest else "nm",
        (
            ("xs", "f32"), ("ys", "f32"), ("values", dtype), ("control", "i32"),
            *((("rest_values", dtype), ("rest_columns", "i16"), ("rest_start", "i32")) if rest else ()),
        ),
        ("tile_lo", "tile_hi", "row_lo", "row_hi"),
    )  # fmt: skip
    with f.loop("%tile_lo", "%tile_hi", f.idx(tiles), hint="tile") as tile:
        x0 = f.mul(tile.index, f.idx(padded_k * LANES))
        y0 = f.mul(tile.index, f.idx(padded_n * LANES))
        first = min(words_per_block, shape.words)
        _token_rows(
            f, shape, tiles, x0, y0, padded_k, padded_n, f.idx(0), f.idx(first), dtype, rows, first=True, rest=rest
        )
        if shape.words > first:
            with f.loop(f.idx(first), f.idx(shape.words), f.idx(words_per_block), hint="block") as block:
                stop = f.add(block.index, f.idx(words_per_block))
                stop = f.smaller(stop, f.idx(shape.words))
                _token_rows(f, shape, tiles, x0, y0, padded_k, padded_n, block.index, stop, dtype, rows, first=False)
    return f.text()


def _token_rows(
    f: Function,
    shape: NmShape,
    tiles: int,
    x0: str,
    y0: str,
    padded_k: int,
    padded_n: int,
    word_lo: str,
    word_hi: str,
    dtype: str,
    rows: int,
    *,
    first: bool,
    rest: bool = False,
) -> None:
    with (
        f.loop("%row_lo", "%row_hi", hint="rows") as row_tile,
        f.loop(f.idx(0), f.idx(LANES), f.idx(rows), hint="r") as r,
    ):
        row = f.add(f.mul(row_tile.index, f.idx(LANES)), r.index)
        out = f.add(y0, f.mul(row, f.idx(LANES)))
        at = [f.add(out, f.idx((i + t * padded_n) * LANES)) for i in range(rows) for t in range(tiles)]
        chains = max(1, 4 // tiles)
        sums = [f.splat("0.0") if first else f.vload("%ys", a) for a in at]
        if rest:
            sums = [s for i in range(rows) for s in _rest(f, f.add(row, f.idx(i)), x0, sums, i, tiles, padded_k, dtype)]
        sums += [f.splat("0.0")] * (len(at) * (chains - 1))
        word0 = f.mul(row_tile.index, f.idx(shape.words))
        with f.loop(word_lo, word_hi, carried=[(s, VEC) for s in sums], hint="word") as word:
            here = f.add(word0, word.index)
            rs = [f.add(r.index, f.idx(i)) for i in range(rows)]
            controls = [f.load("%control", f.add(f.mul(here, f.idx(LANES)), q), "i32") for q in rs]
            v0 = f.mul(here, f.idx(shape.slots_per_word * LANES))
            x_word = f.add(x0, f.mul(word.index, f.idx(shape.word_columns * LANES)))
            for q in rs:
                _prefetch_next(f, shape, here, q, dtype)
            new = list(word.carried)
            for slot in range(shape.slots_per_word):
                group = f.add(x_word, f.idx(slot // shape.n * shape.m * LANES))
                for i, q in enumerate(rs):
                    x_at = f.add(group, _offset(f, shape, controls[i], slot))
                    weight = load_weight(f, "%values", f.add(f.add(v0, q), f.idx(slot * LANES)), dtype)
                    chain = (slot % chains * rows + i) * tiles
                    for t in range(tiles):
                        x = f.vload("%xs", f.add(x_at, f.idx(t * padded_k * LANES)))
                        new[chain + t] = f.fma(weight, x, new[chain + t])
            f.yield_(new, [VEC] * len(new))
        for j, a in enumerate(at):
            f.vstore(add_all(f, word.results[j :: len(at)]), "%ys", a)


def _rest(f: Function, row: str, x0: str, sums: list[str], i: int, tiles: int, padded_k: int, dtype: str) -> list[str]:
    """The sums of the i-th of the rows, what fits into no slot of ``row`` added."""
    span = f.load_index("%rest_start", row, "i32"), f.load_index("%rest_start", f.add(row, f.idx(1)), "i32")
    mine = sums[i * tiles : (i + 1) * tiles]
    return sum_nonzeros(f, "%rest_values", "%rest_columns", "i16", span, x0, mine, padded_k, dtype)


def _offset(f: Function, shape: NmShape, control: str, slot: int) -> str:
    """The slot's column within its group, times 16: shifted to where it is needed and masked, no multiplication."""
    shift = shape.bits * slot - (LANES.bit_length() - 1)
    op = "shrui" if shift > 0 else "shli"
    field = f.val(f"arith.{op} {control}, {f.const(str(abs(shift)), 'i32')} : i32", "q") if shift else control
    mask = ((1 << shape.bits) - 1) * LANES
    field = f.val(f"arith.andi {field}, {f.const(str(mask), 'i32')} : i32", "q")
    return f.val(f"arith.index_castui {field} : i32 to index", "i")


def _prefetch_next(f: Function, shape: NmShape, here: str, r: str, dtype: str) -> None:
    """Fetch this word's values of the next sixteen rows, a line a row: sixteen rows read the same lines, in a burst."""
    ahead = f.add(here, f.idx(shape.words))
    for slot in range(0, shape.slots_per_word, LANES):
        line = f.add(f.mul(ahead, f.idx(shape.slots_per_word)), f.add(r, f.idx(slot)))
        at = f.mul(line, f.idx(LANES))
        f.do(f"memref.prefetch %values[{at}], read, locality<3>, data : memref<?x{dtype}>")


def nm_rows_text(shape: NmShape, tokens: int, bias: bool, activation: str, dtype: str = "f32") -> str:
    """``nmrows(x[tokens, padded columns] f32, values, control, bias, y[tokens, rows] of dtype, row_lo, row_hi)``.

    Sixteen output rows in the lanes: a group of x is broadcast, permuted by the control word and multiplied by a value
    vector; the word is shifted on. Natural layouts on both sides; needs AVX-512.
    """
    f = Function(
        "nmrows",
        (("x", "f32"), ("values", dtype), ("control", "i32"), ("bias", "f32"), ("y", dtype)),
        ("row_lo", "row_hi"),
    )
    chains = max(1, 4 // tokens)
    lanes = f.idx(LANES)
    with f.loop("%row_lo", "%row_hi", hint="rows") as row_tile:
        zero = f.splat("0.0")
        kinds = [VEC] * (tokens * chains)
        with f.loop(f.idx(0), f.idx(shape.words), carried=[(zero, VEC)] * len(kinds), hint="word") as word:
            here = f.add(f.mul(row_tile.index, f.idx(shape.words)), word.index)
            control = f.vload("%control", f.mul(here, lanes), IVEC, "i32")
            v0 = f.mul(here, f.idx(shape.slots_per_word * LANES))
            x0 = f.mul(word.index, f.idx(shape.word_columns))
            sums = list(word.carried)
            for slot in range(shape.slots_per_word):
                if slot % shape.n == 0:
                    group = f.add(x0, f.idx(slot // shape.n * shape.m))
                    xs = [_spread(f, shape.m, f.add(group, f.idx(t * shape.padded_columns))) for t in range(tokens)]
                at = f.add(v0, f.idx(slot * LANES))
                weight = f.load_wide("%values", at, dtype, hint="w")
                prefetch(f, "%values", at, 1, dtype)
                shift = f.const(f"dense<{shape.bits * slot}>", IVEC)
                picks = f.val(f"arith.shrui {control}, {shift} : {IVEC}", "q") if slot else control
                for t in range(tokens):
                    call = f'llvm.call_intrinsic "{PERMUTE[shape.m]}"({xs[t]}, {picks})'
                    picked = f.val(f"{call} : ({VEC}, {IVEC}) -> {VEC}", "p")
                    chain = t * chains + slot % chains
                    sums[chain] = f.fma(weight, picked, sums[chain])
            f.yield_(sums, kinds)
        for t in range(tokens):
            parts = word.results[t * chains : (t + 1) * chains]
            _finish(f, shape.rows, row_tile.index, t, add_all(f, parts), bias, activation, dtype)
    return f.text()


def add_all(f: Function, parts: list[str]) -> str:
    """The sum of registers, pairwise."""
    while len(parts) > 1:
        added = [f.val(f"arith.addf {a}, {b} : {VEC}", "f") for a, b in zip(parts[::2], parts[1::2], strict=False)]
        parts = added + parts[len(added) * 2 :]
    return parts[0]


def _spread(f: Function, m: int, at: str) -> str:
    """The ``m`` values of a group, repeated to fill the register."""
    if m == LANES:
        return f.vload("%x", at)
    small = f"vector<{m}xf32>"
    part = f.vload("%x", at, small)
    return f.val(f"vector.shuffle {part}, {part} {[j % m for j in range(LANES)]} : {small}, {small}", "x")


def _finish(
    f: Function, rows: int, row_tile: str, token: int, total: str, bias: bool, activation: str, dtype: str
) -> None:
    row = f.mul(row_tile, f.idx(LANES))
    mask = None
    if rows % LANES:
        left = f.sub(f.idx(rows), row)
        mask = f.mask(left)
    if bias:
        b = f.vload("%bias", row, mask=mask, hint="b")
        total = f.val(f"arith.addf {total}, {b} : {VEC}", "y")
    store_row(f, activate(f, total, activation), "%y", f.add(row, f.idx(token * rows)), dtype, mask)
