"""GPUs: products measured on an A100 that nothing was fitted to, laws of the model, errors by their words."""

from __future__ import annotations

import itertools
import re
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.energy import charge, load_table
from spcomp.sim.machines import load_machine, override
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.gpu import Panels, matmul, streaming_bytes_per_second, weight_share

A100 = load_machine("gpu_a100")
FITTED = {(8192, 64, 64): 0.0296, (8192, 1024, 1024): 0.0927, (16384, 12288, 12288): 17.0307}
UNSEEN = {
    (64, 12288, 12288): 0.1900, (256, 12288, 12288): 0.3185, (1024, 12288, 12288): 1.1990,
    (4096, 12288, 12288): 4.4576, (8192, 256, 256): 0.0356, (8192, 4096, 4096): 1.0210, (8192, 16384, 16384): 15.0087,
    (128, 12288, 12288): 0.2003, (512, 12288, 12288): 0.6118, (2048, 12288, 12288): 2.3586,
    (8192, 12288, 12288): 8.6216, (8192, 128, 128): 0.0310, (8192, 512, 512): 0.0471, (8192, 2048, 2048): 0.2818,
    (8192, 8192, 8192): 3.9614,
}  # fmt: skip
"""M K N: ms, float16, measured on an A100 80 GB (LLMCompass, ISCA 2024, figure 5)."""
sizes = st.integers(1, 3000)


def with_fit(launch_ns: float, efficiency: float) -> Machine:
    return override(A100, {"gpu.launch_ns": launch_ns, "gpu.tensor_efficiency": efficiency})


def residual(machine: Machine) -> float:
    return sum((matmul(machine, *size).time_ms / ms - 1) ** 2 for size, ms in FITTED.items())


def test_products_that_were_never_fitted() -> None:
    errors = [abs(matmul(A100, *size).time_ms / ms - 1) for size, ms in UNSEEN.items()]
    assert statistics.median(errors) <= 0.12
    assert max(errors) <= 0.30


def test_the_two_fitted_parameters_are_declared_and_fit() -> None:
    assert A100.gpu is not None
    fitted = [key for key, _ in A100.constants() if A100.source(key).kind == "fitted"]  # type: ignore[union-attr]
    assert fitted == ["gpu.launch_ns", "gpu.tensor_efficiency"]
    told = A100.source("gpu.launch_ns").source  # type: ignore[union-attr]
    assert all(" ".join(map(str, size)) in told for size in FITTED)
    launch, efficiency = A100.gpu.launch_ns, A100.gpu.tensor_efficiency
    best = residual(A100)
    for step, part in ((1000, 0), (-1000, 0), (0, 0.02), (0, -0.02)):
        assert residual(with_fit(launch + step, efficiency + part)) > best


@given(sizes, sizes, sizes, st.booleans())
@settings(max_examples=40, deadline=None)
def test_bounds(m: int, k: int, n: int, sparse: bool) -> None:
    found = matmul(A100, m, k, n, sparse=sparse)
    parts = (found.tensor_cycles, found.l2_cycles, found.hbm_cycles)
    assert max(parts) <= found.cycles <= sum(parts)
    assert found.time_fs == found.launch_fs + found.cycles * A100.cycle_fs
    assert found.executed_flops >= 2 * m * k * n
    once = m * k * 2 + int(n * k * 2 * (weight_share(2) if sparse else 1))
    assert found.hbm_read_bytes >= once - (m + n) * found.split_k, "every operand comes once"
    assert found.l2_read_bytes >= found.hbm_read_bytes
    assert found.hbm_write_bytes >= m * n * 2


@given(sizes, sizes, sizes)
@settings(max_examples=15, deadline=None)
def test_more_of_anything_is_never_slower(m: int, k: int, n: int) -> None:
    base = matmul(A100, m, k, n).time_fs
    for key, value in (("dram.channels", 80), ("gpu.l2_read_bytes_per_cycle", 10240), ("gpu.sms", 216)):
        assert matmul(override(A100, {key: value}), m, k, n).time_fs <= base + 2 * A100.cycle_fs, key


def test_sparse_operands_are_nine_sixteenths() -> None:
    assert weight_share(2) == 9 / 16
    dense, sparse = (matmul(A100, 16, 8192, 8192, sparse=s) for s in (False, True))
    x = 16 * 8192 * 2
    assert dense.bound == sparse.bound == "hbm"
    assert (sparse.hbm_read_bytes - x) / (dense.hbm_read_bytes - x) == pytest.approx(9 / 16)
    busy, idle = (matmul(A100, 8192, 8192, 8192, sparse=s) for s in (True, False))
    assert 1.7 < idle.time_fs / busy.time_fs <= 2.0, "as many tensor cycles, halved"


def test_small_products_wait_for_the_launch() -> None:
    found = matmul(A100, 1, 64, 64)
    assert found.bound == "launch"
    assert found.time_fs == pytest.approx(28.5e9, rel=0.05)


def test_dtypes_have_their_rates() -> None:
    times = [matmul(A100, 4096, 4096, 4096, dtype).tensor_cycles for dtype in ("int8", "float16", "float32")]
    assert times == sorted(times)
    assert [b / a for a, b in itertools.pairwise(times)] == pytest.approx([2, 2], rel=0.01)


def test_h200_is_faster() -> None:
    h200 = load_machine("gpu_h200")
    assert matmul(h200, 8192, 8192, 8192).time_fs < 0.4 * matmul(A100, 8192, 8192, 8192).time_fs
    assert (
        matmul(h200, 16, 8192, 8192).cycles * h200.cycle_fs < 0.6 * matmul(A100, 16, 8192, 8192).cycles * A100.cycle_fs
    )


def test_streams_come_from_the_dram_part() -> None:
    assert A100.dram is not None
    peak = A100.dram.config().peak_bytes_per_second
    assert 0.8 * peak < streaming_bytes_per_second(A100.dram) < 0.95 * peak
    slow = override(A100, {"dram.tRFC": 1500}).dram
    assert slow is not None
    assert streaming_bytes_per_second(slow) < 0.9 * streaming_bytes_per_second(A100.dram), "refresh costs"


def test_energy_of_hbm() -> None:
    found = matmul(A100, 64, 4096, 4096)
    report = charge(found.counts(), [load_table("hbm2_dram")])
    moved = found.hbm_read_bytes + found.hbm_write_bytes
    assert report.total_fj == pytest.approx(moved * (8 * 3480 + 909000 / 1024), rel=1e-9)


def test_panels() -> None:
    cache = Panels(100)
    assert cache.fetch({1: 40, 2: 40}) == 80
    assert cache.fetch({1: 40, 3: 40}) == 40, "1 is a hit; 2, the oldest, goes"
    assert cache.fetch({1: 40, 2: 40}) == 40
    assert cache.fetch({1: 90, 4: 90}) == 90
    assert cache.fetch({1: 40}) == 40, "a wave above the capacity leaves nothing"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((load_machine("systolic_ws"), 1, 1, 1), "it has no gpu or no dram. Try: gpu_a100 or gpu_h200"),
        ((A100, 0, 1, 1), "multiply [0, 1] by [1, 1] on gpu_a100: a size below 1"),
        ((A100, 1, 1, 1, "float64"), "its tensor cores have no float64. Try: float16"),
        ((override(A100, {"gpu.sparse_rate": 1}), 1, 1, 1, "float16", True), "it has no mma.sp"),
    ],
)
def test_errors(arguments: tuple[Machine, int, int, int], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        matmul(*arguments)
