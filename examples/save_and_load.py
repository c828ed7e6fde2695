"""Compile once, save, and load in another process: one file, no pickle, no original model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

import spcomp
from spcomp import Block, Recipe


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    spcomp.sparsify(model, Recipe(Block(8, 1), 0.9)).remove()
    x = torch.randn(16, 256)
    compiled = spcomp.compile(model, x)

    with tempfile.TemporaryDirectory() as folder:
        path = compiled.save(Path(folder) / "model.spc")
        dense = sum(p.nbytes for p in model.parameters())
        print(f"saved {path.stat().st_size} bytes; the weights alone are {dense} dense")
        loaded = spcomp.load(path)

    assert torch.allclose(loaded(x), compiled(x), rtol=1e-5, atol=1e-5)
    print("the loaded model computes what the compiled one did")


if __name__ == "__main__":
    main()
