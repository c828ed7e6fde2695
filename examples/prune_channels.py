"""Channels that are zeroed are gone after compiling: the model shrinks and computes the same."""

from __future__ import annotations

import torch
from torch import nn

import spcomp

DEAD = 0.4


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 64)).eval()
    with torch.no_grad():
        for layer in (model[0], model[2]):
            weakest = layer.weight.abs().sum(1).argsort()[: round(DEAD * layer.out_features)]
            layer.weight[weakest] = 0  # the rows go; their biases are constants that the next layer takes over
    x = torch.randn(32, 256)
    compiled = spcomp.compile(model, x, engine="eager", guard=False)

    print(compiled.explain())
    for layer, decision in zip((model[0], model[2], model[4]), compiled.explain().decisions, strict=True):
        print(f"layer {decision.layer}: {tuple(layer.weight.shape)} before, ({decision.n}, {decision.k}) now")
    print(f"{compiled.nbytes} bytes of {compiled.dense_nbytes}")

    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    assert compiled.nbytes < compiled.dense_nbytes

    whole = spcomp.compile(model, x, engine="eager", guard=False, shrink=False)
    assert [(d.n, d.k) for d in whole.explain().decisions] == [(512, 256), (512, 512), (64, 512)]


if __name__ == "__main__":
    main()
