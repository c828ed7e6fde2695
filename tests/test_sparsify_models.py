"""Pruning whole models: ties, globs, resuming, removal, and the recipes that are refused."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from spcomp.errors import RecipeError, StateError
from spcomp.sparsify import Cubic, OneShot, Recipe, sparsify
from spcomp.sparsity.pattern import NM, And, Block, DeadRows, Unstructured
from tests.pruning import mlp, nonzero_bits, one_layer, train

# --- models -----------------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.body = nn.Linear(16, 16)
        self.again = nn.Linear(16, 16)
        self.head = nn.Linear(16, 32, bias=False)
        self.again.weight = self.body.weight
        self.head.weight = self.embedding.weight


def test_tied_weights_are_pruned_and_counted_once() -> None:
    model = Tied()
    sparsifier = sparsify(model, Recipe(Unstructured(0.75)))
    assert list(sparsifier.masks) == ["body", "head"]
    assert model.again.weight is model.body.weight
    assert model.head.weight is model.embedding.weight
    report = sparsifier.report()
    assert report.layers[0].tied == ("again",)
    assert [layer.pruned for layer in report.layers] == [192, 384]
    assert int((model.embedding.weight == 0).sum()) == 384


def test_an_excluded_module_protects_the_weight_that_it_shares() -> None:
    assert list(sparsify(Tied(), Recipe(Unstructured(0.5), exclude=("again",))).masks) == ["head"]


def test_include_and_exclude_are_globs() -> None:
    model = nn.ModuleDict({"encoder": mlp(8, 8, 8), "decoder": mlp(8, 8, 8)})
    assert list(sparsify(model, Recipe(NM(2, 4), include=("encoder.*",))).masks) == ["encoder.0", "encoder.2"]
    both = Recipe(NM(2, 4), include=("*coder.*",), exclude=("*.0",))
    assert list(sparsify(model, both).masks) == ["encoder.2", "decoder.2"]


def test_parametrized_weights_are_left_alone() -> None:
    model = mlp(8, 8, 8)
    nn.utils.parametrizations.weight_norm(model[0])
    assert list(sparsify(model, Recipe(NM(2, 4))).masks) == ["2"]


def test_remove_leaves_nothing_behind() -> None:
    model = mlp(16, 16, 16)
    untouched = copy.deepcopy(model)
    sparsifier = sparsify(model, Recipe(Unstructured(0.5), schedule=Cubic(3)))
    train(model, sparsifier, 4, 16)
    sparsifier.remove()
    assert list(model.state_dict()) == list(untouched.state_dict())
    for module, other in zip(model.modules(), untouched.modules(), strict=True):
        assert vars(module).keys() == vars(other).keys()
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert not any(p._backward_hooks or p._post_accumulate_grad_hooks for p in model.parameters())
    assert sparsifier.sparsity() == 0.5
    with pytest.raises(StateError, match="removed from its model"):
        sparsifier.step()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(torch.randn(4, 16)).sum().backward()
    optimizer.step()
    assert int(nonzero_bits(model[0].weight).sum()) > 128, "nothing holds the zeros any longer"


def test_state_resumes_where_it_stopped() -> None:
    recipe = Recipe(Unstructured(0.9), schedule=Cubic(10))
    model = mlp(16, 16, 16)
    sparsifier = sparsify(model, recipe)
    train(model, sparsifier, 5, 16)
    state = copy.deepcopy(sparsifier.state_dict())
    twin = copy.deepcopy(model)
    resumed = sparsify(twin, recipe)
    resumed.load_state_dict(state)
    assert resumed.steps_done == 5
    for _ in range(5):
        sparsifier.step()
        resumed.step()
    assert all(torch.equal(sparsifier.masks[name], resumed.masks[name]) for name in sparsifier.masks)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_report_reads_as_a_table() -> None:
    text = str(sparsify(mlp(16, 32, 16), Recipe(Block(8, 1), 0.75)).report())
    assert "block 8x1 at 0.75" in text
    assert "0" in text
    assert "32x16" in text
    assert "75.00%" in text


# --- recipes that cannot be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": NM(2, 4), "sparsity": 0.5}, "N:M fixes the sparsity by itself"),
        ({"pattern": NM(2, 4), "scope": "global"}, "layers cannot trade"),
        ({"pattern": Unstructured(0.9), "sparsity": 0.9}, "states the sparsity already"),
        ({"pattern": Unstructured(1.0)}, r"outside \[0, 1\)"),
        ({"pattern": Block(8, 1)}, "does not say how much"),
        ({"pattern": Block(8, 1), "sparsity": 1.5}, r"outside \[0, 1\)"),
        ({"pattern": And((NM(2, 4), DeadRows()))}, "none that can be pruned for"),
        ({"pattern": NM(2, 4), "scope": "model"}, "no such scope"),
        ({"pattern": NM(2, 4), "criterion": "gradient"}, "no such criterion"),
        ({"pattern": NM(2, 4), "include": "encoder.*"}, "a string, not a tuple"),
        ({"pattern": Unstructured(0.5), "schedule": Cubic(10, initial=0.6)}, "above the final one"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Recipe(**fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "at least one step"),
        ({"steps": 5, "begin": -1}, "begin is negative"),
        ({"steps": 5, "frequency": 6}, "frequency is outside"),
        ({"steps": 5, "initial": 1.0}, "initial sparsity is outside"),
    ],
)
def test_schedules_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Cubic(**fields)


def test_models_that_do_not_fit() -> None:
    with pytest.raises(RecipeError, match="no prunable layers"):
        sparsify(nn.ReLU(), Recipe(NM(2, 4)))
    with pytest.raises(RecipeError, match="no prunable layers"):
        sparsify(mlp(8, 8), Recipe(NM(2, 4), exclude=("*",)))
    with pytest.raises(RecipeError, match=r"include='encoder.\*': it matches no prunable layer.*one of: 0, 2"):
        sparsify(mlp(8, 8, 8), Recipe(NM(2, 4), include=("encoder.*",)))
    with pytest.raises(RecipeError, match="layer '2': the pattern does not fit: the weight is 4x8"):
        sparsify(mlp(8, 8, 4), Recipe(Block(8, 1), 0.5))
    with pytest.raises(RecipeError, match="not initialised"):
        sparsify(nn.LazyLinear(4), Recipe(NM(2, 4)))
    layer = one_layer(4, 4)
    nn.init.constant_(layer.weight, math.nan)
    with pytest.raises(RecipeError, match="NaN"):
        sparsify(layer, Recipe(NM(2, 4)))


def test_a_refused_recipe_leaves_the_model_as_it_was() -> None:
    model = mlp(8, 8, 4)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RecipeError):
        sparsify(model, Recipe(Block(8, 1), 0.5))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_state_of_another_recipe_or_model_is_refused() -> None:
    state = sparsify(mlp(8, 8), Recipe(NM(2, 4))).state_dict()
    with pytest.raises(RecipeError, match="saved under the recipe"):
        sparsify(mlp(8, 8), Recipe(NM(1, 4))).load_state_dict(state)
    with pytest.raises(RecipeError, match="differ in name or shape: 0"):
        sparsify(mlp(8, 16), Recipe(NM(2, 4))).load_state_dict(state)


def test_one_shot_is_the_default() -> None:
    assert Recipe(NM(2, 4)).schedule == OneShot()
    assert str(Recipe(NM(2, 4))) == "prune{nm 2:4, scope=layer, magnitude, OneShot()}"
