"""The end of every kernel: add bias and residual, activate, store."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def activate(total, ACTIVATION: tl.constexpr):
    """The activation of float32 sums. NaN stays NaN."""
    if ACTIVATION == "relu":
        total = tl.where(total < 0, 0.0, total)
    elif ACTIVATION == "gelu":
        total = 0.5 * total * (1.0 + tl.erf(total * 0.7071067811865476))
    elif ACTIVATION == "gelu_tanh":
        # 0.5 * (1 + tanh(u)) is sigmoid(2 * u)
        total = total * tl.sigmoid(1.5957691216057308 * (total + 0.044715 * total * total * total))
    elif ACTIVATION == "silu":
        total = total * tl.sigmoid(total)
    return total


@triton.jit
def finish(total, bias, residual, y, rows, columns, live, N: tl.constexpr, ACTIVATION: tl.constexpr):
    """``y[rows, columns] = activate(total + bias[columns] + residual[rows, columns])`` where ``live``.

    total float32; rows int64 and columns int32 that broadcast to its shape; bias and residual may be None.
    """
    if bias is not None:
        total += tl.load(bias + columns, mask=columns < N, other=0.0).to(tl.float32)
    if residual is not None:
        total += tl.load(residual + rows * N + columns, mask=live, other=0.0).to(tl.float32)
    tl.store(y + rows * N + columns, activate(total, ACTIVATION).to(y.dtype.element_ty), mask=live)
