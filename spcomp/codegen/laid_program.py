"""A whole graph of few rows as calls that are laid down: its layers, and the small things between them.

A token goes through GPT-2 in 49 layers and a hundred small ops. Called one at a time from Python, whose objects and
code the weights push out of the caches again and again, all of it takes half as long as the weights take to be read.

    %n : layer_norm(%x, ...); %l : linear_v1(%n, 0, 2304); %q : unbind(view(%l))[0]; %a : attention(%q, %k, %v)
    one call: norm; window; attend              views are addresses; whatever is not known here is called as it was

Values are float32, contiguous, of sizes that the graph's fake values say.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen.mlir_cpu import jit, small
from spcomp.codegen.mlir_cpu.laid_down import Chain, LinearKernel, Step, Work

aten = torch.ops.aten
VIEWS = frozenset(
    {
        aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.unsqueeze.default, aten.squeeze.dim,
        aten.squeeze.dims, aten.transpose.int, aten.permute.default, aten.t.default, aten.unbind.int,
        aten.select.int, aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.slice.Tensor,
        aten.detach.default, aten.contiguous.default, aten.alias.default, operator.getitem,
    }
)  # fmt: skip
"""Of a value that stays contiguous, an address in the same memory."""
BINARY = {aten.add.Tensor: "add", aten.sub.Tensor: "sub", aten.mul.Tensor: "mul"}
SINGLE = {aten.relu.default: "relu", aten.gelu.default: "gelu", aten.silu.default: "silu"}
FEWEST_LAYERS = 2
"""Layers that a chain must have for a program to be worth laying down."""
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

    nodes: list[fx.Node] = field(default_factory=list)
    works: list[tuple[Work, list[Place]]] = field(default_factory=list)


Parts = list[Call | Laid]


class LaidProgram:
    """``run(*placeholders)`` of a graph. Thread safe: what is laid down is made under a lock, once for each table."""

    def __init__(self, gm: fx.GraphModule, otherwise: Callable[..., Any] | None = None) -> None:
        """``otherwise``: what runs the graph with kernels of which hardly any can be laid down."""
        self.gm, self.otherwise = gm, otherwise or gm
        self.nodes = list(gm.graph.nodes)
        self.given = [n for n in self.nodes if n.op == "placeholder"]
        (self.result,) = next(n for n in reversed(self.nodes) if n.op == "output").args
        self._like = [n.meta.get("val") for n in self.given]
        self._checked: list[tuple[fx.Node, int]] = []
        """Placeholders of indices, and what they must be below."""
        self._written: set[fx.Node] = set()
        self._made: dict[int, tuple[tuple[object, ...], Parts]] = {}
        self._places: dict[fx.Node, Place] = {}
        self._lock = threading.Lock()

    def parts(self, table: ops.KernelTable) -> Parts:
        """What is done with these kernels, for as many threads as torch has now; nothing if that is not worth it."""
        threads = torch.get_num_threads()
        kernels = tuple(kernel for slot in table for kernel in slot.kernels)
        known = self._made.get(threads)
        if known is None or len(known[0]) != len(kernels) or any(map(operator.is_not, known[0], kernels)):
            with self._lock:
                found = _Laying(self, table).parts()
                if all(isinstance(part, Call) or part.layers < FEWEST_LAYERS for part in found):
                    found = []
                known = self._made[threads] = (kernels, found)
        return known[1]

    def __call__(self, *tensors: Any) -> Any:
        parts = self.parts(ops.running())
        values: dict[fx.Node, Any] = dict(zip(self.given, tensors, strict=True))
        if not parts or not self._usual(values):
            return self.otherwise(*tensors)
        for part in parts:
            if isinstance(part, Laid):
                values |= zip(part.makes, part.chain([values[n] for n in part.takes], 1), strict=True)
            else:
                values[part.node] = self._called(part.node, values)
            for node in part.drops:
                del values[node]
        return fx.map_arg(self.result, lambda n: self._value(n, values))

    def _called(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        args: Any = fx.map_arg((node.args, node.kwargs), lambda n: self._value(n, values))
        target: Any = node.target
        return DIRECT.get(target, target)(*args[0], **args[1])

    def _usual(self, values: dict[fx.Node, Any]) -> bool:
        """Whether tensors are as the graph says, indices inside, and what is written contiguous; if not, the graph
        itself is run, and says what is wrong."""
        for node, like in zip(self.given, self._like, strict=True):
            if isinstance(like, torch.Tensor):
                value = values[node]
                if value.shape != like.shape or value.dtype is not like.dtype:
                    return False
        inside = all(all(0 <= i < limit for i in values[node].flatten().tolist()) for node, limit in self._checked)
        return inside and all(values[node].is_contiguous() for node in self._written)

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
            if node.op == "placeholder":
                if _flat(node):
                    self.places[node] = Place(node, 0)
            elif node.op != "output" and not self._viewed(node):
                made = self._made(node)
                if made is None:
                    found.append(node)
                    if _flat(node):
                        self.places[node] = Place(node, 0)
                    continue
                if not found or not isinstance(found[-1], _Steps):
                    found.append(_Steps())
                found[-1].nodes.append(node)  # type: ignore[union-attr]
                found[-1].works.append(made)  # type: ignore[union-attr]
        p = self.program
        p._checked, p._written, p._places = list(self.checked), self.written, self.places
        return self._cut(found)

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
        mine = {node: i for i, node in enumerate(steps.nodes)}
        reads = [place.base for _, places in steps.works for place in places]
        takes = tuple(dict.fromkeys(n for n in reads if n not in mine))
        makes = tuple(n for n in mine if n in later)
        numbers = mine | {n: -1 - i for i, n in enumerate(takes)}
        made = [
            Step(work, tuple(numbers[p.base] for p in places), self._own(node), tuple(p.skipped for p in places))
            for node, (work, places) in zip(steps.nodes, steps.works, strict=True)
        ]
        drops = tuple(n for n in takes if n not in later)
        layers = sum(n.target is ops.LINEAR for n in steps.nodes)
        return Laid(Chain(made, len(takes), [mine[n] for n in makes]), takes, makes, drops, layers)

    def _own(self, node: fx.Node) -> tuple[int, ...]:
        """The shape of the memory that a node's result needs: none where it writes to what is there."""
        return _shape(node) if self._base(node) is node else (0,)

    def _base(self, node: fx.Node) -> fx.Node:
        return self.places[node].base if node in self.places else node

    def _viewed(self, node: fx.Node) -> bool:
        """Whether a node is an address in a memory that is known."""
        if node.target not in VIEWS or not node.all_input_nodes:
            return False
        source = node.all_input_nodes[0]
        place = self.places.get(source)
        if place is None:
            return False
        if isinstance(node.meta.get("val"), list | tuple):  # its items are the views
            self.places[node] = place
            return all(user.target is operator.getitem for user in node.users)
        if not _flat(node):
            return False
        self.places[node] = Place(place.base, _offset(node) - _offset(place.base))
        return True

    def _made(self, node: fx.Node) -> tuple[Work, list[Place]] | None:
        """The work of a node and what it reads, or None where it is called."""
        if jit.available() is not None or node.op != "call_function":
            return None
        if node.target is aten.index_copy_.default:
            return self._copied(node)
        if not _flat(node):
            return None
        reads: list[object] = []
        work: Work | None = None
        args: Any = node.args
        target: Any = node.target
        elements = math.prod(_shape(node))
        if target is ops.LINEAR:
            reads, work = [args[0]], self._linear(node)
        elif target in BINARY and len(args) == 2 and not node.kwargs:
            reads = list(args)
            if all(isinstance(a, fx.Node) and _shape(a) == _shape(node) for a in args):
                work = small.pair(BINARY[target], elements)
        elif target in SINGLE and len(args) == 1:
            tanh = "_tanh" if node.kwargs.get("approximate") == "tanh" else ""
            reads, work = [args[0]], small.single(SINGLE[target] + tanh, elements)
        elif target is aten.layer_norm.default and not node.kwargs:
            x, sizes, weight, bias, eps = [*args, *(None, None, 1e-5)[len(args) - 2 :]][:5]
            reads = [v for v in (x, weight, bias) if v is not None]
            if len(sizes) == 1 and elements:
                features = int(sizes[0])
                given = {"weight": weight is not None, "bias": bias is not None}
                work = small.norm(elements // features, features, float(eps), **given)
        elif target is aten.scaled_dot_product_attention.default:
            reads, work = list(args[:3]), _attended(node)
        places = [self.places.get(n) for n in reads if isinstance(n, fx.Node) and _flat(n)]
        known = [place for place in places if place is not None]
        if work is None or len(known) < len(reads):
            return None
        self.places[node] = Place(node, 0)
        return work, known

    def _linear(self, node: fx.Node) -> Work | None:
        args: Any = node.args
        own = self.table[args[1]]
        m = math.prod(_shape(args[0])) // own.k if _flat(args[0]) else 0
        kernel = own.pick(m)
        return kernel.work_on_rows(m) if m and isinstance(kernel, LinearKernel) else None

    def _copied(self, node: fx.Node) -> tuple[Work, list[Place]] | None:
        """Rows of a cache that is given, written in place."""
        args: Any = node.args
        to, dim, index, source = args
        to_place, source_place = self.places.get(to), self.places.get(source)
        if to_place is None or source_place is None or index.op != "placeholder" or to.op != "placeholder":
            return None
        numbers = index.meta["val"]
        if numbers.dtype is not torch.int64 or numbers.dim() > 1 or not numbers.is_contiguous() or not _flat(source):
            return None
        shape, count = _shape(to), math.prod(numbers.shape)
        at = dim % len(shape)
        self.checked[index, shape[at]] = None
        self.written.add(to)
        self.places[node] = to_place
        work = small.copy(math.prod(shape[:at]), count, shape[at], math.prod(shape[at + 1 :]))
        return work, [to_place, Place(index, 0), source_place]


def _attended(node: fx.Node) -> Work | None:
    """Attention of every query to every key, without a mask."""
    args: Any = node.args
    q, k, v = (_shape(n) if _flat(n) else () for n in args[:3])
    plain = len(args) == 3 and not node.kwargs.keys() - {"scale"} and len(q) >= 3
    if not plain or k != v or len(k) != len(q) or (q[:-2], q[-1]) != (k[:-2], k[-1]):
        return None
    scale: Any = node.kwargs.get("scale")
    used = 1 / math.sqrt(q[-1]) if scale is None else float(scale)
    return small.attend(math.prod(q[:-2]), q[-2], k[-2], q[-1], used)


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _offset(node: fx.Node) -> int:
    """Bytes before a value in its memory, as its fake value says."""
    return int(node.meta["val"].storage_offset()) * FLOAT_BYTES


def _flat(node: fx.Node) -> bool:
    """Whether a value is a contiguous float32 tensor of known sizes on the CPU."""
    value = node.meta.get("val")
    return (
        isinstance(value, torch.Tensor)
        and value.dtype is torch.float32
        and value.device.type == "cpu"
        and all(type(s) is int for s in value.shape)
        and value.is_contiguous()
    )
