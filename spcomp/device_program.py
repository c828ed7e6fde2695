"""Programs for models with layers on GPUs: constants placed, the rest compiled, held against the whole dense program.

Layers that stay dense are left to Inductor, which fuses what is around them. The dense program that the compiled one is
held against, and that is handed out where it is faster, is the model with every layer left: what
``torch.compile(mode="max-autotune")`` makes of it, in a CUDA graph as ours is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx

from spcomp import guard as guarding
from spcomp.assemble import assemble
from spcomp.build import Built, compile_rest, dense_built, lower
from spcomp.capture import Captured
from spcomp.options import Options
from spcomp.parts import Parts, Program
from spcomp.passes.base import PassContext, Site
from spcomp.placing import Placing, homes, placed
from spcomp.planning import Planners
from spcomp.targets.device import Device
from spcomp.warming import warm_kernels


@dataclass(frozen=True, eq=False)
class Model:
    """What the steps below share."""

    captured: Sequence[Captured]
    sites: Sequence[Site]
    built: list[Built]
    options: Options
    placing: Placing
    planners: Planners

    @property
    def devices(self) -> tuple[Device, ...]:
        """Of the layers, in order of their first."""
        return tuple(dict.fromkeys(self.planners.device(s) for s in self.sites))

    @property
    def on_device(self) -> bool:
        """Whether anything of the model is not the CPU's: a layer, a constant or an input."""
        inputs = any(c.signature.devices for c in self.captured)
        return inputs or len(self.placing) > 0 or not all(d.host for d in self.devices)

    @property
    def flats(self) -> list[Sequence[Any]]:
        return [c.flat for c in self.captured]

    def left(self) -> frozenset[int]:
        """Slots of dense layers that the graph keeps."""
        return frozenset(
            s.slot
            for s, b in zip(self.sites, self.built, strict=True)
            if not b.decision.sparse and not self.planners.device(s).host
        )

    def rivals(self, graphs: Sequence[fx.GraphModule], ctx: PassContext) -> Rivals | None:
        """The dense program, lowered on copies of the graphs; None where nothing is to be held against it."""
        sparse = any(b.decision.sparse for b in self.built)
        if not (self.on_device and sparse and self.options.guard and self.options.policy == "auto"):
            return None
        dense, tensors = replace(ctx, left=frozenset(s.slot for s in self.sites), dump=None), dict[str, Tensor]()
        copies = [fx.GraphModule(gm, copy.deepcopy(gm.graph)) for gm in graphs]
        programs = [lower(gm, c, dense, tensors) for gm, c in zip(copies, self.captured, strict=True)]
        return Rivals(tuple(programs), tensors)


@dataclass(frozen=True, eq=False)
class Rivals:
    """The dense programs and the constants that they read."""

    programs: tuple[Program, ...]
    tensors: dict[str, Tensor]


def make_device_parts(
    model: Model,
    programs: Sequence[Program],
    tensors: dict[str, Tensor],
    rivals: Rivals | None,
    say: Callable[[str], None],
) -> Parts:
    """Compile the lowered programs and hand out the faster of them and the dense ones."""
    warm_kernels([b.slot for b in model.built], [b.record for b in model.built])
    parts = _compiled(model, programs, model.built, tensors, say)
    if rivals is None:
        return parts
    say("timing the whole model against the dense program")
    alternatives = [
        dense_built(model.planners.of(s), b, s, "the whole model was not faster sparse") if b.decision.sparse else b
        for b, s in zip(model.built, model.sites, strict=True)
    ]
    dense = _compiled(model, rivals.programs, alternatives, rivals.tensors, say)
    worst, speedups = guarding.slowest_speedup(replace_tensors(parts, dense), dense.table, model.flats, dense.programs)
    shown = ", ".join(f"{s:.2f}x" for s in speedups)
    if worst < guarding.MARGIN:
        dense.notes = (f"guard: sparse was {worst:.2f}x of dense",)
        return dense
    parts.notes = (f"guard: {shown} of the whole dense program, max-autotuned where that is on a GPU, example inputs",)
    return parts


def replace_tensors(parts: Parts, other: Parts) -> Parts:
    """The same parts, with the constants of others beside their own."""
    both = copy.copy(parts)
    both.tensors = other.tensors | parts.tensors
    return both


def _compiled(
    model: Model,
    programs: Sequence[Program],
    built: Sequence[Built],
    tensors: dict[str, Tensor],
    say: Callable[[str], None],
) -> Parts:
    """Constants on their devices, and the rest of every program compiled for them."""
    where = homes(programs)
    there = placed(tensors, where, model.placing)
    gpus = gpus_of(programs, where, [s.where for s in model.sites])
    into = frozenset(b.record.slot for b in built if b.slot.writes_into)
    for i, program in enumerate(programs):
        say(f"compiling the rest of program {i + 1} of {len(programs)}")
        compile_rest(program, there, model.options.engine, gpus=gpus, into=into)
    parts = assemble(programs, built, there, model.options)
    parts.where, parts.devices = where, tuple(d for d in model.devices if not d.host)
    return parts


def gpus_of(programs: Sequence[Program], where: dict[str, str], sites: Sequence[str]) -> tuple[str, ...]:
    """The CUDA devices that constants, layers and inputs are on."""
    inputs = [device for p in programs for device in p.signature.devices]
    return tuple(sorted({d for d in (*where.values(), *sites, *inputs) if d.startswith("cuda")}))
