"""What the tests of compile() share: quick options, a small compiled model, and how close is close enough."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

import spcomp
from spcomp.compiled import CompiledModule
from tests.kernels import relative
from tests.models import mlp

QUICK: dict[str, Any] = {"engine": "eager", "guard": False}
SPARSE: dict[str, Any] = {**QUICK, "policy": "force", "encodings": ["csr", "nm"], "memory_budget": 9.0}
"""Sparse kernels everywhere, however small the layer."""


def flat(value: Any) -> list[torch.Tensor]:
    return [t for t in pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


def agrees(compiled: CompiledModule, model: nn.Module, *args: Any, **kwargs: Any) -> None:
    """Same structure, and every tensor within 1e-5 in float32, 2e-2 (or twice dense's own error) in bfloat16."""
    with torch.no_grad():
        wanted = model(*args, **kwargs)
        found = compiled(*args, **kwargs)
        exact = copy.deepcopy(model).double()(*_double(args), **_double(kwargs))
    assert pytree.tree_structure(found) == pytree.tree_structure(wanted)
    for y, dense, truth in zip(flat(found), flat(wanted), flat(exact), strict=True):
        assert (y.shape, y.dtype) == (dense.shape, dense.dtype)
        if not y.is_floating_point():
            assert torch.equal(y, dense)
            continue
        limit = 2e-2 if y.dtype is torch.bfloat16 else 1e-5
        assert relative(y, truth) <= max(limit, 2 * relative(dense, truth))


def _double(values: Any) -> Any:
    return pytree.tree_map(lambda t: t.double() if isinstance(t, torch.Tensor) and t.is_floating_point() else t, values)


@functools.cache
def small() -> tuple[nn.Module, CompiledModule]:
    """An MLP with GELU, all layers sparse, any batch."""
    torch.manual_seed(1)
    model = mlp(70, 48, 40, 10, activation=nn.GELU)
    return model, spcomp.compile(model, torch.randn(20, 70), torch.randn(33, 70), **SPARSE)
