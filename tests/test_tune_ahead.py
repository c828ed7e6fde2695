"""Compiling with what was timed before: nothing twice, less by what is near, and what the command line says of it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import spcomp
from benchmarks.gpu_cases import CASES
from spcomp import guard
from spcomp.ahead import tune_ahead
from spcomp.build import make_planner
from spcomp.cli import app
from spcomp.compiled import CompiledModule
from spcomp.cost.benchmarked import REHEARSED, read_measurements
from spcomp.cost.cache import TuneCache
from spcomp.cost.database import TuningDatabase
from spcomp.cost.records import SearchRecord, TuningCase, TuningRecord
from spcomp.cost.tuner import LOOKS, Tuner
from spcomp.encodings.csr import Csr
from spcomp.errors import InputError, SpcompError, StateError
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate
from spcomp.passes.reuse import Known
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure
from spcomp.targets.host import HostCpu, host_cpu
from tests.models import mlp

EAGER: dict[str, Any] = {"engine": "eager"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the tuner was started: one number for each race of kernels."""
    races: list[int] = []
    real = Tuner.samples

    def samples(self: Tuner, work: Any, **options: Any) -> dict[str, list[float]]:
        races.append(len(work))
        return real(self, work, **options)

    monkeypatch.setattr(Tuner, "samples", samples)
    return races


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the guard found, each time that it ran."""
    seen: list[float] = []
    real = guard.slowest_speedup

    def watched(*arguments: Any) -> tuple[float, list[float]]:
        worst, all_ = real(*arguments)
        seen.append(worst)
        return worst, all_

    monkeypatch.setattr(guard, "slowest_speedup", watched)
    return seen


def network(k: int = 512, n: int = 1024) -> nn.Module:
    torch.manual_seed(3)
    return mlp(k, n, 64)


def compiled(folder: Path, model: nn.Module, m: int = 16, **options: Any) -> CompiledModule:
    k = next(p for p in model.parameters()).shape[1]
    return spcomp.compile(model, torch.randn(m, k), cache_dir=folder, **{**EAGER, **options})


# --- compile ----------------------------------------------------------------------------------------------------------


def test_after_tuning_ahead_nothing_is_timed(tmp_path: Path, clock: list[int], guards: list[float]) -> None:
    """At both edges of every bucket that a dynamic size touches, by this process's clock or the planner's."""
    model = network(128, 192)
    examples = (torch.randn(3, 128), torch.randn(20, 128))
    done = tune_ahead(model, *examples, options=Options(cache_dir=tmp_path), rows=[5])
    assert (done.layers, done.settled) == (2, True)
    assert done.timed > 0
    assert clock
    clock.clear()
    made = spcomp.compile(model, *examples, cache_dir=tmp_path, **EAGER)
    compiled(tmp_path, model, 5)
    assert clock == [], "no layer was timed"
    assert guards or not any(d.sparse for d in made.explain().decisions), "the whole model was"
    again = tune_ahead(model, *examples, options=Options(cache_dir=tmp_path), rows=[5])
    assert (again.timed, again.passes) == (0, 1)


def test_imported_times_serve_a_machine_of_the_same_kind(tmp_path: Path, clock: list[int]) -> None:
    model = network()
    first = compiled(tmp_path / "one", model)
    tune_ahead(model, torch.randn(16, 512), options=Options(cache_dir=tmp_path / "one"))
    TuningDatabase(tmp_path / "one").export(tmp_path / "out.jsonl", host_cpu().device)
    TuningDatabase(tmp_path / "two").take(read_measurements(tmp_path / "out.jsonl")[0])
    clock.clear()
    second = compiled(tmp_path / "two", model)
    assert clock == []
    assert {d.layer for d in first.explain().decisions} == {d.layer for d in second.explain().decisions}
    reasons = " ".join(second.explain().reasons())
    assert "times at M = 16 measured on such a machine (imported)" in reasons
    assert not any(r.estimated for d in second.explain().decisions for r in d.ranges)


def test_times_of_another_device_are_never_used(tmp_path: Path, clock: list[int]) -> None:
    model = network()
    compiled(tmp_path / "one", model)
    TuningDatabase(tmp_path / "one").export(tmp_path / "out.jsonl", host_cpu().device)
    foreign = [
        TuningRecord(replace(r.case, device="a CPU from elsewhere"), r.seconds)
        for r in read_measurements(tmp_path / "out.jsonl")[0]
        if isinstance(r, TuningRecord)
    ]
    assert foreign
    TuningDatabase(tmp_path / "two").take(foreign)
    clock.clear()
    made = compiled(tmp_path / "two", model, tune="reuse")
    assert len(clock) >= 2, "each layer was timed"
    assert not any(r.source for d in made.explain().decisions for r in d.ranges)


def test_reuse_times_nothing_that_is_near_and_says_so(tmp_path: Path, clock: list[int], guards: list[float]) -> None:
    only = {"encodings": ["csr"]}  # of all, the model may take another for the likeliest at each size
    compiled(tmp_path, network(), guard=False, **only)
    clock.clear()
    near = network(560, 1000)
    made = compiled(tmp_path, near, tune="reuse", **only)
    assert clock == []
    first = made.explain().decisions[0]
    assert first.ranges[0].source.startswith("estimated from 10")  # 1024 x 512, less dead rows
    assert first.ranges[0].estimated
    assert re.search(r"times at M = 16 estimated from 10\d\d x 512, 10% nonzeros, 16 rows", first.reason)
    assert "~" in str(made.explain())
    if first.sparse or any(d.sparse for d in made.explain().decisions):
        assert guards, "the guard times the whole model whatever was reused"
    x = torch.randn(16, 560)
    assert torch.allclose(made(x), near(x), atol=1e-4)
    compiled(tmp_path, network(2048, 256), tune="reuse", guard=False, **only)
    assert clock, "nothing near: timed"


def test_off_believes_the_model_and_the_guard_still_runs(
    tmp_path: Path, clock: list[int], guards: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    made = compiled(tmp_path, model, tune="off")
    assert clock == []
    assert any(d.sparse for d in made.explain().decisions), "90% zeros at 1024 x 512 pay by any model"
    assert guards
    assert "times at M = 16 predicted by the cost model" in " ".join(d.reason for d in made.explain().decisions)
    for d in made.explain().decisions:
        assert all(r.measured_us == pytest.approx(r.predicted_us, rel=0.2) for r in d.ranges if r.estimated)
    monkeypatch.setattr(guard, "slowest_speedup", lambda *a: (0.5, [0.5]))
    slow = compiled(tmp_path, model, tune="off")
    assert not any(d.sparse for d in slow.explain().decisions)
    assert "guard: sparse was 0.50x of dense" in slow.explain().notes


def test_an_unknown_way_to_tune_is_refused() -> None:
    with pytest.raises(InputError, match=r"choose how to tune: 'always'. Try: 'measure', 'reuse' or 'off'"):
        spcomp.compile(network(), torch.randn(2, 512), tune="always")  # type: ignore[arg-type]
    assert Options.from_dict(Options(tune="reuse").to_dict()).tune == "reuse"
    older = Options().to_dict()
    del older["tune"]
    assert Options.from_dict(older).tune == "measure"


# --- fewer candidates, fewer looks ------------------------------------------------------------------------------------


def known(folder: Path, n: int, k: int) -> tuple[Known, list[Candidate]]:
    planner = make_planner(Options(cache_dir=folder), 1 << 24)
    weight = torch.zeros(n, k)
    weight[:, ::10] = 1.0
    site = Site(0, "fc", weight, None, Epilogue(), measure(weight), "fc.weight", None, [RowRange(1, 1)])
    found = Known(planner.database, ("a CPU", "v", 1), planner.model, site, planner.target, 0)
    stored = n * k // 10
    schedule = (("tiles", 1),)
    return found, [Candidate(Csr(columns), "mlir_cpu", schedule, 6 * stored, stored) for columns in (64, 128, 256)]


def test_what_was_far_behind_near_by_is_not_timed(tmp_path: Path) -> None:
    there, candidates = known(tmp_path, 512, 320)
    assert there.likely(candidates, {1: candidates}) == candidates, "nobody knows anything yet"
    names = there.filed(candidates, ())
    seconds = dict(zip(names.values(), (1e-3, 1.2e-3, 9e-3), strict=True))
    there.add(1, candidates, (), seconds)
    here, candidates = known(tmp_path, 600, 320)
    assert here.likely(candidates, {1: candidates}) == candidates[:2], "nine times behind, at every row count"
    fresh = replace(candidates[0], encoding=Csr(512))
    assert fresh in here.likely([*candidates, fresh], {1: [*candidates, fresh]}), "of which nothing is known"
    far, others = known(tmp_path, 4096, 320)
    assert far.likely(others, {1: others}) == others
    # What was decided stands, whatever is learned later: what was not timed then is not asked for now.
    here.add(1, candidates, (), dict(zip(here.filed(candidates, ()).values(), (9e-3, 9e-3, 1e-3), strict=True)))
    again, candidates = known(tmp_path, 600, 320)
    assert again.likely(candidates, {1: candidates}) == candidates[:2]


def test_a_case_of_the_planner_is_the_point_of_its_key(tmp_path: Path) -> None:
    there, candidates = known(tmp_path, 64, 40)
    cases = there.cases(candidates, ["dense.mkl"], 7)
    names = there.filed(candidates, ["dense.mkl"])
    assert {name: case.kernel for name, case in cases.items()} == names
    there.add(7, candidates, ["dense.mkl"], dict.fromkeys(names.values(), 2e-3))
    assert there.exact(7, names) == (dict.fromkeys(names.values(), 2e-3), "")
    assert there.exact(8, names) is None


def test_a_close_verdict_is_looked_at_so_often_and_then_stands(tmp_path: Path) -> None:
    host = HostCpu("a test", (), 2, 32768, 1 << 20, 1 << 25)
    tuner = Tuner(host, TuneCache(tmp_path), "v1")
    times = iter([5.0, 3.0, 4.0, 1.0])
    made: list[float] = []

    def time(work: Any, **_: Any) -> dict[str, float]:
        work()
        made.append(next(times))
        return {"a": made[-1]}

    tuner.time = lambda work, **options: time(lambda: work, **options)  # type: ignore[method-assign]
    asked: dict[str, Any] = {"key": {"n": 8}, "work": dict, "names": frozenset("a"), "cold_bytes": 0}
    assert tuner.measure(**asked) == {"a": 5.0}
    assert tuner.measure(**asked) == {"a": 5.0}
    for least in (3.0, 3.0):
        assert tuner.measure(**asked, again=True) == {"a": least}
    assert len(made) == 1 + len(LOOKS)
    assert tuner.measure(**asked, again=True) == {"a": 3.0}
    assert Tuner(host, TuneCache(tmp_path), "v1").measure(**asked, again=True) == {"a": 3.0}
    assert len(made) == 1 + len(LOOKS), "and no more"


def test_the_name_of_a_cpu_is_not_of_its_free_cores() -> None:
    host = HostCpu("a test", ("avx2",), 2, 32768, 1 << 20, 1 << 25)
    assert host.device == replace(host, cores=64).device
    assert host.device != replace(host, features=()).device
    assert host.device.startswith("a test [")


# --- errors of tuning ahead -------------------------------------------------------------------------------------------


def test_tuning_ahead_says_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="tune ahead: no example input"):
        tune_ahead(network(), options=Options())
    with pytest.raises(InputError, match=r"tune ahead: the row counts 4, 0\. Try: row counts of at least 1"):
        tune_ahead(network(), torch.randn(1, 512), options=Options(), rows=[4, 0])
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with caplog.at_level(logging.CRITICAL), pytest.raises(StateError, match=r"tune ahead: nothing was kept in .*file"):
        tune_ahead(mlp(16, 8), torch.randn(1, 16), options=Options(cache_dir=blocked))


# --- the benchmark's file ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What ``benchmarks.gpu --rehearse`` writes."""
    pytest.importorskip("triton")
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    line = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--only", "nm24", "--json", str(path)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_times_of_a_rehearsal_are_no_measurements(rehearsed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(rehearsed))
    assert rehearsed["figures"] == {}
    with pytest.raises(InputError, match=r"times of a rehearsal \(small sizes in Triton's interpreter on a CPU"):
        read_measurements(path)
    assert "Try: the JSON of a run on a GPU" in _refused("tune", "--import", str(path))


def test_a_result_of_a_gpu_becomes_records(rehearsed: dict[str, Any], tmp_path: Path) -> None:
    """The file that a run writes, as if a GPU had written it."""
    notes = {name: text for name, text in rehearsed["notes"].items() if name != REHEARSED}
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({**rehearsed, "notes": {**notes, "gpu": "NVIDIA H200, torch 2.13.0, CUDA 13.0"}}))
    found, came = read_measurements(path)
    assert came.by_device == {"NVIDIA H200": len(found)}
    cases = [r.case for r in found if isinstance(r, TuningRecord)]
    assert {c.call.backend for c in cases} == {"triton", "dense.cublas"}
    assert {str(c.call.encoding) for c in cases} == {"nm(n=2, m=4)", "dense()"}
    assert {c.threads for c in cases} == {0}
    assert all(c.versions.startswith("torch=") and not c.hot for c in cases)
    assert all(c.call.target == "cuda" and c.call.schedule for c in cases if c.call.backend == "triton")
    assert all(abs(c.density - 0.5) < 0.02 for c in cases)
    assert len([c for c in cases if c.dense]) == len({(c.m, c.call.n, c.call.k) for c in cases}) > 0
    database = TuningDatabase(tmp_path)
    database.take(found)
    asked = next(c for c in cases if not c.dense)
    near = database.nearest(replace(asked, m=asked.m + 8))
    assert near is not None
    assert near.record.case == asked
    assert len(CASES["nm24"]) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"benchmark": "grid"}, "a result of the benchmark 'grid'"), ({"notes": {}}, "a result that names no GPU"),
        ({"notes": 3}, "a result without notes and details"), ({"details": {}}, "in which no kernels were raced"),
        ({"details": {"x": {"raced": [{"m": 1}]}}}, "file.json, x: no field 'seconds'"),
        ({"details": {"x": {"raced": [3]}}}, "file.json, x: "),
    ],
)  # fmt: skip
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    whole = {"benchmark": "gpu", "notes": {"gpu": "A GPU, torch 2, CUDA 13"}, "details": {}, "versions": {}}
    path = tmp_path / "file.json"
    path.write_text(json.dumps({**whole, **change}))
    with pytest.raises(InputError, match=re.escape(words)):
        read_measurements(path)


# --- the command line -------------------------------------------------------------------------------------------------

MODELS = """
import torch
from torch import nn

def made():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 16))
    model[0].weight.data *= torch.rand_like(model[0].weight) > 0.9
    return model, torch.randn(8, 256)
"""


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit | SpcompError):
        raise result.exception
    return result


def _refused(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 2
    return " ".join(result.stderr.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = re.sub(r"\W", "_", f"tuned_{tmp_path.name}")
    (tmp_path / f"{name}.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path / "cache"))
    return name


def test_tune_export_import_and_list(folder: str, clock: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing was timed yet" in run("tune", "--list").stdout
    done = run("tune", f"{folder}:made", "--rows", "1,32", "--threads", "1", "--export", "out.jsonl", "--list")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"tuned 2 layers: \d+ new times in \d passes; compiling it times no layer now", done.stdout)
    device = host_cpu().device
    assert re.search(rf"exported \d+ records of {re.escape(device)} to out.jsonl", done.stdout)
    assert device in " ".join(done.stdout.split())
    assert all(text in done.stdout for text in ("1, 8, 32", "dense.mkl", "here", "yes", "128 x 256"))
    clock.clear()
    assert run("compile", f"{folder}:made", "--engine", "eager", "--threads", "1").exit_code == 0
    assert clock == []
    monkeypatch.setenv("SPCOMP_CACHE_DIR", "elsewhere")
    taken = run("tune", "--import", "out.jsonl", "--list")
    assert re.search(rf"imported \d+ records of {re.escape(device)}: used here", taken.stdout)
    assert "imported" in taken.stdout
    assert run("compile", f"{folder}:made", "--engine", "eager", "--threads", "1", "--tune", "measure").exit_code == 0
    assert clock == []


def test_import_says_what_is_not_used_here(folder: str) -> None:
    search = SearchRecord("NVIDIA H200", "torch=2", "cusparselt 64", (1,))
    Path("far.jsonl").write_text(f"{search.to_line()}\nnonsense\n")
    taken = run("tune", "--import", "far.jsonl", "--list")
    assert taken.exit_code == 0, taken.stderr
    here = host_cpu().device
    assert f"imported 1 records of NVIDIA H200: kept, but not used here: this is {here}" in taken.stdout
    assert "skipped 1 lines that are no records" in taken.stdout
    assert all(text in taken.stdout for text in ("NVIDIA H200", "no", "searches of a library"))
    exported = run("tune", "--export", "again.jsonl", "--device", "NVIDIA H200")
    assert "exported 1 records of NVIDIA H200" in exported.stdout
    assert Path("again.jsonl").read_text() == search.to_line() + "\n"


def test_what_cannot_be_tuned_is_said(folder: str) -> None:
    assert "tune: neither a model nor a file. Try: spcomp tune MODEL" in _refused("tune")
    assert "read --rows 1,x: it is no list of whole numbers" in _refused("tune", f"{folder}:made", "--rows", "1,x")
    assert "import absent.jsonl: No such file" in _refused("tune", "--import", "absent.jsonl")
    Path("bad.jsonl").write_text("{}\n[]\n")
    assert "import bad.jsonl: no record in it, 2 lines that are none" in _refused("tune", "--import", "bad.jsonl")
    refused = _refused("tune", "--export", "out.jsonl")
    assert f"export to out.jsonl: nothing was timed on {host_cpu().device}" in refused
    assert not Path("out.jsonl").exists()
    assert "choose how to tune: 'x'" in _refused("compile", f"{folder}:made", "--tune", "x")


def test_a_compiled_model_is_not_tuned(folder: str) -> None:
    assert run("compile", f"{folder}:made", "--engine", "eager", "--out", "model.spc").exit_code == 0
    assert "tune model.spc: a model that is compiled already" in _refused("tune", "model.spc")


def test_cases_print_as_one_reads_them() -> None:
    there, candidates = known(Path("nowhere"), 64, 40)
    case = next(iter(there.cases(candidates[:1], (), 1).values()))
    assert isinstance(case, TuningCase)
    assert str(case) == "64 x 40, 10% nonzeros, 1 row"
