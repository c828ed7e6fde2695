"""N:M of any kind that the encoding has: 2:4 too, where there is no sparse tensor core for it.

Slots of 16 rows lie side by side, so that values and control words are read 16 bytes at a time. One token: every slot
picks its input. More: the slots are spread over a dense tile in registers, which goes through the tensor cores.
"""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def nm_rows(
    x,  # [M, K]
    values,  # [ceil(N / 16), WORDS * PER_WORD, 16]
    control,  # int32 [ceil(N / 16), WORDS, 16]
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N], or float32 [SPLITS, M, N]
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    WORDS: tl.constexpr,
    SLOTS_OF_GROUP: tl.constexpr,  # n of n:m
    GROUP: tl.constexpr,  # m of n:m
    BITS: tl.constexpr,  # of a column within its group
    PER_WORD: tl.constexpr,  # slots that a control word describes
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,  # slots at a time for one token, columns for more
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row_tiles: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    slots: tl.constexpr = WORDS * PER_WORD
    reach: tl.constexpr = slots if BLOCK_M == 1 else K
    share: tl.constexpr = (reach + SPLITS * BLOCK_K - 1) // (SPLITS * BLOCK_K) * BLOCK_K
    outputs = tl.program_id(0) % row_tiles * BLOCK_N + tl.arange(0, BLOCK_N)
    token_first = tl.program_id(0) // row_tiles * BLOCK_M
    part = tl.program_id(1)
    begin = part * share
    end = min(begin + share, reach)
    inside = outputs < N
    bundle = (outputs // 16).to(tl.int64)
    value_rows = values + bundle * (slots * 16) + outputs % 16
    word_rows = control + bundle * (WORDS * 16) + outputs % 16
    steps = tl.arange(0, BLOCK_K)

    if BLOCK_M == 1:
        x_row = x + token_first.to(tl.int64) * K
        sums = tl.zeros((BLOCK_K, BLOCK_N), dtype=tl.float32)
        for first in tl.range(begin, end, BLOCK_K, num_stages=STAGES):
            slot = first + steps
            there = (slot < end)[:, None] & inside[None, :]
            word = tl.load(word_rows[None, :] + (slot // PER_WORD * 16)[:, None], mask=there, other=0)
            within = (word >> (slot % PER_WORD * BITS)[:, None]) & ((1 << BITS) - 1)
            column = (slot // SLOTS_OF_GROUP * GROUP)[:, None] + within
            w = tl.load(value_rows[None, :] + (slot * 16)[:, None], mask=there, other=0.0)
            a = tl.load(x_row + column, mask=there & (column < K), other=0.0)
            sums += w.to(tl.float32) * a.to(tl.float32)
        total = tl.sum(sums, axis=0)
        row = token_first.to(tl.int64)
        live = inside
    else:
        tokens = token_first + tl.arange(0, BLOCK_M)
        x_rows = x + tl.minimum(tokens, M - 1).to(tl.int64)[None, :] * K
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for first in tl.range(begin, end, BLOCK_K, num_stages=STAGES):
            column = first + steps
            there = (column < end)[None, :] & inside[:, None]
            slot = column // GROUP * SLOTS_OF_GROUP
            word = tl.load(word_rows[:, None] + (slot // PER_WORD * 16)[None, :], mask=there, other=0)
            w = tl.zeros((BLOCK_N, BLOCK_K), dtype=values.dtype.element_ty)
            for i in tl.static_range(SLOTS_OF_GROUP):
                within = (word >> ((slot % PER_WORD + i) * BITS)[None, :]) & ((1 << BITS) - 1)
                hit = there & (within == (column % GROUP)[None, :])
                w += tl.load(value_rows[:, None] + ((slot + i) * 16)[None, :], mask=hit, other=0.0)
            a = tl.load(x_rows + column[:, None], mask=(column < end)[:, None], other=0.0)
            total = tl.dot(w, a, total, input_precision="ieee")
        row = tokens.to(tl.int64)[None, :]
        live = (row < M) & inside[:, None]
        outputs = outputs[:, None]

    if SPLITS == 1:
        finish(total, bias, residual, y, row, outputs, live, N, ACTIVATION)
    else:
        tl.store(y + (part * M + row) * N + outputs, total, mask=live)
