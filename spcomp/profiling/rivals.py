"""Dense programs built without spcomp: oneDNN-prepacked linear layers inside Inductor, and Inductor alone."""

from __future__ import annotations

import copy
import itertools
import weakref

import torch
from torch import nn

_library = torch.library.Library("spcomp_rival", "DEF")  # type: ignore[no-untyped-call]
_library.define("linear(Tensor x, Tensor? bias, int weight, int n) -> Tensor")  # type: ignore[no-untyped-call]
_numbers = itertools.count()
_layers: weakref.WeakValueDictionary[int, PackedLinear] = weakref.WeakValueDictionary()


class PackedLinear(nn.Module):
    """A linear layer with a weight reordered by oneDNN for about ``rows`` rows."""

    def __init__(self, layer: nn.Linear, rows: int) -> None:
        super().__init__()
        self.n = layer.out_features
        self.bias = layer.bias
        self.packed = (torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().clone(), rows),)
        self.number = next(_numbers)
        _layers[self.number] = self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.spcomp_rival.linear(x, self.bias, self.number, self.n)  # type: ignore[no-any-return]


def _linear(x: torch.Tensor, bias: torch.Tensor | None, weight: int, n: int) -> torch.Tensor:
    packed = _layers[weight].packed[0]
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")  # type: ignore[no-any-return]


_library.impl("linear", _linear, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp_rival::linear")  # type: ignore[untyped-decorator]
def _fake(x: torch.Tensor, bias: torch.Tensor | None, weight: int, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


def onednn_inductor(model: nn.Module, rows: int) -> nn.Module:
    """``model`` with every linear layer prepacked for about ``rows`` rows; everything else fused by Inductor."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, PackedLinear(child, rows))
    return torch.compile(model, fullgraph=True)  # type: ignore[return-value]


def plain_inductor(model: nn.Module) -> nn.Module:
    """``torch.compile`` as it comes, linear layers by MKL."""
    return torch.compile(copy.deepcopy(model), fullgraph=True)  # type: ignore[return-value]
