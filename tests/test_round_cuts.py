"""Cuts on GPUs leave sizes that tensor cores take, and N:M what it was; on the CPU they are what they were."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import spcomp
from spcomp.capture import Example, capture
from spcomp.passes.axes import Cuts, Groups, Only, Same
from spcomp.passes.base import PassContext, attribute, run_passes, verify
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.flatten import Flatten
from spcomp.passes.pipelines import COLLECT, SHRINK
from spcomp.sparsity.measure import measure
from spcomp.targets.device import ON_CUDA, Device, host_device
from tests.device_cases import Table, fake
from tests.random_graphs import RandomNet, networks
from tests.test_shrink_random import agree, run

GRAPHS = int(os.environ.get("SPCOMP_RANDOM_GRAPHS", "15"))
GPU = Device("cuda", "cpu", "a GPU", "digest", ON_CUDA)
LAYERS = (torch.ops.aten.linear.default, torch.ops.aten.conv2d.default, torch.ops.aten.conv2d.padding)


def context(device: Device = GPU) -> PassContext:
    return PassContext(devices=lambda _name, _where: device)


def prepared(model: nn.Module, x: Any, ctx: PassContext) -> fx.GraphModule:
    return Canonicalize().run(Flatten().run(capture(model.eval(), [Example.of(x)]).gm, ctx), ctx)


def sizes(gm: fx.GraphModule, ctx: PassContext) -> dict[str, tuple[int, int]]:
    """(N, K) of the layers by the names of their weights."""
    found = {}
    for node in gm.graph.nodes:
        if node.target in LAYERS and node.args[1].op == "get_attr":
            shape = attribute(gm, node.args[1]).shape
            found[ctx.origins.name(str(node.args[1].target))] = (shape[0], shape[1])
    return found


def weight(gm: fx.GraphModule, ctx: PassContext, name: str) -> Tensor:
    (node,) = {
        n.args[1] for n in gm.graph.nodes if n.target in LAYERS and ctx.origins.name(str(n.args[1].target)) == name
    }
    found: Tensor = attribute(gm, node).detach()
    return found


def shrunk(model: nn.Module, x: Tensor, ctx: PassContext, rtol: float = 1e-10) -> fx.GraphModule:
    """What is left; it computes the same."""
    gm = EliminateDead().run(prepared(model, x, ctx), ctx)
    verify(gm)
    for given_x in (x, torch.randn_like(x)):
        with torch.no_grad():
            wanted, found = model(given_x), gm(given_x)[0]
        assert float((found - wanted).abs().max()) <= rtol * max(1e-3, float(wanted.abs().max()))
    return gm


# -- relations -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(1, 9), st.data())
def test_groups_go_whole(size: int, group: int, data: st.DataObject) -> None:
    bits = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    cuts, axis = Cuts(), (fx.Graph().placeholder("x"), 0)
    cuts.add(axis, size)
    cuts.relate(Only(axis, bits))
    cuts.solve()
    allowed = cuts.cut[axis].copy()
    cuts.hold(Groups(axis, group))
    for start in range(0, size, group):
        part = slice(start, start + group)
        assert cuts.cut[axis][part].all() == allowed[part].all()
        assert cuts.cut[axis][part].any() == allowed[part].all()


def test_what_is_restored_comes_with_what_needs_it() -> None:
    cuts, graph = Cuts(), fx.Graph()
    axes = [(graph.placeholder(name), 0) for name in "abc"]
    for axis in axes:
        cuts.add(axis, 6)
    cuts.relate(Same(axes[0], axes[1]))
    cuts.solve()
    assert [cuts.left(a) for a in axes] == [1, 1, 1]
    cuts.restore(axes[0], np.array([2, 3]))
    assert [cuts.left(a) for a in axes] == [3, 3, 1]
    assert not cuts.cut[axes[1]][[0, 2, 3]].any()


def test_granules() -> None:
    assert [GPU.granule(size) for size in (1, 2, 4, 8)] == [16, 8, 4, 2]
    assert {host_device().granule(size) for size in (1, 2, 4, 8)} == {1}


# -- random networks -------------------------------------------------------------------------------------------------


@settings(
    max_examples=GRAPHS, suppress_health_check=list(HealthCheck), derandomize="SPCOMP_RANDOM_GRAPHS" not in os.environ
)
@given(networks(), st.sampled_from((16, 32, 64)))
def test_random_networks(net: RandomNet, vector_bytes: int) -> None:
    """Results stay, sizes are multiples or what they were, nothing is left to do; and the CPU's are as without."""
    ctx = context(replace(GPU, vector_bytes=vector_bytes))
    gm = prepared(net, net.example, ctx)
    inputs = [net.example, torch.randn_like(net.example)]
    before, wanted = sizes(gm, ctx), [run(gm, x) for x in inputs]
    gm = EliminateDead().run(gm, ctx)
    verify(gm)
    for x, values in zip(inputs, wanted, strict=True):
        agree(run(gm, x), values)
    multiple = vector_bytes // 8
    grouped = {n for n, _ in _grouped(gm, ctx)}
    for name, after in sizes(gm, ctx).items():
        old = before[name]
        assert all(a % multiple == 0 or a == b for a, b in zip(after, old, strict=True) if name not in grouped), name
    text = str(gm.graph)
    assert EliminateDead().run(gm, ctx) is gm
    assert str(gm.graph) == text
    plain, host = PassContext(), context(host_device())
    texts = [str(EliminateDead().run(prepared(net, net.example, c), c).graph) for c in (plain, host)]
    assert texts[0] == texts[1]
    assert not host.spared


def _grouped(gm: fx.GraphModule, ctx: PassContext) -> list[tuple[str, fx.Node]]:
    """Convolutions in groups: their inputs are a share of the channels."""
    convs = [n for n in gm.graph.nodes if n.target in LAYERS[1:]]
    return [
        (ctx.origins.name(str(n.args[1].target)), n)
        for n in convs
        if n.args[0].meta["val"].shape[1] != n.args[1].meta["val"].shape[1]
    ]


# -- N:M -------------------------------------------------------------------------------------------------------------


def in_groups(n: int, m: int, rows: int, columns: int) -> Tensor:
    """A mask that is n:m along its columns."""
    order = torch.rand(rows, columns // m, m).argsort(-1).argsort(-1)
    return (order < n).reshape(rows, columns)


class Pair(nn.Module):
    """Two layers with ReLU between them; some features of the first are dead, the second is 2:4."""

    def __init__(self, dead: list[int], hidden: int = 64, mask: Tensor | None = None) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(16, hidden), nn.Linear(hidden, 32)
        with torch.no_grad():
            self.two.weight *= in_groups(2, 4, 32, hidden) if mask is None else mask
            self.one.weight[dead] = 0
            self.one.bias[dead] = 0.5
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x)))  # type: ignore[no-any-return]


def test_groups_of_2_4_go_whole() -> None:
    dead = [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 21, 40, 41, 42, 43]
    model, ctx = Pair(dead).float(), context()
    gm = shrunk(model, torch.randn(3, 16), ctx, 1e-5)
    assert sizes(gm, ctx) == {"one.weight": (52, 16), "two.weight": (32, 52)}
    assert measure(weight(gm, ctx, "two.weight"), negative_zeros=False).group_max[1, 4] == 2
    kept = "3 removable inputs kept, K = 52 (groups of 4 go whole, for 2:4, a multiple of 4, for tensor cores and loads"
    assert ctx.spared["two.weight"].startswith(kept)
    assert ctx.spared["one.weight"].startswith("3 removable outputs kept, N = 52 (a multiple of 4")


@settings(max_examples=15)
@given(st.sets(st.integers(0, 63), max_size=40), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_2_4_stays_2_4(dead: set[int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, ctx = Pair(sorted(dead)).to(dtype), context()
    gm = EliminateDead().run(prepared(model, torch.randn(3, 16, dtype=dtype), ctx), ctx)
    found = weight(gm, ctx, "two.weight")
    multiple = 16 // found.element_size()
    assert found.shape[1] % multiple == 0 or found.shape[1] == 64
    dense = 2 * (64 - len(dead)) <= 64
    assert measure(found, negative_zeros=False).group_max[1, 4] == 2 or dense
    whole = sum(set(range(g, g + 4)) <= dead for g in range(0, 64, 4)) * 4
    assert found.shape[1] >= 64 - len(dead)
    assert found.shape[1] <= 64 - whole + (-(64 - whole) % multiple)


def test_cuts_that_leave_2_4_are_made() -> None:
    """Here every second pair of columns is a 2:4 by itself, and the others are dead."""
    mask = torch.zeros(32, 64, dtype=torch.bool)
    live = [c for c in range(64) if c % 8 < 4]
    mask[:, live] = in_groups(2, 4, 32, 32)
    model = Pair([c for c in range(64) if c % 8 >= 4], mask=mask)
    ctx = context()
    gm = shrunk(model, torch.randn(3, 16), ctx, 1e-5)
    assert sizes(gm, ctx)["two.weight"] == (32, 32)
    assert measure(weight(gm, ctx, "two.weight"), negative_zeros=False).group_max[1, 4] == 2
    assert not ctx.spared


def test_what_is_half_is_dense() -> None:
    """Two of four columns are dead everywhere: the others alone are as few as 2:4 stores, without its indices."""
    model, ctx = Pair([c for c in range(64) if c % 4 < 2], mask=torch.ones(32, 64)), context()
    with torch.no_grad():
        model.two.weight[:, [c for c in range(64) if c % 4 < 2]] = 0
    gm = shrunk(model, torch.randn(3, 16), ctx, 1e-5)
    assert sizes(gm, ctx)["two.weight"] == (32, 32)


def test_no_pattern_no_groups() -> None:
    """Zeros anywhere: sizes are rounded, groups are not held."""
    torch.manual_seed(1)
    model, ctx = Pair([1, 9, 17, 30, 31], mask=torch.rand(32, 64) < 0.5).half(), context()
    gm = EliminateDead().run(prepared(model, torch.randn(3, 16).half(), ctx), ctx)
    assert sizes(gm, ctx)["two.weight"] == (32, 64)
    model.one.weight.data[40:43] = 0
    model.one.bias.data[40:43] = 0
    ctx = context()
    gm = EliminateDead().run(prepared(model, torch.randn(3, 16).half(), ctx), ctx)
    assert sizes(gm, ctx)["two.weight"] == (32, 56), "61 of 64 go to 56 = 64 - 8 dead ones"
    assert not ctx.spared
    model.one.weight.data[50] = 0
    ctx = context()
    EliminateDead().run(prepared(model, torch.randn(3, 16).half(), ctx), ctx)
    assert "1 removable inputs kept, K = 56 (a multiple of 8, for tensor cores" in ctx.spared["two.weight"]


def test_blocks_of_v_n_m_go_whole() -> None:
    """64:2:8: rows go in blocks of 64, columns in groups of 8."""
    rows, columns = 128, 64
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    for v in range(0, rows, 64):
        for m in range(0, columns, 8):
            four = torch.randperm(8)[:4] + m
            pick = torch.rand(64, 4).argsort(-1)[:, :2]
            mask[torch.arange(v, v + 64)[:, None], four[pick]] = True

    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(16, columns), nn.Linear(columns, rows), nn.Linear(rows, 16)
            with torch.no_grad():
                self.b.weight *= mask
                self.a.weight[[1, 2, *range(8, 16)]] = 0
                self.c.weight[:, 70] = 0
            self.eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.c(torch.relu(self.b(torch.relu(self.a(x)))))  # type: ignore[no-any-return]

    ctx = context()
    gm = shrunk(Three(), torch.randn(2, 16), ctx, 1e-5)
    assert sizes(gm, ctx)["b.weight"] == (128, 56)
    assert "for 64:2:8" in ctx.spared["b.weight"]


# -- attention, pipelines, compilation ---------------------------------------------------------------------------------


class Heads(nn.Module):
    """Attention over 4 heads of 16 features, of which some are dead in q, k and v."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(64, 64) for _ in range(4))
        with torch.no_grad():
            for layer, features in ((self.q, [1, 2, 3]), (self.k, [1, 2, 3]), (self.v, [0, 5, 6])):
                rows = [16 * head + f for head in range(4) for f in features]
                layer.weight[rows], layer.bias[rows] = 0, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (4, 16)).transpose(1, 2) for f in (self.q, self.k, self.v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def test_heads_keep_multiples() -> None:
    model, x = Heads().double(), torch.randn(2, 5, 64).double()
    plain = PassContext()
    assert sizes(shrunk(model, x, plain), plain) == {
        "q.weight": (52, 64), "k.weight": (52, 64), "v.weight": (52, 64), "out.weight": (64, 52)
    }  # fmt: skip
    ctx = context()
    gm = shrunk(model, x, ctx)
    assert {n for s in sizes(gm, ctx).values() for n in s} == {56, 64}, "heads of 14, multiples of 2"
    ctx = context(replace(GPU, vector_bytes=32))
    assert {n for s in sizes(shrunk(model, x, ctx), ctx).values() for n in s} == {64}, "heads of 13 go to 16"


def test_the_pipeline_keeps_2_4() -> None:
    """Through reordering too, and facts are those that the planner sees."""
    model, ctx = Pair([3, 17, 18, 19, 20, 44]).half(), context()
    x = torch.randn(3, 16).half()
    run_passes((*SHRINK, *COLLECT), capture(model, [Example.of(x)]).gm, ctx)
    site = next(s for s in ctx.sites.values() if s.layer == "two")
    assert site.facts.group_max[1, 4] == 2
    assert site.k % 8 == 0
    assert "kept" in site.spared


def test_explained(tmp_path: Path) -> None:
    model, x = Pair([3, 17, 18, 19, 44]).half(), torch.randn(4, 16).half()
    options: dict[str, Any] = {"engine": "eager", "guard": False, "cache_dir": tmp_path, "policy": "off"}
    table = Table({"": 1e-5})
    ours = spcomp.compile(model, x, target=lambda _name, _where: fake(table), **options)
    said = {d.layer: (d.k, d.reason) for d in ours.explain().decisions}
    assert said["two"][0] == 64
    assert "5 removable inputs kept, K = 64 (groups of 4 go whole, for 2:4, a multiple of 8" in said["two"][1]
    with torch.no_grad():
        assert float((ours(x) - model(x)).abs().max()) == pytest.approx(0, abs=2e-2)
    host = spcomp.compile(model.float(), x.float(), **options)
    assert {d.layer: d.k for d in host.explain().decisions}["two"] == 59
    assert "kept" not in str(host.explain())
