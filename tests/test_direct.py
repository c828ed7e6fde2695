"""Small graphs called without Inductor's steps around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import spcomp
from spcomp import direct
from spcomp.artifact import loading
from tests.compiling import QUICK, agrees
from tests.models import prune

SMALL: dict[str, Any] = {**QUICK, "engine": "auto", "guard": True}


@pytest.fixture
def plain_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_seconds", lambda runs, given: [40e-6, 20e-6])


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return prune(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), 0.9)


class Scaled(nn.Module):
    """Something between the layers that grows with the rows, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(32, 32), nn.Linear(32, 8)
        self.register_buffer("scale", torch.rand(32))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = F.softmax(self.body(x) * self.scale, -1)
        return {"y": self.head(y), "inner": y}


def test_a_small_program_is_called_directly_and_says_so(plain_wins: None, tmp_path: Path) -> None:
    model, x = mlp(), torch.randn(8, 64)
    compiled = spcomp.compile(model, x, **SMALL)
    assert compiled.explain().engines == ("direct: 20 us, 40 through Inductor",)
    agrees(compiled, model, torch.randn(8, 64))
    assert compiled.verify(x).ok
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert loaded.explain().engines == compiled.explain().engines
    agrees(loaded, model, x)
    eager = spcomp.load(tmp_path / "m", engine="eager")
    assert eager.explain().engines == ("eager: asked for",)
    agrees(eager, model, x)


def test_loading_a_direct_program_does_not_wake_inductor(
    plain_wins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spcomp.compile(mlp(), torch.randn(8, 64), **SMALL).save(tmp_path / "m")
    monkeypatch.setattr(loading.inductor, "prepare", lambda: pytest.fail("Inductor was prepared"))
    spcomp.load(path)(torch.randn(8, 64))


def test_buffers_nested_results_and_unused_dispatch(plain_wins: None) -> None:
    torch.manual_seed(0)
    model, x = Scaled().eval(), torch.randn(5, 32)
    compiled = spcomp.compile(model, x, **SMALL)
    assert compiled.explain().engines[0].startswith("direct")
    with torch.no_grad():
        for name, y in model(x).items():
            torch.testing.assert_close(compiled(x)[name], y)


def test_a_verdict_that_would_not_hold_for_more_rows_is_not_asked_for(plain_wins: None) -> None:
    torch.manual_seed(0)
    model = Scaled().eval()
    compiled = spcomp.compile(model, torch.randn(5, 32), torch.randn(9, 32), **SMALL)
    assert compiled.explain().engines[0] == "inductor"
    layers = mlp()
    compiled = spcomp.compile(layers, torch.randn(5, 64), torch.randn(9, 64), **SMALL)
    agrees(compiled, layers, torch.randn(30, 64))


def test_what_writes_its_buffers_is_not_raced(plain_wins: None) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 16)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)
            return F.softmax(self.layer(x), -1)

    compiled = spcomp.compile(Counts().eval(), torch.randn(3, 16), **SMALL)
    assert compiled.explain().engines == ("inductor",)


def test_long_runs_are_not_raced() -> None:
    x = torch.randn(600, 600)
    slow, fast = (lambda t: [t @ t for _ in range(3)]), (lambda t: t)
    assert direct._seconds((slow, fast), [x])[0] == 0.0
    first, second = direct._seconds((lambda t: t + t + t, fast), [x[:2]])
    assert 0 < second < first
