"""Hand activations over in the layouts of the kernels, if both programs say the same and the clock agrees."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch

from spcomp import ops
from spcomp.build import compile_rest
from spcomp.check import relative_error
from spcomp.compiled import Program
from spcomp.conv_shape import ConvShape
from spcomp.guard import speedup
from spcomp.kernel import LaidKernel, TilesKernel
from spcomp.passes.base import PassContext, run_passes
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.lay_out import LayOut
from spcomp.writes import written

log = logging.getLogger("spcomp")
SAME = 1e-4
"""Relative difference that two orders of float32 operations may show over a whole model."""
WORTH = 1.01
"""Keeping tiles must gain at least this factor."""


def with_tiles(
    program: Program, table: ops.KernelTable, tensors: Mapping[str, torch.Tensor], flat: Sequence[object]
) -> Program | None:
    """The program with activations kept as kernels want them between sparse layers, if there are any and it is faster.

    ``flat``: example inputs; the results of both must agree.
    """
    able = [all(isinstance(k, TilesKernel) and k.tiles_served for k in slot.kernels) for slot in table]
    slots = frozenset(i for i, good in enumerate(able) if good)
    convs = _convolutions(table)
    if program.engine != "inductor" or not (slots or convs):
        return None
    gm = run_passes((KeepTiles(slots), LayOut(convs)), program.gm, PassContext())
    if gm is program.gm:
        return None
    made = Program(program.signature, gm, program.lifted, gm, "eager", hints=program.hints)
    compile_rest(made, tensors, "auto")
    if made.engine != "inductor":
        return None
    results = []
    for candidate in (program, made):
        writes = written(candidate)
        given = [tensors[name].clone() if name in writes else tensors[name] for name in candidate.lifted]
        with torch.no_grad(), ops.active(table):
            results.append(candidate.run(*given, *flat))
    pairs = [(a, b) for a, b in zip(*results, strict=True) if isinstance(a, torch.Tensor) and a.is_floating_point()]
    if any(relative_error(b, a.double()) > SAME for a, b in pairs):
        log.warning("a program with tiles gave other results and is not used")
        return None
    gain = speedup(tensors, (made, table), (program, table), flat)
    log.info("activations as the kernels want them: %.2fx", gain)
    return made if gain > WORTH else None


def _convolutions(table: ops.KernelTable) -> dict[int, ConvShape]:
    """The geometry of the convolutions whose kernels know layouts, by slot."""
    found = {}
    for i, slot in enumerate(table):
        conv = slot.kernels[0].call.conv
        if conv is not None and all(isinstance(k, LaidKernel) and k.laid_served for k in slot.kernels):
            found[i] = conv
    return found
