"""Layers one after another as one call: all their calls laid down once, values between them in memory that is shared.

Called one by one, a layer takes Python 15 to 60 us to find its objects, which are in no cache by then, and its result
is memory of its own. A chain is one array of calls (:class:`~spcomp.codegen.mlir_cpu.parallel.Prepared`); a value
inside it lies where one that nobody reads any more lay, which is in a cache more often than new memory is.

Layers could take turns, piece by piece, so that what one makes is read before it leaves L2. Of ResNet-50's first stage
that was no faster (0.96 to 1.02): more values are alive at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from spcomp.codegen.mlir_cpu import parallel
from spcomp.codegen.mlir_cpu.scratch import scratch

ALIGNMENT = 4096
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Work:
    """What a layer does with one image, or with all rows."""

    nbytes: int
    """Of scratch memory that it uses."""
    stages: Callable[[Sequence[int], int, int], list[parallel.Stage]]
    """By the addresses of what it reads, of its result, and of scratch memory; but for them always the same."""


@runtime_checkable
class LinearKernel(Protocol):
    """A linear layer whose calls may be laid down among those of others."""

    def work_on_rows(self, m: int) -> Work | None:
        """The work for x [m, k], for as many threads as torch has now; None where this kernel has none."""
        ...

    def work_on_tiles(self, tiles: int) -> Work | None:
        """The same for x [tiles, k, 16] and a result [tiles, n, 16]."""
        ...


@dataclass(frozen=True)
class Step:
    """One layer of a chain. Values are numbered: 0 and up are results of steps, -1 and down the tensors given."""

    work: Work
    reads: tuple[int, ...]
    shape: tuple[int, ...]
    """Of one image of the result, float32."""
    skipped: tuple[int, ...] = ()
    """Bytes of each value that it reads before what it reads; none where it is left out."""


def offsets(needs: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Where memories lie in one, and its bytes; each (bytes, first, last): the steps between which it is needed.

    In order of their first steps. The first place where it fits between those that are needed at the same time.
    """
    found: list[int] = []
    for i, (nbytes, first, _) in enumerate(needs):
        others = sorted((found[j], size) for j, (size, _, end) in enumerate(needs[:i]) if end >= first)
        at = 0
        for begin, size in others:
            if at + nbytes <= begin:
                break
            at = max(at, -(-(begin + size) // ALIGNMENT) * ALIGNMENT)
        found.append(at)
    return found, max((at + nbytes for at, (nbytes, *_) in zip(found, needs, strict=True)), default=0)


CPU = torch.device("cpu")


class Chain:
    """Steps as one call, for one image at a time. Thread safe."""

    def __init__(self, steps: Sequence[Step], given: int, leaving: Sequence[int]) -> None:
        """``given``: how many tensors it is given; ``leaving``: steps whose results it hands out."""
        self.steps, self.given, self.leaving = tuple(steps), given, tuple(leaving)
        last = dict(enumerate(range(len(steps))))
        last |= {value: i for i, step in enumerate(steps) for value in step.reads if value >= 0}
        self.kept = [i for i in range(len(steps)) if i not in self.leaving]
        places, held = offsets([(FLOAT_BYTES * math.prod(steps[i].shape), i, last[i]) for i in self.kept])
        self.places = dict(zip(self.kept, places, strict=True))
        self.used = -(-held // ALIGNMENT) * ALIGNMENT
        self.nbytes = self.used + max(step.work.nbytes for step in steps)
        self.prepared = parallel.Prepared(self._stages, given + len(self.leaving) + 1)

    def _stages(self, *bases: int) -> list[parallel.Stage]:
        """``bases``: of the tensors given, of those handed out, of scratch memory."""
        given, room = bases[: self.given], bases[-1]
        results = {i: room + at for i, at in self.places.items()}
        results |= zip(self.leaving, bases[self.given : -1], strict=True)
        stages: list[parallel.Stage] = []
        for i, step in enumerate(self.steps):
            skipped = step.skipped or (0,) * len(step.reads)
            starts = [results[v] if v >= 0 else given[-1 - v] for v in step.reads]
            reads = [start + skip for start, skip in zip(starts, skipped, strict=True)]
            for stage in step.work.stages(reads, results[i], room + self.used):
                if stages and len(stage) == 1 == len(stages[-1]):
                    stages[-1] = [[*stages[-1][0], *stage[0]]]
                else:
                    stages.append(stage)
        return stages

    def at(self, given: Sequence[int], shapes: Sequence[tuple[int, ...]] | None = None) -> list[torch.Tensor]:
        """For contiguous tensors at these addresses, which are as the steps expect and live that long.

        ``shapes``: of what is handed out, other than the steps' own.
        """
        shapes = shapes or [self.steps[i].shape for i in self.leaving]
        made = [torch.empty(shape, dtype=torch.float32, device=CPU) for shape in shapes]
        self.prepared(*given, *(t.data_ptr() for t in made), scratch(self.nbytes))
        return made

    def __call__(self, given: Sequence[torch.Tensor], images: int | None = None) -> list[torch.Tensor]:
        """``images``: how many there are, in the first dimension of all tensors; None: they have no such dimension."""
        first = () if images is None else (images,)
        made = [given[0].new_empty((*first, *self.steps[i].shape), dtype=torch.float32) for i in self.leaving]
        if images == 0:
            return made
        tensors = [*(t.contiguous() for t in given), *made]
        room = scratch(self.nbytes)
        bases = [t.data_ptr() for t in tensors]
        self.prepared(*bases, room)
        apart = [t.nbytes // (images or 1) for t in tensors]
        for image in range(1, images or 1):
            self.prepared(*(base + image * step for base, step in zip(bases, apart, strict=True)), room)
        return made
