"""Convolutions in int8: oneDNN's, what is offered and counted, and whole models from compiling to loading."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import spcomp
from spcomp.check import check_int8
from spcomp.codegen.dense import best_dense
from spcomp.codegen.mlir_cpu.conv8 import Conv8Kernel
from spcomp.conv_shape import ConvShape
from spcomp.cost.cycles import rounded, work_of
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.fours import Fours
from spcomp.passes.base import Site
from spcomp.passes.worth import int8_encodings_for
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure
from spcomp.targets.host import host_cpu
from spcomp.tolerance import TOLERANCES
from tests.kernels import BACKEND, fitting, relative
from tests.test_conv import network, planes_of, vectors
from tests.test_conv_int8 import HERE, SHAPE, call8, kernel_of, meant
from tests.test_int8 import quantised

INT8: dict[str, Any] = {
    "engine": "eager", "guard": False, "policy": "force", "encodings": ["fours"], "memory_budget": 99.0,
    "quantize": "int8",
}  # fmt: skip


@HERE
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "shape", [SHAPE, ConvShape(1, 20, 1, 30, (1, 3), (1, 2), (0, 1)), ConvShape(2, 7, 5, 5, (1, 1))], ids=str
)
def test_the_dense_member_is_the_reference(shape: ConvShape, dtype: str) -> None:
    epilogue = Epilogue(True, "relu", True, True)
    weight = fitting(Csr(64), 21, shape.k, density=0.9, dtype=dtype)
    bias, norm = vectors(21, epilogue, dtype)
    call = replace(call8(shape, weight, epilogue, 2, 64), encoding=Dense(), backend="dense", schedule=())
    best = best_dense(call, weight, bias, [2 * shape.pixels], norm)
    if "int8" not in best.names(2 * shape.pixels):
        pytest.skip("oneDNN's int8 does not work here")
    x, other = planes_of(shape, 2, dtype), planes_of(shape, 2, dtype, 21, seed=2)
    y = best.member("int8")(x, other)
    exact = meant(shape, weight, epilogue, bias, norm, x, other)
    assert y.is_contiguous()
    assert relative(y, exact) <= (1e-6 if dtype == "float32" else TOLERANCES[dtype])
    assert best.member("int8")(x[:0], other[:0]).shape == (0, *shape.size(21))
    assert "int8" not in best_dense(replace(call, quantize=""), weight, bias, [shape.pixels], norm).names(shape.pixels)


def test_what_is_worth_a_thought_for_a_convolution() -> None:
    few = int8_encodings_for(measure(quantised(fitting(Csr(64), 64, SHAPE.k, density=0.1)).values), SHAPE)
    assert few == [Fours(64, 60), Fours(128, 60), Fours(256, 60)]
    pointwise = ConvShape(2, 64, 9, 9, (1, 1))
    assert int8_encodings_for(measure(torch.eye(64, dtype=torch.int8)), pointwise)[0] == Fours(64)
    assert int8_encodings_for(measure(torch.ones(8, 60, dtype=torch.int8)), SHAPE) == []


def test_the_cost_model_counts_what_an_image_costs() -> None:
    weight = fitting(Csr(64), 64, SHAPE.k, density=0.1)
    call = call8(SHAPE, weight, Epilogue(), 1, 64)
    call = replace(call, stored=64 * 40)
    assert work_of(call, 198, 48 << 10).cycles == pytest.approx(2 * work_of(call, 99, 48 << 10).cycles, rel=0.1)
    assert rounded(call, 2 * SHAPE.pixels) == 2 * SHAPE.inputs / 16 * 4


@HERE
def test_a_network_in_int8(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = network()
    examples = [torch.randn(2, 8, 9, 9), torch.randn(3, 8, 9, 9)]
    compiled = spcomp.compile(model, *examples, **INT8)
    decisions = {d.layer: d for d in compiled.explain().decisions}
    assert len(decisions) == 4
    for d in decisions.values():
        assert d.quantize == "int8"
        assert d.encoding.startswith("int8 fours(width=")
        assert 1e-4 < d.error <= d.error_limit < 1.5
    assert ", run=" in decisions["0.b"].encoding
    assert "int8 weights and inputs, error" in str(compiled.explain())
    loaded = spcomp.load(compiled.save(tmp_path / "m"), engine="eager")
    assert loaded.plan.to_json() == compiled.plan.to_json()
    for batch in (1, 2, 5):
        x = torch.randn(batch, 8, 9, 9)
        with torch.no_grad():
            assert 1e-5 < relative(compiled(x), model(x).double()) < 0.1
        assert torch.equal(loaded(x), compiled(x))
    x = examples[0].clone()
    found = compiled.verify(x)
    assert found.ok, str(found)
    x[1, 2, 3, 4] = torch.nan
    assert all(c.ok for c in compiled.verify(x).layers[:1]), "an image that is not finite compares with nothing"
    state, own = compiled.state_dict(), model.state_dict()
    assert set(state) == set(own)
    for name, tensor in state.items():
        step = own[name].abs().flatten(1).amax(1).reshape(-1, 1, 1, 1) / 127 if own[name].dim() == 4 else 0.02
        assert ((tensor - own[name]).abs() <= 0.51 * step).all(), name
    torch.manual_seed(3)
    other = network()
    with torch.no_grad():
        assert relative(compiled.update_weights(other)(examples[0]), other(examples[0]).double()) < 0.1


@HERE
def test_a_faster_floating_point_kernel_is_kept_and_said() -> None:
    """One pixel of a few channels: int8 cannot pay for rounding; nothing is lossy unless asked."""
    torch.manual_seed(4)
    model, x = network(), torch.randn(2, 8, 9, 9)
    plain = spcomp.compile(model, x, **{**INT8, "quantize": None, "policy": "auto"})
    assert not any(d.quantize for d in plain.explain().decisions)
    asked = spcomp.compile(model, x, **{**INT8, "policy": "auto", "encodings": None, "exclude": "0.b"})
    for d in asked.explain().decisions:
        assert d.quantize or "stays in floating point" in d.reason or d.layer == "0.b", d.reason


@HERE
def test_a_wrong_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Conv8Kernel.__call__
    monkeypatch.setattr(Conv8Kernel, "__call__", lambda self, *x: right(self, *x) * 1.001)
    weight = fitting(Csr(64), 24, SHAPE.k)
    rows = RowRange(SHAPE.pixels, SHAPE.pixels)
    site = Site(0, "layer", weight, None, Epilogue(), measure(weight), "weight", None, [rows], conv=SHAPE)
    found = check_int8(site, [(rows, kernel_of(SHAPE, weight, Epilogue()))])
    assert "the int8 kernel is 1" in found.wrong


@pytest.mark.parametrize(("hidden", "there"), [("avx512_vnni", False), ("avx512vbmi", False), ("avx512_vbmi2", True)])
def test_which_cpus_are_offered_them(hidden: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    have = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512vbmi", "avx512_vbmi2")
    host = replace(host_cpu(), features=tuple(f for f in have if f != hidden))
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.backend.host_cpu", lambda: host)
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.jit.available", lambda: None)
    assert any((k.op, k.encoding, k.dtype) == ("conv", "fours", "int8") for k in BACKEND.capabilities()) == there


@HERE
def test_without_such_kernels_layers_stay_in_floating_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model, x = network(), torch.randn(2, 8, 9, 9)
    saved = spcomp.compile(model, x, **INT8).save(tmp_path / "model")
    every = type(BACKEND).capabilities
    monkeypatch.setattr(type(BACKEND), "capabilities", lambda self: {k for k in every(self) if k.op != "conv"})
    compiled = spcomp.compile(model, x, **{**INT8, "policy": "auto", "encodings": ["csr"]})
    decision = compiled.explain().decisions[0]
    assert not decision.quantize
    assert "no int8 kernels here, they need AVX-512 VNNI and VBMI" in decision.reason
    with torch.no_grad():
        assert relative(compiled(x), model(x).double()) < 1e-5
    loaded = spcomp.load(saved, guard=False)
    assert not any(c.quantize for c in loaded.plan.calls if c.conv is not None)
    assert "tuned again" in str(loaded.parts.notes)
