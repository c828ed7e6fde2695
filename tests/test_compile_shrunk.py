"""Compiling what is left of a model whose channels are constant or unread."""

from __future__ import annotations

import copy
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn

import spcomp
from spcomp import state as state_of_models
from spcomp.aside import Aside
from spcomp.capture import Example, capture
from spcomp.errors import InputError, StateError
from spcomp.passes.base import PassContext, attribute, run_passes
from spcomp.passes.flatten import Flatten
from spcomp.passes.origins import identity
from spcomp.passes.pipelines import SHRINK
from spcomp.source import constants_read
from tests.compiling import SPARSE, agrees
from tests.models import prune
from tests.random_graphs import RandomNet, networks

EAGER = {**SPARSE, "policy": "auto", "guard": False}


def dead(layer: nn.Linear | nn.Conv2d, share: float = 0.4) -> None:
    """Zero the first rows of a weight; their biases stay."""
    with torch.no_grad():
        layer.weight[: round(share * len(layer.weight))] = 0


def mlp() -> nn.Sequential:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(20, 50), nn.GELU(), nn.Linear(50, 40), nn.ReLU(), nn.Linear(40, 7))
    dead(model[0])
    dead(model[2])
    return model.eval()


class Network(nn.Module):
    """Convolutions with BatchNorm and a residual path, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.inner = nn.Conv2d(16, 24, 1)
        self.outer = nn.Conv2d(24, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.outer(self.inner(x).relu())
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class OneDimensional(nn.Module):
    """GPT-2's linear layer, whose weight is [in, out]."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(24, 32)), nn.Parameter(torch.randn(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return flat.view(*x.shape[:-1], 32)


def sizes(compiled: spcomp.CompiledModule) -> list[tuple[int, int]]:
    return [(d.n, d.k) for d in compiled.parts.decisions]


def test_a_multilayer_perceptron_loses_rows_and_columns() -> None:
    model = mlp()
    compiled = spcomp.compile(model, torch.randn(4, 20), torch.randn(6, 20), **EAGER)
    assert sizes(compiled) == [(30, 20), (24, 30), (7, 24)], "and both programs share the layers"
    for batch in (1, 3, 6):
        agrees(compiled, model, torch.randn(batch, 20))
    assert compiled.dense_nbytes == sum(p.nbytes for p in model.parameters())
    assert sum(d.nbytes for d in compiled.parts.decisions) < 0.6 * compiled.dense_nbytes
    assert "40% of the weight is constant or unread and gone" in str(compiled.explain().to_dict())
    whole = spcomp.compile(model, torch.randn(4, 20), shrink=False, **EAGER)
    assert sizes(whole) == [(50, 20), (40, 50), (7, 40)]
    agrees(whole, model, torch.randn(4, 20))


def test_channels_of_convolutions_go() -> None:
    torch.manual_seed(2)
    model = Network().eval()
    dead(model.inner)
    with torch.no_grad():
        model.inner.bias[:3] = -1.0  # ReLU makes them 0, which padding may see; the others are positive constants
        model.inner.bias[3:10] = 1.0
    compiled = spcomp.compile(model, torch.randn(2, 3, 8, 8), **EAGER)
    assert (21, 16) in sizes(compiled)
    agrees(compiled, model, torch.randn(2, 3, 8, 8))


def test_a_layer_of_gpt2_is_a_linear_layer() -> None:
    torch.manual_seed(3)
    model = prune(OneDimensional())
    compiled = spcomp.compile(model, torch.randn(2, 5, 24), **SPARSE)
    assert sizes(compiled) == [(32, 24)]
    assert compiled.parts.decisions[0].sparse
    agrees(compiled, model, torch.randn(2, 5, 24))
    state = compiled.state_dict()
    assert list(state) == list(model.state_dict())
    assert torch.equal(state["weight"], model.weight)
    with torch.no_grad():
        model.weight.mul_(2)
    agrees(compiled.update_weights(model), model, torch.randn(2, 5, 24))
    assert torch.equal(compiled.state_dict()["weight"], model.weight)


def test_a_few_dead_rows_leave_the_state_as_it_was(tmp_path: Path) -> None:
    model = mlp()
    compiled = spcomp.compile(model, torch.randn(4, 20), **EAGER)
    loaded = spcomp.load(compiled.save(tmp_path / "model"))
    for one in (compiled, loaded):
        agrees(one, model, torch.randn(4, 20))
        state = one.state_dict()
        assert list(state) == list(model.state_dict())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(StateError, match=r"a model that was cut or reordered before it was saved.*shrink=False"):
        loaded.update_weights(model)
    assert loaded.dense_nbytes == compiled.dense_nbytes


def wide() -> nn.Sequential:
    """Most of what is cut of its second layer is not zero."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8)).eval()
    dead(model[0])
    return model


def on_disk(compiled: spcomp.CompiledModule) -> int:
    return sum(r.rest.nbytes for r in compiled.parts.state.restored.values() if r.rest is not None)


def test_much_that_was_cut_is_on_disk_and_takes_no_memory() -> None:
    model = wide()
    compiled = spcomp.compile(model, torch.randn(4, 64), **EAGER)
    gone = round(0.4 * 256) * 256 * 4
    assert on_disk(compiled) == gone, "columns of the second layer that read dead channels"
    assert compiled.nbytes < compiled.dense_nbytes - 0.9 * gone
    for one in (compiled, copy.deepcopy(compiled)):
        state = one.state_dict()
        assert list(state) == list(model.state_dict())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    model.load_state_dict(state)
    agrees(compiled, model, torch.randn(4, 64))


def test_state_of_convolutions_and_transposed_weights_that_were_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_of_models, "MAX_KEPT", 0.0)
    monkeypatch.setattr(state_of_models, "FEW_BYTES", 0)
    torch.manual_seed(2)
    network = Network().eval()
    dead(network.inner)
    folded = nn.Sequential(OneDimensional(), nn.ReLU(), nn.Linear(32, 3)).eval()
    with torch.no_grad():
        folded[0].weight[:, :9] = 0  # type: ignore[index]
    for model, x in ((network, torch.randn(2, 3, 8, 8)), (folded, torch.randn(2, 5, 24))):
        compiled = spcomp.compile(model, x, **EAGER)
        assert on_disk(compiled) > 0
        state = compiled.state_dict()
        assert set(state) == set(model.state_dict())
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())


@given(networks())
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_any_state_comes_back_from_memory_and_disk(net: RandomNet) -> None:
    net = net.float()
    ctx = PassContext()
    captured = capture(net, [Example.of(net.example.float())])
    gm = Flatten().run(captured.gm, ctx)
    read = set(constants_read(gm))
    gm = run_passes(SHRINK, gm, ctx)
    held = {str(n.target): attribute(gm, n) for n in gm.graph.nodes if n.op == "get_attr"}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_of_models, "MAX_KEPT", 0.0)
        patch.setattr(state_of_models, "FEW_BYTES", 0)
        state = state_of_models.state_of(captured.state, read, [], held, ctx.origins, Aside(Path(folder)))
    assert not state.lost
    known = held | {name: made(held.__getitem__) for name, made in state.restored.items()}
    for name, tensor in captured.state.items():
        if identity(tensor) in read:
            assert torch.equal(known[state.names[name]] if name in state.names else known[name], tensor), name


def test_state_that_is_gone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wide()
    compiled = spcomp.compile(model, torch.randn(4, 64), **EAGER)
    loaded = spcomp.load(compiled.save(tmp_path / "model"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1 << 10))
    full = spcomp.compile(model, torch.randn(4, 64), **EAGER)
    for one in (full, loaded):
        agrees(one, model, torch.randn(4, 64))
        with pytest.raises(StateError, match=r"1 of its tensors \(2.weight for one\) were cut.*shrink=False"):
            one.state_dict()


def test_load_state_dict_packs_other_weights() -> None:
    model = wide()
    compiled = spcomp.compile(model, torch.randn(4, 64), **EAGER)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
        other[0].weight[0] = 1.0  # a channel that lives now
    keys = compiled.load_state_dict({**other.state_dict(), "more": torch.ones(1)})
    assert (keys.missing_keys, keys.unexpected_keys) == ([], ["more"])
    agrees(compiled, other, torch.randn(4, 64))
    assert all(torch.equal(compiled.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
    some = {"4.bias": torch.full((8,), 3.0)}
    with pytest.raises(StateError, match=r"load a state.*5 tensors are missing, 0.weight for one.*strict=False"):
        compiled.load_state_dict(some)
    assert len(compiled.load_state_dict(some, strict=False).missing_keys) == 5
    some["4.bias"].zero_()  # a copy was taken
    with torch.no_grad():
        other[4].bias.fill_(3.0)
    agrees(compiled, other, torch.randn(4, 64))
    with pytest.raises(InputError, match=r"4.bias is torch.float32 of shape \(9,\)"):
        compiled.load_state_dict({"4.bias": torch.ones(9)}, strict=False)
    with pytest.raises(StateError, match=r"assign tensors to a compiled model.*assign=False"):
        compiled.load_state_dict(other.state_dict(), assign=True)


def test_other_weights_with_the_same_channels() -> None:
    model = mlp()
    compiled = spcomp.compile(model, torch.randn(4, 20), torch.randn(6, 20), **EAGER)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    assert compiled.update_weights(model) is compiled
    for batch in (1, 5):
        agrees(compiled, model, torch.randn(batch, 20))
    assert torch.equal(compiled.state_dict()["2.weight"], model[2].weight)
    with torch.no_grad():
        model[0].weight[0] = 1.0
    agrees(compiled.update_weights(model), model, torch.randn(4, 20))
    assert sizes(compiled)[:2] == [(31, 20), (24, 31)], "other channels: it was compiled anew"
    for batch in (1, 3):
        agrees(compiled, model, torch.randn(batch, 20))
    with pytest.raises(InputError, match=r"update the weights: the model has no 0\.weight"):
        compiled.update_weights(nn.Linear(3, 3))


def test_a_model_that_is_constant_throughout() -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3)).eval()
    with torch.no_grad():
        model[0].weight.zero_()
    compiled = spcomp.compile(model, torch.randn(4, 6), torch.randn(5, 6), **EAGER)
    for batch in (1, 4, 7):
        agrees(compiled, model, torch.randn(batch, 6))
