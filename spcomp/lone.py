"""Programs that consist of one layer, and the short way to call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from spcomp.ops import CONV, LINEAR

Quick = Callable[..., torch.Tensor | None]
"""The result for the inputs, or None for whatever is not the usual call."""
Look = tuple[torch.Size, torch.dtype]
_PLAIN = (torch.Tensor, torch.nn.Parameter)


def quick_call(kernel: Quick, looks: Sequence[Look]) -> Quick:
    """``kernel`` (or what calls some) behind the few looks that tell usual inputs of static shapes.

    What it does not see as usual (gradients, autocast, another shape, device or class of tensor) is None: whoever
    looks longer serves it or says what is wrong. The looks take 1 us, less than a module in eager mode takes to find
    its weight; 5 to 13 us were lost beside kernels that empty the caches, the more Python the more.
    """
    strided = torch.strided
    autocasts, grads = torch._C._is_any_autocast_enabled, torch.is_grad_enabled

    def calls(*given: Any) -> torch.Tensor | None:
        if len(given) != len(looks) or grads() or autocasts():
            return None
        for x, (shape, dtype) in zip(given, looks, strict=True):
            if (
                type(x) not in _PLAIN
                or x.shape != shape
                or x.dtype is not dtype
                or not x.is_cpu
                or x.layout is not strided
            ):
                return None
        return kernel(*given)

    return calls


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
