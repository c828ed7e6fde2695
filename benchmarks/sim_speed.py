"""How fast whole models are simulated: a GPT-2-small-shaped one on three machines, and time against requests.

Times are of one process on one core (CPU time), medians; planning and simulating are counted, compiling the model for
this host is not (a core runs the compiler's own plan). The exponent is the slope of log time over log DRAM requests, of
products from about 10^4 to 10^6.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import spcomp
from benchmarks.harness import Benchmark, Target, arguments, prune_
from spcomp.report.simulated import SimReport
from spcomp.sim.machines import load_machine
from spcomp.sim.workload import Operand, Step, Workload
from spcomp.workload import workload_of

TARGETS = {
    "gpt2_systolic_ws_seconds": Target(5, "<="),
    "gpt2_stc_2_4_seconds": Target(5, "<="),
    "gpt2_cached_cpu_seconds": Target(5, "<="),
    "exponent_low": Target(0.9, ">="),
    "exponent_high": Target(1.1, "<="),
}
SIDES = (768, 1536, 3072, 6144, 8192)
"""N and K of the products whose time is set against their requests; M is 64."""
SMALLEST = 32
"""Side of a product that takes no time to speak of: what a run costs before its first request."""


class Gpt2Layer(nn.Module):
    """A layer of GPT-2 that reads all tokens at once. x [B, T, width]."""

    def __init__(self, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, w = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(w, 2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, w))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


def gpt2_workload(layers: int, pattern: str) -> Workload:
    """Of ``layers`` layers at 128 tokens, compiled dense: planning for a machine is part of what is timed."""
    torch.manual_seed(0)
    model = nn.Sequential(*(Gpt2Layer() for _ in range(layers))).eval()
    if pattern:
        prune_(model, 0.5, pattern)
    x = torch.randn(1, 128, 768)
    compiled = spcomp.compile(model, x, policy="off", engine="eager", guard=False)
    return workload_of(compiled.parts, [x])


def product(side: int) -> Workload:
    """x [64, side] times W [side, side], in int8."""
    sizes = {"x": (64, side), "w": (side, side), "y": (64, side)}
    x, w, y = (Operand(name, size, "int8", size[0] * size[1]) for name, size in sizes.items())
    return Workload((Step(f"product of {side}", "matmul", (x, w), (y,), m=64, k=side, n=side),), "")


def timed(work: Callable[[], SimReport], times: int) -> tuple[float, float, SimReport]:
    """(median of CPU seconds, median of seconds, the last report)."""
    cpu, wall = [], []
    for _ in range(times):
        begin, start = time.process_time(), time.perf_counter()
        report = work()
        cpu.append(time.process_time() - begin)
        wall.append(time.perf_counter() - start)
    return statistics.median(cpu), statistics.median(wall), report


def models(bench: Benchmark, options: Any) -> None:
    layers, times = (4, 1) if options.quick else (12, 3)
    for machine, pattern in (("systolic_ws", ""), ("stc_2_4", "2:4")):
        workload = gpt2_workload(layers, pattern)
        spcomp.simulate(product(256), machine)  # compile the memory's loop
        seconds, wall, report = timed(lambda w=workload, m=machine: spcomp.simulate(w, m, replan=True), times)  # type: ignore[misc]
        scaled = seconds * 12 / layers
        found = f"{report.cycles} cycles, {len(report.steps)} steps, {report.dram_bytes / 1e6:.0f} MB"
        note = f"{layers} layers{' x 12 / ' + str(layers) if layers != 12 else ''}, planned anew; {found}"
        bench.report(f"gpt2_{machine}_seconds", scaled, note, {"wall_seconds": wall, "cpu_seconds": seconds})


def on_a_core(bench: Benchmark, options: Any) -> None:
    """The same model, 90 % zeros, as the compiler lays it out with sorted CSR, on one core with caches."""
    layers, times = (2, 1) if options.quick else (12, 3)
    torch.manual_seed(0)
    model = nn.Sequential(*(Gpt2Layer() for _ in range(layers))).eval()
    prune_(model, 0.9, "unstructured")
    x = torch.randn(1, 128, 768)
    compiled = spcomp.compile(model, x, policy="force", encodings=("sorted_csr",), engine="eager", guard=False)
    workload = workload_of(compiled.parts, [x])
    spcomp.simulate(replace(workload, steps=workload.steps[:8]), "cached_cpu")  # compile the loops
    seconds, wall, report = timed(lambda: spcomp.simulate(workload, "cached_cpu"), times)
    found = f"{report.cycles} cycles, {len(report.steps)} steps, {report.dram_bytes / 1e6:.0f} MB"
    note = f"{layers} layers{' x 12 / ' + str(layers) if layers != 12 else ''}; {found}"
    bench.report("gpt2_cached_cpu_seconds", seconds * 12 / layers, note, {"wall_seconds": wall, "cpu_seconds": seconds})


def growth(bench: Benchmark, options: Any) -> None:
    """Products of growing size on the systolic array, each DRAM request through the controller."""
    size = load_machine("systolic_ws").dram.config().transaction_bytes  # type: ignore[union-attr]
    points, rounds = [], 3 if options.quick else 7
    taken: dict[int, list[float]] = {side: [] for side in SIDES}
    requests: dict[int, int] = {}
    for _ in range(rounds):
        for side in SIDES:
            seconds, _, report = timed(lambda s=side: spcomp.simulate(product(s), "systolic_ws"), 1)  # type: ignore[misc]
            taken[side].append(seconds)
            requests[side] = report.dram_bytes // size
    for side in SIDES:
        points.append((requests[side], statistics.median(taken[side])))
    slope = float(np.polyfit(*zip(*((math.log(r), math.log(t)) for r, t in points), strict=True), 1)[0])
    details = {str(r): t for r, t in points}
    decades = math.log10(points[-1][0] / points[0][0])
    bench.report("exponent_low", slope, f"{points[0][0]} to {points[-1][0]} requests", details)
    bench.report("exponent_high", slope, "the same")
    bench.report("decades", decades, "of requests")
    fixed, _, report = timed(lambda: spcomp.simulate(product(SMALLEST), "systolic_ws"), rounds)
    bench.report("fixed_ms", 1000 * fixed, f"a run of {report.dram_bytes // size} requests")
    bench.report("requests_per_second", points[-1][0] / points[-1][1], f"at {points[-1][0]}, tiles included")


def main() -> None:
    options = arguments("How fast whole models are simulated.")
    bench = Benchmark("sim_speed", TARGETS, options.threads)
    growth(bench, options)
    models(bench, options)
    on_a_core(bench, options)
    bench.finish(options.json)


if __name__ == "__main__":
    main()
