"""Whole models for "never slower", from a few kilobytes to the size of BERT-base, unpruned to 95 % zeros."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.harness import prune_
from benchmarks.models import BertBase, BertLayer, Bottleneck, Gpt2Decode

Inputs = tuple[torch.Tensor, ...]


class PatchTransformer(nn.Module):
    """A small vision transformer: patches of 16 x 16, two encoder layers. x [B, 3, side, side] -> [B, 10]."""

    def __init__(self, width: int = 256, side: int = 96) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 16, 16)
        self.positions = nn.Parameter(torch.randn(1, (side // 16) ** 2, width) / 8)
        self.layers = nn.Sequential(*(BertLayer(width, 4, 4 * width) for _ in range(2)))
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.layers(y).mean(1))  # type: ignore[no-any-return]


class SmallResNet(nn.Module):
    """A stem and bottlenecks at 32 x 32 and 16 x 16. x [B, 3, 32, 32] -> [B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.blocks = nn.Sequential(Bottleneck(64, 64, 1), Bottleneck(256, 64, 1), Bottleneck(256, 128, 2))
        self.head = nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))  # type: ignore[no-any-return]


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def _bert(layers: int, tokens: int) -> tuple[nn.Module, Inputs]:
    return BertBase(layers), (torch.randint(0, 30000, (1, tokens)),)


MODELS: dict[str, Callable[[], tuple[nn.Module, Inputs]]] = {
    "mlp_tiny": lambda: (mlp(64, 64, 10), (torch.randn(8, 64),)),
    "mlp_mnist": lambda: (mlp(784, 1024, 1024, 10), (torch.randn(32, 784),)),
    "mlp_wide": lambda: (mlp(768, 3072, 768, 3072, 768), (torch.randn(128, 768),)),
    "lenet": lambda: (_lenet(), (torch.randn(4, 1, 28, 28),)),
    "resnet_small": lambda: (SmallResNet(), (torch.randn(1, 3, 32, 32),)),
    "vit_small": lambda: (PatchTransformer(), (torch.randn(1, 3, 96, 96),)),
    "bert_layer": lambda: (BertLayer(), (torch.randn(1, 128, 768),)),
    "gpt2_2": lambda: (Gpt2Decode(2, vocabulary=8192), (torch.tensor([7]), torch.tensor([127]))),
    "bert_base": lambda: _bert(12, 128),
}


@dataclass(frozen=True)
class ModelCase:
    """A model of :data:`MODELS` with zeros as :func:`~benchmarks.harness.prune_` makes them."""

    model: str
    pattern: str
    zeros: float

    @property
    def key(self) -> str:
        return f"{self.model}_{self.pattern.replace('unstructured', 'u')}_{round(100 * self.zeros)}"

    def made(self) -> tuple[nn.Module, Inputs]:
        """The pruned model and its inputs."""
        torch.manual_seed(0)
        model, inputs = MODELS[self.model]()
        prune_(model, self.zeros, self.pattern)
        return model.eval(), inputs


def model_cases() -> list[ModelCase]:
    """Twenty, the models one after the other, so that their dense programs are compiled once."""
    u = "unstructured"
    chosen = {
        "mlp_tiny": ((u, 0.0), (u, 0.9)),
        "mlp_mnist": ((u, 0.5), (u, 0.95)),
        "mlp_wide": ((u, 0.0), (u, 0.8), ("8x8", 0.9)),
        "lenet": ((u, 0.3), (u, 0.9)),
        "resnet_small": ((u, 0.6), (u, 0.9)),
        "vit_small": ((u, 0.5), ("2:4", 0.5), (u, 0.95)),
        "bert_layer": (("8x1", 0.8), (u, 0.9)),
        "gpt2_2": (("2:4", 0.5), (u, 0.9)),
        "bert_base": ((u, 0.0), (u, 0.9)),
    }
    return [ModelCase(name, pattern, zeros) for name, cases in chosen.items() for pattern, zeros in cases]
