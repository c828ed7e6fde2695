"""Models planned for GPUs that are none: Triton's interpreter on CPU tensors, and a timer that reads a table.

``TRITON_INTERPRET=1`` must be in the environment of whoever imports Triton after this and runs these functions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import spcomp
from spcomp.targets.cuda import GpuPeaks
from spcomp.targets.device import ON_CUDA, Device

PEAKS = GpuPeaks(1000.0, 100.0, 10.0, 1 << 20, "made up")


@dataclass
class Table:
    """Seconds by the first words of a kernel's name; the longest that fit count. Nothing is run."""

    seconds_of: dict[str, float]
    asked: list[str] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def seconds(self, name: str, calls: Sequence[Callable[[], object]]) -> float:
        self.asked.append(name)
        self.calls.append(len(calls))
        found = self.seconds_of[max((key for key in self.seconds_of if name.startswith(key)), key=len)]
        return found * (1.5 if "'block_m': 1," in name else 1.0)  # kernels for one token, which others do not serve


def sparse_wins() -> Table:
    return Table({"": 90e-6, "dense.": 80e-6, "triton block": 20e-6, "triton csr": 30e-6, "triton nm(n=2, m=4)": 25e-6})


def fake(timer: Table, name: str = "interpreter") -> Device:
    return Device("cuda", "cpu", name, f"digest of {name}", ON_CUDA, PEAKS, timer)


def start() -> None:
    """In the new process: one thread, products of bfloat16 as they should be, and schedules for a GPU so small that K
    is not split among many programs."""
    from spcomp.codegen.triton import device
    from tests import triton_cases  # imports Triton

    triton_cases.start()
    device.PROGRAMS = 1


class Mlp(nn.Module):
    """Blocks of 32, 95 % zeros anywhere, 2:4, and a layer without zeros."""

    def __init__(self, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.d = (
            nn.Linear(64, 128), nn.Linear(128, 64), nn.Linear(64, 64, bias=False), nn.Linear(64, 8)
        )  # fmt: skip
        with torch.no_grad():
            live = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1]])
            self.a.weight *= live.repeat_interleave(32, 0).repeat_interleave(32, 1)
            self.b.weight *= torch.rand(64, 128) < 0.05
            order = torch.rand(64, 16, 4).argsort(-1).argsort(-1)
            self.c.weight *= (order < 2).reshape(64, 64)
        self.to(dtype).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.d(self.c(F.gelu(self.b(torch.relu(self.a(x))))))


def compiled(folder: Path, timer: Table, *examples: Any, **options: Any) -> spcomp.CompiledModule:
    options = {"engine": "eager", "guard": False, "shrink": False, "cache_dir": folder,
               "target": lambda _name, _where: fake(timer)} | options  # fmt: skip
    return spcomp.compile(Mlp(), *examples, **options)


def gap(ours: nn.Module, x: torch.Tensor) -> float:
    """max|difference| from the eager model in float64."""
    with torch.no_grad():
        exact = Mlp(torch.float64)
        exact.load_state_dict({n: t.double() for n, t in Mlp().state_dict().items()})
        found, wanted = ours(x), exact(x.double())
    if found.numel() == 0:
        return float(found.shape != wanted.shape)
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def whole_path(folder: Path) -> dict[str, Any]:
    """Compile for a dynamic batch, run, save and load; no torch-mlir anywhere."""
    sys.modules["torch_mlir"] = None  # type: ignore[assignment]  # importing it raises
    timer, x = sparse_wins(), torch.randn(6, 64).half()
    dim = torch.export.Dim("batch", min=2, max=18)
    ours = compiled(folder, timer, x, dynamic_shapes={"x": {0: dim}})
    errors = {m: gap(ours, torch.randn(m, 64).half()) for m in (1, 2, 5, 18, 0)}
    told = ours.explain()
    path = ours.save(folder / "mlp.spcomp")
    asked = len(timer.asked)
    again = spcomp.load(path, target=lambda _name, _where: fake(timer))
    measured = len(timer.asked) - asked
    again.warmup()
    other = spcomp.load(path, target=lambda _name, _where: fake(sparse_wins(), "another"), guard=False)
    return {
        "errors": errors,
        "encodings": {d.layer: d.encoding for d in told.decisions},
        "ranges": {d.layer: [(r.rows, r.kernel.split()[0]) for r in d.ranges] for d in told.decisions},
        "kernels": {d.layer: [r.kernel for r in d.ranges] for d in told.decisions},
        "text": str(told),
        "plan": {c.target for c in ours.plan.calls},
        "ops": [str(n.target) for n in ours.parts.programs[0].gm.graph.nodes if n.op == "call_function"],
        "loaded": gap(again, x),
        "measured_at_load": measured,
        "same_plan": again.plan.digest == ours.plan.digest,
        "retuned": (gap(other, x), other.explain().notes),
        "state": max(
            float((a.double() - b.double()).abs().max())
            for a, b in zip(ours.state_dict().values(), (Mlp().state_dict()[n] for n in ours.state_dict()), strict=True)
        ),
        "nbytes": (ours.nbytes, ours.dense_nbytes),
        "resident": {slot.kernels[0].call.layer: [id(k.packed["values"]) for k in slot.kernels if hasattr(k, "packed")]
                     for slot in ours.parts.table},
    }  # fmt: skip


def inductor_path(folder: Path) -> dict[str, Any]:
    """The same with Inductor around the kernels, for a static batch."""
    x = torch.randn(4, 64).half()
    ours = compiled(folder, sparse_wins(), x, engine="auto")
    return {"engine": ours.parts.programs[0].engine, "error": gap(ours, x)}


def two_devices(folder: Path) -> dict[str, Any]:
    """The first two layers on one device, the others on another; and on the CPU."""
    x, first, second = torch.randn(4, 64).half(), sparse_wins(), sparse_wins()
    home = spcomp.targets.device.host_device()
    places = {"a": fake(first, "one"), "b": fake(first, "one"), "c": fake(second, "two"), "d": home}

    def devices(name: str, _where: str) -> Device:
        return places[name[0]]

    options: dict[str, Any] = {"engine": "eager", "guard": False, "shrink": False, "cache_dir": folder}
    ours = spcomp.compile(Mlp(), x, target=devices, **options)
    return {
        "error": gap(ours, x),
        "asked": (first.asked, second.asked),
        "devices": {d.layer: d.device for d in ours.explain().decisions},
        "targets": {c.layer: c.target for c in ours.plan.calls},
        "text": str(ours.explain()),
    }


def convolution(folder: Path) -> dict[str, Any]:
    """A convolution in blocks of 16, its BatchNorm apart."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].weight *= (torch.arange(32) < 16).reshape(-1, 1, 1, 1) | (torch.arange(9) % 2 == 0).reshape(1, 1, 3, 3)
    x = torch.randn(1, 16, 4, 4)
    ours = spcomp.compile(
        model, x, target=lambda _name, _where: fake(sparse_wins()), engine="eager", guard=False, shrink=False,
        cache_dir=folder,
    )  # fmt: skip
    with torch.no_grad():
        error = float((ours(x) - model(x)).abs().max())
    return {"error": error, "encoding": ours.explain().decisions[0].encoding, "plan": ours.plan.calls[0].op}


def dense_wins(folder: Path) -> dict[str, Any]:
    """A table by which no sparse kernel pays."""
    x = torch.randn(4, 64).half()
    ours = compiled(folder, Table({"": 100e-6, "dense.": 80e-6}), x)
    ops = [str(n.target) for n in ours.parts.programs[0].gm.graph.nodes if n.op == "call_function"]
    return {"error": gap(ours, x), "sparse": [d.sparse for d in ours.explain().decisions], "ops": ops}


def guarded(folder: Path, worst: float) -> dict[str, Any]:
    """The guard's verdict is ``worst``: which program is handed out, and of what it is made."""
    x = torch.randn(4, 64).half()
    from spcomp import guard

    seen: list[list[str]] = []

    def verdict(parts: Any, dense: Any, inputs: Any, programs: Any) -> tuple[float, list[float]]:
        seen.extend([str(n.target) for n in p.gm.graph.nodes if n.op == "call_function"] for p in programs)
        for program in programs:  # what is timed must run
            with torch.no_grad():
                program.run(*(parts.tensors[name] for name in program.lifted), x)
        return worst, [worst]

    plain, guard.slowest_speedup = guard.slowest_speedup, verdict
    try:
        ours = compiled(folder, sparse_wins(), x, guard=True)
    finally:
        guard.slowest_speedup = plain
    names = sorted(ours.parts.tensors)
    return {"error": gap(ours, x), "rival": seen[0], "tensors": names, "text": str(ours.explain())}
