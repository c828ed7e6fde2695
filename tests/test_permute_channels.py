"""Channels between convolutions in another order: found where blocks were shuffled, exact whatever lies between."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import spcomp
from spcomp.capture import Example, capture
from spcomp.encodings.matrix import matrix_of
from spcomp.passes import permute_channels
from spcomp.passes.base import PassContext, run_passes, verify
from spcomp.passes.permute_channels import PermuteChannels
from spcomp.passes.pipelines import CANONICAL, SHRINK
from spcomp.sparsity.measure import measure
from tests.conftest import Golden
from tests.test_permute_hidden import blocks

LIMIT = 1e-10


class Bottleneck(nn.Module):
    """Two blocks on a residual stream, a depthwise convolution, a gate over channels, pooling, and a linear head."""

    def __init__(self, wide: int = 64, inner: int = 48) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, wide, 3, 2, 1)
        self.a, self.b, self.c = (
            nn.Conv2d(wide, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1),
            nn.Conv2d(inner, wide, 1),
        )
        self.norm_a, self.norm_b, self.norm_c = nn.BatchNorm2d(inner), nn.BatchNorm2d(inner), nn.BatchNorm2d(wide)
        self.depth = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.down, self.up = nn.Conv2d(wide, 32, 1), nn.Conv2d(32, wide, 1)
        self.head = nn.Linear(wide, 10)
        for norm in (self.norm_a, self.norm_b, self.norm_c):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
        y = F.relu(self.norm_a(self.a(x)))
        y = F.relu(self.norm_b(self.b(y)))
        x = F.relu(x + self.norm_c(self.c(y)))
        x = self.depth(x) + x
        x = x * torch.sigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


@torch.no_grad()
def shuffled(model: Bottleneck, share: float = 0.3) -> None:
    """Prune what makes the channels of the 3x3 convolution's result in blocks of eight, and what reads them by columns;
    then put the channels in another order."""
    order = torch.randperm(48, generator=torch.Generator().manual_seed(1))
    rows, columns = blocks(48, 432, (8, 1), share, 2)[order], blocks(48, 64, (8, 1), share, 3)[order].t()
    model.b.weight.copy_(model.b.weight.where(rows.view(48, 48, 3, 3), 0.0))
    model.c.weight.copy_(model.c.weight.where(columns[:, :, None, None], 0.0))


def permuted(gm: torch.fx.GraphModule) -> set[str]:
    return {str(n.target) for n in gm.graph.nodes if n.op == "get_attr" and "permuted" in str(n.target)}


def graph(model: nn.Module, x: Tensor, **options: Any) -> torch.fx.GraphModule:
    pipeline = (*CANONICAL, PermuteChannels(**{"everywhere": True, **options}))
    gm = run_passes(pipeline, capture(model.eval(), [Example.of(x)]).gm, PassContext())
    verify(gm)
    return gm


def test_shuffled_blocks_are_found_again(golden: Golden) -> None:
    model, x = Bottleneck().eval(), torch.randn(2, 3, 20, 20)
    shuffled(model)
    gm = graph(model, x)
    names = permuted(gm)
    norm = {f"norm_b.permuted.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert names == {"b.permuted.weight", "b.permuted.bias", "c.permuted.weight"} | norm
    before, after = (measure(matrix_of(w)) for w in (model.b.weight, gm.get_parameter("b.permuted.weight")))
    assert before.block_occupancy(8, 1) < 0.4
    assert after.block_occupancy(8, 1) == 1.0
    with torch.no_grad():
        torch.testing.assert_close(gm(x)[0], model(x), rtol=1e-4, atol=1e-5)
    text = str(run_passes(CANONICAL, capture(model, [Example.of(x)]).gm, PassContext()).graph)
    golden("pass_permute_channels.txt", f"before:\n{text}\n\nafter:\n{gm.graph}")


def test_weights_on_the_cpu_keep_their_order_unless_asked() -> None:
    model, x = Bottleneck(), torch.randn(2, 3, 20, 20)
    shuffled(model)
    assert permuted(graph(model, x, everywhere=False)) == set()
    with torch.no_grad():
        for conv in (model.a, model.b, model.c):
            conv.weight.normal_()
    assert permuted(graph(model, x)) == set(), "dense: nothing to gain"


class Any_:
    """An order for every group, however little it pays."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, rows: list[Tensor], columns: list[Tensor], _ctx: PassContext) -> Tensor:
        assert {len(w) for w in rows} == {w.shape[1] for w in columns} == {len(rows[0])}
        self.sizes.append(len(rows[0]))
        return torch.randperm(len(rows[0]))


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Any_:
    orders = Any_()
    monkeypatch.setattr(permute_channels, "MEASURABLE", (torch.float64,))
    monkeypatch.setattr(permute_channels, "FEWEST", 2)
    monkeypatch.setattr(PermuteChannels, "order", lambda _self, *given: orders(*given))
    return orders


def test_every_order_is_exact(always: Any_) -> None:
    model, x = Bottleneck().double().eval(), torch.randn(2, 3, 20, 20, dtype=torch.float64)
    gm = graph(model, x)
    assert sorted(always.sizes) == [32, 48, 48, 64], "the residual stream of 64 channels is one group"
    assert {"depth.permuted.weight", "head.permuted.weight", "norm_c.permuted.weight"} <= permuted(gm)
    with torch.no_grad():
        wanted = model(x)
        assert float((gm(x)[0] - wanted).abs().max()) <= LIMIT * float(wanted.abs().max())


WIDE = 6
LAYERS: dict[str, Any] = {
    "1x1": lambda: nn.Conv2d(WIDE, WIDE, 1), "3x3": lambda: nn.Conv2d(WIDE, WIDE, 3, padding=1, bias=False),
    "depthwise": lambda: nn.Conv2d(WIDE, WIDE, 3, padding=1, groups=WIDE), "norm": lambda: nn.BatchNorm2d(WIDE),
    "group norm": lambda: nn.GroupNorm(2, WIDE), "relu": nn.ReLU, "gelu": nn.GELU,
    "pool": lambda: nn.MaxPool2d(3, 1, 1), "average": lambda: nn.AvgPool2d(3, 1, 1),
}  # fmt: skip
BOTH = {"add": torch.add, "gate": lambda a, b: a * torch.sigmoid(b.mean((2, 3), keepdim=True)),
        "cat": lambda a, b: torch.cat([a[:, 3:], b[:, :3]], 1)}  # fmt: skip


class Drawn(nn.Module):
    """Layers on six channels, each of the last value, between them sums and gates with any earlier one; a head."""

    def __init__(self, steps: list[tuple[str, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.layers = nn.ModuleList(LAYERS[name]() if name in LAYERS else nn.Identity() for name, _ in steps)
        self.first, self.last, self.head = nn.Conv2d(2, WIDE, 1), nn.Conv2d(WIDE, WIDE, 1), nn.Linear(WIDE, 3)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)
                nn.init.normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        values = [self.first(x)]
        for (name, at), layer in zip(self.steps, self.layers, strict=True):
            y = values[-1]
            values.append(BOTH[name](y, values[at % len(values)]) if name in BOTH else layer(y))
        return self.head(self.last(values[-1]).mean((2, 3)))  # type: ignore[no-any-return]


def test_any_order_of_random_networks_is_exact(always: Any_) -> None:
    @given(st.lists(st.tuples(st.sampled_from([*LAYERS, *BOTH]), st.integers(0, 9)), max_size=9))
    @settings(max_examples=80)
    def run(steps: list[tuple[str, int]]) -> None:
        net = Drawn(steps).double().eval()
        x = torch.randn(2, 2, 4, 4, dtype=torch.float64)
        gm = graph(net, x)
        with torch.no_grad():
            wanted = net(x)
            assert float((gm(x)[0] - wanted).abs().max()) <= LIMIT * max(1e-3, float(wanted.abs().max()))

    run()
    assert len(always.sizes) > 80, "one group of channels a network, at least the head's"


class Seen(nn.Module):
    """Channels that something else sees too."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.a, self.b = how, nn.Conv2d(3, 32, 3), nn.Conv2d(32, 8, 1)
        self.scale, self.norm = nn.Parameter(torch.randn(32, 1, 1)), nn.GroupNorm(4, 32)

    def forward(self, x: Tensor) -> Any:
        h = self.a(x)
        match self.how:
            case "returned":
                return self.b(h), h
            case "scaled":
                return self.b(h * self.scale)
            case "normed":
                return self.b(self.norm(h))
            case "concatenated":
                return self.b(torch.cat([h[:, 16:], h[:, :16]], 1))
            case "flattened":
                return self.b(h).sum() + h.flatten(1).cumsum(1)
            case _:
                return self.b(h) + h.softmax(1).amax(1, keepdim=True)


@pytest.mark.parametrize("how", ["returned", "scaled", "normed", "concatenated", "flattened", "mixed"])
def test_channels_that_others_see_keep_their_order(how: str, always: Any_) -> None:
    assert permuted(graph(Seen(how).double(), torch.randn(2, 3, 6, 6, dtype=torch.float64))) == set()
    assert always.sizes == []


def test_a_compiled_model_gives_its_state_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = Bottleneck().eval(), torch.randn(2, 3, 20, 20)
    shuffled(model)
    everywhere = tuple(PermuteChannels(everywhere=True) if isinstance(p, PermuteChannels) else p for p in SHRINK)
    assert everywhere != SHRINK
    monkeypatch.setattr("spcomp.source.SHRINK", everywhere)
    compiled = spcomp.compile(model, x, engine="eager", guard=False)
    assert any("permuted" in str(r.weight_name) for r in compiled.parts.slots)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)
    state = compiled.state_dict()
    assert set(state) == set(model.state_dict())
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())
