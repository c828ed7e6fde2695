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
from spcomp.errors import RecipeError
from spcomp.sparsify import Cubic, OneShot, PruningSummary, Recipe, sparsify

TEMPERATURE = 2.0


@dataclass(frozen=True)
class Settings:
    """How long and how fast to train."""

    epochs: int
    learning_rate: float
    batch: int = 64
    warmup: float = 0.1
    """Fraction of the steps over which the learning rate rises to its peak; from there it falls as a cosine to 0."""
    weight_decay: float = 0.01
    pruning: float = 0.35
    """Fraction of the steps over which sparsity rises; the rest only fine-tunes."""
    start: float = 0.75
    """Where sparsity starts, as a fraction of the final one: a trained network can spare that much at once."""
    renewals: int = 10
    """How often masks are renewed on the way."""
    distillation: float = 0.0
    """Share of the loss that pulls a pruned model to the dense one's outputs (Hinton et al. 2015, arXiv:1503.02531)."""
    betas: tuple[float, float] = (0.9, 0.99)
    seed: int = 0


# Tuned for accuracy within a point of dense, and for two minutes on two cores, all runs together. What is
# pruned to 90 % wants a high rate and many small steps; a 2:4 network is soon as good as it was.
MLP_DENSE = Settings(epochs=8, learning_rate=1e-3)
MLP_PRUNE = Settings(epochs=4, learning_rate=5e-4, distillation=0.7)
VIT_DENSE = Settings(epochs=4, learning_rate=5e-4, batch=32)
VIT_PRUNE = Settings(epochs=4, learning_rate=1.5e-3, batch=16, distillation=0.7)
VIT_PRUNE_HALF = Settings(epochs=2, learning_rate=5e-4, batch=32, distillation=0.7)


def default_settings(model: nn.Module, recipe: Recipe | None = None) -> Settings:
    """What was tuned for the demo's models: dense training, or with a recipe, pruning."""
    vit = isinstance(model, DigitsViT)
    if recipe is None:
        return VIT_DENSE if vit else MLP_DENSE
    if not vit:
        return MLP_PRUNE
    if recipe.final_sparsity < 0.6:
        return VIT_PRUNE_HALF
    return VIT_PRUNE


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
    right = _logits(model, data.test_images).argmax(dim=-1) == data.test_labels
    return float(right.double().mean())


def train_dense(
    model: nn.Module, data: Digits, settings: Settings | None = None, on_progress: OnProgress | None = None
) -> Trained:
    """Train ``model`` in place with AdamW and cross entropy; it is left in eval mode.

    ``settings`` defaults to :func:`default_settings`.
    """
    chosen = settings or default_settings(model)
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
    chosen = settings or default_settings(model, recipe)
    start = time.perf_counter()
    pruned = copy.deepcopy(model)
    total = steps_of(chosen, data)
    if isinstance(recipe.schedule, OneShot):
        recipe = replace(recipe, schedule=_ramp(chosen, total, recipe.final_sparsity))
    if recipe.schedule.last_step > total:
        raise RecipeError(
            f"pruning over {recipe.schedule.last_step} steps",
            f"the run takes {total}, and would end before the final sparsity",
            "a shorter schedule or more epochs",
        )
    teacher = _logits(model, data.train_images) if chosen.distillation else None
    sparsifier = sparsify(pruned, recipe)
    for step, _, loss in _fit(pruned, data, chosen, sparsifier.step, teacher):
        if on_progress:
            on_progress(Progress(str(recipe.pattern), step, total, loss, sparsifier.sparsity()))
    summary = sparsifier.report()
    sparsifier.remove()
    return Pruned(pruned, accuracy(pruned, data), total, time.perf_counter() - start, summary)


def _ramp(settings: Settings, total: int, final: float) -> Cubic:
    steps = max(1, round(settings.pruning * total))
    return Cubic(steps, initial=settings.start * final, frequency=max(1, steps // settings.renewals))


def steps_of(settings: Settings, data: Digits) -> int:
    """Optimizer steps that a run takes; the last, ragged batch of an epoch is left out."""
    return settings.epochs * (len(data.train_images) // settings.batch)


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    was_training = model.training
    model.eval()
    logits: Tensor = model(images)
    model.train(was_training)
    return logits


def _fit(
    model: nn.Module,
    data: Digits,
    settings: Settings,
    after_step: Callable[[], None] | None = None,
    teacher: Tensor | None = None,
) -> Iterator[tuple[int, int, float]]:
    """Train, yielding (step from 1, steps, loss) after each step."""
    total = steps_of(settings, data)
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, settings.betas, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, settings.warmup))
    fast = _bfloat16_pays()
    model.train()
    for step, rows in enumerate(_batches(len(data.train_images), settings), start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = model(data.train_images[rows]).float()
        loss = F.cross_entropy(logits, data.train_labels[rows])
        if teacher is not None:
            loss = loss.lerp(_distillation_loss(logits, teacher[rows]), settings.distillation)
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
        times[dtype] = min(timeit.repeat(functools.partial(F.linear, x, w), number=2, repeat=6)[1:])
    return times[torch.bfloat16] * 1.5 < times[torch.float32]


def _rate(step: int, total: int, warmup: float) -> float:
    """The learning rate as a fraction of its peak: linear up, cosine down."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, total - rise)))


def _distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Divergence from the teacher's softened outputs, scaled so that gradients do not depend on the temperature."""
    soft = F.log_softmax(logits / TEMPERATURE, dim=-1)
    wanted = F.log_softmax(teacher / TEMPERATURE, dim=-1)
    return F.kl_div(soft, wanted, reduction="batchmean", log_target=True) * TEMPERATURE**2


def _batches(count: int, settings: Settings) -> Iterator[Tensor]:
    """Row numbers of each batch, in an order that depends on the seed alone."""
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.epochs):
        order = torch.randperm(count, generator=generator)
        yield from torch.split(order, settings.batch)[: count // settings.batch]
