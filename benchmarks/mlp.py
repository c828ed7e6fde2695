"""The MLP 768-3072-768-3072-768 with ReLU: compiled, against ONNX Runtime and DeepSparse on the same ONNX model."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spcomp
from benchmarks.harness import Benchmark, Target, prune_, ratio
from benchmarks.peers import onnx_model
from spcomp.check import relative_error
from spcomp.profiling.timing import Timing, interleave_for

WIDTHS = (768, 3072, 768, 3072, 768)
ROWS = (16, 64, 128, 256)
ZEROS = (50, 80, 90, 95)
QUICK = ((64, 90),)
SCRIPT = Path(__file__).parent / "peers" / "deepsparse_mlp.py"
SECONDS = 1.0
FEW = 32
"""Rows up to which DeepSparse should be far behind."""


def goal(rows: int, zeros: int) -> float:
    """Times DeepSparse that is wanted."""
    if rows <= FEW:
        return 2.8 if zeros <= 50 else 4.0
    return 1.3 if zeros <= 50 else 1.5


TARGETS = {f"mlp_m{m}_u{z}_over_deepsparse": Target(goal(m, z)) for m in ROWS for z in ZEROS}


def mlp(zeros: int) -> nn.Sequential:
    """Without biases, pruned anywhere."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for k, n in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(k, n, bias=False), nn.ReLU()]
    made = nn.Sequential(*layers[:-1]).eval()
    prune_(made, zeros / 100, "unstructured")
    return made


def weights_of(model: nn.Sequential) -> list[torch.Tensor]:
    return [layer.weight for layer in model if isinstance(layer, nn.Linear)]


def deepsparse(python: str, model: Path, x: torch.Tensor, threads: int, seconds: float) -> dict[str, Any]:
    """Seconds of DeepSparse's runs, in a process of its own environment, and its version; ``error`` if there is one."""
    raw = model.with_suffix(".f32")
    raw.write_bytes(x.numpy().tobytes())
    done = subprocess.run(
        [python, str(SCRIPT), str(model), str(raw), *map(str, x.shape), str(threads), str(seconds)],
        env={**os.environ, "NM_DISABLE_ANALYTICS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:200]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def race_mlp(
    bench: Benchmark,
    python: str | None,
    *,
    quick: bool = False,
    cells: Sequence[tuple[int, int]] | None = None,
    budget: float = 1.0,
    save: Path | None = None,
) -> None:
    """Report every cell: milliseconds, and the peers' times over ours.

    ONNX Runtime, eager torch and our dense program are interleaved with ours; DeepSparse runs alone, and ours is timed
    right before and after it: their median is what it is compared with.
    """
    if python is None:
        bench.notes["deepsparse"] = "absent: --deepsparse names an interpreter that has it"
        print(f"    DeepSparse {bench.notes['deepsparse']}")
    if onnx_model.unavailable() is not None:
        bench.notes["onnxruntime"] = str(onnx_model.unavailable())
        print(f"    ONNX Runtime: {onnx_model.unavailable()}")
    everything = QUICK if quick else [(m, z) for z in ZEROS for m in ROWS]
    chosen = [(m, z) for m, z in (everything if cells is None else cells) if f"mlp_m{m}_u{z}_ms" not in bench.figures]
    off = {m: spcomp.compile(mlp(0), torch.randn(m, WIDTHS[0]), policy="off") for m in dict(chosen)}
    for m, zeros in chosen:
        one_cell(bench, python, off[m], m, zeros, budget)
        bench.save(save)


def one_cell(bench: Benchmark, python: str | None, off: nn.Module, m: int, zeros: int, budget: float) -> None:
    """One row count and share of zeros."""
    key = f"mlp_m{m}_u{zeros}"
    model, threads = mlp(zeros), torch.get_num_threads()
    x = torch.randn(m, WIDTHS[0], generator=torch.Generator().manual_seed(1))
    compiled = spcomp.compile(model, x, memory_budget=budget)
    bench.report(f"{key}_error", relative_error(compiled(x), model.double()(x.double())))
    model.float()
    work: dict[str, Callable[[], object]] = {"ours": lambda: compiled(x), "control": lambda: compiled(x)}
    work |= {"dense": lambda: off(x), "eager": lambda: model(x)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mlp.onnx"
        if onnx_model.unavailable() is None:
            path.write_bytes(onnx_model.linear_model(weights_of(model), m))
            work["onnxruntime"] = onnx_model.runtime(path, x, threads)
        times = interleave_for(work, SECONDS, least=9)
        ours = times["ours"]
        control = ratio(times["control"], ours).value
        bench.report(f"{key}_ms", 1e3 * ours.median, f"hot; A/A {control:.3f}")
        for name in work.keys() - {"ours", "control"}:
            gain = ratio(times[name], ours)
            note = f"{1e3 * times[name].median:.2f} ms, lower {gain.lower:.2f}"
            bench.report(f"{key}_over_{name}", gain.value, note, {"ms": 1e3 * times[name].median, "lower": gain.lower})
        if python is None or not path.exists():
            return
        before = interleave_for({"ours": work["ours"]}, SECONDS / 4)["ours"]
        found = deepsparse(python, path, x, threads, SECONDS)
        after = interleave_for({"ours": work["ours"]}, SECONDS / 4)["ours"]
    if "error" in found:
        bench.notes[f"{key}_over_deepsparse"] = f"DeepSparse failed: {found['error']}"
        print(f"    {bench.notes[f'{key}_over_deepsparse']}")
        return
    mine = statistics.median(before.seconds + after.seconds)
    theirs = Timing(tuple(found["seconds"])).median
    note = f"{1e3 * theirs:.2f} ms against {1e3 * mine:.2f} ms, DeepSparse {found['version']}, not interleaved"
    bench.report(f"{key}_over_deepsparse", theirs / mine, note, {"ms": 1e3 * theirs, "ours_ms": 1e3 * mine})
