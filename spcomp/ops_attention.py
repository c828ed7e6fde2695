"""The op of attention between layers that work on tiles.

``spcomp::tiles_attention_v1(Tensor q, Tensor k, Tensor v, int[] firsts, int count, int width, int length, float scale)
-> Tensor``: q, k and v are features of tiles [tiles, features, 16], often of the same ones. What it means is
:func:`tiles_attention`; how it is computed, :mod:`spcomp.codegen.mlir_cpu.attention`.
"""

from __future__ import annotations

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

    @staticmethod
    def of(firsts: Sequence[int], count: int, width: int, length: int, scale: float) -> Heads:
        """From the op's numbers."""
        q, k, v = firsts
        return Heads((q, k, v), count, width, length, scale)

    @property
    def numbers(self) -> dict[str, Any]:
        """As the op takes them, in its order."""
        return asdict(self) | {"firsts": list(self.firsts)}

    @property
    def features(self) -> int:
        """Of a row of q, k, v or the result."""
        return self.count * self.width


def tiles_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: Heads) -> torch.Tensor:
    """softmax(q k^T scale) v of every head of every sequence: tiles [T, F, 16] to tiles [T, features, 16]; what it
    means, in plain torch. Rows of a last tile beyond the length are neither keys nor worth reading."""
    tiles = q.shape[0]
    rows = -(-heads.length // LANES) * LANES

    def split(xs: torch.Tensor, first: int) -> torch.Tensor:
        mine = xs[:, first : first + heads.features].transpose(1, 2)
        return mine.reshape(tiles * LANES // rows, rows, heads.count, heads.width).transpose(1, 2)

    parts = [split(xs, first) for xs, first in zip((q, k, v), heads.firsts, strict=True)]
    keys, values = (part[:, :, : heads.length] for part in parts[1:])
    y = torch.nn.functional.scaled_dot_product_attention(parts[0], keys, values, scale=heads.scale)
    return y.transpose(1, 2).reshape(tiles, LANES, heads.features).transpose(1, 2).contiguous()


_library = torch.library.Library("spcomp", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(  # type: ignore[no-untyped-call]
    "tiles_attention_v1(Tensor q, Tensor k, Tensor v, int[] firsts, int count, int width, int length, float scale)"
    " -> Tensor"
)
_library.impl(  # type: ignore[no-untyped-call]
    "tiles_attention_v1", lambda q, k, v, *numbers: tiles_attention(q, k, v, Heads.of(*numbers)), "CPU"
)


@torch.library.register_fake("spcomp::tiles_attention_v1")  # type: ignore[untyped-decorator]
def _fake(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *numbers: Any) -> torch.Tensor:
    return q.new_empty((q.shape[0], Heads.of(*numbers).features, LANES))


TILES_ATTENTION = torch.ops.spcomp.tiles_attention_v1.default
