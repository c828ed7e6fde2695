"""Convolutions timed in layouts: which pairs, what they add up to, what is remembered, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import spcomp
from spcomp import laying
from spcomp.ahead import tune_ahead
from spcomp.codegen.inductor import unavailable
from spcomp.conv_layout import LAYOUTS, NATURAL, PLANES, TILES, makes, reads
from spcomp.conv_shape import ConvShape
from spcomp.cost.tuner import Tuner
from spcomp.encodings.csr import Csr
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.passes.tune_layouts import added, seconds_in_layouts, tried
from spcomp.plan import Epilogue
from spcomp.planning import make_planner
from spcomp.sparsity.measure import measure
from tests.kernels import relative
from tests.test_conv import conv_shapes, kernel_of, needs_code
from tests.test_conv_layouts import network

needs_inductor = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
micros = st.floats(1.0, 1000.0)


@given(shape=conv_shapes(), residual=st.booleans(), quantize=st.sampled_from(["", "int8"]))
def test_every_pair_of_layouts_is_timed_but_planes_of_a_residual(
    shape: ConvShape, residual: bool, quantize: str
) -> None:
    pairs = tried(shape, residual, quantize)
    assert {given_ for given_, _ in pairs} == set(reads(shape, quantize))
    assert {made for _, made in pairs} == set(makes(quantize)) - ({PLANES} if residual else set())
    assert len(pairs) == len(set(pairs)) <= 9


@given(read=st.lists(micros, min_size=2, max_size=3), make=st.lists(micros, min_size=2, max_size=3), data=st.data())
def test_what_adds_up_is_found_again_and_the_rest_is_spread(
    read: list[float], make: list[float], data: st.DataObject
) -> None:
    pairs = list(itertools.product(zip(LAYOUTS, read, strict=False), zip(LAYOUTS, make, strict=False)))
    exact = {(g, m): r + w for (g, r), (m, w) in pairs}
    found = added(exact)
    assert all(found.knowing(*pair) == pytest.approx(s) for pair, s in exact.items())
    noisy = {pair: s + data.draw(micros) for pair, s in exact.items()}
    left = {pair: s - added(noisy).knowing(*pair) for pair, s in noisy.items()}
    for side, layout in [(0, g) for (g, _), _ in pairs] + [(1, m) for _, (m, _) in pairs]:
        assert sum(s for pair, s in left.items() if pair[side] == layout) == pytest.approx(0.0, abs=1e-6)


def site_of(shape: ConvShape, n: int) -> Site:
    weight = torch.randn(n, shape.k) * (torch.rand(n, shape.k) < 0.2)
    return Site(0, "conv", weight, None, Epilogue(), measure(weight), "w", None, conv=shape)


@needs_code
def test_times_are_remembered_and_kernels_without_layouts_are_asked_once(tmp_path: Path) -> None:
    shape = ConvShape(2, 8, 10, 10, (3, 3), padding=(1, 1))
    site, tuner = site_of(shape, 16), make_planner(Options(cache_dir=tmp_path), 1).tuner
    built: list[int] = []

    def kernel() -> Any:
        built.append(1)
        return kernel_of(Csr(64), shape, site.weight, Epilogue(), None, None)

    first = seconds_in_layouts(tuner, site, {"n": 16}, "ours", kernel)
    assert first is not None
    assert set(first.reads) == {PLANES, NATURAL, TILES} == set(first.makes)
    assert all(0 < first.of(*pair) < 1 for pair in tried(shape, False))
    again = make_planner(Options(cache_dir=tmp_path), 1).tuner
    assert seconds_in_layouts(again, site, {"n": 16}, "ours", kernel) == first
    assert len(built) == 1
    for _ in range(2):
        assert seconds_in_layouts(again, site, {"n": 16}, "other", lambda: built.append(1) or (lambda x: x)) is None
    assert len(built) == 2


def clock(dense: float, sparse: float, on_tiles: float) -> Callable[..., dict[str, float]]:
    """Seconds of two images by name, whatever the machine does; in layouts of one."""

    def of(name: str) -> float:
        if name.startswith("dense"):
            return dense
        layouts = name.split(" stores ")[-1].split()[1::2]
        if not layouts:
            return sparse
        return (sparse - (sparse - on_tiles) / 2 * sum(layout != NATURAL for layout in layouts)) / 2

    def time(self: Tuner, work: Mapping[str, Callable[[], object]], **_: Any) -> dict[str, float]:
        for run in work.values():
            run()
        return {name: of(name) for name in work}

    return time


@needs_code
@needs_inductor
def test_convolutions_that_lose_alone_are_sparse_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    model, x = network(), torch.randn(2, 3, 21, 25)
    monkeypatch.setattr(Tuner, "time", clock(1e-4, 1.1e-4, 0.6e-4))
    compiled = spcomp.compile(model, x, memory_budget=1e6, cache_dir=tmp_path / "cache")
    decisions = {d.layer: d for d in compiled.explain().decisions}
    told = "its neighbours hand on planes and want tiles: 30 us, best dense takes 50 on natural planes"
    assert told in decisions["4.b"].reason
    blocks = [d for name, d in decisions.items() if name.startswith(("4.", "5."))]
    assert len(blocks) == 6
    assert all(d.sparse and "its neighbours hand on" in d.reason for d in blocks)
    assert not decisions["0"].sparse, "the stem's result is pooled"
    shown = str(compiled.explain())
    assert "reads planes and makes tiles: 30 us, 50 us from natural to natural" in shown
    assert relative(compiled(x), model(x)) < 1e-5
    assert compiled.verify(x).ok
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert torch.equal(loaded(x), compiled(x))
    assert [d.layout for d in loaded.explain().decisions] == [d.layout for d in decisions.values()]


@needs_code
@needs_inductor
@pytest.mark.parametrize("why", ["off", "long"])
def test_elements_are_counted_where_nothing_was_timed(
    why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    if why == "long":
        monkeypatch.setattr(laying, "LONGEST_SECONDS", 0.0)
    model, x = network(), torch.randn(2, 3, 21, 25)
    tune = "off" if why == "off" else "measure"
    compiled = spcomp.compile(model, x, policy="force", memory_budget=1e6, cache_dir=tmp_path, tune=tune)
    layouts = [d.layout for d in compiled.explain().decisions if d.layout]
    assert "reads planes and makes tiles: fewest elements copied, layouts were not timed" in layouts
    assert all(text.endswith("were not timed") for text in layouts)
    assert relative(compiled(x), model(x)) < 1e-5


@needs_code
@needs_inductor
def test_after_tuning_ahead_no_layout_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clocked, real = [], clock(1e-4, 1.1e-4, 0.6e-4)

    def time(self: Tuner, work: Mapping[str, Callable[[], object]], **given_: Any) -> dict[str, float]:
        clocked.extend(work)
        return real(self, work, **given_)

    monkeypatch.setattr(Tuner, "time", time)
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    model, x = network(), torch.randn(2, 3, 21, 25)
    options = Options(cache_dir=tmp_path, memory_budget=1e6)
    assert tune_ahead(model, x, options=options).settled
    assert any(name.endswith("tiles to planes") for name in clocked)
    clocked.clear()
    compiled = spcomp.compile(model, x, memory_budget=1e6, cache_dir=tmp_path)
    assert any(d.layout.startswith("reads tiles") for d in compiled.explain().decisions)
    assert clocked == []
