"""What every benchmark shares: pinned threads, interleaved timing, hot and cold modes, targets, one JSON line.

Figures are medians; ratios are medians of the ratios of neighbouring runs, with a bootstrap lower bound and an A/A
control beside them. A benchmark reports: it exits 0 whether or not its targets are met.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from spcomp.cost.cache import default_folder
from spcomp.encodings.matrix import matrix_of, weight_of
from spcomp.profiling.timing import Ratio, Timing, Work, interleave, ratio
from spcomp.targets.amx import avoid_broken_amx
from spcomp.targets.host import host_cpu

__all__ = [
    "Benchmark", "Flusher", "Ratio", "Target", "Timing", "Work", "arguments", "cold_flusher", "interleave", "pin",
    "prune_", "ratio",
]  # fmt: skip

COLD_BYTES = 1 << 26
MOST_COLD_BYTES = 1 << 29


@dataclass(frozen=True)
class Target:
    """A figure's target: at least (``">="``) or at most (``"<="``)."""

    value: float
    sense: str = ">="

    def met(self, figure: float) -> bool:
        return figure >= self.value if self.sense == ">=" else figure <= self.value


class Flusher:
    """Reads memory larger than the last-level cache between runs, for cold timings."""

    def __init__(self, nbytes: int = COLD_BYTES) -> None:
        self.memory = torch.ones(nbytes // 4)

    def __call__(self) -> None:
        self.memory.sum()


def cold_flusher() -> Flusher:
    """A flusher of one and a half last-level caches: what was not used since comes from memory."""
    return Flusher(min(MOST_COLD_BYTES, max(COLD_BYTES, 3 * host_cpu().l3_bytes // 2)))


@dataclass
class Benchmark:
    """One benchmark: its figures, and the targets declared beside the code."""

    name: str
    targets: Mapping[str, Target]
    threads: int = 1
    figures: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What stands beside a figure: times, the kernels that were raced, bounds, GFLOP/s and GB/s."""
    started: float = field(default_factory=time.perf_counter)

    def report(self, key: str, value: float, note: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Record and print one figure."""
        if details is not None:
            self.details[key] = {k: _short(v) for k, v in details.items()}
        self.figures[key] = float(f"{value:.4g}")
        target = self.targets.get(key)
        verdict = ""
        if target is not None:
            verdict = f"   target {target.sense} {target.value:g}: {'met' if target.met(value) else 'MISSED'}"
        if note:
            self.notes[key] = note
        print(f"{key:<44} {value:>12.4g}{verdict}   {note}", flush=True)

    def resume(self, path: Path | None) -> None:
        """Take over what a run of the same benchmark that was cut off left in ``path``, on this device, with these
        versions and as many threads; of a run that came to its end nothing: that is made anew."""
        try:
            found = json.loads(path.read_text()) if path is not None else {}
        except (OSError, ValueError):
            return
        own = {"benchmark": self.name, "threads": self.threads, "device": device(), "versions": versions()}
        if found.get("finished", True) or any(found.get(key) != value for key, value in own.items()):
            return
        self.figures |= found["figures"]
        self.notes |= found["notes"]
        self.details |= found["details"]
        self.started -= found["seconds"]

    def result(self, *, finished: bool = False) -> dict[str, Any]:
        """Everything so far, as it is saved."""
        return {
            "benchmark": self.name,
            "finished": finished,
            "device": device(),
            "versions": versions(),
            "threads": self.threads,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            "seconds": round(time.perf_counter() - self.started),
            "load": [round(v, 2) for v in os.getloadavg()],
            "figures": self.figures,
            "targets": {
                key: {
                    "value": self.figures.get(key),
                    "target": f"{t.sense} {t.value:g}",
                    "met": key in self.figures and t.met(self.figures[key]),
                }
                for key, t in self.targets.items()
            },
            "notes": self.notes,
            "details": self.details,
        }

    def save(self, path: Path | None, *, finished: bool = False) -> None:
        """Write what there is so far, so that a long run that is cut off has not been for nothing."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.result(finished=finished), indent=1) + "\n")

    def finish(self, save: Path | None = None) -> dict[str, Any]:
        """Print the JSON line (and write it to ``save``)."""
        self.save(save, finished=True)
        result = self.result(finished=True)
        print(json.dumps(result))
        return result


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def device() -> str:
    host = host_cpu()
    caches = f"L2 {host.l2_bytes >> 10} KB, L3 {host.l3_bytes >> 20} MB"
    return f"{host.model}, {host.cores} cores, {caches}, {' '.join(host.features)}, {platform.system()}"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("torch", "torch-mlir", "numpy", "spcomp", "transformers", "onnxruntime"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    found["torch"] = torch.__version__
    return found


def arguments(description: str, **extra: Any) -> argparse.Namespace:
    """``--quick``, ``--threads``, ``--json FILE`` and whatever else a benchmark declares; pins the threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a part of it, under 60 s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None, help="write the result here too")
    for name, options in extra.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    parsed = parser.parse_args()
    pin(parsed.threads)
    avoid_broken_amx(default_folder())
    return parsed


def pin(threads: int) -> None:
    """Use this many threads, on fixed cores where the system allows it."""
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > threads:
            os.sched_setaffinity(0, set(cores[-threads:]))


def prune_(module: torch.nn.Module, zeros: float, pattern: str, *, seed: int = 0, skip: Sequence[str] = ()) -> None:
    """Zero a random share of every linear weight: ``"unstructured"``, ``"2:4"``, or blocks such as ``"8x8"``."""
    g = torch.Generator().manual_seed(seed)
    for name, layer in module.named_modules():
        if not isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) or name in skip or zeros <= 0:
            continue
        matrix = matrix_of(layer.weight.detach())
        n, k = matrix.shape
        if pattern == "unstructured":
            keep = torch.rand(n, k, generator=g) >= zeros
        elif ":" in pattern:
            few, group = map(int, pattern.split(":"))
            ranks = torch.rand(n, -(-k // group), group, generator=g).argsort(-1).argsort(-1)
            keep = (ranks < few).reshape(n, -1)[:, :k]
        else:
            r, c = map(int, pattern.split("x"))
            blocks = torch.rand(-(-n // r), -(-k // c), generator=g) >= zeros
            keep = blocks.repeat_interleave(r, 0).repeat_interleave(c, 1)[:n, :k]
        with torch.no_grad():
            layer.weight.copy_(weight_of(torch.where(keep, matrix, 0.0), layer.weight.shape[1:]))
