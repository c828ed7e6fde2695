"""What the demo trains, prunes and measures: the full run, the quick one, and whatever a test makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from spcomp.demo.models import DigitsMLP, DigitsViT
from spcomp.demo.training import Settings
from spcomp.options import Engine
from spcomp.sparsify import Recipe
from spcomp.sparsity.pattern import NM, Block, Unstructured


@dataclass(frozen=True)
class Subject:
    """One architecture, how it is pruned, and how long it trains (None: as tuned)."""

    make: Callable[[], nn.Module]
    recipes: tuple[Recipe, ...]
    training: Settings | None = None
    pruning: Settings | None = None


@dataclass(frozen=True)
class DemoSettings:
    """A run of the demo."""

    subjects: tuple[Subject, ...]
    batches: tuple[int, ...] = (1, 32, 256)
    threads: int = 1
    """For latency; training takes all cores."""
    race_seconds: float = 2.0
    """For every network and batch size."""
    seed: int = 0
    quick: bool = False
    engine: Engine = "auto"


def recipes(tiny: tuple[str, ...]) -> tuple[Recipe, ...]:
    """90 % unstructured, 2:4, and 90 % in blocks of 8 outputs by 1 input; tiny layers stay dense."""
    return (
        Recipe(Unstructured(0.9), exclude=tiny),
        Recipe(NM(2, 4), exclude=tiny),
        Recipe(Block(8, 1), 0.9, exclude=tiny),
    )


def full(seed: int = 0, threads: int = 1, *, long: bool = False) -> DemoSettings:
    """The MLP in three patterns and the vision transformer in the one that five minutes allow; ``long``: in all."""
    vit = recipes(DigitsViT.TINY)
    subjects = (Subject(DigitsMLP, recipes(DigitsMLP.TINY)), Subject(DigitsViT, vit if long else vit[:1]))
    return DemoSettings(subjects, seed=seed, threads=threads)


def quick(seed: int = 0, threads: int = 1) -> DemoSettings:
    """The MLP alone, with shorter races. Training is the full one: with less, accuracy says little."""
    subject = Subject(DigitsMLP, recipes(DigitsMLP.TINY))
    return DemoSettings((subject,), seed=seed, threads=threads, race_seconds=1.0, quick=True)
