"""Prune a small transformer block's linear layers, compile, run, and compare with the original."""

from __future__ import annotations

import torch
from torch import nn

import spcomp
from spcomp import Recipe, Unstructured


class FeedForward(nn.Module):
    """Two linear layers with GELU between, and a skip connection."""

    def __init__(self, width: int = 256, hidden: int = 1024) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
        return y


def main() -> None:
    torch.manual_seed(0)
    model = FeedForward().eval()
    spcomp.sparsify(model, Recipe(Unstructured(0.9))).remove()

    # Two examples whose batch differs: the batch is dynamic, the rest is fixed.
    fast = spcomp.compile(model, torch.randn(8, 256), torch.randn(32, 256))

    x = torch.randn(5, 256)
    with torch.no_grad():
        error = (fast(x) - model(x)).abs().max() / model(x).abs().max()
    print(fast.explain())
    print(f"largest difference from the original: {error:.1e} of the largest output")
    print(f"{fast.nbytes / 1e6:.2f} MB resident, {fast.dense_nbytes / 1e6:.2f} MB dense")
    assert error < 1e-4


if __name__ == "__main__":
    main()
