"""Weights, buffers and state of a compiled model: shared, written, replaced, verified."""

from __future__ import annotations

import copy
import gc
import itertools
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp.cost.tuner import Tuner
from spcomp.errors import InputError
from spcomp.report.verification import Verification
from tests.compiling import SPARSE, agrees, small
from tests.models import Cache, Counter, Shared, Tied, mlp, prune

# --- weights and buffers ----------------------------------------------------------------------------------------------


def test_tied_and_shared_weights_are_packed_once() -> None:
    shared = prune(Shared())
    shared.third.load_state_dict(shared.first.state_dict())
    compiled = spcomp.compile(shared, torch.randn(2, 64), shrink=False, **SPARSE)
    agrees(compiled, shared, torch.randn(2, 64))
    assert len(compiled.parts.table) == 2, "two modules of one weight are one slot"
    assert compiled.parts.slots[0].packed[0] is compiled.parts.slots[1].packed[0], "equal contents are packed once"
    one = spcomp.compile(prune(nn.Linear(64, 64)), torch.randn(2, 64), **SPARSE)
    assert compiled.nbytes < 1.5 * one.nbytes

    tied = Tied()
    with torch.no_grad():
        tied.embedding.weight[torch.rand(40, 16) < 0.8] = 0
    tied.body.weight.data[torch.rand(16, 16) < 0.8] = 0
    compiled = spcomp.compile(tied.eval(), torch.tensor([[1, 2, 3]]), **SPARSE)
    agrees(compiled, tied, torch.tensor([[4, 39, 0]]))
    assert compiled.dense_nbytes == sum(p.nbytes for p in tied.parameters())
    assert list(compiled.state_dict()) == list(tied.state_dict())


def test_equal_contents_are_given_the_same_kernels_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    clock, chance, real = itertools.count(1), random.Random(5), Tuner.time

    def time(*arguments: Any, **options: Any) -> dict[str, float]:
        faster = next(clock)  # each look finds less than the one before, of another kernel least
        return {name: chance.uniform(1, 1.1) / faster for name in real(*arguments, **options)}

    monkeypatch.setattr(Tuner, "time", time)
    model = prune(Shared())
    model.third.load_state_dict(model.first.state_dict())
    chosen = []
    for rows in range(2, 8):
        compiled = spcomp.compile(model, torch.randn(rows, 64), shrink=False, **SPARSE)
        first, second = (slot.packed for slot in compiled.parts.slots)
        assert all(a is b for a, b in zip(first, second, strict=True))
        chosen.append(str([p.encoding for p in first]))
    assert len(set(chosen)) > 1, "the clock decides between models"


def test_a_counter_counts_and_a_copy_has_its_own() -> None:
    model = prune(Counter())
    compiled = spcomp.compile(model, torch.randn(3, 32), **SPARSE)
    x = torch.randn(3, 32)
    assert [int(compiled(x)[1]) for _ in range(3)] == [1, 2, 3]
    compiled.warmup()
    assert int(compiled(x)[1]) == 4, "warming up changes nothing"
    assert compiled.verify(x).ok
    assert int(compiled(x)[1]) == 5, "nor does verifying"
    other = copy.deepcopy(compiled)
    assert [int(other(x)[1]), int(other(x)[1])] == [6, 7]
    assert int(compiled(x)[1]) == 6
    assert torch.equal(other(x)[0], compiled(x)[0])


def test_a_cache_written_in_place() -> None:
    model, reference = prune(Cache()), prune(Cache())
    reference.load_state_dict(model.state_dict())
    compiled = spcomp.compile(model, (torch.randn(2, 16), torch.tensor([0, 1])), **SPARSE)
    other = copy.deepcopy(compiled)
    with torch.no_grad():
        for at in ([0, 1], [2, 3], [0, 5]):
            x, where = torch.randn(2, 16), torch.tensor(at)
            torch.testing.assert_close(compiled(x, where), reference(x, where))
    torch.testing.assert_close(compiled.state_dict()["rows"], reference.rows)
    assert not other.state_dict()["rows"].any()


def test_state_dict_is_the_originals() -> None:
    model, compiled = small()
    state = compiled.state_dict()
    assert list(state) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor)
    fresh = mlp(70, 48, 40, 10, activation=nn.GELU)
    fresh.load_state_dict(state)


def test_tensors_made_in_forward_are_no_state() -> None:
    class Constants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._fc = nn.Linear(8, 3)
            self.register_buffer("scratch", torch.ones(3), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (
                self._fc(x)
                + torch.tensor([1.0, 2.0, 3.0]) * (3.0 if x.shape[0] == 1 else torch.tensor([2.0]))
                + self.scratch
            )  # type: ignore[attr-defined]

    model = prune(Constants())
    compiled = spcomp.compile(model, torch.randn(4, 8), torch.randn(6, 8), **SPARSE)
    assert list(compiled.state_dict()) == ["_fc.weight", "_fc.bias"]
    for m in (1, 3):
        agrees(compiled, model, torch.randn(m, 8))
    compiled.update_weights(model)
    agrees(compiled, model, torch.randn(3, 8))


def test_update_weights() -> None:
    model = mlp(64, 32, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), **SPARSE)
    first = compiled.plan.digest
    with torch.no_grad():
        model[0].weight.copy_(torch.where(torch.rand(32, 64) < 0.1, torch.randn(32, 64), 0.0))
        model[0].bias.add_(1)
    assert compiled.update_weights(model) is compiled
    agrees(compiled, model, torch.randn(3, 64))
    assert compiled.plan.digest != first
    assert list(compiled.state_dict()) == list(model.state_dict())
    with pytest.raises(
        InputError, match=r"update the weights: 0.weight is torch.float32 of shape \(16, 64\).*\(32, 64\)"
    ):
        compiled.update_weights(mlp(64, 16, 8))
    with pytest.raises(InputError, match=r"update the weights: the model has no 2.weight"):
        compiled.update_weights(mlp(64, 32))
    agrees(compiled, model, torch.randn(3, 64))


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_names_the_first_broken_layer() -> None:
    _, compiled = small()
    x = torch.randn(9, 70)
    fine: Verification = compiled.verify(x)
    assert fine
    assert fine.first_bad is None
    assert [c.layer for c in fine.layers] == ["0", "2", "4"]
    assert fine.output_error is not None
    assert "DIFFERS" not in str(fine)
    broken = copy.deepcopy(compiled)
    packed = broken.parts.slots[1].packed[0]
    values = packed.buffers["values"]
    saved = values.clone()
    record = broken.parts.slots[1]
    slots = list(broken.parts.slots)
    slots[1] = replace(record, weight=record.dense_weight())  # what it should compute
    broken.parts.slots = tuple(slots)
    try:
        values.mul_(1.01)
        found = broken.verify(x)
    finally:
        values.copy_(saved)
    assert found.first_bad == "2"
    assert not found
    assert "DIFFERS" in str(found)
    assert compiled.verify(x).ok
    with pytest.raises(InputError, match="verify a compiled model: input 0 has shape"):
        compiled.verify(torch.randn(9, 71))


def test_verify_after_the_original_is_gone() -> None:
    compiled = spcomp.compile(mlp(64, 8), torch.randn(3, 64), **SPARSE)
    gc.collect()
    found = compiled.verify(torch.randn(3, 64))
    assert found.ok
    assert found.output_error is None
    assert "the original is gone" in str(found)
