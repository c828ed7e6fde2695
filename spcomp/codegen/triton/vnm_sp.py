"""V:2:M through sparse tensor cores: each warp multiplies 16 rows of W, 2:4 in gathered columns, by 8 tokens at a time.

Values, metadata and columns lie in the order of the instruction's fragments, so that a lane reads its four registers of
A in one load of 16 bytes. A tensor of one dimension and 32 elements a warp has one element in every lane, element i in
lane i % 32 of warp i // 32: registers of B are made lane by lane, by gathering the chosen columns of x. For more than 8
tokens x is first laid out with tokens as neighbours: a lane then reads 2, 4 or 8 of them at once, and which token is
which column of the product is turned around to fit.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit
def multiply(c, a, b, metadata, TYPE: tl.constexpr):
    """c + A x B with A 16 x 32, 2:4 in its rows, and B 32 x 8; fragments of a warp as tuples of [32 * warps].

    c of four float32; a and b of four int32, each two numbers of 16 bits; metadata int32. PTX ISA: mma.sp.m16n8k32,
    metadata of lanes 0 and 1 of every four.
    """
    if TYPE == "bf16":
        return tl.inline_asm_elementwise(
            "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, "
            "{$4, $5, $6, $7}, {$8, $9, $10, $11}, {$12, $13, $14, $15}, $16, 0x0;",
            "=f,=f,=f,=f,r,r,r,r,r,r,r,r,f,f,f,f,r",
            [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], metadata],
            dtype=(tl.float32, tl.float32, tl.float32, tl.float32), is_pure=True, pack=1,
        )  # fmt: skip
    else:
        return tl.inline_asm_elementwise(
            "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32 {$0, $1, $2, $3}, "
            "{$4, $5, $6, $7}, {$8, $9, $10, $11}, {$12, $13, $14, $15}, $16, 0x0;",
            "=f,=f,=f,=f,r,r,r,r,r,r,r,r,f,f,f,f,r",
            [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], metadata],
            dtype=(tl.float32, tl.float32, tl.float32, tl.float32), is_pure=True, pack=1,
        )  # fmt: skip


@triton.jit
def words(pointers, there, COUNT: tl.constexpr):
    """COUNT (1, 2 or 4) neighbours of 4 bytes for each lane by one load, as a tuple of [lanes]; 0 where not there."""
    L: tl.constexpr = pointers.shape[0]
    if COUNT == 1:
        found = (tl.load(pointers, mask=there, other=0),)
    else:
        side = tl.load(pointers[:, None] + tl.arange(0, COUNT)[None, :], mask=there[:, None], other=0)
        if COUNT == 2:
            found = tl.split(side)
        else:
            even, odd = tl.split(tl.reshape(side, (L, 2, 2)))
            first, third = tl.split(even)
            second, fourth = tl.split(odd)
            found = (first, second, third, fourth)
    return found


@triton.jit
def pair(low, high):
    """Two numbers of 16 bits, the second in the upper half."""
    return low.to(tl.uint16, bitcast=True).to(tl.int32) | (high.to(tl.int32) << 16)


@triton.jit(do_not_specialize=["M", "PADDED_BY_16"])
def vnm_sparse(
    x,  # int16 [M, K]; for TOKENS above 1: int32 [K, 8 * PADDED_BY_16], tokens as neighbours
    values,  # int32 [TILES, STEPS, 32, 4]
    metadata,  # int32 [TILES, STEPS, 16]
    columns,  # int32 [panels, STEPS, 4, 2]
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
    TYPE: tl.constexpr,
    ROW_TILES: tl.constexpr,  # of a warp, within a panel
    TOKENS: tl.constexpr,  # products of a warp side by side, of 8 tokens each
    WARPS: tl.constexpr,
    UNROLL: tl.constexpr,
    SPLITS: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    programs: tl.constexpr = (TILES + WARPS * ROW_TILES - 1) // (WARPS * ROW_TILES)
    share: tl.constexpr = (STEPS + SPLITS - 1) // SPLITS
    thread = tl.arange(0, 32 * WARPS)
    group = thread % 32 // 4
    within = thread % 4
    first_tile = (tl.program_id(0) % programs * WARPS + thread // 32) * ROW_TILES
    first_token = tl.program_id(0) // programs * (8 * TOKENS)
    part = tl.program_id(1)
    begin = part * share
    end = min(begin + share, STEPS)
    panel = tl.minimum(first_tile, TILES - 1) // PANEL
    column_words = columns + panel * (STEPS * 8) + within * 2
    always = thread >= 0
    if TOKENS == 1:
        token = first_token + group
        lines = x + tl.minimum(token, M - 1).to(tl.int64) * K
    else:
        lines = x + first_token // 2 + group * (TOKENS // 2)

    zero = tl.zeros((32 * WARPS,), dtype=tl.float32)
    sums = ()
    for _ in tl.static_range(ROW_TILES * TOKENS):
        sums += ((zero, zero, zero, zero),)
    for step in tl.range(begin, end, loop_unroll_factor=UNROLL):
        eight = words(column_words + step * 8, always, 2)
        b = ()
        for e in tl.static_range(4):
            start = (step * 8 + 2 * e + within // 2) * GROUP
            two = eight[e // 2] >> (e % 2 * 16)
            one, other = start + (two & 255), start + ((two >> 8) & 255)
            if TOKENS == 1:
                live = token < M
                low = tl.load(lines + one, mask=live & (one < K), other=0)
                high = tl.load(lines + other, mask=live & (other < K), other=0)
                b += ((pair(low, high),),)
            else:
                line = PADDED_BY_16.to(tl.int64) * 8
                lows = words(lines + one * line, one < K, TOKENS // 2)
                highs = words(lines + other * line, other < K, TOKENS // 2)
                of_tokens = ()
                for i in tl.static_range(TOKENS // 2):
                    even = (lows[i] & 0xFFFF) | (highs[i] << 16)
                    odd = ((lows[i] >> 16) & 0xFFFF) | (highs[i] & -65536)
                    of_tokens += (even, odd)
                b += (of_tokens,)
        new = ()
        for t in tl.static_range(ROW_TILES):
            at = (tl.minimum(first_tile + t, TILES - 1) * STEPS + step).to(tl.int64)
            a = words(values + at * 128 + (thread % 32) * 4, always, 4)
            word = tl.load(metadata + at * 16 + group * 2 + within % 2)
            for i in tl.static_range(TOKENS):
                c = sums[t * TOKENS + i]
                new += (multiply(c, a, (b[0][i], b[1][i], b[2][i], b[3][i]), word, TYPE),)
        sums = new

    for t in tl.static_range(ROW_TILES):
        for i in tl.static_range(TOKENS):
            for place in tl.static_range(4):
                outputs = (first_tile + t) * 16 + group + place // 2 * 8
                row = (first_token + (within * 2 + place % 2) * TOKENS + i).to(tl.int64)
                live = (row < M) & (outputs < N)
                total = sums[t * TOKENS + i][place]
                if SPLITS == 1:
                    finish(total, bias, residual, y, row, outputs, live, N, ACTIVATION)
                else:
                    tl.store(y + (part * M + row) * N + outputs, total, mask=live)
