"""benchmarks.gpu without a GPU: it says what waits, and its code runs in small sizes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import Run, waiting
from benchmarks.gpu_cases import CASES, GRID, TARGETS, smaller, weight_of
from benchmarks.gpu_timing import Clock
from benchmarks.harness import Benchmark


def test_says_what_waits(capsys: pytest.CaptureFixture[str]) -> None:
    waiting("no device")
    said = capsys.readouterr().out
    assert "No GPU: no device" in said
    for key in ("m1_8192x8192_u_50 ", "m4096_8192x8192_b64_90 ", "llama_b64_90 ", "grid_worst "):
        assert key in said
    assert len(said.splitlines()) == len(TARGETS) + 1


def test_cases_have_the_zeros_they_say() -> None:
    for case in (CASES["nm24"][0][0], CASES["blocks"][2][0], CASES["decode"][1][0]):
        weight = weight_of(smaller(case))
        zeros = float((weight == 0).float().mean())
        assert abs(zeros - case.zeros / 100) < 0.15
        assert weight.dtype is torch.bfloat16
    assert len({case.key for case in GRID}) == len(GRID) >= 200


def test_a_run_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"figures": {"copy_gb_s": 5.0}, "notes": {}, "details": {}}))
    bench = Benchmark("gpu", TARGETS)
    run = Run(bench, Clock(torch.device("cpu")), path, 1.0)
    assert bench.figures == {"copy_gb_s": 5.0}
    assert run._ceiling("copy_gb_s") == 5.0


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_rehearsal() -> None:
    """Layers and whole models in the interpreter, every kernel held to float64; no figure comes of it."""
    line = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--only", "ceilings,nm24,models"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nothing is left" in done.stdout
    assert done.stdout.rstrip().endswith("wrong: rehearsed")  # and nothing that was
    assert "llama_b64_90: rehearsed  4 x triton" in done.stdout
    assert "no kernel was right" not in done.stdout
    assert "vit_b64_90: rehearsed  2 x triton" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_rehearsal_of_the_compiler() -> None:
    """``spcomp.compile`` end to end in small sizes."""
    line = [sys.executable, "-m", "benchmarks.gpu", "--rehearse", "--only", "compiled"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "compiled_llama_b64_90: rehearsed  for cuda: interpreter (cpu); 4 of 4 layers sparse" in done.stdout
    assert "compiled_mlp_dense_m64: rehearsed  for cuda: interpreter (cpu); 0 of 2 layers sparse" in done.stdout
    assert "nothing is left" in done.stdout
