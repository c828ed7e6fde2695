"""What the tests of pruning share: small models, and the bits of their weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from spcomp.sparsify import Sparsifier


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def one_layer(rows: int, cols: int, seed: int = 0) -> nn.Linear:
    layer = nn.Linear(cols, rows, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed)))
    return layer


def nonzero_bits(weight: Tensor) -> Tensor:
    return weight.detach().view(torch.int32) != 0


def nonzeros_of(layer: nn.Linear) -> Any:
    return nonzero_bits(layer.weight).numpy()


def train(model: nn.Module, sparsifier: Sparsifier, steps: int, inputs: int, optimizer: Any = None) -> None:
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(16, inputs)).square().sub(1).square().mean().backward()
        optimizer.step()
        sparsifier.step()
