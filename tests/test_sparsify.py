"""Pruning: the pattern holds, counts are exact, masks outlive the optimizer, and nothing stays on the model."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from spcomp.errors import RecipeError
from spcomp.sparsify import Cubic, Recipe, sparsify
from spcomp.sparsify.criteria import block_magnitude, keep_n_of_m
from spcomp.sparsity.pattern import NM, VNM, Block, Unstructured
from tests.pruning import mlp, nonzero_bits, nonzeros_of, one_layer, train

PATTERNS = [
    Recipe(Unstructured(0.9)),
    Recipe(Unstructured(0.5), scope="global"),
    Recipe(NM(2, 4)),
    Recipe(NM(1, 4, axis=0)),
    Recipe(VNM(16, 2, 8)),
    Recipe(Block(8, 1), 0.9),
    Recipe(Block(4, 4), 0.5, scope="global"),
]


class Conv1D(nn.Module):
    """Stands for the class of that name in Hugging Face's transformers, which stores (in, out)."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


Conv1D.__module__ = "transformers.pytorch_utils"


# --- the pattern holds and counts are exact ---------------------------------------------------------------------------

sizes = st.integers(1, 40)


@given(rows=sizes, cols=sizes, percent=st.integers(0, 99), seed=st.integers(0, 3))
def test_unstructured_prunes_exactly_what_the_pattern_promises(rows: int, cols: int, percent: int, seed: int) -> None:
    layer = one_layer(rows, cols, seed)
    before = layer.weight.detach().abs()
    pattern = Unstructured(percent / 100)
    sparsifier = sparsify(layer, Recipe(pattern))
    mask = sparsifier.masks[""]
    assert int((~mask).sum()) == math.ceil(Fraction(percent, 100) * rows * cols)
    assert pattern.holds(nonzeros_of(layer))
    if mask.any() and not mask.all():
        assert before[~mask].max() <= before[mask].min()


@given(rows=sizes, cols=sizes, n=st.integers(1, 7), more=st.integers(1, 8), axis=st.sampled_from([0, 1]))
def test_nm_keeps_the_largest_of_each_group(rows: int, cols: int, n: int, more: int, axis: Any) -> None:
    pattern = NM(n, n + more, axis)
    layer = one_layer(rows, cols)
    before = layer.weight.detach().abs()
    if (rows, cols)[axis] < pattern.m:
        with pytest.raises(RecipeError, match="does not fit"):
            sparsify(layer, Recipe(pattern))
        return
    mask = sparsify(layer, Recipe(pattern)).masks[""]
    assert pattern.holds(nonzeros_of(layer))
    for scores, kept in zip(before.split(pattern.m, axis), mask.split(pattern.m, axis), strict=True):
        assert (kept.sum(axis) == min(n, scores.shape[axis])).all()
        lowest_kept = scores.masked_fill(~kept, math.inf).amin(axis)
        assert (scores.masked_fill(kept, 0.0).amax(axis) <= lowest_kept).all()


@given(rows=sizes, cols=sizes, height=st.integers(1, 8), width=st.integers(1, 8), percent=st.integers(0, 99))
def test_blocks_prune_the_smallest_norms_ragged_edges_too(
    rows: int, cols: int, height: int, width: int, percent: int
) -> None:
    pattern = Block(min(height, rows), min(width, cols))
    layer = one_layer(rows, cols)
    norms = block_magnitude(layer.weight, pattern.rows, pattern.cols)
    mask = sparsify(layer, Recipe(pattern, percent / 100)).masks[""]
    assert pattern.holds(nonzeros_of(layer))
    kept = mask[:: pattern.rows, :: pattern.cols]
    assert int((~kept).sum()) == round(percent / 100 * kept.numel())
    if kept.any() and not kept.all():
        assert norms[~kept].max() <= norms[kept].min()


def test_block_norms_are_sums_of_squares() -> None:
    matrix = torch.arange(15.0).reshape(3, 5)
    assert block_magnitude(matrix, 2, 2).tolist() == [
        [0.0 + 1 + 25 + 36, 4.0 + 9 + 49 + 64, 16.0 + 81],
        [100.0 + 121, 144.0 + 169, 196.0],
    ]


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
def test_global_scope_is_one_threshold(sparsity: float) -> None:
    model = mlp(32, 48, 24, 16)
    with torch.no_grad():
        model[2].weight.mul_(3)
    before = {name: m.weight.detach().abs() for name, m in model.named_children() if isinstance(m, nn.Linear)}
    masks = sparsify(model, Recipe(Unstructured(sparsity), scope="global")).masks
    pruned = torch.cat([before[name][~mask] for name, mask in masks.items()])
    kept = torch.cat([before[name][mask] for name, mask in masks.items()])
    assert pruned.max() <= kept.min()
    assert len(pruned) == math.ceil(Fraction(str(sparsity)) * (len(pruned) + len(kept)))
    shares = [mask.float().mean().item() for mask in masks.values()]
    assert shares[1] > 1.2 * max(shares[0], shares[2]), "the layer with larger weights keeps more of them"


def test_global_scope_compares_blocks_across_layers() -> None:
    model = mlp(32, 48, 24)
    norms = [block_magnitude(m.weight, 4, 4) for m in model if isinstance(m, nn.Linear)]
    masks = sparsify(model, Recipe(Block(4, 4), 0.5, scope="global")).masks.values()
    kept = [mask[::4, ::4] for mask in masks]
    flat_norms, flat_kept = torch.cat([n.flatten() for n in norms]), torch.cat([k.flatten() for k in kept])
    assert int(flat_kept.sum()) == flat_kept.numel() // 2
    assert flat_norms[~flat_kept].max() <= flat_norms[flat_kept].min()


def test_equal_magnitudes_still_give_exact_counts() -> None:
    layer = one_layer(10, 10)
    nn.init.ones_(layer.weight)
    assert sparsify(layer, Recipe(Unstructured(0.37))).report().layers[0].pruned == 37
    assert keep_n_of_m(torch.ones(3, 8), 2, 4, axis=1).sum() == 12


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    layer = one_layer(16, 16).to(dtype)
    sparsify(layer, Recipe(Block(4, 4), 0.5))
    assert layer.weight.dtype == dtype
    assert int((layer.weight == 0).sum()) == 128


def test_convolutions_are_seen_as_matrices() -> None:
    model = nn.Sequential(
        nn.Conv1d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv3d(2, 4, 2), nn.ConvTranspose2d(4, 4, 2)
    )
    sparsifier = sparsify(model, Recipe(NM(1, 2)))
    assert list(sparsifier.masks) == ["0", "1", "2"]
    for name, mask in sparsifier.masks.items():
        assert NM(1, 2).holds(mask.flatten(1).numpy()), name


def test_hugging_face_conv1d_groups_along_its_inputs() -> None:
    layer = Conv1D(outputs=6, inputs=8)
    mask = sparsify(layer, Recipe(NM(2, 4))).masks[""]
    assert mask.shape == (8, 6)
    assert NM(2, 4).holds(mask.T.numpy())
    assert mask.is_contiguous()


# --- masks hold -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", PATTERNS, ids=str)
@pytest.mark.parametrize("gradual", [False, True])
def test_masks_hold_through_twenty_steps_of_adamw(recipe: Recipe, gradual: bool) -> None:
    model = mlp(24, 40, 32, 24)
    if gradual:
        recipe = replace(recipe, schedule=Cubic(12, begin=2, frequency=3))
    sparsifier = sparsify(model, recipe)
    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)
    for _ in range(20):
        train(model, sparsifier, 1, 24, optimizer)
        for name, mask in sparsifier.masks.items():
            weight = model.get_submodule(name).weight
            assert not nonzero_bits(weight)[~mask].any(), "pruned weights are +0, to the bit"
    assert sparsifier.done
    for name in sparsifier.masks:
        if not isinstance(recipe.pattern, Unstructured) or recipe.scope == "layer":
            assert recipe.pattern.holds(nonzeros_of(model.get_submodule(name)))
    assert sparsifier.sparsity() == pytest.approx(recipe.final_sparsity, abs=0.01)


def test_minus_zero_becomes_plus_zero() -> None:
    layer = one_layer(4, 4)
    sparsifier = sparsify(layer, Recipe(NM(2, 4)))
    with torch.no_grad():
        layer.weight.masked_fill_(~sparsifier.masks[""], -0.0)
    assert nonzero_bits(layer.weight).all()
    sparsifier.step()
    assert int(nonzero_bits(layer.weight).sum()) == 8


def test_momentum_of_pruned_weights_does_not_leak() -> None:
    """SGD's velocity keeps pushing a weight whose gradient is gone; the mask is stronger."""
    model = mlp(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, sparsify(model, Recipe(Unstructured(0.0))), 3, 16, optimizer)
    sparsifier = sparsify(model, Recipe(Unstructured(0.8)))
    optimizer.zero_grad()
    model[0].weight.grad = torch.zeros_like(model[0].weight)
    optimizer.step()
    assert nonzero_bits(model[0].weight)[~sparsifier.masks["0"]].any()
    sparsifier.step()
    assert not nonzero_bits(model[0].weight)[~sparsifier.masks["0"]].any()


def test_gradients_can_be_masked_before_clipping() -> None:
    model = mlp(16, 16)
    sparsifier = sparsify(model, Recipe(Unstructured(0.8)))
    sparsifier.mask_gradients()
    model(torch.randn(4, 16)).sum().backward()
    sparsifier.mask_gradients()
    assert (model[0].weight.grad[~sparsifier.masks["0"]] == 0).all()
    assert (model[0].weight.grad[sparsifier.masks["0"]] != 0).any()


# --- schedules --------------------------------------------------------------------------------------------------------


def test_cubic_is_the_formula_of_zhu_and_gupta() -> None:
    schedule = Cubic(100, begin=10, initial=0.2, frequency=30)
    assert [t for t in range(200) if schedule.updates_at(t)] == [10, 40, 70, 100, 110]
    assert schedule.sparsity_at(9, 0.9) == 0.0
    assert schedule.sparsity_at(10, 0.9) == pytest.approx(0.2)
    assert schedule.sparsity_at(60, 0.9) == pytest.approx(0.9 - 0.7 * 0.5**3)
    assert schedule.sparsity_at(110, 0.9) == 0.9
    assert schedule.sparsity_at(500, 0.9) == 0.9


def test_gradual_sparsity_follows_the_schedule() -> None:
    model = mlp(20, 50, 20)
    schedule = Cubic(8, frequency=2)
    sparsifier = sparsify(model, Recipe(Unstructured(0.9), schedule=schedule))
    seen = [sparsifier.sparsity()]
    for _ in range(10):
        train(model, sparsifier, 1, 20)
        seen.append(sparsifier.sparsity())
    wanted = [schedule.sparsity_at(t - t % 2, 0.9) for t in range(11)]
    assert seen == pytest.approx(wanted, abs=0.001)
    assert seen[-1] == 0.9


@given(rows=sizes, cols=sizes, v=st.sampled_from([1, 4, 16]), n=st.integers(1, 3), more=st.integers(0, 6))
def test_vnm_keeps_the_heaviest_columns_and_the_largest_in_those(
    rows: int, cols: int, v: int, n: int, more: int
) -> None:
    pattern = VNM(v, n, 2 * n + more)
    layer = one_layer(rows, cols)
    before = layer.weight.detach().abs()
    if cols < pattern.m:
        with pytest.raises(RecipeError, match=r"does not fit: .* one group needs 1x"):
            sparsify(layer, Recipe(pattern))
        return
    mask = sparsify(layer, Recipe(pattern)).masks[""]
    assert pattern.holds(nonzeros_of(layer))
    for r in range(0, rows, v):
        for c in range(0, cols, pattern.m):
            block, kept = before[r : r + v, c : c + pattern.m], mask[r : r + v, c : c + pattern.m]
            heaviest = block.double().square().sum(0).argsort(descending=True)[: 2 * n]
            for row, mine in zip(block, kept, strict=True):
                assert set(mine.nonzero().flatten().tolist()) == set(heaviest[row[heaviest].argsort()[-n:]].tolist())


def test_vnm_is_reached_by_way_of_more_columns() -> None:
    layer = one_layer(32, 32)
    sparsifier = sparsify(layer, Recipe(VNM(16, 2, 16), schedule=Cubic(4)))
    kept = [int(sparsifier.masks[""].sum())]
    for _ in range(4):
        sparsifier.step()
        kept.append(int(sparsifier.masks[""].sum()))
    assert kept[0] == 1024
    assert kept[-1] == 128
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) > 2
    assert VNM(16, 2, 16).holds(nonzeros_of(layer))


def test_nm_is_reached_by_way_of_looser_groups() -> None:
    layer = one_layer(8, 16)
    sparsifier = sparsify(layer, Recipe(NM(1, 4), schedule=Cubic(4)))
    kept = [int(sparsifier.masks[""].sum())]
    for _ in range(4):
        sparsifier.step()
        kept.append(int(sparsifier.masks[""].sum()))
    assert kept[0] == 128
    assert kept[-1] == 32
    assert kept == sorted(kept, reverse=True)
    assert len(set(kept)) > 2, "3:4 or 2:4 on the way"


@pytest.mark.parametrize("recipe", PATTERNS, ids=str)
def test_monotone_masks_only_shrink(recipe: Recipe) -> None:
    model = mlp(24, 40, 32)
    sparsifier = sparsify(model, replace(recipe, schedule=Cubic(10)))
    for _ in range(10):
        before = dict(sparsifier.masks)
        with torch.no_grad():
            for name, mask in before.items():
                model.get_submodule(name).weight[~mask] = 100.0
        sparsifier.step()
        assert all(not (sparsifier.masks[name] & ~mask).any() for name, mask in before.items())


def test_masks_may_regrow_when_not_monotone() -> None:
    layer = one_layer(8, 8)
    sparsifier = sparsify(layer, Recipe(Unstructured(0.5), schedule=Cubic(4, initial=0.4), monotone=False))
    pruned = ~sparsifier.masks[""]
    with torch.no_grad():
        layer.weight[pruned] = 100.0
    sparsifier.step()
    assert (sparsifier.masks[""] & pruned).sum() == pruned.sum()
