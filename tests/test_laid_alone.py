"""Programs that are one call: the short way to it, and what goes the long way."""

from __future__ import annotations

import copy
from typing import Any, NoReturn

import pytest
import torch
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.laid_program import LaidProgram
from spcomp.errors import InputError
from tests.kernels import inputs, relative
from tests.models import prune

pytestmark = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


class Halves(nn.Module):
    """Two results that lie in one memory, and one that has its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 96)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.first(x))
        return hidden[:, :], self.second(hidden), hidden.reshape(2, -1, 128)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may be laid down is."""
    monkeypatch.setattr("spcomp.whole.paired_speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return prune(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 96)).eval(), 0.9)  # type: ignore[no-any-return]


def compiled(model: nn.Module) -> spcomp.CompiledModule:
    made = spcomp.compile(model, inputs(32, 64), policy="force")
    assert isinstance(made.parts.programs[0].run, LaidProgram)
    return made


def long_way(*_: Any) -> NoReturn:
    raise AssertionError("the long way")


def test_one_tensor_in_and_out_is_called_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    ours = compiled(model)
    monkeypatch.setattr("spcomp.compiled._call", long_way)
    with torch.no_grad():
        x, other = inputs(32, 64, seed=7), inputs(32, 64, seed=8)
        first = ours(x)
        kept = first.clone()
        assert relative(first, model(x)) < 1e-5
        assert relative(ours(other), model(other)) < 1e-5
        assert torch.equal(first, kept), "a result is the caller's"
        turned = inputs(64, 32).T
        assert relative(ours(turned), model(turned)) < 1e-5


def test_what_is_not_usual_goes_the_long_way() -> None:
    ours = compiled(mlp())
    with pytest.raises(InputError, match="captured as"):
        ours(inputs(31, 64))
    with pytest.raises(InputError, match="requires grad"):
        ours(inputs(32, 64).requires_grad_())
    with torch.no_grad(), torch.autocast("cpu"):
        assert ours(inputs(32, 64)).dtype is torch.float32


def test_several_results(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = prune(Halves().eval(), 0.9)
    ours = compiled(model)
    monkeypatch.setattr(ops, "active", long_way)
    x = inputs(32, 64, seed=7)
    for found, exact in zip(ours(x), model(x), strict=True):
        assert found.shape == exact.shape
        assert found.stride() == exact.stride()
        assert relative(found, exact) < 1e-5


def test_a_copy_is_called_with_its_own_weights() -> None:
    model = mlp()
    ours = compiled(model)
    x = inputs(32, 64, seed=7)
    with torch.no_grad():
        before = ours(x)
        other = copy.deepcopy(ours)
        model = copy.deepcopy(model)
        model[2].bias += 1  # type: ignore[index, operator]
        other.update_weights(model)
        assert relative(other(x), model(x)) < 1e-5
        assert torch.equal(ours(x), before)


def test_more_threads_are_laid_down_anew(two_threads: None) -> None:
    model = mlp()
    ours = compiled(model)
    x = inputs(32, 64, seed=7)
    for threads in (2, 1, 2):
        torch.set_num_threads(threads)
        assert relative(ours(x), model(x)) < 1e-5
