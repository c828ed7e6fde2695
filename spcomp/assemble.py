"""Parts of a compiled model from its layers and programs, with no memory kept for a part of it.

stack [8, n, k], six experts sparse, two dense     ->     two matrices [n, k] of their own; the stack may go
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from spcomp.build import Built, rebuilt
from spcomp.options import Options
from spcomp.parts import Parts, Program
from spcomp.plan import KernelPlan
from spcomp.planning import make_planner


def assemble(
    programs: Sequence[Program],
    built: Sequence[Built],
    tensors: dict[str, torch.Tensor],
    options: Options,
    notes: tuple[str, ...] = (),
) -> Parts:
    """Parts from their pieces; dense weights that are a part of a memory that goes are given memory of their own."""
    built = separated(built, tensors, options)
    return Parts(
        programs=tuple(programs),
        table=tuple(b.slot for b in built),
        slots=tuple(b.record for b in built),
        tensors=tensors,
        plan=KernelPlan(tuple(c for b in built for c in b.calls), torch.get_num_threads()),
        decisions=tuple(b.decision for b in built),
        options=options.to_dict(),
        notes=notes,
    )


def separated(built: Sequence[Built], tensors: Mapping[str, torch.Tensor], options: Options) -> list[Built]:
    """The layers, with copies of dense weights that look at a memory of which not all is looked at.

    Memory that a tensor of the rest of the graph lies in stays whole anyway.
    """
    held = {t.untyped_storage().data_ptr() for t in tensors.values()}
    seen: dict[int, dict[int, int]] = {}
    for weight in (b.record.weight for b in built):
        if weight is not None:
            seen.setdefault(weight.untyped_storage().data_ptr(), {})[weight.data_ptr()] = weight.nbytes
    planner = None
    found = []
    for b in built:
        weight, site = b.record.weight, None if b.planned is None else b.planned.site
        if weight is None or site is None or site.gathered or site.conv is not None or b.decision.device:
            found.append(b)
            continue
        storage = weight.untyped_storage()
        if storage.data_ptr() in held or sum(seen[storage.data_ptr()].values()) >= storage.nbytes():
            found.append(b)
            continue
        assert b.planned is not None
        planner = planner or make_planner(options, site.weight.nbytes)
        found.append(rebuilt(planner, planner.with_weight(b.planned, weight.clone())) or b)
    return found
