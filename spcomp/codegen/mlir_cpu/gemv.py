"""Dense W for one to four tokens: stream W once with full-width loads.

Dense libraries reach 12 to 27 of 38 GB/s at M = 1; this is the fourth member of ``best_dense``.
"""

from __future__ import annotations

from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

ROWS = 4
"""Rows of W in flight: with up to four tokens sixteen accumulators."""


def gemv_text(n: int, k: int, tokens: int) -> str:
    """``gemv(x[tokens, k], w[n, k], y[tokens, n], row_lo, row_hi)``, all f32; no bias (added by the caller)."""
    f = Function("gemv", (("x", "f32"), ("w", "f32"), ("y", "f32")), ("row_lo", "row_hi"))
    span = f.sub("%row_hi", "%row_lo")
    groups = f.val(f"arith.divui {span}, {f.idx(ROWS)} : index", "i")
    whole = f.add("%row_lo", f.mul(groups, f.idx(ROWS)))
    with f.loop("%row_lo", whole, f.idx(ROWS), hint="n") as row:
        _rows(f, row.index, n, k, tokens, ROWS)
    with f.loop(whole, "%row_hi", hint="n") as row:
        _rows(f, row.index, n, k, tokens, 1)
    return f.text()


def _rows(f: Function, row: str, n: int, k: int, tokens: int, rows: int) -> None:
    chains = 2 if rows * tokens < 8 else 1
    step = LANES * chains
    kinds = [VEC] * (rows * tokens * chains)
    w0 = f.mul(row, f.idx(k))
    whole = k // step * step
    with f.loop(f.idx(0), f.idx(whole), f.idx(step), [(f.splat("0.0"), VEC)] * len(kinds)) as column:
        sums = list(column.carried)
        for c in range(chains):
            at = f.add(column.index, f.idx(c * LANES))
            xs = [f.vload("%x", f.add(at, f.idx(t * k))) for t in range(tokens)]
            for r in range(rows):
                w = f.vload("%w", f.add(f.add(w0, f.idx(r * k)), at))
                for t in range(tokens):
                    i = (r * tokens + t) * chains + c
                    sums[i] = f.fma(w, xs[t], sums[i])
        f.yield_(sums, kinds)
    totals = [_total(f, column.results[i * chains : (i + 1) * chains]) for i in range(rows * tokens)]
    for start in range(whole, k, LANES):
        mask = f.mask(f.idx(min(LANES, k - start)))
        xs = [f.vload("%x", f.idx(t * k + start), mask=mask) for t in range(tokens)]
        for r in range(rows):
            w = f.vload("%w", f.add(w0, f.idx(r * k + start)), mask=mask)
            for t in range(tokens):
                totals[r * tokens + t] = f.fma(w, xs[t], totals[r * tokens + t])
    for r in range(rows):
        for t in range(tokens):
            total = f.val(f"vector.reduction <add>, {totals[r * tokens + t]} fastmath<reassoc> : {VEC} into f32", "s")
            f.do(f"memref.store {total}, %y[{f.add(row, f.idx(t * n + r))}] : memref<?xf32>")


def _total(f: Function, parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f.val(f"arith.addf {parts[0]}, {parts[1]} : {VEC}", "f")
