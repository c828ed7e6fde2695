"""Compiling with what was timed before: nothing twice, less by what is near, and what the command line says of it."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp import guard
from spcomp.ahead import tune_ahead
from spcomp.compiled import CompiledModule
from spcomp.cost.benchmarked import read_measurements
from spcomp.cost.cache import TuneCache
from spcomp.cost.database import TuningDatabase
from spcomp.cost.records import TuningCase, TuningRecord
from spcomp.cost.remembering import LOOKS
from spcomp.cost.tuner import Tuner
from spcomp.encodings.csr import Csr
from spcomp.errors import InputError, StateError
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate
from spcomp.passes.reuse import Known
from spcomp.plan import Epilogue, RowRange
from spcomp.planning import make_planner
from spcomp.sparsity.measure import measure
from spcomp.targets.host import HostCpu, host_cpu
from tests.models import mlp

EAGER: dict[str, Any] = {"engine": "eager"}


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
    for path in (tmp_path / "one").glob("peaks-*.json"):  # measured again they may make other kernels likely
        (tmp_path / "two" / path.name).write_bytes(path.read_bytes())
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


def test_what_a_slow_minute_measured_is_not_held_against_a_fast_one(tmp_path: Path) -> None:
    tuner = Tuner(HostCpu("a test", (), 2, 32768, 1 << 20, 1 << 25), TuneCache(tmp_path), "v1")
    runs = [{"dense": 24.0, "csr": 18.0}, {"dense": 15.0, "late": 14.0}, {"alone": 2.0}]
    tuner.time = lambda work, **_: runs.pop(0)  # type: ignore[method-assign, assignment, misc]
    asked: dict[str, Any] = {"key": {"n": 8}, "work": dict, "cold_bytes": 0}
    for names in ({"dense", "csr"}, {"dense", "late"}, {"alone"}):
        tuner.measure(**asked, names=frozenset(names))
    known = tuner.remembered(asked["key"], frozenset({"dense", "csr", "late", "alone"}))
    assert known == pytest.approx({"dense": 15.0, "csr": 18.0 * 15 / 24, "late": 14.0, "alone": 2.0})


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


def test_cases_print_as_one_reads_them(tmp_path: Path) -> None:
    there, candidates = known(tmp_path / "empty", 64, 40)
    case = next(iter(there.cases(candidates[:1], (), 1).values()))
    assert isinstance(case, TuningCase)
    assert str(case) == "64 x 40, 10% nonzeros, 1 row"
