"""What the cost model says of calls: never less for more, and between the larger of two times and their sum."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.probe import learned_ends, probe
from spcomp.conv_shape import ConvShape
from spcomp.cost.analytic import CostModel, overlapped
from spcomp.cost.cycles import CALIBRATED, missed, portions, surprise
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.quad import Quad
from spcomp.encodings.spec import Encoding
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.window import Window
from spcomp.plan import Epilogue, KernelCall, RowRange, Schedule
from spcomp.sim.cpu_streams import missed as missed_of_a_table
from spcomp.targets.host import HostCpu, host_cpu
from spcomp.targets.peaks import DENSE_ROWS, READ_SHARES, Peaks, host_peaks, read_peaks

HOST = HostCpu("a test", ("avx512f",), 2, 48 << 10, 2 << 20, 1 << 28)
BARE = Peaks(gflops=190.0, stream_gb_s=12.0, cache_gb_s=25.0)
RATES = tuple(20.0 + 10 * i for i in range(len(DENSE_ROWS)))
FULL = replace(
    BARE, l1_gb_s=310.0, l2_gb_s=130.0, far_gb_s=tuple(40.0 - 5 * i for i in range(len(READ_SHARES))), pack_ns=31.0,
    unpack_ns=38.0, mispredict_ns=6.0, mkl_near=RATES, mkl_far=RATES, onednn_near=RATES, onednn_far=RATES,
)  # fmt: skip
TILES: Schedule = (("tiles", 4),)
TOKENS: Schedule = (("tokens", 8),)
CODE: Schedule = (("columns", 256), ("groups", 2), ("panel", 8), ("rows", 28))
CALLS: list[tuple[Encoding, str, Schedule, str]] = [
    (Csr(128), "mlir_cpu", TILES, "float32"),
    (Block(8, 1), "mlir_cpu", TILES, "float32"),
    (Block(16, 16), "mlir_cpu", TILES, "float32"),
    (Nm(2, 4), "mlir_cpu", TILES, "float32"),
    (Nm(2, 4), "mlir_cpu", TOKENS, "float32"),
    (Window(32), "mlir_cpu", TOKENS, "float32"),
    (Window(256), "mlir_cpu", TOKENS, "float32"),
    (Bitmap(), "mlir_cpu", TOKENS, "float32"),
    (Quad(4), "mlir_cpu", TILES, "bfloat16"),
    (Transposed(), "mlir_cpu", (("percent", 70),), "float32"),
    (Csr(256), "baked_cpu", CODE, "float32"),
    (Dense(), "dense.mkl", (), "float32"),
    (Dense(), "dense.onednn", (), "float32"),
    (Dense(), "dense.gemv", (), "float32"),
]
NAMES = [f"{e} {s}" if s else backend for e, backend, s, _ in CALLS]
every_call = pytest.mark.parametrize("made", CALLS, ids=NAMES)
every_host = pytest.mark.parametrize("peaks", [BARE, FULL], ids=["bare", "full"])


def call_of(made: tuple[Encoding, str, Schedule, str], n: int = 768, k: int = 1024, share: float = 0.25) -> KernelCall:
    encoding, backend, schedule, dtype = made
    stored = n * k if encoding == Dense() else int(n * k * share)
    return KernelCall(
        "fc", 0, RowRange(1, None), n, k, dtype, encoding, stored, stored, 5 * stored, "", Epilogue(), backend,
        "cpu-avx512", schedule,
    )  # fmt: skip


@every_host
@every_call
def test_more_is_never_predicted_to_take_less(made: tuple[Encoding, str, Schedule, str], peaks: Peaks) -> None:
    model, call = CostModel(HOST, peaks), call_of(made)
    rows = (1, 2, 4, 8) if made[2] == TOKENS or made[1] == "dense.gemv" else (16, 32, 64, 128, 256, 512)
    by_rows = [model.seconds(call, m) for m in rows]
    assert by_rows == sorted(by_rows)
    by_bytes = [model.seconds(replace(call, weight_nbytes=call.weight_nbytes << i), rows[0]) for i in range(6)]
    assert by_bytes == sorted(by_bytes)
    by_cold = [model.seconds(call, rows[0], cold_bytes=b) for b in (0, 1 << 20, 1 << 24, 1 << 27, 1 << 30)]
    assert by_cold == sorted(by_cold)
    if made[0] != Dense():
        by_nonzeros = [model.seconds(call_of(made, share=s), rows[-1]) for s in (0.02, 0.05, 0.1, 0.25, 0.5)]
        assert by_nonzeros == sorted(by_nonzeros)


@every_host
def test_a_convolution_is_predicted(peaks: Peaks) -> None:
    shape = ConvShape(2, 64, 28, 28, (3, 3), padding=(1, 1))
    call = replace(call_of(CALLS[10], 64, shape.k), op="conv", conv=shape)
    model = CostModel(HOST, peaks)
    assert 1e-5 < model.seconds(call, shape.pixels) < model.seconds(call, 4 * shape.pixels) < 1e-2
    dense = replace(call_of(CALLS[12], 64, shape.k), op="conv", conv=shape)
    assert 1e-5 < model.seconds(dense, shape.pixels) < 1e-2


@given(st.floats(0, 1e3), st.floats(0, 1e3))
def test_two_times_overlap_between_their_maximum_and_their_sum(a: float, b: float) -> None:
    both = overlapped(a, b)
    assert max(a, b) * (1 - 1e-9) <= both <= (a + b) * (1 + 1e-9)
    assert overlapped(b, a) == pytest.approx(both)


def test_small_counts() -> None:
    assert portions(15, 8) == [8, 4, 2, 1]
    assert portions(17, 8) == [8, 8, 1]
    assert portions(1, 8) == [1]
    assert missed(1000, 48 << 10) == 0
    assert 0 < missed(1 << 17, 48 << 10) < missed(1 << 20, 48 << 10) < 1
    assert surprise(10, 1.0) == 0
    assert 0 < surprise(1, 0.1) < surprise(50, 0.1) < 1
    assert all(c.value > 0 and len(c.source) > 20 for c in CALIBRATED.values())


def test_reading_gets_no_faster_with_size() -> None:
    for peaks in (BARE, FULL):
        found = [peaks.reads(float(1 << i), HOST) for i in range(10, 32)]
        assert found == sorted(found, reverse=True)
    assert FULL.reads(16 << 10, HOST) == 310
    assert FULL.reads(1 << 20, HOST) == 130
    assert FULL.reads(1 << 40, HOST) == FULL.far_gb_s[-1]


# --- remembered on disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def counted() -> tuple[list[int], Callable[[], Peaks]]:
    made: list[int] = []

    def measure() -> Peaks:
        made.append(1)
        return FULL

    return made, measure


def test_peaks_are_measured_once(tmp_path: Path, counted: tuple[list[int], Callable[[], Peaks]]) -> None:
    made, measure = counted
    assert host_peaks(tmp_path, measure) == FULL
    host_peaks.cache_clear()
    assert host_peaks(tmp_path, measure) == FULL, "read back as it was written"
    assert len(made) == 1
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "", lambda text: text[: len(text) // 2], lambda text: "[]", lambda text: "null",
        lambda text: text.replace('"version": ', '"version": 9'), lambda text: text.replace("190.0", "-1.0"),
        lambda text: text.replace("190.0", "NaN"), lambda text: text.replace("190.0", '"fast"'),
        lambda text: text.replace("gflops", "flops", 1), lambda text: text.replace("[40.0, ", "["),
        lambda text: text.replace("[40.0, ", "[null, "), lambda text: text.replace("190.0", "true"),
    ],
)  # fmt: skip
def test_damaged_peaks_are_measured_again(
    tmp_path: Path, counted: tuple[list[int], Callable[[], Peaks]], damage: Callable[[str], str]
) -> None:
    made, measure = counted
    host_peaks(tmp_path, measure)
    (path,) = tmp_path.glob("peaks-*.json")
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    host_peaks.cache_clear()
    assert host_peaks(tmp_path, measure) == FULL
    assert len(made) == 2
    assert path.read_text() == before, "and written anew"


def test_bytes_that_are_no_text_and_folders_that_are_none(
    tmp_path: Path, counted: tuple[list[int], Callable[[], Peaks]]
) -> None:
    made, measure = counted
    host_peaks(tmp_path, measure)
    (path,) = tmp_path.glob("peaks-*.json")
    path.write_bytes(b"\xff\xfe\x80")
    host_peaks.cache_clear()
    assert host_peaks(tmp_path, measure) == FULL
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert host_peaks(blocked, measure) == FULL
    assert len(made) == 3


def test_peaks_of_another_version_are_refused() -> None:
    with pytest.raises(ValueError, match="not peaks of this version"):
        read_peaks(json.dumps(asdict(FULL)))


@pytest.mark.skipif(jit.available() is not None, reason="needs torch-mlir")
def test_this_host_can_be_probed() -> None:
    found = probe()
    assert found.plausible
    assert found.l1_gb_s > found.stream_gb_s
    assert 0.3 < found.ghz < 12
    assert len(found.mkl_far) == len(DENSE_ROWS)
    assert 0 < found.surprise_ns * found.ghz < 100
    assert (found.permuted_loads_gb_s > 0) == (host_cpu().target == "cpu-avx512")


def test_remembered_ends_follow_from_forgotten_shares() -> None:
    shares = {rows: missed_of_a_table(rows, 6000) for rows in (4096, 8192, 16384)}
    assert learned_ends(shares) == pytest.approx(6000, rel=0.01)
    assert learned_ends({4096: 0.0, 8192: 1.0, 16384: 1.3}) == 0.0, "none that tells"
