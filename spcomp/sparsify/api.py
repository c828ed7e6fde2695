"""The one function that callers need."""

from __future__ import annotations

from torch import nn

from spcomp.sparsify.recipes import Recipe
from spcomp.sparsify.sparsifier import Sparsifier


def sparsify(model: nn.Module, recipe: Recipe) -> Sparsifier:
    """Prune ``model`` in place as ``recipe`` says.

    With :class:`~spcomp.sparsify.OneShot` (the default) the weights are pruned when this returns. With a gradual
    schedule, call :meth:`Sparsifier.step` after each ``optimizer.step()``. Biases and normalisation are never pruned.

    Raises:
        RecipeError: the model has no layer to prune, or the pattern does not fit one; the message names it.
    """
    return Sparsifier(model, recipe)
