"""Siblings merged or apart, with the layouts: against brute force, never worse than deciding one after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.nn import functional as F

import spcomp
from spcomp import merging, ops
from spcomp.capture import Example, capture
from spcomp.codegen.inductor import unavailable
from spcomp.encodings.csr import Csr
from spcomp.passes.base import PassContext, run_passes, verify
from spcomp.passes.choose import Choice
from spcomp.passes.joint import MOST_KINDS, least_together
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.merge_siblings import MergedCall, MergeSiblings, merged_calls, siblings
from spcomp.passes.pipelines import ANALYSE, COLLECT, LOWER
from spcomp.passes.planned import Planned
from spcomp.plan import RowRange
from spcomp.tiling import seconds_per_element
from tests.kernels import relative
from tests.models import prune
from tests.test_merging import Block

M = 32


class Small(nn.Module):
    """Two siblings whose parts nothing reads on tiles, and a gated pair whose parts are multiplied and read on them."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(16, 16), nn.Linear(16, 16)
        self.gate, self.up, self.down = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = torch.softmax(self.q(x) @ self.k(x).t(), -1) @ x
        return self.down(F.silu(self.gate(mixed)) * self.up(mixed))  # type: ignore[no-any-return]


def analysed(model: nn.Module, x: torch.Tensor) -> tuple[fx.GraphModule, PassContext, dict[Any, Any]]:
    ctx = PassContext()
    gm = run_passes(ANALYSE, capture(model, [Example.of(x)]).gm, ctx)
    return gm, ctx, siblings([gm], ctx)


def planned(site: Any, natural: float, tiles: float | None) -> Planned:
    choice = Choice(((RowRange(0, None), "a"),), "", (Csr(64),))
    return Planned(site, choice, {M: {"a": natural}}, {}, None, {}, {} if tiles is None else {"a": tiles})


def assignments(gm: fx.GraphModule, weigh: KeepTiles, rate: float) -> Iterator[float]:
    """What every assignment of layouts costs, by walking the graph."""
    able = list(weigh.problem(gm)[0])
    assert weigh.costs is not None
    for bits in itertools.product((False, True), repeat=len(able)):
        tiles = {n for n, bit in zip(able, bits, strict=True) if bit}
        cost = 0.0
        for node in gm.graph.nodes:
            if node.target is ops.LINEAR:
                own = weigh.costs.layers[node.args[1]]
                cost += own.tiles if node in tiles else own.natural
            value = node.meta.get("val")
            if not isinstance(value, torch.Tensor) or value.dim() != 2:
                continue
            wanted = {u in tiles for u in node.users if u in tiles or node in tiles or u in able}
            wanted |= {False for u in node.users if u not in able}
            if any(w != (node in tiles) for w in wanted):
                cost += rate * value.numel()
        yield cost


@pytest.fixture(scope="module")
def small() -> tuple[fx.GraphModule, dict[Any, Any], dict[int, Any]]:
    torch.manual_seed(0)
    gm, ctx, found = analysed(prune(Small()), torch.randn(M, 16))
    sites = {s.slot: s for s in ctx.sites.values()}
    return run_passes(LOWER, gm, ctx), found, sites


micros = st.integers(1, 60).map(lambda us: us * 1e-6)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_the_joint_choice_is_the_least_and_never_worse_than_the_sequence(
    small: tuple[fx.GraphModule, dict[Any, Any], dict[int, Any]], data: st.DataObject
) -> None:
    lowered, found, sites = small
    draw = data.draw
    plans = {slot: planned(site, draw(micros), draw(st.none() | micros)) for slot, site in sites.items()}
    kinds = {merging._kind(some): some for some in found.values()}
    assert len(kinds) == 2
    merged = {k: planned(merging.together(some), draw(micros), draw(st.none() | micros)) for k, some in kinds.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "WORTH", 1.03)
        weighing = merging.Weighing(lowered, plans, found, merged, planner=None)  # type: ignore[arg-type]
        costs = {some: weighing(frozenset(some)) for n in range(3) for some in itertools.combinations(kinds, n)}
        chosen = least_together(list(kinds), weighing)
        apart = {k: BothWays(tuple(plans[s.slot] for s in some), merged[k]) for k, some in kinds.items()}
        sequence = frozenset(k for k in kinds if merging._pays(apart[k].apart, apart[k].merged))
        assert weighing(chosen) == min(costs.values()) <= weighing(sequence)
        rate = seconds_per_element([*plans.values(), *merged.values()])
        for some, cost in costs.items():
            calls = {
                tuple(s.slot for s in kinds[k]): MergedCall(100 + i, tuple(s.epilogue.activation for s in kinds[k]))
                for i, k in enumerate(some)
            }
            layers = {slot: weighing._cost(p) for slot, p in plans.items()}
            layers |= {100 + i: weighing._cost(merged[k], 1.03) for i, k in enumerate(some)}
            weigh = KeepTiles(frozenset(layers), merging.Costs(layers, lambda m, n: rate * m * n))
            assert cost == pytest.approx(min(assignments(merged_calls(lowered, calls), weigh, rate)), abs=1e-11)


BothWays = merging.BothWays


@given(st.integers(0, MOST_KINDS + 3), st.data())
@settings(max_examples=60, deadline=None)
def test_kinds_are_chosen_together(count: int, data: st.DataObject) -> None:
    """Of any cost of sets: the least of all, or of many kinds no worse than apart and where it started."""
    kinds: list[Hashable] = list(range(count))
    costs = data.draw(st.lists(st.integers(0, 99), min_size=1 << count, max_size=1 << count))

    def cost(some: frozenset[Hashable]) -> float:
        return costs[sum(1 << kinds.index(kind) for kind in some)]

    start = frozenset(kinds[1:])
    found = cost(least_together(kinds, cost, start))
    assert found <= min(cost(frozenset()), cost(start) if count > MOST_KINDS else math.inf)
    if count <= MOST_KINDS:
        assert found == min(costs)


def test_merging_that_pays_on_tiles_alone_is_found(
    small: tuple[fx.GraphModule, dict[Any, Any], dict[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apart or together, gate and up take the same on rows; together they are faster on tiles, where down is too."""
    monkeypatch.setattr(merging, "WORTH", 1.03)
    lowered, found, sites = small
    plans = {
        slot: planned(site, 20e-6, None if site.k == 16 and site.n == 16 else 16e-6) for slot, site in sites.items()
    }
    kinds = {merging._kind(some): some for some in found.values()}
    (gated,) = (k for k, some in kinds.items() if some[0].n == 32)
    merged = {gated: planned(merging.together(kinds[gated]), 40e-6, 20e-6)}
    assert not merging._pays([plans[s.slot] for s in kinds[gated]], merged[gated]), "a race on rows says no"
    weighing = merging.Weighing(lowered, plans, found, merged, planner=None)  # type: ignore[arg-type]
    assert least_together([gated], weighing) == {gated}


@pytest.mark.parametrize("m", [32, 37])
def test_parts_stay_on_tiles(m: int) -> None:
    """The graph of merged siblings means the same with everything on tiles, parts that a norm reads included."""

    class Normed(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gate, up = self.gate(x), self.up(x)
            return super().forward(x) + self.down(F.layer_norm(gate, [48]) + up)

    torch.manual_seed(0)
    model, x = prune(Normed()), torch.randn(1, m, 32)
    gm, ctx, found = analysed(model, x)
    gm = run_passes((MergeSiblings(frozenset(found)),), gm, ctx)
    ctx.sites.clear()
    gm = run_passes(COLLECT, gm, ctx)
    slots = sorted(ctx.sites.values(), key=lambda s: s.slot)
    lowered = run_passes(LOWER, gm, ctx)
    laid = KeepTiles(frozenset(s.slot for s in slots)).run(lowered, PassContext())
    verify(laid)
    parts = [n for n in laid.graph.nodes if n.target is torch.ops.aten.slice.Tensor and n.args[1] == 1]
    assert sum(n.args[0].target is ops.TILES_LINEAR for n in parts) >= 2, "gate and up are read on tiles"

    class Exact:
        gather = None

        def __init__(self, site: Any) -> None:
            self.site = site

        def __call__(self, rows: torch.Tensor) -> torch.Tensor:
            y = F.linear(rows, self.site.weight, self.site.bias)
            return {"silu": F.silu, "none": lambda t: t}[self.site.epilogue.activation](y)

        def on_tiles(self, xs: torch.Tensor, rows: int) -> torch.Tensor:
            y = self(xs.transpose(1, 2).reshape(-1, self.site.k)[:rows])
            padded = F.pad(y, (0, 0, 0, -rows % 16))
            return padded.reshape(-1, 16, self.site.n).transpose(1, 2).contiguous()

    table: Any = tuple(Exact(s) for s in slots)
    lifted = list(lowered.meta["lifted"].values())
    with torch.no_grad(), ops.active(table):
        (y,) = laid(*lifted, x)
        assert relative(y, model(x).double()) < 1e-5


@pytest.mark.skipif(unavailable() is not None, reason="Inductor is needed")
def test_a_compiled_model_is_merged_as_the_joint_choice_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[frozenset[Hashable]] = []

    def seconds(_self: merging.Weighing, kinds: frozenset[Hashable]) -> float:
        asked.append(kinds)
        return -len(kinds)

    monkeypatch.setattr(merging, "WORTH", 1.03)
    monkeypatch.setattr(merging.Weighing, "__call__", seconds)
    torch.manual_seed(0)
    model, x = prune(Small()), torch.randn(M, 16)
    compiled = spcomp.compile(model, x, policy="force", encodings=["csr"], memory_budget=9.0)
    assert [d.layer for d in compiled.parts.decisions] == ["q + k", "gate + up", "down"]
    assert len(asked) == 4, "every subset of two kinds"
    assert relative(compiled(x), model(x).detach().double()) < 1e-5
