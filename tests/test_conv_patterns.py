"""Convolutions in other dtypes, in N:M and in blocks over output channels, alone and as whole networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import spcomp
from spcomp.conv_shape import ConvShape
from spcomp.encodings.csr import Csr
from spcomp.plan import Epilogue
from spcomp.tolerance import TOLERANCES
from tests.kernels import relative
from tests.test_conv import kernel_of, needs_code, network


@needs_code
def test_sums_are_float32_whatever_the_dtype() -> None:
    """Sums in bfloat16 would stop at 256: from there on 256 + 1 is 256."""
    shape = ConvShape(2, 300, 3, 3, (1, 1))
    weight, x = torch.ones(2, 300, dtype=torch.bfloat16), torch.ones(1, 300, 3, 3, dtype=torch.bfloat16)
    assert bool((kernel_of(Csr(64), shape, weight, Epilogue(), None, None)(x) == 300).all())


@needs_code
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_network_in_other_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    model = network().to(dtype)
    x = torch.randn(2, 8, 9, 9).to(dtype)
    compiled = spcomp.compile(model, x, policy="force", engine="eager", memory_budget=1e6)
    assert {(c.op, c.dtype, c.backend) for c in compiled.plan.calls if c.conv is not None} == {
        ("conv", str(dtype).removeprefix("torch."), "baked_cpu")
    }
    with torch.no_grad():
        wanted = model(x).double()
    assert relative(compiled(x), wanted) < 4 * TOLERANCES[str(dtype).removeprefix("torch.")]
    assert compiled.verify(x).ok
    assert torch.equal(spcomp.load(compiled.save(tmp_path / "m"), engine="eager")(x), compiled(x))


@needs_code
@pytest.mark.parametrize("kind", ["nm", "block"])
def test_patterns_along_channels_are_kept_as_such(kind: str) -> None:
    """2:4 along input channels, blocks over output channels; of a convolution in one dimension too."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(2), nn.Conv1d(32, 32, 3, stride=2))
    for layer in (model[0], model[3]):
        weight = layer.weight.data
        if kind == "nm":
            groups = torch.rand(len(weight), weight.shape[1] // 4, 4, *weight.shape[2:]).argsort(2).argsort(2)
            weight *= (groups < 2).reshape(weight.shape)
        else:
            weight *= (torch.rand(len(weight) // 8, *weight.shape[1:]) < 0.2).repeat_interleave(8, 0)
        weight[weight == 0] = 0.0
    model, x = model.eval(), torch.randn(2, 16, 7, 6)
    compiled = spcomp.compile(model, x, policy="force", engine="eager", shrink=False, memory_budget=1e6)
    for d in compiled.explain().decisions:
        assert d.pattern.startswith({"nm": "nm 2:4", "block": "block 8x1"}[kind]), d.pattern
        assert d.encoding.startswith(kind), d.encoding
    with torch.no_grad():
        assert relative(compiled(x), model(x).double()) < 1e-5
