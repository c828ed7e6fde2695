"""``spcomp.compile(model, target="cuda")`` end to end on a GPU: planned, built, spliced and guarded by the compiler.

Dense: ``torch.compile`` with max-autotune of the same pruned model. Both are timed in one CUDA graph, and as they are
served: ours by the graph that it keeps, dense by ``mode="max-autotune"``, which keeps one too. A model without zeros
shows that planning costs nothing where there is nothing to gain.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

import spcomp
from benchmarks.gpu_cases import COMPILED, Case, weight_of
from benchmarks.gpu_models import linears, llama
from benchmarks.gpu_timing import Clock
from spcomp.targets.cuda import GpuPeaks
from spcomp.targets.device import ON_CUDA, Device

SERVED_CALLS = 50


@dataclass(frozen=True)
class SparseFirst:
    """The timer of a rehearsal: what is sparse takes half as long, and nothing is run."""

    def seconds(self, name: str, calls: Sequence[Callable[[], object]]) -> float:
        return 2e-5 if name.startswith("dense") else 1e-5


def rehearsed(_name: str, _where: str) -> Device:
    """A device that is Triton's interpreter."""
    peaks = GpuPeaks(1000.0, 100.0, 10.0, 1 << 20, "made up")
    return Device("cuda", "cpu", "interpreter", "rehearsal", ON_CUDA, peaks, SparseFirst())


def mlp(real: bool, rows: int) -> tuple[nn.Module, torch.Tensor]:
    """Llama-3-8B's sizes, GELU between; and its input."""
    width, inner = (4096, 14336) if real else (64, 128)
    body = nn.Sequential(nn.Linear(width, inner), nn.GELU(approximate="tanh"), nn.Linear(inner, width))
    return body, torch.randn(rows if real else min(rows, 4), width)


def compiled_ratio(name: str, clock: Clock) -> tuple[float, float, str, dict[str, float]]:
    """(dense seconds / ours, relative difference from the model, what explain() says, figures beside) of one of
    :data:`COMPILED`."""
    kind, pattern, zeros, rows, _ = COMPILED[name]
    torch.manual_seed(0)
    model, x = llama(clock.real) if kind == "llama" else mlp(clock.real, rows)
    model, x = model.to(clock.dtype).to(clock.device).eval(), x.to(clock.dtype).to(clock.device)
    for _, _, layer in list(linears(model)) if pattern else ():
        if pattern == "b64" and not clock.real:
            pattern, zeros = "b16", 50  # of sizes for a rehearsal, blocks of 64 are all or nothing
        case = Case(pattern, zeros, 1, layer.out_features, layer.in_features)
        layer.weight.copy_(weight_of(case, clock.dtype).to(clock.device))
    with tempfile.TemporaryDirectory() as folder:
        if not clock.real:
            ours = spcomp.compile(model, x, target=rehearsed, engine="eager", guard=False, cache_dir=folder)
            return 0.0, _difference(ours(x), model(x)), ours.explain().summary(), {}
        start = time.perf_counter()
        ours = spcomp.compile(model, x, target="cuda", cache_dir=folder)
        compiling = time.perf_counter() - start
    graphless = torch.compile(model, mode="max-autotune-no-cudagraphs")
    ratio, dense, mine = clock.ratio([lambda: graphless(x)], [lambda: ours(x)])
    tuned = torch.compile(model, mode="max-autotune")
    served = [_served(functools.partial(run, x)) for run in (tuned, ours)]
    beside = {
        "dense_us": 1e6 * dense, "ours_us": 1e6 * mine, "compile_s": compiling, "served_dense_us": 1e6 * served[0],
        "served_ours_us": 1e6 * served[1], "served_ratio": served[0] / served[1],
    }  # fmt: skip
    return ratio, _difference(ours(x), model(x)), ours.explain().summary(), beside


def _difference(ours: torch.Tensor, eager: torch.Tensor) -> float:
    return float((ours - eager).abs().max()) / max(float(eager.abs().max()), 1e-30)


def _served(call: Callable[[], object]) -> float:
    """Seconds of a call as a server makes it, one after the other."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(SERVED_CALLS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / SERVED_CALLS
