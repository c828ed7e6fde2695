"""Dense programs built without spcomp's compiler: best dense linear layers inside Inductor, and Inductor alone."""

from __future__ import annotations

import copy
import itertools
import weakref
from collections.abc import Mapping

import torch
from torch import nn

from spcomp.codegen.dense import best_dense
from spcomp.encodings.dense import Dense
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.targets.host import host_cpu

_library = torch.library.Library("spcomp_rival", "DEF")  # type: ignore[no-untyped-call]
_library.define("linear(Tensor x, int layer, int n) -> Tensor")  # type: ignore[no-untyped-call]
_numbers = itertools.count()
_layers: weakref.WeakValueDictionary[int, DenseLinear] = weakref.WeakValueDictionary()


Sizes = tuple[int, int, bool, torch.dtype]
Measured = Mapping[int, Mapping[str, float]]


class DenseLinear(nn.Module):
    """A linear layer served by the :func:`~spcomp.codegen.dense.best_dense` of about ``rows`` rows, measured hot.

    ``known``: what layers of the same sizes came to before; those are not measured again.
    """

    def __init__(self, layer: nn.Linear, rows: int, known: dict[Sizes, Measured]) -> None:
        super().__init__()
        self.n = layer.out_features
        self.best = best_dense(_call(layer), layer.weight.detach(), layer.bias, (max(1, rows),))
        sizes = (layer.out_features, layer.in_features, layer.bias is not None, layer.weight.dtype)
        if sizes in known:
            self.best.settle(known[sizes])
        else:
            known[sizes] = self.best.measure()
        self.number = next(_numbers)
        _layers[self.number] = self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.spcomp_rival.linear(x, self.number, self.n)  # type: ignore[no-any-return]


def _call(layer: nn.Linear) -> KernelCall:
    weight = layer.weight
    return KernelCall(
        layer="rival", slot=0, rows=RowRange(0, None), n=layer.out_features, k=layer.in_features,
        dtype=str(weight.dtype).removeprefix("torch."), encoding=Dense(), nonzeros=weight.numel(),
        stored=weight.numel(), weight_nbytes=weight.nbytes, packed="", epilogue=Epilogue(layer.bias is not None),
        backend="dense", target=host_cpu().target,
    )  # fmt: skip


def _linear(x: torch.Tensor, layer: int, n: int) -> torch.Tensor:
    return _layers[layer].best(x)


_library.impl("linear", _linear, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp_rival::linear")  # type: ignore[untyped-decorator]
def _fake(x: torch.Tensor, layer: int, n: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], n))


def best_dense_inductor(model: nn.Module, rows: int) -> nn.Module:
    """``model`` with every linear layer served by best dense for about ``rows`` rows; the rest fused by Inductor."""
    model = copy.deepcopy(model)
    known: dict[Sizes, Measured] = {}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, DenseLinear(child, rows, known))
    return torch.compile(model, fullgraph=True)  # type: ignore[return-value]


def plain_inductor(model: nn.Module) -> nn.Module:
    """``torch.compile`` as it comes, linear layers by MKL."""
    return torch.compile(copy.deepcopy(model), fullgraph=True)  # type: ignore[return-value]
