"""Zero inputs: measured on the example, offered to the planner, and a kernel that skips them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import spcomp
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.mlir_cpu.skips import SkipKernel
from spcomp.encodings.csr import Csr
from spcomp.plan import KernelPlan, RowRange
from tests.kernels import relative
from tests.test_plan import CALL

needs_kernels = pytest.mark.skipif(
    MlirCpu().unavailable() is not None
    or not any(k.encoding == "transposed" for k in MlirCpu().capabilities()),
    reason="no kernel that skips columns here",
)  # fmt: skip


class Gated(nn.Module):
    """A decoder's feed-forward block: the inputs of ``down`` are mostly zeros, those of ``up`` are not."""

    def __init__(self, shift: float, squared: bool = False) -> None:
        super().__init__()
        self.up, self.down, self.head = nn.Linear(256, 2048), nn.Linear(2048, 256), nn.Linear(256, 8)
        self.squared = squared
        nn.init.constant_(self.up.bias, shift)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.up(x))
        h = h * h if self.squared else h
        return self.head(self.down(h.reshape(1, 2048)))  # type: ignore[no-any-return]


def site_zeros(model: nn.Module, x: torch.Tensor) -> dict[str, float | None]:
    compiled = spcomp.compile(model.eval(), x, engine="eager", guard=False, policy="off")
    return {r.layer: r.zero_inputs for r in compiled.parts.slots}


@pytest.mark.parametrize("squared", [False, True])
def test_zeros_are_measured_where_a_relu_made_them(squared: bool) -> None:
    model, x = Gated(-0.5, squared).eval(), torch.randn(1, 256)
    zeros = site_zeros(model, x)
    hidden = torch.relu(model.up(x))
    assert zeros["up"] is None
    assert zeros["head"] is None
    assert zeros["down"] == pytest.approx(1 - float(torch.count_nonzero(hidden)) / 2048)


def test_only_single_rows_are_looked_at() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    assert set(site_zeros(model, torch.randn(2, 8)).values()) == {None}
    assert site_zeros(model, torch.randn(1, 8))["2"] is not None


def test_a_model_that_writes_to_itself_is_left_alone() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls.add_(1)  # type: ignore[operator]
            return self.inner(x)  # type: ignore[no-any-return]

    model = Counting()
    assert set(site_zeros(model, torch.randn(1, 8)).values()) == {None}
    assert float(model.calls) == 0  # type: ignore[arg-type]


@needs_kernels
def test_a_layer_with_zero_inputs_skips_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Gated(-1.0).eval(), torch.randn(1, 256)
    compiled = spcomp.compile(
        model, x, engine="eager", guard=False, policy="force", include="down", encodings="transposed"
    )
    (kernel,) = compiled.parts.table[1].kernels
    assert isinstance(kernel, SkipKernel)
    assert relative(compiled(x), model(x).double()) < 1e-5
    busy = torch.full((1, 256), 50.0)
    assert relative(compiled(busy), model(busy).double()) < 1e-5, "right for other inputs too"
    loaded = spcomp.load(compiled.save(tmp_path / "m"), engine="eager")
    assert torch.equal(loaded(x), compiled(x))
    assert loaded.parts.slots[1].zero_inputs == compiled.parts.slots[1].zero_inputs
    other = Gated(-1.0).eval()
    assert relative(compiled.update_weights(other)(x), other(x).double()) < 1e-5


def test_work_of_a_call_with_zero_inputs() -> None:
    from dataclasses import replace

    call = replace(CALL, zero_inputs=0.75, rows=RowRange(1, 1), encoding=Csr())
    assert call.effective_wa_flops(4) == call.effective_w_flops(4) / 4
    assert KernelPlan.from_json(KernelPlan((call,)).to_json()).calls == (call,)
