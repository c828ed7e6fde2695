"""Convolutions in int8 that hand pixels to each other: the same bits as on natural planes, alone and in networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spcomp
from spcomp import ops
from spcomp.artifact.fitting import fits
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.mlir_cpu.octets import SLACK, octets_of_pixels_text
from spcomp.codegen.mlir_cpu.pixels8 import pixels8_text, runs
from spcomp.conv_layout import NATURAL, PARTS, PIXELS, TILES, laid, makes, natural, reads
from spcomp.conv_shape import ConvShape
from spcomp.cost.tuner import Tuner
from spcomp.encodings.csr import Csr
from spcomp.errors import KernelError
from spcomp.laying import Layable
from spcomp.passes.base import PassContext, verify
from spcomp.passes.conv_layouts import LaidSeconds
from spcomp.passes.lay_out import LayOut, make_ready
from spcomp.plan import Epilogue
from tests.guarded import Guarded
from tests.kernels import fitting, inputs, relative
from tests.test_conv import conv_shapes, planes_of, vectors
from tests.test_conv import kernel_of as kernel_in_float
from tests.test_conv_int8 import HERE, SHAPE, call8, kernel_of, meant
from tests.test_conv_layouts import network

INT8: dict[str, Any] = {"policy": "force", "memory_budget": 1e6, "quantize": "int8"}
WAYS = tuple(itertools.product(reads(SHAPE, "int8"), makes("int8")))
EPILOGUES = st.builds(
    Epilogue, st.booleans(), st.sampled_from(["none", "relu", "gelu", "silu"]), st.booleans(), st.booleans()
)
needs_inductor = pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Every bit, NaN included, but for its payload."""
    return a.shape == b.shape and bool(((a == b) & (a.signbit() == b.signbit()) | (a.isnan() & b.isnan())).all())


@HERE
@settings(max_examples=60, deadline=None)
@given(
    shape=conv_shapes(),
    n=st.sampled_from([1, 16, 29, 50]),
    density=st.sampled_from([0.0, 0.1, 1.0]),
    epilogue=EPILOGUES,
    images=st.sampled_from([0, 1, 3]),
    width=st.sampled_from([64, 256]),
    odd=st.sampled_from([1.0, 0.0, 1e37, 1e-42, torch.inf, torch.nan]),
)
def test_every_way_has_the_bits_of_the_natural_one(
    shape: ConvShape, n: int, density: float, epilogue: Epilogue, images: int, width: int, odd: float
) -> None:
    weight = fitting(Csr(64), n, shape.k, density=density)
    bias, norm = vectors(n, epilogue, "float32")
    kernel = kernel_of(shape, weight, epilogue, bias, norm, images=max(1, images), width=width)
    x = planes_of(shape, images, "float32")
    x[-1:] *= odd
    other = planes_of(shape, images, "float32", n, seed=2) if epilogue.residual else None
    plain = kernel(x, *(() if other is None else (other,)))
    if odd == 1.0:
        exact = meant(shape, weight, epilogue, bias, norm, x, *(() if other is None else (other,)))
        assert relative(plain, exact) <= 1e-6
    for given_, made in WAYS:
        kernel.ready(given_, made, ())
        y = kernel.on_layout(laid(x, given_), None if other is None else laid(other, made), given_, made, ())
        assert same(y, laid(plain, made)), (given_, made)
        assert same(natural(y, made, shape.size(n)), plain)


@HERE
@pytest.mark.parametrize("n", [5, 75])
def test_two_threads_give_the_same_bits(n: int, two_threads: None) -> None:
    shape = ConvShape(2, 64, 30, 31, (3, 3), padding=(1, 1))
    kernel = kernel_of(shape, fitting(Csr(64), n, shape.k), Epilogue(True, "relu", residual=True), inputs(n))
    x, other = planes_of(shape, 2, "float32"), planes_of(shape, 2, "float32", n)
    both = kernel.on_layout(laid(x, PIXELS), laid(other, PIXELS), PIXELS, PIXELS, ())
    after = kernel.on_layout(laid(x, PIXELS), other, PIXELS, NATURAL, ())
    torch.set_num_threads(1)
    one = kernel.on_layout(laid(x, PIXELS), laid(other, PIXELS), PIXELS, PIXELS, ())
    assert torch.equal(one[:, :-PARTS], both[:, :-PARTS])
    assert torch.equal(one[:, -PARTS:].amax(1), both[:, -PARTS:].amax(1))
    assert torch.equal(after, kernel(x, other))


@HERE
def test_callers_share_a_kernel() -> None:
    """Two Python threads at once, on images of different sizes of numbers."""
    shape = ConvShape(2, 24, 30, 31, (3, 3), padding=(1, 1))
    kernel = kernel_of(shape, fitting(Csr(64), 40, shape.k), Epilogue(True, "relu"), inputs(40))
    images = [laid(planes_of(shape, 1, "float32", seed=i) * 10.0**i, PIXELS) for i in range(4)]
    wanted = [kernel.on_layout(x, None, PIXELS, PIXELS, ()) for x in images]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda x: kernel.on_layout(x, None, PIXELS, PIXELS, ()), images * 25))
    assert all(torch.equal(y, wanted[i % 4]) for i, y in enumerate(found))


@HERE
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "shape", [SHAPE, ConvShape(2, 70, 6, 5, (1, 1)), ConvShape(2, 3, 9, 9, (5, 5), (2, 2))], ids=str
)
def test_nothing_is_touched_past_its_buffers(shape: ConvShape, at_end: bool) -> None:
    n = 37
    kernel = kernel_of(
        shape, fitting(Csr(64), n, shape.k, density=0.2), Epilogue(True, "relu", residual=True), inputs(n)
    )
    x, other = laid(planes_of(shape, 1, "float32"), PIXELS), laid(planes_of(shape, 1, "float32", n), PIXELS)

    def held(t: torch.Tensor | np.ndarray) -> Guarded:  # type: ignore[type-arg]
        return Guarded(t.numpy() if isinstance(t, torch.Tensor) else t, at_end=at_end)

    wanted = kernel.on_layout(x, other, PIXELS, PIXELS, ())
    way, octets, tiles = kernel._way(PIXELS, PIXELS), kernel.octets, kernel.tiles
    given_x, y = held(x), held(np.zeros(wanted.numel(), np.float32))
    whole = held(np.full(SLACK + octets.total + 16 * octets.step + SLACK, 128, np.uint8))
    scale, ys = held(np.zeros(1, np.float32)), held(np.zeros((tiles * 16, 48), np.int32))
    way.rounding(given_x.address, whole.address + SLACK, 0, scale.address, 1)
    buffers = [held(kernel.packed.buffers[name]) for name in ("values", "columns")]
    buffers += [held(kernel.at), held(kernel.packed.buffers["group_start"])]
    kernel.body.call(whole.address + SLACK, *(b.address for b in buffers), ys.address, 48, tiles * 16, 0, 3)
    last = [held(t) for t in (kernel.shift, kernel.scale, kernel.bias)]
    table = held(kernel.runs)
    way.finish.call(
        ys.address, *(b.address for b in last), scale.address, held(other).address, y.address, table.address,
        y.address + 4 * n * shape.pixels, 0, 48, n, 0, 0, len(kernel.runs), 0, n,
    )  # fmt: skip
    assert torch.equal(torch.from_numpy(y.view.view(np.float32).reshape(1, -1).copy()), wanted)


@given(shape=conv_shapes(), panel=st.sampled_from([16, 48, 1024]))
def test_runs_cover_every_pixel_once(shape: ConvShape, panel: int) -> None:
    rng = np.random.default_rng(shape.pixels)
    pixel = np.where(rng.random(shape.pixels + 40) < 0.8, np.arange(shape.pixels + 40) - 20, -1)
    pixel = np.where((pixel >= 0) & (pixel < shape.pixels), pixel, -1)
    found, first = runs(pixel, panel)
    assert first[0] == 0
    assert first[-1] == len(found)
    for i, (lo, hi) in enumerate(itertools.pairwise(first)):
        assert all(i * panel <= a < b <= (i + 1) * panel for a, b, _ in found[lo:hi])
    made = {q: q + added for a, b, added in found for q in range(a, b)}
    assert made == {q: p for q, p in enumerate(pixel) if p >= 0}


@HERE
def test_a_kernel_refuses_other_layouts() -> None:
    kernel = kernel_of(SHAPE, fitting(Csr(64), 8, SHAPE.k), Epilogue())
    x = planes_of(SHAPE, 1, "float32")
    with pytest.raises(
        KernelError, match=r"from tiles to natural: an int8 convolution of 20 x 9 x 11.*natural or pixels"
    ):
        kernel.on_layout(laid(x, TILES), None, TILES, NATURAL, ())
    with pytest.raises(KernelError, match=r"from natural to tiles.*natural or pixels"):
        kernel.on_layout(x, None, NATURAL, TILES, ())
    half = kernel_of(SHAPE, fitting(Csr(64), 8, SHAPE.k, dtype="bfloat16"), Epilogue())
    assert kernel.laid_served
    assert not half.laid_served, "layouts are of float32"


@HERE
def test_a_slot_whose_kernel_is_another_serves_pixels_as_well() -> None:
    """A saved graph may hand pixels to a layer that was tuned again."""
    weight, epilogue = fitting(Csr(64), 8, SHAPE.k), Epilogue(residual=True)
    x, other = planes_of(SHAPE, 2, "float32"), planes_of(SHAPE, 2, "float32", 8)
    kernel = kernel_in_float(Csr(64), SHAPE, weight, epilogue, None, None, 2)
    slot = ops.SlotKernels((0,), (kernel,), SHAPE.inputs, SHAPE.pixels)
    y = slot.on_layout(laid(x, PIXELS), laid(other, PIXELS), PIXELS, PIXELS, ())
    assert torch.equal(y, laid(kernel(x, other), PIXELS))


def test_the_texts(golden: Callable[[str, str], None]) -> None:
    golden("int8_pixels.mlir", octets_of_pixels_text() + pixels8_text(5, Epilogue(True, "relu", residual=True)))


ALONE = {"csr": 0.8e-4, "fours": 1e-4}
"""Seconds of two images."""


def seconds(name: str) -> float:
    """Dense 200 us; of one image in layouts 15 less each."""
    if name.startswith("dense"):
        return 2e-4
    alone = ALONE["fours" if "fours" in name else "csr"]
    if " to " not in name:
        return alone
    return alone / 2 - 15e-6 * sum(layout != NATURAL for layout in name.split()[-3::2])


def time(self: Tuner, work: Mapping[str, Callable[[], object]], **_: Any) -> dict[str, float]:
    """In the place of a clock."""
    for run in work.values():
        run()
    return {name: seconds(name) for name in work}


# --- networks ---------------------------------------------------------------------------------------------------------


@HERE
@pytest.mark.parametrize("floating", [(), ("4.b",), ("4.a", "5.c"), ("3", "4.c", "5.a", "5.b")], ids=str)
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_network_of_both_kinds_is_laid_out_and_says_the_same(floating: tuple[str, ...], dynamic: bool) -> None:
    model = network()
    examples = [torch.randn(2, 3, 21, 25), torch.randn(3, 3, 21, 25)][: 1 + dynamic]
    compiled = spcomp.compile(
        model, *examples, **INT8, engine="eager", guard=False, layers={**dict.fromkeys(floating, "csr"), "*": "fours"}
    )
    calls = {i: slot.kernels[0].call for i, slot in enumerate(compiled.parts.table)}
    convs = {i: c.conv for i, c in calls.items() if c.conv is not None}
    int8 = frozenset(i for i in convs if calls[i].quantize)
    assert {calls[i].layer for i in convs} - {calls[i].layer for i in int8} == set(floating)
    program = compiled.parts.programs[0]
    gm = LayOut(convs, int8=int8).run(program.gm, PassContext())
    verify(gm)
    made = {calls[n.args[2]].layer: (n.args[4], n.args[5]) for n in gm.graph.nodes if n.target is ops.CONV_LAID}
    if not floating:
        assert set(made) == {"3", *(f"{block}.{part}" for block in (4, 5) for part in "abc")}
        assert made["4.b"] == (PIXELS, PIXELS)
    assert any(PIXELS in pair for pair in made.values())
    assert all((PIXELS in pair) <= (layer not in floating) for layer, pair in made.items())
    make_ready(gm, compiled.parts.table)
    lifted = [compiled.parts.tensors[name] for name in program.lifted]
    for batch in (2, *((5,) if dynamic else ())):
        x = torch.randn(batch, 3, 21, 25)
        with torch.no_grad(), ops.active(compiled.parts.table):
            y, plain = gm(*lifted, x)[0], program.gm(*lifted, x)[0]
        assert relative(y, plain) < (1e-6 if not floating else 1e-2), "a float may round to the byte beside"
        assert relative(y, model(x).double()) < 0.1


@HERE
@needs_inductor
def test_a_compiled_network_hands_on_pixels_and_is_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    monkeypatch.setattr(Tuner, "time", time)
    model, x = network(), torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(model, x, **INT8, encodings=["fours"], cache_dir=tmp_path / "cache")
    graph = str(compiled.parts.programs[0].gm.graph)
    assert "pixels, pixels" in graph
    assert "tiles" not in graph
    shown = str(compiled.explain())
    assert "reads pixels and makes pixels: " in shown
    for d in compiled.explain().decisions:
        assert d.quantize == "int8"
        assert 0 < d.error <= d.error_limit
    assert relative(compiled(x), model(x).double()) < 0.1
    found = compiled.verify(x)
    assert found.ok, str(found)
    loaded = spcomp.load(compiled.save(tmp_path / "m"), cache_dir=tmp_path / "cache")
    assert "pixels, pixels" in str(loaded.parts.programs[0].gm.graph)
    assert torch.equal(loaded(x), compiled(x))
    assert torch.equal(compiled.update_weights(model)(x), compiled(x))


@HERE
@needs_inductor
@pytest.mark.parametrize("alone", ["float", "int8"])
@pytest.mark.parametrize(("turned", "kept"), [(1.5, 1.2), (1.2, 1.5)])
def test_layers_turn_between_others_where_that_is_faster(
    alone: str, turned: float, kept: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The clock says of every layer alone that one kind is faster, of whole programs the other or the same."""
    told = iter((turned, kept))
    int8 = (alone == "int8") == (kept > turned)
    monkeypatch.setitem(ALONE, "fours", 1e-4 if alone == "float" else 0.6e-4)
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: next(told))
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)

    monkeypatch.setattr(Tuner, "time", time)
    model, x = network(), torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(
        model, x, memory_budget=1e6, quantize="int8", encodings=["csr", "fours"], cache_dir=tmp_path
    )
    blocks = [d for d in compiled.explain().decisions if d.layer.startswith(("4.", "5."))]
    assert len(blocks) == 6
    assert all((d.quantize == "int8") == int8 for d in blocks)
    graph = str(compiled.parts.programs[0].gm.graph)
    assert ("pixels, pixels" in graph) == int8
    assert ("tiles, tiles" in graph) != int8
    assert next(told, None) is None, "both were timed"
    if alone == "int8" and not int8:
        assert "its neighbours hand on planes and want tiles: 10 us, int8 fours(" in blocks[1].reason
        assert "takes 30 on natural planes" in blocks[1].reason
    if int8 and alone == "float":
        middle = blocks[1].reason
        assert "its neighbours hand on pixels and want pixels: 20 us, csr(" in middle
        assert "takes 40 on natural planes" in middle
    assert all(0 < d.error <= d.error_limit for d in blocks if int8)
    assert compiled.verify(x).ok


@HERE
def test_saved_graphs_with_pixels_are_checked() -> None:
    weight = fitting(Csr(64), 8, SHAPE.k)
    call, size = call8(SHAPE, weight, Epilogue(residual=True), 1, 64), list(SHAPE.size(8))
    x, other = laid(planes_of(SHAPE, 1, "float32"), PIXELS), laid(planes_of(SHAPE, 1, "float32", 8), PIXELS)

    def node(x: torch.Tensor, other: torch.Tensor, *args: Any) -> torch.fx.Node:
        graph = torch.fx.Graph()
        values = [graph.placeholder("x"), graph.placeholder("other")]
        values[0].meta["val"], values[1].meta["val"] = x, other
        return graph.call_function(ops.CONV_LAID, (*values, 0, size, *args))

    assert fits(node(x, other, PIXELS, PIXELS, []), [call])
    for wrong in (
        (x, other, TILES, PIXELS, []), (x, other, PIXELS, TILES, []), (x, other, PIXELS, PIXELS, [1, 2, 3, 4]),
        (x[:, :-PARTS], other, PIXELS, PIXELS, []), (x, other[:, :-1], PIXELS, PIXELS, []),
        (x.double(), other, PIXELS, PIXELS, []), (x, other, PIXELS, NATURAL, []),
    ):  # fmt: skip
        assert not fits(node(*wrong), [call]), wrong[2:]
    assert not fits(node(x, other, PIXELS, PIXELS, []), [replace(call, quantize="")])


def test_near_losers_turn_and_far_ones_pay_their_lag() -> None:
    near = LaidSeconds({PIXELS: 50e-6, NATURAL: 60e-6}, {NATURAL: 2e-6, PIXELS: -2e-6}, served=40e-6)
    far = replace(near, served=30e-6)
    assert Layable(SHAPE, "k", near, "int8", "csr", turned=True).weighed == replace(near, served=math.inf)
    assert Layable(SHAPE, "k", far, "int8", "csr", turned=True).weighed == far
    assert Layable(SHAPE, "k", near, "", "best dense").weighed == near, "dense layers are weighed as they were timed"
