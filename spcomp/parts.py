"""What a compiled model is made of: `Program` and `Parts`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.lone import Quick, lone_slot, quick_call
from spcomp.plan import KernelPlan
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision
from spcomp.signature import Signature
from spcomp.source import Source
from spcomp.state import State
from spcomp.targets.device import Device, Devices

LAID_DOWN = "laid down"
"""The engine of :mod:`spcomp.whole`."""


@dataclass(eq=False)
class Program:
    """One captured graph, lowered, with the callable that runs it: ``run(*lifted tensors, *flat inputs)``."""

    signature: Signature
    gm: fx.GraphModule
    lifted: tuple[str, ...]
    run: Callable[..., Any]
    engine: str
    """``"inductor"``, :data:`LAID_DOWN`, ``"direct"`` (see :mod:`spcomp.direct`) or ``"eager"``."""
    note: str = ""
    """Why it is not Inductor, where it is not."""
    hints: dict[str, int] = field(default_factory=dict)

    @property
    def alone(self) -> Callable[..., list[torch.Tensor] | None] | None:
        """The short way through a program that is laid down (:meth:`LaidProgram.alone`)."""
        return getattr(self.run, "alone", None)

    @property
    def described(self) -> str:
        """What runs it, and why not otherwise."""
        failed = getattr(self.run, "failure", None)
        graphed = "" if failed is None else f", {failed or 'in a CUDA graph'}"
        return f"{self.engine}{f': {self.note}' if self.note else ''}{graphed}"

    @functools.cached_property
    def lone(self) -> int | None:
        """See :func:`~spcomp.lone.lone_slot`."""
        return None if self.lifted or self.signature.devices else lone_slot(self.gm.graph)


@dataclass(eq=False)
class Parts:
    """Everything a compiled model is made of."""

    programs: tuple[Program, ...]
    table: tuple[ops.SlotKernels, ...]
    slots: tuple[SlotRecord, ...]
    tensors: dict[str, torch.Tensor]
    """Weights and buffers that stayed in the graph, by their name in the original model."""
    plan: KernelPlan
    decisions: tuple[LayerDecision, ...]
    options: dict[str, Any]
    notes: tuple[str, ...] = ()
    state: State = field(default_factory=State)
    """Where the tensors of the original's state are."""
    sources: tuple[Source, ...] = ()
    """The programs before the passes changed what they read, to run those again on other weights."""
    whole_nbytes: int = 0
    """Bytes of what the original reads, where the passes changed that; else 0."""
    where: dict[str, str] = field(default_factory=dict)
    """The torch devices of those of ``tensors`` that are not on the CPU."""
    devices: tuple[Device, ...] = ()
    """What the layers were planned for, where any is no CPU."""
    planned_for: Devices | None = None
    """What the caller said that layers are planned for; None: the devices that their weights are on."""

    @property
    def on_device(self) -> bool:
        """Whether anything of the model is not the CPU's: a layer, a constant or an input."""
        return bool(self.devices or self.where or any(p.signature.devices for p in self.programs))

    @functools.cached_property
    def quick(self) -> Quick | None:
        """The short way to the one layer that the model consists of, or to a program that is one call, from tensors of
        the captured shapes to one."""
        program = self.programs[0]
        signature = program.signature
        looks: Any = signature.looks if signature.tensors_taken and signature.gives_one_tensor else None
        if looks is None:
            return None
        plain = [look[:2] for look in looks]
        if (short := getattr(program.run, "short", None)) is not None:
            return quick_call(short(self.table, self.tensors, program.lifted), plain)
        if program.lone is None or len(self.table[program.lone].kernels) != 1:
            return None
        return quick_call(self.table[program.lone].kernels[0], plain)
