"""Weights as int8, one scale a row: what ``quantize="int8"`` means for a weight."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spcomp.encodings.spec import Refusal
from spcomp.sparsity.facts import SparsityFacts
from spcomp.sparsity.measure import measure

MOST = 127
"""Largest magnitude of a quantised number: symmetric, -128 is not used."""
WIDEST = 1 << 17
"""Input features up to which 127 * 127 * K fits in 32 bits."""
EXTREME = 2.0**60
"""Weights beyond this, and rows whose largest is below its inverse, are refused: scales must multiply without loss."""


@dataclass(frozen=True, eq=False)
class Int8Weight:
    """``weight[n, k]`` is about ``values[n, k] * scale[n]``, wrong by half a scale at most; zeros are exact."""

    values: torch.Tensor
    """int8 [N, K]."""
    scale: torch.Tensor
    """float32 [N]: largest magnitude of the row / 127; 1 for a row of zeros."""
    facts: SparsityFacts
    """Of ``values``: small weights may have become zeros."""


def quantize_weight(weight: torch.Tensor) -> Int8Weight | Refusal:
    """Quantise a matrix [N, K] of any floating dtype: symmetric, by row, rounded to the nearest, ties to even.

    A weight that is not finite, or too large or too small for float32 scales, is refused.
    """
    if weight.shape[1] > WIDEST:
        return Refusal(f"{weight.shape[1]} columns are more than the {WIDEST} whose int8 products fit in 32 bits")
    wide = weight.detach().to(torch.float32)
    if not bool(torch.isfinite(wide).all()):
        return Refusal("the weight has Inf or NaN, which int8 has not")
    largest = wide.abs().amax(dim=1) if weight.shape[1] else wide.new_zeros(weight.shape[0])
    live = largest > 0
    if bool((live & ((largest > EXTREME) | (largest < 1 / EXTREME))).any()):
        return Refusal("a row of the weight has its largest magnitude outside 2**-60 to 2**60")
    scale = torch.where(live, largest / MOST, 1.0)
    inverse = torch.where(live, MOST / largest, 0.0)
    values = torch.round(wide * inverse[:, None]).to(torch.int8)
    return Int8Weight(values, scale, measure(values))


def dequantize(values: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The weight [N, K] that ``values`` and ``scale`` stand for, rounded to ``dtype``."""
    return (values.to(torch.float32) * scale[:, None]).to(dtype)
