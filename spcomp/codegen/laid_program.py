"""A whole graph of few rows as calls that are laid down: its layers, and the small things between them.

A token goes through GPT-2 in 49 layers and a hundred small ops. Called one at a time from Python, whose objects and
code the weights push out of the caches again and again, all of it takes half as long as the weights take to be read.

    %n : layer_norm(%x, ...); %l : linear_v1(%n, 0, 2304); %q : unbind(view(%l))[0]; %a : attention(%q, %k, %v)
    one call: norm; window; attend              views are addresses; whatever is not known here is called as it was
"""

from __future__ import annotations

import ctypes
import math
import operator
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen.laid_parts import FLOAT_BYTES, Call, Laid, Laying, Parts, Place
from spcomp.codegen.mlir_cpu.laid_down import Chain
from spcomp.codegen.mlir_cpu.max_pool import max_pool

FEWEST_LAYERS = 2
"""Layers that a chain must have for a program to be worth laying down."""
MOST_KEPT = 4
"""Tables and numbers of threads that a program is kept laid down for: a copy of a model whose weights were updated
calls the same program with other kernels."""
View = tuple[tuple[int, ...], tuple[int, ...], int]
"""Sizes, strides and start, as ``as_strided`` takes them."""


@dataclass(frozen=True)
class Alone:
    """A program that is one call, and what it hands out of the memories that it makes."""

    chain: Chain
    taken: Callable[[Sequence[int]], Sequence[int]]
    """Of the addresses of all placeholders, those that the call is given."""
    shapes: tuple[tuple[int, ...], ...]
    """Of the memories."""
    gives: tuple[tuple[int, View | None], ...]
    """For each result its memory, and where in it, if it is not all of it."""


Lines = tuple[Parts, Alone | None]


class LaidProgram:
    """``run(*placeholders)`` of a graph. Thread safe: what is laid down is made under a lock, once for each table."""

    def __init__(self, gm: fx.GraphModule, otherwise: Callable[..., Any] | None = None, *, lifted: int = 0) -> None:
        """``otherwise``: what runs the graph with kernels of which hardly any can be laid down. ``lifted``: how many
        placeholders, the first ones, are weights and buffers of a model, which seldom change."""
        self.gm, self.otherwise = gm, otherwise or gm
        self.nodes = list(gm.graph.nodes)
        self.given = [n for n in self.nodes if n.op == "placeholder"]
        (self.result,) = next(n for n in reversed(self.nodes) if n.op == "output").args
        likes = [n.meta.get("val") for n in self.given]
        self._like = [(like.shape, like.dtype) if isinstance(like, torch.Tensor) else None for like in likes]
        self._counts = [math.prod(like[0]) if like is not None else 0 for like in self._like]
        self._lifted = lifted
        self._settled: tuple[tuple[Any, ...], list[int]] | None = None
        """Weights and buffers as they were when they were looked at, and where they lay."""
        self._latest: tuple[ops.KernelTable, int, Lines] | None = None
        self.checked: list[tuple[int, int]] = []
        """Placeholders of indices, and what they must be below."""
        self.written: set[int] = set()
        self._made: dict[object, tuple[tuple[object, ...], Lines]] = {}
        """By threads and kernels, which are kept, so that no other has their numbers."""
        self.places: dict[fx.Node, Place] = {}
        self._lock = threading.Lock()

    def parts(self, table: ops.KernelTable) -> Parts:
        """What is done with these kernels, for as many threads as torch has now; nothing if that is not worth it."""
        return self._lines(table)[0]

    def _lines(self, table: ops.KernelTable) -> Lines:
        latest, threads = self._latest, torch.get_num_threads()
        if latest is not None and latest[0] is table and latest[1] == threads:
            return latest[2]
        kernels = tuple(kernel for slot in table for kernel in slot.kernels)
        key = threads, *map(id, kernels)
        known = self._made.get(key)
        if known is None:
            with self._lock:
                found = Laying(self, table).parts()
                if all(isinstance(part, Call) or part.layers < FEWEST_LAYERS for part in found):
                    found = []
                for oldest in list(self._made)[: 1 - MOST_KEPT]:
                    self._made.pop(oldest, None)
                known = self._made[key] = (kernels, (found, self._alone(found)))
        self._latest = table, threads, known[1]
        return known[1]

    def _alone(self, parts: Parts) -> Alone | None:
        """The whole program, where it is one call and hands out nothing but tensors that this call makes."""
        if len(parts) != 1 or not isinstance(parts[0], Laid) or not isinstance(self.result, tuple | list):
            return None
        part, results = parts[0], list(self.result)
        if not all(isinstance(n, fx.Node) and n in self.places for n in results):
            return None
        places = [self.places[n] for n in results]
        bases = [place.base for place in places]
        if not all(base in part.makes for base in bases):
            return None
        shapes = [tuple(part.chain.steps[i].shape) for i in part.chain.leaving]
        gives: list[tuple[int, View | None]] = []
        for node, place in zip(results, places, strict=True):
            like, i = node.meta["val"], part.makes.index(place.base)
            if bases.count(place.base) == 1 and like.is_contiguous() and like.numel() == math.prod(shapes[i]):
                shapes[i] = tuple(like.shape)
                gives.append((i, None))
            else:
                gives.append((i, (tuple(like.shape), like.stride(), place.skipped // FLOAT_BYTES)))
        order = {node: i for i, node in enumerate(self.given)}
        takes = [order[n] for n in part.takes]
        taken = operator.itemgetter(*takes) if len(takes) > 1 else lambda addresses: [addresses[i] for i in takes]
        return Alone(part.chain, taken, tuple(shapes), tuple(gives))

    def alone(self, table: ops.KernelTable, tensors: Sequence[Any]) -> list[torch.Tensor] | None:
        """The results for all placeholders, where the program is one call and these are usual; else None.

        Nothing else of torch is called, so that neither the table nor the modes of torch need to be set.
        """
        only = self._lines(table)[1]
        usual = self._usual(tensors) if only is not None else None
        if only is None or usual is None:
            return None
        addresses, _held = usual
        made = only.chain.at(only.taken(addresses), only.shapes)
        return [made[i] if view is None else made[i].as_strided(*view) for i, view in only.gives]

    def short(
        self, table: ops.KernelTable, tensors: Mapping[str, torch.Tensor], lifted: Sequence[str]
    ) -> Callable[..., torch.Tensor | None]:
        """As :meth:`alone` from inputs, of which shapes and dtypes are known, to the first result.

        ``lifted``: the names of the other placeholders in ``tensors``. Between calls the caches hold other things, and
        what Python then looks at comes from memory: here that is as little as may be.
        """
        held = operator.itemgetter(*lifted, lifted[0]) if lifted else None
        address, threads = torch.Tensor.data_ptr, torch.get_num_threads

        def call(*inputs: torch.Tensor) -> torch.Tensor | None:
            latest = self._latest
            if latest is None or latest[0] is not table or latest[1] != threads():
                return longer(inputs)
            only = latest[2][1]
            if only is None:
                return longer(inputs)
            addresses = []
            for x in inputs:
                if not x.is_contiguous():
                    return longer(inputs)
                addresses.append(x.data_ptr())
            if held is not None:
                settled, given = self._settled, held(tensors)[:-1]
                if settled is None or not all(map(operator.is_, given, settled[0])):
                    return longer(inputs)
                lie = list(map(address, given))
                if lie != settled[1]:
                    return longer(inputs)
                addresses = [*lie, *addresses]
            if self.checked and not self._inside(addresses):
                return longer(inputs)
            made = only.chain.at(only.taken(addresses), only.shapes)
            i, view = only.gives[0]
            return made[i] if view is None else made[i].as_strided(*view)

        def longer(inputs: Sequence[torch.Tensor]) -> torch.Tensor | None:
            results = self.alone(table, [*(tensors[name] for name in lifted), *inputs])
            return None if results is None else results[0]

        return call

    def _inside(self, addresses: Sequence[int]) -> bool:
        """Whether what is a number of a row among placeholders at these addresses is below what it must be below."""
        for i, limit in self.checked:
            if not all(0 <= n < limit for n in (ctypes.c_int64 * self._counts[i]).from_address(addresses[i])):
                return False
        return True

    def __call__(self, *tensors: Any) -> Any:
        table = ops.running()
        results = self.alone(table, tensors)
        if results is not None:
            return tuple(results)
        parts = self.parts(table)
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

    def _usual(self, tensors: Sequence[Any]) -> tuple[list[int], list[torch.Tensor]] | None:
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
            if like is None:
                found.append(0)
                continue
            if value.shape != like[0] or value.dtype is not like[1]:
                return None
            if not value.is_contiguous():
                if i in self.written:
                    return None
                held.append(value.contiguous())
                value = held[-1]
            found.append(value.data_ptr())
        if not all(all(0 <= n < limit for n in tensors[i].flatten().tolist()) for i, limit in self.checked):
            return None
        lifted = () if first else tuple(tensors[: self._lifted])
        if lifted and all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in lifted):
            self._settled = lifted, found[: self._lifted]
        return found, held

    def _value(self, node: fx.Node, values: dict[fx.Node, Any]) -> Any:
        """A value as a tensor: its memory's own, or a view of that."""
        if node in values:
            return values[node]
        place, like = self.places[node], node.meta["val"]
        memory = values[place.base].contiguous()
        start = memory.storage_offset() + place.skipped // FLOAT_BYTES
        return memory.as_strided(like.shape, like.stride(), start)


def _linear(x: torch.Tensor, slot: int, n: int) -> torch.Tensor:
    return ops.linear(x, slot=slot, n=n)


def _conv(x: torch.Tensor, residual: torch.Tensor | None, slot: int, size: Sequence[int]) -> torch.Tensor:
    return ops.conv(x, residual, slot=slot, size=size)


DIRECT: dict[Any, Callable[..., torch.Tensor]] = {
    ops.LINEAR: _linear,
    ops.CONV: _conv,
    ops.MAX_POOL: lambda x, kernel, stride, padding: max_pool(x, kernel=kernel, stride=stride, padding=padding),
    ops.EMBEDDING: lambda ids, slot, k, dtype: ops.embedding(ids, slot=slot),
}
"""What the dispatcher would find."""
