"""The op of attention between layers that work on tiles.

``spcomp::tiles_attention_v2(Tensor q, Tensor k, Tensor v, Tensor? mask, int[] firsts, int count, int width, int length,
float scale, bool causal) -> Tensor``: q, k and v are features of tiles [tiles, features, 16], often of the same ones;
mask [sequences or 1, heads or 1, tiles of queries, keys, 16] is added to the scores. What it means is
:func:`tiles_attention`; how it is computed, :mod:`spcomp.codegen.mlir_cpu.attention`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from spcomp.ops import LANES


@dataclass(frozen=True)
class Heads:
    """How attention reads its operands: heads of ``width`` features side by side, from ``firsts`` on in each."""

    firsts: tuple[int, int, int]
    """The first feature of q, k and v."""
    count: int
    width: int
    length: int
    """Rows of a sequence: a multiple of sixteen where there are several."""
    scale: float
    causal: bool = False
    """Whether a query sees the keys up to its own alone; then the length is a multiple of sixteen."""

    @staticmethod
    def of(firsts: Sequence[int], count: int, width: int, length: int, scale: float, causal: bool) -> Heads:
        """From the op's numbers."""
        q, k, v = firsts
        return Heads((q, k, v), count, width, length, scale, causal)

    @property
    def numbers(self) -> dict[str, Any]:
        """As the op takes them, in its order."""
        return asdict(self) | {"firsts": list(self.firsts)}

    @property
    def features(self) -> int:
        """Of a row of q, k, v or the result."""
        return self.count * self.width


def mask_shape(heads: Heads, sequences: int, shape: Sequence[int]) -> tuple[int, int, int, int, int] | None:
    """Of a mask on tiles, for one of ``shape`` that broadcasts to [sequences, heads, queries, keys]; None if not so."""
    if len(shape) > 4:
        return None
    whole = [1] * (4 - len(shape)) + list(shape)
    most = (sequences, heads.count, heads.length, heads.length)
    if any(size not in (1, full) for size, full in zip(whole, most, strict=True)):
        return None
    return whole[0], whole[1], -(-heads.length // LANES), heads.length, LANES


def mask_tiles(mask: torch.Tensor, heads: Heads) -> torch.Tensor:
    """A mask of :func:`mask_shape`, as attention on tiles takes it: what is added to the scores, of booleans too."""
    if mask.dtype is torch.bool:
        mask = torch.where(mask, 0.0, -math.inf)
    whole = mask.reshape([1] * (4 - mask.dim()) + list(mask.shape))
    whole = whole.expand(-1, -1, heads.length, heads.length)
    padded = torch.nn.functional.pad(whole, (0, 0, 0, -heads.length % LANES))
    by_tile = padded.reshape(*padded.shape[:2], -1, LANES, heads.length)
    return by_tile.transpose(3, 4).contiguous()


def tiles_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, heads: Heads
) -> torch.Tensor:
    """softmax(q k^T scale + mask) v of every head of every sequence: tiles [T, F, 16] to tiles [T, features, 16]; what
    it means, in plain torch. Rows of a last tile beyond the length are neither keys nor worth reading; where all keys
    are masked by -inf, the result is 0."""
    tiles = q.shape[0]
    rows = -(-heads.length // LANES) * LANES

    def split(xs: torch.Tensor, first: int) -> torch.Tensor:
        mine = xs[:, first : first + heads.features].transpose(1, 2)
        return mine.reshape(tiles * LANES // rows, rows, heads.count, heads.width).transpose(1, 2)

    parts = [split(xs, first) for xs, first in zip((q, k, v), heads.firsts, strict=True)]
    keys, values = (part[:, :, : heads.length] for part in parts[1:])
    added = None if mask is None else mask.transpose(3, 4).flatten(2, 3)
    y = torch.nn.functional.scaled_dot_product_attention(
        parts[0], keys, values, attn_mask=added, is_causal=heads.causal, scale=heads.scale
    )
    return y.transpose(1, 2).reshape(tiles, LANES, heads.features).transpose(1, 2).contiguous()


_library = torch.library.Library("spcomp", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "tiles_attention_v2(Tensor q, Tensor k, Tensor v, Tensor? mask, int[] firsts, int count, int width, int length,"
    " float scale, bool causal) -> Tensor"
)
_library.impl(  # type: ignore[no-untyped-call]
    "tiles_attention_v2", lambda q, k, v, mask, *numbers: tiles_attention(q, k, v, mask, Heads.of(*numbers)), "CPU"
)


@torch.library.register_fake("spcomp::tiles_attention_v2")  # type: ignore[untyped-decorator]
def _fake(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, *numbers: Any) -> torch.Tensor:
    return q.new_empty((q.shape[0], Heads.of(*numbers).features, LANES))


TILES_ATTENTION = torch.ops.spcomp.tiles_attention_v2.default
