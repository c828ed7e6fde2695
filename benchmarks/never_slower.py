"""Never slower: what ``spcomp.compile`` hands out against the fastest dense program, over random layers and models.

python -m benchmarks.never_slower [--quick] [--only layers,models] [--cases N] [--threads N] [--json FILE]

Keys: ``768x3072_m64_unstructured_90`` is a linear layer of 768 outputs and 3072 inputs with 64 rows; ``conv3x3_...``
has channels and, as m, the side of its planes; models as in :mod:`benchmarks.model_cases`. A figure is best dense over
compiled; beside it its lower 95 % bound and an A/A control. Where a lower bound is below 0.97 the case is raced
again, longer, and once more, longer still: the last race counts, nothing is joined or left out. (Bounds of the
shortest are three to six percent wide; a program of 0.96 does not pass by being raced for longer.)
``_control_below`` counts the cases whose A/A control has a lower bound below 0.97: what the machine's other work does
to a race of one program with itself. A run that was cut off goes on where its ``--json`` ends.

The dense rivals of a layer are the module in eager mode and ``policy="off"``, which is the fastest of MKL, oneDNN and a
streaming product behind the same entry as the compiled one. A layer alone gives Inductor nothing to do, so both are
compiled with ``engine="eager"``. ``layers_entry_*`` compares with the second rival alone: what lies between the two is
the cost in Python of entering a compiled module (inputs are checked, kernels found), which eager modules do not have.
Models meet eager, ``policy="off"`` and ``torch.compile``; all but eager in Inductor.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

import spcomp
from benchmarks.dense import plain_inductor
from benchmarks.harness import Benchmark, Ratio, Target, arguments, ratio
from benchmarks.model_cases import ModelCase, model_cases
from benchmarks.random_layers import layer_cases
from spcomp.profiling.timing import Timing, interleave_for

FLOOR = 0.97
LAYERS = 300
SECONDS = (0.25, 1.2, 6.0)
"""Time of a race, and of those that follow where the lower bound was below the floor."""
MODEL_SECONDS = (3.0, 8.0, 20.0)
SPARSE = 0.8
"""From this share of zeros on, a gain is expected."""
QUICK_LAYERS = 8
QUICK_MODELS = ("mlp_tiny_u_90",)
TARGETS = {
    "layers_worst": Target(FLOOR),
    "layers_below": Target(0, "<="),
    "layers_entry_worst": Target(FLOOR),
    "layers_entry_below": Target(0, "<="),
    "layers_median_80": Target(2.5),
    "models_worst": Target(FLOOR),
    "models_below": Target(0, "<="),
    "models_median_80": Target(2.5),
}
Runs = Mapping[str, Callable[..., Any]]
ENTRY = "policy off"


def race(work: Runs, inputs: tuple[torch.Tensor, ...], seconds: Sequence[float]) -> tuple[Ratio, dict[str, Any]]:
    """``compiled`` against the fastest of the rest and against itself, again while the bound is below the floor."""
    runs = {**work, "control": work["compiled"]}
    at = {name: functools.partial(run, *inputs) for name, run in runs.items()}
    raced = 0
    for limit in seconds:
        raced += 1
        times = interleave_for(at, limit, least=9, most=int(200 + 120 * limit))
        best = min((n for n in work if n != "compiled"), key=lambda n: times[n].median)
        gain, entry = ratio(times[best], times["compiled"]), ratio(times[ENTRY], times["compiled"])
        if min(gain.lower, entry.lower) >= FLOOR:
            break
    return gain, _details(times, best, entry, gain) | {"raced": raced}


def _details(times: Mapping[str, Timing], best: str, entry: Ratio, gain: Ratio) -> dict[str, Any]:
    control = ratio(times["control"], times["compiled"])
    found: dict[str, Any] = {f"{name.replace(' ', '_')}_us": 1e6 * t.median for name, t in times.items()}
    found |= {"lower": gain.lower, "dense": best, "control": control.value, "control_lower": control.lower}
    return found | {"entry": entry.value, "entry_lower": entry.lower}


def report_case(
    bench: Benchmark, key: str, zeros: float, gain: Ratio, details: dict[str, Any], compiled: spcomp.CompiledModule
) -> None:
    """One figure with everything that is to be known about it."""
    explained = compiled.explain()
    kinds = sorted({d.encoding for d in explained.decisions}) or ["nothing left"]
    note = (
        f"lower {gain.lower:.3f}, A/A {details['control']:.3f}; {details['compiled_us']:.0f} us, {details['dense']} "
        f"{details[details['dense'].replace(' ', '_') + '_us']:.0f} us; {', '.join(kinds)}"
    )
    bench.report(key, gain.value, note, {**details, "zeros": zeros, "encodings": kinds})


def race_layers(bench: Benchmark, count: int, save: Path | None) -> None:
    """Every random layer that is not reported yet."""
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(layer_cases(count)):
            if case.key in bench.figures:
                continue
            model, x = case.made(seed)
            compiled = spcomp.compile(model, (x,), engine="eager", cache_dir=Path(folder))
            dense = spcomp.compile(model, (x,), engine="eager", policy="off", cache_dir=Path(folder))
            gain, details = race({"compiled": compiled, ENTRY: dense, "eager": model}, (x,), SECONDS)
            report_case(bench, case.key, _zeros(model), gain, details, compiled)
            bench.save(save)


def race_models(bench: Benchmark, cases: Iterable[ModelCase], save: Path | None) -> None:
    """Every model that is not reported yet. Zeros do not change what dense programs take: one set serves all cases."""
    rivals: dict[str, Callable[..., Any]] = {}
    last = ""
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if case.key in bench.figures:
                continue
            model, inputs = case.made()
            if case.model != last:
                torch._dynamo.reset()
                off = spcomp.compile(model, inputs, policy="off", cache_dir=Path(folder))
                rivals, last = {ENTRY: off, "Inductor": plain_inductor(model), "eager": model}, case.model
            compiled = spcomp.compile(model, inputs, cache_dir=Path(folder))
            gain, details = race({"compiled": compiled, **rivals}, inputs, MODEL_SECONDS)
            report_case(bench, case.key, _zeros(model), gain, details, compiled)
            bench.save(save)


def _zeros(model: nn.Module) -> float:
    """Share of zeros among the weights of layers that can be sparse."""
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


def summarize(bench: Benchmark, part: str, keys: list[str]) -> None:
    """The worst lower bound, how many are below the floor, and the median where most weights are zero."""
    keys = [key for key in keys if key in bench.figures]
    if not keys:
        return
    details = {key: bench.details[key] for key in keys}
    again = sum(d["raced"] > 1 for d in details.values())
    control = min(d["control_lower"] for d in details.values())
    for kind, name in (("", "lower"), ("entry_", "entry_lower")):
        if kind and part == "models":
            continue
        worst = min(keys, key=lambda k: details[k][name])
        note = f"lower bound at {worst}; the control's lowest is {control:.3f}"
        bench.report(f"{part}_{kind}worst", details[worst][name], note)
        below = sum(d[name] < FLOOR for d in details.values())
        bench.report(f"{part}_{kind}below", below, f"of {len(keys)}, {again} were raced again")
    noisy = sum(d["control_lower"] < FLOOR for d in details.values())
    bench.report(f"{part}_control_below", noisy, f"of {len(keys)}: compiled against itself")
    pruned = [bench.figures[k] for k in keys if details[k]["zeros"] >= SPARSE - 0.005]
    if pruned:
        bench.report(f"{part}_median_80", statistics.median(pruned), f"of {len(pruned)} with 80 % zeros and more")
    bench.report(f"{part}_cells", len(keys))


def main() -> None:
    options = arguments(
        __doc__ or "",
        only={"default": "layers,models", "help": "parts, separated by commas"},
        cases={"type": int, "default": LAYERS, "help": "how many random layers"},
    )
    bench = Benchmark("never_slower", TARGETS, options.threads)
    if not options.quick:
        bench.resume(options.json)
    parts = set(options.only.split(","))
    count = min(options.cases, QUICK_LAYERS) if options.quick else options.cases
    models = [c for c in model_cases() if not options.quick or c.key in QUICK_MODELS]
    with torch.no_grad():
        if "layers" in parts:
            race_layers(bench, count, options.json)
        if "models" in parts:
            race_models(bench, models, options.json)
    summarize(bench, "layers", [c.key for c in layer_cases(options.cases)])
    summarize(bench, "models", [c.key for c in model_cases()])
    if options.quick:
        bench.notes["quick"] = f"{count} layers and {len(models)} models only"
    bench.finish(options.json)


if __name__ == "__main__":
    main()
