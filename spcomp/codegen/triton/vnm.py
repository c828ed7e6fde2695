"""V:2:M without sparse tensor cores: the chosen columns of x are gathered, and W is dense in those.

One token: every kept value picks its input. More: x is laid out with tokens as neighbours, so that a chosen column is a
line of them, and the 2:4 in the gathered columns is spread over a dense tile in registers: a product of 4 / m of the
dense one's size.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit
def vnm_one(
    x,  # [M, K]
    values,  # [TILES, STEPS, 32, 8]
    metadata,  # int32 [TILES, STEPS, 16]
    columns,  # uint8 [panels, STEPS, 4, 8]
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    TILES: tl.constexpr,
    STEPS: tl.constexpr,
    GROUP: tl.constexpr,  # m of v:2:m
    PANEL: tl.constexpr,  # tiles of 16 rows in v rows
    BLOCK_T: tl.constexpr,  # tiles of 16 rows
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    programs: tl.constexpr = (TILES + BLOCK_T - 1) // BLOCK_T
    share: tl.constexpr = (STEPS + SPLITS - 1) // SPLITS
    tile = tl.program_id(0) % programs * BLOCK_T + tl.arange(0, BLOCK_T)
    token = (tl.program_id(0) // programs).to(tl.int64)
    part = tl.program_id(1)
    begin = part * share
    end = min(begin + share, STEPS)
    tile_there = tl.minimum(tile, TILES - 1).to(tl.int64)
    place = tl.arange(0, 256)[None, :]
    t = place // 8 % 4
    high = place // 4 % 2
    block = t + 4 * high
    shift = place // 2 % 2 * 16 + t * 4 + place % 2 * 2
    value_tiles = values + (tile_there * STEPS * 256)[:, None] + place
    word_tiles = metadata + (tile_there * STEPS * 16)[:, None] + place // 32 * 2 + high
    panels = columns + (tile_there // PANEL * STEPS * 32)[:, None]
    x_row = x + token * K
    sums = tl.zeros((BLOCK_T, 256), dtype=tl.float32)
    for step in tl.range(begin, end, num_stages=STAGES):
        w = tl.load(value_tiles + step * 256)
        chosen = 4 * block + ((tl.load(word_tiles + step * 16) >> shift) & 3)
        of_block = tl.load(panels + step * 32 + chosen % 8 // 2 * 8 + chosen // 8 * 2 + chosen % 2)
        column = (step * 8 + block) * GROUP + of_block.to(tl.int32)
        a = tl.load(x_row + column, mask=column < K, other=0.0)
        sums += w.to(tl.float32) * a.to(tl.float32)
    by_row = tl.sum(tl.reshape(sums, (BLOCK_T, 8, 8, 2, 2)), axis=4)  # [tile, g, (t, high), half]
    total = tl.sum(by_row, axis=2)
    of_tile = tl.arange(0, 8)[None, :, None] + tl.arange(0, 2)[None, None, :] * 8
    outputs = tile[:, None, None] * 16 + of_tile
    live = outputs < N
    if SPLITS == 1:
        finish(total, bias, residual, y, token, outputs, live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + token) * N + outputs, total, mask=live)


@triton.jit(do_not_specialize=["M", "PADDED_BY_16"])
def vnm_many(
    turned,  # [K, 16 * PADDED_BY_16]
    pairs,  # [TILES, STEPS, 32, 4], the two values of a row of four columns as one integer
    metadata,  # int32 [TILES, STEPS, 16]
    columns,  # uint8 [panels, STEPS, 4, 8]
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    PADDED_BY_16,
    N: tl.constexpr,
    K: tl.constexpr,
    TILES: tl.constexpr,
    STEPS: tl.constexpr,
    GROUP: tl.constexpr,  # m of v:2:m
    PANEL: tl.constexpr,  # tiles of 16 rows in v rows
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,  # v at most
    BLOCK_S: tl.constexpr,  # steps of 32 gathered columns
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    share: tl.constexpr = (STEPS + SPLITS * BLOCK_S - 1) // (SPLITS * BLOCK_S) * BLOCK_S
    bits: tl.constexpr = turned.dtype.element_ty.primitive_bitwidth
    short = tl.int16 if bits == 16 else tl.int32
    outputs = tl.program_id(0) % row_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    tokens = tl.program_id(0) // row_tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    part = tl.program_id(1)
    begin = part * share
    end = min(begin + share, STEPS)
    padded = PADDED_BY_16.to(tl.int64) * 16
    tile = tl.minimum(outputs // 16, TILES - 1).to(tl.int64)[:, None]
    g = (outputs % 8)[:, None]
    half = (outputs // 8 % 2)[:, None]
    panel = columns + tl.program_id(0) % row_tiles * BLOCK_N // (16 * PANEL) * (STEPS * 32)
    block = tl.arange(0, BLOCK_S * 8)[None, :]
    t = block % 4
    high = block // 4 % 2
    gathered = tl.arange(0, BLOCK_S * 32)
    of_panel = gathered // 32 * 32 + gathered % 8 // 2 * 8 + gathered % 32 // 8 * 2 + gathered % 2
    fourth = tl.arange(0, 4)[None, None, :]
    lines = turned + tokens[None, :]
    total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
    for first in tl.range(begin, end, BLOCK_S, num_stages=STAGES):
        at = tile * STEPS + first + block // 8
        there = first + block // 8 + 0 * g < end
        two = tl.load(pairs + at * 128 + (4 * g + t) * 4 + 2 * high + half, mask=there, other=0)
        nibble = tl.load(metadata + at * 16 + 2 * g + high, mask=there, other=0) >> (half * 16 + t * 4)
        low = two.to(short)[:, :, None]
        upper = (two >> bits).to(short)[:, :, None]
        w = tl.where((nibble & 3)[:, :, None] == fourth, low, tl.zeros_like(low))
        w = tl.where(((nibble >> 2) & 3)[:, :, None] == fourth, upper, w)
        w = tl.reshape(w, (BLOCK_N, BLOCK_S * 32)).to(turned.dtype.element_ty, bitcast=True)
        inside = first * 32 + gathered < end * 32
        of_block = tl.load(panel + first * 32 + of_panel, mask=inside, other=0)
        column = (first * 8 + gathered // 4) * GROUP + of_block.to(tl.int32)
        a = tl.load(lines + (column * padded)[:, None], mask=(inside & (column < K))[:, None], other=0.0)
        total = tl.dot(w, a, total, input_precision="ieee")
    row = tokens.to(tl.int64)[None, :]
    live = (row < M) & (outputs < N)[:, None]
    if SPLITS == 1:
        finish(total, bias, residual, y, row, outputs[:, None], live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + row) * N + outputs[:, None], total, mask=live)
