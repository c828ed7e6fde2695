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


class Bottleneck(nn.Module):
    """ResNet's bottleneck: 1x1, 3x3 (with the stride), 1x1, each with BatchNorm; a projection where shapes differ."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1, self.norm1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.norm3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


class ResNet50(nn.Module):
    """ResNet-50's layers and sizes: x [B, 3, 224, 224] -> [B, 1000]. ``depth``: blocks of each stage."""

    def __init__(self, depth: tuple[int, ...] = (3, 4, 6, 3), classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64))
        blocks: list[nn.Module] = []
        channels = 64
        for stage, count in enumerate(depth):
            for i in range(count):
                blocks.append(Bottleneck(channels, 64 << stage, 2 if i == 0 and stage else 1))
                channels = 256 << stage
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        return self.head(self.blocks(y).mean((2, 3)))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """One decoder layer of GPT-2 at one token: q, k and v in one projection, keys and values kept in buffers."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.register_buffer("keys", torch.randn(1, heads, context, width // heads))
        self.register_buffer("values", torch.randn(1, heads, context, width // heads))

    def forward(self, x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).view(1, 3, self.heads, 1, -1).unbind(1)
        self.keys.index_copy_(2, position, k)  # type: ignore[operator]
        self.values.index_copy_(2, position, v)  # type: ignore[operator]
        a = F.scaled_dot_product_attention(q, self.keys, self.values)  # type: ignore[arg-type]
        x = x + self.out(a.reshape(1, 1, -1))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2Decode(nn.Module):
    """GPT-2-small-shaped decoding of one token with a full cache and a tied head. token [1], position [1] -> logits."""

    def __init__(self, layers: int = 12, width: int = 768, vocabulary: int = 50257, context: int = 128) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(1024, width)
        self.layers = nn.ModuleList(DecoderLayer(width, 12, context) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, token: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        x = (self.tokens(token) + self.positions(position)).unsqueeze(0)
        for layer in self.layers:
            x = layer(x, position)
        return self.head(self.norm(x))  # type: ignore[no-any-return]
