"""What a runner says of a step: phases that memory and array go through, and what is counted besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.energy import Count
from spcomp.sim.workload import Step

Array: TypeAlias = NDArray[np.int64]
NOTHING: Array = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Span:
    """Bytes in memory, ``rows`` runs of ``width`` bytes that begin ``stride`` bytes apart."""

    start: int
    width: int
    rows: int = 1
    stride: int = 0

    @property
    def nbytes(self) -> int:
        return self.width * self.rows

    def transactions(self, size: int) -> Array:
        """Addresses of the transactions of ``size`` bytes that it touches, ascending, each once."""
        if self.width < 1 or self.rows < 1:
            return NOTHING
        if self.rows == 1 or self.stride == self.width:
            first, last = self.start // size, (self.start + self.nbytes - 1) // size
            return np.arange(first, last + 1, dtype=np.int64) * size
        begin = self.start + np.arange(self.rows, dtype=np.int64) * self.stride
        lowest, highest = begin // size, (begin + self.width - 1) // size
        counts = highest - lowest + 1
        most = int(counts.max())
        touched = lowest[:, None] + np.arange(most)
        found = touched.ravel() if int(counts.min()) == most else touched[touched <= highest[:, None]]
        return (np.unique(found) if np.any(lowest[1:] <= highest[:-1]) else found) * size


@dataclass(frozen=True, eq=False)
class Phase:
    """What memory moves while the phase before is computed (writes first), and what is computed afterwards."""

    name: str
    reads: tuple[Span, ...] = ()
    writes: tuple[Span, ...] = ()
    busy_cycles: int = 0
    """On the chip: arithmetic, and waiting for buffers there."""


@dataclass(frozen=True, eq=False)
class Cost:
    """A step on a machine, but for its memory."""

    phases: tuple[Phase, ...]
    compute_cycles: int
    parts: Mapping[str, int] = field(default_factory=dict)
    memory_cycles: Mapping[str, int] = field(default_factory=dict)
    """Of levels on the chip."""
    stalls: Mapping[str, int] = field(default_factory=dict)
    """Busy cycles without arithmetic, by cause. With ``compute_cycles`` they sum to the phases' ``busy_cycles``."""
    overhead_cycles: int = 0
    """Before anything moves: the launch of a kernel."""
    executed_macs: int = 0
    read_bytes: Mapping[str, int] = field(default_factory=dict)
    write_bytes: Mapping[str, int] = field(default_factory=dict)
    counts: tuple[Count, ...] = ()
    """For energy; those of the simulated memory are not among them."""


class StepRunner(Protocol):
    """Steps of a workload on one machine, in order."""

    notes: tuple[str, ...]

    def cost(self, step: Step) -> Cost:
        """What the step takes. Raises :class:`~spcomp.errors.InputError` for one that it cannot run."""
