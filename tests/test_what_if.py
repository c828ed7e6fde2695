"""``what_if``: what zeros would bring before anyone prunes, by the cost model and by the clock."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp import NM, Block, Unstructured, WhatIf
from spcomp.capture import Example, capture
from spcomp.codegen.table import BACKENDS
from spcomp.encodings.spec import Refusal
from spcomp.errors import InputError, SpcompError, StateError, WeightError
from spcomp.forecast.layers import kinds_of, sites_of
from spcomp.forecast.patterns import PATTERNS, Family, families, grid, pruned
from spcomp.sparsity.measure import measure
from spcomp.sparsity.pattern import DeadRows
from spcomp.targets.host import host_cpu
from tests.test_experts import K, Mixture, N

X = torch.randn(16, 64)
needs_kernels = pytest.mark.skipif(BACKENDS["mlir_cpu"].unavailable() is not None, reason="needs torch-mlir")


def net() -> nn.Sequential:
    """Three linear layers; the two in the middle are alike."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4)
    ).eval()


@pytest.fixture(scope="module")
def found() -> WhatIf:
    patterns = ["unstructured", NM(2, 4), "1:4", "block 8x8"]
    return spcomp.what_if(net(), X, patterns=patterns, zeros=(0.9, 0.5, 0.99))


# --- what is looked at ------------------------------------------------------------------------------------------------


def test_layers_that_are_alike_are_looked_at_once(found: WhatIf) -> None:
    assert [layer.layers for layer in found.layers] == [("0",), ("2", "4"), ("6",)]
    assert [(layer.n, layer.k, layer.row_counts) for layer in found.layers] == [
        (256, 64, (16,)), (256, 256, (16,)), (4, 256, (16,)),
    ]  # fmt: skip
    assert found.layers[1].name == "2 and 1 more"


def test_each_example_is_a_case_of_its_own() -> None:
    model = net()
    captured = [capture(model, [Example.of(torch.randn(rows, 64))]) for rows in (1, 24)]
    kinds = kinds_of(sites_of(captured))
    assert [kind.row_counts for kind in kinds] == [(1, 24)] * 3
    assert [[dict(calls) for calls in kind.calls] for kind in kinds] == [
        [{1: 1}, {24: 1}], [{1: 2}, {24: 2}], [{1: 1}, {24: 1}],
    ]  # fmt: skip


def test_a_weight_used_twice_counts_its_bytes_once_and_its_calls_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(32, 32)
            self.other = nn.Linear(32, 32)
            self.other.weight = self.fc.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(self.fc(self.fc(x)).tanh())  # type: ignore[no-any-return]

    (kind,) = kinds_of(sites_of([capture(Twice().eval(), [Example.of(torch.randn(3, 32))])]))
    assert [dict(c) for c in kind.calls] == [{3: 3}]
    assert kind.nbytes == 32 * 32 * 4


def test_nm_stands_at_its_own_share_and_the_rest_on_the_grid(found: WhatIf) -> None:
    standing = {(p.pattern, p.zeros) for layer in found.layers for p in layer.prospects}
    others = {(name, zeros) for name in ("unstructured", "block 8x8") for zeros in (0.5, 0.9, 0.99)}
    assert standing == {("nm 2:4", 0.5), ("nm 1:4", 0.75)} | others
    assert found.columns == (0.5, 0.75, 0.9, 0.99)
    assert found.zeros == (0.5, 0.9, 0.99)


def test_copies_are_pruned_as_sparsify_would_and_the_model_stays() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    spcomp.what_if(model, X, patterns="block 8x8", zeros=0.9)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    weight = model[2].weight
    ours = pruned(weight, Family(Block(8, 8)), 0.9)
    spcomp.sparsify(model, spcomp.Recipe(Block(8, 8), sparsity=0.9, include=("2",))).remove()
    assert isinstance(ours, torch.Tensor)
    assert torch.equal(ours, model[2].weight)
    conv = torch.randn(16, 8, 3, 3)
    kept = pruned(conv, Family(NM(2, 4)), 0.5)
    assert isinstance(kept, torch.Tensor)
    assert kept.shape == conv.shape
    assert NM(2, 4).holds(kept.flatten(1).numpy() != 0)


@pytest.mark.parametrize("family", families(None), ids=str)
def test_pruned_copies_keep_the_pattern(family: Family) -> None:
    for zeros in family.shares((0.5, 0.9)):
        weight = pruned(torch.randn(64, 96), family, zeros)
        assert isinstance(weight, torch.Tensor)
        facts = measure(weight)
        assert facts.sparsity == pytest.approx(zeros, abs=0.03)
        assert (family.pattern or Unstructured(zeros)).holds(weight.numpy() != 0)


def test_a_layer_too_small_for_a_pattern_says_so() -> None:
    found = spcomp.what_if(net(), X, patterns=["block 8x8", "unstructured"], zeros=0.9, include="6")
    small = found.layers[0].at("block 8x8", 0.9)
    assert small is not None
    assert (small.speedup, small.encoding, small.nbytes) == (None, "", 4 * 256 * 4)
    assert "the weight is 4x256 and one group needs 8x8" in small.reason
    assert found.layers[0].crossovers["block 8x8"] is None
    assert isinstance(pruned(torch.randn(4, 256), Family(Block(8, 8)), 0.9), Refusal)
    alone = spcomp.what_if(net(), X, patterns="block 8x8", zeros=0.9, include="6")
    assert alone.layers[0].dense_us[0] > 0
    assert alone.model[0].speedups == (1.0,)


def test_convolutions_are_looked_at_too() -> None:
    model = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.Flatten()).eval()
    found = spcomp.what_if(model, torch.randn(2, 16, 10, 10), patterns="unstructured", zeros=(0.5, 0.9))
    assert [(layer.n, layer.k, layer.row_counts) for layer in found.layers] == [(32, 144, (200,)), (32, 32, (200,))]
    assert found.layers[0].conv == "16 x 10 x 10, 3 x 3, padding 1 x 1"
    if BACKENDS["baked_cpu"].unavailable() is None:
        assert all(p.speedup is not None for p in found.layers[0].prospects)


def test_an_exported_program_brings_its_own_example() -> None:
    exported = torch.export.export(net(), (X,))
    assert spcomp.what_if(exported, patterns="2:4").layers[0].row_counts == (16,)
    batch = torch.export.Dim("batch", min=2, max=64)
    dynamic = torch.export.export(net(), (X,), dynamic_shapes=({0: batch},))
    assert spcomp.what_if(dynamic, patterns="2:4").layers[0].row_counts == (16,)
    with pytest.raises(InputError, match="further examples"):
        spcomp.what_if(exported, X)


# --- the figures ------------------------------------------------------------------------------------------------------


@needs_kernels
def test_more_zeros_are_estimated_faster_and_smaller(found: WhatIf) -> None:
    assert found.origin == "estimated"
    layer = found.layers[1]
    for pattern in ("unstructured", "block 8x8"):
        few, many = (layer.at(pattern, zeros) for zeros in (0.5, 0.99))
        assert few is not None
        assert many is not None
        assert few.speedup is not None
        assert many.speedup is not None
        assert many.speedup > few.speedup
        assert many.nbytes < few.nbytes
        assert many.found == pytest.approx(0.99, abs=0.01)
        assert many.encoding
        assert many.speedup == pytest.approx(layer.dense_us[0] / many.us[0])


@needs_kernels
def test_all_layers_together_add_up(found: WhatIf) -> None:
    for whole in found.model:
        dense = fast = 0.0
        for layer in found.layers:
            prospect = layer.at(whole.pattern, whole.zeros)
            gain = prospect.speedups[0] if prospect is not None and prospect.pays else 1.0
            dense += len(layer.layers) * layer.dense_us[0]
            fast += len(layer.layers) * layer.dense_us[0] / gain
        assert whole.speedups == (pytest.approx(dense / fast),)
        assert whole.speedup == pytest.approx(dense / fast)
        assert whole.nbytes <= whole.dense_nbytes * 1.3
        assert 0 <= whole.paying <= 4
    assert found.model[0].dense_nbytes == 4 * (64 * 256 + 2 * 256 * 256 + 256 * 4)


def test_without_kernels_nothing_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    from spcomp import planning

    monkeypatch.setattr(planning, "BACKENDS", {"reference": BACKENDS["reference"]})
    found = spcomp.what_if(net(), X, patterns=["unstructured", "2:4"], zeros=0.9)
    assert all(p.speedup is None and p.reason for layer in found.layers for p in layer.prospects)
    assert all(c is None for layer in found.layers for c in layer.crossovers.values())
    assert {whole.speedup for whole in found.model} == {1.0}
    assert {whole.paying for whole in found.model} == {0}


@needs_kernels
def test_measured_prospects_are_timed_against_best_dense() -> None:
    lines: list[str] = []
    found = spcomp.what_if(
        net(), X, torch.randn(1, 64), patterns=["block 8x8", "2:4"], zeros=0.95, measure=True, progress=lines.append
    )
    assert found.origin == "measured"
    assert found.threads == torch.get_num_threads()
    layer = found.layers[1]
    assert layer.row_counts == (1, 16)
    for prospect in layer.prospects:
        assert len(prospect.us) == len(prospect.speedups) == 2
        assert min(prospect.us) > 0
        assert prospect.encoding
    assert "2: block 8x8 at 0.95 zeros" in lines
    assert len(found.model[0].speedups) == 2
    assert "packed and timed against best dense" in str(found)


# --- what goes in wrong -----------------------------------------------------------------------------------------------


class NoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patterns": "blok 8x8"}, r"look at the pattern 'blok 8x8': .* is no pattern. Try: block 8x8"),
        ({"patterns": ["2:4", "zzz"]}, r"look at the pattern 'zzz': .* Try: unstructured, nm 2:4"),
        ({"patterns": "4:2"}, r"it needs 1 <= n < m"),
        ({"patterns": "90%"}, r"it states a share of zeros. Try: 'unstructured', and shares in zeros="),
        ({"patterns": [Unstructured(0.9)]}, r"it states a share of zeros"),
        ({"patterns": DeadRows()}, r"nothing is pruned to it. Try: unstructured"),
        ({"patterns": []}, r"look at patterns: an empty list"),
        ({"zeros": 90}, r"look at shares of zeros: 90. Try: fractions between 0 and 1"),
        ({"zeros": (0.5, 1.0)}, r"look at shares of zeros: 1.0"),
        ({"zeros": 0.0}, r"look at shares of zeros: 0.0"),
        ({"zeros": ["0.5"]}, r"look at shares of zeros: '0.5'"),
        ({"zeros": ()}, r"look at shares of zeros: an empty list"),
        ({"target": "cuda"}, r"look ahead for the target 'cuda': this machine is .* Try: 'auto' or"),
        ({"include": "q*"}, r"include and exclude leave no layer. Try: globs for 0, 2"),
        ({"memory_budget": 0}, r"set memory_budget"),
    ],
)
def test_options_that_are_wrong_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        spcomp.what_if(net(), X, **options)


@pytest.mark.parametrize(
    ("model", "examples", "kind", "words"),
    [
        (net().train(), (X,), StateError, r"training mode .* Try: model.eval\(\) first"),
        (NoLayers().eval(), (X,), WeightError, r"no linear layer or convolution with a constant weight in it. Try:"),
        (nn.ReLU().eval(), (X,), WeightError, r"no weights in it"),
        (net(), (), InputError, r"look ahead for a model: no example input. Try: spcomp.what_if\(model, torch.randn"),
        (3, (X,), InputError, r"a int. Try: a torch.nn.Module"),
    ],
)
def test_models_that_are_wrong_are_refused(model: Any, examples: Any, kind: type[SpcompError], words: str) -> None:
    with pytest.raises(kind, match=words):
        spcomp.what_if(model, *examples)


def test_this_hosts_target_is_taken_by_name() -> None:
    found = spcomp.what_if(net(), X, target=host_cpu().target, patterns="2:4", include="0")
    assert found.target == host_cpu().target


def test_patterns_and_grids_are_read_once() -> None:
    assert tuple(map(str, families(None))) == PATTERNS
    assert families(["2:4", NM(2, 4), " Unstructured "]) == (Family(NM(2, 4)), Family(None))
    assert grid([0.9, 0.5, 0.9]) == (0.5, 0.9)
    assert grid(0.5) == (0.5,)


def test_layers_are_those_that_are_left_after_shrinking() -> None:
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32)).eval()
    with torch.no_grad():
        model[0].weight[20:] = 0
        model[0].bias[20:] = 0
    found = sites_of([capture(model, [Example.of(torch.randn(8, 64))])])
    assert [(site.layer, site.n, site.k) for site, _ in found] == [("0", 20, 64), ("2", 32, 20)]


@pytest.mark.parametrize(("rows", "share", "called"), [(11, 3, 4), (3, 1, 3), (5, 2, 3)])
def test_experts_are_looked_at_with_equal_shares(rows: int, share: int, called: int) -> None:
    captured = [capture(Mixture().eval(), [Example.of(torch.randn(rows, K))])]
    kinds = {kind.names[0]: kind for kind in kinds_of(sites_of(captured))}
    experts, out = kinds["stack.0"], kinds["out"]
    assert experts.names == ("stack.0", "stack.1", "stack.2", "stack.3")
    assert experts.row_counts == (share,)
    assert [dict(c) for c in experts.calls] == [{share: called}]
    assert experts.nbytes == 4 * N * K * 4
    assert out.row_counts == (rows,)


def test_experts_have_prospects() -> None:
    made = spcomp.what_if(Mixture().eval(), torch.randn(64, K), patterns=["unstructured"], zeros=(0.9,))
    experts = next(layer for layer in made.layers if "stack.0" in layer.layers)
    assert (experts.n, experts.k, experts.row_counts) == (N, K, (16,))
    assert [p.found for p in experts.prospects] == [pytest.approx(0.9, abs=0.01)]
