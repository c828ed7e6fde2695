"""Bitmaps: the nonzeros and one bit an element are loaded, the tile of W is made of them on the chip.

The nonzeros of a row lie one after the other: those of STEP columns are loaded 16 bytes at a time, from the last place
before them that is aligned, into shared memory. A lane that holds eight columns counts the bits before them once, goes
on bit by bit, and picks its values from there. Zeros of W are never loaded; what the memory saves is what few rows win.
One token is multiplied lane by lane, more through the tensor cores.
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
def expanded(values, mask_rows, first, base, there, rows, STEP: tl.constexpr, SPACE: tl.constexpr):
    """(elements [rows, STEP] of W from byte ``first`` of their mask rows on, the next unread nonzeros).

    base int32 [rows]: the next unread nonzeros before; there: mask [rows, STEP / 8] of the mask bytes; SPACE: a power
    of two above the most nonzeros of a step by eight and what stands before them to the last aligned place, so that
    the last element of a row of the space is never loaded and is zero.
    """
    ROWS: tl.constexpr = rows.shape[0]
    byte = tl.load(mask_rows[:, None] + first + tl.arange(0, STEP // 8)[None, :], mask=there, other=0).to(tl.uint32)
    count = ones(byte).to(tl.int32)
    start = base // 8 * 8
    following = base + tl.sum(count, axis=1)
    place = tl.arange(0, SPACE)
    stored = tl.load(
        values + start[:, None] + place[None, :],
        mask=(place // 8 * 8)[None, :] < (following - start)[:, None], other=0.0,
    )  # fmt: skip
    nothing = (rows * SPACE + SPACE - 1)[:, None]
    at = (base - start + rows * SPACE)[:, None] + tl.cumsum(count, axis=1) - count
    picked = ()
    for i in tl.static_range(8):
        bit = ((byte >> i) & 1).to(tl.int32)
        picked += (tl.where(bit != 0, at, nothing),)
        at += bit
    even = tl.join(tl.join(picked[0], picked[4]), tl.join(picked[2], picked[6]))
    odd = tl.join(tl.join(picked[1], picked[5]), tl.join(picked[3], picked[7]))
    index = tl.reshape(tl.join(even, odd), (ROWS * STEP,))
    w = tl.gather(tl.reshape(stored, (ROWS * SPACE,)), index, axis=0)  # of one dimension: through shared memory
    return tl.reshape(w, (ROWS, STEP)), following


@triton.jit(do_not_specialize=["M"])
def bitmap_rows(
    x,  # [M, K]
    values,  # [nonzeros, rounded up to eights]
    masks,  # uint8 [N, BYTES]
    part_start,  # int32 [SPLITS, N], the first nonzero of each row in each part
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    BYTES: tl.constexpr,
    SHARE: tl.constexpr,  # bytes of a mask row in a part
    STEP: tl.constexpr,  # columns at a time
    SPACE: tl.constexpr,  # for the nonzeros of a row among them
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    rows = tl.arange(0, BLOCK_N)
    outputs = tl.program_id(0) % row_tiles * BLOCK_N + rows
    token_first = tl.program_id(0) // row_tiles * BLOCK_M
    part = tl.program_id(1)
    inside = outputs < N
    base = tl.load(part_start + part * N + outputs, mask=inside, other=0)
    mask_rows = masks + outputs.to(tl.int64) * BYTES
    begin = part * SHARE
    end = min(begin + SHARE, BYTES)
    groups = tl.arange(0, STEP // 8)
    lanes = tl.arange(0, STEP)

    if BLOCK_M == 1:
        x_row = x + token_first.to(tl.int64) * K
        sums = tl.zeros((BLOCK_N, STEP), dtype=tl.float32)
        for first in tl.range(begin, end, STEP // 8):
            there = inside[:, None] & (first + groups < end)[None, :]
            w, base = expanded(values, mask_rows, first, base, there, rows, STEP, SPACE)
            column = first * 8 + lanes
            a = tl.load(x_row + column, mask=column < K, other=0.0)
            sums += w.to(tl.float32) * a.to(tl.float32)[None, :]
        total = tl.sum(sums, axis=1)
        row = token_first.to(tl.int64)
        live = inside
    else:
        tokens = token_first + tl.arange(0, BLOCK_M)
        x_rows = x + tl.minimum(tokens, M - 1).to(tl.int64)[None, :] * K
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for first in tl.range(begin, end, STEP // 8):
            there = inside[:, None] & (first + groups < end)[None, :]
            w, base = expanded(values, mask_rows, first, base, there, rows, STEP, SPACE)
            column = first * 8 + lanes
            a = tl.load(x_rows + column[:, None], mask=(column < K)[:, None], other=0.0)
            total = tl.dot(w, a, total, input_precision="ieee")
        row = tokens.to(tl.int64)[None, :]
        live = (row < M) & inside[:, None]
        outputs = outputs[:, None]

    if SPLITS == 1:
        finish(total, bias, residual, y, row, outputs, live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + row) * N + outputs, total, mask=live)
