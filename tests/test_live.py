"""Rows and columns that hold anything are found, wherever the only element is; constants that go back to themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import spcomp
from spcomp.passes.live import Live, live_columns, live_rows
from spcomp.passes.origins import Origins, viewed


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (3, 70), (70, 3), (200, 700)])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_live_rows_and_columns(shape: tuple[int, int], kept: float, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(3)
    weight = torch.where(torch.rand(shape, generator=g) < kept, torch.randn(shape, generator=g), -0.0).to(dtype)
    weight[: shape[0] // 3] = 0
    weight[:, : shape[1] // 3] = 0
    if weight.numel():
        weight[-1, -1] = float("nan")
    nonzero = weight != 0
    assert torch.equal(live_rows(weight), nonzero.any(1))
    assert torch.equal(live_columns(weight), nonzero.any(0))
    live = Live()
    for some in (torch.rand(shape[0], generator=g) < 0.5, torch.ones(shape[0]).bool(), torch.zeros(shape[0]).bool()):
        assert torch.equal(live.columns_of_rows(weight, some), nonzero[some].any(0))
    for some in (torch.rand(shape[1], generator=g) < 0.5, torch.ones(shape[1]).bool(), torch.zeros(shape[1]).bool()):
        assert torch.equal(live.rows_of_columns(weight, some), nonzero[:, some].any(1))


def test_taps_of_a_convolution_count_together() -> None:
    weight = torch.zeros(4, 3, 3, 3)
    weight[1, 2, 0, 1] = 1
    live = Live()
    assert live.rows(weight).tolist() == [False, True, False, False]
    assert live.columns(weight).tolist() == [False, False, True]
    assert live.columns_of_rows(weight, torch.tensor([True, False, True, True])).tolist() == [False] * 3
    assert live.rows_of_columns(weight, torch.tensor([True, True, False])).tolist() == [False] * 4


def test_what_is_folded_back_to_itself_has_no_origin() -> None:
    origins, weight = Origins(), torch.randn(4, 6)
    turned = weight.t()
    for source, made in ((weight, weight), (weight, turned), (turned, turned.t())):
        origins.put(source, ("view", made.shape), made, viewed(made, source))
    assert origins.made(turned)
    assert not origins.made(weight)


class Experts(nn.Module):
    """Stacked weights that are handed to and fro in two orders, as mixtures of experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.stacked = nn.Parameter(torch.randn(3, 16, 16))
        self.last = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.bmm(x, self.stacked.transpose(-2, -1).transpose(-2, -1))
        return self.last(y.relu())  # type: ignore[no-any-return]


def test_a_stacked_weight_that_is_transposed_twice_compiles(tmp_path: Path) -> None:
    model, x = Experts().eval(), torch.randn(3, 4, 16)
    compiled = spcomp.compile(model, x, engine="eager", guard=False, cache_dir=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
    assert torch.equal(compiled.state_dict()["stacked"], model.stacked)


class Recurrent(nn.Module):
    """Dead rows before an operator that has no rule and takes symbolic sizes through its decomposition alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 20), nn.Linear(20, 16)
        self.lstm, self.head = nn.LSTM(16, 16, batch_first=True), nn.Linear(16, 4)
        with torch.no_grad():
            self.first.weight[:8] = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(self.second(self.first(x).relu()))[0][:, -1])  # type: ignore[no-any-return]


def test_a_recurrent_network_with_a_dynamic_batch_shrinks_and_is_read_back(tmp_path: Path) -> None:
    model = Recurrent().eval()
    examples = torch.randn(2, 5, 12), torch.randn(3, 5, 12)
    compiled = spcomp.compile(model, *examples, engine="eager", guard=False, cache_dir=tmp_path)
    assert compiled.explain().decisions[0].n == 12
    loaded = spcomp.load(compiled.save(tmp_path / "model.spc"))
    for batch in (1, 2, 4):
        x = torch.randn(batch, 5, 12)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))
            torch.testing.assert_close(loaded(x), model(x))
