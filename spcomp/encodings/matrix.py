"""A convolution's weight as the matrix that is encoded, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def matrix_of(weight: torch.Tensor) -> torch.Tensor:
    """[n, C, ...kernel] -> [n, ...kernel * C]: input channels become neighbours. A linear weight stays as it is."""
    if weight.dim() == 2:
        return weight
    return weight.movedim(1, -1).reshape(weight.shape[0], math.prod(weight.shape[1:]))


def weight_of(matrix: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The inverse of :func:`matrix_of` for one output channel's ``shape`` (C, ...kernel)."""
    channels, *kernel = shape
    return matrix.reshape(matrix.shape[0], *kernel, channels).movedim(-1, 1)
