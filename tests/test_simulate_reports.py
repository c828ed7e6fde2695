"""Reports of whole models: plans that run or are refused, partial runs, traces, tables, errors, the command line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import spcomp
from spcomp.cli import app
from spcomp.errors import InputError, PlanError, SpcompError
from spcomp.sim.energy import Count
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.dram import Dram
from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.workload import Workload, of_plan
from tests.compiling import QUICK
from tests.simulated import MACHINES, alone, check_step, planned, sparse


def test_a_compiled_model_runs_as_it_is_or_is_refused() -> None:
    compiled = sparse()
    report = spcomp.simulate(compiled, "stc_flexible")
    assert report.plan == compiled.plan.digest
    words = (
        r"run 0 \(rows 0\+\) on systolic_ws: systolic_ws does not run csr: it has no decoder.*which packs 0 as dense"
    )
    with pytest.raises(PlanError, match=words):
        spcomp.simulate(compiled, "systolic_ws", torch.randn(16, 64))
    anew = spcomp.simulate(compiled, "systolic_ws", torch.randn(16, 64), replan=True)
    assert {s.encoding for s in anew.steps if s.kind == "layer"} == {"dense()"}
    assert anew.plan != compiled.plan.digest


def test_a_plan_alone() -> None:
    plan = sparse().plan
    with pytest.raises(InputError, match=r"simulate a plan: no number of rows\. Try: rows=128"):
        spcomp.simulate(plan, "stc_flexible")
    words = r"simulate 0: a plan alone, which does not say where the nonzeros of its .* are\. Try: the compiled model"
    with pytest.raises(InputError, match=words):
        spcomp.simulate(plan, "stc_flexible", rows=16)
    with pytest.raises(InputError, match=r"plan 0 for systolic_ws: a plan alone, without weights"):
        spcomp.simulate(plan, "systolic_ws", rows=16, replan=True)
    dense = spcomp.compile(nn.Linear(32, 16).eval(), torch.randn(4, 32), policy="off", **QUICK).plan
    for name in MACHINES:
        (step,) = spcomp.simulate(dense, name, rows=4).steps
        assert step.dense_macs == of_plan(dense, 4).steps[0].dense_macs == 4 * 32 * 16
        check_step(step)


@pytest.mark.parametrize("name", ["systolic_ws", "stc_2_4", "gpu_a100"])
def test_ctrl_c_leaves_what_had_ended(name: str) -> None:
    workload, whole = planned(name)

    def stop(done: int, total: int, step: str) -> None:
        assert (total, step) == (len(workload.steps), workload.steps[done].name)
        if done == 3:
            raise KeyboardInterrupt

    report = spcomp.simulate(workload, name, progress=stop)
    assert report.interrupted
    assert report.steps == whole.steps[:3]
    assert "CUT OFF after 3 of" in report.summary()
    assert json.loads(report.to_json())["interrupted"] is True
    assert not whole.interrupted
    assert "CUT OFF" not in str(whole)


def test_ctrl_c_in_the_middle_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal itself, while memory moves: the step under way is left out, those before it are whole."""
    workload, whole = planned("systolic_ws")
    feed, fed = Dram.feed, 0

    def feed_and_stop(memory: Dram, *given: Any) -> None:
        nonlocal fed
        fed += 1
        feed(memory, *given)
        if fed == 12:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Dram, "feed", feed_and_stop)
    report = spcomp.simulate(workload, "systolic_ws")
    assert report.interrupted
    assert 0 < len(report.steps) < len(whole.steps)
    assert report.steps == whole.steps[: len(report.steps)]


@pytest.mark.parametrize("name", ["systolic_ws", "stc_2_4", "gpu_a100"])
def test_traces_do_not_overlap_and_change_nothing(name: str, tmp_path: Path) -> None:
    workload, report = planned(name)
    traced = spcomp.simulate(workload, name, timeline=True)
    assert traced.to_json() == report.to_json()
    events = json.loads(traced.save_trace(tmp_path / "t.json").read_text())["traceEvents"]
    tracks: dict[int, list[tuple[int, int]]] = {}
    for e in events:
        if e["ph"] == "X":
            tracks.setdefault(e["tid"], []).append((e["args"]["begin_fs"], e["args"]["end_fs"]))
    assert len(tracks) >= (2 if name != "stc_2_4" else 1)
    for slices in tracks.values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(slices))
    assert max(end for slices in tracks.values() for _, end in slices) == report.steps[-1].end_fs
    counters = {e["name"] for e in events if e["ph"] == "C"}
    assert "occupancy: full halves" in counters
    assert ("bandwidth: dram, bytes/us" in counters) == (name in ("systolic_ws", "stc_2_4"))
    with pytest.raises(InputError, match=r"the run kept no timeline\. Try: simulate\(\.\.\., timeline=True\)"):
        report.save_trace(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"write .*absent"):
        traced.save_trace(tmp_path / "absent" / "t.json")


def test_tables_for_people_and_for_programs() -> None:
    workload, report = planned("stc_2_4")
    lines = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert sum(int(line["Total Cycles"]) for line in lines) == report.cycles
    assert sum(int(line["Energy fJ"]) for line in lines) == report.energy_fj
    text, page = str(report), report._repr_html_()
    for step in workload.layers:
        assert step.name in text
        assert f"<td>{step.name}</td>" in page
    assert report.plan in text
    assert "values in words of 1 byte(s), as int8" in text


ERRORS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"machine": "gpu_a10"}, "find the machine 'gpu_a10': no machine of that name. Try: gpu_a100"),
    ({"machine": "absent.yaml"}, "read the machine absent.yaml: No such file or directory"),
    ({"dram.chanels": 2}, "no setting or timing of that name. Try: channels"),
    ({"systolic.mode": "scalesim"}, "mode 'scalesim', which counts no memory. Try: systolic.mode=exact"),
    ({"systolic.word_bytes": 3}, "simulate words of 3 bytes on systolic_ws: no dtype of that size. Try: 1, 2 or 4"),
    ({"systolic.word_bytes": 2}, "simulate product in words of 2 bytes: its operands are int8. Try: word_bytes=1"),
    ({"systolic.ifmap_bytes": 1}, "cut a product of 8 x 8 x 8: scratchpads of 1, 65536 and 65536 bytes"),
    ({"vector": None}, "it has no systolic, vector or dram section"),
    ({"model": 3}, "simulate: a int. Try: an nn.Module, a compiled model, a KernelPlan with rows=, or a Workload"),
    ({"model": nn.Linear(2, 2)}, "simulate a Linear: no inputs"),
)


@pytest.mark.parametrize(("given", "words"), ERRORS)
def test_errors(given: dict[str, Any], words: str) -> None:
    asked = {"model": alone(8, 8, 8), "machine": "systolic_ws", **given}
    with pytest.raises(SpcompError, match=re.escape(words)):
        spcomp.simulate(**asked)


def test_steps_of_cores_are_in_the_same_report(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = planned("systolic_ws")[0]

    def run_cores(workload: Workload, machine: Machine, **_: Any) -> Iterator[Any]:
        for k, _step in enumerate(workload.steps):
            yield SimpleNamespace(
                cycles=100 + k, compute_cycles=60, memory_cycles=70, stalls={"L2": 5, "memory": 30},
                level_bytes={"L2": 640}, dram_bytes=64, counts=(Count("mac_float32", 10), Count("dram_64bit", 8)),
            )  # fmt: skip

    monkeypatch.setattr("spcomp.sim.simulate.run_cores", run_cores)
    report = spcomp.simulate(workload, "cached_cpu")
    assert report.cycles == sum(100 + k for k in range(len(workload.steps)))
    assert all(s.cycles == s.compute_cycles + s.stalls["memory"] for s in report.steps)
    assert report.dram_bytes == 64 * len(report.steps)
    assert report.energy_fj == len(report.steps) * (10 * 4600 + 8 * 1300000)
    model = spcomp.simulate(nn.Linear(8, 8).eval(), "cached_cpu", torch.randn(2, 8))
    assert not any("planned anew" in note for note in model.notes)
    with pytest.raises(InputError, match=r"plan for cached_cpu: the schedules of its kernels come from the compiler"):
        spcomp.simulate(workload, "cached_cpu", replan=True)


def test_a_machine_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "half.yaml"
    path.write_text("preset: systolic_ws\nname: half\nsystolic: {rows: 16}\n")
    report = spcomp.simulate(alone(8, 64, 8), path)
    assert report.machine == "half"
    assert report.steps[0].parts["array"] == SystolicArray(16, 32).cycles(8, 64, 8)


def test_command_line(tmp_path: Path) -> None:
    saved = sparse().save(tmp_path / "model.spcomp")
    cli = CliRunner()
    base = ["simulate", str(saved), "--machine", "stc_flexible"]
    files = ["--csv", str(tmp_path / "s.csv"), "--trace", str(tmp_path / "t.json"), "--html", str(tmp_path / "p.html")]
    found = cli.invoke(app, [*base, "--set", "clock_mhz=500", "--json", *files])
    assert found.exit_code == 0, found.output
    data = json.loads(found.stdout)
    assert (data["clock_mhz"], data["settings"]) == (500.0, {"clock_mhz": "500"})
    assert (tmp_path / "s.csv").read_text().startswith("LayerID,Layer name,Total Cycles")
    assert "traceEvents" in (tmp_path / "t.json").read_text()
    table = cli.invoke(app, [*base, "--set", "clock_mhz=500"])
    assert table.exit_code == 0
    assert f"{data['total']['cycles']} cycles at 500 MHz" in table.stdout
    computed = cli.invoke(app, [*base, "--functional", "--example", "16x64"])
    assert computed.exit_code == 0, computed.output
    assert "functional: 2 layers equal to the reference" in " ".join(computed.stdout.split())
    assert "functional=True: no inputs" in cli.invoke(app, [*base, "--functional"]).stderr
    refused = cli.invoke(app, ["simulate", str(saved), "--machine", "systolic_ws"])
    assert refused.exit_code == 2
    assert "does not run" in refused.stderr
    anew = cli.invoke(app, ["simulate", str(saved), "--machine", "systolic_ws", "--replan"])
    assert anew.exit_code == 0, anew.output
    wrong = cli.invoke(app, [*base, "--set", "clock_mhz"])
    assert "read --set clock_mhz: no name and value" in wrong.stderr
