"""Random one-layer models for "never slower": sizes, patterns, shares of zeros and row counts from a fixed seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.harness import prune_

PATTERNS = ("unstructured", "2:4", "1:4", "4:8", "8x1", "4x4", "8x8", "16x16", "dead channels")
ACTIVATIONS = (None, nn.ReLU, nn.GELU, nn.SiLU)
SIZES = (64, 4096)
MOST_ROWS = 512
MOST_WEIGHTS = 6 << 20
"""Larger draws are drawn again: most of the time of the run would go into a few layers."""
CONV_SHARE = 0.1
PLANES = (7, 56)
CHANNELS = (16, 256)


@dataclass(frozen=True)
class LayerCase:
    """One layer. Of a convolution ``n`` and ``k`` are channels out and in, ``m`` is the side of its square planes."""

    n: int
    k: int
    m: int
    pattern: str
    zeros: float
    activation: int
    bias: bool
    kernel: int = 0
    """Side of a convolution's kernel; 0 is a linear layer."""

    @property
    def key(self) -> str:
        kind = f"conv{self.kernel}x{self.kernel}_" if self.kernel else ""
        return f"{kind}{self.n}x{self.k}_m{self.m}_{self.pattern.replace(' ', '-')}_{round(100 * self.zeros)}"

    def made(self, seed: int) -> tuple[nn.Module, torch.Tensor]:
        """The layer with its zeros, and an input."""
        g = torch.Generator().manual_seed(seed)
        layer: nn.Linear | nn.Conv2d
        if self.kernel:
            layer = nn.Conv2d(self.k, self.n, self.kernel, padding=self.kernel // 2, bias=self.bias)
            x = torch.randn(1, self.k, self.m, self.m, generator=g)
        else:
            layer = nn.Linear(self.k, self.n, bias=self.bias)
            x = torch.randn(self.m, self.k, generator=g)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=g))
            if self.pattern == "dead channels":
                for dim in (0, 1):
                    live = torch.rand(layer.weight.shape[dim], generator=g) >= 1 - math.sqrt(1 - self.zeros)
                    layer.weight.mul_(live.reshape([-1 if d == dim else 1 for d in range(layer.weight.dim())]))
            else:
                prune_(layer, self.zeros, self.pattern, seed=seed)
        kind = ACTIVATIONS[self.activation]
        return nn.Sequential(layer, *([] if kind is None else [kind()])).eval(), x


def layer_cases(count: int, seed: int = 17) -> list[LayerCase]:
    """The first ``count`` cases; fewer are a prefix of more."""
    draw = random.Random(seed)

    def log_uniform(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    def size(low: int, high: int) -> int:
        found = log_uniform(low, high)
        return found if draw.random() < 0.4 else max(low, found // 32 * 32)

    found: list[LayerCase] = []
    while len(found) < count:
        pattern, zeros = draw.choice(PATTERNS), round(draw.uniform(0.0, 0.99), 2)
        zeros = {"2:4": 0.5, "4:8": 0.5, "1:4": 0.75}.get(pattern, zeros)
        activation, bias = draw.randrange(len(ACTIVATIONS)), draw.random() < 0.7
        if draw.random() < CONV_SHARE:
            case = LayerCase(
                size(*CHANNELS), size(*CHANNELS), log_uniform(*PLANES), pattern, zeros, activation, bias,
                draw.choice((1, 3)),
            )  # fmt: skip
        else:
            n, k = size(*SIZES), size(*SIZES)
            case = LayerCase(n, k, log_uniform(1, MOST_ROWS), pattern, zeros, activation, bias)
        if case.n * case.k <= MOST_WEIGHTS and case.key not in {c.key for c in found}:
            found.append(case)
    return found
