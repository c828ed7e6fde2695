"""Kernels on several threads, beside canaries, and with values that are not finite."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu import parallel
from spcomp.codegen.mlir_cpu.bodies import body_of
from spcomp.codegen.mlir_cpu.rows import RowsKernel
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.reference.backend import linear as reference
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.kernel import Kernel
from spcomp.plan import Epilogue
from tests.guarded import between_canaries
from tests.kernels import BACKEND, FAMILIES, ROWS, SHAPE, agree, bodies, build_all, call_of, fitting, inputs, relative

pytestmark = pytest.mark.skipif(BACKEND.unavailable() is not None, reason=str(BACKEND.unavailable()))


# --- threads ----------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(parallel, "openmp", lambda: None)
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


@pytest.mark.parametrize("weights", [[10, 11], [11, 10], [5, 5, 11], [11, 5, 5]])
def test_balance_takes_the_nearest_cut(weights: list[int]) -> None:
    cuts = parallel.balance(np.array(weights, dtype=np.int64), 2)
    assert max(sum(weights[lo:hi]) for lo, hi in pairwise(cuts)) == 11


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 8))
def test_shared_tiles_are_whole_and_even(tiles: int, together: int, threads: int) -> None:
    shares = parallel.shared_tiles(tiles, together, threads)
    assert [at for share in shares for at in range(*share)] == list(range(tiles))
    assert threads % len(shares) == 0
    assert all(lo % together == 0 for lo, _ in shares)
    if len(shares) > 1:
        assert max(hi - lo for lo, hi in shares) * len(shares) <= parallel.UNEVEN * tiles


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("encoding", [*FAMILIES, SortedCsr(64, 24), Block(3, 5)], ids=str)
def test_threads_that_share_tiles_or_rows_say_the_same(encoding: Encoding, threads: int) -> None:
    weight, bias = fitting(encoding, 96, 64), inputs(96, seed=2)
    before = torch.get_num_threads()
    for kernel in build_all(encoding, weight, bias, "relu"):
        for m in (16, 60, 64, 128, 130, 192, 250, 256):
            x, found = inputs(m, 64, seed=m), []
            for count in (1, threads):
                torch.set_num_threads(count)
                try:
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(parallel, "MIN_PRODUCTS", 0)
                        found.append(kernel(x))
                finally:
                    torch.set_num_threads(before)
            assert relative(found[1], found[0].double()) < 1e-6, m


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
@pytest.mark.parametrize("encoding", [*FAMILIES[:5], Nm(3, 4)], ids=str)
def test_nothing_is_written_beside_the_buffers(encoding: Encoding, m: int) -> None:
    """pack, multiply and unpack by hand, into buffers with canaries on both sides."""
    n, k = SHAPE
    weight, bias = fitting(encoding, n, k), inputs(n)
    call, packed = call_of(encoding, weight, epilogue=Epilogue(True, "none"))
    call = replace(call, schedule=(BACKEND.schedules(call, m) or BACKEND.schedules(call, 1))[-1])
    kernel = TokensKernel(call, packed, bias, body_of(call, packed))
    tiles = -(-m // 16)
    edge = 4096
    x, x_whole = between_canaries(m * k, edge)
    x.copy_(inputs(m, k).reshape(-1))
    y, y_whole = between_canaries(m * n, edge)
    xs, xs_whole = between_canaries(tiles * kernel.body.padded_k * 16, edge)
    ys, ys_whole = between_canaries(tiles * kernel.stride * 16, edge)
    kernel.pack.call(x.data_ptr(), xs.data_ptr(), m, 0, tiles)
    assert not torch.isnan(xs).any(), "padding of packed x is written too"
    (parts,) = kernel.parts(1)
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
    wide = torch.nn.functional.pad(inputs(m, k), (0, kernel.columns - k))
    y, whole = between_canaries(m * n, 1024)
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


def test_row_tables_are_counted() -> None:
    """Blocked CSR keeps an offset a column block for every place where a chunk of rows starts."""
    weight = fitting(Csr(64), *SHAPE)
    (kernel, *_) = build_all(Csr(64), weight, None, "none")
    before = kernel.extra_nbytes
    assert before == 4 + 8 * -(-SHAPE[1] // 64), "one float in place of a bias, and the offsets"
    kernel(inputs(20, SHAPE[1]))
    assert kernel.extra_nbytes == before, "a call changes nothing"


@pytest.mark.parametrize("encoding", FAMILIES, ids=str)
def test_the_default_dtype_is_nobodys_business(encoding: Encoding) -> None:
    weight = fitting(encoding, *SHAPE)
    kernels, x = build_all(encoding, weight, None, "none"), inputs(5, SHAPE[1])
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            found = [kernel(x) for kernel in kernels]
    finally:
        torch.set_default_dtype(torch.float32)
    for kernel, y in zip(kernels, found, strict=True):
        assert torch.equal(y, kernel(x))
