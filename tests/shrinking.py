"""Running the passes on small networks and looking at what is left of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from spcomp.capture import Example, capture
from spcomp.passes.base import PassContext, verify
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.flatten import Flatten
from spcomp.passes.propagate_sparsity import PropagateSparsity


def prepared(model: nn.Module, *examples: Any) -> fx.GraphModule:
    """Captured, flattened, canonical, annotated."""
    gm = Flatten().run(capture(model.eval(), [Example.of(e) for e in examples]).gm, PassContext())
    return PropagateSparsity().run(Canonicalize().run(gm, PassContext()), PassContext())


def shrunk(model: nn.Module, *examples: Any, rtol: float = 1e-10) -> fx.GraphModule:
    """What is left of a model; it computes the same as before on the examples and on other numbers."""
    gm = EliminateDead().run(prepared(model, *examples), PassContext())
    verify(gm, "eliminate-dead")
    for example in examples:
        flat = torch.utils._pytree.tree_leaves(example)
        for scale in (1.0, -3.0):
            given = [t * scale if t.is_floating_point() else t for t in flat]
            again = torch.utils._pytree.tree_unflatten(given, torch.utils._pytree.tree_flatten(example)[1])
            with torch.no_grad():
                call = Example.of(again)
                wanted = torch.utils._pytree.tree_leaves(model(*call.args, **call.kwargs))
                found = gm(*given)
            for a, b in zip(found, wanted, strict=True):
                assert a.shape == b.shape
                assert float((a - b).abs().max()) <= rtol * max(1e-3, float(b.abs().max()))
    return gm


def weights(gm: fx.GraphModule) -> list[tuple[int, ...]]:
    """Shapes of the weights of linear layers and convolutions, in order."""
    ops = torch.ops.aten.linear.default, torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding
    found = []
    for node in gm.graph.nodes:
        if node.op == "call_function" and node.target in ops:
            found.append(tuple(node.args[1].meta["val"].shape))
    return found


DEAD = (1, 4)


class Between(nn.Module):
    """linear 6 -> 8, some function of its result, and what it returns is read by a linear layer.

    Rows 1 and 4 of the first one are zero; ``constants`` are their biases.
    """

    def __init__(
        self, fn: Callable[..., Tensor], features: int = 8, constants: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        super().__init__()
        self.first, self.fn, self.last = nn.Linear(6, 8), fn, nn.Linear(features, 5)
        self.w = nn.Parameter(torch.randn(8))
        with torch.no_grad():
            for row, constant in zip(DEAD, constants, strict=True):
                self.first.weight[row] = 0
                self.first.bias[row] = constant
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.fn(self.first(x), self.w))  # type: ignore[no-any-return]


class Planes(nn.Module):
    """conv 3 -> 8, some function of planes, conv to 5. Channels 1 and 4 of the first one are constants."""

    def __init__(
        self, fn: Callable[..., Tensor], constants: tuple[float, float] = (0.0, 0.0), size: int = 1, padding: int = 0,
        features: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.first, self.fn = nn.Conv2d(3, 8, 3, padding=1), fn
        self.last = nn.Conv2d(features, 5, size, padding=padding)
        self.norm = nn.BatchNorm2d(8)
        with torch.no_grad():
            self.norm.running_mean.normal_()  # type: ignore[union-attr]
            for row, constant in zip(DEAD, constants, strict=True):
                self.first.weight[row] = 0
                self.first.bias[row] = constant  # type: ignore[index]
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.fn(self.first(x), self))  # type: ignore[no-any-return]
