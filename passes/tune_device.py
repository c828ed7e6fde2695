"""`DevicePlanner`: plans layers for one GPU. Weights are looked at and packed on the CPU; kernels live on the GPU.

What differs from the CPU: where kernels and inputs are, which encodings are proposed, and that a kernel is timed on
copies of its weight instead of after reading other memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from spcomp.encodings.wanted import Wanted
from spcomp.kernel import Kernel, PreparedKernel
from spcomp.passes.base import Site
from spcomp.passes.planned import Dense, Planned
from spcomp.passes.propose import Candidate
from spcomp.passes.propose_device import propose_on, serves_on
from spcomp.passes.tune import Planner
from spcomp.plan import KernelCall
from spcomp.sparsity.facts import SparsityFacts

There = Callable[[torch.Tensor], torch.Tensor]


def current(where: str) -> AbstractContextManager[object]:
    """Makes a CUDA device the current one; nothing for the CPU."""
    return torch.cuda.device(where) if where.startswith("cuda") else nullcontext()


@dataclass(eq=False)
class Rotation:
    """A kernel with its inputs, as a callable that can be had on several copies of the weight."""

    kernel: Kernel
    x: tuple[torch.Tensor, ...]

    def __call__(self) -> object:
        return self.kernel(*self.x)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors that the kernel holds."""
        return sum(t.nbytes for t in held(self.kernel))

    def copies(self, count: int) -> Sequence[Callable[[], object]]:
        """``count`` of them, the first of which is this one."""
        return [self, *(Rotation(copied(self.kernel), self.x) for _ in range(count - 1))]


def held(kernel: object) -> list[torch.Tensor]:
    """The tensors that a kernel has, by itself or in dicts."""
    own = vars(kernel).values()
    return [t for v in own for t in (v.values() if isinstance(v, dict) else (v,)) if isinstance(t, torch.Tensor)]


def copied(kernel: Kernel) -> Kernel:
    """The same kernel on tensors of its own."""
    other = copy.copy(kernel)
    for name, value in list(vars(kernel).items()):
        if isinstance(value, torch.Tensor):
            setattr(other, name, value.clone())
        elif isinstance(value, dict) and any(isinstance(t, torch.Tensor) for t in value.values()):
            setattr(other, name, {k: t.clone() if isinstance(t, torch.Tensor) else t for k, t in value.items()})
    return other


@dataclass(eq=False)
class DevicePlanner(Planner):
    """Everything that tuning the layers of one GPU needs."""

    where: str = "cuda:0"
    there: There = field(default=lambda tensor: tensor)
    """A constant of the model on that device: the model's own, or a copy."""

    def propose(self, site: Site, points: Sequence[int], cold_bytes: int, wanted: Wanted | None) -> list[Candidate]:
        return propose_on(
            site, self.backends, self.target, self.model, points, cold_bytes=cold_bytes, only=self.only, wanted=wanted
        )

    def serves(self, candidate: Candidate, candidates: Sequence[Candidate], m: int) -> bool:
        return serves_on(candidate, m)

    def plan(self, site: Site, *, sparse: bool = True, wanted: Wanted | None = None) -> Planned:
        planned = super().plan(site, sparse=sparse, wanted=wanted)
        said = turned(site.facts) if sparse else ""
        if not said:
            return planned
        return replace(planned, choice=replace(planned.choice, reason=f"{planned.choice.reason}; {said}"))

    def dense(self, call: KernelCall, site: Site, points: Sequence[int]) -> Dense:
        there = self.there
        bias, scale = (None if t is None else there(t) for t in (site.bias, site.scale))
        return self.best_dense(replace(call, quantize=""), there(site.weight), bias, points, scale)

    def build(self, site: Site, candidate: Candidate, call: KernelCall) -> Kernel:
        with current(self.where):
            return super().build(site, candidate, call)

    def example(self, site: Site, m: int) -> tuple[torch.Tensor, ...]:
        return tuple(x.to(self.where) for x in site.example(m))

    def run_of(self, kernel: Kernel, x: tuple[torch.Tensor, ...]) -> Callable[[], object]:
        if x[0].is_cuda:  # a search must not meet a graph that is captured
            prepare(kernel, max(1, x[0].numel() // max(1, kernel.call.k)), self.where)
        return Rotation(kernel, x)

    def warm(self, site: Site, x: tuple[torch.Tensor, ...], m: int) -> None:
        """Nothing: calls go over copies."""


def turned(facts: SparsityFacts) -> str:
    """What there is to say of a weight that is 2:4 the other way round; nothing of others."""
    along_n, along_k = (facts.group_max.get((axis, 4), 4) for axis in (0, 1))
    if along_n > 2 or along_k <= 2 or facts.density <= 0.375:
        return ""
    bits = {"float32": 32}.get(facts.dtype, 16)
    share = 0.5 + 1 / bits
    return (
        f"2:4 along N: sparse tensor cores multiply 2:4 along K alone, and a bitmap holds it in the {share:.1%} of the "
        "bytes that 2:4 along K would take"
    )


def prepare(kernel: Any, m: int, where: str) -> None:
    """Compile and search what calls of ``m`` rows need, so that no call does."""
    if isinstance(kernel, PreparedKernel):
        with current(where), torch.no_grad():
            kernel.prepare(m)
