"""A graph's nodes, sorted into neighbours that are laid down as one call and nodes that are called as they are."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import fx

from spcomp import ops
from spcomp.codegen.laid_copies import VIEWS, flat, shape, unread
from spcomp.codegen.laid_nodes import LAYERS, Made, work_of
from spcomp.codegen.laid_slices import slices_of
from spcomp.codegen.mlir_cpu.laid_down import Chain, Step

if TYPE_CHECKING:
    from spcomp.codegen.laid_program import LaidProgram

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Place:
    """Where a value lies: in the memory of which node, and how many bytes behind its start."""

    base: fx.Node
    skipped: int


@dataclass(frozen=True)
class Call:
    """A node that is called as it is."""

    node: fx.Node
    drops: tuple[fx.Node, ...]
    """Memories that nobody reads later."""


@dataclass(frozen=True)
class Laid:
    """Neighbouring nodes as one call: the memories that it takes and makes."""

    chain: Chain
    takes: tuple[fx.Node, ...]
    makes: tuple[fx.Node, ...]
    drops: tuple[fx.Node, ...]
    layers: int


@dataclass(eq=False)
class _Steps:
    """Neighbouring nodes that have work, while they are collected."""

    works: dict[fx.Node, Made] = field(default_factory=dict)


Parts = list[Call | Laid]


class Laying:
    """A program's nodes, sorted into chains and calls for the kernels of one table."""

    def __init__(self, program: LaidProgram, table: ops.KernelTable) -> None:
        self.program, self.table = program, table
        self.places: dict[fx.Node, Place] = {}
        self.checked: dict[tuple[fx.Node, int], None] = {}
        self.written: set[fx.Node] = set()

    def parts(self) -> Parts:
        found: list[fx.Node | _Steps] = []
        passed = unread(self.program.nodes)
        for node in self.program.nodes:
            if node.op == "output" or (node.op != "placeholder" and (self._viewed(node) or node in passed)):
                continue
            made = self._made(node)
            if made is not None and made.into is not None:
                self.places[node] = self.places[made.into]
            elif flat(node):
                self.places[node] = Place(node, 0)
            if made is not None:
                if not found or not isinstance(found[-1], _Steps):
                    found.append(_Steps())
                found[-1].works[node] = made  # type: ignore[union-attr]
            elif node.op != "placeholder":
                found.append(node)
        p = self.program
        order = {node: i for i, node in enumerate(p.given)}
        p.checked = [(order[node], limit) for node, limit in self.checked]
        p.written, p.places = {order[node] for node in self.written}, self.places
        return self._cut(found)

    def _made(self, node: fx.Node) -> Made | None:
        """The work of a node, if what it reads lies where it is known to lie."""
        made = work_of(node, self.table)
        if made is None:
            return None
        index = None if made.index is None else made.index[0]
        if any(n not in self.places for n in made.reads if n is not index):
            return None
        if made.index is not None:
            self.checked[made.index] = None
        if made.into is not None:
            self.written.add(made.into)
        return made

    def _cut(self, found: Sequence[fx.Node | _Steps]) -> Parts:
        """The parts, each knowing which memories are read later."""
        later: set[fx.Node] = set()
        fx.map_arg(self.program.result, lambda n: later.add(self._base(n)))
        parts: Parts = []
        for one in reversed(found):
            if isinstance(one, _Steps):
                parts.append(self._chain(one, later))
                touched = {*parts[-1].takes, *parts[-1].makes}  # type: ignore[union-attr]
            else:
                touched = {self._base(n) for n in one.all_input_nodes}
                drops = touched - later | ({one} - later)
                parts.append(Call(one, tuple(drops)))
                touched.add(one)
            later |= touched
        return parts[::-1]

    def _chain(self, steps: _Steps, later: set[fx.Node]) -> Laid:
        mine = {node: i for i, node in enumerate(steps.works)}
        reads = [self.places.get(n, Place(n, 0)) for made in steps.works.values() for n in made.reads]
        takes = tuple(dict.fromkeys(place.base for place in reads if place.base not in mine))
        makes = tuple(n for n in mine if n in later)
        numbers = mine | {n: -1 - i for i, n in enumerate(takes)}
        slices = slices_of(steps.works, {n: place.base for n, place in self.places.items()})
        chained = []
        for node, made in steps.works.items():
            places = [self.places.get(n, Place(n, 0)) for n in made.reads]
            own = shape(node) if made.into is None else (0,)
            numbered = tuple(numbers[place.base] for place in places)
            chained.append(Step(made.work, numbered, own, tuple(place.skipped for place in places), slices.get(node)))
        drops = tuple(n for n in takes if n not in later)
        layers = sum(n.target in LAYERS for n in mine)
        return Laid(Chain(chained, len(takes), [mine[n] for n in makes]), takes, makes, drops, layers)

    def _base(self, node: fx.Node) -> fx.Node:
        return self.places[node].base if node in self.places else node

    def _viewed(self, node: fx.Node) -> bool:
        """Whether a node is an address in a memory that is known."""
        place = self.places.get(node.all_input_nodes[0]) if node.target in VIEWS and node.all_input_nodes else None
        if place is None:
            return False
        if isinstance(node.meta.get("val"), list | tuple):  # its items are the views
            if not all(user.target is operator.getitem and flat(user) for user in node.users):
                return False
            self.places[node] = place
        elif flat(node):
            self.places[node] = Place(place.base, _offset(node) - _offset(place.base))
        return node in self.places


def _offset(node: fx.Node) -> int:
    """Bytes before a value in its memory, as its fake value says."""
    return int(node.meta["val"].storage_offset()) * FLOAT_BYTES
