"""The second pass of kernels that split K: partial sums added in a fixed order, then the end of the layer."""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def add_parts(
    parts,  # float32 [SPLITS, M, N]
    bias,
    residual,
    y,  # [M, N]
    M,
    N: tl.constexpr,
    SPLITS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = columns < N
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for part in tl.static_range(SPLITS):
        total += tl.load(parts + (part * M + row) * N + columns, mask=live, other=0.0)
    finish(total, bias, residual, y, row, columns, live, N, ACTIVATION)
