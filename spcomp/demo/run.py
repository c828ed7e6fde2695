"""The demo, top to bottom: train, prune, compile, check, race."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from spcomp.api import compile as spcomp_compile
from spcomp.check import relative_error
from spcomp.compiled import CompiledModule
from spcomp.demo.data import Digits, load_digits
from spcomp.demo.race import Rivals, examples, race
from spcomp.demo.result import DemoResult, Latency, Row
from spcomp.demo.settings import DemoSettings, Subject
from spcomp.demo.training import Progress, Pruned, accuracy, prune_gradually, train_dense
from spcomp.sparsify import Recipe
from spcomp.targets.host import host_cpu


class Watch(Protocol):
    """Told what is being done: ``watch("training", 3, 100, "DigitsMLP")``."""

    def __call__(self, what: str, done: int, total: int, detail: str = "") -> None: ...


def silent(what: str, done: int, total: int, detail: str = "") -> None:
    """A watch that does not look."""


def run_demo(settings: DemoSettings, watch: Watch = silent) -> DemoResult:
    """Train, prune, compile and race every network of ``settings``; minutes of work.

    Raises:
        InputError: scikit-learn is not installed.
    """
    start = time.perf_counter()
    data = load_digits()
    rows = [row for subject in settings.subjects for row in _subject(subject, data, settings, watch)]
    return DemoResult(
        rows=tuple(rows),
        device=_device(),
        versions=_versions(),
        threads=settings.threads,
        quick=settings.quick,
        seed=settings.seed,
        seconds=time.perf_counter() - start,
    )


def _subject(subject: Subject, data: Digits, settings: DemoSettings, watch: Watch) -> Iterator[Row]:
    torch.manual_seed(settings.seed)
    dense = subject.make()
    name = type(dense).__name__
    trained = train_dense(dense, data, subject.training, _steps(watch, f"{name}: train"))
    pruned = {}
    for recipe in subject.recipes:
        steps = _steps(watch, f"{name}: prune {_pruning(recipe)}")
        pruned[_pruning(recipe)] = prune_gradually(dense, recipe, data, subject.pruning, steps)
    with threads(settings.threads), torch.no_grad():
        inputs = {batch: (_batch(data, batch),) for batch in settings.batches}
        rivals = Rivals(
            dense, inputs, settings.engine, lambda done, total: watch(f"{name}: dense programs", done, total)
        )
        for done, (pruning, found) in enumerate(pruned.items()):
            title = f"{name}: compile and race"
            total = len(pruned) * (1 + len(inputs))
            at = done * (1 + len(inputs))

            def say(line: str, at: int = at, total: int = total, what: str = pruning, title: str = title) -> None:
                watch(title, at, total, f"{what}, {line}")

            say("compiling")
            began = time.perf_counter()
            compiled = spcomp_compile(found.model, *examples(inputs), engine=settings.engine, progress=say)
            seconds = time.perf_counter() - began
            latencies = []
            for i, batch in enumerate(inputs):
                say(f"batch {batch}", at + 1 + i)
                latencies.append(_latency(compiled, found.model, rivals, batch, inputs[batch], settings.race_seconds))
            yield _row(name, pruning, trained.accuracy, found, compiled, data, tuple(latencies), seconds)
        watch(f"{name}: compile and race", 1, 1)


def _latency(
    compiled: CompiledModule, model: nn.Module, rivals: Rivals, batch: int, x: tuple[Tensor, ...], seconds: float
) -> Latency:
    found = race(compiled, rivals.fastest(batch), x, seconds)
    return Latency(
        batch=batch,
        compiled_ms=1e3 * found.times["compiled"].median,
        dense_ms=1e3 * found.times[found.best].median,
        dense_program=found.best,
        speedup=found.gain.value,
        lower=found.gain.lower,
        control=found.control.value,
        spread=found.times["compiled"].spread,
        rounds=len(found.times["compiled"].seconds),
        encodings=encodings_at(compiled, model, x),
        others_ms={name: 1e3 * s for name, s in rivals.screened(batch).items()},
    )


def encodings_at(compiled: CompiledModule, model: nn.Module, x: tuple[Tensor, ...]) -> str:
    """What serves the linear layers for this input: ``2 csr, 2 dense``."""
    rows: dict[str, int] = {}
    hooks = [
        layer.register_forward_hook(
            lambda _m, args, _y, n=name, k=layer.in_features: rows.update({n: args[0].numel() // k})
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    model(*x)
    for hook in hooks:
        hook.remove()
    served: Counter[str] = Counter()
    for slot in compiled.plan.slots().values():
        m = rows.get(slot[0].layer, len(x[0]))
        call = next((c for c in slot if m in c.rows), slot[-1])
        served[call.encoding.name] += 1
    return ", ".join(f"{count} {name}" for name, count in served.most_common())


def _row(
    name: str,
    pruning: str,
    dense_accuracy: float,
    found: Pruned,
    compiled: CompiledModule,
    data: Digits,
    latencies: tuple[Latency, ...],
    compile_seconds: float,
) -> Row:
    exact = found.model(data.test_images)
    logits = compiled(data.test_images)
    return Row(
        model=name,
        pruning=pruning,
        zeros=found.summary.sparsity,
        dense_accuracy=dense_accuracy,
        accuracy=float((logits.argmax(-1) == data.test_labels).double().mean()),
        eager_accuracy=accuracy(found.model, data),
        error=relative_error(logits, exact.double()),
        dense_nbytes=compiled.dense_nbytes,
        nbytes=compiled.nbytes,
        saved_nbytes=_saved_nbytes(compiled),
        latencies=latencies,
        train_seconds=found.seconds,
        compile_seconds=compile_seconds,
        explanation=compiled.explain(),
    )


def _saved_nbytes(compiled: CompiledModule) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return compiled.save(Path(folder) / "model.spc").stat().st_size


def _pruning(recipe: Recipe) -> str:
    pattern = str(recipe.pattern)
    return pattern if "%" in pattern or ":" in pattern else f"{pattern} {recipe.final_sparsity:.0%}"


def _batch(data: Digits, count: int) -> Tensor:
    return data.test_images[torch.arange(count) % len(data.test_images)].contiguous()


def _steps(watch: Watch, what: str) -> Callable[[Progress], None]:
    return lambda p: watch(what, p.step, p.steps, f"loss {p.loss:.3f}, zeros {p.sparsity:.0%}")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with this many threads; the earlier number comes back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device() -> str:
    host = host_cpu()
    return f"{host.model}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else host.cores} cores"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("spcomp", "torch-mlir"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
