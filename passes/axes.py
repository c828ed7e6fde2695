"""Which slices of which dimensions can go together: axes, relations between them, and their greatest solution.

An axis is a dimension of one value, of static size. An index of it that is cut is gone from the value. Each op relates
the axes of its inputs and its result; all relations are monotone ("cut here only if cut there"), so that there is a
greatest set of cuts that keeps all of them, found by starting from "everything goes" and taking back what a relation
forbids until nothing changes (Kildall, 1973; as a dependency graph between layers: Fang et al., DepGraph, 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import fx

Axis = tuple[fx.Node, int | str]
"""A dimension of a node's value, or one that exists in between only (by name), as the groups of a convolution."""
Bits = NDArray[np.bool_]


class Relation(Protocol):
    """``tighten`` takes back cuts that the relation forbids."""

    @property
    def axes(self) -> tuple[Axis, ...]: ...

    def tighten(self, cut: dict[Axis, Bits]) -> None: ...


@dataclass(frozen=True, eq=False)
class Same:
    """Two axes are cut alike."""

    a: Axis
    b: Axis

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.a, self.b

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        both = cut[self.a] & cut[self.b]
        cut[self.a], cut[self.b] = both, both.copy()


@dataclass(frozen=True, eq=False)
class Part:
    """``small`` is made of the elements ``index`` of ``big``, in that order."""

    big: Axis
    small: Axis
    index: NDArray[np.int64]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self.big, self.small

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        cut[self.small] = cut[self.small] & cut[self.big][self.index]
        big = cut[self.big].copy()
        np.logical_and.at(big, self.index, cut[self.small])
        cut[self.big] = big


@dataclass(frozen=True, eq=False)
class Product:
    """``flat`` is the row-major product of the axes ``parts``; None among them is one that keeps all its ``sizes``."""

    flat: Axis
    parts: tuple[Axis | None, ...]
    sizes: tuple[int, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.flat, *(p for p in self.parts if p is not None))

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        flat = cut[self.flat].reshape(self.sizes)
        for d, part in enumerate(self.parts):
            if part is not None:
                others = tuple(i for i in range(len(self.sizes)) if i != d)
                cut[part] = cut[part] & flat.all(axis=others)
        allowed = np.zeros(self.sizes, dtype=np.bool_)
        for d, part in enumerate(self.parts):
            if part is not None:
                shape = [1] * len(self.sizes)
                shape[d] = -1
                allowed |= cut[part].reshape(shape)
        cut[self.flat] = cut[self.flat] & allowed.reshape(-1)


@dataclass(frozen=True, eq=False)
class Read:
    """An element of ``inputs`` goes only if no result that stays multiplies it, or if it is ``folded`` [k].

    ``read`` says which [k] some results [n] multiply.
    """

    inputs: Axis
    results: Axis | None
    read: Callable[[Bits], Bits]
    folded: Bits

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.inputs,) if self.results is None else (self.inputs, self.results)

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        stay = np.ones(1, dtype=np.bool_) if self.results is None else ~cut[self.results]
        cut[self.inputs] = cut[self.inputs] & (~self.read(stay) | self.folded)


@dataclass(frozen=True, eq=False)
class Only:
    """Nothing but ``allowed`` may be cut."""

    axis: Axis
    allowed: Bits

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.axis,)

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        cut[self.axis] = cut[self.axis] & self.allowed


@dataclass(frozen=True, eq=False)
class Groups:
    """Aligned groups of ``size`` elements are cut whole or not at all; a ragged last group is one."""

    axis: Axis
    size: int

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (self.axis,)

    def tighten(self, cut: dict[Axis, Bits]) -> None:
        bits = cut[self.axis]
        whole = np.logical_and.reduceat(bits, np.arange(0, len(bits), self.size))
        cut[self.axis] = np.repeat(whole, self.size)[: len(bits)]


@dataclass(eq=False)
class Cuts:
    """The axes of a graph, their relations, and what is cut."""

    cut: dict[Axis, Bits] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    _touching: dict[Axis, list[Relation]] = field(default_factory=dict)
    _count: dict[Axis, int] = field(default_factory=dict)
    """How many elements of each axis are cut."""

    def add(self, axis: Axis, size: int) -> None:
        self.cut[axis] = np.ones(size, dtype=np.bool_)
        self._touching[axis] = []
        self._count[axis] = size

    def relate(self, relation: Relation) -> None:
        self.relations.append(relation)
        for axis in relation.axes:
            self._touching[axis].append(relation)

    def keep(self, axis: Axis) -> None:
        """Nothing of an axis is cut."""
        self.relate(Only(axis, np.zeros_like(self.cut[axis])))

    def solve(self) -> None:
        """The greatest cuts that keep all relations and leave every axis of a value at least one element."""
        self._settle(self.relations)
        for axis in list(self.cut):
            if 0 < self._count[axis] == self.cut[axis].size:
                self.cut[axis][0] = False
                self._count[axis] -= 1
                self._settle(self._touching[axis])

    def _settle(self, start: Sequence[Relation]) -> None:
        queue = deque(start)
        waiting = {id(r) for r in queue}
        count = self._count
        while queue:
            relation = queue.popleft()
            waiting.discard(id(relation))
            if not any(count[axis] for axis in relation.axes):
                continue  # nothing to take back
            relation.tighten(self.cut)
            for axis in relation.axes:
                now = int(np.count_nonzero(self.cut[axis]))
                if now == count[axis]:
                    continue
                count[axis] = now
                for other in self._touching[axis]:
                    if id(other) not in waiting:
                        waiting.add(id(other))
                        queue.append(other)

    def hold(self, relation: Relation) -> None:
        """One more relation, once all others are solved."""
        self.relate(relation)
        self._settle([relation])

    def restore(self, axis: Axis, indices: NDArray[np.int64]) -> None:
        """Take back cuts of an axis, and those of others that need them."""
        bits = self.cut[axis].copy()
        bits[indices] = False
        self.cut[axis], self._count[axis] = bits, int(np.count_nonzero(bits))
        self._settle(self._touching[axis])

    def left(self, axis: Axis) -> int:
        """How many elements of an axis stay."""
        return int((~self.cut[axis]).sum())
