"""Weights and inputs as int8: the laws of rounding, the kernels against the reference, bounds, and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.check import relative_error
from spcomp.codegen import dense_int8
from spcomp.codegen.dense import best_dense
from spcomp.codegen.mlir_cpu.bitmap8 import bitmap8_text
from spcomp.codegen.mlir_cpu.int8 import QuadKernel
from spcomp.codegen.mlir_cpu.int8_few import NaturalInt8Kernel
from spcomp.codegen.mlir_cpu.int8_rows import finish_text, quantize_text, unpack_int8_text
from spcomp.codegen.mlir_cpu.quad import quad_text
from spcomp.codegen.reference.backend import Reference, linear
from spcomp.codegen.reference.int8 import error_bound, linear_int8, quantize_tokens
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.fours import Fours
from spcomp.encodings.int8 import WIDEST, Int8Weight, dequantize, quantize_weight
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.quad import Quad
from spcomp.encodings.spec import Encoding, Refusal
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import ACTIVATIONS, Epilogue, KernelCall, Schedule
from spcomp.tolerance import TOLERANCES
from tests.guarded import Guarded
from tests.kernels import BACKEND, call_of, dense_call, fitting, inputs, relative

FORMS: list[Encoding] = [
    Quad(1), Quad(4), Quad(8), Bitmap(), Fours(32), Fours(64), Fours(128), Fours(256), Nm(2, 4), Nm(1, 4), Nm(4, 8),
    Nm(1, 16), Nm(8, 16),
]  # fmt: skip
HERE = pytest.mark.skipif(
    sum(key.dtype == "int8" for key in BACKEND.capabilities()) < 4,
    reason="needs torch-mlir, AVX-512 VNNI, VBMI and VBMI2",
)
DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def quantised(weight: torch.Tensor) -> Int8Weight:
    made = quantize_weight(weight)
    assert isinstance(made, Int8Weight)
    return made


def call8(
    encoding: Encoding, weight: torch.Tensor, *, bias: bool = False, activation: str = "none", schedule: Schedule = ()
) -> tuple[KernelCall, PackedTensor, torch.Tensor]:
    """The quantised call of a weight, what it packs to, and the scales of its rows."""
    made = quantised(weight)
    call, packed = call_of(encoding, made.values, epilogue=Epilogue(bias, activation), schedule=schedule)
    return replace(call, dtype=DTYPES[weight.dtype], quantize="int8"), packed, made.scale


def kernels(encoding: Encoding, weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> list[Kernel]:
    call, packed, scale = call8(encoding, weight, bias=bias is not None, activation=activation)
    found = dict.fromkeys(s for m in (1, 15, 40, 129) for s in BACKEND.schedules(call, m))
    return [BACKEND.build(replace(call, schedule=s), packed, bias, scale) for s in found]


def agree(kernel: Kernel, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
    """The reference's int8, to rounding; NaN where it has NaN."""
    made = quantised(weight)
    y = kernel(x)
    assert y.shape == (*x.shape[:-1], weight.shape[0])
    assert y.dtype == weight.dtype
    exact = linear_int8(x, made.values, made.scale, bias, kernel.call.epilogue.activation)
    assert torch.equal(torch.isnan(y), torch.isnan(exact))
    limit = 1e-6 if weight.dtype is torch.float32 else TOLERANCES[kernel.call.dtype]
    assert relative(y.nan_to_num(0.0), exact.nan_to_num(0.0)) <= limit


# --- the laws of rounding ---------------------------------------------------------------------------------------------


@given(n=st.integers(0, 9), k=st.integers(0, 40), seed=st.integers(0, 99), power=st.integers(-30, 30))
@settings(max_examples=40, deadline=None)
def test_a_weight_moves_by_half_a_scale_at_most(n: int, k: int, seed: int, power: int) -> None:
    weight = fitting(Bitmap(), n, k, seed=seed) * 2.0**power
    made = quantised(weight)
    assert made.values.dtype is torch.int8
    assert (made.values[weight == 0] == 0).all(), "zeros stay zeros"
    assert int(made.values.abs().max() if made.values.numel() else 0) <= 127
    moved = (made.values.double() * made.scale.double()[:, None] - weight.double()).abs()
    assert (moved <= made.scale.double()[:, None] * (0.5 + 1e-4)).all()
    if k:
        live = weight.abs().amax(1) > 0
        assert torch.equal(made.scale, torch.where(live, weight.abs().amax(1) / 127, 1.0))
        assert (made.values.abs().amax(1)[live] == 127).all()
    again = quantised(dequantize(made.values, made.scale, torch.float32))
    assert torch.equal(again.values, made.values), "quantising twice is quantising once"


def test_ties_go_to_even() -> None:
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, -126.5]])
    wanted = [127, 0, 2, 2, 0, -2, -2, 0, -126]
    assert quantised(x).values.tolist() == [wanted]
    numbers, scale = quantize_tokens(x)
    assert numbers.tolist() == [wanted]
    assert scale.tolist() == [1.0]


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (torch.tensor([[1.0, torch.inf]]), "the weight has Inf or NaN, which int8 has not"),
        (torch.tensor([[1.0, torch.nan]]), "the weight has Inf or NaN"),
        (torch.tensor([[1e30, 1.0]]), "outside 2**-60 to 2**60"),
        (torch.tensor([[1e-30, 0.0], [1.0, 1.0]]), "outside 2**-60 to 2**60"),
        (torch.ones(1, WIDEST + 1), "more than the 131072 whose int8 products fit in 32 bits"),
    ],
)
def test_what_cannot_be_quantised_says_why(weight: torch.Tensor, reason: str) -> None:
    made = quantize_weight(weight)
    assert isinstance(made, Refusal)
    assert reason in made.reason


@given(
    n=st.integers(1, 20), k=st.integers(1, 80), m=st.integers(1, 9), activation=st.sampled_from(ACTIVATIONS),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]), seed=st.integers(0, 999),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_bound_holds(n: int, k: int, m: int, activation: str, density: float, seed: int) -> None:
    weight = fitting(Bitmap(), n, k, density=density, seed=seed) ** 3
    x = inputs(m, k, seed=seed) ** 3
    made = quantised(weight)
    moved = (linear_int8(x, made.values, made.scale, None, activation) - linear(x, weight, None, activation)).abs()
    assert (moved <= error_bound(x, weight, activation) + 1e-12).all()


def test_the_bound_is_reached_when_all_errors_conspire() -> None:
    """One weight and one input, each half a scale from what it becomes."""
    weight, x = torch.tensor([[127.0, 0.4999]]), torch.tensor([[0.0, 127.0]])
    made = quantised(weight)
    moved = float(linear_int8(x, made.values, made.scale, None, "none")) - float(x @ weight.T)
    assert 0.3 < abs(moved) / float(error_bound(x, weight, "none")) <= 1


# --- kernels ----------------------------------------------------------------------------------------------------------


@HERE
@given(
    n=st.integers(1, 40), k=st.integers(1, 200), m=st.sampled_from([0, 1, 2, 7, 15, 16, 17, 33, 129]),
    encoding=st.sampled_from(FORMS), density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    activation=st.sampled_from(ACTIVATIONS), biased=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_kernels_are_the_reference(
    n: int, k: int, m: int, encoding: Encoding, density: float, activation: str, biased: bool, seed: int
) -> None:
    weight = fitting(encoding, n, k, density=density, seed=seed)
    weight[n // 2] = 0.0
    x = inputs(m, k, seed=seed)
    if m > 2:
        x[m // 2] = 0.0
    bias = inputs(n, seed=seed) if biased else None
    for kernel in kernels(encoding, weight, bias, activation):
        agree(kernel, x, weight, bias)


@HERE
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("encoding", FORMS, ids=str)
def test_other_dtypes(encoding: Encoding, dtype: torch.dtype) -> None:
    weight, bias = fitting(encoding, 37, 150).to(dtype), inputs(37).to(dtype)
    for kernel in kernels(encoding, weight, bias, "gelu"):
        agree(kernel, inputs(2, 4, 150).to(dtype), weight, bias)


@HERE
@pytest.mark.parametrize("encoding", FORMS, ids=str)
def test_extreme_inputs(encoding: Encoding) -> None:
    """Tokens that are huge, tiny, subnormal, all equal, or not finite; none of them touches another."""
    weight = fitting(encoding, 19, 70)
    x = inputs(8, 70)
    x[0] *= 1e37
    x[1] *= 1e-25
    x[2] = 1e-42
    x[3] = -5.0
    x[4, 3] = torch.inf
    x[5, 69] = torch.nan
    x[6] = 0.0
    for kernel in kernels(encoding, weight, None, "none"):
        y = kernel(x)
        made = quantised(weight)
        exact = linear_int8(x, made.values, made.scale, None, "none")
        assert torch.isnan(y[4:6]).all()
        for row in (0, 1, 2, 3, 6, 7):
            assert relative(y[row], exact[row]) <= 1e-6
        assert not y[6].any()


@HERE
@pytest.mark.parametrize("encoding", [Quad(1), Bitmap(), Fours(64), Fours(256), Nm(2, 4), Nm(1, 16)], ids=str)
def test_the_largest_sums_fit(encoding: Encoding) -> None:
    weight, x = fitting(encoding, 3, WIDEST, density=1.0).sign(), torch.ones(2, WIDEST)
    weight[0], weight[1] = weight[0].abs(), -weight[1].abs()
    for kernel in kernels(encoding, weight, None, "none"):
        y = kernel(x)
        assert relative(y, x.double() @ weight.double().T) <= 1e-6


@HERE
@pytest.mark.parametrize("encoding", FORMS, ids=str)
def test_two_threads_give_the_same_bits(encoding: Encoding, two_threads: None) -> None:
    weight, bias = fitting(encoding, 75, 150), inputs(75)
    for kernel in kernels(encoding, weight, bias, "relu"):
        for m in (1, 15, 40, 129):
            x = inputs(m, 150)
            torch.set_num_threads(1)
            alone = kernel(x)
            torch.set_num_threads(2)
            assert torch.equal(kernel(x), alone)


@HERE
@pytest.mark.parametrize("m", [1, 3, 8])
@pytest.mark.parametrize("encoding", [e for e in FORMS if not isinstance(e, Quad)], ids=str)
def test_kernels_of_natural_rows_touch_nothing_past_their_buffers(encoding: Encoding, m: int) -> None:
    n, k = 37, 150
    weight, bias, x = fitting(encoding, n, k, density=0.2), inputs(n), inputs(m, k)
    call, packed, scale = call8(encoding, weight, bias=True, schedule=(("tokens", 8),))
    kernel = BACKEND.build(call, packed, bias, scale)
    assert isinstance(kernel, NaturalInt8Kernel)
    own, stream = kernel.constants, kernel.stream
    guarded_x, q = Guarded(x.numpy()), Guarded(np.zeros(m * stream.width + stream.past, np.uint8))
    scales, y = Guarded(np.zeros(m, np.float32)), Guarded(np.full((m, n), 7.0, np.float32))
    kernel.quantize.call(guarded_x.address, q.address, scales.address, 0, m)
    held = [Guarded(packed.buffers[name].numpy()) for name in stream.buffers]
    held += [Guarded(t.numpy()) for t in (own.shift, own.scale, own.bias)]
    units = stream.work if isinstance(stream.work, int) else len(stream.work)
    kernel.body.call(q.address, scales.address, *(b.address for b in held), y.address, m, 0, units)
    assert torch.equal(torch.from_numpy(y.view.view(np.float32).reshape(m, n).copy()), kernel(x))


@HERE
@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("m", [1, 17, 64])
def test_the_quad_kernel_touches_nothing_past_its_buffers(m: int, rows: int) -> None:
    n, k = 37, 150
    weight, bias, x = fitting(Bitmap(), n, k, density=0.2), inputs(n), inputs(m, k)
    call, packed, scale = call8(Quad(rows), weight, bias=True, schedule=(("tiles", 4),))
    kernel = BACKEND.build(call, packed, bias, scale)
    assert isinstance(kernel, QuadKernel)
    own, tiles = kernel.constants, kernel._spans(-(-m // 16))[-1][1]
    guarded_x, q = Guarded(x.numpy()), Guarded(np.zeros((m, kernel.width), np.uint8))
    scales, y = Guarded(np.zeros(m, np.float32)), Guarded(np.full((m, n), 7.0, np.float32))
    xs = Guarded(np.zeros((tiles, kernel.body.padded_k, 16), np.float32))
    ys = Guarded(np.zeros((tiles, kernel.stride, 16), np.float32))
    kernel.quantize.call(guarded_x.address, q.address, scales.address, 0, m)
    kernel.pack.call(q.address, xs.address, m, 0, tiles)
    held = [Guarded(packed.buffers[name].numpy()) for name in ("values", "columns", "row_start")]
    for lo, hi, size in kernel._spans(-(-m // 16)):
        kernel.bodies[size].call(xs.address, ys.address, *(b.address for b in held), lo, hi, 0, -(-n // rows))
    last = [Guarded(t.numpy()) for t in (own.shift, own.scale, own.bias)]
    kernel.unpack.call(ys.address, *(b.address for b in last), scales.address, y.address, m, 0, tiles, 0, n)
    assert torch.equal(torch.from_numpy(y.view.view(np.float32).reshape(m, n).copy()), kernel(x))


def test_a_call_without_scales_is_refused() -> None:
    weight = fitting(Bitmap(), 8, 16)
    call, packed, _ = call8(Bitmap(), weight, schedule=(("tokens", 8),))
    for backend in (BACKEND, Reference()):
        with pytest.raises(KernelError, match=r"int8 kernel.*scale"):
            backend.build(call, packed, None, None)


def test_the_reference_backend_runs_int8() -> None:
    weight, x = fitting(Quad(), 12, 30), inputs(5, 30)
    call, packed, scale = call8(Quad(), weight)
    agree(Reference().build(call, packed, None, scale), x, weight, None)


@HERE
@pytest.mark.parametrize("member", dense_int8.INT8_MEMBERS)
def test_dense_members_are_the_reference(member: str) -> None:
    weight, bias = fitting(Bitmap(), 33, 70, density=0.9), inputs(33)
    call = replace(dense_call(33, 70, epilogue=Epilogue(True, "relu")), quantize="int8")
    best = best_dense(call, weight, bias, [1, 20])
    if member not in best.names(1):
        pytest.skip("oneDNN's int8 does not work here")
    for m in (1, 20):
        agree(best.member(member), inputs(m, 70), weight, bias)
    assert not set(best_dense(dense_call(33, 70), weight, bias, [1]).names(1)) & set(dense_int8.INT8_MEMBERS)


def test_the_texts(golden: Callable[[str, str], None]) -> None:
    golden("int8_quantize.mlir", quantize_text(18, 32, "bf16"))
    golden("int8_quad.mlir", quad_text(10, 16, 8, 4, 2))
    golden("int8_bitmap.mlir", bitmap8_text(6, 70, 128, (2, 1), True, "relu"))
    golden("int8_unpack.mlir", unpack_int8_text(18, 32, True, "none"))
    golden("int8_finish.mlir", finish_text(18, "i32", True, "none", "f32"))


@HERE
def test_errors_are_small_in_practice() -> None:
    """A layer of common size: one percent, a tenth of the bound."""
    weight, x = fitting(Bitmap(), 96, 768, density=0.1), inputs(32, 768)
    exact = linear(x, weight, None, "none")
    bound = float(error_bound(x, weight, "none").max()) / float(exact.abs().max())
    for kernel in kernels(Quad(1), weight, None, "none"):
        assert 1e-4 < relative_error(kernel(x), exact) < min(0.02, bound / 3)
