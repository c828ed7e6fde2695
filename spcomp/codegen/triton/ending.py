"""What a library's product needs before and after it: rows of x as small numbers, and the end of the layer in place."""

from __future__ import annotations

import triton
import triton.language as tl

from spcomp.codegen.triton.finish import finish


@triton.jit(do_not_specialize=["M"])
def quantize_rows(
    x,  # [M, K]
    numbers,  # int8 or float8e4nv [programs, WIDE]
    scales,  # float32 [programs]
    M,
    K: tl.constexpr,
    WIDE: tl.constexpr,
    MOST: tl.constexpr,  # largest number
    LIFT: tl.constexpr,  # what scales are multiplied by
    BLOCK: tl.constexpr,
):
    """``numbers = round(x * MOST / largest of the row)``, zeros beyond M and K, and ``scales = largest / MOST * LIFT``:
    NaN for a row that is not finite."""
    row = tl.program_id(0)
    x_row = x + row.to(tl.int64) * K
    whole: tl.constexpr = numbers.dtype.element_ty == tl.int8
    lanes = tl.arange(0, BLOCK)
    tops = tl.zeros((BLOCK,), dtype=tl.float32)
    wrong = tl.zeros((BLOCK,), dtype=tl.float32)
    for first in tl.range(0, K, BLOCK):
        a = tl.load(x_row + first + lanes, mask=(first + lanes < K) & (row < M), other=0.0).to(tl.float32)
        tops = tl.maximum(tops, tl.abs(a))
        wrong += a * 0.0  # NaN for what is not finite
    largest = tl.maximum(tl.max(tops, axis=0), 7.888609052210118e-31)  # 2**-100, as in the reference
    factor = tl.div_rn(MOST * 1.0, largest)
    for first in tl.range(0, WIDE, BLOCK):
        a = tl.load(x_row + first + lanes, mask=(first + lanes < K) & (row < M), other=0.0).to(tl.float32) * factor
        a = tl.where(tl.abs(a) <= 2.0 * MOST, a, 0.0)
        if whole:
            a = (a + 12582912.0) - 12582912.0  # 1.5 * 2**23: to the nearest whole number, ties to even
        tl.store(
            numbers + row.to(tl.int64) * WIDE + first + lanes, a.to(numbers.dtype.element_ty), first + lanes < WIDE
        )
    tl.store(scales + row, (tl.div_rn(largest, MOST * 1.0) + tl.sum(wrong, axis=0)) * LIFT)


@triton.jit(do_not_specialize=["M"])
def end_rows(
    product,  # [rows, WIDE], may be the memory of y
    row_scale,  # float32 [N] or None
    token_scale,  # float32 [rows] or None
    bias,  # [N] or None
    residual,  # [M, N] or None
    y,  # [M, N]
    M,
    N: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = (columns < N) & (row < M)
    total = tl.load(product + row * WIDE + columns, mask=live, other=0).to(tl.float32)
    if row_scale is not None:
        total *= tl.load(row_scale + columns, mask=columns < N, other=0.0)
    if token_scale is not None:
        total *= tl.load(token_scale + row)
    finish(total, bias, residual, y, row, columns, live, N, ACTIVATION)
