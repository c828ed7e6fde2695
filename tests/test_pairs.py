"""bfloat16 by pairs of columns: against the reference, beside guard pages, and who proposes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu.pairs import PairsKernel
from spcomp.codegen.mlir_cpu.quad import quad_text
from spcomp.encodings.block import Block
from spcomp.encodings.quad import Quad
from spcomp.errors import KernelError
from spcomp.passes.worth import encodings_for
from spcomp.plan import ACTIVATIONS, Epilogue
from spcomp.sparsity.measure import measure
from tests.guarded import Guarded
from tests.kernels import BACKEND, agree, build_all, call_of, fitting, inputs

HERE = pytest.mark.skipif(
    all((key.encoding, key.dtype) != ("quad", "bfloat16") for key in BACKEND.capabilities()),
    reason="needs torch-mlir and AVX-512 BF16",
)


@HERE
@given(
    n=st.integers(1, 40), k=st.integers(1, 90), m=st.sampled_from([0, 1, 2, 15, 16, 17, 33, 129]),
    rows=st.sampled_from([1, 4, 8]), activation=st.sampled_from(ACTIVATIONS), biased=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_pairs_are_the_reference(n: int, k: int, m: int, rows: int, activation: str, biased: bool, seed: int) -> None:
    weight = fitting(Block(4, 4), n, k, dtype="bfloat16", seed=seed)
    weight[n // 2] = 0.0
    bias = inputs(n, dtype="bfloat16", seed=seed) if biased else None
    for kernel in build_all(Quad(rows), weight, bias, activation):
        assert isinstance(kernel, PairsKernel)
        agree(kernel, weight, bias, inputs(m, k, dtype="bfloat16", seed=seed))


@HERE
def test_a_row_that_is_not_finite_does_not_leak() -> None:
    weight = fitting(Block(4, 4), 37, 151, dtype="bfloat16")
    for kernel in build_all(Quad(4), weight, None, "none"):
        x = inputs(17, 151, dtype="bfloat16")
        clean = kernel(x)
        x[2] = torch.nan
        others = torch.arange(17) != 2
        assert torch.equal(kernel(x)[others], clean[others])


@HERE
@pytest.mark.parametrize("m", [1, 17, 64])
def test_nothing_is_touched_past_the_buffers(m: int) -> None:
    n, k = 37, 150
    weight = fitting(Block(4, 4), n, k, dtype="bfloat16")
    call, packed = call_of(Quad(4), weight, epilogue=Epilogue(), schedule=(("tiles", 4),))
    kernel = PairsKernel(call, packed, None)
    x = inputs(m, k, dtype="bfloat16")
    tiles = kernel._spans(-(-m // 16))[-1][1]
    given_x = Guarded(x.view(torch.int16).numpy())
    xs = Guarded(torch.zeros(tiles, kernel.body.padded_k, 16).numpy())
    ys = Guarded(torch.zeros(tiles, kernel.stride, 16).numpy())
    y = Guarded(torch.zeros(m, n, dtype=torch.int16).numpy())
    held = [Guarded(packed.buffers["values"].view(torch.int16).numpy())]
    held += [Guarded(packed.buffers[name].numpy()) for name in ("columns", "row_start")]
    kernel.pack.call(given_x.address, xs.address, m, 0, tiles)
    for lo, hi, size in kernel._spans(-(-m // 16)):
        kernel.bodies[size].call(xs.address, ys.address, *(b.address for b in held), lo, hi, 0, -(-n // 4))
    kernel.unpack.call(ys.address, kernel.bias.data_ptr(), y.address, m, 0, tiles, 0, n)
    found = torch.from_numpy(y.view.copy()).view(torch.bfloat16).reshape(m, n)
    assert torch.equal(found, kernel(x))


def test_who_is_proposed() -> None:
    blocks, scattered = fitting(Block(4, 4), 64, 64), fitting(Block(1, 1), 64, 64, density=0.1)
    assert Quad(4) in encodings_for(measure(blocks.bfloat16()))
    assert not any(isinstance(e, Quad) for e in encodings_for(measure(blocks)))
    assert not any(isinstance(e, Quad) for e in encodings_for(measure(scattered.bfloat16())))


def test_other_weights_are_refused() -> None:
    call, packed = call_of(Quad(4), fitting(Block(4, 4), 8, 8), schedule=(("tiles", 4),))
    with pytest.raises(KernelError, match="quad in bfloat16"):
        PairsKernel(replace(call, dtype="bfloat16"), packed, None)


def test_the_text(golden: Callable[[str, str], None]) -> None:
    golden("pairs_quad.mlir", quad_text(10, 16, 8, 4, 2, "bf16"))
