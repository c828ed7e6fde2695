"""What compile() decides when told to, and how it explains itself: policy, globs, budget, guard, reports, files."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp import build
from spcomp.compiled import CompiledModule
from spcomp.errors import CaptureError, PolicyError, WeightError
from spcomp.plan import KernelPlan, RowRange
from spcomp.report.explain import COLUMNS
from tests.models import mlp, prune

QUICK: dict[str, Any] = {"engine": "eager", "guard": False}
FORCE: dict[str, Any] = {**QUICK, "policy": "force", "encodings": ["csr"]}


def encodings_of(compiled: CompiledModule) -> dict[str, str]:
    return {d.layer: d.encoding.partition("(")[0] for d in compiled.explain().decisions}


@pytest.fixture(scope="session")
def large() -> tuple[nn.Module, CompiledModule]:
    """Layers big enough that bytes count, 90 % zeros, one row."""
    torch.manual_seed(2)
    model = mlp(512, 512, 256)
    return model, spcomp.compile(model, torch.randn(1, 512), **FORCE)


# --- policy -----------------------------------------------------------------------------------------------------------


def test_off_is_dense() -> None:
    model = mlp(64, 32, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), policy="off", engine="eager")
    assert encodings_of(compiled) == {"0": "dense", "2": "dense"}
    assert torch.allclose(compiled(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)
    assert not any(c.backend == "mlir_cpu" for c in compiled.plan.calls)
    assert all(d.reason.endswith("policy, include or exclude keeps it dense") for d in compiled.explain().decisions)


def test_auto_keeps_a_dense_weight_dense_and_says_why() -> None:
    model = mlp(64, 8, sparsity=0.0)
    decision = spcomp.compile(model, torch.randn(3, 64), **QUICK).explain().decisions[0]
    assert not decision.sparse
    assert decision.reason == "no sparse encoding fits this weight"
    assert decision.zeros == 0
    assert decision.pattern == "dense"


def test_force_names_layer_value_and_reason() -> None:
    model = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8))
    with pytest.raises(
        PolicyError,
        match=r"compile 0 sparse \(policy='force'\): 0.0% zeros; no sparse encoding fits this weight. Try: pruning",
    ):
        spcomp.compile(model.eval(), torch.randn(3, 64), **FORCE)
    with pytest.raises(WeightError, match=r"no layer with a constant weight. Try: policy='auto'"):
        spcomp.compile(nn.Conv2d(2, 2, 1, groups=2).eval(), torch.randn(1, 2, 4, 4), **FORCE)


def test_force_keeps_the_budget() -> None:
    with pytest.raises(
        PolicyError,
        match=r"compile 0 sparse.*90.\d% zeros; csr\(block_columns=\d+\) needs \d+ B, more than 0.01 x dense",
    ):
        spcomp.compile(mlp(64, 64), torch.randn(3, 64), **FORCE, memory_budget=0.01)


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Force raises with error and bound; auto takes the dense program and says so."""
    real = build.check

    def check(site: Any, kernels: Any) -> float:
        return 0.5 if any(k.call.backend == "mlir_cpu" for _, k in kernels) else real(site, kernels)

    monkeypatch.setattr(build, "check", check)
    model = mlp(64, 8)
    with pytest.raises(
        PolicyError, match=r"compile 0 sparse \(policy='force'\): an error of 5.0e-01, the bound is 1e-05"
    ):
        spcomp.compile(model, torch.randn(3, 64), **FORCE)
    forced_choice = spcomp.passes.tune.choose  # type: ignore[attr-defined]
    monkeypatch.setattr("spcomp.passes.tune.choose", lambda *a, **k: forced_choice(*a, **{**k, "force": True}))
    compiled = spcomp.compile(model, torch.randn(3, 64), **QUICK, encodings=["csr"])
    (decision,) = compiled.explain().decisions
    assert not decision.sparse
    assert decision.reason == "the sparse kernel's error 5.0e-01 exceeds 1e-05"
    assert torch.allclose(compiled(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)


def test_include_exclude_and_encodings() -> None:
    model = mlp(64, 48, 32, 16)
    x = torch.randn(3, 64)
    assert encodings_of(spcomp.compile(model, x, **FORCE, include=["0", "2"], exclude=["2"])) == {
        "0": "csr", "2": "dense", "4": "dense",
    }  # fmt: skip
    assert encodings_of(spcomp.compile(model, x, **FORCE, include="4")) == {"0": "dense", "2": "dense", "4": "csr"}
    blocks = spcomp.compile(model, x, **{**FORCE, "encodings": "nm", "memory_budget": 9.0})
    assert set(encodings_of(blocks).values()) == {"nm"}
    assert {c.encoding.name for c in blocks.plan.calls} == {"nm"}


# --- guard ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "kept"), [(1.5, True), (0.5, False)])
def test_the_guard_hands_out_the_faster(monkeypatch: pytest.MonkeyPatch, speed: float, kept: bool) -> None:
    forced_choice = spcomp.passes.tune.choose  # type: ignore[attr-defined]
    monkeypatch.setattr("spcomp.passes.tune.choose", lambda *a, **k: forced_choice(*a, **{**k, "force": True}))
    monkeypatch.setattr("spcomp.guard.slowest_speedup", lambda *_: (speed, [speed]))
    model = mlp(64, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), engine="eager", encodings=["csr"])
    (decision,) = compiled.explain().decisions
    assert decision.sparse == kept
    assert compiled.parts.notes[0].startswith(f"guard: {speed:.2f}x" if kept else "guard: sparse was 0.50x of dense")
    if not kept:
        assert decision.reason == "the whole model was not faster sparse"
    assert torch.allclose(compiled(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)


def test_the_guard_measures_without_touching_buffers() -> None:
    from tests.models import Counter

    model = prune(Counter())
    compiled = spcomp.compile(model, torch.randn(3, 32), engine="eager", memory_budget=9.0)
    assert int(compiled(torch.randn(3, 32))[1]) == 1


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_has_everything_that_was_promised(large: tuple[nn.Module, CompiledModule]) -> None:
    model, compiled = large
    found = compiled.explain()
    data = found.to_dict()
    assert json.loads(json.dumps(data)) == json.loads(json.dumps(data))
    assert data["plan"] == compiled.plan.digest
    assert data["engines"] == ["eager: asked for"]
    first = data["layers"][0]
    assert (first["layer"], first["n"], first["k"], first["dtype"]) == ("0", 512, 512, "float32")
    assert first["zeros"] == pytest.approx(0.9, abs=0.01)
    assert first["pattern"] == "unstructured 90%"
    assert first["encoding"].startswith("csr(")
    assert "of best dense on average over M = 1" in first["reason"]
    assert 0 < first["nbytes"] < first["dense_nbytes"] == 512 * 512 * 4
    assert first["error"] < 1e-5
    (rows,) = first["ranges"]
    assert rows["rows"] == "0+"
    assert rows["at_rows"] == 1
    assert rows["runner_up"].endswith(" us)")
    assert rows["kernel"].startswith("mlir_cpu csr")
    assert min(rows["measured_us"], rows["predicted_us"], rows["dense_us"]) > 0
    text = str(found)
    for word in (*COLUMNS, "unstructured 90%", "runner-up", "2 of 2 layers sparse", found.digest, "512 x 512"):
        assert word in text, word
    assert str(found) == text
    assert all(c.digest == found.digest for c in [compiled.plan, KernelPlan.from_json(compiled.plan.to_json())])
    assert model is not None


def test_explain_as_html_escapes_names() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("<script>", nn.Linear(64, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return getattr(self, "<script>")(x)  # type: ignore[no-any-return]

    compiled = spcomp.compile(prune(Odd()), torch.randn(3, 64), **FORCE)
    page = compiled._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<tr>") == 2
    assert all(f"<th>{c}</th>" in page for c in COLUMNS)


def test_bytes(large: tuple[nn.Module, CompiledModule]) -> None:
    model, compiled = large
    dense = sum(p.nbytes for p in model.parameters())
    assert compiled.dense_nbytes == dense
    assert compiled.nbytes <= 0.2 * dense
    packed = sum(p.nbytes for r in compiled.parts.slots for p in r.packed)
    assert packed <= compiled.nbytes
    assert repr(compiled) == f"CompiledModule(2 of 2 layers sparse, {compiled.nbytes / 1e6:.1f} MB)"


def test_the_plan_names_every_call(large: tuple[nn.Module, CompiledModule]) -> None:
    _, compiled = large
    first, second = compiled.plan.calls
    assert (first.layer, first.slot, first.rows, first.n, first.k) == ("0", 0, RowRange(0, None), 512, 512)
    assert first.epilogue.activation == "relu"
    assert second.epilogue.activation == "none"
    assert first.packed == compiled.parts.slots[0].packed[0].digest
    assert first.weight_nbytes == compiled.parts.slots[0].packed[0].nbytes
    assert first.nonzeros == compiled.parts.slots[0].packed[0].nonzeros


def test_debug_dir_has_graphs_and_sources(tmp_path: Path) -> None:
    spcomp.compile(mlp(64, 48, 8), torch.randn(3, 64), **FORCE, debug_dir=tmp_path / "new" / "dump")
    names = sorted(p.name for p in (tmp_path / "new" / "dump").glob("*.py"))
    assert names == [
        "00-flatten.py",
        "01-canonicalize.py",
        "02-split-experts.py",
        "03-eliminate-dead.py",
        "04-permute-hidden.py",
        "05-permute-channels.py",
        "06-infer-sparsity.py",
        "07-collect.py",
        "08-find-tables.py",
        "09-infer-activations.py",
        "10-lower.py",
    ]
    lowered = (tmp_path / "new" / "dump" / "10-lower.py").read_text()
    assert lowered.count("torch.ops.spcomp.linear_v1") == 2
    sources = list((tmp_path / "new" / "dump" / "kernels").glob("*.mlir"))
    assert {p.name.split("-")[0] for p in sources} == {"0", "2"}
    assert all("func.func @_mlir_csr" in p.read_text() for p in sources)


# --- the surroundings -------------------------------------------------------------------------------------------------


def test_quiet_by_default(tmp_path: Path) -> None:
    code = (
        "import torch, spcomp; from tests.models import mlp; torch.set_num_threads(1)\n"
        "c = spcomp.compile(mlp(64, 8), torch.randn(3, 64), engine='eager'); "
        "c(torch.randn(3, 64)); c.verify(torch.randn(3, 64))"
    )
    root = Path(__file__).parent.parent
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_progress_says_every_step(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    spcomp.compile(mlp(64, 8), torch.randn(3, 64), progress=lines.append, **FORCE)
    assert lines == ["analysing program 1 of 1", "planning 0", "compiling the rest of program 1 of 1"]
    with caplog.at_level(logging.INFO, "spcomp"):
        spcomp.compile(mlp(64, 8), torch.randn(3, 64), **FORCE)
    assert "planning 0" in caplog.text


def test_without_a_compiler_it_runs_eagerly_and_says_so() -> None:
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        _without_a_compiler()


def _without_a_compiler() -> None:
    from spcomp.codegen import inductor

    reason = inductor.unavailable()
    assert reason is not None
    assert reason.startswith("no C++ compiler")
    assert "no-such-compiler" in reason
    model = mlp(64, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), **{**FORCE, "engine": "auto"})
    assert compiled.explain().engines == (f"eager: {reason}",)
    assert "no C++ compiler" in str(compiled.explain())
    assert torch.allclose(compiled(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)
    with pytest.raises(
        CaptureError, match=r"with Inductor: no C\+\+ compiler.*Try: engine='auto', which falls back to eager"
    ):
        spcomp.compile(model, torch.randn(3, 64), **{**FORCE, "engine": "inductor"})


def test_what_inductor_refuses_runs_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot lower this\nand more")

    monkeypatch.setattr("spcomp.codegen.inductor.compile_graph", refuse)
    compiled = spcomp.compile(mlp(64, 8), torch.randn(3, 64), **{**FORCE, "engine": "auto"})
    (engine,) = compiled.explain().engines
    assert engine.startswith("eager: ")
    assert "cannot lower this" in engine or "no C++ compiler" in engine
    assert "and more" not in engine


def test_without_torch_mlir_every_layer_is_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    from spcomp.codegen.mlir_cpu import jit

    monkeypatch.setattr(jit, "available", lambda: "torch-mlir cannot be imported (for a test)")
    model = mlp(64, 8)
    compiled = spcomp.compile(model, torch.randn(3, 64), **QUICK)
    assert encodings_of(compiled) == {"0": "dense"}
    assert (
        compiled.explain().decisions[0].reason == "no sparse kernels here: torch-mlir cannot be imported (for a test)"
    )
    assert torch.allclose(compiled(torch.ones(3, 64)), model(torch.ones(3, 64)), atol=1e-5)
