"""The activation-skipping kernel: its text, agreement, what it touches, and when it leaves the work to another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.dense_members import PlainLinear
from spcomp.codegen.mlir_cpu.skip import CHUNK, SLACK, columns_text, nonzeros_text
from spcomp.codegen.mlir_cpu.skips import SkipKernel
from spcomp.codegen.reference.backend import linear as reference
from spcomp.encodings.csr import Csr
from spcomp.encodings.transposed import Transposed
from spcomp.errors import KernelError
from spcomp.plan import ACTIVATIONS, Epilogue
from tests.guarded import Guarded
from tests.kernels import BACKEND, agree, call_of, dense_call, fitting, inputs, relative

HERE = pytest.mark.skipif(
    all(key.encoding != "transposed" for key in BACKEND.capabilities()), reason="needs torch-mlir and AVX-512"
)


def sparse_inputs(m: int, k: int, density: float, seed: int = 1, dtype: str = "float32") -> torch.Tensor:
    x = inputs(m, k, seed=seed, dtype=dtype)
    x[torch.rand(m, k, generator=torch.Generator().manual_seed(seed)) >= density] = 0
    return x


def skipping(weight: torch.Tensor, bias: torch.Tensor | None, activation: str = "none") -> SkipKernel:
    call, packed = call_of(Transposed(), weight, epilogue=Epilogue(bias is not None, activation))
    kernel = BACKEND.build(replace(call, schedule=(("percent", 70),)), packed, bias)
    assert isinstance(kernel, SkipKernel)
    return kernel


def test_the_text(golden: Callable[[str, str], None]) -> None:
    golden("skip.mlir", nonzeros_text(37) + columns_text(300, True, "relu"))


@HERE
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_and_dtypes(activation: str, dtype: str) -> None:
    weight, bias = fitting(Transposed(), 300, 70, dtype=dtype), inputs(300, dtype=dtype)
    kernel = skipping(weight, bias, activation)
    for density in (0.0, 0.1, 1.0):
        agree(kernel, weight, bias, sparse_inputs(1, 70, density, dtype=dtype))


@HERE
@given(
    n=st.integers(1, 600),
    k=st.integers(1, 70),
    m=st.integers(0, 3),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_any_shape(n: int, k: int, m: int, density: float, seed: int) -> None:
    weight = fitting(Transposed(), n, k, seed=seed)
    agree(skipping(weight, None), weight, None, sparse_inputs(m, k, density, seed))


@HERE
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_inputs_that_are_not_finite_are_not_skipped(bad: float) -> None:
    weight = fitting(Transposed(), 40, 30, density=1.0)
    x = torch.zeros(1, 30)
    x[0, 29] = bad
    x[0, 3] = -0.0
    y = skipping(weight, None)(x)
    assert torch.equal(y.nan_to_num(), (bad * weight[:, 29]).nan_to_num()[None])


@HERE
def test_weights_that_are_not_finite_are_refused() -> None:
    weight = fitting(Transposed(), 40, 30)
    weight[3, 4] = math.inf
    with pytest.raises(KernelError, match=r"activation-skipping kernel for layer: a weight that is Inf or NaN"):
        skipping(weight, None)
    call, packed = call_of(Csr(64), fitting(Csr(64), 8, 8), schedule=(("percent", 50),))
    with pytest.raises(KernelError, match=r"encoding csr.*Try: transposed"):
        SkipKernel(call, packed, None)


@HERE
def test_too_many_nonzeros_go_to_the_other_kernel() -> None:
    n, k = 40, 100
    weight = fitting(Transposed(), n, k)
    call, packed = call_of(Transposed(), weight, schedule=(("percent", 30),))
    taken = []

    class Watched(PlainLinear):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            taken.append(int(x.count_nonzero()))
            return super().__call__(x)

    kernel = SkipKernel(call, packed, None, Watched(dense_call(n, k), weight, None))
    for nonzeros in (0, 29, 30, 31, 100):
        x = inputs(1, k)
        x[:, nonzeros:] = 0
        agree(kernel, weight, None, x)
    assert taken == [31, 100]


@HERE
@pytest.mark.parametrize(("n", "k"), [(37, 150), (CHUNK + 3, 16), (2 * CHUNK, 9)])
def test_nothing_is_touched_past_the_buffers(n: int, k: int) -> None:
    weight = fitting(Transposed(), n, k, density=1.0)
    kernel = skipping(weight, inputs(n))
    x = sparse_inputs(1, k, 0.5)
    where, what = Guarded(np.zeros(k + SLACK, np.int32)), Guarded(np.zeros(k + SLACK, np.float32))
    given_x, count = Guarded(x.numpy()), Guarded(np.zeros(1, np.int64))
    values, bias, y = (Guarded(a) for a in (kernel.packed.arrays()["values"], kernel.bias.numpy(), np.zeros(n, "f4")))
    kernel.find.call(given_x.address, where.address, what.address, count.address)
    found = int(count.view.view(np.int64)[0])
    assert where.view.view(np.int32)[:found].tolist() == x[0].nonzero().flatten().tolist()
    assert torch.equal(torch.from_numpy(what.view.view(np.float32)[:found].copy()), x[x != 0])
    addresses = (where.address, what.address, values.address, bias.address, y.address)
    kernel.add.call(*addresses, found, 0, -(-n // CHUNK))
    result = torch.from_numpy(y.view.view(np.float32).copy())
    assert relative(result[None], reference(x, weight, kernel.bias, "none")) < 1e-5
