"""Every kernel of the CPU backend against the reference: shapes, row counts, threads, and nothing written beside."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.reference.backend import Reference
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.window import Window
from spcomp.errors import KernelError
from spcomp.kernel import Backend, Kernel
from spcomp.plan import ACTIVATIONS, Epilogue, RowRange
from spcomp.targets.host import host_cpu
from tests.kernels import BACKEND, FAMILIES, ROWS, SHAPE, agree, build_all, call_of, fitting, inputs

pytestmark = pytest.mark.skipif(BACKEND.unavailable() is not None, reason=str(BACKEND.unavailable()))

ENCODINGS: list[Encoding] = [
    Csr(64), Csr(128), Csr(256), SortedCsr(64, 16), SortedCsr(128), SortedCsr(256, 256),
    Sell(), Sell(64, 24, 8), Sell(128, 32, 4),
    Split(8, 8), Split(4, 1, 30),
    Block(2, 2), Block(4, 1), Block(4, 4), Block(8, 1), Block(8, 8), Block(16, 1), Block(16, 16),
    Nm(1, 2), Nm(2, 4), Nm(1, 4), Nm(3, 4), Nm(4, 8), Nm(2, 8), Nm(8, 16),
    Window(32), Window(64), Window(128), Window(256), Transposed(), Bitmap(),
]  # fmt: skip
DTYPES = ("float32", "bfloat16", "float16")
SERVED = (
    ("csr", "sorted_csr", "sell", "block", "split", "nm", "nm_rest", "window", "bitmap", "transposed")
    if host_cpu().target == "cpu-avx512"
    else ("csr", "sorted_csr", "block", "split", "nm", "nm_rest")
)


# --- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_row_count(encoding: Encoding, dtype: str) -> None:
    """All activations come by: which one depends on the encoding and dtype."""
    turn = ENCODINGS.index(encoding) + DTYPES.index(dtype)
    activation = ACTIVATIONS[turn % len(ACTIVATIONS)]
    weight = fitting(encoding, *SHAPE, dtype=dtype)
    weight[5:9] = 0
    bias = None if turn % 3 == 0 else inputs(SHAPE[0], dtype=dtype, seed=2)
    for kernel in build_all(encoding, weight, bias, activation):
        assert kernel(inputs(0, SHAPE[1], dtype=dtype)).shape == (0, SHAPE[0])
        for m in ROWS:
            agree(kernel, weight, bias, inputs(m, SHAPE[1], dtype=dtype))


@given(
    encoding=st.sampled_from(ENCODINGS),
    n=st.integers(1, 70),
    k=st.one_of(st.integers(1, 80), st.sampled_from([128, 129, 255, 256, 257])),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    m=st.integers(1, 40),
    seed=st.integers(0, 99),
    bias=st.booleans(),
)
@example(Csr(64), 1, 1, 1.0, 1, 0, True)
@example(Nm(2, 4), 16, 64, 0.0, 3, 0, True)
@example(Block(8, 8), 64, 256, 1.0, 33, 0, False)
@example(Csr(256), 64, 1024, 1.0, 17, 0, True)
@example(Nm(8, 16), 17, 1, 1.0, 16, 0, False)
@example(Window(64), 33, 66, 0.05, 13, 0, True)
@example(Window(256), 16, 300, 1.0, 8, 0, True)
@settings(max_examples=25)
def test_any_shape(encoding: Encoding, n: int, k: int, density: float, m: int, seed: int, bias: bool) -> None:
    weight = fitting(encoding, n, k, density=density, seed=seed)
    added = inputs(n, seed=seed + 1) if bias else None
    for kernel in build_all(encoding, weight, added, "none", rows=m):
        agree(kernel, weight, added, inputs(m, k, seed=seed + 2))


@functools.cache
def held(encoding: Encoding) -> list[Kernel]:
    return build_all(encoding, fitting(encoding, *SHAPE), None, "none")


@given(weight_seed=st.integers(0, 999), density=st.sampled_from([0.0, 0.02, 0.3, 1.0]), m=st.integers(0, 140))
@settings(max_examples=40)
@pytest.mark.parametrize(
    "encoding",
    [Csr(64), SortedCsr(64, 32), Sell(64, 24, 8), Block(4, 4), Nm(2, 4), Window(64), Window(256), Bitmap()],
    ids=str,
)
def test_any_pattern_of_one_shape(encoding: Encoding, weight_seed: int, density: float, m: int) -> None:
    """The text depends on the shape alone, so this compiles once: code lives as long as somebody holds a kernel."""
    held(encoding)
    weight = fitting(encoding, *SHAPE, density=density, seed=weight_seed)
    for kernel in build_all(encoding, weight, None, "none"):
        agree(kernel, weight, None, inputs(m, SHAPE[1], seed=weight_seed))


@pytest.mark.parametrize("encoding", [Csr(64), Block(4, 1), Nm(2, 4), Window(64), Transposed()], ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_of_any_rank_and_stride(encoding: Encoding, dtype: str) -> None:
    weight = fitting(encoding, *SHAPE, dtype=dtype)
    bias = inputs(SHAPE[0], dtype=dtype)
    k = SHAPE[1]
    views = [
        inputs(k, dtype=dtype),
        inputs(3, 5, k, dtype=dtype),
        inputs(2, 3, 4, k, dtype=dtype),
        inputs(2, 0, k, dtype=dtype),
        inputs(k, 7, dtype=dtype).t(),
        inputs(5, 2 * k, dtype=dtype)[:, ::2],
        inputs(1, k, dtype=dtype).expand(20, k),
        inputs(6, k + 3, dtype=dtype)[:, 3:],
    ]
    for kernel in build_all(encoding, weight, bias, "none"):
        for x in views:
            agree(kernel, weight, bias, x)


@pytest.mark.parametrize(
    "encoding",
    [
        Csr(64),
        Csr(256),
        SortedCsr(128),
        SortedCsr(64, 24),
        SortedCsr(64, 255),
        Sell(),
        Block(8, 1),
        Block(3, 5),
        Nm(2, 4),
    ],
    ids=str,
)
def test_more_rows_of_w_than_one_chunk(encoding: Encoding) -> None:
    """Sums of at most half an L2 cache are kept at a time; 1100 features take three such chunks."""
    weight = fitting(encoding, 1100, 70, density=0.1)
    bias = inputs(1100)
    for kernel in build_all(encoding, weight, bias, "relu"):
        for m in (3, 140):
            agree(kernel, weight, bias, inputs(m, 70))


@pytest.mark.parametrize("m", [1, 3, 15, 16, 48, 80, 144])
@pytest.mark.parametrize("encoding", [Csr(64), Block(4, 1), Nm(1, 4), Window(128)], ids=str)
def test_a_kernel_for_one_row_count_alone(encoding: Encoding, m: int) -> None:
    """Compiled for fewer tile counts than one for any M; it must still have what its own M needs."""
    weight = fitting(encoding, *SHAPE)
    call, packed = call_of(encoding, weight, rows=RowRange(m, m))
    for schedule in BACKEND.schedules(call, m):
        agree(BACKEND.build(replace(call, schedule=schedule), packed, None), weight, None, inputs(m, SHAPE[1]))


@pytest.mark.parametrize("encoding", [Csr(128), Block(8, 8), Nm(2, 4), Bitmap()], ids=str)
def test_the_reference_kernel_serves_every_encoding(encoding: Encoding) -> None:
    weight = fitting(encoding, 9, 20)
    call, packed = call_of(encoding, weight, epilogue=Epilogue(False, "silu"), backend="reference")
    agree(Reference().build(call, packed, None), weight, None, inputs(4, 20))


# --- the backend ------------------------------------------------------------------------------------------------------


def test_capabilities_are_what_can_be_built() -> None:
    keys = BACKEND.capabilities()
    optional = {(e, "int8") for e in ("quad", "bitmap", "fours", "nm")}  # VNNI, VBMI, VBMI2
    optional.add(("quad", "bfloat16"))  # AVX-512 BF16
    assert {(k.encoding, k.dtype) for k in keys} - optional == {(e, d) for e in SERVED for d in DTYPES}
    assert isinstance(BACKEND, Backend)


def test_without_torch_mlir_there_are_no_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "available", lambda: "torch-mlir cannot be imported (for a test)")
    assert BACKEND.unavailable() == "torch-mlir cannot be imported (for a test)"
    assert BACKEND.capabilities() == frozenset()


def test_encodings_without_a_kernel_are_refused() -> None:
    call, packed = call_of(Dense(), fitting(Dense(), 8, 8), schedule=(("tiles", 1),))
    assert BACKEND.schedules(call, 8) == []
    with pytest.raises(
        KernelError,
        match=r"CPU kernel for layer: encoding dense.*Try: csr, sorted_csr, sell, block, split, nm or nm_rest",
    ):
        BACKEND.build(call, packed, None)
    call, packed = call_of(Csr(64), fitting(Csr(64), 8, 8), schedule=(("tokens", 1),))
    with pytest.raises(KernelError, match=r"row kernel for layer: encoding csr.*Try: nm"):
        BACKEND.build(call, packed, None)


@pytest.mark.parametrize("encoding", FAMILIES, ids=str)
def test_source_is_the_text_that_runs(encoding: Encoding) -> None:
    weight = fitting(encoding, 20, 40)
    for kernel in build_all(encoding, weight, inputs(20), "relu"):
        assert kernel.source.count("func.func @_mlir_") == kernel.source.count("// ")
        assert kernel.extra_nbytes >= 20 * 4
