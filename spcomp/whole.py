"""Programs of few rows whose layers and all between them are laid down as one call, where that is faster.

Inductor's program of a decoder makes a call for each layer, and two or three more between every two of them; each finds
its Python objects, and much of the interpreter, pushed out of the caches by the weights of the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spcomp import ops
from spcomp.codegen.laid_program import LaidProgram
from spcomp.guard import agree, paired_speedup
from spcomp.parts import LAID_DOWN, Parts, Program

WORTH = 1.01
"""The kernels are the same, and so are the results."""
log = logging.getLogger("spcomp")


def laid_down(program: Program, table: ops.KernelTable) -> Program | None:
    """The program as calls that are laid down; None where it is no program of Inductor's or too little of it can be."""
    if program.engine != "inductor" or program.lone is not None or program.signature.symbols:
        return None
    laid = LaidProgram(program.gm, program.run, lifted=len(program.lifted))
    return replace(program, run=laid) if laid.parts(table) else None


def lay_down(parts: Parts, flats: Sequence[Sequence[Any]]) -> None:
    """Change the programs of ``parts`` that are faster so on their flat inputs; what they compute stays."""
    for program, flat in zip(parts.programs, flats, strict=True):
        laid = laid_down(program, parts.table)
        if laid is None:
            continue
        ours, theirs = (laid, parts.table), (program, parts.table)
        if not agree(parts.tensors, ours, theirs, flat):
            continue
        gain = paired_speedup(parts.tensors, ours, theirs, flat)
        log.info("calls laid down: %.2fx of Inductor", gain)
        if gain > WORTH:
            program.run, program.engine = laid.run, LAID_DOWN
            program.note = f"{gain:.2f}x of Inductor's program"
