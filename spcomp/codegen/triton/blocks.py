"""Stored blocks times many rows: one tensor-core product for every few stored blocks of a block row.

A program owns output tiles of BLOCK_M tokens x one block row and walks the block row's stored blocks; x is read at the
columns that they name, and nothing is read or multiplied for blocks that are not stored. Block rows come heaviest
first, in groups of token tiles, so that programs end together and neighbours share x and W in the L2 cache.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def blocks_many(
    x,  # [M, K]
    values,  # [blocks, COLS, ROWS]
    columns,  # int32 [blocks]
    row_start,  # int32 [block rows + 1]
    order,  # int32 [block rows], heaviest first
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    side: tl.constexpr = COLS if COLS < BLOCK_K else BLOCK_K
    block_rows: tl.constexpr = (N + ROWS - 1) // ROWS
    token_tiles = tl.cdiv(M, BLOCK_M)
    steps = tl.arange(0, BLOCK_K)
    for tile in tl.range(tl.program_id(0), token_tiles * block_rows, tl.num_programs(0)):
        group_first = tile // (GROUP * block_rows) * GROUP
        group_size = min(token_tiles - group_first, GROUP)
        within = tile % (GROUP * block_rows)
        token_tile = group_first + within % group_size
        block_row = tl.load(order + within // group_size)

        token_first = (token_tile * BLOCK_M).to(tl.int64)
        tokens = tl.arange(0, BLOCK_M)
        read = tl.minimum(tokens, M - 1 - token_tile * BLOCK_M)  # rows past M read the last one again
        x_tile = x + token_first * K + read[:, None] * K
        first = tl.load(row_start + block_row)
        length = (tl.load(row_start + block_row + 1) - first) * COLS
        w_tile = values + first.to(tl.int64) * (ROWS * COLS) + steps[:, None] * ROWS + tl.arange(0, ROWS)[None, :]

        total = tl.zeros((BLOCK_M, ROWS), dtype=tl.float32)
        for start in tl.range(0, length, BLOCK_K, num_stages=STAGES):
            if COLS % BLOCK_K == 0:
                column = tl.load(columns + first + start // COLS) * COLS + start % COLS + steps
                column = tl.max_contiguous(tl.multiple_of(column, side), side)
                if K % COLS == 0:
                    a = tl.load(x_tile + column[None, :])
                else:
                    a = tl.load(x_tile + column[None, :], mask=column[None, :] < K, other=0.0)
                b = tl.load(w_tile + start * ROWS)
            else:
                inside = start + steps < length
                column = tl.load(columns + first + (start + steps) // COLS, mask=inside, other=0) * COLS + steps % COLS
                column = tl.max_contiguous(tl.multiple_of(column, side), side)
                a = tl.load(x_tile + column[None, :], mask=(inside & (column < K))[None, :], other=0.0)
                b = tl.load(w_tile + start * ROWS, mask=inside[:, None], other=0.0)
            total = tl.dot(a, b, total, input_precision="ieee")

        rows = token_first + tokens[:, None]
        outputs = block_row * ROWS + tl.arange(0, ROWS)[None, :]
        finish(total, bias, residual, y, rows, outputs, (rows < M) & (outputs < N), N, ACTIVATION)
