"""Networks of convolutions laid down whole, for one image: poolings, means and heads too; more images as before."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.fake import refake
from spcomp.codegen.inductor import unavailable
from spcomp.codegen.laid_program import Call, Laid, LaidProgram
from spcomp.codegen.mlir_cpu import parallel, small
from spcomp.conv_layout import TILES, laid, shape_of
from spcomp.parts import LAID_DOWN
from tests.kernels import relative
from tests.models import prune
from tests.test_conv import needs_code
from tests.test_conv_layouts import laid_out, network

aten = torch.ops.aten

pytestmark = [needs_code, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever may be laid down is."""
    monkeypatch.setattr("spcomp.whole.paired_speedup", lambda *_: 1.5)
    monkeypatch.setattr("spcomp.guard.MARGIN", 0.0)


def parts_of(compiled: spcomp.CompiledModule) -> list[Call | Laid]:
    run = compiled.parts.programs[0].run
    assert isinstance(run, LaidProgram)
    return run.parts(compiled.parts.table)


def targets(compiled: spcomp.CompiledModule) -> list[Any]:
    return [n.target for n in compiled.parts.programs[0].gm.graph.nodes if n.op == "call_function"]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_is_one_call(threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "MIN_PRODUCTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        model, x = network(), torch.randn(1, 3, 21, 25)
        compiled = spcomp.compile(model, x, policy="force")
        (part,) = parts_of(compiled)
        assert isinstance(part, Laid)
        assert part.layers == 9, "eight convolutions and the head"
        assert compiled.explain().engines[0].startswith(LAID_DOWN)
        loaded = spcomp.load(compiled.save(tmp_path / "network"))
        last = torch.randn(1, 3, 21, 25).to(memory_format=torch.channels_last)
        for given in (x, torch.randn(1, 3, 21, 25), last):
            exact = model(given)
            assert relative(compiled(given), exact) < 1e-5
            assert torch.equal(loaded(given), compiled(given))
    finally:
        torch.set_num_threads(before)


def test_several_images_take_inductors_way() -> None:
    """One after the other through a chain, which is faster than layer after layer."""
    torch.manual_seed(0)
    model, x = network(), torch.randn(3, 3, 21, 25)
    compiled = spcomp.compile(model, x, policy="force")
    assert not isinstance(compiled.parts.programs[0].run, LaidProgram)
    assert relative(compiled(x), model(x)) < 1e-5


class Ends(nn.Module):
    """Means over one, two and all last dimensions, kept or not; a pooling that is not the whole plane."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        y = torch.relu(self.second(torch.relu(self.first(x))))
        halves = nn.functional.adaptive_avg_pool2d(y, 2)
        return y.mean((2, 3)), y.mean((-2, -1), keepdim=True), y.mean(3), y.mean((1, 2, 3)), y.mean(1), halves


def test_means() -> None:
    torch.manual_seed(0)
    model = Ends().eval()
    for conv in (model.first, model.second):
        conv.weight.data.mul_(torch.rand(conv.weight.shape) < 0.2)
    x = torch.randn(1, 16, 7, 19)
    compiled = spcomp.compile(prune(model), x, policy="force")
    called = [str(p.node.target) for p in parts_of(compiled) if isinstance(p, Call)]
    assert sorted(set(called)) == ["aten.adaptive_avg_pool2d.default", "aten.mean.dim"], "of channels, and of quarters"
    assert called.count("aten.mean.dim") == 1
    for y, exact in zip(compiled(x), model(x), strict=True):
        assert y.shape == exact.shape
        assert relative(y, exact) < 1e-5


@pytest.mark.parametrize("columns", [1, 16, 49, 1000])
def test_the_mean_of_rows(columns: int) -> None:
    x, y = torch.randn(11, columns), torch.full((12,), 7.0)
    ((steps,),) = small.mean(11, columns).stages((x.data_ptr(),), y.data_ptr(), 0)
    for function, arguments in steps:
        function.call(*arguments)
    assert relative(y[:11], x.double().mean(1)) < 1e-6
    assert y[11] == 7


@pytest.mark.parametrize("size", [(5, 3, 7), (16, 4, 4), (33, 6, 7), (1, 1, 1), (8, 50)])
def test_planes_tiles_and_their_means(size: tuple[int, ...]) -> None:
    channels, pixels = size[0], math.prod(size[1:])
    x = torch.randn(1, *size)
    xs, back = torch.full(shape_of(TILES, size, ()), 3.0), torch.full_like(x, 3.0)
    mean = torch.full((channels,), 3.0)
    for work, source, made in (
        (small.planes(channels, pixels, into=True), x, xs),
        (small.planes(channels, pixels), xs, back),
        (small.mean_of_tiles(channels, pixels), xs, mean),
    ):
        ((steps,),) = work.stages((source.data_ptr(),), made.data_ptr(), 0)
        for function, arguments in steps:
            function.call(*arguments)
    assert torch.equal(xs, laid(x, TILES)[0])
    assert torch.equal(back, x)
    assert relative(mean, x.double().reshape(channels, -1).mean(1)) < 1e-6


class Planes(nn.Module):
    """A residual that is there as natural planes only, and tiles that somebody else reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(32, 32, 1) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.relu(self.second(torch.relu(self.first(x))) + x)
        return self.third(y).sin(), y.mean((2, 3))


@pytest.mark.parametrize("plane", [(7, 7), (4, 8)])
def test_copies_between_layouts_are_part_of_the_call(plane: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.passes.lay_out.layouts", lambda convs, *_: dict.fromkeys(convs, (TILES, ())))
    torch.manual_seed(0)
    model = Planes().eval()
    for conv in (model.first, model.second, model.third):
        conv.weight.data.mul_(torch.rand(conv.weight.shape) < 0.2)
    x = torch.randn(1, 32, *plane)
    plain = spcomp.compile(prune(model), x, policy="force", engine="eager")
    graph, table = plain.parts.programs[0], plain.parts.table
    gm = laid_out(plain)
    assert sum(n.target is aten.constant_pad_nd.default for n in gm.graph.nodes) == 1, "x as a residual"
    given = [plain.parts.tensors[name] for name in graph.lifted]
    refake(gm, given, graph.signature, graph.hints)
    program = LaidProgram(gm)
    parts = program.parts(table)
    assert [str(p.node.target) for p in parts if isinstance(p, Call)] == ["aten.sin.default"]
    with torch.no_grad(), ops.active(table):
        for y, exact in zip(program(*given, x), model(x), strict=True):
            assert y.shape == exact.shape
            assert relative(y, exact) < 1e-5


def test_a_pooling_between_convolutions_is_part_of_the_call() -> None:
    torch.manual_seed(0)
    parts = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(32, 32, 3, padding=1)]
    model = nn.Sequential(*parts).eval()
    for conv in (model[0], model[3]):
        conv.weight.data.mul_(torch.rand(conv.weight.shape) < 0.2)  # type: ignore[operator, union-attr]
    x = torch.randn(1, 16, 12, 20)
    compiled = spcomp.compile(model, x, policy="force")
    assert ops.MAX_POOL in targets(compiled)
    assert len(parts_of(compiled)) == 1
    assert relative(compiled(x), model(x)) < 1e-5
