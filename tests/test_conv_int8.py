"""Convolutions in int8: what they mean, the kernel against that, bounds and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu.conv8 import Conv8Kernel
from spcomp.codegen.mlir_cpu.octets import SLACK, Octets, largest_text, octets_text
from spcomp.codegen.mlir_cpu.taps8 import planes8_text, taps8_text
from spcomp.codegen.reference.conv import conv, patches
from spcomp.codegen.reference.int8 import conv_error_bound, conv_int8, linear_int8, quantize_images
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.errors import EncodingError, KernelError
from spcomp.plan import Epilogue, KernelCall
from spcomp.targets.host import host_cpu
from spcomp.tolerance import TOLERANCES
from tests.guarded import Guarded
from tests.kernels import BACKEND, fitting, inputs, relative
from tests.test_conv import call_of, conv_shapes, planes_of, vectors
from tests.test_int8 import quantised

HERE = pytest.mark.skipif(
    not any((k.op, k.dtype) == ("conv", "int8") for k in BACKEND.capabilities()),
    reason="needs torch-mlir, AVX-512 VNNI and VBMI",
)
SHAPE = ConvShape(2, 20, 9, 11, (3, 3), padding=(1, 1))


def fours(shape: ConvShape, width: int = 64) -> Fours:
    return Fours(width, shape.run if shape.run < shape.k else 0)


def call8(shape: ConvShape, weight: torch.Tensor, epilogue: Epilogue, images: int, width: int) -> KernelCall:
    call = call_of(fours(shape, width), shape, weight, epilogue, images)
    target = host_cpu().target
    return replace(call, backend="mlir_cpu", target=target, quantize="int8", schedule=(("tokens", 16),))


def kernel_of(
    shape: ConvShape,
    weight: torch.Tensor,
    epilogue: Epilogue,
    bias: torch.Tensor | None = None,
    norm: torch.Tensor | None = None,
    *,
    images: int = 1,
    width: int = 64,
) -> Conv8Kernel:
    made, call = quantised(weight), call8(shape, weight, epilogue, images, width)
    assert BACKEND.schedules(call, shape.pixels) == [call.schedule]
    scale = made.scale if norm is None else made.scale * norm.float()
    kernel = BACKEND.build(call, pack(made.values, fours(shape, width)), bias, scale)
    assert isinstance(kernel, Conv8Kernel)
    return kernel


def meant(
    shape: ConvShape,
    weight: torch.Tensor,
    epilogue: Epilogue,
    bias: torch.Tensor | None,
    norm: torch.Tensor | None,
    x: torch.Tensor,
    *residual: torch.Tensor,
) -> torch.Tensor:
    made = quantised(weight)
    return conv_int8(x, made.values, made.scale, shape, bias, epilogue.activation, norm, *residual)


# --- what it means ----------------------------------------------------------------------------------------------------


@given(shape=conv_shapes(), n=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_it_means_the_linear_layer_on_patches_with_an_images_scale(shape: ConvShape, n: int, seed: int) -> None:
    weight, x = fitting(Csr(64), n, shape.k, seed=seed), planes_of(shape, 2, "float32", seed=seed)
    made = quantised(weight)
    numbers, scale = quantize_images(x)
    exact = conv_int8(x, made.values, made.scale, shape, None, "none")
    for i in range(2):
        rows = patches(numbers[i : i + 1], shape)[0].double() @ made.values.double().T
        wanted = (rows * made.scale.double() * float(scale[i])).T.reshape(exact[i].shape)
        assert torch.allclose(exact[i], wanted, rtol=1e-12)
    if (shape.kernel, shape.padding, shape.stride, shape.height) == ((1, 1), (0, 0), (1, 1), 1) and shape.width == 1:
        alone = linear_int8(x.flatten(1), made.values, made.scale, None, "none")
        assert torch.allclose(exact.flatten(1), alone)


@given(
    shape=conv_shapes(), n=st.integers(1, 9), density=st.sampled_from([0.0, 0.1, 1.0]), seed=st.integers(0, 99),
    activation=st.sampled_from(["none", "relu", "gelu", "silu"]), normed=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_bound_holds(shape: ConvShape, n: int, density: float, seed: int, activation: str, normed: bool) -> None:
    weight = fitting(Csr(64), n, shape.k, density=density, seed=seed) ** 3
    x = planes_of(shape, 2, "float32", seed=seed) ** 3
    norm = inputs(n, seed=seed) if normed else None
    made = quantised(weight)
    rough = conv_int8(x, made.values, made.scale, shape, None, activation, norm)
    moved = (rough - conv(x, weight, shape, None, activation, norm)).abs()
    assert (moved <= conv_error_bound(x, weight, shape, activation, norm) + 1e-12).all()


# --- the kernel -------------------------------------------------------------------------------------------------------


@HERE
@settings(max_examples=40, deadline=None)
@given(
    shape=conv_shapes(),
    n=st.sampled_from([1, 16, 29, 50]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    epilogue=st.builds(
        Epilogue, st.booleans(), st.sampled_from(["none", "relu", "gelu", "silu"]), st.booleans(), st.booleans()
    ),
    images=st.sampled_from([0, 1, 3]),
    dtype=st.sampled_from(["float32", "float32", "bfloat16", "float16"]),
    width=st.sampled_from([32, 64, 128, 256]),
)
def test_the_kernel_is_the_reference(
    shape: ConvShape, n: int, density: float, epilogue: Epilogue, images: int, dtype: str, width: int
) -> None:
    weight = fitting(Csr(64), n, shape.k, density=density, dtype=dtype)
    weight[n // 2] = 0.0
    bias, norm = vectors(n, epilogue, dtype)
    x = planes_of(shape, images, dtype)
    x[1:2] = 0.0
    more = (planes_of(shape, images, dtype, n, seed=2),) if epilogue.residual else ()
    y = kernel_of(shape, weight, epilogue, bias, norm, images=images, width=width)(x, *more)
    exact = meant(shape, weight, epilogue, bias, norm, x, *more)
    assert y.shape == exact.shape
    assert y.dtype == weight.dtype
    assert relative(y, exact) <= (1e-6 if dtype == "float32" else TOLERANCES[dtype])


@HERE
@pytest.mark.parametrize(
    "shape",
    [
        ConvShape(2, 64, 15, 15, (3, 3), padding=(1, 1)), ConvShape(2, 130, 7, 7, (1, 1)),
        ConvShape(2, 3, 21, 20, (7, 7), (2, 2), (3, 3)), ConvShape(2, 64, 9, 8, (3, 3), (3, 2), (2, 4), (2, 3)),
        ConvShape(1, 70, 1, 33, (1, 5), (1, 2), (0, 4)), ConvShape(2, 96, 1, 1, (1, 1)),
    ],
    ids=str,
)  # fmt: skip
def test_shapes_of_real_layers(shape: ConvShape) -> None:
    epilogue = Epilogue(True, "relu", True, True)
    weight = fitting(Csr(64), 37, shape.k, density=0.1)
    bias, norm = vectors(37, epilogue, "float32")
    norm = None if norm is None else norm * torch.tensor([-1.0, 1.0]).repeat(19)[:37]
    x, other = planes_of(shape, 2, "float32"), planes_of(shape, 2, "float32", 37, seed=2)
    kernel = kernel_of(shape, weight, epilogue, bias, norm)
    assert relative(kernel(x, other), meant(shape, weight, epilogue, bias, norm, x, other)) <= 1e-6
    odd = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(kernel(odd, other), kernel(x, other))


@HERE
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_extreme_images(dtype: str) -> None:
    """Images that are huge, tiny, all equal, of negative zeros, or not finite; none of them touches another."""
    weight, epilogue = fitting(Csr(64), 19, SHAPE.k, dtype=dtype), Epilogue()
    x = planes_of(SHAPE, 8, dtype)
    x[0] *= 1e37 if dtype != "float16" else 1e2
    x[1] *= 1e-25 if dtype != "float16" else 1e-4
    x[2] = 1e-42
    x[3] = -5.0
    x[4, 3, 2, 1] = torch.inf
    x[5, 19, 8, 10] = torch.nan
    x[6] = -0.0
    y, exact = kernel_of(SHAPE, weight, epilogue)(x), meant(SHAPE, weight, epilogue, None, None, x)
    assert torch.isnan(y[4:6]).all()
    assert torch.isnan(exact[4:6]).all()
    for image in (0, 1, 2, 3, 6, 7):
        inside = exact[image].to(y.dtype).double()
        assert relative(y[image], inside) <= (1e-6 if dtype == "float32" else TOLERANCES[dtype])
    assert not y[6].any()


@HERE
def test_the_largest_sums_fit() -> None:
    shape = ConvShape(1, 1 << 14, 1, 9, (1, 8))
    weight = torch.ones(3, shape.k)
    weight[1] = -1.0
    x = torch.ones(1, 1 << 14, 9)
    assert relative(kernel_of(shape, weight, Epilogue())(x), conv(x, weight, shape, None, "none")) <= 1e-6


@HERE
def test_numbers_next_to_a_tie_are_rounded_alike() -> None:
    """127 / largest is one division in float32, not a rounded reciprocal times 127: here they fall on both sides."""
    shape = ConvShape(2, 256, 56, 56, (1, 1))
    weight, x = fitting(Csr(64), 2, 256, density=0.1), inputs(1, 256, 56, 56, seed=0)
    kernel = kernel_of(shape, weight, Epilogue())
    held, most, scale = np.zeros(shape.inputs, np.uint8), np.zeros(1, np.int32), np.zeros(1, np.float32)
    kernel.rounding(x.data_ptr(), held.ctypes.data, most.ctypes.data, scale.ctypes.data, 1)
    numbers, scales = quantize_images(x)
    wanted = numbers[0].permute(1, 2, 0).reshape(-1).numpy().astype(np.int64)
    assert np.array_equal(held.astype(np.int64) - 128, wanted)
    assert scale[0] == float(scales[0])


@HERE
@pytest.mark.parametrize("n", [5, 75])
def test_two_threads_give_the_same_bits(n: int, two_threads: None) -> None:
    shape = ConvShape(2, 64, 30, 31, (3, 3), padding=(1, 1))
    weight, epilogue = fitting(Csr(64), n, shape.k), Epilogue(True, "relu", residual=True)
    kernel = kernel_of(shape, weight, epilogue, inputs(n))
    x, other = planes_of(shape, 2, "float32"), planes_of(shape, 2, "float32", n)
    both = kernel(x, other)
    torch.set_num_threads(1)
    assert torch.equal(kernel(x, other), both)


@HERE
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    "shape", [SHAPE, ConvShape(2, 70, 6, 5, (1, 1)), ConvShape(2, 3, 9, 9, (5, 5), (2, 2))], ids=str
)
def test_nothing_is_touched_past_its_buffers(shape: ConvShape, at_end: bool) -> None:
    n = 37
    weight, epilogue = fitting(Csr(64), n, shape.k, density=0.2), Epilogue(True, "relu", residual=True)
    bias, x, other = inputs(n), planes_of(shape, 1, "float32"), planes_of(shape, 1, "float32", n)
    kernel = kernel_of(shape, weight, epilogue, bias)
    octets, tiles = kernel.octets, kernel.tiles

    def held(t: torch.Tensor | np.ndarray) -> Guarded:  # type: ignore[type-arg]
        return Guarded(t.numpy() if isinstance(t, torch.Tensor) else t, at_end=at_end)

    given_x, y = held(x), held(np.full(n * shape.pixels, 7.0, np.float32))
    whole = held(np.zeros(SLACK + octets.total + 16 * octets.step + SLACK, np.uint8))
    most, scale, ys = (
        held(np.zeros(1, np.int32)),
        held(np.zeros(1, np.float32)),
        held(np.zeros((tiles * 16, 48), np.int32)),
    )
    kernel.rounding(given_x.address, whole.address + SLACK, most.address, scale.address, 1)
    buffers = [held(kernel.packed.buffers[name]) for name in ("values", "columns")]
    buffers += [held(kernel.at), held(kernel.packed.buffers["group_start"])]
    known = [b.address for b in buffers]
    kernel.body.call(whole.address + SLACK, *known, ys.address, 48, tiles * 16, 0, 3)
    last = [held(t) for t in (kernel.shift, kernel.scale, kernel.bias)]
    residual = held(other)
    tables = [held(t) for t in (kernel.table.masks, kernel.table.to, kernel.table.first)]
    kernel.finish.call(
        ys.address, *(b.address for b in last), scale.address, residual.address - 64, y.address - 64,
        *(t.address for t in tables), tiles * 16, 48, shape.pixels, 0, tiles, 0, n,
    )  # fmt: skip
    assert torch.equal(torch.from_numpy(y.view.view(np.float32).reshape(1, *shape.size(n)).copy()), kernel(x, other))


@HERE
def test_another_encoding_or_cut_is_refused() -> None:
    weight = fitting(Csr(64), 8, SHAPE.k)
    made, call = quantised(weight), call8(SHAPE, weight, Epilogue(), 1, 64)
    for encoding in (Nm(2, 4), Fours(64), Fours(64, 20)):
        values = fitting(encoding, 8, SHAPE.k) if isinstance(encoding, Nm) else weight
        packed = pack(quantised(values).values, encoding)
        with pytest.raises(KernelError, match=r"int8 convolution for layer.*Try: fours\(width=64, run=60\)"):
            BACKEND.build(replace(call, encoding=encoding), packed, None, made.scale)
        assert BACKEND.schedules(replace(call, encoding=encoding), 99) == []
    with pytest.raises(KernelError, match="no scales of its rows"):
        BACKEND.build(call, pack(made.values, fours(SHAPE)), None, None)
    assert BACKEND.schedules(replace(call, conv=None, op="linear"), 99) == [], "a linear layer has no runs"


def test_slots_that_mix_runs_are_refused() -> None:
    weight = torch.zeros(16, 60)
    weight[3, [19, 20]] = 1.0
    packed = pack(weight, Fours(64))
    with pytest.raises(EncodingError, match="a slot has columns of two runs of 20"):
        PackedTensor.from_buffers(
            packed.manifest() | {"encoding": {"name": "fours", "width": 64, "run": 20}}, packed.buffers
        )
    with pytest.raises(EncodingError, match="run is below 0"):
        Fours(64, -1)
    assert str(Fours(64)) == "fours(width=64)"
    assert str(Fours(64, 20)) == "fours(width=64, run=20)"
    assert pack(weight, Fours(64, 20)).buffers["first"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "shape", [SHAPE, ConvShape(2, 3, 9, 10, (5, 4), (3, 2), (2, 1), (2, 3)), ConvShape(1, 5, 1, 30, (1, 3), (1, 2))],
    ids=str,
)  # fmt: skip
def test_bytes_lie_where_taps_look(shape: ConvShape) -> None:
    """Every column of every pixel's patch, found through runs and steps, in plain numpy."""
    octets = Octets(shape)
    x = np.arange(1, shape.inputs + 1).reshape(shape.channels, shape.height, shape.width)
    held = np.zeros(octets.total, np.int64)
    for row, to in enumerate(octets.lines()):
        if to >= 0:
            held[to : to + shape.width * shape.channels] = x[:, row].T.reshape(-1)
    pixel = octets.pixel()
    places = (octets.runs()[:, None] + np.arange(shape.run)).reshape(-1)
    wanted = patches(torch.from_numpy(x)[None].float(), shape)[0].long().numpy()
    for q in np.flatnonzero(pixel >= 0):
        assert (held[places + q * octets.step] == wanted[pixel[q]]).all()
    assert sorted(pixel[pixel >= 0]) == list(range(shape.pixels))


def test_the_texts(golden: Callable[[str, str], None]) -> None:
    epilogue = Epilogue(True, "relu", True, True)
    golden("int8_octets.mlir", largest_text("bf16") + octets_text(22, True, "f32") + octets_text(32, False, "bf16"))
    golden("int8_taps.mlir", taps8_text(64, 64, 2) + taps8_text(6, 256, 1))
    golden("int8_planes.mlir", planes8_text(5, "i32", epilogue, "f32") + planes8_text(0, "f32", Epilogue(), "bf16"))
