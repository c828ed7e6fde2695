"""Small models with zeros in their weights, of the kinds that people compile."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import nn


def prune(model: nn.Module, sparsity: float = 0.9, seed: int = 5) -> Any:
    """Zero a share of every matrix but embeddings at random, in place; returns the model in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for weight in () if isinstance(module, nn.Embedding) else module.parameters(recurse=False):
                if weight.dim() == 2:
                    keep = torch.rand(weight.shape, generator=generator) >= sparsity
                    weight.copy_(torch.where(keep, weight, 0.0))
    return model.eval()


def mlp(*sizes: int, activation: type[nn.Module] = nn.ReLU, sparsity: float = 0.9) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k, n in pairwise(sizes):
        layers += [nn.Linear(k, n), activation()]
    return prune(nn.Sequential(*layers[:-1]), sparsity)  # type: ignore[no-any-return]


class Tied(nn.Module):
    """An embedding whose weight is the head's, and one linear layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 16)
        self.body = nn.Linear(16, 16)
        self.head = nn.Linear(16, 40, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.body(self.embedding(tokens)).relu()
        return self.head(self.body(x).relu())  # type: ignore[no-any-return]


class Shared(nn.Module):
    """Two linear modules of one weight and bias, and a third with equal contents of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight, self.second.bias = self.first.weight, self.first.bias
        self.third.load_state_dict(self.first.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x)))  # type: ignore[no-any-return]


class Counter(nn.Module):
    """Counts its calls in a buffer, in place."""

    calls: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(32, 8)
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls.add_(1)
        return self.fc(x), self.calls.clone()


class Cache(nn.Module):
    """Writes each step's row into a buffer and sums what is there, as a key-value cache would."""

    rows: torch.Tensor

    def __init__(self, length: int = 6) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.register_buffer("rows", torch.zeros(length, 16))

    def forward(self, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        self.rows.index_copy_(0, at, self.fc(x))
        return self.rows.sum(0)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4 * 6 * 6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.max_pool2d(self.norm(self.conv(x)).relu(), 2).flatten(1))  # type: ignore[no-any-return]


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Structured(nn.Module):
    """Keywords, an optional argument, and a result of everything nested in everything."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 8)

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, *, scale: float = 1.0, extra: Any = None
    ) -> dict[str, Any]:
        y = self.fc(x) * scale
        if mask is not None:
            y = y * mask
        more = [] if extra is None else [extra["a"] + 1, extra["b"][0]]
        return {"pair": Pair(y, x), "list": [y + 1, None, (y.sum(),)], "more": more}


def encoder_layer(width: int = 32, activation: str = "gelu") -> nn.Module:
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation=activation, batch_first=True)
    return prune(layer)  # type: ignore[no-any-return]
