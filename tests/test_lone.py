"""Models of one layer: called without a graph, and with dense convolutions on strides that torch takes as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import spcomp
import spcomp.compiled as compiled_module
from benchmarks import cost_cases, never_slower, random_layers
from benchmarks.harness import Benchmark
from benchmarks.model_cases import MODELS, model_cases
from spcomp.codegen.dense_conv import TorchConv
from spcomp.conv_shape import ConvShape
from spcomp.errors import InputError
from tests.kernels import dense_call


@pytest.mark.parametrize(
    ("model", "shape", "lone"),
    [
        (nn.Sequential(nn.Linear(24, 16), nn.ReLU()), (3, 24), True),
        (nn.Linear(24, 16), (2, 3, 24), True),
        (nn.Conv2d(4, 8, 3), (1, 4, 6, 6), True),
        (nn.Sequential(nn.Linear(24, 16), nn.Tanh()), (3, 24), False),
        (nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 4)), (3, 24), False),
    ],
    ids=["fused", "alone", "conv", "with more", "two"],
)
def test_one_layer_is_called_without_a_graph(
    model: nn.Module, shape: tuple[int, ...], lone: bool, tmp_path: Path
) -> None:
    x = torch.randn(shape)
    with torch.no_grad():
        compiled = spcomp.compile(model.eval(), x, engine="eager", policy="off", cache_dir=tmp_path)
        assert (compiled.parts.programs[0].lone is not None) == lone
        assert torch.allclose(compiled(x), model(x), atol=1e-5)
        with torch.autocast("cpu"):
            assert compiled(x).dtype == torch.float32, "autocast is off in there"
    assert not compiled(x).requires_grad
    for wrong in (x.double(), x[..., :-1], x.unsqueeze(0).unsqueeze(0)):
        with pytest.raises(InputError):
            compiled(wrong)


def test_the_usual_call_of_one_layer_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Linear(24, 16).eval(), torch.randn(3, 24)
    compiled = spcomp.compile(model, x, engine="eager", policy="off", cache_dir=tmp_path)
    long_way = compiled_module._call
    taken: list[int] = []
    monkeypatch.setattr(compiled_module, "_call", lambda *given: taken.append(1) or long_way(*given))
    with torch.no_grad():
        assert torch.equal(compiled(x), long_way(compiled.parts, (x,), {}))
        assert torch.equal(compiled(nn.Parameter(x)), model(x))
        assert not taken
        with torch.autocast("cpu"):
            compiled(x)
        assert len(taken) == 1
        for wrong in (x.double(), x[:2], x.to_sparse(), [x]):
            with pytest.raises(InputError):
                compiled(wrong)
        compiled(input=x)
        assert len(taken) == 6
        other = nn.Linear(24, 16).eval()
        compiled.update_weights(other)
        assert torch.equal(compiled(x), other(x))
    assert len(taken) == 6
    with pytest.raises(InputError, match="requires grad"):
        compiled(x.clone().requires_grad_())
    batch = ({0: torch.export.Dim.DYNAMIC},)
    rows = spcomp.compile(model, x, engine="eager", dynamic_shapes=batch, cache_dir=tmp_path)
    assert rows.parts.quick is None, "the looks are for one shape"
    assert rows(torch.randn(7, 24)).shape == (7, 16)


def test_one_layer_in_a_tuple_stays_in_it(tmp_path: Path) -> None:
    class Tuple(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(24, 16)

        def forward(self, x: list[torch.Tensor]) -> tuple[torch.Tensor]:
            return (self.layer(x[0]),)

    model, x = Tuple().eval(), torch.randn(3, 24)
    compiled = spcomp.compile(model, ([x],), engine="eager", policy="off", cache_dir=tmp_path)
    assert compiled.parts.programs[0].lone is not None
    with torch.no_grad():
        (y,) = compiled([x])
        assert torch.equal(y, model([x])[0])
        with pytest.raises(InputError):
            compiled(x)


def test_a_dense_1x1_weight_has_the_strides_of_planes() -> None:
    conv = nn.Conv2d(12, 8, 1)
    call = replace(dense_call(8, 12), op="conv", conv=ConvShape(2, 12, 5, 5, (1, 1)))
    kernel = TorchConv(call, conv.weight.detach().reshape(8, 12), conv.bias, None)
    assert kernel.weight.stride() == conv.weight.stride(), "not those of channels last, which count as contiguous too"


# --- the benchmarks' own parts ----------------------------------------------------------------------------------------


def test_random_layers_are_the_same_ones_every_time() -> None:
    cases = random_layers.layer_cases(40)
    assert cases == random_layers.layer_cases(60)[:40]
    assert len({c.key for c in cases}) == 40
    assert {c.pattern for c in cases} == set(random_layers.PATTERNS)
    case = min(cases, key=lambda c: c.n * c.k)
    (a, x), (b, _) = case.made(1), case.made(1)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert a(x).shape[0] == x.shape[0]


def test_there_are_twenty_models_and_they_run() -> None:
    cases = model_cases()
    assert len({c.key for c in cases}) == 20
    assert {c.model for c in cases} == set(MODELS)
    model, inputs = next(c for c in cases if c.key == "mlp_tiny_u_90").made()
    assert model(*inputs).shape == (8, 10)


def test_a_race_goes_on_where_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(never_slower, "SECONDS", (0.01, 0.01))
    case = min(random_layers.layer_cases(20), key=lambda c: c.n * c.k * c.m)
    monkeypatch.setattr(never_slower, "layer_cases", lambda _: [case])
    save = tmp_path / "found.json"
    bench = Benchmark("never_slower", never_slower.TARGETS)
    with torch.no_grad():
        never_slower.race_layers(bench, 1, save)
        again = Benchmark("never_slower", never_slower.TARGETS)
        again.resume(save)
        assert again.figures == bench.figures
        monkeypatch.setattr(never_slower, "race", None)
        never_slower.race_layers(again, 1, save)
    never_slower.summarize(again, "layers", [case.key])
    assert again.figures["layers_cells"] == 1
    again.resume(tmp_path / "nothing.json")
    again.finish(save)
    anew = Benchmark("never_slower", never_slower.TARGETS)
    anew.resume(save)
    assert not anew.figures, "a run that came to its end is made anew"


def test_cost_cases_cover_every_family() -> None:
    cases = cost_cases.cost_cases(3)
    assert cases == cost_cases.cost_cases(3)
    assert {c.family.name for c in cases} == {f.name for f in cost_cases.FAMILIES}
    assert 0 < sum(c.held_out for c in cases) < len(cases)
