"""The whole-model guard, with kernels that take as long as they are told to."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

import spcomp
from spcomp import guard
from spcomp.ops import SlotKernels


class Slow:
    """A kernel that sleeps; every ``hiccup``-th call takes ten times as long."""

    def __init__(self, seconds: float, hiccup: int = 0) -> None:
        self.seconds, self.hiccup, self.calls = seconds, hiccup, 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        disturbed = self.hiccup and self.calls % self.hiccup == 0
        time.sleep(self.seconds * (10 if disturbed else 1))
        return x.new_zeros(*x.shape[:-1], 64)


def speedup(mine: Slow, dense: Slow) -> float:
    x = torch.randn(4, 64)
    compiled = spcomp.compile(nn.Sequential(nn.Linear(64, 64)).eval(), x, engine="eager", guard=False)
    parts = compiled.parts

    def table(kernel: Any) -> tuple[SlotKernels, ...]:
        return (SlotKernels((0,), (kernel,), 64),)

    parts.table = table(mine)
    worst, every = guard.slowest_speedup(parts, table(dense), [[x]])
    assert [worst] == every
    return worst


def test_a_slower_model_is_found() -> None:
    assert speedup(Slow(0.004), Slow(0.002)) < 0.7


def test_a_faster_model_passes_at_the_first_look() -> None:
    mine = Slow(0.002)
    assert speedup(mine, Slow(0.02)) > 2
    assert mine.calls <= 2 * guard.ROUNDS[0] + 2


def test_disturbances_do_not_condemn() -> None:
    """A third of the runs are ten times as long, as beside another process: lower quartiles do not see them."""
    assert speedup(Slow(0.002, hiccup=3), Slow(0.003)) > guard.MARGIN
