"""The demo's training half: train dense, prune gradually while fine-tuning, measure on the held-out split.

Runs are seeded: on one machine with one number of threads, the same call gives the same weights.
"""

from __future__ import annotations

import copy
import functools
import math
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spcomp.demo.data import Digits
from spcomp.demo.models import DigitsViT
from spcomp.sparsify import Cubic, OneShot, PruningSummary, Recipe, sparsify


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train."""

    epochs: int
    learning_rate: float
    batch: int = 64
    warmup: float = 0.1
    """Fraction of the steps over which the learning rate rises to its peak; from there it falls as a cosine to 0."""
    weight_decay: float = 0.01
    pruning: float = 0.6
    """Fraction of the steps over which sparsity rises; the rest only fine-tunes."""
    renewals: int = 20
    """How often masks are renewed on the way."""
    seed: int = 0


MLP_DENSE = Settings(epochs=10, learning_rate=1e-3)
MLP_PRUNE = Settings(epochs=6, learning_rate=1e-3)
VIT_DENSE = Settings(epochs=4, learning_rate=3e-4, batch=32)
VIT_PRUNE = Settings(epochs=3, learning_rate=3e-4, batch=32)


@dataclass(frozen=True)
class Progress:
    """Where a run stands; handed to the callback after every step."""

    phase: str
    """``train`` or the pattern that is pruned for."""
    step: int
    """1 to ``steps``."""
    steps: int
    loss: float
    sparsity: float


@dataclass(frozen=True)
class Trained:
    """What training came to."""

    accuracy: float
    """On the test split, in [0, 1]."""
    steps: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned copy of a model and what became of it."""

    model: nn.Module
    accuracy: float
    """On the test split, in [0, 1]."""
    steps: int
    seconds: float
    summary: PruningSummary


OnProgress = Callable[[Progress], None]


def accuracy(model: nn.Module, data: Digits) -> float:
    """The fraction of test images that the model classifies rightly."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        right = (model(data.test_images).argmax(dim=-1) == data.test_labels).float().mean()
    model.train(was_training)
    return float(right)


def train_dense(
    model: nn.Module, data: Digits, settings: Settings | None = None, on_progress: OnProgress | None = None
) -> Trained:
    """Train ``model`` in place with AdamW and cross entropy; it is left in eval mode.

    ``settings`` defaults to what was tuned for the two models of the demo.
    """
    chosen = settings or (VIT_DENSE if isinstance(model, DigitsViT) else MLP_DENSE)
    start = time.perf_counter()
    steps = 0
    for step, total, loss in _fit(model, data, chosen):
        steps = step
        if on_progress:
            on_progress(Progress("train", step, total, loss, 0.0))
    return Trained(accuracy(model, data), steps, time.perf_counter() - start)


def prune_gradually(
    model: nn.Module,
    recipe: Recipe,
    data: Digits,
    settings: Settings | None = None,
    on_progress: OnProgress | None = None,
) -> Pruned:
    """A copy of ``model``, pruned as ``recipe`` says and fine-tuned meanwhile; ``model`` itself is left as it is.

    A recipe without a gradual schedule gets a cubic one over the first ``settings.pruning`` of the steps. The copy
    is in eval mode and carries nothing of the sparsifier.

    Raises:
        RecipeError: the recipe does not fit the model, or its schedule is longer than the run.
    """
    chosen = settings or (VIT_PRUNE if isinstance(model, DigitsViT) else MLP_PRUNE)
    start = time.perf_counter()
    pruned = copy.deepcopy(model)
    total = steps_of(chosen, data)
    if isinstance(recipe.schedule, OneShot):
        ramp = max(1, round(chosen.pruning * total))
        recipe = replace(recipe, schedule=Cubic(ramp, frequency=max(1, ramp // chosen.renewals)))
    sparsifier = sparsify(pruned, recipe)
    for step, _, loss in _fit(pruned, data, chosen, sparsifier.step):
        if on_progress:
            on_progress(Progress(str(recipe.pattern), step, total, loss, sparsifier.sparsity()))
    summary = sparsifier.report()
    sparsifier.remove()
    return Pruned(pruned, accuracy(pruned, data), total, time.perf_counter() - start, summary)


def steps_of(settings: Settings, data: Digits) -> int:
    """Optimizer steps that a run takes; the last, ragged batch of an epoch is left out."""
    return settings.epochs * (len(data.train_images) // settings.batch)


def _fit(
    model: nn.Module, data: Digits, settings: Settings, after_step: Callable[[], None] | None = None
) -> Iterator[tuple[int, int, float]]:
    """Train, yielding (step from 1, steps, loss) after each step."""
    total = steps_of(settings, data)
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, settings.warmup))
    fast = _bfloat16_pays()
    model.train()
    for step, (images, labels) in enumerate(_batches(data, settings), start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if after_step:
            after_step()
        yield step, total, float(loss.detach())
    model.eval()


@functools.cache
def _bfloat16_pays() -> bool:
    """Whether this CPU multiplies bfloat16 at least 1.5 times as fast as float32: measured, best of five, once."""
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, w = torch.ones(512, 512, dtype=dtype), torch.ones(1024, 512, dtype=dtype)
        times[dtype] = min(timeit.repeat(lambda x=x, w=w: F.linear(x, w), number=2, repeat=6)[1:])
    return times[torch.bfloat16] * 1.5 < times[torch.float32]


def _rate(step: int, total: int, warmup: float) -> float:
    """The learning rate as a fraction of its peak: linear up, cosine down."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _batches(data: Digits, settings: Settings) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(settings.seed)
    count = len(data.train_images)
    for _ in range(settings.epochs):
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - settings.batch + 1, settings.batch):
            rows = order[start : start + settings.batch]
            yield data.train_images[rows], data.train_labels[rows]
