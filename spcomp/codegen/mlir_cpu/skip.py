"""One token whose input is mostly zeros: find the nonzero inputs, then add up their columns of W, and no others.

``nonzeros`` writes positions and values of the inputs that are not zero, ``columns`` sums them up: 256 rows of W in
sixteen registers, one column after the other, each fetched ahead because the next one lies somewhere else.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.epilogue import IVEC, activate
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function

CHUNK = 16 * LANES
"""Rows of W whose sums stay in registers."""
AHEAD = 6
"""Columns fetched ahead of their use."""
SLACK = AHEAD + LANES
"""Entries past the last one that both lists must have room for."""
COMPRESS = "llvm.x86.avx512.mask.compress"


def nonzeros_text(k: int) -> str:
    """``nonzeros(x[k] f32, where[k + SLACK] i32, what[k + SLACK] f32, count[1] i64)``; needs AVX-512."""
    f = Function("nonzeros", (("x", "f32"), ("where", "i32"), ("what", "f32"), ("count", "i64")), ())
    whole = k // LANES * LANES
    first = f.const(f"dense<{list(range(LANES))}>", IVEC)
    with f.loop(f.idx(0), f.idx(whole), f.idx(LANES), [(f.idx(0), "index"), (first, IVEC)]) as column:
        found, numbers = column.carried
        found = _append(f, f.vload("%x", column.index), numbers, found)
        numbers = f.val(f"arith.addi {numbers}, {f.splat(str(LANES), IVEC)} : {IVEC}", "n")
        f.yield_([found, numbers], ["index", IVEC])
    found, numbers = column.results
    if k > whole:
        mask = f.mask(f.idx(k - whole))
        found = _append(f, f.vload("%x", f.idx(whole), mask=mask), numbers, found)
    total = f.val(f"arith.index_cast {found} : index to i64", "c")
    f.do(f"memref.store {total}, %count[{f.idx(0)}] : memref<?xi64>")
    return f.text()


def _append(f: Function, x: str, numbers: str, found: str) -> str:
    """Both lists with the nonzeros of ``x`` behind the ``found`` entries that they have; how many it is then."""
    mask = f.val(f"arith.cmpf une, {x}, {f.splat('0.0')} : {VEC}", "m")
    values = f.val(f'llvm.call_intrinsic "{COMPRESS}"({x}, {x}, {mask}) : ({VEC}, {VEC}, {MASK}) -> {VEC}', "x")
    places = f'llvm.call_intrinsic "{COMPRESS}"({numbers}, {numbers}, {mask}) : ({IVEC}, {IVEC}, {MASK}) -> {IVEC}'
    f.vstore(values, "%what", found)
    f.vstore(f.val(places, "n"), "%where", found, IVEC, "i32")
    bits = f.val(f"vector.bitcast {mask} : {MASK} to vector<1xi{LANES}>", "b")
    bits = f.val(f"vector.extract {bits}[0] : i{LANES} from vector<1xi{LANES}>", "b")
    more = f.val(f"math.ctpop {bits} : i{LANES}", "b")
    return f.add(found, f.val(f"arith.index_castui {more} : i{LANES} to index", "i"))


def columns_text(n: int, bias: bool, activation: str, dtype: str = "f32") -> str:
    """``columns(where, what, values[k, n], bias, y[n], count, chunk_lo, chunk_hi)``; chunks of 256 rows of W."""
    f = Function(
        "columns",
        (("where", "i32"), ("what", "f32"), ("values", dtype), ("bias", "f32"), ("y", dtype)),
        ("count", "chunk_lo", "chunk_hi"),
    )
    whole = n // CHUNK
    stop = f.smaller("%chunk_hi", f.idx(whole))
    with f.loop("%chunk_lo", stop, hint="chunk") as chunk:
        _chunk(f, f.mul(chunk.index, f.idx(CHUNK)), n, CHUNK, bias, activation, dtype)
    if n % CHUNK:
        last = f.val(f"arith.cmpi sgt, %chunk_hi, {f.idx(whole)} : index", "p")
        with f.when(last):
            _chunk(f, f.idx(whole * CHUNK), n, n % CHUNK, bias, activation, dtype)
    return f.text()


def _chunk(f: Function, row: str, n: int, rows: int, bias: bool, activation: str, dtype: str) -> None:
    vectors = -(-rows // LANES)
    mask = f.mask(f.idx(rows % LANES)) if rows % LANES else None
    masks = [None] * (vectors - 1) + [mask]
    zero = f.splat("0.0")
    with f.loop(f.idx(0), "%count", carried=[(zero, VEC)] * vectors, hint="j") as j:
        at = f.add(f.mul(_column(f, j.index), f.idx(n)), row)
        later = f.add(f.mul(_column(f, f.add(j.index, f.idx(AHEAD))), f.idx(n)), row)
        x = f.broadcast(f.load("%what", j.index))
        sums = []
        for i, carried in enumerate(j.carried):
            line = f.add(later, f.idx(i * LANES))
            f.do(f"memref.prefetch %values[{line}], read, locality<3>, data : memref<?x{dtype}>")
            sums.append(f.fma(f.load_wide("%values", f.add(at, f.idx(i * LANES)), dtype, masks[i], "w"), x, carried))
        f.yield_(sums, [VEC] * vectors)
    for i, total in enumerate(j.results):
        here = f.add(row, f.idx(i * LANES))
        if bias:
            total = f.val(f"arith.addf {total}, {f.vload('%bias', here, mask=masks[i])} : {VEC}", "y")
        store_row(f, activate(f, total, activation), "%y", here, dtype, masks[i])


def _column(f: Function, at: str) -> str:
    return f.load_index("%where", at, "i32")
