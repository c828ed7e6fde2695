"""What the tests of whole models on machines share: small models, planned and simulated once, and laws of a step."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

import spcomp
from spcomp.report.simulated import SimReport, SimStep
from spcomp.sim.machines import load_machine
from spcomp.sim.replan import replan
from spcomp.sim.workload import Operand, Step, Workload
from spcomp.workload import workload_of
from tests.compiling import QUICK, SPARSE
from tests.models import prune
from tests.test_workload import Layer

ARRAYS = ("dense_tc", "stc_2_4", "stc_flexible", "dual_compressed", "dual_side_sparse")
SYSTOLIC = ("systolic_ws", "systolic_os", "systolic_is")
MACHINES = (*ARRAYS, *SYSTOLIC, "gpu_a100", "gpu_h200")


def pruned_2_4(model: nn.Module) -> nn.Module:
    """The two largest of four neighbours stay."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                groups = layer.weight.view(layer.weight.shape[0], -1, 4)
                stays = groups.abs().argsort(-1).argsort(-1) >= 2
                layer.weight.copy_(torch.where(stays, groups, 0.0).view_as(layer.weight))
    return model.eval()


@functools.cache
def transformer() -> tuple[nn.Module, torch.Tensor, Workload]:
    """Two layers of width 64, 2:4, with the workload of their dense plan."""
    torch.manual_seed(0)
    model, x = pruned_2_4(nn.Sequential(Layer(), Layer())), torch.randn(2, 20, 64)
    compiled = spcomp.compile(model, x, policy="off", **QUICK)
    return model, x, workload_of(compiled.parts, [x])


@functools.cache
def planned(name: str) -> tuple[Workload, SimReport]:
    machine = load_machine(name)
    workload, _ = replan(transformer()[2], machine)
    return workload, spcomp.simulate(workload, machine)


def check_step(s: SimStep) -> None:
    launch = s.stalls.get("launch", 0)
    assert s.cycles == s.compute_cycles + sum(s.stalls.values())
    assert max(s.compute_cycles, *s.memory_cycles.values()) <= s.cycles - launch
    assert s.cycles - launch <= s.compute_cycles + sum(s.memory_cycles.values())
    assert max(s.parts.values()) <= s.compute_cycles <= sum(s.parts.values())
    assert min(s.stalls.values(), default=1) > 0
    assert s.effective_macs <= s.dense_macs


def alone(m: int, k: int, n: int) -> Workload:
    """A product of activations in int8."""
    x, w, y = (Operand(name, size, "int8", size[0] * size[1]) for name, size in
               (("x", (m, k)), ("w", (n, k)), ("y", (m, n))))  # fmt: skip
    return Workload((Step("product", "matmul", (x, w), (y,), m=m, k=k, n=n),), "")


@functools.cache
def sparse() -> Any:
    torch.manual_seed(3)
    model = prune(nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 40)), 0.8)
    return spcomp.compile(model, torch.randn(16, 64), **SPARSE)
