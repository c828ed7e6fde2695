"""The activations of the generated ``unpack`` against torch in float64, over a dense grid and every special value."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.layout import unpack_text
from spcomp.codegen.reference.backend import activate

FEATURES = 16
LIMIT = 5e-7
KINDS = ["relu", "gelu", "gelu_tanh", "silu"]


@functools.cache
def unpack(kind: str, dtype: str = "f32") -> jit.Compiled:
    return jit.compile_text("unpack", unpack_text(FEATURES, FEATURES, False, kind, dtype), 3, 5)


def run(kind: str, x: torch.Tensor) -> torch.Tensor:
    """``kind(x)`` of float32 values, through the kernel that serves every layer."""
    flat = torch.cat([x.float().reshape(-1), torch.zeros(-x.numel() % (16 * FEATURES))])
    tiles = flat.numel() // (16 * FEATURES)
    packed = flat.reshape(tiles, 16, FEATURES).transpose(1, 2).contiguous()
    y = torch.empty(tiles * 16, FEATURES)
    bias = torch.zeros(1)
    unpack(kind).call(packed.data_ptr(), bias.data_ptr(), y.data_ptr(), tiles * 16, 0, tiles, 0, FEATURES)
    return y.reshape(-1)[: x.numel()].reshape(x.shape)


def scaled_error(kind: str, x: torch.Tensor) -> float:
    """max|y - y64| / max(1, |x|)."""
    exact = activate(x.double(), kind)
    return float(((run(kind, x).double() - exact).abs() / x.double().abs().clamp(min=1)).max())


@pytest.mark.parametrize("kind", KINDS)
def test_dense_grid(kind: str) -> None:
    x = torch.cat([torch.linspace(-12, 12, 200_001), torch.linspace(-1e-3, 1e-3, 20_001)])
    assert scaled_error(kind, x) < LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_every_exponent(kind: str) -> None:
    """From the smallest subnormal to the largest float32, both signs, a few mantissas each."""
    bits = torch.arange(1, 0x7F80_0000, 0x4_0001, dtype=torch.int32)
    positive = bits.view(torch.float32)
    assert scaled_error(kind, torch.cat([positive, -positive])) < LIMIT


@pytest.mark.parametrize("kind", KINDS)
def test_far_out_it_is_the_identity_or_nothing(kind: str) -> None:
    far = torch.tensor([90.0, 1e3, 1e10, 1e30, 3.4e38])
    assert torch.equal(run(kind, far), far)
    assert float(run(kind, -far).abs().max()) < 1e-30


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_and_subnormals(kind: str) -> None:
    tiny = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40])
    y = run(kind, tiny)
    assert torch.equal(y[:2], torch.zeros(2))
    assert float((y.double() - activate(tiny.double(), kind)).abs().max()) <= 2e-45


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_specials_are_those_of_torch(kind: str) -> None:
    """NaN stays NaN (relu too); infinities give what torch gives in float64 (its float32 gelu(inf) is NaN)."""
    special = torch.tensor([math.nan, math.inf, -math.inf, -math.nan])
    wanted = activate(special.double(), kind).float()
    assert torch.equal(torch.isnan(run(kind, special)), torch.isnan(wanted))
    assert torch.equal(run(kind, special).nan_to_num(7.0), wanted.nan_to_num(7.0))


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_narrow_results_are_rounded_to_nearest_even(dtype: str) -> None:
    kind = {"bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    x = torch.randn(16, FEATURES) * 3
    y = torch.empty(16, FEATURES, dtype=kind)
    bias, packed = torch.zeros(1), x.T.contiguous()
    unpack("none", dtype).call(packed.data_ptr(), bias.data_ptr(), y.data_ptr(), 16, 0, 1, 0, FEATURES)
    assert torch.equal(y, x.to(kind))
