"""Launches of :mod:`spcomp.codegen.triton.ending`."""

from __future__ import annotations

import torch

from spcomp.codegen.triton.ending import end_rows, quantize_rows
from spcomp.codegen.triton.launch import Constants, Launch, ceil_div

BLOCK = 1024


def quantising(x: torch.Tensor, numbers: torch.Tensor, scales: torch.Tensor, most: float, lift: float) -> Launch:
    """x [M, K] -> numbers [rows, wide] and scales [rows]; rows and wide at least M and K."""
    constants: Constants = {"K": x.shape[1], "WIDE": numbers.shape[1], "MOST": most, "LIFT": lift, "BLOCK": BLOCK}
    return Launch(quantize_rows, (len(numbers),), (x, numbers, scales, len(x)), constants, 4)


def ending(
    product: torch.Tensor,
    row_scale: torch.Tensor | None,
    token_scale: torch.Tensor | None,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    y: torch.Tensor,
    activation: str,
) -> Launch:
    """product [rows, wide] -> y [M, N]: scaled, ended and rounded once."""
    m, n = y.shape
    constants: Constants = {"N": n, "WIDE": product.shape[1], "BLOCK": BLOCK, "ACTIVATION": activation}
    arguments = (product, row_scale, token_scale, bias, residual, y, m)
    return Launch(end_rows, (m, ceil_div(n, BLOCK)), arguments, constants, 4)
