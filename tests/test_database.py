"""The database of tunings: records, the nearest one, files that are damaged, shared or of another machine."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcomp.conv_shape import ConvShape
from spcomp.cost.database import TuningDatabase, distance, read_file
from spcomp.cost.records import SearchRecord, TuningCase, TuningRecord, coarse, read_record
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.plan import Epilogue, KernelCall, RowRange

DEVICE = ("a CPU [1234]", "torch=1", 1)


def case(
    m: int = 16,
    n: int = 512,
    k: int = 256,
    density: float = 0.25,
    *,
    encoding: Encoding = Csr(),  # noqa: B008 - frozen
    backend: str = "mlir_cpu",
    device: tuple[str, str, int] = DEVICE,
    **other: object,
) -> TuningCase:
    stored = n * k if encoding == Dense() else int(density * n * k)
    schedule = () if encoding == Dense() else (("tiles", 2),)
    call = KernelCall(
        "fc", 3, RowRange(1, None), n, k, "float32", encoding, int(density * n * k), stored, 8 * stored, "abc",
        Epilogue(True, "relu"), backend, "cpu-avx512", schedule,
    )  # fmt: skip
    return TuningCase.of(device, m, replace(call, **other), density, 0.2, 1 << 24)  # type: ignore[arg-type]


def predict(call: KernelCall, m: int, cold_bytes: int) -> float:
    """A model for tests: seconds grow with the work and the bytes."""
    return 1e-9 * (m * call.stored + call.weight_nbytes) + 1e-12 * cold_bytes


SIZES = st.integers(1, 1 << 14)
CASES = st.builds(
    case, m=SIZES, n=SIZES, k=SIZES, density=st.floats(0, 1), encoding=st.sampled_from([Csr(), Nm(2, 4), Block(8, 8)])
)
SECONDS = st.floats(1e-7, 10)


# --- records ----------------------------------------------------------------------------------------------------------


@given(CASES, SECONDS)
def test_a_record_reads_as_it_was_written(asked: TuningCase, seconds: float) -> None:
    record = TuningRecord(asked, seconds)
    line = record.to_line()
    assert "\n" not in line
    assert read_record(line) == record
    assert read_record(line).case.point == asked.point  # type: ignore[union-attr]
    assert json.loads(line)["pattern_digest"] == asked.pattern_digest
    assert not {"layer", "slot", "packed"} & json.loads(line)["call"].keys(), "nothing of the model it came from"


def test_a_convolution_and_a_search_read_as_they_were_written() -> None:
    shape = ConvShape(2, 32, 14, 14, (3, 3), padding=(1, 1))
    record = TuningRecord(case(k=288, op="conv", conv=shape), 1e-4)
    assert read_record(record.to_line()) == record
    found = SearchRecord("NVIDIA H200", "torch=2", "cusparselt 64 64 8", (7, 2, 1))
    assert read_record(found.to_line()) == found


def test_the_pattern_digest_is_of_what_a_cost_sees() -> None:
    assert case(density=0.25).pattern_digest == case(density=0.2501, n=1024).pattern_digest
    assert case(density=0.25).pattern_digest != case(density=0.5).pattern_digest
    assert coarse(0.25) == coarse(0.2501) != coarse(0.3)
    assert coarse(0) == 0


# --- the nearest ------------------------------------------------------------------------------------------------------


@given(CASES, SECONDS)
def test_at_distance_zero_the_time_is_the_measured_one(asked: TuningCase, seconds: float) -> None:
    database = TuningDatabase(Path("nowhere"), writable=False)
    assert database.nearest(asked) is None
    database.add([TuningRecord(asked, seconds)])
    near = database.nearest(asked)
    assert near is not None
    assert near.distance == 0
    assert near.seconds(asked, predict) == seconds
    assert database.exact(DEVICE[0], asked.point, [asked.kernel]) == {asked.kernel: (seconds, "here")}


@given(CASES, st.sampled_from(["m", "n", "k", "density"]), st.floats(1, 4), st.floats(1, 4))
def test_farther_is_never_nearer(asked: TuningCase, what: str, near: float, far: float) -> None:
    """Distance grows with every ratio of sizes, and is the same both ways."""
    near, far = sorted((near, far))

    def moved(by: float) -> TuningCase:
        if what == "m":
            return replace(asked, m=math.ceil(asked.m * by))
        if what == "density":
            return replace(asked, density=min(1.0, asked.density * by))
        return replace(asked, call=replace(asked.call, **{what: math.ceil(getattr(asked.call, what) * by)}))

    assert distance(asked, asked) == 0
    assert distance(asked, moved(near)) <= distance(asked, moved(far))
    assert distance(asked, moved(far)) == distance(moved(far), asked)


def test_the_nearest_serves_scaled_by_the_model(tmp_path: Path) -> None:
    database = TuningDatabase(tmp_path)
    database.add([TuningRecord(case(m), 1e-3 * m) for m in (8, 32, 64)])
    asked = case(24)
    near = database.nearest(asked)
    assert near is not None
    assert near.record.case.m == 32
    assert near.distance == pytest.approx(math.log2(32 / 24))
    stored = int(0.25 * 512 * 256)
    ratio = (1e-9 * (24 + 8) * stored + 1e-12 * (1 << 24)) / (1e-9 * (32 + 8) * stored + 1e-12 * (1 << 24))
    assert near.seconds(asked, predict) == pytest.approx(32e-3 * ratio)
    assert database.nearest(case(1024)) is None, "sixteen times the rows is too far"
    assert database.nearest(case(1024), within=4.0) is not None
    assert database.nearest(case(m=12, n=800, k=400)) is None, "a little of everything adds up"


def test_the_best_schedule_there_comes_first(tmp_path: Path) -> None:
    database = TuningDatabase(tmp_path)
    schedules = {tiles: (("tiles", tiles),) for tiles in (1, 2, 4)}
    database.add([TuningRecord(case(schedule=s), 1e-3 * abs(t - 4) + 1e-4) for t, s in schedules.items()])
    best = database.nearest(case(20), same="kind")
    assert best is not None
    assert best.record.case.call.schedule == schedules[4]
    own = database.nearest(case(20, schedule=schedules[1]))
    assert own is not None
    assert own.record.case.call.schedule == schedules[1]


@pytest.mark.parametrize(
    "other",
    [
        case(device=("NVIDIA H200", "torch=1", 1)), case(device=(DEVICE[0], "torch=1", 2)), case(encoding=Nm(2, 4)),
        case(encoding=Csr(64)), case(backend="baked_cpu"), case(dtype="bfloat16"), case(quantize="int8"),
        case(epilogue=Epilogue(True, "gelu")), replace(case(), cold_bytes=0),
        case(k=288, op="conv", conv=ConvShape(2, 32, 14, 14, (3, 3))),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_never_used(tmp_path: Path, other: TuningCase) -> None:
    database = TuningDatabase(tmp_path)
    database.add([TuningRecord(other, 1e-3)])
    assert database.nearest(case(), within=1e9) is None
    assert database.exact(DEVICE[0], case().point, [case().kernel]) is None
    assert database.nearest(other) is not None


def test_of_equals_the_same_versions_come_first_and_dense_sees_no_zeros(tmp_path: Path) -> None:
    database = TuningDatabase(tmp_path)
    older = case(device=(DEVICE[0], "torch=0", 1))
    database.add([TuningRecord(older, 1e-5)])
    near = database.nearest(case())
    assert near is not None, "another version's time is a hint"
    assert database.exact(DEVICE[0], case().point, [case().kernel]) is None, "and no measurement"
    database.add([TuningRecord(case(), 2e-5)])
    near = database.nearest(case())
    assert near is not None
    assert near.record.seconds == 2e-5
    dense = case(encoding=Dense(), backend="dense.mkl", density=0.9)
    assert distance(dense, replace(dense, density=0.01)) == 0


# --- files ------------------------------------------------------------------------------------------------------------

LINE = TuningRecord(case(), 0.001).to_line()
DAMAGE: list[Callable[[str], str | bytes]] = [
    lambda line: line[: len(line) // 2], lambda line: "[]", lambda line: "nonsense", lambda line: "[" * 100_000,
    lambda line: b"\xff\xfe\x80", lambda line: line.replace('"version": 1', '"version": 99'),
    lambda line: line.replace("0.001", "-1"), lambda line: line.replace("0.001", "NaN"),
    lambda line: line.replace("0.001", '"fast"'), lambda line: line.replace('"m": 16', '"m": 0'),
    lambda line: line.replace('"m": 16', '"m": 1.5'), lambda line: line.replace('"density": 0.25', '"density": 7'),
    lambda line: line.replace('"name": "csr"', '"name": "cuneiform"'), lambda line: line.replace('"n": 512', '"n": 0'),
    lambda line: line.replace('"kind": "kernel"', '"kind": "rumour"'), lambda line: line.replace('"device"', '"where"'),
    lambda line: line.replace('"spread": 0.2', '"spread": -0.2'), lambda line: line.replace('"n": 512', '"n": "512"'),
    lambda line: line.replace('"a CPU [1234]"', "5"), lambda line: line.replace('"call": {', '"call": {"x": 1, '),
    lambda line: line.replace('"kind": "kernel"', '"kind": "search", "about": "x", "found": [0.5]'),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_is_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[str], str | bytes]
) -> None:
    database = TuningDatabase(tmp_path)
    whole = TuningRecord(case(64), 2e-3)
    path = database.own_file(DEVICE[0])
    path.parent.mkdir(parents=True)
    broken = damage(LINE)
    assert broken != LINE
    raw = broken if isinstance(broken, bytes) else broken.encode()
    path.write_bytes(raw + b"\n\n" + whole.to_line().encode() + b"\n")
    with caplog.at_level(logging.INFO, "spcomp.cost"):
        found, came = read_file(path)
    assert found == [whole]
    assert (came.by_device, came.damaged) == ({DEVICE[0]: 1}, 1)
    assert f"skipping line 1 of {path}" in caplog.text
    assert database.exact(DEVICE[0], case().point, [case().kernel]) is None
    assert database.exact(DEVICE[0], whole.case.point, [whole.case.kernel]) is not None


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    database = TuningDatabase(tmp_path)
    path = database.own_file(DEVICE[0])
    path.parent.mkdir(parents=True)
    path.write_text(LINE[:50])  # a process that was killed
    database.add([TuningRecord(case(64), 2e-3)])
    found, came = read_file(path)
    assert [r.case.m for r in found if isinstance(r, TuningRecord)] == [64]
    assert came.damaged == 1


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from spcomp.cost.database import TuningDatabase; from spcomp.cost.records import TuningRecord, read_record\n"
        "record = read_record(sys.argv[2]); database = TuningDatabase(Path(sys.argv[1]))\n"
        "for i in range(200):\n"
        "    database.add([TuningRecord(replace(record.case, m=1 + i), float(sys.argv[3]))] * 3)\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path), LINE]
    runs = [subprocess.Popen([*line, seconds], stderr=subprocess.PIPE) for seconds in ("1.0", "2.0")]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors.decode()
    found, came = read_file(TuningDatabase(tmp_path).own_file(DEVICE[0]))
    assert (len(found), came.damaged) == (1200, 0)
    assert {r.seconds for r in found if isinstance(r, TuningRecord)} == {1.0, 2.0}


def test_an_unwritable_folder_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    database = TuningDatabase(blocked)
    with caplog.at_level(logging.INFO, "spcomp"):
        for _ in range(3):
            database.add([TuningRecord(case(), 1e-3)])
    assert sum("cannot write tuning records" in r.getMessage() for r in caplog.records) == 1
    assert "Set SPCOMP_CACHE_DIR to a writable folder" in caplog.text
    assert database.nearest(case()) is not None, "this process knows it all the same"


def test_export_and_import_are_a_round_trip(tmp_path: Path) -> None:
    here, there = TuningDatabase(tmp_path / "here"), TuningDatabase(tmp_path / "there")
    records = [TuningRecord(case(m), 1e-3 * m) for m in (1, 16, 512)]
    search = SearchRecord(DEVICE[0], "torch=1", "about", (1, 2))
    here.add([TuningRecord(case(16), 5.0), *records, search])
    here.add([TuningRecord(case(device=("another", "torch=1", 1)), 1e-3)])
    assert here.export(tmp_path / "out.jsonl", DEVICE[0]) == 4
    found, came = read_file(tmp_path / "out.jsonl")
    assert came.by_device == {DEVICE[0]: 4}, "those of another device stay at home, the latest of one case counts"
    for _ in range(2):  # twice is once
        there.take(found)
    assert len(list((tmp_path / "there").rglob("*.jsonl"))) == 1
    for record in records:
        assert there.exact(DEVICE[0], record.case.point, [record.case.kernel]) == {
            record.case.kernel: (record.seconds, "imported")
        }
    assert there.search(DEVICE[0], "torch=1", "about") == (1, 2)
    assert there.export(tmp_path / "again.jsonl", DEVICE[0]) == 4
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "out.jsonl").read_text()


def test_our_own_times_come_before_imported_and_shipped_ones(tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "one.jsonl").write_text(TuningRecord(case(), 3.0).to_line() + "\n")
    database = TuningDatabase(tmp_path / "cache", shipped)

    def known() -> tuple[float, str] | None:
        found = database.exact(DEVICE[0], case().point, [case().kernel])
        return None if found is None else found[case().kernel]

    assert known() == (3.0, "shipped")
    database.take([TuningRecord(case(), 2.0)])
    assert known() == (2.0, "imported")
    database.add([TuningRecord(case(), 1.0)])
    assert known() == (1.0, "here")
    database = TuningDatabase(tmp_path / "cache", shipped)
    assert known() == (1.0, "here"), "in a new process too"
    assert database.export(tmp_path / "out.jsonl", DEVICE[0]) == 1
    assert read_file(tmp_path / "out.jsonl")[0] == [TuningRecord(case(), 1.0)]


def test_what_is_shipped_can_be_read() -> None:
    """Every line in the package is a record, and its file is of one device."""
    shipped = TuningDatabase(Path("nowhere")).shipped
    assert (shipped / "README.md").exists()
    for path in shipped.glob("*.jsonl"):
        _, came = read_file(path)
        assert came.damaged == 0
        assert len(came.by_device) == 1
