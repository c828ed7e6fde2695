"""2:4 either way: results written as y or as y.T, and weights that a model has as [K, N]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import spcomp
from spcomp.codegen.cusparselt import linear as cusparselt
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.table import BACKENDS
from spcomp.encodings.nm import Nm
from spcomp.plan import Epilogue
from spcomp.tolerance import TOLERANCES
from tests.cusparselt_fake import CPU, Fake
from tests.device_cases import Table, fake
from tests.kernels import call_of, fitting, inputs, relative


@pytest.mark.parametrize("faster", [True, False])
def test_both_orientations_are_tried_and_the_faster_remembered(
    faster: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turning y.T counts; results are y either way; and the next process tries neither."""
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    weight, x = fitting(Nm(2, 4), 40, 64, dtype="float16"), inputs(10, 64, dtype="float16")
    call, _ = call_of(Nm(2, 4), weight, epilogue=Epilogue(bias=True), schedule=(("library", 0),))
    bias = inputs(40, dtype="float16", seed=3)
    for known in (False, True):
        cusparselt._remembered.clear()
        fake = Fake(faster=faster)
        kernel = CuSparseLtLinear(call, weight, bias, fake.operators())
        assert kernel.search(10) == ((7, 2, 1, 1) if faster else (3, 1, -1, 0))
        assert bool(fake.searches) != known
        y = kernel(x)
        assert y.shape == (10, 40)
        assert y.is_contiguous()
        assert relative(y, reference(x, weight, bias, "none")) <= TOLERANCES["float16"]
        assert [s["transpose_result"] for s in fake.seen] == [faster]
        assert fake.seen[0]["alg_id"] == (7 if faster else 3)
    cusparselt._remembered.clear()


def test_a_library_that_writes_one_orientation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    fake = Fake(faster=False, refuses=True)
    call, _ = call_of(Nm(2, 4), weight := fitting(Nm(2, 4), 48, 64, dtype="float16"), schedule=(("library", 0),))
    assert CuSparseLtLinear(call, weight, None, fake.operators()).search(8) == (7, 2, 1, 1)
    cusparselt._remembered.clear()


class Faked(CuSparseLt):
    """The backend on a CPU, with operators that are none."""

    def unavailable(self) -> str | None:
        return None

    def build(self, call: Any, packed: Any, bias: torch.Tensor | None, scale: torch.Tensor | None = None) -> Any:
        return self.kernel_of(call, packed, bias, CPU)


class Turned(nn.Module):
    """As GPT-2 has its layers: the weight is [K, N]."""

    def __init__(self, along: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(32))
        weight = torch.randn(64, 32)  # [K, N]
        order = weight.unflatten(along, (-1, 4)).abs().argsort(along + 1).argsort(along + 1).flatten(along, along + 1)
        self.weight = nn.Parameter(weight * (order < 2))
        self.eval().half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addmm(self.bias, x.view(-1, 64), self.weight).view(*x.shape[:-1], 32)


@pytest.mark.parametrize("along", [0, 1])
def test_weights_that_are_turned(along: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[K, N] that is 2:4 along K is found and served; along N it is not sparse tensor cores' to multiply."""
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    monkeypatch.setitem(BACKENDS, "cusparselt", Faked(operators=Fake().operators()))
    table = Table({"": 90e-6, "dense.": 80e-6, "cusparselt": 20e-6})
    model, x = Turned(along), torch.randn(2, 8, 64).half()
    ours = spcomp.compile(model, x, target=lambda _name, _where: fake(table), engine="eager", guard=False,
                          cache_dir=tmp_path)  # fmt: skip
    (decision,) = ours.explain().decisions
    assert decision.sparse == (along == 0)
    assert (decision.encoding == "nm(n=2, m=4)") == (along == 0)
    assert ("2:4 along N: sparse tensor cores multiply" in decision.reason) == (along == 1)
    with torch.no_grad():
        assert relative(ours(x), model(x).double()) <= 4e-3
    cusparselt._remembered.clear()
