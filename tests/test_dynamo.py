"""``torch.compile(model, backend="spcomp")``: equal to eager, with graph breaks; dense with a reason where it must."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from spcomp import dynamo
from spcomp.dynamo import spcomp_backend
from spcomp.errors import PolicyError
from tests.models import mlp, prune

OPTIONS: dict[str, Any] = {
    "engine": "eager",
    "guard": False,
    "policy": "force",
    "encodings": ["csr"],
    "memory_budget": 9.0,
}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing compiled from test to test; what stays dense runs as it is, which spares a C++ compilation."""
    torch._dynamo.reset()
    monkeypatch.setattr(dynamo, "_dense", lambda gm, inputs: gm.forward)
    yield
    torch._dynamo.reset()


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The compiled modules that the backend makes."""
    from spcomp import api

    made: list[Any] = []
    real = api.compile

    def compile_(*args: Any, **kwargs: Any) -> Any:
        made.append(real(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(api, "compile", compile_)
    return made


def test_the_entry_point_leads_to_the_backend() -> None:
    found = importlib.metadata.entry_points(group="torch_dynamo_backends", name="spcomp")
    assert all(point.load() is spcomp_backend for point in found)
    assert importlib.metadata.EntryPoint("spcomp", "spcomp.dynamo:spcomp_backend", "x").load() is spcomp_backend
    if found:
        assert "spcomp" in torch._dynamo.list_backends()


def test_equal_to_eager(pieces: list[Any]) -> None:
    model = mlp(64, 48, 8, activation=nn.GELU)
    fast = torch.compile(model, backend=lambda gm, inputs: spcomp_backend(gm, inputs, **OPTIONS), dynamic=False)
    with torch.no_grad():
        for batch in (3, 20):
            x = torch.randn(batch, 64)
            torch.testing.assert_close(fast(x), model(x))
    assert len(pieces) == 2, "one a shape"
    assert all(d.sparse for d in pieces[0].explain().decisions)


class Broken(nn.Module):
    """A graph break between two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x).relu()
        torch._dynamo.graph_break()
        return self.second(y) if float(y.sum()) >= 0 else self.second(-y)  # type: ignore[no-any-return]


def as_backend(**options: Any) -> Callable[..., Any]:
    return lambda gm, inputs: spcomp_backend(gm, inputs, **{**OPTIONS, **options})


def test_each_piece_around_a_graph_break_is_compiled(pieces: list[Any]) -> None:
    model = prune(Broken())
    with torch.no_grad():
        x = torch.randn(3, 32)
        torch.testing.assert_close(torch.compile(model, backend=as_backend(), dynamic=False)(x), model(x))
    assert len(pieces) == 2
    assert all(p.explain().decisions[0].sparse for p in pieces)


def test_wanted_gradients_keep_it_dense_and_the_log_says_so(
    pieces: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = mlp(32, 8)
    fast = torch.compile(model, backend=as_backend(), dynamic=False)
    x = torch.randn(3, 32)
    with caplog.at_level(logging.WARNING, "spcomp"):
        y = fast(x)
    assert "stays dense: gradients are wanted (run under torch.no_grad() to compile it)" in caplog.text
    assert not pieces
    y.sum().backward()
    assert model[0].weight.grad is not None


def test_a_model_without_weights_stays_dense(pieces: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with torch.no_grad(), caplog.at_level(logging.WARNING, "spcomp"):
        found = torch.compile(lambda x: x.relu() + 1, backend=as_backend(), dynamic=False)(torch.ones(3))
    assert torch.equal(found, torch.full((3,), 2.0))
    assert "it has no weights" in caplog.text
    assert not pieces


def test_dynamic_sizes_stay_dense(caplog: pytest.LogCaptureFixture) -> None:
    model = mlp(32, 8)
    with torch.no_grad(), caplog.at_level(logging.WARNING, "spcomp"):
        x = torch.randn(5, 32)
        torch.testing.assert_close(torch.compile(model, backend=as_backend(), dynamic=True)(x), model(x))
    assert "it has dynamic sizes (use spcomp.compile with two examples)" in caplog.text


def test_a_weight_that_changes_is_followed(caplog: pytest.LogCaptureFixture) -> None:
    model = mlp(32, 8)
    fast = torch.compile(model, backend=as_backend(), dynamic=False)
    x = torch.randn(3, 32)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x))
        model[0].weight.mul_(2)
        with caplog.at_level(logging.WARNING, "spcomp"):
            torch.testing.assert_close(fast(x), model(x))
        assert "a weight changed: this piece runs densely from now on" in caplog.text
        model[0].bias.add_(1)
        torch.testing.assert_close(fast(x), model(x))
        model[0].weight = nn.Parameter(torch.randn(8, 32))
        torch.testing.assert_close(fast(x), model(x))


def test_a_buffer_that_is_written_is_written() -> None:
    from tests.models import Counter

    model = prune(Counter())
    fast = torch.compile(model, backend=as_backend(), dynamic=False)
    with torch.no_grad():
        for i in range(1, 4):
            y, calls = fast(torch.ones(2, 32))
            assert int(calls) == int(model.calls) == i
            torch.testing.assert_close(y, model.fc(torch.ones(2, 32)))


def test_force_raises_through_torch_compile() -> None:
    model = mlp(32, 8, sparsity=0.0)
    fast = torch.compile(model, backend=as_backend(), dynamic=False)
    with torch.no_grad(), pytest.raises(Exception, match=r"compile .* sparse") as error:
        fast(torch.randn(3, 32))
    assert isinstance(getattr(error.value, "inner_exception", error.value), PolicyError)


def test_what_spcomp_refuses_stays_dense_under_auto(caplog: pytest.LogCaptureFixture) -> None:
    model = mlp(32, 8)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
        with caplog.at_level(logging.WARNING, "spcomp"):
            fast = torch.compile(model, backend=as_backend(policy="auto"), dynamic=False)
            y = fast(torch.ones(3, 32))
    assert torch.isnan(y[:, 0]).all()
    assert not torch.isnan(y[:, 1:]).any()
    assert "stays dense: " in caplog.text
    assert "NaN" in caplog.text
