"""Single nonzeros: compressed rows, rows of like length side by side.

One token: BLOCK_L places share a row; a lane reads eight nonzeros side by side, 16 bytes from an aligned place on, and
picks the inputs they name; what stands before and after its row counts nothing. Many tokens: x is
first laid out with tokens as neighbours, so that one nonzero reads a line of them.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit
def csr_one(
    x,  # [M, K]
    values,  # [nonzeros, rounded up to eights]
    columns,  # uint8 or uint16, as values, within the column block
    row_start,  # int32 [COLUMN_BLOCKS, N + 1]
    order,  # int32 [N], longest row first
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N]
    N: tl.constexpr,
    K: tl.constexpr,
    COLUMN_BLOCKS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_L: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    place = tl.program_id(0) % row_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    token = (tl.program_id(0) // row_tiles).to(tl.int64)
    inside = place < N
    outputs = tl.load(order + place, mask=inside, other=0)
    lanes = tl.arange(0, BLOCK_L)
    sums = tl.zeros((BLOCK_N, BLOCK_L), dtype=tl.float32)
    for block in tl.range(COLUMN_BLOCKS):
        start = tl.load(row_start + block * (N + 1) + outputs, mask=inside, other=0)
        end = tl.load(row_start + block * (N + 1) + outputs + 1, mask=inside, other=0)
        x_block = x + token * K + block * BLOCK_COLUMNS
        first = start // 8 * 8
        for step in tl.range(0, tl.max(end - first, axis=0), BLOCK_L):
            at = first[:, None] + step + lanes[None, :]
            eights = at // 8 * 8 < end[:, None]
            there = (at >= start[:, None]) & (at < end[:, None])
            column = tl.load(columns + at, mask=eights, other=0).to(tl.int32)
            w = tl.load(values + at, mask=eights, other=0.0)
            a = tl.load(x_block + column, mask=there, other=0.0)
            sums += tl.where(there, w.to(tl.float32), 0.0) * a.to(tl.float32)
    finish(tl.sum(sums, axis=1), bias, residual, y, token, outputs, inside, N, ACTIVATION)


@triton.jit(do_not_specialize=["M", "PADDED_BY_16"])
def tokens_last(
    x,  # [M, K]
    turned,  # [K, 16 * PADDED_BY_16]
    M,
    PADDED_BY_16,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """x with its tokens as neighbours, zeros beyond M."""
    tiles: tl.constexpr = (K + BLOCK_K - 1) // BLOCK_K
    padded = PADDED_BY_16.to(tl.int64) * 16
    column = tl.program_id(0) % tiles * BLOCK_K + tl.arange(0, BLOCK_K)
    token = tl.program_id(0) // tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    there = (token < M)[:, None] & (column < K)[None, :]
    tile = tl.load(x + token.to(tl.int64)[:, None] * K + column[None, :], mask=there, other=0.0)
    within = (column < K)[:, None] & (token < padded)[None, :]
    tl.store(turned + column.to(tl.int64)[:, None] * padded + token[None, :], tl.trans(tile), mask=within)


@triton.jit(do_not_specialize=["M", "PADDED_BY_16"])
def csr_many(
    turned,  # [K, 16 * PADDED_BY_16]
    values,
    columns,
    row_start,
    order,
    bias,
    residual,
    y,  # [M, N]
    M,
    PADDED_BY_16,
    N: tl.constexpr,
    COLUMN_BLOCKS: tl.constexpr,
    BLOCK_COLUMNS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    UNROLL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    place = tl.program_id(0) % row_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    tokens = tl.program_id(0) // row_tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    padded = PADDED_BY_16.to(tl.int64) * 16
    inside = place < N
    outputs = tl.load(order + place, mask=inside, other=0)
    sums = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    for block in tl.range(COLUMN_BLOCKS):
        start = tl.load(row_start + block * (N + 1) + outputs, mask=inside, other=0)
        end = tl.load(row_start + block * (N + 1) + outputs + 1, mask=inside, other=0)
        lines = turned + block * BLOCK_COLUMNS * padded + tokens[None, :]
        for step in tl.range(0, tl.max(end - start, axis=0), UNROLL):
            for i in tl.static_range(UNROLL):
                at = start + step + i
                there = at < end
                column = tl.load(columns + at, mask=there, other=0).to(tl.int64)
                w = tl.load(values + at, mask=there, other=0.0)
                a = tl.load(lines + (column * padded)[:, None], mask=there[:, None], other=0.0)
                sums += w.to(tl.float32)[:, None] * a.to(tl.float32)
    rows = tokens.to(tl.int64)[None, :]
    finish(sums, bias, residual, y, rows, outputs[:, None], inside[:, None] & (rows < M), N, ACTIVATION)
