"""Bitmaps: the nonzeros and one bit an element are loaded, the tile of W is made of them in registers.

A lane that holds element (n, k) finds its value at the row's next unread nonzero plus the ones below bit k of the mask
word: one count of bits, one load of a neighbour's neighbour. Zeros of W are never loaded; what the memory saves is what
few rows win. One token is multiplied lane by lane, more through the tensor cores.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit
def ones(word):
    """The ones in words of 32 bits, uint32; LLVM knows this form and makes it one instruction."""
    word = word - ((word >> 1) & 0x55555555)
    word = (word & 0x33333333) + ((word >> 2) & 0x33333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F
    return (word * 0x01010101) >> 24


@triton.jit
def expanded(values, word, base):
    """(elements [BLOCK_N, 32] of W, the next unread nonzeros) from mask words uint32 and offsets int32, both
    [BLOCK_N]."""
    lanes = tl.arange(0, 32).to(tl.uint32)
    below = ((tl.full((32,), 1, tl.uint32) << lanes) - 1)[None, :]
    there = ((word[:, None] >> lanes[None, :]) & 1) != 0
    at = base[:, None] + ones(word[:, None] & below).to(tl.int32)
    return tl.load(values + at, mask=there, other=0.0), base + ones(word).to(tl.int32)


@triton.jit(do_not_specialize=["M"])
def bitmap_rows(
    x,  # [M, K]
    values,  # [nonzeros]
    masks,  # int32 [N, WORDS]
    part_start,  # int32 [SPLITS, N], the first nonzero of each row in each part
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    WORDS: tl.constexpr,
    SHARE: tl.constexpr,  # words in a part
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    UNROLL: tl.constexpr,
    SPLITS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    outputs = tl.program_id(0) % row_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    token_first = tl.program_id(0) // row_tiles * BLOCK_M
    part = tl.program_id(1)
    inside = outputs < N
    base = tl.load(part_start + part * N + outputs, mask=inside, other=0)
    mask_rows = masks + outputs.to(tl.int64) * WORDS
    begin = part * SHARE
    end = min(begin + SHARE, WORDS)
    lanes = tl.arange(0, 32)

    if BLOCK_M == 1:
        x_row = x + token_first.to(tl.int64) * K
        sums = tl.zeros((BLOCK_N, 32), dtype=tl.float32)
        for first in tl.range(begin, end, UNROLL):
            for i in tl.static_range(UNROLL):
                at = first + i
                there = inside & (at + 0 * outputs < end)
                word = tl.load(mask_rows + at, mask=there, other=0).to(tl.uint32, bitcast=True)
                w, base = expanded(values, word, base)
                a = tl.load(x_row + at * 32 + lanes, mask=at * 32 + lanes < K, other=0.0)
                sums += w.to(tl.float32) * a.to(tl.float32)[None, :]
        total = tl.sum(sums, axis=1)
        row = token_first.to(tl.int64)
        live = inside
    else:
        tokens = token_first + tl.arange(0, BLOCK_M)
        x_rows = x + tl.minimum(tokens, M - 1).to(tl.int64)[None, :] * K
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for at in tl.range(begin, end):
            word = tl.load(mask_rows + at, mask=inside, other=0).to(tl.uint32, bitcast=True)
            w, base = expanded(values, word, base)
            column = at * 32 + lanes
            a = tl.load(x_rows + column[:, None], mask=(column < K)[:, None], other=0.0)
            total = tl.dot(w, a, total, input_precision="ieee")
        row = tokens.to(tl.int64)[None, :]
        live = (row < M) & inside[:, None]
        outputs = outputs[:, None]

    if SPLITS == 1:
        finish(total, bias, residual, y, row, outputs, live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + row) * N + outputs, total, mask=live)
