"""Experts: rows of x sorted by expert, each expert with block-sparse weights; one launch, no number read by the host.

The experts' weights are one block matrix, expert under expert. A program finds which expert its tile of tokens belongs
to by counting tiles expert by expert; programs beyond the last tile do nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit
def blocks_grouped(
    x,  # [M, K], rows of expert 0 first
    values,  # [blocks, COLS, ROWS] of the matrix [EXPERTS * N, K]
    columns,  # int32 [blocks]
    row_start,  # int32 [EXPERTS * N / ROWS + 1]
    expert_start,  # int32 [EXPERTS + 1], first row of each expert
    bias,  # [EXPERTS, N] or None
    residual,  # [M, N] or None
    y,  # [M, N]
    EXPERTS: tl.constexpr,
    N: tl.constexpr,  # a multiple of ROWS
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    side: tl.constexpr = COLS if COLS < BLOCK_K else BLOCK_K
    block_rows: tl.constexpr = N // ROWS
    tile = tl.program_id(0) // block_rows
    seen = 0
    expert = 0
    begin = 0
    end = 0
    for e in tl.range(EXPERTS):
        first_row = tl.load(expert_start + e)
        next_row = tl.load(expert_start + e + 1)
        tiles = tl.cdiv(next_row - first_row, BLOCK_M)
        mine = (tile >= seen) & (tile < seen + tiles)
        expert = tl.where(mine, e, expert)
        begin = tl.where(mine, first_row + (tile - seen) * BLOCK_M, begin)
        end = tl.where(mine, next_row, end)
        seen += tiles
    if tile < seen:
        block_row = tl.program_id(0) % block_rows
        steps = tl.arange(0, BLOCK_K)
        tokens = begin + tl.arange(0, BLOCK_M)
        x_tile = x + tl.minimum(tokens, end - 1).to(tl.int64)[:, None] * K
        first = tl.load(row_start + expert * block_rows + block_row)
        length = (tl.load(row_start + expert * block_rows + block_row + 1) - first) * COLS
        w_tile = values + first.to(tl.int64) * (ROWS * COLS) + steps[:, None] * ROWS + tl.arange(0, ROWS)[None, :]
        total = tl.zeros((BLOCK_M, ROWS), dtype=tl.float32)
        for start in tl.range(0, length, BLOCK_K, num_stages=STAGES):
            inside = start + steps < length
            column = tl.load(columns + first + (start + steps) // COLS, mask=inside, other=0) * COLS
            column = tl.max_contiguous(tl.multiple_of(column + (start + steps) % COLS, side), side)
            a = tl.load(x_tile + column[None, :], mask=(inside & (column < K))[None, :], other=0.0)
            b = tl.load(w_tile + start * ROWS, mask=inside[:, None], other=0.0)
            total = tl.dot(a, b, total, input_precision="ieee")
        rows = tokens.to(tl.int64)[:, None]
        outputs = block_row * ROWS + tl.arange(0, ROWS)[None, :]
        if bias is not None:
            total += tl.load(bias + expert * N + outputs).to(tl.float32)
        finish(total, None, residual, y, rows, outputs, (rows < end) & (outputs < N), N, ACTIVATION)
