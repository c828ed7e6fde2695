"""Everything that a first call would compile, done before: see :meth:`spcomp.compiled.CompiledModule.warmup`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from spcomp import ops
from spcomp.passes.tune_device import prepare
from spcomp.plan import RowRange
from spcomp.record import SlotRecord
from spcomp.signature import zeros
from spcomp.writes import written

if TYPE_CHECKING:
    from spcomp.parts import Parts

MOST_ROWS = 512
"""Rows that are run of a range without an end."""


def warm(parts: Parts) -> None:
    """Run every program once on zeros, and kernels on GPUs at the edges of the rows that they serve."""
    warm_kernels(parts.table, parts.slots)
    for program in parts.programs:
        pairs = zip(program.signature.leaves, program.signature.on, strict=True)
        flat = [zeros(leaf, program.hints, device) for leaf, device in pairs]
        writes = written(program)
        tensors = [parts.tensors[name].clone() if name in writes else parts.tensors[name] for name in program.lifted]
        with torch.no_grad(), ops.active(parts.table):
            program.run(*tensors, *flat)


def warm_kernels(table: ops.KernelTable, records: Sequence[SlotRecord]) -> None:
    """Compile and search what calls of kernels on GPUs need, at every row count that may make a difference."""
    for slot, record in zip(table, records, strict=True):
        ends = [*(start - 1 for start in slot.starts[1:]), None]
        for lo, hi, kernel in zip(slot.starts, ends, slot.kernels, strict=True):
            for m in edges(RowRange(lo, hi), record.domains, slot.rows):
                prepare(kernel, m, record.where)


def edges(rows: RowRange, domains: Sequence[RowRange], pixels: int = 1) -> list[int]:
    """The fewest and the most rows (up to :data:`MOST_ROWS`, if they have no end) of a range that really occur."""
    found: set[int] = set()
    for domain in domains:
        lo = max(rows.lo, domain.lo, 1)
        ends = [end for end in (rows.hi, domain.hi) if end is not None]
        hi = min(ends) if ends else max(lo, MOST_ROWS)
        if lo <= hi:
            found |= {max(pixels, lo), max(pixels, hi)}
    return sorted(found)
