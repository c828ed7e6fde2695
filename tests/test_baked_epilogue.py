"""Baked code that begins with the bias and ends with ReLU: nothing passes over its sums again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.baked_cpu.emit import emit
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.encodings.csr import Csr
from spcomp.plan import Epilogue
from tests.disassembly import disassemble
from tests.guarded import Guarded
from tests.kernels import call_of, fitting, inputs, relative

BAKED = BakedCpu()
needs_code = pytest.mark.skipif(BAKED.unavailable() is not None, reason=str(BAKED.unavailable()))


def built(n: int, k: int, density: float, epilogue: Epilogue, columns: int) -> tuple[TokensKernel, torch.Tensor]:
    weight = fitting(Csr(64), n, k, density=density)
    call, packed = call_of(Csr(64), weight, epilogue=epilogue, backend="baked_cpu")
    call = replace(call, schedule=(("columns", columns), ("groups", 4), ("panel", 8), ("rows", 28)))
    kernel = BAKED.build(call, packed, inputs(n, seed=5) if epilogue.bias else None)
    assert isinstance(kernel, TokensKernel)
    return kernel, weight


@needs_code
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize(("n", "k", "columns"), [(300, 150, 64), (40, 100, 128), (29, 7, 16)])
def test_bias_and_relu(bias: bool, activation: str, n: int, k: int, columns: int) -> None:
    kernel, weight = built(n, k, 0.1, Epilogue(bias, activation), columns)
    act = {"none": lambda y: y, "relu": F.relu, "gelu": F.gelu}[activation]
    for m in (1, 16, 100, 129):
        x = inputs(m, k, seed=m)
        exact = act(F.linear(x.double(), weight.double(), inputs(n, seed=5).double() if bias else None))
        assert relative(kernel(x), exact) < 1e-5
        tiles = F.pad(x, (0, 0, 0, -m % 16)).reshape(-1, 16, k).transpose(1, 2).contiguous()
        assert relative(kernel.on_tiles(tiles).transpose(1, 2).reshape(-1, n)[:m], exact) < 1e-5
    assert (kernel._on_tiles(1).finish is None) == (activation != "gelu")


@needs_code
def test_relu_keeps_nan_and_what_is_in_no_product() -> None:
    kernel, weight = built(60, 90, 0.1, Epilogue(True, "relu"), 32)
    x = inputs(16, 90)
    x[3, 8], x[4, 8] = torch.nan, torch.inf
    found, touched = kernel(x), weight[:, 8] != 0
    assert touched.any()
    assert torch.isnan(found[3, touched]).all()
    assert torch.equal(torch.isposinf(found[4]), weight[:, 8] > 0)
    assert torch.isfinite(found[:, ~touched]).all()
    empty, _ = built(60, 90, 0.0, Epilogue(True, "relu"), 32)
    assert torch.equal(empty(x), F.relu(inputs(60, seed=5)).expand(16, 60))


@needs_code
def test_a_bias_changed_in_place_counts() -> None:
    weight, bias = fitting(Csr(64), 64, 48, density=0.1), inputs(64)
    call, packed = call_of(Csr(64), weight, epilogue=Epilogue(True), backend="baked_cpu")
    call = replace(call, schedule=(("columns", 64), ("groups", 4), ("panel", 8), ("rows", 28)))
    kernel, x = BAKED.build(call, packed, bias), inputs(20, 48)
    before = kernel(x)
    bias += 1
    assert torch.allclose(kernel(x), before + 1, atol=1e-5)


@needs_code
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("n", [1, 29, 250])
def test_nothing_is_read_around_a_bias(n: int, at_end: bool) -> None:
    weight, bias = fitting(Csr(64), n, 40, density=0.1), inputs(n)
    guarded = torch.from_numpy(Guarded(bias.numpy(), at_end=at_end).view.view(np.float32))
    call, packed = call_of(Csr(64), weight, epilogue=Epilogue(True), backend="baked_cpu")
    call = replace(call, schedule=(("columns", 64), ("groups", 4), ("panel", 8), ("rows", 28)))
    kernel, x = BAKED.build(call, packed, guarded), inputs(20, 40)
    assert relative(kernel(x), F.linear(x.double(), weight.double(), bias.double())) < 1e-5


@pytest.mark.parametrize(("bias", "relu"), [(False, False), (True, False), (False, True), (True, True)])
def test_only_first_blocks_load_a_bias_and_only_last_ones_compare(bias: bool, relu: bool) -> None:
    matrix = fitting(Csr(64), 50, 200, density=0.1).numpy()
    blocks = emit(matrix.view(np.uint32), "float32", 28, 64, 4, bias=bias, relu=relu)
    found = []
    for start, size in zip(blocks.code_start, blocks.code_bytes, strict=True):
        names = Counter(text.partition(" ")[0] for _, text in disassemble(blocks.code[start : start + size].tobytes()))
        found.append((names["vbroadcastss"], names["vmaxps"], names["vpxord"]))
    first = (50, 0, 0) if bias else (0, 0, 50)
    assert found == [first, (0, 0, 0), (0, 0, 0), (0, 50, 2) if relu else (0, 0, 0)]
