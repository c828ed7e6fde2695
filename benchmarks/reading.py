"""How fast a core can read: the least time in which a kernel's weights can come from where they lie.

Of the ways to read that were tried (one stream, two, four, eight; prefetched 0.5 to 8 KB ahead or not), eight streams
of full registers were the fastest from memory and within 3 % of the fastest from L3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function

STREAMS = 8


def reader(nbytes: int) -> Callable[[], None]:
    """A call that reads ``nbytes`` of memory of its own, by the fastest loop we know, and writes one cache line."""
    lines = max(1, -(-nbytes // (4 * LANES * STREAMS)))
    memory = torch.ones(lines * LANES * STREAMS)
    result = torch.empty(LANES)
    made = jit.compile_text("read", _text(), 2, 1)
    arguments = (memory.data_ptr(), result.data_ptr(), lines * LANES)

    def run(_keep: object = (memory, result)) -> None:
        made.call(*arguments)

    return run


def _text() -> str:
    """``read(x, y, part)``: x is ``STREAMS`` times ``part`` floats; y takes their sums."""
    f = Function("read", (("x", "f32"), ("y", "f32")), ("part",))
    kinds = [VEC] * STREAMS
    with f.loop(f.idx(0), "%part", f.idx(LANES), [(f.splat("0.0"), VEC)] * STREAMS) as at:
        sums = [
            f.val(f"arith.addf {total}, {f.vload('%x', f.add(at.index, f.mul('%part', f.idx(s))))} : {VEC}", "s")
            for s, total in enumerate(at.carried)
        ]
        f.yield_(sums, kinds)
    total = at.results[0]
    for other in at.results[1:]:
        total = f.val(f"arith.addf {total}, {other} : {VEC}", "s")
    f.vstore(total, "%y", f.idx(0))
    return f.text()
