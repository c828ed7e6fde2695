"""Whole models through ``spcomp.compile``, cold, against the fastest dense program; and an MLP against peers.

python -m benchmarks.cpu_models [--quick] [--only bert,mlp] [--memory-budget X] [--deepsparse PYTHON]
[--threads N] [--json FILE]

``bert_u90``: 12 layers at 128 tokens; ``bert_b8x1_90``: 90 % of 8x1 blocks are zero. ``resnet_u90``: batch 1.
``gpt2_nm24``: one token with a full cache, 2:4 everywhere, the tied head too; ``_densehead``: all but the head.
``mlp_m64_u90_...``: 768-3072-768-3072-768 with ReLU; peers are optional and the notes say which are absent.
``--threads 2`` reports ``threads2_...`` instead: how much faster two threads are than one while the host has two cores
for them, ``..._any`` whether it has or not; ``..._dense``, of the dense program, and ``threads2_host_...``, of loops
that share nothing but the machine: what there is to gain.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import spcomp
from benchmarks.dense import best_dense_inductor, plain_inductor
from benchmarks.harness import Benchmark, Target, arguments, cold_flusher, interleave, prune_, ratio
from benchmarks.mlp import TARGETS as MLP_TARGETS
from benchmarks.mlp import race_mlp
from benchmarks.models import BertBase, Gpt2Decode, ResNet50
from benchmarks.scaling import OWN_CORES, host_scaling, rounds_beside_probes
from spcomp.check import relative_error
from spcomp.profiling.timing import Ratio, Timing

TOKENS = 128
SCALING = 1.75
FEWEST_ROUNDS = 5
MOST_ROUNDS = 3
"""Times as many as are wanted, where the host has two cores for some of them only."""
REST_SECONDS = 0.2
"""Before each run of several threads: hosts take back what a guest uses beyond its share of them."""


@dataclass(frozen=True)
class Case:
    """A model with zeros: pattern and share as :func:`~benchmarks.harness.prune_` takes them."""

    model: str
    pattern: str
    zeros: float
    goal: float
    skip: tuple[str, ...] = ()


CASES = {
    "bert_u80": Case("bert", "unstructured", 0.8, 2.4),
    "bert_u90": Case("bert", "unstructured", 0.9, 3.3),
    "bert_b8x1_90": Case("bert", "8x1", 0.9, 4.2),
    "resnet_u80": Case("resnet", "unstructured", 0.8, 2.2),
    "resnet_u90": Case("resnet", "unstructured", 0.9, 3.3),
    "resnet_u95": Case("resnet", "unstructured", 0.95, 4.5),
    "gpt2_nm24": Case("gpt2", "2:4", 0.5, 2.6),
    "gpt2_u90": Case("gpt2", "unstructured", 0.9, 5.0),
    "gpt2_nm24_densehead": Case("gpt2", "2:4", 0.5, 1.9, ("head",)),
    "gpt2_u90_densehead": Case("gpt2", "unstructured", 0.9, 2.5, ("head",)),
}
THREADS_CASES = ("bert_u90", "resnet_u90", "gpt2_u90")
QUICK_CASES = ("gpt2_u90",)
TARGETS = {key: Target(case.goal) for key, case in CASES.items()} | MLP_TARGETS
THREADS_TARGETS = {f"threads2_{key}": Target(SCALING) for key in THREADS_CASES}


def made(name: str, *, quick: bool = False) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A model and its inputs; ``quick``: two layers."""
    torch.manual_seed(0)
    layers = 2 if quick else 12
    match name:
        case "bert":
            return BertBase(layers).eval(), (torch.randint(0, 30000, (1, TOKENS)),)
        case "resnet":
            return ResNet50().eval(), (torch.randn(1, 3, 224, 224),)
        case _:
            return Gpt2Decode(layers).eval(), (torch.tensor([7]), torch.tensor([TOKENS - 1]))


Runs = dict[str, Callable[..., Any]]


def frozen_inductor(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Callable[..., Any]:
    """``torch.compile`` that may fold and reorder the weights; compiled when this returns."""
    import torch._inductor.config as config

    run = torch.compile(model, fullgraph=True)
    with config.patch(freezing=True):
        run(*inputs)
    return run


def rivals(name: str, model: nn.Module, inputs: tuple[torch.Tensor, ...], *, quick: bool = False) -> Runs:
    """Dense programs, compiled and warm; zeros do not change their times, so one set serves all cases of a model."""
    found: Runs = {"eager": copy.deepcopy(model), "policy off": spcomp.compile(model, inputs, policy="off")}
    match name:
        case "bert":
            found["best dense in Inductor"] = best_dense_inductor(model, TOKENS)
        case "gpt2":
            found["best dense in Inductor"] = best_dense_inductor(model, 1)
        case _:
            last = copy.deepcopy(model).to(memory_format=torch.channels_last)
            planes = tuple(x.to(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)
            nhwc = frozen_inductor(last, planes)
            found["Inductor channels_last, frozen"] = lambda *_: nhwc(*planes)
            torch._dynamo.reset()  # type: ignore[no-untyped-call]
    if not quick:
        found["Inductor, frozen"] = frozen_inductor(copy.deepcopy(model), inputs)
    found["Inductor"] = plain_inductor(model)
    for run in found.values():
        run(*inputs)
    return found


def exact(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    double = copy.deepcopy(model).double()
    found: torch.Tensor = double(*(x.double() if x.is_floating_point() else x for x in inputs))
    return found


def race_model(
    bench: Benchmark,
    key: str,
    case: Case,
    dense: Mapping[str, Callable[..., Any]],
    *,
    rounds: int,
    quick: bool,
    budget: float = 1.0,
) -> None:
    """Compile one case, compare with float64, and race it cold against every dense program and itself."""
    model, inputs = made(case.model, quick=quick)
    prune_(model, case.zeros, case.pattern, skip=case.skip)
    compiled = spcomp.compile(model, inputs, memory_budget=budget)
    bench.report(f"{key}_error", relative_error(compiled(*inputs), exact(model, inputs)))
    work: Runs = {"ours": compiled, "control": compiled, **dense}
    times = interleave(
        {name: (lambda run=run: run(*inputs)) for name, run in work.items()},  # type: ignore[misc]
        rounds=rounds, warmup=1, flush=cold_flusher(),
    )  # fmt: skip
    best = min(dense, key=lambda name: times[name].median)
    gain, control = ratio(times[best], times["ours"]), ratio(times["control"], times["ours"])
    encodings = sorted({d.encoding for d in compiled.explain().decisions})
    details = {f"{name}_ms": 1e3 * t.median for name, t in times.items()}
    details |= {"lower": gain.lower, "control": control.value, "dense": best, "encodings": encodings}
    note = (
        f"{1e3 * times['ours'].median:.2f} ms, {best} {1e3 * times[best].median:.2f} ms, lower {gain.lower:.2f}, "
        f"A/A {control.value:.3f}; {', '.join(encodings)}"
    )
    bench.report(key, gain.value, note + "".join(f"; {n}" for n in compiled.explain().notes), details)


def race_threads(bench: Benchmark, key: str, case: Case, *, rounds: int, quick: bool) -> None:
    """Two threads against one, each compiled for as many as it has, in rounds in which both had cores of their own
    (``..._any``: in all); the dense program's gain says what there is."""
    model, inputs = made(case.model, quick=quick)
    prune_(model, case.zeros, case.pattern, skip=case.skip)
    runs: dict[str, tuple[int, Callable[[], object]]] = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for name, policy in ((str(threads), "auto"), (f"dense {threads}", "off")):
            compiled = spcomp.compile(model, inputs, policy=policy)
            runs[name] = threads, lambda compiled=compiled: compiled(*inputs)  # type: ignore[misc]
            compiled(*inputs)
    flush = cold_flusher()

    def rested() -> None:
        flush()
        time.sleep(REST_SECONDS)

    found = rounds_beside_probes(runs, rested, wanted=rounds, most=MOST_ROUNDS * rounds)

    def gain(one: str, two: str, least: float) -> Ratio | None:
        kept = [r.seconds for r in found if r.gained[two] >= least]
        times = [Timing(tuple(r[name] for r in kept)) for name in (one, two)]
        return ratio(*times) if len(kept) >= FEWEST_ROUNDS else None

    anyhow, own, dense = gain("1", "2", 0), gain("1", "2", OWN_CORES), gain("dense 1", "dense 2", OWN_CORES)
    assert anyhow is not None
    bench.report(f"threads2_{key}_any", anyhow.value, f"all {len(found)} rounds, lower {anyhow.lower:.2f}")
    if own is None or dense is None:
        print(f"threads2_{key}: the host hardly ever gave two cores")
        return
    kept = [r for r in found if r.gained["2"] >= OWN_CORES]
    one, two = (1e3 * statistics.median(r.seconds[name] for r in kept) for name in ("1", "2"))
    note = f"{len(kept)} rounds with two cores; {one:.2f} ms with one, {two:.2f} ms with two, lower {own.lower:.2f}"
    bench.report(f"threads2_{key}", own.value, f"{note}; the dense program {dense.value:.2f}")
    bench.report(f"threads2_{key}_dense", dense.value)


def run_models(bench: Benchmark, options: argparse.Namespace, names: set[str]) -> None:
    """Every case of the models in ``names``."""
    wanted = QUICK_CASES if options.quick else tuple(CASES)
    for name in ("bert", "resnet", "gpt2"):
        cases = {
            key: c
            for key, c in CASES.items()
            if c.model == name and key in wanted and name in names and key not in bench.figures
        }
        if not cases:
            continue
        model, inputs = made(name, quick=options.quick)
        dense = rivals(name, model, inputs, quick=options.quick)
        for key, case in cases.items():
            race_model(
                bench, key, case, dense, rounds=7 if options.quick else 11, quick=options.quick,
                budget=options.memory_budget,
            )  # fmt: skip
            bench.save(options.json)
        torch._dynamo.reset()  # type: ignore[no-untyped-call]
    if options.quick:
        bench.notes["quick"] = "two layers of the decoder and one MLP only"


def main() -> None:
    options = arguments(
        __doc__ or "",
        only={"default": "bert,resnet,gpt2,mlp", "help": "models, separated by commas"},
        memory_budget={"type": float, "default": 1.0, "help": "bytes that kernels may keep, over dense ones"},
        deepsparse={"default": None, "help": "the interpreter of an environment that has DeepSparse 1.8.0"},
    )
    names = set(options.only.split(","))
    two = options.threads == 2
    bench = Benchmark("cpu_models", THREADS_TARGETS if two else TARGETS, options.threads)
    if not options.quick:
        bench.resume(options.json)
    bench.notes["memory_budget"] = str(options.memory_budget)
    with torch.no_grad():
        if two:
            if "threads2_host_multiply" not in bench.figures:
                host_scaling(bench, REST_SECONDS, rounds=5 if options.quick else 21)
            for key in THREADS_CASES:
                if f"threads2_{key}" in bench.figures:
                    continue
                if CASES[key].model in names and (key in QUICK_CASES or not options.quick):
                    race_threads(bench, key, CASES[key], rounds=21, quick=options.quick)
                    bench.save(options.json)
        else:
            run_models(bench, options, names)
            if "mlp" in names:
                race_mlp(
                    bench, options.deepsparse, quick=options.quick, budget=options.memory_budget, save=options.json
                )
    bench.finish(options.json)


if __name__ == "__main__":
    main()
