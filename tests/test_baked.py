"""Weights baked into code: the numbers, the instructions, the bytes, and who is offered them."""

from __future__ import annotations

import functools
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.baked_cpu.body import UNIT_ROWS, bake
from spcomp.codegen.baked_cpu.emit import Blocks, emit, floats, group_cuts
from spcomp.codegen.x86 import memory
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.errors import KernelError
from spcomp.kernel import Backend, Kernel
from spcomp.plan import ACTIVATIONS, Epilogue, Schedule
from spcomp.targets import host
from tests.disassembly import disassemble
from tests.kernels import ROWS, SHAPE, agree, call_of, fitting, inputs

BAKED = BakedCpu()
pytestmark = pytest.mark.skipif(BAKED.unavailable() is not None, reason=str(BAKED.unavailable()))

ENCODINGS: list[Encoding] = [Csr(64), Csr(256), Nm(2, 4), Nm(1, 4), Block(1, 4), Block(4, 1)]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]


def built(
    encoding: Encoding, weight: torch.Tensor, bias: torch.Tensor | None = None, activation: str = "none", **change: int
) -> Kernel:
    call, packed = call_of(encoding, weight, epilogue=Epilogue(bias is not None, activation), backend="baked_cpu")
    (schedule,) = BAKED.schedules(call, 128)
    changed: Schedule = tuple(sorted({**dict(schedule), **change}.items()))
    return BAKED.build(replace(call, schedule=changed), packed, bias)


# --- agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("encoding", ENCODINGS, ids=str)
def test_every_row_count(encoding: Encoding, dtype: str) -> None:
    weight = fitting(encoding, *SHAPE, dtype=dtype)
    weight[5:9] = 0
    bias = inputs(SHAPE[0], dtype=dtype, seed=2)
    kernel = built(encoding, weight, bias, ACTIVATIONS[ENCODINGS.index(encoding) % len(ACTIVATIONS)])
    assert kernel(inputs(0, SHAPE[1], dtype=dtype)).shape == (0, SHAPE[0])
    for m in (*ROWS, 300):
        agree(kernel, weight, bias, inputs(m, SHAPE[1], dtype=dtype))


@given(
    encoding=st.sampled_from(ENCODINGS),
    n=st.one_of(st.integers(1, 70), st.integers(100, 260)),
    k=st.one_of(st.integers(1, 80), st.sampled_from([128, 129, 255, 256, 257, 600])),
    density=st.sampled_from([0.0, 0.01, 0.05, 0.4, 1.0]),
    m=st.integers(1, 150),
    seed=st.integers(0, 99),
    bias=st.booleans(),
    rows=st.integers(1, 30),
    columns=st.sampled_from([1, 16, 64, 100, 256, 384, 1024]),
    groups=st.integers(1, 4),
    panel=st.sampled_from([1, 3, 8, 32]),
)
@example(Csr(64), 1, 1, 1.0, 1, 0, True, 28, 256, 4, 8)
@example(Csr(64), 113, 600, 0.01, 33, 0, True, 28, 1024, 4, 8)
@example(Csr(64), 112, 600, 1.0, 129, 0, False, 28, 1024, 1, 8)
@example(Nm(2, 4), 16, 64, 0.0, 3, 0, True, 30, 64, 1, 8)
@settings(max_examples=12)
def test_any_shape_and_schedule(
    encoding: Encoding, n: int, k: int, density: float, m: int, seed: int, bias: bool, rows: int, columns: int,
    groups: int, panel: int,
) -> None:  # fmt: skip
    weight = fitting(encoding, n, k, density=density, seed=seed)
    added = inputs(n, seed=seed + 1) if bias else None
    kernel = built(encoding, weight, added, rows=rows, columns=columns, groups=groups, panel=panel)
    agree(kernel, weight, added, inputs(m, k, seed=seed + 2))


@functools.cache
def held(n: int, k: int) -> Kernel:
    """Equal pack and unpack texts are compiled once for as long as somebody holds them."""
    return built(Csr(64), fitting(Csr(64), n, k))


@given(
    density=st.sampled_from([0.0, 0.01, 0.05, 0.4, 1.0]), m=st.integers(1, 150), seed=st.integers(0, 999),
    rows=st.integers(1, 30), columns=st.sampled_from([1, 16, 64, 100, 256, 384]), groups=st.integers(1, 4),
    shape=st.sampled_from([(131, 600), SHAPE]),
)  # fmt: skip
@settings(max_examples=60)
def test_any_pattern_and_schedule(
    density: float, m: int, seed: int, rows: int, columns: int, groups: int, shape: tuple[int, int]
) -> None:
    held(*shape)
    weight = fitting(Csr(64), *shape, density=density, seed=seed)
    kernel = built(Csr(64), weight, rows=rows, columns=columns, groups=groups)
    agree(kernel, weight, None, inputs(m, shape[1], seed=seed + 2))


def test_many_rows_of_w_and_of_x() -> None:
    """More than one chunk of W's rows, several panels of x, and the larger unit of rows."""
    weight, bias = fitting(Csr(128), 1100, 96, density=0.1), inputs(1100)
    kernel = built(Csr(128), weight, bias, "relu")
    for m in (16, 129, 500):
        agree(kernel, weight, bias, inputs(m, 96))


def test_skipped_zeros_do_not_multiply() -> None:
    """A column of W that is zero throughout keeps what is not finite there out of the result; -0.0 is a nonzero."""
    weight = fitting(Csr(64), 40, 70)
    weight[:, 7] = 0
    x = inputs(20, 70)
    kernel = built(Csr(64), weight)
    clean = kernel(x)
    for bad in (float("nan"), float("inf"), float("-inf")):
        dirty = x.clone()
        dirty[:, 7] = bad
        assert torch.equal(kernel(dirty), clean)
        dirty = x.clone()
        dirty[3, 9] = bad
        touched = weight[:, 9] != 0
        y = kernel(dirty)
        assert not torch.isfinite(y[3, touched]).any()
        y[3, touched] = clean[3, touched]
        assert torch.equal(y, clean)
    weight[2, 7] = -0.0
    dirty = x.clone()
    dirty[:, 7] = float("inf")
    found = built(Csr(64), weight)(dirty)
    assert torch.isnan(found[:, 2]).all()
    assert torch.isfinite(found[:, torch.arange(40) != 2]).all()


# --- instructions and bytes -------------------------------------------------------------------------------------------


def expected(
    matrix: np.ndarray[tuple[int, int], np.dtype[np.float32]], rows: int, columns: int, groups: int
) -> list[str]:
    """The sums, loads and multiply-adds of all blocks by the plain definition, without bumps and prefetches."""
    cuts = group_cuts(len(matrix), rows)
    spare = 32 - int(np.diff(cuts).max())
    out: list[str] = []
    loaded = 0
    for top in range(0, len(cuts) - 1, groups):
        for left in range(0, max(1, matrix.shape[1]), columns):
            first, i = cuts[top], 0
            for lo, hi in zip(cuts[top : top + groups], cuts[top + 1 : top + groups + 1], strict=False):
                out += [f"zmm{r} = 0" if left == 0 else f"zmm{r} = y{r + lo - first}" for r in range(hi - lo)]
                for column in range(left, min(left + columns, matrix.shape[1])):
                    for r in range(hi - lo):
                        if matrix[lo + r, column] == 0:
                            continue
                        if not out[-1].startswith("x") and not out[-1].endswith(f"* x{column - left}"):
                            loaded += 1
                            out.append(f"x{column - left}")
                        out.append(f"zmm{r} += w{i} * x{column - left}")
                        i += 1
                out += [f"y{r + lo - first} = zmm{r}" for r in range(hi - lo)]
            out.append("ret")
    assert spare > 0
    return out


def executed(blocks: Blocks) -> list[str]:
    """What the bytes do, by disassembling them and following the pointers."""
    out: list[str] = []
    held: dict[str, int] = {}
    x = w = 128
    for size, text in disassemble(blocks.code.tobytes()):
        name, _, operands = text.partition(" ")
        parts = operands.split(", ")
        assert size in (1, 3, 4, 6, 7)
        if name in ("int3", "nop", "prefetcht0", "prefetcht1"):
            continue
        if name == "ret":
            out.append("ret")
            x = w = 128
        elif name == "vpxord":
            out.append(f"{parts[0]} = 0")
        elif name == "add" and parts[0] in ("rdi", "rsi"):
            step = int(parts[1], 0)
            x, w = (x + step // 64, w) if parts[0] == "rdi" else (x, w + step // 4)
        elif name == "add":
            assert parts[0] in ("rcx", "rbx")
            assert parts[1] == "0x40"
        elif name == "vfmadd231ps":
            out.append(f"{parts[0]} += w{w + _disp(parts[2]) // 4} * x{held[parts[1]]}")
        elif name == "vmovups" and "[" in parts[0]:
            out.append(f"y{_disp(parts[0]) // 64} = {parts[1]}")
        elif "[rdi" in parts[1]:
            held[parts[0]] = x + _disp(parts[1]) // 64
            out.append(f"x{held[parts[0]]}")
        else:
            assert name == "vmovups"
            assert "[rdx" in parts[1]
            out.append(f"{parts[0]} = y{_disp(parts[1]) // 64}")
    return out


def _disp(operand: str) -> int:
    inside = operand[operand.index("[") + 4 : operand.index("]")].replace(" ", "")
    return int(inside, 0) if inside else 0


@given(
    n=st.integers(1, 90), k=st.integers(1, 700), density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    rows=st.integers(1, 30), columns=st.sampled_from([64, 256, 300, 1024]), groups=st.integers(1, 4),
    seed=st.integers(0, 99),
)  # fmt: skip
@example(60, 700, 1.0, 28, 1024, 2, 0)
@settings(max_examples=15)
def test_the_code_is_what_it_should_be(
    n: int, k: int, density: float, rows: int, columns: int, groups: int, seed: int
) -> None:
    matrix = fitting(Csr(64), n, k, density=density, seed=seed).numpy()
    blocks = emit(matrix.view(np.uint32), "float32", rows, columns, groups)
    assert executed(blocks) == expected(matrix, rows, columns, groups)
    assert blocks.code.size == blocks.code_bytes.sum()
    wanted = [v for block in weights_in_order(matrix, rows, columns, groups) for v in block]
    assert blocks.weights.tolist() == wanted


def weights_in_order(matrix: Matrix, rows: int, columns: int, groups: int) -> list[list[float]]:
    """The weights of each block in the order of its code, padded to whole lines."""
    cuts = group_cuts(len(matrix), rows)
    out = []
    for top in range(0, len(cuts) - 1, groups):
        for left in range(0, max(1, matrix.shape[1]), columns):
            pairs = zip(cuts[top : top + groups], cuts[top + 1 : top + groups + 1], strict=False)
            found = [v for lo, hi in pairs for v in matrix[lo:hi, left : left + columns].T.reshape(-1).tolist() if v]
            out.append(found + [0.0] * (-len(found) % 16))
    return out


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_bits_become_floats(dtype: str) -> None:
    values = torch.tensor([1.5, -0.0, 3e-6, float("inf"), -2.25]).to(getattr(torch, dtype))
    bits = values.view(torch.int32 if dtype == "float32" else torch.int16).numpy()
    found = floats(bits.view(f"u{bits.dtype.itemsize}"), dtype)
    assert found.tolist() == values.float().tolist()


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5])
def test_predicted_bytes_are_near(density: float) -> None:
    weight = fitting(Csr(128), 768, 1024, density=density)
    kernel = built(Csr(128), weight)
    predicted = BAKED.extra_nbytes(kernel.call)
    assert 0.97 <= predicted / kernel.extra_nbytes <= 1.03
    assert 11 <= kernel.extra_nbytes / kernel.call.nonzeros <= 17


def test_emitting_is_fast() -> None:
    """Five million nonzeros a second and more on a quiet machine; a fraction of that is asked for here."""
    weight = fitting(Csr(128), 1120, 1024, density=0.3)
    _, packed = call_of(Csr(128), weight)
    bake(packed, 28, 256, 1, step=UNIT_ROWS)
    best = min(_seconds(lambda: bake(packed, 28, 256, 1, step=UNIT_ROWS)) for _ in range(5))
    assert packed.nonzeros / best > 1.5e6


def _seconds(work: object) -> float:
    start = time.perf_counter()
    assert callable(work)
    work()
    return time.perf_counter() - start


# --- the backend ------------------------------------------------------------------------------------------------------


def test_capabilities() -> None:
    assert isinstance(BAKED, Backend)
    assert {k.encoding for k in BAKED.capabilities()} == {"csr", "nm", "block"}


def test_without_avx512_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(host.MASKED_FEATURES, "avx512f")
    host.host_cpu.cache_clear()
    try:
        assert str(BAKED.unavailable()).startswith("baked code needs AVX-512 (F, BW and VL), this is cpu-avx2")
        assert BAKED.capabilities() == frozenset()
    finally:
        monkeypatch.delenv(host.MASKED_FEATURES)
        host.host_cpu.cache_clear()


def test_without_executable_memory_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "unavailable", lambda: "executable memory is refused (for a test)")
    assert BAKED.unavailable() == "executable memory is refused (for a test)"
    assert BAKED.capabilities() == frozenset()


def test_schedules() -> None:
    call, packed = call_of(Csr(128), fitting(Csr(128), 200, 300, density=0.1))
    assert BAKED.schedules(call, 15) == []
    assert BAKED.schedules(call, 16) == BAKED.schedules(call, 4096) != []
    assert BAKED.schedules(call_of(Bitmap(), fitting(Bitmap(), 8, 8))[0], 128) == []
    with pytest.raises(KernelError, match=r"bake layer into code.*Try: columns, groups, panel, rows, from 1 to"):
        BAKED.build(replace(call, schedule=(("rows", 31),)), packed, None)
