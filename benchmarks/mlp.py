"""The MLP 768-3072-768-3072-768 with ReLU: compiled, against ONNX Runtime and DeepSparse on the same ONNX model."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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


class DeepSparse:
    """DeepSparse on an ONNX model, in a process of its own environment that runs when it is told to."""

    def __init__(self, python: str, model: Path, x: torch.Tensor, threads: int) -> None:
        """Raises OSError with what it said last, where it does not start."""
        raw = model.with_suffix(".f32")
        raw.write_bytes(x.numpy().tobytes())
        self.said = model.with_suffix(".log")
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [python, str(SCRIPT), str(model), str(raw), *map(str, x.shape), str(threads)],
                env={**os.environ, "NM_DISABLE_ANALYTICS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=said, text=True,
            )  # fmt: skip
        self.version: str = json.loads(self._line(start="{"))["version"]

    def _line(self, start: str = "") -> str:
        """The next line that it prints, of those that begin so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise OSError((self.said.read_text().strip().splitlines() or ["no output"])[-1][:200])

    def seconds(self, count: int) -> float:
        """Of one run, the mean of ``count`` after an untimed one."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def alternate(ours: Callable[[], object], theirs: DeepSparse, seconds: float) -> tuple[Timing, Timing]:
    """Both in turns for about so long, a few milliseconds at a time, each after an untimed run."""

    def run(count: int) -> float:
        ours()
        start = time.perf_counter()
        for _ in range(count):
            ours()
        return (time.perf_counter() - start) / count

    count = max(1, int(3e-3 / max(run(1), theirs.seconds(1))))
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < 9 or (time.perf_counter() < end and len(times[0]) < 401):
        for side in (0, 1) if len(times[0]) % 2 else (1, 0):
            times[side].append((theirs.seconds if side else run)(count))
    return Timing(tuple(times[0])), Timing(tuple(times[1]))


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

    ONNX Runtime, eager torch and our dense program are interleaved with ours in one process; DeepSparse has
    its own, and takes turns with ours.
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
        try:
            peer = DeepSparse(python, path, x, threads)
        except OSError as error:
            bench.notes[f"{key}_over_deepsparse"] = f"DeepSparse failed: {error}"
            print(f"    {bench.notes[f'{key}_over_deepsparse']}")
            return
        try:
            mine, theirs = alternate(work["ours"], peer, 2 * SECONDS)
        finally:
            peer.close()
    gain = ratio(theirs, mine)
    details = {"ms": 1e3 * theirs.median, "ours_ms": 1e3 * mine.median, "lower": gain.lower}
    note = f"{details['ms']:.2f} ms against {details['ours_ms']:.2f}, lower {gain.lower:.2f}, DeepSparse {peer.version}"
    bench.report(f"{key}_over_deepsparse", gain.value, note, details)
