"""Layers one after another as one call: all their calls laid down once, values between them in memory that is shared.

Called one by one, a layer takes Python 15 to 60 us to find its objects, which are in no cache by then, and its result
is memory of its own. A chain is one array of calls (:class:`~spcomp.codegen.mlir_cpu.parallel.Prepared`); a value
inside it lies where one that nobody reads any more lay, which is in a cache more often than new memory is.

Layers on tiles may take turns (:mod:`spcomp.codegen.laid_slices`), so that what one makes is read before it leaves L2.
Pieces of the planes of ResNet-50's first stage were no faster (0.96 to 1.02): more values are alive at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
class Slices:
    """A step's work slice by slice of its tiles, which take turns with those of its neighbours."""

    works: tuple[Work, ...]
    sizes: tuple[int, ...]
    """Tiles of each, the same of all that take turns; together the first dimension of the result."""
    apart: tuple[int, ...]
    """Bytes from one tile to the next of each value that is read; 0: all slices read all of it."""


@dataclass(frozen=True)
class Step:
    """One layer of a chain. Values are numbered: 0 and up are results of steps, -1 and down the tensors given."""

    work: Work
    reads: tuple[int, ...]
    shape: tuple[int, ...]
    """Of one image of the result, float32."""
    skipped: tuple[int, ...] = ()
    """Bytes of each value that it reads before what it reads; none where it is left out."""
    slices: Slices | None = None
    """Neighbours of equal sizes take turns, slice by slice."""

    @property
    def nbytes(self) -> int:
        """Of the result."""
        return FLOAT_BYTES * math.prod(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tiles of its slices; none where it has none."""
        return () if self.slices is None else self.slices.sizes

    @property
    def tile(self) -> int:
        """Bytes of a tile of the result."""
        return FLOAT_BYTES * math.prod(self.shape[1:])


def groups(steps: Sequence[Step]) -> list[range]:
    """All steps in order: those that take turns together, others alone."""
    found: list[range] = []
    for i, step in enumerate(steps):
        if i and step.sizes and step.sizes == steps[i - 1].sizes:
            found[-1] = range(found[-1].start, i + 1)
        else:
            found.append(range(i, i + 1))
    return found


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
        self.groups = groups(steps)
        home = {i: group for group in self.groups for i in group}
        last = {i: i for i in range(len(steps))}
        read = [(value, i) for i, step in enumerate(steps) for value in step.reads if value >= 0]
        last |= dict(read)
        apart = {value for value, i in read if home[value] != home[i]} | set(leaving)
        self.inside = {i for i in home if i not in apart and steps[i].sizes}
        """Values that the next slice's lie on."""
        needs: list[tuple[int, int, int, int]] = []
        for i in sorted(home.keys() - set(leaving)):
            if i in self.inside:
                needs.append((i, last[i], i, steps[i].tile * max(steps[i].sizes)))
            else:  # what some slices made stays while others are made, and what they read until all have
                needs.append((home[i].start, home[last[i]].stop - 1, i, steps[i].nbytes))
        needs.sort()
        places, held = offsets([(nbytes, first, end) for first, end, _, nbytes in needs])
        self.places = {i: place for (_, _, i, _), place in zip(needs, places, strict=True)}
        self.used = -(-held // ALIGNMENT) * ALIGNMENT
        works = [work for step in steps for work in (step.work, *(step.slices.works if step.slices else ()))]
        self.nbytes = self.used + max(work.nbytes for work in works)
        self.prepared = parallel.Prepared(self._stages, given + len(self.leaving) + 1)

    def _stages(self, *bases: int) -> list[parallel.Stage]:
        """``bases``: of the tensors given, of those handed out, of scratch memory."""
        given, room = bases[: self.given], bases[-1]
        values = {i: room + at for i, at in self.places.items()}
        values |= zip(self.leaving, bases[self.given : -1], strict=True)
        values |= {-1 - i: base for i, base in enumerate(given)}
        stages: list[parallel.Stage] = []
        for work, reads, result in self._laid(values):
            for stage in work.stages(reads, result, room + self.used):
                if stages and len(stage) == 1 == len(stages[-1]):
                    stages[-1] = [[*stages[-1][0], *stage[0]]]
                else:
                    stages.append(stage)
        return stages

    def _laid(self, values: Mapping[int, int]) -> Iterator[tuple[Work, list[int], int]]:
        """All work in its order: (what, where what it reads lies, where its result does)."""
        for group in self.groups:
            sizes = self.steps[group.start].sizes
            for turn, done in enumerate([0, *itertools.accumulate(sizes[:-1])]):
                for i in group:
                    step, result = self.steps[i], values[i]
                    skipped = step.skipped or (0,) * len(step.reads)
                    reads = [values[value] + skip for value, skip in zip(step.reads, skipped, strict=True)]
                    work = step.work
                    if step.slices is not None:
                        work = step.slices.works[turn]
                        for j, (value, nbytes) in enumerate(zip(step.reads, step.slices.apart, strict=True)):
                            reads[j] += 0 if value in self.inside else done * nbytes
                        result += 0 if i in self.inside else done * step.tile
                    yield work, reads, result

    def at(self, given: Sequence[int], shapes: Sequence[tuple[int, ...]] | None = None) -> list[torch.Tensor]:
        """For contiguous tensors at these addresses, which are as the steps expect and live that long.

        ``shapes``: of what is handed out, other than the steps' own.
        """
        made, bases = [], [*given]
        for shape in shapes or [self.steps[i].shape for i in self.leaving]:
            made.append(torch.empty(shape, dtype=torch.float32, device=CPU))
            bases.append(made[-1].data_ptr())
        self.prepared(*bases, scratch(self.nbytes))
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
