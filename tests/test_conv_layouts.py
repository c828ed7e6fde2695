"""What convolutions hand to each other: layouts, the kernels that read and make them, and the pass that chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp import dense_program, ops
from spcomp.artifact.fitting import fits
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.max_pool import Pool, max_pool, pool_text, pooled
from spcomp.codegen.mlir_cpu.segments import planes_destination, segments, tiles_destination
from spcomp.codegen.reference.conv import conv as reference
from spcomp.conv_layout import (
    LAYOUTS,
    NATURAL,
    PARTS,
    PIXELS,
    PLANES,
    TILES,
    Padded,
    laid,
    makes,
    natural,
    reads,
    shape_of,
    takes,
)  # fmt: skip
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.errors import KernelError
from spcomp.options import Options
from spcomp.passes.base import PassContext, verify
from spcomp.passes.channels_last import ChannelsLast
from spcomp.passes.lay_out import LayOut, make_ready
from spcomp.plan import Epilogue
from spcomp.planning import make_planner
from tests.conftest import Golden
from tests.kernels import fitting, inputs, relative
from tests.models import prune
from tests.test_conv import conv_shapes, kernel_of, needs_code, planes_of, vectors

QUICK: dict[str, Any] = {"policy": "force", "engine": "eager", "memory_budget": 1e6}


def padded_for(shape: ConvShape) -> list[int]:
    """Planes that hold a result of this convolution with an uneven border."""
    high, wide = shape.output
    return [high + 2, wide + 5, 1, 2] if shape.dims == 2 else [1, wide + 5, 0, 2]


@given(shape=conv_shapes(), layout=st.sampled_from(LAYOUTS), images=st.integers(1, 3))
def test_a_layout_and_back(shape: ConvShape, layout: str, images: int) -> None:
    x = planes_of(shape, images, "float32", 5)
    planes = padded_for(shape)
    made = laid(x, layout, planes)
    assert made.shape == (images, *shape_of(layout, x.shape[1:], planes))
    assert torch.equal(natural(made, layout, x.shape[1:], planes), x)
    if layout == PIXELS:
        made, behind = made.split([made.shape[1] - PARTS, PARTS], 1)
        assert torch.equal(behind[:, 0], x.abs().flatten(1).amax(1))
        assert not behind[:, 1:].any()
    assert made.sum().item() == pytest.approx(x.sum().item(), abs=1e-3), "what is added is zero"


@needs_code
@settings(max_examples=40)
@given(
    shape=conv_shapes(),
    n=st.sampled_from([1, 16, 29, 130]),
    epilogue=st.builds(
        Epilogue, st.booleans(), st.sampled_from(["none", "relu", "silu"]), st.booleans(), st.booleans()
    ),
    images=st.sampled_from([1, 3]),
    made=st.sampled_from(makes()),
)
def test_kernels_read_and_make_every_layout(
    shape: ConvShape, n: int, epilogue: Epilogue, images: int, made: str
) -> None:
    weight = fitting(Csr(64), n, shape.k, density=0.2)
    bias, scale = vectors(n, epilogue, "float32")
    kernel = kernel_of(Csr(64), shape, weight, epilogue, bias, scale, images)
    x, planes = planes_of(shape, images, "float32"), padded_for(shape) if made == PLANES else []
    other = planes_of(shape, images, "float32", n, seed=2) if epilogue.residual else None
    exact = reference(x, weight, shape, bias, epilogue.activation, scale, *(() if other is None else (other,)))
    residual = None if other is None else laid(other, made, planes)
    for given_ in reads(shape):
        xs = laid(x, given_, Padded.read_by(shape).numbers() if given_ == PLANES else ())
        kernel.ready(given_, made, tuple(planes))
        y = kernel.on_layout(xs, residual, given_, made, tuple(planes))
        assert y.shape == (images, *shape_of(made, shape.size(n), planes))
        plain = natural(y, made, shape.size(n), planes)
        assert relative(plain, exact) <= 1e-5
        if made == PLANES:
            assert torch.equal(laid(plain, made, planes), y), "zeros all around"


@needs_code
def test_a_kernel_refuses_a_layout_that_it_does_not_read() -> None:
    shape = ConvShape(2, 4, 6, 6, (3, 3), padding=(1, 1))
    assert reads(shape) == (PLANES, NATURAL, TILES)
    strided = replace(shape, stride=(2, 2))
    assert reads(strided) == (NATURAL, TILES)
    kernel = kernel_of(Csr(64), strided, fitting(Csr(64), 8, shape.k), Epilogue(), None, None)
    with pytest.raises(KernelError, match=r"on planes: a convolution of 4 x 6 x 6, 3 x 3, stride 2 x 2.*natural"):
        kernel.on_layout(torch.zeros(1, 272), None, PLANES, NATURAL, ())
    with pytest.raises(KernelError, match=r"on pixels: a convolution of 4 x 6 x 6.*natural"):
        kernel.on_layout(torch.zeros(1, 4, 6, 6), None, NATURAL, PIXELS, ())
    assert takes(ConvShape(2, 4, 6, 6, (1, 1), padding=(1, 1))) == NATURAL


def test_segments_end_where_rows_tiles_and_neighbours_do() -> None:
    pixel = np.array([0, 1, 2, -1, 3, 4, 5, -1] + [-1] * 8)
    into_planes = segments(pixel, planes_destination(2, 3, Padded(4, 5, 1, 1)), 1, 20)
    assert into_planes.to.tolist() == [6 + 16, 11 - 4 + 16]
    assert into_planes.masks.tolist() == [0b111, 0b1110000]
    many = np.arange(32)
    into_tiles = segments(many, tiles_destination(32, 7), 9, 16)
    assert into_tiles.to.tolist() == [16, 7 * 16 + 16]
    assert into_tiles.source.tolist() == [0, 9 * 16]
    assert into_tiles.first.tolist() == [0, 1, 2]


class Bottleneck(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, inner, 3, padding=1), nn.Conv2d(inner, channels, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.a(x))
        y = F.relu(self.b(y))
        return F.relu(self.c(y) + x)


def network() -> nn.Module:
    stem = nn.Conv2d(3, 24, 3, stride=2, padding=1)
    parts = [stem, nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(24, 32, 1), Bottleneck(32, 16), Bottleneck(32, 16)]
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data.mul_(torch.rand(module.weight.shape) < 0.3)
    return prune(model)  # type: ignore[no-any-return]


def laid_out(compiled: spcomp.CompiledModule) -> torch.fx.GraphModule:
    slots = {i: slot.kernels[0].call.conv for i, slot in enumerate(compiled.parts.table)}
    kept = {i: conv for i, conv in slots.items() if conv is not None}
    program = compiled.parts.programs[0]
    gm = LayOut(kept).run(program.gm, PassContext())
    verify(gm)
    return gm


def run(gm: torch.fx.GraphModule, compiled: spcomp.CompiledModule, x: torch.Tensor) -> torch.Tensor:
    lifted = [compiled.parts.tensors[name] for name in compiled.parts.programs[0].lifted]
    with torch.no_grad(), ops.active(compiled.parts.table):
        out: torch.Tensor = gm(*lifted, x)[0]
    return out


@needs_code
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_network_is_laid_out_and_says_the_same(dynamic: bool) -> None:
    model = network()
    examples = [torch.randn(2, 3, 21, 25), torch.randn(3, 3, 21, 25)][: 1 + dynamic]
    compiled = spcomp.compile(model, *examples, **QUICK)
    gm = laid_out(compiled)
    found = [(n.args[4], n.args[5]) for n in gm.graph.nodes if n.target is ops.CONV_LAID]
    block = [(TILES, PLANES), (PLANES, TILES), (TILES, TILES)]
    assert found == [(NATURAL, TILES), *block, *block]
    assert sum(n.target is ops.MAX_POOL for n in gm.graph.nodes) == 1
    assert sum(n.target is ops.CONV for n in gm.graph.nodes) == 1, "the stem's result is pooled"
    make_ready(gm, compiled.parts.table)
    for batch in (2, *((4,) if dynamic else ())):  # a batch of 1 is another program
        x = torch.randn(batch, 3, 21, 25)
        assert relative(run(gm, compiled, x), model(x)) < 1e-5
    with torch.no_grad(), ops.active([_plain(slot) for slot in compiled.parts.table]):  # type: ignore[misc]
        lifted = [compiled.parts.tensors[name] for name in compiled.parts.programs[0].lifted]
        assert relative(gm(*lifted, examples[0])[0], model(examples[0])) < 1e-5


def _plain(slot: ops.SlotKernels) -> ops.SlotKernels:
    """The same layer by kernels that know no layouts."""

    class Plain:
        def __init__(self, kernel: Any) -> None:
            self.call, self._kernel = kernel.call, kernel

        def __call__(self, *x: torch.Tensor) -> torch.Tensor:
            return self._kernel(*x)  # type: ignore[no-any-return]

    return replace(slot, kernels=tuple(Plain(k) for k in slot.kernels))  # type: ignore[misc]


@needs_code
@pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))
def test_a_compiled_network_with_layouts_is_verified_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("spcomp.tiling.speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)
    model, x = network(), torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(model, x, policy="force", memory_budget=1e6)
    assert "conv_laid_v1" in str(compiled.parts.programs[0].gm.graph)
    assert relative(compiled(x), model(x)) < 1e-5
    found = compiled.verify(x)
    assert found.ok, str(found)
    assert len(found.layers) == len(compiled.explain().decisions)
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert torch.equal(loaded(x), compiled(x))


@needs_code
def test_a_value_that_is_written_to_stays_natural() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            y[:, 0].zero_()
            return self.b(y)

    model, x = Written().eval(), torch.randn(2, 8, 6, 6)
    for conv in (model.a, model.b):
        conv.weight.data.mul_(torch.rand(conv.weight.shape) < 0.3)
    compiled = spcomp.compile(model, x, **QUICK)
    assert "conv_laid" not in str(laid_out(compiled).graph)
    assert relative(compiled(x), model(x)) < 1e-5


@needs_code
def test_saved_graphs_with_layouts_are_checked() -> None:
    model, x = network(), torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(model, x, **QUICK)
    calls = [slot.kernels[0].call for slot in compiled.parts.table]
    i = next(i for i, c in enumerate(calls) if c.conv is not None and takes(c.conv) == TILES)
    conv = calls[i].conv
    assert conv is not None
    size, n = list(conv.size(calls[i].n)), calls[i].n

    def node(value: torch.Tensor, *args: Any) -> torch.fx.Node:
        graph = torch.fx.Graph()
        given_ = graph.placeholder("x")
        given_.meta["val"] = value
        return graph.call_function(ops.CONV_LAID, (given_, None, i, *args))

    tiles = torch.zeros(1, *shape_of(TILES, (conv.channels, conv.height, conv.width), ()))
    high, wide = conv.output
    assert fits(node(tiles, size, TILES, TILES, []), calls)
    assert fits(node(tiles, size, TILES, PLANES, [high + 2, wide + 2, 1, 1]), calls)
    for wrong in (
        (size, PLANES, TILES, []), (size, "sideways", TILES, []), (size, TILES, "sideways", []),
        (size, TILES, PLANES, []), (size, TILES, PLANES, [high, wide, 1, 1]), (size, TILES, TILES, [1, 2, 3, 4]),
        ([n + 1, *size[1:]], TILES, TILES, []), (size, TILES, PLANES, [high, wide, -1, 0]),
    ):  # fmt: skip
        assert not fits(node(tiles, *wrong), calls), wrong
    assert not fits(node(tiles[:, :, :-1], size, TILES, TILES, []), calls)
    assert not fits(node(tiles.double(), size, TILES, TILES, []), calls)


@pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))
@settings(max_examples=25)
@given(
    height=st.integers(3, 20), width=st.integers(3, 70), kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 2)), padding=st.tuples(st.integers(0, 1), st.integers(0, 2)),
)  # fmt: skip
def test_max_pooling_is_torchs(
    height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    assume(all(2 * p <= k <= size for p, k, size in zip(padding, kernel, (height, width), strict=True)))
    x = inputs(2, 3, height, width)
    x[0, 0, 0, 0], x[0, 1, 1, 1], x[1, 2] = torch.nan, torch.inf, -torch.inf
    y = pooled(x, Pool(height, width, kernel, stride, padding))
    assert torch.equal(y.nan_to_num(7.0), F.max_pool2d(x, kernel, stride, padding).nan_to_num(7.0))


def test_other_poolings_go_to_torch() -> None:
    x = inputs(2, 3, 9, 9)
    numbers = {"kernel": [3, 3], "stride": [1, 3], "padding": [0, 0]}
    assert torch.equal(max_pool(x, **numbers), F.max_pool2d(x, 3, (1, 3)))
    assert torch.equal(max_pool(x.double(), **numbers), F.max_pool2d(x.double(), 3, (1, 3)))


@pytest.mark.parametrize("faster", [True, False])
def test_the_dense_program_is_the_faster_of_two(faster: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gains: list[int] = []

    def measured(*sides: Any) -> float:
        gains.append(1)
        return 1.3 if faster else 0.9

    monkeypatch.setattr(dense_program, "speedup", measured)
    model, x = network(), torch.randn(2, 3, 21, 25)
    compiled = spcomp.compile(model, x, policy="off")
    graph = str(compiled.parts.programs[0].gm.graph)
    assert gains
    assert ("conv_last_v1" in graph) == faster
    assert relative(compiled(x), model(x)) < 1e-5
    assert compiled.verify(x).ok
    loaded = spcomp.load(compiled.save(tmp_path / "m"))
    assert relative(loaded(x), model(x)) < 1e-5


def test_channels_last_leaves_other_programs_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).eval()
    compiled = spcomp.compile(model, torch.randn(2, 4), engine="eager", policy="off")
    gm = compiled.parts.programs[0].gm
    assert ChannelsLast().run(gm, PassContext()) is gm
    assert LayOut({}).run(gm, PassContext()) is gm
    planner = make_planner(Options(), 1)
    programs, built = dense_program.best_dense_program(planner, compiled.parts.programs, [], [], {}, [], "eager")
    assert (programs, built) == (compiled.parts.programs, [])


def test_golden_text(golden: Golden) -> None:
    golden("mlir_max_pool.txt", pool_text(Pool(8, 9, (3, 3), (2, 2), (1, 1))))
