"""Bytes that a compiled model keeps: every memory once, all of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import spcomp
from spcomp.resident import resident_nbytes
from tests.models import mlp

FORCED: dict[str, Any] = {
    "policy": "force",
    "engine": "eager",
    "guard": False,
    "encodings": ["csr"],
    "memory_budget": 8,
}


class Chunks(nn.Module):
    """Two layers whose weights are parts of one memory, of which one part nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.randn(3, 32, 32) * (torch.rand(3, 32, 32) < 0.2)
        self.one, self.two = nn.Linear(32, 32), nn.Linear(32, 32)
        self.one.weight.data, self.two.weight.data = whole[0], whole[1]

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.two(torch.relu(self.one(x)))
        return found


def test_a_part_of_a_memory_keeps_all_of_it() -> None:
    parts = spcomp.compile(mlp(32, 32), torch.randn(4, 32), **FORCED).parts
    before = resident_nbytes(parts)
    parts.tensors["part"] = torch.zeros(1000)[3:7]
    assert resident_nbytes(parts) == before + 4000
    parts.tensors["other part"] = parts.tensors["part"][1:]
    assert resident_nbytes(parts) == before + 4000


def test_dense_layers_let_go_of_a_memory_of_which_they_read_parts() -> None:
    torch.manual_seed(0)
    model, x = Chunks().eval(), torch.randn(4, 32)
    fast = spcomp.compile(model, x, **FORCED, layers={"one": "dense"})
    kept, sparse = fast.parts.slots
    assert kept.weight is not None
    assert sparse.weight is None
    assert kept.weight.untyped_storage().data_ptr() != model.one.weight.untyped_storage().data_ptr()
    assert kept.weight.untyped_storage().nbytes() == kept.weight.nbytes
    assert torch.equal(kept.weight, model.one.weight)
    with torch.no_grad():
        assert torch.allclose(fast(x), model(x), atol=1e-5)
    state = fast.state_dict()
    assert all(torch.equal(state[name], t) for name, t in model.state_dict().items())
