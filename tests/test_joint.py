"""Layouts and kernels chosen together: against brute force, on chains and on graphs, and where choices apart lose."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Hashable, Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spcomp
from spcomp import tiling
from spcomp.codegen.inductor import unavailable
from spcomp.passes import tune
from spcomp.passes.choose import Choice
from spcomp.passes.joint import Handed, LayoutCost, cheapest, fastest, total
from tests.models import prune

KERNELS = ("a", "b", "c")
Seconds = dict[str, dict[str, float]]
"""{"natural" or "tiles": {kernel: seconds}} of one layer."""
micros = st.integers(0, 40).map(lambda us: us * 1e-6)


@st.composite
def layers(draw: st.DrawFn) -> Seconds:
    """A layer whose kernels take anything in either layout; some cannot work on tiles."""
    able = draw(st.sets(st.sampled_from(KERNELS)))
    return {
        "natural": {k: draw(micros) for k in KERNELS},
        "tiles": {k: draw(micros) for k in sorted(able)},
    }


def cost_of(layer: Seconds) -> LayoutCost:
    best = {layout: fastest(seconds, KERNELS) for layout, seconds in layer.items()}
    return LayoutCost(*(math.inf if found is None else found[1] for found in (best["natural"], best["tiles"])))


def by_force(graph: list[Seconds], values: Mapping[Hashable, Handed]) -> float:
    """The least cost over every layout and every kernel of every layer."""
    least = math.inf
    choices = [[(layout, k) for layout in layer for k in layer[layout]] for layer in graph]
    for picked in itertools.product(*choices):
        own = math.fsum(layer[layout][k] for layer, (layout, k) in zip(graph, picked, strict=True))
        on_tiles = {i for i, (layout, _) in enumerate(picked) if layout == "tiles"}
        moved = 0.0
        for value, handed in values.items():
            if any((reader in on_tiles) != (value in on_tiles) for reader in handed.readers):
                moved += handed.unpack if value in on_tiles else handed.pack
        least = min(least, own + moved)
    return least


@given(st.lists(layers(), min_size=1, max_size=4), st.data())
@settings(max_examples=150, deadline=None)
def test_the_cut_is_the_least_of_all_assignments(graph: list[Seconds], data: st.DataObject) -> None:
    """Random graphs: any layer's value is read by any later ones and by what is natural; inputs are natural."""
    values: dict[Hashable, Handed] = {}
    for made in ["x", *range(len(graph))]:
        later = [i for i in range(len(graph)) if made == "x" or i > int(made)]
        readers: list[Hashable] = list(data.draw(st.sets(st.sampled_from(later)))) if later else []
        if data.draw(st.booleans()):
            readers.append("natural")
        if readers:
            values[made] = Handed(tuple(readers), data.draw(micros), data.draw(micros))
    nodes: dict[Hashable, LayoutCost] = {i: cost_of(layer) for i, layer in enumerate(graph)}
    cost, chosen = cheapest(nodes, values)
    assert cost == pytest.approx(by_force(graph, values), abs=1e-11)
    assert total(nodes, values, chosen) == cost


@given(st.lists(layers(), min_size=1, max_size=9), st.data())
@settings(max_examples=100, deadline=None)
def test_on_a_chain_it_is_the_shortest_path(chain: list[Seconds], data: st.DataObject) -> None:
    """Two states a layer, natural and tiles; edges between states of neighbours cost packing or unpacking."""
    nodes = [cost_of(layer) for layer in chain]
    pack, unpack = (data.draw(st.lists(micros, min_size=len(chain) + 1, max_size=len(chain) + 1)) for _ in range(2))
    natural, tiles = 0.0, math.inf
    for node, to, back in zip(nodes, pack, unpack, strict=False):
        natural, tiles = (
            node.natural + min(natural, tiles + back),
            node.tiles + min(natural + to, tiles),
        )
    shortest = min(natural, tiles + unpack[-1])
    names: list[Hashable] = ["x", *range(len(chain)), "out"]
    values = {a: Handed((b,), pack[i], unpack[i]) for i, (a, b) in enumerate(itertools.pairwise(names))}
    cost, _ = cheapest(dict(enumerate(nodes)), values)
    assert cost == pytest.approx(shortest, abs=1e-11)


def test_a_kernel_that_wins_on_tiles_only_is_found() -> None:
    """Alone, dense serves every layer (38 us against 40) and nothing is ever on tiles; together, three layers on tiles
    take 25 us each."""
    layer = {"natural": {"dense": 38e-6, "csr": 40e-6}, "tiles": {"csr": 25e-6}}
    nodes: dict[Hashable, LayoutCost] = {}
    for i in range(3):
        natural, tiles = fastest(layer["natural"], ["dense", "csr"]), fastest(layer["tiles"], ["dense", "csr"])
        assert natural == ("dense", 38e-6)
        assert tiles == ("csr", 25e-6)
        nodes[i] = LayoutCost(natural[1], tiles[1])
    convert = 9e-6
    chain: list[Hashable] = ["x", 0, 1, 2, "out"]
    values = {a: Handed((b,), convert, convert) for a, b in itertools.pairwise(chain)}
    cost, chosen = cheapest(nodes, values)
    assert chosen == {0, 1, 2}
    assert cost == pytest.approx(3 * 25e-6 + 2 * convert)
    assert total(nodes, values, frozenset()) == pytest.approx(3 * 38e-6)
    alone, _ = cheapest({0: nodes[0]}, {"x": Handed((0,), convert, convert), 0: Handed(("out",), convert, convert)})
    assert alone == pytest.approx(38e-6), "one such layer by itself is not worth it"


def test_what_cannot_work_on_tiles_is_natural() -> None:
    values: dict[Hashable, Handed] = {0: Handed((1,), 1.0, 1.0)}
    cost, chosen = cheapest({0: LayoutCost(5.0, 1.0), 1: LayoutCost(1.0, math.inf)}, values)
    assert (cost, chosen) == (3.0, {0})
    assert fastest({"a": 1.0}, ["b"]) is None


@pytest.mark.skipif(unavailable() is not None, reason="Inductor is needed")
def test_a_layer_changes_its_kernel_with_its_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times made up: on tiles, every layer has a kernel that takes nothing. It is built, checked and called, its bytes
    are counted, and results are those of the model."""
    told: list[str] = []

    def on_tiles(plan: tune._SitePlan, choice: Choice) -> dict[str, float]:
        served = {name for _, name in choice.ranges}
        names = [c.name for c in plan.candidates if c.name not in served and c.backend == "mlir_cpu"]
        told.extend(names[:1])
        return dict.fromkeys(names[:1], 1e-9)

    monkeypatch.setattr(tune._SitePlan, "_on_tiles", on_tiles)
    monkeypatch.setattr(tiling, "speedup", lambda *_: 2.0)
    torch.manual_seed(0)
    model = prune(torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.GELU(), torch.nn.Linear(512, 256)))
    x = torch.randn(64, 256)
    compiled = spcomp.compile(model, x, policy="force", memory_budget=8.0, cache_dir=None)
    assert len(told) == 2
    parts = compiled.parts
    assert str(parts.programs[0].gm.graph).count("tiles_linear_v1") >= 2
    for decision, slot, record, name in zip(parts.decisions, parts.table, parts.slots, told, strict=True):
        assert [r.kernel for r in decision.ranges] == [name]
        assert "on tiles, between layers that are" in decision.reason
        assert len(slot.kernels) == len(record.packed) == 1
        assert decision.encoding == str(record.packed[0].encoding)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
    assert float((compiled(x).double() - exact).abs().max()) < 1e-4 * float(exact.abs().max())
    assert compiled.verify(x).ok
