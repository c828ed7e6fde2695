"""Models that benchmarks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class BertLayer(nn.Module):
    """One encoder layer of BERT: separate q, k, v and output projections, post-LayerNorm, GELU. x [B, T, width]."""

    def __init__(self, width: int = 768, heads: int = 12, hidden: int = 3072) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, w = x.shape

        def split(y: torch.Tensor) -> torch.Tensor:
            return y.view(b, t, self.heads, w // self.heads).transpose(1, 2)

        a = F.scaled_dot_product_attention(split(self.query(x)), split(self.key(x)), split(self.value(x)))
        x = self.norm1(x + self.out(a.transpose(1, 2).reshape(b, t, w)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


def bert_chain(layers: int) -> nn.Sequential:
    """Distinct layers one after the other."""
    return nn.Sequential(*(BertLayer() for _ in range(layers)))


class BertBase(nn.Module):
    """A BERT-base-sized encoder: embeddings and twelve layers, 85 M weights in linear layers. ids [B, T] int64."""

    def __init__(self, layers: int = 12, width: int = 768, vocabulary: int = 30522, positions: int = 512) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(BertLayer(width) for _ in range(layers))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return x
