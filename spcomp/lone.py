"""Programs that consist of one layer, and the short way to call them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from spcomp.ops import CONV, LINEAR

Quick = Callable[[object], torch.Tensor | None]
"""The result for one input, or None for whatever is not the usual call."""
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def quick_call(kernel: Callable[[torch.Tensor], torch.Tensor | None], shape: torch.Size, dtype: torch.dtype) -> Quick:
    """``kernel`` (or what calls some) behind the few looks that tell a usual input of one static shape.

    What it does not see as usual (gradients, autocast, another shape, device or class of tensor) is None: whoever
    looks longer serves it or says what is wrong. The looks take 1 us, less than a module in eager mode takes to find
    its weight; 5 to 13 us were lost beside kernels that empty the caches, the more Python the more.
    """
    cpu, strided = torch.device("cpu"), torch.strided
    autocasts, grads = torch._C._is_any_autocast_enabled, torch.is_grad_enabled

    def call(x: object) -> torch.Tensor | None:
        if (
            type(x) in _PLAIN
            and x.shape == shape  # type: ignore[attr-defined]
            and x.dtype is dtype  # type: ignore[attr-defined]
            and x.device == cpu  # type: ignore[attr-defined]
            and x.layout is strided  # type: ignore[attr-defined]
            and not grads()
            and not autocasts()
        ):
            return kernel(x)  # type: ignore[arg-type]
        return None

    return call


def lone_slot(graph: fx.Graph) -> int | None:
    """The slot of the one layer that a graph consists of, from its input to its result; None of any other graph.

    Such a layer is called without a graph, which would cost as much as a small kernel.
    """
    nodes = list(graph.nodes)
    if len(nodes) != 3 or nodes[0].op != "placeholder" or nodes[2].args != ((nodes[1],),):
        return None
    match nodes[1].target, nodes[1].args:
        case target, (x, int(slot), _) if target is LINEAR and x is nodes[0]:
            return slot
        case target, (x, None, int(slot), _) if target is CONV and x is nodes[0]:
            return slot
        case _:
            return None
