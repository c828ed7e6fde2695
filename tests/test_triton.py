"""Triton kernels in Triton's interpreter, and what the backend says where it cannot work. No GPU needed."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from spcomp.codegen.table import BACKENDS
from spcomp.codegen.triton import device
from spcomp.codegen.triton.schedules import schedules_of
from spcomp.conv_shape import ConvShape
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.table import parse_encoding
from spcomp.encodings.vnm import Vnm
from spcomp.errors import KernelError
from spcomp.plan import ACTIVATIONS, Epilogue
from spcomp.tolerance import TOLERANCES
from tests import triton_cases
from tests.conftest import Golden
from tests.kernels import call_of, fitting
from tests.triton_cases import Case

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
TRITON = BACKENDS["triton"]
ENCODINGS = (
    "block(rows=16, cols=16)", "block(rows=32, cols=32)", "block(rows=64, cols=64)", "block(rows=128, cols=32)",
    "block(rows=16, cols=64)", "bitmap", "csr(block_columns=65536)", "nm(n=2, m=4)", "nm(n=1, m=2)", "nm(n=3, m=4)",
    "nm(n=4, m=8)", "nm(n=2, m=16)",
)  # fmt: skip
DTYPES = ("float32", "bfloat16", "float16")
SIZES = ((1, 1, 1), (1, 70, 150), (5, 37, 96), (16, 64, 128), (33, 70, 150), (70, 130, 65))
"""(M, N, K): one token, few, many; ragged and even."""

Runner = Callable[[Sequence[Case]], None]


@pytest.fixture(scope="session")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    """One process in which Triton was imported with its interpreter on."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=triton_cases.start) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(device.INTERPRET, "1")
            pool.submit(os.getpid).result()
        yield pool


@pytest.fixture
def agree(interpreter: ProcessPoolExecutor) -> Runner:
    """Every schedule of every case gives the reference's numbers."""

    def run(cases: Sequence[Case]) -> None:
        errors = list(interpreter.map(triton_cases.error_of, cases))
        limits = [TOLERANCES[case.dtype] for case in cases]
        missed = [f"{c}: {e:.1e}" for c, e, limit in zip(cases, errors, limits, strict=True) if not e <= limit]
        assert not missed, "\n".join(missed)

    return run


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sizes(agree: Runner, encoding: str, dtype: str) -> None:
    agree([Case(encoding, m, n, k, dtype, bias=m % 2 == 1) for m, n, k in SIZES])


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("encoding", "m", "n", "k", "splits"),
    [
        ("vnm(v=64, m=8)", 1, 70, 150, 2), ("vnm(v=16, m=16)", 5, 37, 96, 1), ("vnm(v=32, m=4)", 16, 40, 128, 2),
        ("vnm(v=64, m=32)", 20, 35, 300, 1), ("vnm(v=16, m=8)", 33, 37, 70, 1), ("vnm(v=64, m=16)", 1, 1, 1, 1),
    ],
)  # fmt: skip
def test_vnm_sizes(agree: Runner, encoding: str, m: int, n: int, k: int, splits: int, dtype: str) -> None:
    """Gathered, and through the instruction as the PTX ISA has it: 8, 16, 32 and 64 tokens a warp, ragged and even."""
    agree([Case(encoding, m, n, k, dtype, 0.8, bias=m % 2 == 1, schedule=(("splits", splits),))])


@needs_triton
def test_vnm_ends(agree: Runner) -> None:
    """As :func:`test_ends`, one token or three."""
    found = []
    for i, activation in enumerate(ACTIVATIONS):
        for bias in (False, True):
            for residual in (False, True):
                ending = (bias, activation, residual, "", (("splits", 1 + residual), ("unroll", 1)))
                m, dtype = 1 + 2 * (i + bias & 1), DTYPES[(i + bias + residual) % 3]
                found.append(Case("vnm(v=16, m=8)", m, 18, 80, dtype, 0.8, *ending))
    agree(found)


@needs_triton
def test_vnm_into_another_dtype_and_with_no_nonzeros(agree: Runner) -> None:
    one = (("splits", 1),)
    agree([Case("vnm(v=16, m=8)", m, 18, 40, "bfloat16", 0.8, result_dtype="float32", schedule=one) for m in (1, 9)])
    agree([Case("vnm(v=16, m=4)", 1, 18, 40, "float16", density, schedule=one) for density in (0.0, 1.0)])


@needs_triton
@pytest.mark.parametrize("encoding", ["block(rows=32, cols=32)", "bitmap", "csr(block_columns=65536)", "nm(n=2, m=4)"])
def test_ends(agree: Runner, encoding: str) -> None:
    """Every activation with and without bias and residual, one token and more, in one part and in two."""
    found = []
    for i, activation in enumerate(ACTIVATIONS):
        for bias in (False, True):
            for residual in (False, True):
                dtype = DTYPES[(i + bias + residual) % 3]
                options = (("splits", 1 + residual), ("unroll", 1)) if "csr" not in encoding else ()
                ending = (bias, activation, residual, "", options)
                found += [Case(encoding, m, 35, 40, dtype, 0.3, *ending) for m in (1, 18)]
    agree(found)


@needs_triton
@pytest.mark.parametrize("encoding", ["block(rows=32, cols=32)", "bitmap", "csr(block_columns=65536)", "nm(n=2, m=4)"])
def test_results_in_another_dtype(agree: Runner, encoding: str) -> None:
    agree([Case(encoding, m, 35, 40, "bfloat16", result_dtype="float32", bias=True) for m in (1, 3, 18)])


@needs_triton
@pytest.mark.parametrize("encoding", ["block(rows=16, cols=16)", "bitmap", "nm(n=4, m=8)"])
@pytest.mark.parametrize("splits", [1, 2, 8])
def test_split_sums(agree: Runner, encoding: str, splits: int) -> None:
    """Parts of K add up, also where there are more parts than K has columns."""
    option = (("splits", splits),)
    agree([Case(encoding, m, 40, k, bias=True, activation="silu", schedule=option) for m in (1, 4) for k in (8, 400)])


@needs_triton
@pytest.mark.parametrize("encoding", ["block(rows=32, cols=32)", "bitmap", "csr(block_columns=65536)", "nm(n=2, m=4)"])
def test_no_zeros_and_nothing_else(agree: Runner, encoding: str) -> None:
    agree([Case(encoding, m, 40, 70, density=density, bias=True) for m in (1, 20) for density in (0.0, 1.0)])


@needs_triton
def test_compressed_rows_in_column_blocks(agree: Runner) -> None:
    agree([Case("csr(block_columns=16384)", m, 12, 16400, density=0.01) for m in (1, 3)])


@needs_triton
def test_zeros_of_w_meet_no_infinity(interpreter: ProcessPoolExecutor) -> None:
    """Compressed rows skip zeros: an infinite input reaches the rows that have a weight for it, and no others."""
    assert interpreter.submit(triton_cases.infinite_rows, "csr(block_columns=65536)").result() == [0, 3]


@needs_triton
@pytest.mark.parametrize("encoding", ["block(rows=16, cols=16)", "vnm(v=16, m=8)"])
def test_runs_are_bit_equal(interpreter: ProcessPoolExecutor, encoding: str) -> None:
    """Split sums are added in a fixed order, from memory that the kernel keeps."""
    assert interpreter.submit(triton_cases.repeats_exactly, Case(encoding, 4, 32, 400)).result()
    assert interpreter.submit(triton_cases.repeats_exactly, Case(encoding, 12, 32, 160, "bfloat16")).result()


@needs_triton
def test_wrong_residence(interpreter: ProcessPoolExecutor) -> None:
    with pytest.raises(KernelError, match="its weight is on cpu, the input on meta"):
        interpreter.submit(triton_cases.run_elsewhere).result()


@needs_triton
@pytest.mark.parametrize(
    ("name", "encoding", "m"),
    [
        ("blocks", "block(rows=64, cols=64)", 256), ("blocks_decode", "block(rows=64, cols=64)", 1),
        ("bitmap", "bitmap", 1), ("csr", "csr(block_columns=65536)", 1), ("nm", "nm(n=2, m=4)", 1),
        ("vnm_sp", "vnm(v=64, m=8)", 16), ("vnm", "vnm(v=64, m=8)", 256),
    ],
)  # fmt: skip
def test_source(interpreter: ProcessPoolExecutor, golden: Golden, name: str, encoding: str, m: int) -> None:
    text = interpreter.submit(triton_cases.source_of, Case(encoding, m, 512, 1024, "bfloat16", bias=True)).result()
    golden(f"triton_{name}.txt", text)


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("sizes", "side"), [((3, 0, 70, 1), 16), ((0, 0, 5), 32), ((64,), 64)])
def test_experts(interpreter: ProcessPoolExecutor, sizes: tuple[int, ...], side: int, dtype: str) -> None:
    """Every token by its own expert, whatever each one gets."""
    for activation in ("none", "silu"):
        error = interpreter.submit(triton_cases.experts_error, dtype, sizes, side, activation).result()
        assert error <= TOLERANCES[dtype]


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("conv", "n", "side"),
    [
        (ConvShape(2, 32, 9, 7, (3, 3), padding=(1, 1)), 40, 16),
        (ConvShape(2, 5, 8, 8, (3, 2), stride=(2, 1), padding=(2, 0), dilation=(1, 2)), 17, 16),
        (ConvShape(1, 32, 1, 20, (1, 5), padding=(0, 2)), 32, 32),
        (ConvShape(2, 64, 4, 4, (1, 1)), 64, 64),
    ],
)
def test_convolutions(interpreter: ProcessPoolExecutor, conv: ConvShape, n: int, side: int, dtype: str) -> None:
    """Strides, padding, dilation, channels that blocks do not divide, one dimension and two."""
    error = interpreter.submit(triton_cases.conv_error, conv, n, side, dtype, "relu").result()
    assert error <= TOLERANCES[dtype]


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("activation", "m", "n", "k"), [("none", 3, 40, 70), ("gelu", 16, 64, 1100)])
def test_rounding_and_ending_of_int8(
    interpreter: ProcessPoolExecutor, dtype: str, activation: str, m: int, n: int, k: int
) -> None:
    """N that needs padding and N that does not; more columns than a program takes at once."""
    error = interpreter.submit(triton_cases.quantized_error, dtype, activation, m, n, k).result()
    assert error <= TOLERANCES[dtype]


@needs_triton
@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_to_float8(interpreter: ProcessPoolExecutor, dtype: str) -> None:
    """As torch rounds, but for what the interpreter does: no carry into a power of two, and ties away from zero."""
    scaled, found, exact = interpreter.submit(triton_cases.float8_rounded, dtype, 13, 1070).result()
    carried = (found != exact) & ((found * 2 == exact) | (exact.abs() == 2.0**-9))
    ties = (found.double() + exact.double()) / 2 == scaled.double()
    assert torch.equal(torch.where(carried | ties, exact, found), exact)
    assert 0 < carried.sum() < exact.numel() // 20


@needs_triton
@pytest.mark.parametrize("library", [0, 1])
@pytest.mark.parametrize(("dtype", "activation", "n"), [("float16", "gelu", 64), ("bfloat16", "silu", 50)])
def test_ending_of_two_of_four(
    interpreter: ProcessPoolExecutor, dtype: str, activation: str, n: int, library: int
) -> None:
    error = interpreter.submit(triton_cases.ended_error, dtype, activation, library, n).result()
    assert error <= TOLERANCES[dtype]


@needs_triton
def test_experts_must_fit() -> None:
    from spcomp.codegen.triton.expert_layer import GroupedBlocks

    call, packed = call_of(Block(16, 16), fitting(Block(16, 16), 48, 32))
    with pytest.raises(KernelError, match="for 2 experts: a matrix of 48 rows"):
        GroupedBlocks(call, packed, None, 2, torch.device("cpu"))
    with pytest.raises(KernelError, match=r"for 3 experts: a bias \(16,\)"):
        GroupedBlocks(call, packed, torch.zeros(16), 3, torch.device("cpu"))


@needs_triton
@pytest.mark.parametrize("name", ["experts", "conv", "ending"])
def test_other_sources(interpreter: ProcessPoolExecutor, golden: Golden, name: str) -> None:
    golden(f"triton_{name}.txt", interpreter.submit(triton_cases.other_source, name).result())


@needs_triton
def test_no_rows_no_columns(interpreter: ProcessPoolExecutor) -> None:
    assert interpreter.submit(triton_cases.empty_shapes).result() == [(0, 6), (2, 0, 6), (0, 6), (2, 0, 6)]


def test_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    reason = TRITON.unavailable()
    assert reason is not None
    assert ("Triton is not installed" in reason) or ("built without CUDA" in reason) or ("finds no device" in reason)
    assert TRITON.capabilities() == frozenset()
    weight = fitting(Block(16, 16), 32, 32)
    call, packed = call_of(Block(16, 16), weight, backend="triton")
    with pytest.raises(KernelError, match="build the kernel of layer") as caught:
        TRITON.build(call, packed, None)
    assert reason in str(caught.value)


def test_old_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(device, "cuda_missing", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    reason = device.unavailable()
    assert reason == "the GPU has compute capability 7.5; 8.0 is the oldest served"


@pytest.mark.parametrize(
    ("encoding", "served"),
    [("block(rows=8, cols=8)", False), ("block(rows=64, cols=64)", True), ("csr(block_columns=128)", False),
     ("window(width=64)", False), ("bitmap", True), ("vnm(v=16, m=8)", True)],
)  # fmt: skip
def test_what_is_served(encoding: str, served: bool) -> None:
    found = parse_encoding(encoding)
    call, _ = call_of(found, fitting(found, 64, 256), backend="triton")
    assert bool(schedules_of(call, 1, 132)) == served


def test_extra_bytes_are_foretold() -> None:
    """What a kernel makes beside the packed weight is what the backend said it would."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton")
    from spcomp.codegen.triton.backend import kernel_of

    for encoding in (Block(16, 16), Bitmap(), Csr(1 << 16), parse_encoding("nm(n=2, m=4)"), Vnm(32, 8)):
        call, packed = call_of(encoding, fitting(encoding, 100, 300), epilogue=Epilogue(), backend="triton")
        for m in (1, 64):
            for schedule in TRITON.schedules(call, m):
                whole = replace(call, schedule=schedule)
                assert kernel_of(whole, packed, None, torch.device("cpu")).extra_nbytes == TRITON.extra_nbytes(whole)


def test_sparse_tensor_cores_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for float32, not on AMD's GPUs, and not in the interpreter, which has no inline assembly."""

    def kinds(dtype: str) -> set[bool]:
        call, _ = call_of(Vnm(64, 8), fitting(Vnm(64, 8), 64, 128, dtype=dtype), backend="triton")
        return {"row_tiles" in dict(schedule) for m in (1, 16, 64, 4096) for schedule in TRITON.schedules(call, m)}

    assert kinds("bfloat16") == {False, True}
    assert kinds("float32") == {False}
    with monkeypatch.context() as patch:
        patch.setattr(torch.version, "hip", "6.0")
        assert kinds("bfloat16") == {False}
    monkeypatch.setenv(device.INTERPRET, "1")
    assert kinds("bfloat16") == {False}


@needs_triton
def test_sparse_tensor_cores_take_no_float32() -> None:
    from spcomp.codegen.triton.backend import kernel_of

    call, packed = call_of(Vnm(64, 8), fitting(Vnm(64, 8), 64, 128), backend="triton")
    call = replace(call, schedule=(("row_tiles", 1), ("tokens", 1)))
    with pytest.raises(KernelError, match="dtype float32, and sparse tensor cores take bfloat16, float16 here"):
        kernel_of(call, packed, None, torch.device("cpu"))


def test_few_programs_split_more() -> None:
    """A narrow layer is cut along K to keep all multiprocessors busy, a wide one is not."""
    splits: dict[int, Any] = {}
    for n in (256, 65536):
        call, _ = call_of(Block(64, 64), torch.ones(64, 64), backend="triton")
        splits[n] = [dict(s)["splits"] for s in schedules_of(replace(call, n=n), 1, 132)]
    assert min(splits[256]) > 1
    assert max(splits[65536]) == 1
