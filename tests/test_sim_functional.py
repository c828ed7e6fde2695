"""What machines compute: every encoding that each accepts, against the reference; whole models; errors."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

import spcomp
from spcomp.check import relative_error
from spcomp.codegen.reference.backend import linear
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Encoding
from spcomp.encodings.table import parse_encoding
from spcomp.errors import InputError, PlanError
from spcomp.plan import Epilogue, KernelCall, KernelPlan, RowRange
from spcomp.report.functional import EQUAL
from spcomp.sim.functional import Executed, execute
from spcomp.sim.machines import MACHINES, load_machine, override
from spcomp.sim.workload import Step, layer_step
from spcomp.sparsity.measure import measure
from tests.compiling import QUICK, SPARSE
from tests.models import prune
from tests.simulated import pruned_2_4, sparse, transformer
from tests.test_sim_machines import EXAMPLES

SKIPS_INPUTS = ("dual_side_sparse",)
ODD = (-0.0, float("inf"), float("nan"), 1e-40)


def accepted(name: str) -> list[Encoding]:
    machine = load_machine(name)
    texts = [text if "(" in text else EXAMPLES[text] for text in machine.encodings.runs]
    return [parse_encoding(text) for text in texts]


PAIRS = [(name, encoding) for name in MACHINES for encoding in accepted(name)]


def weights(encoding: Encoding, n: int, k: int, share: float, seed: int, dtype: torch.dtype) -> torch.Tensor:
    g = np.random.default_rng(seed)
    found = np.where(g.random((n, k)) < share, g.standard_normal((n, k)), 0.0)
    if isinstance(encoding, Nm):
        found[:, np.arange(k) % encoding.m >= encoding.n] = 0.0
    for value in ODD if share > 0.4 else ():
        found[g.integers(n), (g.integers(k) // 8) * 8] = value
    return torch.from_numpy(found).to(dtype)


def step_of(weight: torch.Tensor, encoding: Encoding, m: int) -> Step:
    n, k = weight.shape
    packed = pack(weight, encoding, measure(weight))
    dtype = str(weight.dtype)[6:]
    nonzeros = int(((weight != 0) | torch.signbit(weight)).sum())
    call = KernelCall(
        "fc", 0, RowRange(1, None), n, k, dtype, encoding, nonzeros, nonzeros, packed.nbytes, "w", Epilogue(), "", ""
    )
    return layer_step(call, m, "x", "y", dict(packed.arrays()))


@pytest.mark.parametrize(("name", "encoding"), PAIRS, ids=lambda v: str(v))
@settings(max_examples=6, deadline=None)
@given(
    size=some.tuples(some.integers(1, 70), some.integers(8, 100), some.integers(1, 70)),
    share=some.sampled_from([0.0, 0.1, 0.5, 1.0]),
    dtype=some.sampled_from([torch.float32, torch.bfloat16]),
)
def test_outputs_are_the_reference_and_products_the_nonzeros(
    name: str, encoding: Encoding, size: tuple[int, int, int], share: float, dtype: torch.dtype
) -> None:
    n, k, m = size
    weight = weights(encoding, n, k, share, n * k + m, dtype)
    step = step_of(weight, encoding, m)
    g = np.random.default_rng(m)
    x = g.standard_normal((m, k)) * (g.random((m, k)) < 0.7)
    if name not in SKIPS_INPUTS:  # zeros of inputs are skipped there, whatever the weight
        x[g.integers(m), g.integers(k)] = float("inf")
    else:
        x = np.where(x == 0, 0.5, x) if not torch.isfinite(weight).all() else x
    done = execute(load_machine(name), step, x)
    wanted = linear(torch.from_numpy(x), weight, None, "none")
    assert relative_error(torch.from_numpy(np.ascontiguousarray(done.output)), wanted) <= EQUAL
    nonzero = ((weight != 0) | torch.signbit(weight)).numpy()
    products = m * int(nonzero.sum())
    if name in SKIPS_INPUTS:
        products = int(nonzero.sum(0) @ (x != 0).sum(0))
    assert done.macs == products


def test_a_wrong_position_shows() -> None:
    """The check would see one: a column moved by one in the packed bytes."""
    weight = weights(Dense(), 16, 32, 0.3, 1, torch.float32)
    step = step_of(weight, parse_encoding("csr"), 8)
    columns = step.packed["columns"].copy()
    columns[0] += 1 if columns[0] < 31 else -1
    moved = dataclasses.replace(step, packed={**step.packed, "columns": columns})
    x = np.random.default_rng(0).standard_normal((8, 32))
    machine = load_machine("cached_cpu")
    right, wrong = (torch.from_numpy(execute(machine, s, x).output.copy()) for s in (step, moved))
    wanted = linear(torch.from_numpy(x), weight, None, "none")
    assert relative_error(right, wanted) <= EQUAL < relative_error(wrong, wanted)


@pytest.mark.parametrize("name", ["stc_2_4", "dual_side_sparse", "systolic_os", "gpu_a100", "cached_cpu"])
def test_whole_models_compute_what_the_model_computes(name: str) -> None:
    model, x, _ = transformer()
    settings_ = {} if name != "cached_cpu" else {"replan": False}
    given_: Any = model if name != "cached_cpu" else spcomp.compile(model, x, policy="off", **QUICK)
    report = spcomp.simulate(given_, name, x, functional=True, **settings_)
    found = report.functional
    assert found is not None
    assert found.equal
    assert len(found.layers) == sum(s.kind == "layer" for s in report.steps)
    (y,) = (v for v in found.outputs if isinstance(v, torch.Tensor))
    with torch.no_grad():
        assert torch.allclose(y, model(x), atol=1e-4)
    nonzeros = sum(int((m.weight != 0).sum()) for m in model.modules() if isinstance(m, nn.Linear))
    assert found.macs == sum(layer.nonzero_macs for layer in found.layers) == nonzeros * x.shape[0] * x.shape[1]
    assert "layers equal to the reference" in str(report)
    assert json.loads(report.to_json())["functional"]["equal"] is True
    assert spcomp.simulate(given_, name, x, **settings_).to_json() != report.to_json()


def test_kernels_of_a_compiled_model_and_activations_between_them() -> None:
    """Sparse layers of the compiler's own plan, ReLU between: the dual-side array sees its zeros."""
    torch.manual_seed(3)
    model = prune(nn.Sequential(nn.Linear(192, 160), nn.ReLU(), nn.Linear(160, 96)), 0.8)
    x = torch.randn(16, 192)
    compiled = spcomp.compile(model, x, **SPARSE | {"encodings": ["sorted_csr"]})
    found = spcomp.simulate(compiled, "cached_cpu", x, functional=True).functional
    assert found is not None
    assert found.equal
    assert torch.allclose(found.outputs[0], compiled(x), atol=1e-4)
    skipping = spcomp.simulate(compiled, "dual_side_sparse", x, functional=True, replan=True).functional
    assert skipping is not None
    assert skipping.equal
    assert skipping.layers[0].macs == skipping.layers[0].nonzero_macs
    assert 0 < skipping.layers[1].macs < skipping.layers[1].nonzero_macs


def test_convolutions() -> None:
    torch.manual_seed(1)
    model = pruned_2_4(nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(12, 5, 1)))
    x = torch.randn(2, 8, 9, 11)
    for name in ("systolic_is", "dense_tc"):
        report = spcomp.simulate(model, name, x, functional=True)
        assert report.functional is not None
        assert report.functional.equal
        assert len(report.functional.layers) == 2
        with torch.no_grad():
            assert torch.allclose(report.functional.outputs[0], model(x), atol=1e-4)


def test_what_cannot_be_computed_says_so() -> None:
    weight = weights(Dense(), 8, 16, 1.0, 0, torch.float32)
    step = step_of(weight, Dense(), 4)
    machine = load_machine("systolic_ws")
    with pytest.raises(InputError, match=r"inputs of shape \(4, 15\)\. Try: a matrix \[m, 16\]"):
        execute(machine, step, np.zeros((4, 15)))
    with pytest.raises(InputError, match="no layer with packed bytes"):
        execute(machine, Step("norm", "norm", (), ()), np.zeros((4, 16)))
    with pytest.raises(PlanError, match="whose loops are not modelled"):
        execute(load_machine("cached_cpu"), step_of(weight, parse_encoding("transposed"), 4), np.zeros((4, 16)))
    with pytest.raises(InputError, match="a plan or a workload, which computes nothing"):
        spcomp.simulate(KernelPlan(()), "systolic_ws", rows=4, functional=True)
    with pytest.raises(InputError, match="no inputs"):
        spcomp.simulate(sparse(), "cached_cpu", functional=True)
    empty: Executed = execute(override(machine, {"clock_mhz": 1}), step, np.zeros((0, 16)))
    assert (empty.output.shape, empty.macs) == ((0, 8), 0)
