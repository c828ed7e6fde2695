"""The best dense program of a whole model: what sparse programs are held against, and what serves where they lose.

The kernels of its layers are the best dense ones. Where there are convolutions, two programs race: planes as they are,
and planes with the channels last from end to end, as dense compilers lay them out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from spcomp.build import Built, compile_rest, last_built
from spcomp.codegen.dense_conv import conv_members
from spcomp.guard import speedup
from spcomp.parts import Program
from spcomp.passes.base import PassContext, Site, run_passes
from spcomp.passes.channels_last import ChannelsLast
from spcomp.passes.tune import Planner

log = logging.getLogger("spcomp")
REASON = "channels last is the faster dense program"


def best_dense_program(
    planner: Planner,
    programs: Sequence[Program],
    built: Sequence[Built],
    sites: Sequence[Site],
    tensors: Mapping[str, torch.Tensor],
    inputs: Sequence[Sequence[object]],
    engine: str,
) -> tuple[tuple[Program, ...], list[Built]]:
    """The faster of the given programs with the given dense kernels, and the same with channels last.

    ``inputs``: the flat example inputs of each program; what they gain counts as the geometric mean.
    """
    planes = [s.conv is not None and s.conv.dims == 2 for s in sites]
    if not any(planes) or any("channels_last" not in conv_members(s.dtype) for s in sites if s.conv is not None):
        return tuple(programs), list(built)
    rivals = [
        last_built(planner, s, REASON) if mine else b for b, s, mine in zip(built, sites, planes, strict=True)
    ]  # fmt: skip
    made = []
    for program in programs:
        gm = run_passes((ChannelsLast(),), program.gm, PassContext())
        made.append(Program(program.signature, gm, program.lifted, gm, "eager", hints=program.hints))
        compile_rest(made[-1], tensors, engine)
    tables = [tuple(b.slot for b in side) for side in (rivals, built)]
    gains = [
        speedup(tensors, (last, tables[0]), (natural, tables[1]), flat)
        for last, natural, flat in zip(made, programs, inputs, strict=True)
    ]
    gain = float(np.exp(np.mean(np.log(gains))))
    log.info("dense with channels last: %.2fx", gain)
    return (tuple(made), rivals) if gain > 1 else (tuple(programs), list(built))
