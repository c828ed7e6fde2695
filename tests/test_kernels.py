"""Every kernel of the CPU backend against the reference: shapes, row counts, threads, and nothing written beside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.bodies import body_of
from spcomp.codegen.mlir_cpu.rows import RowsKernel
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.reference.backend import Reference
from spcomp.codegen.reference.backend import linear as reference
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.errors import KernelError
from spcomp.kernel import Backend, Kernel
from spcomp.plan import ACTIVATIONS, Epilogue, RowRange
from spcomp.tolerance import TOLERANCES
from tests.kernels import BACKEND, bodies, build_all, call_of, fitting, inputs, relative

pytestmark = pytest.mark.skipif(BACKEND.unavailable() is not None, reason=str(BACKEND.unavailable()))

ENCODINGS: list[Encoding] = [
    Csr(64), Csr(128), Csr(256),
    Block(2, 2), Block(4, 1), Block(4, 4), Block(8, 1), Block(8, 8), Block(16, 1), Block(16, 16),
    Nm(1, 2), Nm(2, 4), Nm(1, 4), Nm(3, 4), Nm(4, 8), Nm(2, 8), Nm(8, 16),
]  # fmt: skip
DTYPES = ("float32", "bfloat16", "float16")
ROWS = (1, 15, 16, 17, 129)
SHAPE = (37, 150)
"""Odd on purpose: three column blocks of 64, a ragged tile of rows, ragged groups and blocks."""


def agree(kernel: Kernel, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> None:
    """Same shape and dtype as ``F.linear``, and the reference's numbers."""
    activation = kernel.call.epilogue.activation
    y = kernel(x)
    assert y.shape == (*x.shape[:-1], weight.shape[0])
    assert y.dtype == weight.dtype
    assert y.is_contiguous()
    error = relative(y, reference(x, weight, bias, activation))
    assert error <= TOLERANCES[kernel.call.dtype], f"{kernel.call.encoding} {kernel.call.schedule}: {error:.1e}"


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads, and no work too small for them."""
    monkeypatch.setattr(parallel, "MIN_PRODUCTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


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
@settings(max_examples=25)
def test_any_shape(encoding: Encoding, n: int, k: int, density: float, m: int, seed: int, bias: bool) -> None:
    weight = fitting(encoding, n, k, density=density, seed=seed)
    added = inputs(n, seed=seed + 1) if bias else None
    for kernel in build_all(encoding, weight, added, "none", rows=m):
        agree(kernel, weight, added, inputs(m, k, seed=seed + 2))


@given(weight_seed=st.integers(0, 999), density=st.sampled_from([0.0, 0.02, 0.3, 1.0]), m=st.integers(0, 140))
@settings(max_examples=40)
@pytest.mark.parametrize("encoding", [Csr(64), Block(4, 4), Nm(2, 4)], ids=str)
def test_any_pattern_of_one_shape(encoding: Encoding, weight_seed: int, density: float, m: int) -> None:
    """The text depends on the shape alone, so this compiles once."""
    weight = fitting(encoding, *SHAPE, density=density, seed=weight_seed)
    for kernel in build_all(encoding, weight, None, "none"):
        agree(kernel, weight, None, inputs(m, SHAPE[1], seed=weight_seed))


@pytest.mark.parametrize("encoding", [Csr(64), Block(4, 1), Nm(2, 4)], ids=str)
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


@pytest.mark.parametrize("encoding", [Csr(64), Csr(256), Block(8, 1), Nm(2, 4)], ids=str)
def test_more_rows_of_w_than_one_chunk(encoding: Encoding) -> None:
    """Sums of at most half an L2 cache are kept at a time; 1100 features take three such chunks."""
    weight = fitting(encoding, 1100, 70, density=0.1)
    bias = inputs(1100)
    for kernel in build_all(encoding, weight, bias, "relu"):
        for m in (3, 140):
            agree(kernel, weight, bias, inputs(m, 70))


@pytest.mark.parametrize("m", [1, 16, 48, 80, 144])
@pytest.mark.parametrize("encoding", [Csr(64), Block(4, 1), Nm(1, 4)], ids=str)
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


# --- threads ----------------------------------------------------------------------------------------------------------

FAMILIES = [Csr(64), Block(4, 4), Block(16, 1), Nm(2, 4)]


@pytest.mark.parametrize("encoding", FAMILIES, ids=str)
def test_two_threads_give_the_same_bits(encoding: Encoding, two_threads: None) -> None:
    weight, bias = fitting(encoding, 75, 150), inputs(75)
    for kernel in build_all(encoding, weight, bias, "gelu"):
        for m in ROWS:
            x = inputs(m, 150)
            torch.set_num_threads(1)
            alone = kernel(x)
            torch.set_num_threads(2)
            assert torch.equal(kernel(x), alone)


@pytest.mark.parametrize("n", [1, 3, 17])
@pytest.mark.parametrize("encoding", FAMILIES, ids=str)
def test_more_threads_than_there_is_work(encoding: Encoding, n: int, two_threads: None) -> None:
    weight = fitting(encoding, n, 20)
    for kernel in build_all(encoding, weight, None, "none", rows=1):
        agree(kernel, weight, None, inputs(1, 20))


def test_without_an_openmp_pool_everything_runs_here(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_pool", lambda: None)
    weight = fitting(Csr(64), *SHAPE)
    assert parallel.threads_for(1 << 40) == 1
    for kernel in build_all(Csr(64), weight, None, "none"):
        agree(kernel, weight, None, inputs(20, SHAPE[1]))


@pytest.mark.parametrize("encoding", FAMILIES, ids=str)
def test_several_python_threads_share_a_kernel(encoding: Encoding) -> None:
    weight, bias = fitting(encoding, *SHAPE), inputs(SHAPE[0])
    for kernel in build_all(encoding, weight, bias, "none"):
        xs = [inputs(m, SHAPE[1], seed=m) for m in (1, 7, 16, 40, 130)]
        wanted = [kernel(x) for x in xs]
        wrong: list[int] = []
        gate = threading.Barrier(len(xs))

        def work(
            i: int, kernel: Kernel = kernel, xs: list[torch.Tensor] = xs, wanted: list[torch.Tensor] = wanted,
            wrong: list[int] = wrong, gate: threading.Barrier = gate,
        ) -> None:  # fmt: skip
            gate.wait()
            wrong.extend(i for _ in range(40) if not torch.equal(kernel(xs[i]), wanted[i]))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 4))
def test_balance_cuts_everything_into_ascending_parts(weights: list[int], parts: int, multiple: int) -> None:
    cuts = parallel.balance(np.array(weights, dtype=np.int64), parts, multiple)
    assert cuts[0] == 0
    assert cuts[-1] == len(weights)
    assert len(cuts) == parts + 1
    assert cuts == sorted(cuts)
    assert all(c % multiple == 0 for c in cuts[:-1])


# --- memory and special values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [*FAMILIES, Nm(8, 16), Block(8, 8)], ids=str)
def test_a_row_that_is_not_finite_does_not_leak(encoding: Encoding) -> None:
    """Padding is multiplied by zero, so what is not finite may spoil its own row of the result, and no other."""
    weight = fitting(encoding, *SHAPE)
    for kernel in build_all(encoding, weight, None, "none"):
        for m in (4, 17, 40):
            x = inputs(m, SHAPE[1])
            clean = kernel(x)
            for bad in (float("nan"), float("inf")):
                dirty = x.clone()
                dirty[2] = bad
                y = kernel(dirty)
                others = torch.arange(m) != 2
                assert torch.equal(y[others], clean[others])
                assert not torch.isfinite(y[2][weight.count_nonzero(1) > 0]).any()


@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("encoding", [*FAMILIES, Nm(3, 4)], ids=str)
def test_nothing_is_written_beside_the_buffers(encoding: Encoding, m: int) -> None:
    """pack, multiply and unpack by hand, into buffers with canaries on both sides."""
    n, k = SHAPE
    weight, bias = fitting(encoding, n, k), inputs(n)
    call, packed = call_of(encoding, weight, epilogue=Epilogue(True, "none"))
    schedule = BACKEND.schedules(call, m)[-1]
    kernel = TokensKernel(replace(call, schedule=schedule), packed, bias, body_of(call, packed))
    tiles = -(-m // 16)
    edge = 4096
    x, x_whole = _guarded(m * k, edge)
    x.copy_(inputs(m, k).reshape(-1))
    y, y_whole = _guarded(m * n, edge)
    xs, xs_whole = _guarded(tiles * kernel.body.padded_k * 16, edge)
    ys, ys_whole = _guarded(tiles * kernel.stride * 16, edge)
    kernel.pack.call(x.data_ptr(), xs.data_ptr(), m, 0, tiles)
    assert not torch.isnan(xs).any(), "padding of packed x is written too"
    (parts,) = kernel._parts(1)
    for c in parts:
        base = ys.data_ptr() - c.row_lo * 64
        for lo, hi, size in kernel._spans(tiles):
            bodies(kernel)[size].call(xs.data_ptr(), base, *kernel.body.pointers, *c.more, lo, hi, c.unit_lo, c.unit_hi)
        kernel.unpack.call(ys.data_ptr(), kernel.bias.data_ptr(), y.data_ptr(), m, 0, tiles, c.row_lo, c.row_hi)
    for whole in (x_whole, y_whole, xs_whole, ys_whole):
        assert torch.isnan(whole[:edge]).all()
        assert torch.isnan(whole[-edge:]).all()
    assert relative(y.reshape(m, n), reference(inputs(m, k), weight, bias, "none")) < 1e-5


@pytest.mark.parametrize("m", [1, 3, 8])
def test_the_row_kernel_writes_its_rows_alone(m: int) -> None:
    n, k = SHAPE
    weight, encoding = fitting(Nm(2, 4), n, k), Nm(2, 4)
    call, packed = call_of(encoding, weight)
    schedules = [s for s in BACKEND.schedules(call, m) if "tokens" in dict(s)]
    if not schedules:
        pytest.skip("needs AVX-512")
    kernel = RowsKernel(replace(call, schedule=schedules[0]), packed, None)
    wide = torch.nn.functional.pad(inputs(m, k), (0, kernel.shape.padded_columns - k))
    y, whole = _guarded(m * n, 1024)
    at = 0
    for size, body in kernel.bodies.items():
        while m - at >= size:
            row = wide[at:]
            body.call(row.data_ptr(), *kernel._pointers, y.data_ptr() + at * n * 4, 0, -(-n // 16))
            at += size
    assert at == m
    assert torch.isnan(whole[:1024]).all()
    assert torch.isnan(whole[-1024:]).all()
    assert relative(y.reshape(m, n), reference(inputs(m, k), weight, None, "none")) < 1e-5


def _guarded(size: int, edge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``size`` floats between two stretches of NaN, and the whole."""
    whole = torch.full((size + 2 * edge,), float("nan"))
    return whole[edge : edge + size], whole


# --- the backend ------------------------------------------------------------------------------------------------------


def test_capabilities_are_what_can_be_built() -> None:
    keys = BACKEND.capabilities()
    assert {(k.encoding, k.dtype) for k in keys} == {(e, d) for e in ("csr", "block", "nm") for d in DTYPES}
    assert isinstance(BACKEND, Backend)


def test_without_torch_mlir_there_are_no_capabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "available", lambda: "torch-mlir cannot be imported (for a test)")
    assert BACKEND.unavailable() == "torch-mlir cannot be imported (for a test)"
    assert BACKEND.capabilities() == frozenset()


def test_encodings_without_a_kernel_are_refused() -> None:
    call, packed = call_of(Bitmap(), fitting(Bitmap(), 8, 8), schedule=(("tiles", 1),))
    assert BACKEND.schedules(call, 8) == []
    with pytest.raises(KernelError, match=r"CPU kernel for layer: encoding bitmap\(\). Try: csr, block or nm"):
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
