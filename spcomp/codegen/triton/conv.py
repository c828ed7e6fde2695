"""Block-sparse convolution of planes with the channels last, as a product that never makes its left side.

A row is an output pixel, a column (r, s, c): the input pixel under tap (r, s), channel c. Only the columns of stored
blocks are read; taps outside the plane are zeros.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def blocks_conv(
    x,  # [B, HEIGHT, WIDTH, C]
    values,  # [blocks, COLS, ROWS]
    columns,  # int32 [blocks]
    row_start,  # int32 [block rows + 1]
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N] with M = B * OUT_HEIGHT * OUT_WIDTH
    M,
    N: tl.constexpr,
    C: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    TAPS_DOWN: tl.constexpr,
    TAPS: tl.constexpr,  # in a row of the kernel
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    PAD_H: tl.constexpr,
    PAD_W: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    side: tl.constexpr = COLS if COLS < BLOCK_K else BLOCK_K
    block_rows: tl.constexpr = (N + ROWS - 1) // ROWS
    block_row = tl.program_id(0) % block_rows
    pixels = tl.program_id(0) // block_rows * BLOCK_M + tl.arange(0, BLOCK_M)
    read = tl.minimum(pixels, M - 1)
    top = (read // OUT_WIDTH % OUT_HEIGHT * STRIDE_H - PAD_H)[:, None]
    left = (read % OUT_WIDTH * STRIDE_W - PAD_W)[:, None]
    image = x + (read // (OUT_HEIGHT * OUT_WIDTH)).to(tl.int64)[:, None] * (HEIGHT * WIDTH * C)
    steps = tl.arange(0, BLOCK_K)
    first = tl.load(row_start + block_row)
    length = (tl.load(row_start + block_row + 1) - first) * COLS
    w_tile = values + first.to(tl.int64) * (ROWS * COLS) + steps[:, None] * ROWS + tl.arange(0, ROWS)[None, :]
    total = tl.zeros((BLOCK_M, ROWS), dtype=tl.float32)
    for start in tl.range(0, length, BLOCK_K, num_stages=STAGES):
        inside = start + steps < length
        column = (
            tl.load(columns + first + (start + steps) // COLS, mask=inside, other=0) * COLS + (start + steps) % COLS
        )
        channel = column % C
        tap = column // C
        if C % side == 0:  # then a block lies under one tap
            channel = tl.max_contiguous(tl.multiple_of(channel, side), side)
            tap = tl.max_constancy(tap, side)
        down = top + (tap // TAPS * DILATION_H)[None, :]
        across = left + (tap % TAPS * DILATION_W)[None, :]
        there = (down >= 0) & (down < HEIGHT) & (across >= 0) & (across < WIDTH)
        there &= (inside & (tap < TAPS_DOWN * TAPS))[None, :]
        a = tl.load(image + (down * WIDTH + across) * C + channel[None, :], mask=there, other=0.0)
        b = tl.load(w_tile + start * ROWS, mask=inside[:, None], other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee")
    rows = pixels.to(tl.int64)[:, None]
    outputs = block_row * ROWS + tl.arange(0, ROWS)[None, :]
    finish(total, bias, residual, y, rows, outputs, (rows < M) & (outputs < N), N, ACTIVATION)
