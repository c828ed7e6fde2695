"""Compiled models as the steps that machines run: sizes, bytes and places."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import spcomp
from spcomp.errors import InputError, PlanError
from spcomp.plan import KernelPlan, RowRange
from spcomp.sim.workload import PAGE_BYTES, Operand, Step, Workload, of_plan
from spcomp.workload import workload_of
from tests.compiling import SPARSE
from tests.models import prune

EAGER: dict[str, Any] = {**SPARSE, "policy": "auto"}


class Layer(nn.Module):
    """A transformer layer, its products all in the open."""

    def __init__(self, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(self.first(x)).split(c, 2))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.second(x))))  # type: ignore[no-any-return]


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return prune(nn.Sequential(Layer(), Layer()).eval(), 0.8)


def flops(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(x)
    return counter.get_total_flops()


def test_the_multiplications_are_those_that_torch_counts() -> None:
    model, x = layers(), torch.randn(2, 10, 64)
    compiled = spcomp.compile(model, x, torch.randn(3, 7, 64), **EAGER)
    for size in ((2, 10), (1, 30)):
        x = torch.randn(*size, 64)
        work = workload_of(compiled.parts, [x])
        assert 2 * sum(s.dense_macs for s in work.steps) == flops(model, x)
        assert {s.m for s in work.layers} == {x.shape[0] * x.shape[1]}
    assert [s.kind for s in work.steps if s.kind != "elementwise"][:6] == [
        "norm", "layer", "attention", "layer", "norm", "layer",
    ]  # fmt: skip
    nonzeros = sum(int((p != 0).sum()) for n, p in model.named_parameters() if p.dim() == 2)
    assert sum(s.call.nonzeros for s in work.layers if s.call) == nonzeros
    assert work.digest == compiled.plan.digest


def test_layers_bring_the_bytes_that_their_kernel_reads() -> None:
    model, x = layers(), torch.randn(2, 10, 64)
    compiled = spcomp.compile(model, x, **EAGER)
    for step, record in zip(workload_of(compiled.parts, [x]).layers, compiled.parts.slots, strict=True):
        assert step.call is not None
        assert sum(a.nbytes for a in step.packed.values()) == step.call.weight_nbytes
        packed = next((p for p in record.packed if p.encoding == step.call.encoding), None)
        if packed is not None:
            values = packed.buffers["values"]
            assert step.packed["values"].ctypes.data == values.data_ptr(), "views, not copies"


def test_convolutions_and_products_outside_of_layers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.grouped(F.relu(self.conv(x))).flatten(2)
            return F.softmax(y @ y.transpose(1, 2), -1)

    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(2, 3, 16, 16)
    work = workload_of(spcomp.compile(model, x, **EAGER).parts, [x])
    assert 2 * sum(s.dense_macs for s in work.steps) == flops(model, x)
    assert work.steps[-1].kind == "softmax"
    assert work.steps[-1].vector_elements == 2 * 8 * 8


def test_inputs_that_no_program_takes() -> None:
    compiled = spcomp.compile(layers(), torch.randn(2, 10, 64), **EAGER)
    with pytest.raises(InputError, match="simulate a compiled model"):
        workload_of(compiled.parts, [torch.randn(2, 10, 63)])


def test_a_plan_alone() -> None:
    model, x = layers(), torch.randn(2, 10, 64)
    compiled = spcomp.compile(model, x, **EAGER)
    whole, alone = workload_of(compiled.parts, [x]), of_plan(compiled.plan, 20)
    assert [s.dense_macs for s in alone.steps] == [s.dense_macs for s in whole.layers]
    few = KernelPlan(tuple(replace(c, rows=RowRange(1, 20)) for c in compiled.plan.calls))
    with pytest.raises(PlanError, match=r"simulate 21 rows of 0.qkv: calls for 1-20 rows"):
        of_plan(few, 21)


def test_places_do_not_overlap_while_they_live() -> None:
    x = torch.randn(2, 10, 64)
    work = workload_of(spcomp.compile(layers(), x, **EAGER).parts, [x])
    check(work)
    weights = sum(-(-a.nbytes // PAGE_BYTES) * PAGE_BYTES for s in work.layers for a in s.packed.values())
    activations = sum(o.nbytes for s in work.steps for o in s.writes)
    assert max(work.places().values()) < weights + activations, "places are used again"


def check(work: Workload) -> None:
    places = work.places()
    last = {o.name: i for i, s in enumerate(work.steps) for o in (*s.reads, *s.writes)}
    first: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for i, step in enumerate(work.steps):
        for o in (*step.reads, *step.writes):
            first.setdefault(o.name, i)
            sizes[o.name] = max(sizes.get(o.name, 0), o.nbytes)
    names = list(sizes)
    for i, a in enumerate(names):
        assert places[a] % PAGE_BYTES == 0
        for b in names[:i]:
            alive = first[a] <= last[b] and first[b] <= last[a]
            apart = places[a] + sizes[a] <= places[b] or places[b] + sizes[b] <= places[a]
            assert apart or not alive


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 20000)), min_size=1, max_size=15))
@settings(max_examples=60)
def test_places_of_any_graph(edges: list[tuple[int, int, int]]) -> None:
    sizes = np.random.default_rng(0).integers(1, 20000, 10)
    steps = tuple(
        Step(f"s{i}", "elementwise", (operand(a, sizes),), (operand(b, sizes),)) for i, (a, b, _) in enumerate(edges)
    )
    check(Workload(steps, ""))


def operand(i: int, sizes: Any) -> Operand:
    return Operand(f"t{i}", (int(sizes[i]),), "int8", int(sizes[i]))


def test_the_simulator_needs_no_torch() -> None:
    code = "import sys, spcomp.sim.workload; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
