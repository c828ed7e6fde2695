"""A whole graph of few rows as calls that are laid down: its layers, and the small things between them.

A token goes through GPT-2 in 49 layers and a hundred small ops. Called one at a time from Python, whose objects and
code the weights push out of the caches again and again, all of it takes half as long as the weights take to be read.

    %n : layer_norm(%x, ...); %l : linear_v1(%n, 0, 2304); %q : unbind(view(%l))[0]; %a : attention(%q, %k, %v)
    one call: norm; window; attend              views are addresses; whatever is not known here is called as it was
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen.laid_nodes import LAYERS, VIEWS, Made, flat, shape, unread, work_of
from spcomp.codegen.mlir_cpu.laid_down import Chain, Step

FEWEST_LAYERS = 2
"""Layers that a chain must have for a program to be worth laying down."""
MOST_KEPT = 4
"""Tables and numbers of threads that a program is kept laid down for: a copy of a model whose weights were updated
calls the same program with other kernels."""
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


class LaidProgram:
    """``run(*placeholders)`` of a graph. Thread safe: what is laid down is made under a lock, once for each table."""

    def __init__(self, gm: fx.GraphModule, otherwise: Callable[..., Any] | None = None, *, lifted: int = 0) -> None:
        """``otherwise``: what runs the graph with kernels of which hardly any can be laid down. ``lifted``: how many
        placeholders, the first ones, are weights and buffers of a model, which seldom change."""
        self.gm, self.otherwise = gm, otherwise or gm
        self.nodes = list(gm.graph.nodes)
        self.given = [n for n in self.nodes if n.op == "placeholder"]
        (self.result,) = next(n for n in reversed(self.nodes) if n.op == "output").args
        self._like = [n.meta.get("val") for n in self.given]
        self._lifted = lifted
        self._settled: tuple[tuple[Any, ...], list[int]] | None = None
        """Weights and buffers as they were when they were looked at, and where they lay."""
        self._latest: tuple[ops.KernelTable, int, Parts] | None = None
        self._checked: list[tuple[int, int]] = []
        """Placeholders of indices, and what they must be below."""
        self._written: set[int] = set()
        self._made: dict[object, tuple[tuple[object, ...], Parts]] = {}
        """By threads and kernels, which are kept, so that no other has their numbers."""
        self._places: dict[fx.Node, Place] = {}
        self._lock = threading.Lock()

    def parts(self, table: ops.KernelTable) -> Parts:
        """What is done with these kernels, for as many threads as torch has now; nothing if that is not worth it."""
        latest, threads = self._latest, torch.get_num_threads()
        if latest is not None and latest[0] is table and latest[1] == threads:
            return latest[2]
        kernels = tuple(kernel for slot in table for kernel in slot.kernels)
        key = threads, *map(id, kernels)
        known = self._made.get(key)
        if known is None:
            with self._lock:
                found = _Laying(self, table).parts()
                if all(isinstance(part, Call) or part.layers < FEWEST_LAYERS for part in found):
                    found = []
                for oldest in list(self._made)[: 1 - MOST_KEPT]:
                    self._made.pop(oldest, None)
                known = self._made[key] = (kernels, found)
        self._latest = table, threads, known[1]
        return known[1]

    def __call__(self, *tensors: Any) -> Any:
        parts = self.parts(ops.running())
        usual = self._usual(tensors) if parts else None
        if usual is None:
            return self.otherwise(*tensors)
        addresses, held = usual
        values: dict[fx.Node, Any] = dict(zip(self.given, tensors, strict=True))
        lies = dict(zip(self.given, addresses, strict=True))
        for part in parts:
            if isinstance(part, Laid):
                for node in part.takes:
                    if node not in lies:
                        held.append(values[node].contiguous())
                        lies[node] = held[-1].data_ptr()
                made = part.chain.at([lies[n] for n in part.takes])
                values |= zip(part.makes, made, strict=True)
            else:
                values[part.node] = self._called(part.node, values)
            for node in part.drops:
                del values[node]
        return fx.map_arg(self.result, lambda n: self._value(n, values))

    def _called(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args: Any = fx.map_arg((node.args, node.kwargs), lambda n: self._value(n, values))
        target: Any = node.target
        return DIRECT.get(target, target)(*args[0], **args[1])

    def _usual(self, tensors: tuple[Any, ...]) -> tuple[list[int], list[torch.Tensor]] | None:
        """Where the memories of the placeholders begin, and copies of those that are not contiguous. None unless
        tensors are as the graph says, indices inside, and what is written contiguous: then the graph itself is run,
        and says what is wrong.

        Weights and buffers that are the same objects, at the same addresses, as when they were looked at last are not
        looked at again: there are hundreds.
        """
        found: list[int] = []
        if (settled := self._settled) is not None and all(map(operator.is_, tensors, settled[0])):
            found = [tensor.data_ptr() for tensor in settled[0]]
            if found != settled[1]:
                found = []
        held: list[torch.Tensor] = []
        first = len(found)
        for i, (like, value) in enumerate(zip(self._like[first:], tensors[first:], strict=True), first):
            if not isinstance(like, torch.Tensor):
                found.append(0)
                continue
            if value.shape != like.shape or value.dtype is not like.dtype:
                return None
            if not value.is_contiguous():
                if i in self._written:
                    return None
                held.append(value.contiguous())
                value = held[-1]
            found.append(value.data_ptr())
        if not all(all(0 <= n < limit for n in tensors[i].flatten().tolist()) for i, limit in self._checked):
            return None
        lifted = tensors[: self._lifted]
        if not first and lifted and all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in lifted):
            self._settled = lifted, found[: self._lifted]
        return found, held

    def _value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """A value as a tensor: its memory's own, or a view of that."""
        if node in values:
            return values[node]
        place, like = self._places[node], node.meta["val"]
        memory = values[place.base].contiguous()
        start = memory.storage_offset() + place.skipped // FLOAT_BYTES
        return memory.as_strided(like.shape, like.stride(), start)


def _linear(x: torch.Tensor, slot: int, n: int) -> torch.Tensor:
    return ops.linear(x, slot=slot, n=n)


DIRECT: dict[Any, Callable[..., torch.Tensor]] = {
    ops.LINEAR: _linear,
    ops.EMBEDDING: lambda ids, slot, k, dtype: ops.embedding(ids, slot=slot),
}
"""What the dispatcher would find."""


class _Laying:
    """A program's nodes, sorted into chains and calls for the kernels of one table."""

    def __init__(self, program: LaidProgram, table: ops.KernelTable) -> None:
        self.program, self.table = program, table
        self.places: dict[fx.Node, Place] = {}
        self.checked: dict[tuple[fx.Node, int], None] = {}
        self.written: set[fx.Node] = set()

    def parts(self) -> Parts:
        found: list[fx.Node | _Steps] = []
        for node in self.program.nodes:
            if node.op == "output" or (node.op != "placeholder" and (self._viewed(node) or unread(node))):
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
        p._checked = [(order[node], limit) for node, limit in self.checked]
        p._written, p._places = {order[node] for node in self.written}, self.places
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
        chained = []
        for node, made in steps.works.items():
            places = [self.places.get(n, Place(n, 0)) for n in made.reads]
            own = shape(node) if made.into is None else (0,)
            numbered = tuple(numbers[place.base] for place in places)
            chained.append(Step(made.work, numbered, own, tuple(place.skipped for place in places)))
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
