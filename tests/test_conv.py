"""Convolutions: the kernel against the reference, what is fused into it, and whole models with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.baked_cpu.conv import BakedConv
from spcomp.codegen.dense import best_dense
from spcomp.codegen.mlir_cpu.planes import Planes, planes_text
from spcomp.codegen.mlir_cpu.segments import border_text, finish_text, tiles_text
from spcomp.codegen.reference.conv import conv as reference
from spcomp.conv_shape import ConvShape
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.matrix import matrix_of, weight_of
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import TORCH_DTYPES, pack
from spcomp.encodings.spec import Encoding
from spcomp.errors import PlanError
from spcomp.plan import Epilogue, KernelCall, KernelPlan, RowRange
from spcomp.tolerance import TOLERANCES
from tests.conftest import Golden
from tests.kernels import fitting, inputs, relative
from tests.models import prune

BACKEND = BakedCpu()
needs_code = pytest.mark.skipif(BACKEND.unavailable() is not None, reason=str(BACKEND.unavailable()))
SHAPE = ConvShape(2, 20, 9, 11, (3, 3), padding=(1, 1))


def call_of(encoding: Encoding, shape: ConvShape, weight: torch.Tensor, epilogue: Epilogue, images: int) -> KernelCall:
    m = shape.pixels * images
    dtype = str(weight.dtype).removeprefix("torch.")
    return KernelCall(
        "layer", 0, RowRange(m, m), len(weight), shape.k, dtype, encoding, int((weight != 0).sum()),
        int((weight != 0).sum()), 0, "", epilogue, "baked_cpu", "cpu-avx512", op="conv", conv=shape,
    )  # fmt: skip


def kernel_of(
    encoding: Encoding,
    shape: ConvShape,
    weight: torch.Tensor,
    epilogue: Epilogue,
    bias: torch.Tensor | None,
    scale: torch.Tensor | None,
    images: int = 1,
) -> BakedConv:
    call = call_of(encoding, shape, weight, epilogue, images)
    (schedule,) = BACKEND.schedules(call, 64)
    kernel = BACKEND.build(replace(call, schedule=schedule), pack(weight, encoding), bias, scale)
    assert isinstance(kernel, BakedConv)
    return kernel


def vectors(n: int, epilogue: Epilogue, dtype: str) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    bias = inputs(n, dtype=dtype, seed=8) if epilogue.bias else None
    return bias, inputs(n, dtype=dtype, seed=9).abs() if epilogue.scale else None


def planes_of(shape: ConvShape, images: int, dtype: str, channels: int | None = None, seed: int = 1) -> torch.Tensor:
    size = (shape.channels, shape.height, shape.width) if channels is None else (channels, *shape.output)
    return inputs(images, *(size if shape.dims == 2 else (size[0], size[2])), dtype=dtype, seed=seed)


@st.composite
def conv_shapes(draw: st.DrawFn) -> ConvShape:
    dims = draw(st.sampled_from([1, 2, 2]))
    down = (lambda s: draw(s)) if dims == 2 else (lambda s: 1)
    kernel = down(st.integers(1, 4)), draw(st.integers(1, 5))
    stride = down(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = down(st.integers(1, 2)), draw(st.integers(1, 2))
    padding = (draw(st.integers(0, 2)) if dims == 2 else 0), draw(st.integers(0, 3))
    size = down(st.integers(1, 14)), draw(st.integers(1, 37))
    fits = (s + 2 * p > d * (r - 1) for s, p, d, r in zip(size, padding, dilation, kernel, strict=True))
    assume(all(fits))
    return ConvShape(dims, draw(st.sampled_from([1, 3, 16, 20])), *size, kernel, stride, padding, dilation)


@needs_code
@settings(max_examples=40)
@given(
    shape=conv_shapes(),
    n=st.sampled_from([1, 16, 29, 130]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    epilogue=st.builds(
        Epilogue, st.booleans(), st.sampled_from(["none", "relu", "gelu", "silu"]), st.booleans(), st.booleans()
    ),
    images=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["float32", "float32", "bfloat16", "float16"]),
)
def test_agrees_with_the_reference(
    shape: ConvShape, n: int, density: float, epilogue: Epilogue, images: int, dtype: str
) -> None:
    weight = fitting(Csr(64), n, shape.k, density=density, dtype=dtype)
    bias, scale = vectors(n, epilogue, dtype)
    x = planes_of(shape, images, dtype)
    more = (planes_of(shape, images, dtype, n, seed=2),) if epilogue.residual else ()
    y = kernel_of(Csr(64), shape, weight, epilogue, bias, scale, images)(x, *more)
    exact = reference(x, weight, shape, bias, epilogue.activation, scale, *more)
    assert y.shape == exact.shape
    assert y.dtype == TORCH_DTYPES[dtype]
    assert relative(y, exact) <= TOLERANCES[dtype]


@needs_code
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [SHAPE, ConvShape(1, 20, 1, 31, (1, 5), (1, 2), (0, 2))], ids=str)
@pytest.mark.parametrize("encoding", [Csr(256), Nm(2, 4), Nm(1, 4), Block(8, 1), Block(4, 4)], ids=str)
def test_every_encoding(encoding: Encoding, shape: ConvShape, dtype: str) -> None:
    weight = fitting(encoding, 40, shape.k, dtype=dtype)
    epilogue = Epilogue(True, "relu", True, True)
    bias, scale = vectors(40, epilogue, dtype)
    kernel = kernel_of(encoding, shape, weight, epilogue, bias, scale)
    x, other = planes_of(shape, 2, dtype), planes_of(shape, 2, dtype, 40, seed=2)
    assert relative(kernel(x, other), reference(x, weight, shape, bias, "relu", scale, other)) <= TOLERANCES[dtype]
    assert kernel(x[:0], other[:0]).shape == (0, *shape.size(40))


@needs_code
def test_strides_of_memory_do_not_matter() -> None:
    weight = fitting(Csr(64), 40, SHAPE.k)
    kernel = kernel_of(Csr(64), SHAPE, weight, Epilogue(), None, None)
    x = planes_of(SHAPE, 2, "float32")
    assert torch.equal(kernel(x.transpose(2, 3).contiguous().transpose(2, 3)), kernel(x))
    assert kernel.extra_nbytes >= BACKEND.extra_nbytes(kernel.call) // 2


@needs_code
def test_a_skipped_weight_does_not_multiply_infinity() -> None:
    weight = torch.zeros(3, SHAPE.k)
    weight[0, 5], weight[1, 7] = 2.0, -0.0
    x = planes_of(SHAPE, 1, "float32")
    x[0, :, 4, 4] = torch.inf
    y = kernel_of(Csr(64), SHAPE, weight, Epilogue(), None, None)(x)
    exact = reference(x, weight, SHAPE, None, "none")
    assert torch.equal(torch.isnan(y), torch.isnan(exact))
    assert torch.equal(torch.isinf(y), torch.isinf(exact))
    assert bool((y[0, 2] == 0).all())


@needs_code
@pytest.mark.parametrize("over", [0, 4000])
def test_natural_planes_are_read_to_the_end_of_their_page_at_most(over: int) -> None:
    """A last tile reads past the input: in place if it stays in a page that is mapped anyway, else from a copy."""
    shape = ConvShape(2, 8, 5, 5, (2, 2))
    weight = fitting(Csr(64), 16, 32)
    kernel = kernel_of(Csr(64), shape, weight, Epilogue(), None, None)
    assert kernel.feed.over_bytes == 4 * 13, (
        "19 lanes from the first pixel to the last are two tiles; taps reach 6 further"
    )
    memory = torch.empty(8192 + 200)
    first = -(-memory.data_ptr() // 4096) * 4096 - memory.data_ptr() + 4096
    at = (first - 4 * 200 + (0 if over else -64)) // 4
    x = memory[at : at + 200].view(1, 8, 5, 5)
    x.copy_(planes_of(shape, 1, "float32"))
    assert relative(kernel(x), reference(x, weight, shape, None, "none")) <= 1e-5


@needs_code
def test_two_threads_give_the_same_bits(two_threads: None) -> None:
    kernel = kernel_of(Csr(64), SHAPE, fitting(Csr(64), 200, SHAPE.k), Epilogue(), None, None)
    x = planes_of(SHAPE, 2, "float32")
    both = kernel(x)
    torch.set_num_threads(1)
    assert torch.equal(kernel(x), both)


@pytest.mark.parametrize("shape", [SHAPE, ConvShape(1, 20, 1, 30, (1, 3), (1, 2), (0, 1))], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dense_members_agree(shape: ConvShape, dtype: str) -> None:
    epilogue = Epilogue(True, "relu", True, True)
    weight = fitting(Csr(64), 16, shape.k, dtype=dtype)
    bias, scale = vectors(16, epilogue, dtype)
    x, other = planes_of(shape, 2, dtype), planes_of(shape, 2, dtype, 16, seed=2)
    call = replace(call_of(Csr(64), shape, weight, epilogue, 2), encoding=Dense(), backend="dense")
    best = best_dense(call, weight, bias, [2 * shape.pixels], scale)
    exact = reference(x, weight, shape, bias, "relu", scale, other)
    for name in best.names(2 * shape.pixels):
        y = best.member(name)(*(x, other))
        assert y.is_contiguous()
        assert relative(y, exact) <= TOLERANCES[dtype], name
    assert best.measure().keys() == {2 * shape.pixels}
    assert relative(best(x, other), exact) <= TOLERANCES[dtype]


def test_the_matrix_of_a_weight_and_back() -> None:
    weight = inputs(6, 4, 3, 2)
    matrix = matrix_of(weight)
    assert matrix.shape == (6, 24)
    assert torch.equal(matrix[:, :4], weight[:, :, 0, 0]), "input channels are neighbours"
    assert torch.equal(weight_of(matrix, (4, 3, 2)), weight)
    assert matrix_of(matrix) is matrix


def test_the_reference_is_torchs_convolution() -> None:
    shape = ConvShape(2, 4, 9, 10, (3, 2), (2, 1), (1, 0), (1, 2))
    weight, x = inputs(6, 4, 3, 2), inputs(2, 4, 9, 10, seed=2)
    mine = reference(x, matrix_of(weight), shape, None, "none")
    theirs = F.conv2d(x.double(), weight.double(), None, (2, 1), (1, 0), (1, 2))
    assert mine.shape == theirs.shape == (2, *shape.size(6))
    assert torch.allclose(mine, theirs)


def test_a_plan_with_a_convolution_round_trips() -> None:
    call = call_of(Csr(64), SHAPE, torch.ones(4, SHAPE.k), Epilogue(True, "relu", True, True), 1)
    plan = KernelPlan((call,))
    assert KernelPlan.from_json(plan.to_json()) == plan
    assert call.activation_nbytes(99) == 4 * (20 * 99 + 2 * 4 * 99)
    for wrong in ({"op": "linear"}, {"k": 7}, {"conv": {**SHAPE.to_dict(), "width": 0}}, {"conv": {"dims": 2}}):
        with pytest.raises(PlanError):
            KernelCall.from_dict({**call.to_dict(), **wrong})
    assert str(SHAPE) == "20 x 9 x 11, 3 x 3, padding 1 x 1"


class Residual(nn.Module):
    """A bottleneck whose residual is computed after the convolution that it is added to."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 16, 1, bias=False), nn.Conv2d(16, 24, 3, stride, 1)
        self.norm_a, self.norm_b = nn.BatchNorm2d(16), nn.BatchNorm2d(24, affine=False)
        self.side = nn.Sequential(nn.Conv2d(8, 24, 1, stride, bias=False), nn.BatchNorm2d(24))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm_b(self.b(F.relu(self.norm_a(self.a(x)))))
        y += self.side(x)
        return F.relu(y)


def network(stride: int = 2) -> nn.Module:
    model = nn.Sequential(Residual(stride), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        if isinstance(module, nn.Conv2d):
            keep = torch.rand(module.weight.shape) < 0.15
            module.weight.data.mul_(keep)
    return prune(model)  # type: ignore[no-any-return]


@needs_code
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_network_with_everything_fused(dynamic: bool, tmp_path: Path) -> None:
    model = network()
    examples = [torch.randn(2, 8, 9, 9), torch.randn(3, 8, 9, 9)][: 1 + dynamic]
    quick = {"policy": "force", "engine": "eager", "memory_budget": 1e6}
    compiled = spcomp.compile(model, *examples, **quick)  # type: ignore[arg-type]
    graph = str(compiled.parts.programs[0].gm.graph)
    assert graph.count("spcomp.conv_v1") == 3
    assert "batch_norm" not in graph
    assert "relu" not in graph
    epilogues = {r.layer: r.epilogue for r in compiled.parts.slots}
    assert epilogues["0.a"] == Epilogue(True, "relu", True)
    assert sorted((e.scale, e.residual, e.activation) for e in epilogues.values()) == [
        (False, False, "none"), (True, False, "none"), (True, False, "relu"), (True, True, "relu"),
    ]  # fmt: skip
    loaded = spcomp.load(compiled.save(tmp_path / "m"), engine="eager")
    for batch in (2, *((1, 5) if dynamic else ())):
        x = torch.randn(batch, 8, 9, 9)
        assert relative(compiled(x), model(x)) < 1e-5
        assert torch.equal(loaded(x), compiled(x))
    assert compiled.verify(examples[0]).ok
    state, own = compiled.state_dict(), model.state_dict()
    assert set(state) == set(own)
    assert all(torch.equal(state[name], own[name]) for name in state)
    other = network()
    assert relative(compiled.update_weights(other)(examples[0]), other(examples[0])) < 1e-5


def test_what_is_not_fused_or_not_collected() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped, self.shared = nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            y = self.shared(self.grouped(x))
            return self.norm(y), y + y.mean()

    model = Odd().eval()
    x = torch.randn(2, 4, 8, 8)
    compiled = spcomp.compile(model, x, engine="eager", guard=False)
    assert [d.layer for d in compiled.explain().decisions] == ["shared"]
    graph = str(compiled.parts.programs[0].gm.graph)
    assert "batch_norm" in graph, "its input is used twice"
    assert all(relative(a, b) < 1e-5 for a, b in zip(compiled(x), model(x), strict=True))


def test_without_executable_memory_convolutions_stay_dense_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.codegen.x86.memory.unavailable", lambda: "executable memory is refused (for a test)")
    model = network()
    x = torch.randn(2, 8, 9, 9)
    compiled = spcomp.compile(model, x, engine="eager", guard=False)
    convolutions = [d for d in compiled.explain().decisions if d.layer != "3"]
    assert {d.encoding for d in convolutions} == {"dense"}
    assert all("executable memory is refused (for a test)" in d.reason for d in convolutions)
    assert relative(compiled(x), model(x)) < 1e-5


def test_golden_text(golden: Golden) -> None:
    planes = Planes(ConvShape(2, 3, 8, 8, (3, 3), (2, 2), (1, 1)))
    epilogue = Epilogue(True, "relu", True, True)
    texts = [planes_text(planes), tiles_text("f32"), border_text()]
    texts += [finish_text(epilogue, "f32", by_rows=by_rows) for by_rows in (True, False)]
    golden("mlir_conv_planes.txt", "\n".join(texts))
