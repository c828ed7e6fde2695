"""Pruning: make a dense model sparse in a pattern, at once or gradually while it is fine-tuned.

>>> sparsifier = sparsify(model, Recipe(NM(2, 4)))                              # at once
>>> sparsifier = sparsify(model, Recipe(Unstructured(0.9), schedule=Cubic(500)))   # 500 training steps
>>> for x, y in batches:
...     loss(model(x), y).backward()
...     optimizer.step()
...     sparsifier.step()
>>> sparsifier.remove()
"""

import sys
from types import ModuleType

from torch import nn

from spcomp.sparsify.api import sparsify
from spcomp.sparsify.recipes import Recipe
from spcomp.sparsify.schedules import Cubic, OneShot, Schedule
from spcomp.sparsify.sparsifier import Sparsifier, SparsifierState
from spcomp.sparsify.summary import LayerSparsity, PruningSummary

__all__ = [
    "Cubic",
    "LayerSparsity",
    "OneShot",
    "PruningSummary",
    "Recipe",
    "Schedule",
    "Sparsifier",
    "SparsifierState",
    "sparsify",
]


class _Verb(ModuleType):
    """``spcomp.sparsify`` names this package, whoever imports it first; called, it is the function in it."""

    def __call__(self, model: nn.Module, recipe: Recipe) -> Sparsifier:
        return sparsify(model, recipe)


sys.modules[__name__].__class__ = _Verb
