"""What the 2:4 operators take: smallest multiples of sizes, dtypes of results, and when one must be asked to try."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Multiples:
    """Sizes that N and K of the weight and M of the input must be multiples of. ``results``: dtypes of y, the usual one
    first."""

    n: int
    k: int
    m: int
    results: tuple[torch.dtype, ...]
    oldest: tuple[int, int] = (8, 0)
    """Compute capability of the first GPU that multiplies this dtype."""

    def padded(self, n: int, k: int) -> tuple[int, int]:
        """N and K rounded up."""
        return up(n, self.n), up(k, self.k)


RULES = {
    torch.float16: Multiples(16, 16, 8, (torch.float16,)),
    torch.bfloat16: Multiples(16, 16, 8, (torch.bfloat16,)),
    torch.int8: Multiples(32, 32, 16, (torch.int32, torch.bfloat16, torch.float16, torch.int8)),
    torch.float8_e4m3fn: Multiples(
        32, 32, 16, (torch.bfloat16, torch.float16, torch.float32, torch.float8_e4m3fn), oldest=(8, 9)
    ),
}
"""cuSPARSELt's, as torch checks them (``torch.sparse.SparseSemiStructuredTensorCUSPARSELT``)."""
CUTLASS = {
    torch.float16: Multiples(32, 64, 8, (torch.float16,)),
    torch.bfloat16: Multiples(32, 64, 8, (torch.bfloat16,)),
}
"""CUTLASS's, with the tiles of the metadata."""


def too_old(dtype: torch.dtype, capability: tuple[int, int] | None) -> str | None:
    """Why a GPU of this compute capability multiplies no 2:4 of ``dtype``; None where it does, or is none."""
    oldest = RULES[dtype].oldest
    if capability is None or capability >= oldest:
        return None
    return f"the GPU has compute capability {capability[0]}.{capability[1]}; {dtype} came with {oldest[0]}.{oldest[1]}"


def up(value: int, unit: int) -> int:
    """``value`` rounded up to a multiple of ``unit``."""
    return -(-value // unit) * unit


def pad(tensor: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """``tensor`` with zeros below and to the right; itself where nothing is missing."""
    if tensor.shape == (rows, columns):
        return tensor
    out = tensor.new_zeros((rows, columns))
    out[: tensor.shape[0], : tensor.shape[1]] = tensor
    return out
