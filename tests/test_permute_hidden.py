"""Hidden features in another order: found where blocks were shuffled, absorbed on both sides, given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import spcomp
from spcomp.capture import Example, capture
from spcomp.errors import StateError
from spcomp.passes.base import PassContext, attribute, run_passes
from spcomp.passes.permute_hidden import PermuteHidden, _promised
from spcomp.passes.pipelines import CANONICAL, COLLECT, SHRINK
from spcomp.sparsity.measure import measure
from spcomp.sparsity.order import row_order, support
from tests.conftest import Golden
from tests.strategies import same_bits

HIDDEN, WIDE = 96, 64
PERMUTE = (*CANONICAL, PermuteHidden())


def blocks(rows: int, columns: int, size: tuple[int, int], share: float, seed: int) -> Tensor:
    """A mask of full blocks, ``share`` of them."""
    g = torch.Generator().manual_seed(seed)
    live = torch.rand(rows // size[0], columns // size[1], generator=g) < share
    return live.repeat_interleave(size[0], 0).repeat_interleave(size[1], 1)


class Mlp(nn.Module):
    """fc1 -> GELU -> fc2 on a residual stream; gated: silu(gate) * up -> down."""

    def __init__(self, *, gated: bool = False, wide: int = WIDE, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(wide, hidden), nn.Linear(hidden, wide)
        self.up = nn.Linear(wide, hidden, bias=False) if gated else None
        self.norm = nn.LayerNorm(wide)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc1(self.norm(x))
        h = nn.functional.gelu(h) if self.up is None else nn.functional.silu(h) * self.up(x)
        return x + self.fc2(h)


@torch.no_grad()
def shuffled(model: Mlp, size: tuple[int, int] = (8, 1), share: float = 0.2, seed: int = 0) -> Tensor:
    """Prune the layers that make the hidden features in blocks, and those that read them by columns; then put the
    features in a random order, which is returned."""
    order = torch.randperm(model.fc1.out_features, generator=torch.Generator().manual_seed(seed))
    for i, layer in enumerate((model.fc1, model.up, model.fc2)):
        if layer is None:
            continue
        mask = blocks(*(layer.weight.shape if layer is not model.fc2 else layer.weight.t().shape), size, share, i)
        mask = mask[order] if layer is not model.fc2 else mask[order].t()
        layer.weight.copy_(layer.weight.where(mask, 0.0))
    return order


def graph(model: nn.Module, x: Tensor, ctx: PassContext | None = None) -> torch.fx.GraphModule:
    return run_passes(PERMUTE, capture(model.eval(), [Example.of(x)]).gm, PassContext() if ctx is None else ctx)


def permuted(gm: torch.fx.GraphModule) -> set[str]:
    return {str(n.target) for n in gm.graph.nodes if n.op == "get_attr" and "permuted" in str(n.target)}


def test_golden(golden: Golden) -> None:
    model, x = Mlp(gated=True).eval(), torch.randn(4, WIDE)
    shuffled(model)
    before = run_passes(CANONICAL, capture(model, [Example.of(x)]).gm, PassContext())
    text = str(before.graph)
    after = PermuteHidden().run(before, PassContext())
    golden("pass_permute_hidden.txt", f"before:\n{text}\n\nafter:\n{after.graph}")


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("size", [(8, 1), (8, 8), (16, 1)])
def test_shuffled_blocks_are_found_again(size: tuple[int, int], gated: bool) -> None:
    model = Mlp(gated=gated, wide=256, hidden=384).double().eval()
    shuffled(model, size)
    x = torch.randn(5, 256, dtype=torch.float64)
    gm = graph(model.float(), x.float())
    names = {"fc1.permuted.weight", "fc1.permuted.bias", "fc2.permuted.weight"}
    assert permuted(gm) == names | ({"up.permuted.weight"} if gated else set())
    made = gm.get_parameter("fc1.permuted.weight")
    assert measure(model.fc1.weight).block_occupancy(8, 1) < 0.4
    assert measure(made).block_occupancy(8, 1) == 1.0
    with torch.no_grad():
        found = gm.double()(x)[0]
        torch.testing.assert_close(found, model.double()(x), rtol=1e-12, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), groups=st.integers(1, 12), columns=st.integers(30, 200), noise=st.booleans())
def test_an_order_is_one_and_never_less_full(seed: int, groups: int, columns: int, noise: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    mask = blocks(8 * groups, columns, (8, 1), 0.3, seed)
    mask &= torch.rand(mask.shape, generator=g) < (0.9 if noise else 1.1)
    bits = mask[torch.randperm(len(mask), generator=g)].numpy().astype("uint16")
    order = row_order([support(bits)], 8)
    if order is None:
        assert groups >= 8
        return
    assert sorted(order.tolist()) == list(range(len(bits)))
    counts = [measure(torch.from_numpy(b.astype("float32"))).block_counts[8, 1] for b in (bits, bits[order])]
    assert counts[1] <= counts[0]
    if not noise:
        assert counts[1] * 8 == bits.sum()


@pytest.mark.parametrize("kind", ["dense", "anywhere", "in order", "nm"])
def test_left_alone_where_it_does_not_pay(kind: str) -> None:
    model, x = Mlp(wide=256, hidden=384).eval(), torch.randn(4, 256)
    with torch.no_grad():
        if kind == "anywhere":
            for layer in (model.fc1, model.fc2):
                layer.weight.mul_(torch.rand_like(layer.weight) < 0.1)
        elif kind == "in order":
            model.fc1.weight.mul_(blocks(384, 256, (8, 1), 0.2, 0))
            model.fc2.weight.mul_(blocks(384, 256, (8, 1), 0.2, 1).t())
        elif kind == "nm":
            shuffled(model)
            model.fc2.weight.copy_(torch.where(torch.arange(384) % 4 < 2, torch.randn(256, 384), 0.0))
    assert permuted(graph(model, x)) == set()


def test_an_n_of_m_that_chance_left_is_no_promise() -> None:
    g = torch.Generator().manual_seed(0)
    anywhere = torch.where(torch.rand(512, 512, generator=g) < 0.1, 1.0, 0.0)
    facts = measure(anywhere)
    assert 2 * facts.group_max[1, 16] <= 16
    assert _promised(facts) == []
    pruned = torch.where(torch.arange(512) % 4 < 2, torch.randn(512, 512, generator=g), 0.0)
    assert (2, 4) in _promised(measure(pruned))


class Seen(nn.Module):
    """Features that something else sees too."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.inner = how, Mlp(wide=256, hidden=384)
        self.scale = nn.Parameter(torch.randn(384))
        self.norm = nn.LayerNorm(384)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        h = self.inner.fc1(x)
        match self.how:
            case "returned":
                return self.inner.fc2(h), h
            case "normed":
                return self.inner.fc2(self.norm(h))
            case "scaled":
                return self.inner.fc2(h * self.scale)
            case "heads":
                return self.inner.fc2(h.view(-1, 4, 96).softmax(-1).view(-1, 384))
            case "sliced":
                return self.inner.fc2(torch.cat([h[:, 192:], h[:, :192]], -1))
            case "tied":
                return self.inner.fc2(h) + nn.functional.linear(x.relu(), self.inner.fc1.weight)[:, :256]
            case _:
                return self.inner.fc2(h) + torch.nn.functional.pad(x, (0, 128)).sum(-1, keepdim=True) + h.mean()


@pytest.mark.parametrize("how", ["returned", "normed", "scaled", "heads", "sliced", "tied", "mean"])
def test_features_that_others_see_keep_their_order(how: str) -> None:
    model = Seen(how).eval()
    shuffled(model.inner)
    assert permuted(graph(model, torch.randn(4, 256))) == set()


def test_programs_share_one_order() -> None:
    model, ctx = Mlp(wide=256, hidden=384).eval(), PassContext()
    shuffled(model)
    first, second = (graph(model, torch.randn(m, 256), ctx) for m in (1, 8))
    for name in permuted(first):
        assert first.get_parameter(name).data_ptr() == second.get_parameter(name).data_ptr()
    assert len(permuted(second)) == 3
    run_passes(COLLECT, first, ctx)
    assert {site.layer for site in ctx.sites.values()} == {"fc1", "fc2"}


def test_compiled_state_update_and_load(tmp_path: Path) -> None:
    model, other = (Mlp(wide=256, hidden=384).eval() for _ in "ab")
    x = torch.randn(32, 256)
    shuffled(model)
    shuffled(other, seed=5)
    compiled = spcomp.compile(model, x, engine="eager", guard=False, cache_dir=tmp_path)
    assert any("permuted" in str(r.weight_name) for r in compiled.parts.slots)
    restored = spcomp.load(compiled.save(tmp_path / "m.spc"), engine="eager")
    for made in (compiled, restored):
        with torch.no_grad():
            torch.testing.assert_close(made(x), model(x), rtol=1e-4, atol=1e-4)
        state = made.state_dict()
        assert state.keys() == model.state_dict().keys()
        assert all(same_bits(state[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(StateError, match="a model that was cut or reordered before it was saved"):
        restored.update_weights(other)
    compiled.update_weights(other)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), other(x), rtol=1e-4, atol=1e-4)
    assert all(same_bits(compiled.state_dict()[name], tensor) for name, tensor in other.state_dict().items())


def test_the_pipeline_has_it_after_what_is_dead_is_gone() -> None:
    assert [p.name for p in SHRINK][-3:] == ["eliminate-dead", "permute-hidden", "permute-channels"]
    model, x = Mlp(wide=256, hidden=384).eval(), torch.randn(4, 256)
    shuffled(model)
    with torch.no_grad():
        model.fc1.weight[::3] = 0
        model.fc1.bias[::3] = 0
    gm = run_passes(SHRINK, capture(model, [Example.of(x)]).gm, PassContext())
    layer = next(n for n in gm.graph.nodes if n.target is torch.ops.aten.linear.default)
    assert tuple(attribute(gm, layer.args[1]).shape) == (256, 256)
    with torch.no_grad():
        torch.testing.assert_close(gm(x)[0], model(x), rtol=1e-4, atol=1e-5)
