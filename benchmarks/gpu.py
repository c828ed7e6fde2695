"""Sparse layers and models on a GPU against cuBLAS; where there is none, what waits for one.

python -m benchmarks.gpu [--only PARTS] [--minutes 8] [--json FILE] [--rehearse]

Parts: ceilings, nm24, blocks, vnm, decode, models, compiled (``spcomp.compile`` end to end), grid. Each case is first
held to float64, then timed in a CUDA graph over as many copies of its weight as are four L2 caches. A run ends after
``--minutes``; run the same line again with the same ``--json FILE`` until it says that nothing is left. Ratios are
seconds of dense / seconds of ours: dense is cuBLAS, and ``torch.compile(mode="max-autotune")`` where that is raced and
faster. ``--rehearse`` walks through everything in small sizes in Triton's interpreter on the CPU (set
TRITON_INTERPRET=1) and prints no figure: it shows that the code runs. Beside each figure the JSON has the seconds of
every kernel that was raced: ``spcomp tune --import FILE`` makes records of those.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.gpu_cases import (
    BANDWIDTH,
    CASES,
    COMPILED,
    GRID,
    MODELS,
    TARGETS,
    Case,
    call_of,
    encodings_of,
    smaller,
    weight_of,
)
from benchmarks.gpu_compiled import compiled_ratio
from benchmarks.gpu_models import model_ratio
from benchmarks.gpu_timing import COLD_BYTES, Clock
from benchmarks.harness import Benchmark, arguments
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear, Operators
from spcomp.codegen.triton.backend import Triton, kernel_of
from spcomp.cost.benchmarked import REHEARSED, raced
from spcomp.encodings.dense import Dense
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall
from spcomp.targets.cuda import cuda_missing
from spcomp.tolerance import TOLERANCES
from spcomp.versions import device_versions

PARTS = ("ceilings", "nm24", "blocks", "vnm", "decode", "models", "compiled", "grid")
WHOLE_MODEL = 0.05
"""Relative difference that a whole compiled model may have from itself run eagerly, in 16 bits."""
Work = tuple[str, Callable[[], None]]


class Run:
    """One run: its clock, its results so far, and when it must end."""

    def __init__(self, bench: Benchmark, clock: Clock, save: Path | None, seconds: float) -> None:
        self.bench, self.clock, self.save = bench, clock, save
        self.end = time.monotonic() + seconds
        self.wrong: list[str] = []
        if save is not None and save.exists():
            before = json.loads(save.read_text())
            if REHEARSED in before["notes"]:
                return
            bench.figures |= before["figures"]
            bench.notes |= before["notes"]
            bench.details |= before["details"]

    def report(self, key: str, value: float, note: str = "", details: dict[str, Any] | None = None) -> None:
        if self.clock.real:
            self.bench.report(key, value, note, details)
            self.bench.save(self.save)
        else:
            self.bench.details[key] = details or {}
            print(f"{key}: rehearsed  {note}", flush=True)

    def ceilings(self) -> None:
        self.report("copy_gb_s", self.clock.copy_gb_s())
        for dtype in (torch.bfloat16, torch.float16):
            self.report(f"dense_tflops_{str(dtype)[6:]}", self.clock.dense_tflops(dtype))

    def layer(self, case: Case, *, bandwidth: bool = False, guarded: bool = False, key: str = "") -> None:
        """Race every kernel of one layer against dense. ``guarded``: what is reported is the choice of the race, which
        may be dense, timed again."""
        clock, key = self.clock, key or case.key
        weight = weight_of(case, clock.dtype)
        x = torch.randn(case.m, case.k).to(weight.dtype).to(clock.device)
        bias = torch.randn(case.n).to(weight.dtype)
        exact = x.double() @ weight.to(clock.device).double().t() + bias.to(clock.device).double()
        best, seconds, nbytes, stored = "", float("inf"), 0, 0
        fastest: list[Callable[[], object]] = []
        race: list[dict[str, Any]] = []
        for encoding in encodings_of(case):
            call, packed = call_of(case, weight, encoding)
            copies = clock.copies(packed.nbytes)
            for name, tried, build in self._builders(call, packed, bias):
                kernels = [build()]
                error = _error(kernels[0](x), exact)
                if not error <= TOLERANCES[str(clock.dtype)[6:]]:
                    self.wrong.append(f"{key} {name}: {error:.1e}")
                    continue
                kernels += [build() for _ in range(copies - 1)]
                work = [_bound(kernel, x) for kernel in kernels]
                taken = clock.seconds(work)
                race.append(_raced(case, tried, weight, taken))
                if taken < seconds:
                    best, seconds, fastest, nbytes, stored = name, taken, work, packed.nbytes, call.stored
        if not fastest:
            self.report(key, 0.0, "no kernel was right")
            return
        rival, dense = self._dense(case, weight, bias, x)
        if guarded and clock.seconds(dense) < seconds:
            best, fastest = "cuBLAS", dense
        ratio, dense_seconds, ours = clock.ratio(dense, fastest)
        race.append(_raced(case, _dense_call(call, rival, weight), weight, dense_seconds))
        moved = nbytes + 2 * (x.numel() + case.m * case.n)
        details = {
            "kernel": best, "rival": rival, "dense_us": 1e6 * dense_seconds, "ours_us": 1e6 * ours,
            "executed_tflops": 2 * case.m * stored / ours / 1e12,
            "effective_tflops": 2 * case.m * int((weight != 0).sum()) / ours / 1e12, "gb_s": moved / ours / 1e9,
            "of_dense_product": 2 * case.m * stored / ours / 1e12 / self._ceiling("dense_tflops_bfloat16"),
            "of_copy": moved / ours / 1e9 / self._ceiling("copy_gb_s"), "raced": race,
        }  # fmt: skip
        self.report(key, ratio, best, details)
        if bandwidth:
            self.report(f"{key}_bandwidth", details["of_copy"], f"of a copy's; target {BANDWIDTH:g}")

    def _ceiling(self, key: str) -> float:
        """Measured before, in this run or one that it resumes; NaN where it was not."""
        return self.bench.figures.get(key, float("nan"))

    def _builders(
        self, call: KernelCall, packed: Any, bias: torch.Tensor
    ) -> Iterator[tuple[str, KernelCall, Callable[[], Kernel]]]:
        """Every kernel worth a try: its name, its call, and what builds it."""
        where = self.clock.device
        for schedule in Triton().schedules(call, call.rows.lo):
            name = f"triton {call.encoding} " + " ".join(f"{k}={v}" for k, v in schedule)
            tried = replace(call, schedule=schedule)
            yield name, tried, lambda c=tried: kernel_of(c, packed, bias, where)
        if self.clock.real:
            library = CuSparseLt()
            for schedule in library.schedules(call, call.rows.lo):
                name = "cusparselt" if dict(schedule)["library"] == 0 else "cutlass"
                tried = replace(call, schedule=schedule, backend="cusparselt")
                yield name, tried, lambda c=tried: _searched(library, c, packed, bias, where)

    def _dense(
        self, case: Case, weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor
    ) -> tuple[str, list[Callable[[], object]]]:
        """cuBLAS, or what max-autotune found where that is raced and faster."""
        where = self.clock.device
        weights = [weight.to(where).clone() for _ in range(self.clock.copies(weight.nbytes))]
        b = bias.to(where)
        plain: list[Callable[[], object]] = [lambda w=w: F.linear(x, w, b) for w in weights]
        if not (case.autotuned and self.clock.real):
            return "cuBLAS", plain
        tuned = torch.compile(lambda x, w: F.linear(x, w, b), mode="max-autotune-no-cudagraphs", dynamic=False)
        other: list[Callable[[], object]] = [lambda w=w: tuned(x, w) for w in weights]
        faster = self.clock.seconds(other) < self.clock.seconds(plain)
        return ("max-autotune", other) if faster else ("cuBLAS", plain)

    def compiled(self, name: str) -> None:
        """One model by ``spcomp.compile``."""
        ratio, difference, note, details = compiled_ratio(name, self.clock)
        if not difference <= WHOLE_MODEL:
            self.wrong.append(f"{name}: {difference:.1e} from the model itself")
        self.report(name, ratio, note, details)

    def fp8(self) -> None:
        """2:4 in float8 through cuSPARSELt against dense float8 through ``torch._scaled_mm``."""
        case = Case("nm24", 50, 4096, 8192, 8192)
        if not self.clock.real:
            return
        weight = weight_of(case).to(self.clock.device).to(torch.float8_e4m3fn)
        x = torch.randn(case.m, case.k, device=self.clock.device).to(torch.float8_e4m3fn)
        one = torch.ones((), device=self.clock.device)
        call, _ = call_of(case, weight_of(case), encodings_of(case)[0], bias=False)
        ours = CuSparseLtLinear(call, weight, None, Operators(), torch.bfloat16)
        ours.search(case.m)

        def dense() -> torch.Tensor:
            return torch._scaled_mm(x, weight.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)

        error = _error(ours(x), dense().double())
        if not error <= TOLERANCES["bfloat16"]:
            self.wrong.append(f"fp8_nm24_8192: {error:.1e}")
            return
        ratio, _, _ = self.clock.ratio([dense], [lambda: ours(x)])
        self.report("fp8_nm24_8192", ratio)

    def grid(self, cases: list[Case]) -> None:
        """Never slower: what a race between ours and cuBLAS chose, timed again against cuBLAS."""
        for case in cases:
            key = f"grid_{case.key}"
            if key in self.bench.figures:
                continue
            if time.monotonic() > self.end:
                return
            self.layer(case, guarded=True, key=key)
        ratios = [v for k, v in self.bench.figures.items() if k.startswith("grid_m")]
        if len(ratios) >= len(GRID):
            self.report("grid_cells", len(ratios))
            self.report("grid_worst", min(ratios))


def _raced(case: Case, call: KernelCall, weight: torch.Tensor, seconds: float) -> dict[str, Any]:
    """A kernel of the race with its seconds, for ``spcomp tune --import``."""
    rows = (weight != 0).sum(1).double()
    spread = float(rows.std(correction=0) / rows.mean().clamp(min=1e-9))
    return raced(call, case.m, float(rows.mean()) / case.k, spread, COLD_BYTES, seconds)


def _dense_call(call: KernelCall, rival: str, weight: torch.Tensor) -> KernelCall:
    """The call of a dense rival: ``dense.cublas`` or ``dense.max_autotune``."""
    name = f"dense.{rival.lower().replace('-', '_')}"
    return replace(call, backend=name, encoding=Dense(), stored=weight.numel(), weight_nbytes=weight.nbytes)


def _bound(kernel: Kernel, x: torch.Tensor) -> Callable[[], object]:
    return lambda: kernel(x)


def _error(y: torch.Tensor, exact: torch.Tensor) -> float:
    return float((y.double() - exact).abs().max()) / max(float(exact.abs().max()), 1e-30)


def _searched(library: CuSparseLt, call: Any, packed: Any, bias: torch.Tensor, where: torch.device) -> Kernel:
    kernel = library.kernel_of(call, packed, bias, where)
    if isinstance(kernel, CuSparseLtLinear):
        kernel.search(call.rows.lo)
    return kernel


def work_of(run: Run, parts: list[str]) -> Iterator[Work]:
    """Everything there is to do, by the key of its figure."""
    if "ceilings" in parts:
        yield "dense_tflops_float16", run.ceilings
    for part in ("nm24", "blocks", "vnm", "decode"):
        for case, _ in CASES[part] if part in parts else ():
            if run.clock.real:
                yield case.key, lambda c=case, p=part: run.layer(c, bandwidth=p == "decode")
            else:
                yield case.key, lambda c=case, p=part: run.layer(smaller(c), bandwidth=p == "decode")
    if "nm24" in parts:
        yield "fp8_nm24_8192", run.fp8
    if "models" in parts:
        for name in MODELS:
            yield name, lambda n=name: run.report(n, *model_ratio(n, run.clock))
    if "compiled" in parts:
        for name in COMPILED:
            yield name, lambda n=name: run.compiled(n)
    if "grid" in parts:
        cases = GRID if run.clock.real else [smaller(c) for c in GRID[:10]]
        yield "grid_worst", lambda: run.grid(cases)


def waiting(reason: str) -> None:
    """Say what would be measured, and what it is to reach."""
    print(f"No GPU: {reason}. What waits for one, with its target (dense seconds / ours, unless it says otherwise):")
    for key, target in TARGETS.items():
        print(f"  {key:<36} {target.sense} {target.value:g}")


def main() -> None:
    options = arguments(
        __doc__ or "",
        only={"default": ",".join(PARTS), "help": "parts, separated by commas"},
        minutes={"type": float, "default": 8.0, "help": "end after so many minutes"},
        rehearse={"action": "store_true", "help": "small sizes on the CPU, no figures"},
    )
    bench = Benchmark("gpu", TARGETS, options.threads)
    missing = cuda_missing()
    if missing is not None and not options.rehearse:
        waiting(missing)
        bench.finish(options.json)
        return
    if missing is None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # max-autotune compiles on many cores
    clock = Clock(torch.device("cpu" if options.rehearse else "cuda"))
    run = Run(bench, clock, None if options.rehearse else options.json, 60 * options.minutes)
    left = 0
    with torch.no_grad():
        for key, do in work_of(run, options.only.split(",")):
            if key in bench.figures:
                continue
            if time.monotonic() > run.end:
                left += 1
                continue
            do()
            gc.collect()
            if clock.real:
                torch.cuda.empty_cache()
    print(f"{left} left: run this again" if left else "nothing is left")
    for line in dict.fromkeys(run.wrong + clock.failures):
        print(line)
    run.report("wrong", len(run.wrong), "; ".join(run.wrong[:5]))
    if not clock.real:
        bench.notes[REHEARSED] = "small sizes in Triton's interpreter on a CPU: no time in here is a measurement"
        bench.save(options.json)
    else:
        device = torch.cuda.get_device_name()
        bench.notes["gpu"] = f"{device}, torch {torch.__version__}, CUDA {torch.version.cuda}"
        bench.notes["gpu_versions"] = device_versions()
        bench.finish(options.json)


if __name__ == "__main__":
    main()
