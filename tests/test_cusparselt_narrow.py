"""2:4 in one byte: int8 and float8 weights, x rounded token by token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear
from spcomp.codegen.cusparselt.quantized import QuantizedLinear, quantize_rows
from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.reference.int8 import linear_int8
from spcomp.encodings.int8 import Int8Weight, quantize_weight
from spcomp.encodings.nm import Nm
from spcomp.errors import KernelError
from spcomp.plan import Epilogue
from spcomp.tolerance import TOLERANCES
from tests.cusparselt_fake import CPU, Fake
from tests.kernels import call_of, fitting, inputs, relative


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_narrow_dtypes(dtype: torch.dtype) -> None:
    """Scales go in as alpha, a bias comes after, results are wider."""
    fake = Fake()
    call, _ = call_of(Nm(2, 4), fitting(Nm(2, 4), 40, 70), epilogue=Epilogue(bias=True))
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-8, 9, (40, 70), generator=generator).float()
    weight.view(-1)[::2] = 0
    weight, x = weight.to(dtype), torch.randint(-8, 9, (5, 70), generator=generator).float().to(dtype)
    scale, bias = torch.rand(40, generator=generator), inputs(40, dtype="bfloat16")
    kernel = CuSparseLtLinear(call, weight, bias, fake.operators(), torch.bfloat16, scale)
    y = kernel(x)
    exact = (x.double() @ weight.double().t()) * scale.double() + bias.double()
    assert y.dtype is torch.bfloat16
    assert fake.seen[0]["bias"] is None
    assert relative(y, exact) <= TOLERANCES["bfloat16"]
    with pytest.raises(KernelError, match=r"multiply 2:4 weights of torch.* into torch.float64: no such product"):
        CuSparseLtLinear(call, weight, bias, fake.operators(), torch.float64)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_int8_is_the_reference(dtype: str, activation: str) -> None:
    """Rows of the weight and tokens have their scales; sums are exact, and rounded to the call's dtype."""
    for m, n, k in ((1, 5, 7), (13, 50, 130), (16, 64, 64)):
        weight = fitting(Nm(2, 4), n, k, dtype=dtype)
        values = quantize_weight(weight)
        assert isinstance(values, Int8Weight)
        call, packed = call_of(Nm(2, 4), values.values, epilogue=Epilogue(True, activation))
        call = replace(call, dtype=dtype, quantize="int8", schedule=(("library", 0),))
        fake, bias = Fake(), inputs(n, dtype=dtype, seed=5)
        backend = CuSparseLt(operators=fake.operators())
        assert backend.schedules(call, m) == [(("library", 0),)]
        kernel = backend.kernel_of(call, packed, bias, CPU, values.scale)
        x = inputs(2, m, k, dtype=dtype) * 30
        y = kernel(x)
        assert y.dtype is weight.dtype
        assert relative(y, linear_int8(x, values.values, values.scale, bias, activation)) <= TOLERANCES[dtype]
        made = torch.int32 if dtype == "float32" else weight.dtype
        assert fake.seen[0]["out_dtype"] is made
        assert (fake.seen[0]["alpha"] is None) == (made is torch.int32)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_float8_rounds_rows_and_tokens(dtype: str) -> None:
    weight = fitting(Nm(2, 4), 50, 130, dtype=dtype)
    values, scale = quantize_rows(weight, torch.float8_e4m3fn)
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(True, "silu"))
    bias, x = inputs(50, dtype=dtype, seed=5), inputs(13, 130, dtype=dtype)
    y = QuantizedLinear(call, values, scale, bias, Fake().operators())(x)
    numbers, tokens = quantize_rows(x, torch.float8_e4m3fn)
    sums = numbers.double() @ values.double().t() * scale.double() * tokens.double()[:, None]
    assert y.dtype is weight.dtype
    assert relative(y, activate(sums + bias.double(), "silu")) <= TOLERANCES[dtype]
    assert relative(y, reference(x, weight, bias, "silu")) <= 0.1  # three bits of mantissa


def test_rows_that_are_not_finite() -> None:
    x = torch.ones(4, 6)
    x[1, 2], x[2, 3], x[3] = float("inf"), float("nan"), 0.0
    for dtype in (torch.int8, torch.float8_e4m3fn):
        numbers, scales = quantize_rows(x, dtype)
        assert scales.isnan().tolist() == [False, True, True, False]
        assert numbers[3].float().tolist() == [0.0] * 6
        assert float(numbers[0, 0].float() * scales[0]) == pytest.approx(1.0)


def test_what_one_byte_takes() -> None:
    """Old GPUs, dtypes and calls are refused, and why."""
    weight = fitting(Nm(2, 4), 32, 64)
    call, packed = call_of(Nm(2, 4), weight)
    old = Fake(capability=(8, 0)).operators()
    small, scale = quantize_rows(weight, torch.float8_e4m3fn)
    words = r"compute capability 8.0; torch.float8_e4m3fn came with 8.9"
    with pytest.raises(KernelError, match=words):
        QuantizedLinear(call, small, scale, None, old)
    QuantizedLinear(call, *quantize_rows(weight, torch.int8), None, old)
    with pytest.raises(KernelError, match=r"weights of torch.float8_e4m3fn for inputs of float16"):
        QuantizedLinear(replace(call, dtype="float16"), small, scale, None, Fake().operators())
    with pytest.raises(KernelError, match=r"weights of torch.float32. Try: torch.int8"):
        QuantizedLinear(call, weight, scale, None, old)
    whole = replace(call, quantize="int8", schedule=(("library", 0),))
    with pytest.raises(KernelError, match="in int8: no scale, and weights of float32"):
        CuSparseLt(operators=old).kernel_of(whole, packed, None, CPU)
