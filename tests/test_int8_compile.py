"""``quantize="int8"`` from end to end: what is chosen, said, kept, saved and verified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import spcomp
from spcomp.check import check_int8
from spcomp.cli import app
from spcomp.cost.remembering import Work
from spcomp.cost.tuner import Tuner
from spcomp.errors import ArtifactError, InputError, PlanError, PolicyError
from spcomp.options import Options
from spcomp.passes.base import Site
from spcomp.plan import Epilogue, KernelCall, KernelPlan, RowRange
from spcomp.sparsity.measure import measure
from spcomp.targets.host import MASKED_FEATURES, host_cpu
from tests.compiling import QUICK, agrees
from tests.models import mlp
from tests.test_int8 import BACKEND, HERE, Quad, call8, fitting, inputs

ROOT = Path(__file__).parents[1]
INT8: dict[str, Any] = {**QUICK, "policy": "force", "encodings": ["quad"], "memory_budget": 9.0, "quantize": "int8"}
"""Int8 kernels in every layer, however small."""


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(3)
    return mlp(70, 48, 40, 10, activation=nn.GELU, sparsity=0.7)


@pytest.fixture(scope="module")
def int8(model: nn.Module) -> spcomp.CompiledModule:
    return spcomp.compile(model, inputs(20, 70), inputs(33, 70), **INT8)


@HERE
def test_layers_become_int8_and_say_how_wrong_they_are(model: nn.Module, int8: spcomp.CompiledModule) -> None:
    explanation = int8.explain()
    for d in explanation.decisions:
        assert d.encoding.startswith("int8 quad(rows=")
        assert d.quantize == "int8"
        assert 1e-4 < d.error <= d.error_limit < 1
    for line in (f"{layer}: int8 weights and inputs, error " for layer in ("0", "2", "4")):
        assert line in str(explanation)
    assert all(call.quantize == "int8" for call in int8.plan.calls)
    for m in (1, 5, 40):
        x = inputs(m, 70)
        with torch.no_grad():
            gap = (int8(x) - model(x)).abs().max() / model(x).abs().max()
        assert 1e-5 < gap < 0.1
    assert int8.nbytes < 0.6 * int8.dense_nbytes, "the weight itself is not kept"


@HERE
@pytest.mark.parametrize("name", ["fours", "nm"])
def test_other_encodings_serve_few_rows_and_many(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Tuner.time
    slower = 100.0  # what is not in int8, of which nm has kernels too

    def time(tuner: Tuner, work: Work, **options: Any) -> dict[str, float]:
        found = real(tuner, work, **options)
        return {kernel: s if "int8" in kernel else slower * s for kernel, s in found.items()}

    monkeypatch.setattr(Tuner, "time", time)
    torch.manual_seed(4)
    model = nn.Linear(72, 40).eval()
    groups = torch.rand(40, 18, 4).argsort(2).argsort(2)
    model.weight.data *= (groups < 2).reshape(40, 72)
    compiled = spcomp.compile(model, inputs(20, 72), inputs(130, 72), **{**INT8, "encodings": [name]})
    (decision,) = compiled.explain().decisions
    assert decision.encoding.startswith(f"int8 {name}(")
    assert 1e-4 < decision.error <= decision.error_limit < 1
    for m in (1, 5, 40, 130):
        x = inputs(m, 72)
        with torch.no_grad():
            assert (compiled(x) - model(x)).abs().max() < 0.03 * model(x).abs().max()
    assert compiled.verify(inputs(20, 72)).ok


@HERE
def test_verify_holds_int8_layers_to_their_bound(model: nn.Module, int8: spcomp.CompiledModule) -> None:
    found = int8.verify(inputs(20, 70))
    assert found.ok, str(found)
    for check in found.layers:
        assert check.kernel.startswith("mlir_cpu int8 quad")
        assert 1e-2 < check.limit < 1
        assert check.error < check.limit
    x = inputs(20, 70)
    x[3, 5] = torch.inf
    assert all(c.ok for c in int8.verify(x).layers[:1]), "a token that is not finite compares with nothing"


def test_nothing_is_lossy_unless_asked(model: nn.Module) -> None:
    compiled = spcomp.compile(model, inputs(20, 70), **QUICK)
    assert not any(call.quantize or "int8" in call.backend for call in compiled.plan.calls)
    assert not any(d.quantize or d.error_limit for d in compiled.explain().decisions)
    assert "quantize" not in compiled.plan.to_json()
    agrees(compiled, model, inputs(20, 70))


@HERE
def test_weights_that_cannot_be_rounded_stay() -> None:
    layer = nn.Linear(64, 48).eval()
    layer.weight.data[layer.weight > -0.05] = 0.0
    layer.weight.data[3, 5] = torch.inf
    compiled = spcomp.compile(layer, inputs(20, 64), **{**QUICK, "quantize": "int8"})
    (decision,) = compiled.explain().decisions
    assert not decision.quantize
    assert "stays in floating point: the weight has Inf or NaN" in decision.reason


@HERE
def test_excluded_layers_are_not_rounded(model: nn.Module) -> None:
    compiled = spcomp.compile(model, inputs(20, 70), **{**INT8, "policy": "auto", "exclude": "2"})
    assert not compiled.explain().decisions[1].quantize


@HERE
def test_state_is_what_the_rounded_weights_stand_for(model: nn.Module, int8: spcomp.CompiledModule) -> None:
    state, wanted = int8.state_dict(), model.state_dict()
    assert state.keys() == wanted.keys()
    for name, tensor in state.items():
        step = wanted[name].abs().amax(-1, keepdim=True) / 127 if name.endswith("weight") else 0.0
        assert ((tensor - wanted[name]).abs() <= 0.51 * step).all()
        assert (tensor[wanted[name] == 0] == 0).all()


@HERE
def test_an_artifact_comes_back_bit_for_bit(int8: spcomp.CompiledModule, tmp_path: Path) -> None:
    again = spcomp.load(int8.save(tmp_path / "model"))
    assert again.plan.to_json() == int8.plan.to_json()
    assert [d.to_dict() for d in again.explain().decisions] == [d.to_dict() for d in int8.explain().decisions]
    for m in (1, 20, 130):
        assert torch.equal(again(inputs(m, 70)), int8(inputs(m, 70)))
    assert again.verify(inputs(20, 70)).ok


@HERE
def test_scales_of_another_shape_are_refused(int8: spcomp.CompiledModule, tmp_path: Path) -> None:
    from spcomp.artifact import save

    parts = spcomp.load(int8.save(tmp_path / "model")).parts
    first = parts.slots[0]
    assert first.int8_scale is not None
    parts.slots = (replace(first, int8_scale=first.int8_scale[:-1].clone()), *parts.slots[1:])
    save(parts, tmp_path / "short")
    with pytest.raises(ArtifactError, match=r"int8 scales of shape \(47,\)"):
        spcomp.load(tmp_path / "short")
    parts.slots = (replace(first, int8_scale=None), *parts.slots[1:])
    save(parts, tmp_path / "none")
    with pytest.raises(ArtifactError, match="a packed weight that is not"):
        spcomp.load(tmp_path / "none")


@HERE
def test_new_weights_are_rounded_anew(model: nn.Module) -> None:
    compiled = spcomp.compile(model, inputs(20, 70), **INT8)
    torch.manual_seed(8)
    other = mlp(70, 48, 40, 10, activation=nn.GELU, sparsity=0.5)
    compiled.update_weights(other)
    assert all(d.quantize for d in compiled.explain().decisions)
    assert compiled.verify(inputs(20, 70)).ok


@HERE
def test_a_cpu_without_vnni_stays_in_floating_point(int8: spcomp.CompiledModule, tmp_path: Path) -> None:
    int8.save(tmp_path / "model")
    code = (
        "import sys, torch, spcomp; torch.set_num_threads(1)\n"
        "from tests.test_int8_compile import INT8, inputs, mlp\n"
        "m = mlp(70, 48, 10, sparsity=0.7); o = {**INT8, 'policy': 'auto', 'encodings': None}\n"
        "c = spcomp.compile(m, inputs(20, 70), **o); d = c.explain().decisions[0]\n"
        "assert not d.quantize and 'no int8 kernels here, they need AVX-512 VNNI' in d.reason, d\n"
        "assert torch.allclose(c(inputs(20, 70)), m(inputs(20, 70)), atol=1e-5)\n"
        "load = spcomp.load(sys.argv[1], guard=False); assert not any(x.quantize for x in load.plan.calls)\n"
        "print(load.parts.notes, float(load(inputs(20, 70)).abs().sum()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, MASKED_FEATURES: "avx512_vnni", "SPCOMP_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "tuned again" in run.stdout


@HERE
def test_a_wrong_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    from spcomp.codegen.mlir_cpu.int8 import QuadKernel

    right = QuadKernel.__call__
    monkeypatch.setattr(QuadKernel, "__call__", lambda self, x: right(self, x) * 1.001)
    weight = fitting(Quad(), 24, 40)
    call, packed, scale = call8(Quad(1), weight, schedule=(("tiles", 1),))
    site = Site(0, "layer", weight, None, Epilogue(), measure(weight), "weight", None, [RowRange(5, 5)])
    found = check_int8(site, [(RowRange(5, 5), BACKEND.build(call, packed, None, scale))])
    assert "the int8 kernel is 1" in found.wrong
    with pytest.raises(PolicyError, match="from what it means"):
        spcomp.compile(model, inputs(20, 70), **INT8)


@pytest.mark.parametrize("asked", ["int4", "", True, "INT8"])
def test_other_quantisations_are_refused(asked: Any) -> None:
    with pytest.raises(InputError, match=rf"quantise: quantize={asked!r}\. Try: quantize='int8', or None"):
        spcomp.compile(nn.Linear(4, 4), torch.zeros(1, 4), quantize=asked)


def test_options_round_trip() -> None:
    for asked in (None, "int8"):
        options = Options(quantize=asked)
        assert Options.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    old = {k: v for k, v in Options().to_dict().items() if k != "quantize"}
    assert Options.from_dict(old).quantize is None


def test_plans_know_quantised_calls() -> None:
    call, *_ = call8(Quad(), fitting(Quad(), 8, 12))
    assert (call.key.dtype, call.weight_dtype, call.dtype) == ("int8", "int8", "float32")
    assert call.key.target == host_cpu().target
    plan = KernelPlan((call,))
    assert KernelPlan.from_json(plan.to_json()) == plan
    with pytest.raises(PlanError, match="quantize is 'int4'"):
        KernelCall.from_dict({**call.to_dict(), "quantize": "int4"})


@HERE
def test_the_command_line_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models_int8.py").write_text(
        "import torch\ndef made():\n    torch.manual_seed(0)\n    m = torch.nn.Linear(64, 96)\n"
        "    m.weight.data *= torch.rand_like(m.weight) > 0.5\n    return m, torch.randn(8, 64)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ("--engine", "eager", "--policy", "force", "--encodings", "quad", "--quantize")
    run = CliRunner().invoke(app, ["compile", "models_int8:made", *options, "int8", "--out", "model.spc"])
    assert run.exit_code == 0, run.stderr
    assert "int8 weights and inputs, error" in " ".join(run.stdout.split())
    run = CliRunner().invoke(app, ["compile", "models_int8:made", *options, "int4"])
    assert run.exit_code == 2
    assert "quantise: quantize='int4'" in " ".join(run.stderr.split())
