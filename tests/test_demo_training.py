"""The demo's training half, on small widths: same split, same seeds, originals untouched, patterns reached."""

from __future__ import annotations

import builtins
import copy
from typing import Any

import pytest
import torch
from torch import nn

from spcomp.demo.data import Digits, load_digits
from spcomp.demo.models import DigitsMLP, DigitsViT
from spcomp.demo.training import Progress, Settings, accuracy, prune_gradually, steps_of, train_dense
from spcomp.errors import InputError, RecipeError
from spcomp.sparsify import Cubic, Recipe
from spcomp.sparsity.pattern import NM, Block, Unstructured

pytest.importorskip("sklearn")
SHORT = Settings(epochs=6, learning_rate=3e-3)


@pytest.fixture(scope="module")
def data() -> Digits:
    return load_digits()


@pytest.fixture(scope="module")
def trained(data: Digits) -> DigitsMLP:
    torch.manual_seed(0)
    model = DigitsMLP(width=128)
    train_dense(model, data, SHORT)
    return model


def test_the_split_is_fixed_and_stratified(data: Digits) -> None:
    assert data.train_images.shape == (1347, 64)
    assert data.test_images.shape == (450, 64)
    assert data.train_images.dtype == torch.float32
    assert data.train_labels.dtype == torch.int64
    assert data.train_images.min() == 0.0
    assert data.train_images.max() == 1.0
    assert all(43 <= count <= 46 for count in data.test_labels.bincount().tolist())
    assert torch.equal(data.test_images, load_digits().test_images)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError("No module named 'sklearn'")
        return real_import(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"scikit-learn cannot be imported.*spcomp\[demo\]"):
        load_digits()


def test_training_learns_and_reports_progress(data: Digits) -> None:
    model = DigitsMLP(width=128)
    seen: list[Progress] = []
    trained = train_dense(model, data, SHORT, seen.append)
    assert trained.accuracy > 0.9
    assert trained.accuracy == accuracy(model, data)
    assert [p.step for p in seen] == list(range(1, steps_of(SHORT, data) + 1))
    assert seen[-1].loss < 0.5 * seen[0].loss
    assert not model.training


def test_the_same_seed_gives_the_same_weights(data: Digits) -> None:
    first = DigitsMLP(width=32)
    second = copy.deepcopy(first)
    train_dense(first, data, Settings(epochs=1, learning_rate=1e-3))
    train_dense(second, data, Settings(epochs=1, learning_rate=1e-3))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(Unstructured(0.9), exclude=DigitsMLP.TINY),
        Recipe(NM(2, 4), exclude=DigitsMLP.TINY),
        Recipe(Block(8, 1), 0.9, exclude=DigitsMLP.TINY),
    ],
    ids=str,
)
def test_pruning_reaches_its_pattern_on_a_copy(data: Digits, trained: DigitsMLP, recipe: Recipe) -> None:
    before = copy.deepcopy(trained.state_dict())
    sparsities: list[float] = []
    pruned = prune_gradually(trained, recipe, data, SHORT, lambda p: sparsities.append(p.sparsity))
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())
    assert pruned.accuracy > 0.85
    assert pruned.accuracy == accuracy(pruned.model, data)
    assert pruned.summary.sparsity == pytest.approx(recipe.final_sparsity, abs=0.001)
    assert sparsities == sorted(sparsities)
    assert sparsities[0] < sparsities[-1] == pruned.summary.sparsity
    for layer in pruned.summary.layers:
        weight = pruned.model.get_submodule(layer.name).weight
        assert isinstance(weight, nn.Parameter)
        mask = weight.detach() != 0
        if not isinstance(recipe.pattern, Block):
            assert recipe.pattern.holds(mask.numpy())
        assert int((~mask).sum()) == layer.pruned


def test_a_schedule_that_outlasts_the_run_is_refused(data: Digits, trained: DigitsMLP) -> None:
    recipe = Recipe(Unstructured(0.9), exclude=trained.TINY, schedule=Cubic(10_000))
    with pytest.raises(RecipeError, match="would end before the final sparsity"):
        prune_gradually(trained, recipe, data, SHORT)


def test_tiny_layers_are_named_as_the_models_name_them() -> None:
    for model in (DigitsMLP(width=32), DigitsViT(width=32, layers=1, heads=2, mlp_width=64)):
        assert all(isinstance(model.get_submodule(name), nn.Linear) for name in model.TINY)


def test_vit_shapes_and_patches() -> None:
    model = DigitsViT(width=32, layers=2, heads=4, mlp_width=64).eval()
    assert model(torch.rand(3, 64)).shape == (3, 10)
    assert sum(isinstance(m, nn.Linear) for m in model.modules()) == 2 + 2 * 4
    exported = torch.export.export(
        model, (torch.rand(4, 64),), dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=1024)},)
    )
    images = torch.rand(7, 64)
    torch.testing.assert_close(exported.module()(images), model(images))
