"""The dense rival, built without spcomp's compiler: oneDNN-prepacked linear layers inside an Inductor graph."""

from __future__ import annotations

import copy

import torch
from torch import nn

_library = torch.library.Library("spcomp_bench", "DEF")
_library.define("linear(Tensor x, Tensor? bias, int weight, int n) -> Tensor")
_weights: list[torch.Tensor] = []


def _linear(x: torch.Tensor, bias: torch.Tensor | None, weight: int, n: int) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, _weights[weight], bias, "none", [], "")  # type: ignore[no-any-return]


_library.impl("linear", _linear, "CPU")


@torch.library.register_fake("spcomp_bench::linear")
def _fake(x: torch.Tensor, bias: torch.Tensor | None, weight: int, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


class PackedLinear(nn.Module):
    """A linear layer with a weight reordered by oneDNN for about ``rows`` rows."""

    def __init__(self, layer: nn.Linear, rows: int) -> None:
        super().__init__()
        self.n = layer.out_features
        self.bias = layer.bias
        _weights.append(torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().clone(), rows))
        self.weight = len(_weights) - 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.spcomp_bench.linear(x, self.bias, self.weight, self.n)  # type: ignore[no-any-return]


def onednn_inductor(model: nn.Module, rows: int) -> nn.Module:
    """``model`` with every linear layer prepacked, compiled by Inductor; everything else fused by it."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child, rows))
    return torch.compile(model, fullgraph=True)  # type: ignore[return-value]


def plain_inductor(model: nn.Module) -> nn.Module:
    """``torch.compile`` as it comes, linear layers by MKL."""
    return torch.compile(copy.deepcopy(model), fullgraph=True)  # type: ignore[return-value]
