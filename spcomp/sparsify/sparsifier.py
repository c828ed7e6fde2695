"""`Sparsifier`: owns the masks of one model while it is pruned and fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypedDict

import torch
from torch import Tensor, nn

from spcomp.errors import RecipeError, StateError
from spcomp.sparsify.criteria import (
    block_magnitude,
    count_to_prune,
    expand_blocks,
    keep_largest,
    keep_n_of_m,
    keep_vnm,
    magnitude,
)
from spcomp.sparsify.recipes import Recipe
from spcomp.sparsify.summary import LayerSparsity, PruningSummary
from spcomp.sparsify.weights import PrunableWeight, find_weights
from spcomp.sparsity.pattern import NM, VNM, Block

_PRUNED_SCORE = -1.0
"""Below every magnitude: with ``monotone``, a pruned weight is the first to be pruned again."""


class SparsifierState(TypedDict):
    """What :meth:`Sparsifier.state_dict` returns; ``torch.save`` and ``weights_only=True`` loading work on it."""

    recipe: str
    step: int
    masks: dict[str, Tensor]


class Sparsifier:
    """Prunes one model as its recipe says, and keeps it pruned.

    Call :meth:`step` after every ``optimizer.step()``: whatever the optimizer did, by gradient, momentum or weight
    decay, pruned weights are +0 (the bits, not -0) when it returns. Nothing is attached to the model: no hooks, no
    buffers, no parametrizations, so it can be copied, exported and saved at any time.

    Raises:
        RecipeError: the recipe does not fit the model.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        self._step = 0
        self._removed = False
        self._weights: tuple[PrunableWeight, ...] = find_weights(model, recipe)
        self._masks: dict[str, Tensor] = {
            w.name: torch.ones_like(w.parameter, dtype=torch.bool, requires_grad=False) for w in self._weights
        }
        if recipe.schedule.updates_at(0):
            self._renew_masks()
        self._apply_masks()

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """Module name -> boolean mask in the weight's own shape, True where the weight is kept."""
        return MappingProxyType(self._masks)

    @property
    def steps_done(self) -> int:
        """Calls of :meth:`step` so far."""
        return self._step

    @property
    def done(self) -> bool:
        """Whether the final sparsity is reached."""
        return self._step >= self.recipe.schedule.last_step

    def step(self) -> None:
        """Count one optimizer step, renew the masks if the schedule says so, and apply them.

        Raises:
            StateError: after :meth:`remove`.
        """
        self._refuse_if_removed("step()")
        self._step += 1
        if self.recipe.schedule.updates_at(self._step):
            self._renew_masks()
        self._apply_masks()

    def mask_gradients(self) -> None:
        """Zero the gradients of pruned weights: call it before clipping by norm, which they would distort."""
        self._refuse_if_removed("mask_gradients()")
        for weight in self._weights:
            if weight.parameter.grad is not None:
                weight.parameter.grad.masked_fill_(~self._mask_of(weight), 0.0)

    def sparsity(self) -> float:
        """Pruned over all weights of the layers that the recipe selects."""
        return self.report().sparsity

    def report(self) -> PruningSummary:
        """Counts for every pruned layer."""
        layers = tuple(
            LayerSparsity(
                w.name,
                tuple(w.parameter.shape),
                int((~self._masks[w.name]).sum()),
                w.tied,
            )
            for w in self._weights
        )
        return PruningSummary(str(self.recipe), self._step, layers)

    def remove(self) -> None:
        """Let go of the model: the zeros stay, and nothing keeps them any longer. Masks and counts stay readable."""
        self._removed = True

    def state_dict(self) -> SparsifierState:
        """The step and the masks (copies), to resume with :meth:`load_state_dict`."""
        return {
            "recipe": str(self.recipe),
            "step": self._step,
            "masks": {name: mask.clone() for name, mask in self._masks.items()},
        }

    def load_state_dict(self, state: SparsifierState) -> None:
        """Resume: take over step and masks, and apply the masks to the weights as they are now.

        Raises:
            RecipeError: the state belongs to another recipe, or to layers of other names or shapes.
            StateError: after :meth:`remove`.
        """
        self._refuse_if_removed("load_state_dict()")
        self._check_state(state)
        self._step = state["step"]
        for weight in self._weights:
            self._masks[weight.name] = state["masks"][weight.name].to(weight.parameter.device, torch.bool).clone()
        self._apply_masks()

    def _renew_masks(self) -> None:
        sparsity = self.recipe.schedule.sparsity_at(self._step, self.recipe.final_sparsity)
        groups = [list(self._weights)] if self.recipe.scope == "global" else [[w] for w in self._weights]
        for group in groups:
            for weight, mask in zip(group, self._choose(group, sparsity), strict=True):
                self._masks[weight.name] = weight.from_matrix(mask)

    def _choose(self, group: list[PrunableWeight], sparsity: float) -> list[Tensor]:
        """Matrix masks for weights that are compared with one another."""
        matrices = [w.to_matrix(w.parameter) for w in group]
        kept = [w.to_matrix(self._mask_of(w)) for w in group]
        match self.recipe.pattern:
            case NM(n=n, m=m, axis=axis):
                keep = max(n, m - math.floor(sparsity * m + 1e-9))
                scores = [self._hold(magnitude(x), k) for x, k in zip(matrices, kept, strict=True)]
                return [keep_n_of_m(s, keep, m, axis) for s in scores]
            case VNM(v=v, n=n, m=m) as pattern:
                keep = max(n, m - math.floor(sparsity * m + 1e-9))
                columns = max(pattern.columns, keep)  # whole columns first, then within rows
                scores = [self._hold(magnitude(x), k) for x, k in zip(matrices, kept, strict=True)]
                return [keep_vnm(s, v, keep, m, columns) & (s >= 0) for s in scores]
            case Block(rows=rows, cols=cols):
                alive = [block_magnitude(k, rows, cols) > 0 for k in kept]
                sums = [block_magnitude(x, rows, cols) for x in matrices]
                scores = [self._hold(s, a) for s, a in zip(sums, alive, strict=True)]
                masks = keep_largest(scores, round(sparsity * sum(s.numel() for s in scores)))
                return [expand_blocks(m, rows, cols, w.matrix_shape) for m, w in zip(masks, group, strict=True)]
            case _:
                scores = [self._hold(magnitude(x), k) for x, k in zip(matrices, kept, strict=True)]
                return keep_largest(scores, count_to_prune(sparsity, sum(s.numel() for s in scores)))

    def _hold(self, scores: Tensor, alive: Tensor) -> Tensor:
        return scores.masked_fill(~alive, _PRUNED_SCORE) if self.recipe.monotone else scores

    @torch.no_grad()
    def _apply_masks(self) -> None:
        for weight in self._weights:
            weight.parameter.masked_fill_(~self._mask_of(weight), 0.0)

    def _mask_of(self, weight: PrunableWeight) -> Tensor:
        """The mask, following the parameter when the model has moved to another device."""
        mask = self._masks[weight.name]
        if mask.device != weight.parameter.device:
            mask = self._masks[weight.name] = mask.to(weight.parameter.device)
        return mask

    def _check_state(self, state: SparsifierState) -> None:
        asked = "loading the state of a sparsifier"
        if state["recipe"] != str(self.recipe):
            raise RecipeError(
                asked, f"it was saved under the recipe {state['recipe']}", f"that recipe, not {self.recipe}"
            )
        saved = {name: tuple(mask.shape) for name, mask in state["masks"].items()}
        own = {w.name: tuple(w.parameter.shape) for w in self._weights}
        if saved != own:
            differing = sorted(name for name in saved.keys() | own.keys() if saved.get(name) != own.get(name))
            raise RecipeError(
                asked,
                f"layers differ in name or shape: {', '.join(differing[:5])}",
                "the same model and the same include and exclude globs",
            )

    def _refuse_if_removed(self, what: str) -> None:
        if self._removed:
            raise StateError(f"{what} on a sparsifier", "it was removed from its model", "sparsify(model, recipe) anew")
