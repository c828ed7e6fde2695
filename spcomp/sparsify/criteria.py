"""From scores to masks. A mask is boolean, True where the weight is kept.

Everything works on matrices (N, K). Of equal scores the one that comes first in row-major order is pruned first, so
counts are exact and results do not depend on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F


def magnitude(matrix: Tensor) -> Tensor:
    """The magnitude of every weight, (N, K), float32 (float64 for float64 weights)."""
    wide = torch.float64 if matrix.dtype == torch.float64 else torch.float32
    return matrix.detach().to(wide).abs()


def block_magnitude(matrix: Tensor, rows: int, cols: int) -> Tensor:
    """The sum of squares of every aligned block, (ceil(N/rows), ceil(K/cols)), float64; ragged blocks included.

    The order is that of the L2 norm; squares of float32 are exact in float64.
    """
    height, width = matrix.shape
    squares = matrix.detach().to(torch.float64).square()
    padded = F.pad(squares, (0, -width % cols, 0, -height % rows))
    return padded.reshape(-(-height // rows), rows, -(-width // cols), cols).sum(dim=(1, 3))


def expand_blocks(block_mask: Tensor, rows: int, cols: int, shape: tuple[int, int]) -> Tensor:
    """A mask of blocks as a mask of weights, cut to ``shape`` = (N, K)."""
    whole = block_mask.repeat_interleave(rows, dim=0).repeat_interleave(cols, dim=1)
    return whole[: shape[0], : shape[1]]


def count_to_prune(sparsity: float, elements: int) -> int:
    """The fewest zeros that make ``Unstructured(sparsity)`` hold: ``ceil(sparsity * elements)``, in exact decimals."""
    return math.ceil(Fraction(Decimal(repr(float(sparsity)))) * elements)


def keep_largest(scores: Sequence[Tensor], prune: int) -> list[Tensor]:
    """Masks, one for each tensor of scores, that prune the ``prune`` smallest over all of them.

    Given one tensor this is layer scope; given all layers' it is global scope. Scores hold no NaN.
    """
    flat = torch.cat([s.flatten() for s in scores])
    mask = torch.ones_like(flat, dtype=torch.bool)
    if prune:
        threshold = flat.kthvalue(prune).values
        mask = flat > threshold
        ties = (flat == threshold).nonzero().flatten()
        pruned_ties = prune - int((flat < threshold).sum())
        mask[ties[pruned_ties:]] = True
    parts = torch.split(mask, [s.numel() for s in scores])
    return [part.reshape(s.shape) for part, s in zip(parts, scores, strict=True)]


def keep_n_of_m(scores: Tensor, n: int, m: int, axis: int) -> Tensor:
    """A mask (N, K) that keeps the ``n`` largest of each aligned group of ``m`` along ``axis`` (1: along K).

    A ragged last group of r < m keeps its min(n, r) largest. Of equals the last in the group is kept.
    """
    along = scores if axis == 1 else scores.T
    length = along.shape[1]
    padded = F.pad(along, (0, -length % m), value=float("-inf"))
    groups = padded.reshape(along.shape[0], -(-length // m), m)
    order = groups.argsort(dim=-1, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., m - n :], True)
    cut = mask.flatten(1)[:, :length]
    return cut if axis == 1 else cut.T


def keep_vnm(scores: Tensor, v: int, n: int, m: int, columns: int) -> Tensor:
    """A mask (N, K): in each aligned block of ``v`` x ``m`` the ``columns`` of the largest sum of squares, and of those
    the ``n`` largest in each row. Ragged blocks count as blocks; of equals the last is kept.

    Scores below 0 are of what may not be kept: they add nothing to their column. The order of choice is that of Castro
    et al., SC 2023: columns, then rows.
    """
    strips = block_magnitude(scores.clamp(min=0), v, 1)
    chosen = expand_blocks(keep_n_of_m(strips, columns, m, 1), v, 1, (scores.shape[0], scores.shape[1]))
    return keep_n_of_m(scores.masked_fill(~chosen, float("-inf")), n, m, 1) & chosen
