"""Stored blocks times few rows: every byte of W is read once, by as many programs as keep the memory busy.

A program owns BLOCK_N rows of a block row (a part of it, so that there are programs enough) and one of SPLITS parts
of its stored blocks. One token is multiplied lane by lane and added up at the end; more go through the tensor cores,
W on the left and the tokens, padded to 16, on the right.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def blocks_few(
    x,  # [M, K]
    values,  # [blocks, COLS, ROWS]
    columns,  # int32 [blocks]
    row_start,  # int32 [block rows + 1]
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    side: tl.constexpr = COLS if COLS < BLOCK_K else BLOCK_K
    pieces: tl.constexpr = ROWS // BLOCK_N
    all_pieces: tl.constexpr = (N + ROWS - 1) // ROWS * pieces
    block_row = tl.program_id(0) % all_pieces // pieces
    piece = tl.program_id(0) % pieces
    token_first = tl.program_id(0) // all_pieces * BLOCK_M
    part = tl.program_id(1)
    steps = tl.arange(0, BLOCK_K)
    lanes = tl.arange(0, BLOCK_N)

    first = tl.load(row_start + block_row)
    length = (tl.load(row_start + block_row + 1) - first) * COLS
    share = tl.cdiv(tl.cdiv(length, SPLITS), BLOCK_K) * BLOCK_K
    begin = part * share
    end = min(length, begin + share)
    w_first = values + first.to(tl.int64) * (ROWS * COLS) + piece * BLOCK_N
    outputs = block_row * ROWS + piece * BLOCK_N + lanes

    if BLOCK_M == 1:
        sums = tl.zeros((BLOCK_K, BLOCK_N), dtype=tl.float32)
        x_row = x + token_first.to(tl.int64) * K
        for start in tl.range(begin, end, BLOCK_K, num_stages=STAGES):
            at = start + steps
            inside = at < end
            column = tl.load(columns + first + at // COLS, mask=inside, other=0) * COLS + at % COLS
            column = tl.max_contiguous(tl.multiple_of(column, side), side)
            a = tl.load(x_row + column, mask=inside & (column < K), other=0.0)
            w = tl.load(w_first + at[:, None] * ROWS + lanes[None, :], mask=inside[:, None], other=0.0)
            sums += w.to(tl.float32) * a.to(tl.float32)[:, None]
        total = tl.sum(sums, axis=0)
        row = token_first.to(tl.int64)
        live = outputs < N
    else:
        tokens = token_first + tl.arange(0, BLOCK_M)
        x_rows = x + tl.minimum(tokens, M - 1).to(tl.int64)[None, :] * K
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for start in tl.range(begin, end, BLOCK_K, num_stages=STAGES):
            at = start + steps
            inside = at < end
            column = tl.load(columns + first + at // COLS, mask=inside, other=0) * COLS + at % COLS
            column = tl.max_contiguous(tl.multiple_of(column, side), side)
            a = tl.load(x_rows + column[:, None], mask=(inside & (column < K))[:, None], other=0.0)
            w = tl.load(w_first + at[None, :] * ROWS + lanes[:, None], mask=inside[None, :], other=0.0)
            total = tl.dot(w, a, total, input_precision="ieee")
        row = tokens.to(tl.int64)[None, :]
        outputs = outputs[:, None]
        live = (row < M) & (outputs < N)

    if SPLITS == 1:
        finish(total, bias, residual, y, row, outputs, live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + row) * N + outputs, total, mask=live)
