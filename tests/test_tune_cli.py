"""``spcomp tune``: ahead of compiling, from machine to machine, from the GPU benchmark's file, and its words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from spcomp.cli import app
from spcomp.cost.benchmarked import REHEARSED, read_measurements
from spcomp.cost.database import TuningDatabase
from spcomp.cost.records import SearchRecord, TuningRecord
from spcomp.errors import InputError, SpcompError
from spcomp.targets.host import host_cpu

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
    done = run("tune", f"{folder}:made", "--rows", "1", "--threads", "1", "--export", "out.jsonl", "--list")
    assert done.exit_code == 0, done.stderr
    assert re.search(r"tuned 2 layers: \d+ new times in \d passes; compiling it times no layer now", done.stdout)
    device = host_cpu().device
    assert re.search(rf"exported \d+ records of {re.escape(device)} to out.jsonl", done.stdout)
    assert device in " ".join(done.stdout.split())
    assert all(text in done.stdout for text in ("1, 8", "dense.mkl", "here", "yes", "128 x 256"))
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
