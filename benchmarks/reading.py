"""What a core can do at best, measured beside a kernel: read its weights and nothing else, and multiply-adds alone.

Of the ways to read that were tried (one stream, two, four, eight; prefetched 0.5 to 8 KB ahead or not), eight streams
of full registers were the fastest from memory and within 3 % of the fastest from L3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

STREAMS = 8
SUMS = 24
"""Chains of multiply-adds: more than two units with four cycles' latency need."""
TURNS = 250_000
"""Long beside the time that a core takes to settle on a clock for wide registers."""
CYCLES = SUMS * TURNS / 2
"""Cycles of one call of :func:`multiplier`: two multiply-adds each."""


def reader(nbytes: int, result: tuple[int, ...] = ()) -> Callable[[], None]:
    """A call that reads ``nbytes`` of memory of its own by the fastest loop we know, and asks for a result of that
    shape, as every call of a layer does."""
    lines = max(1, -(-nbytes // (4 * LANES * STREAMS)))
    memory = torch.ones(lines * LANES * STREAMS)
    kept = torch.empty(LANES)
    made = jit.compile_text("read", read_text(), 2, 1)
    arguments = (memory.data_ptr(), kept.data_ptr(), lines * LANES)

    def run(_keep: object = (memory, kept)) -> None:
        torch.empty(result)
        made.call(*arguments)

    return run


def multiplier() -> Callable[[], None]:
    """A call that does nothing but multiply-adds of full registers, :data:`CYCLES` long at two a cycle."""
    kept = torch.zeros(LANES)
    made = jit.compile_text("multiply", multiply_text(), 1, 1)
    return lambda: made.call(kept.data_ptr(), TURNS)


def read_text() -> str:
    """``read(x, y, part)``: x is ``STREAMS`` times ``part`` floats; y takes their sums."""
    f = Function("read", (("x", "f32"), ("y", "f32")), ("part",))
    kinds = [VEC] * STREAMS
    with f.loop(f.idx(0), "%part", f.idx(LANES), [(f.splat("0.0"), VEC)] * STREAMS) as at:
        sums = [
            f.val(f"arith.addf {total}, {f.vload('%x', f.add(at.index, f.mul('%part', f.idx(s))))} : {VEC}", "s")
            for s, total in enumerate(at.carried)
        ]
        f.yield_(sums, kinds)
    _store(f, at.results, "%y")
    return f.text()


def multiply_text() -> str:
    """``multiply(y, turns)``: ``SUMS`` multiply-adds of registers a turn; y takes their sums."""
    f = Function("multiply", (("y", "f32"),), ("turns",))
    factor = f.vload("%y", f.idx(0))
    with f.loop(f.idx(0), "%turns", carried=[(f.splat("0.0"), VEC)] * SUMS) as at:
        f.yield_([f.fma(factor, factor, total) for total in at.carried], [VEC] * SUMS)
    _store(f, at.results, "%y")
    return f.text()


def _store(f: Function, sums: list[str], where: str) -> None:
    total = sums[0]
    for other in sums[1:]:
        total = f.val(f"arith.addf {total}, {other} : {VEC}", "s")
    f.vstore(total, where, f.idx(0))
