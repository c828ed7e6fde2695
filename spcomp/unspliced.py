"""Lowered programs with layers as torch's own ops again: what a dense compiler is given.

before:  %y : spcomp.linear_v1(%x, slot, 8)
after:   %w : placeholder; %b : placeholder; %h : aten.linear(%x, %w, %b); %y : aten.relu(%h)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.experts import EXPERTS, EXPERTS_DENSE, GROUPED, GROUPED_DENSE
from spcomp.parts import Program
from spcomp.record import SlotRecord

aten = torch.ops.aten
ACTIVATIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "relu": (aten.relu.default, {}),
    "silu": (aten.silu.default, {}),
    "gelu": (aten.gelu.default, {}),
    "gelu_tanh": (aten.gelu.default, {"approximate": "tanh"}),
}


def slots_of(node: fx.Node) -> tuple[int, ...]:
    """The slots whose kernels a node calls."""
    match node.target, node.args:
        case ops.LINEAR | ops.EMBEDDING | ops.TILES_LINEAR, (_, int(slot), *_):
            return (slot,)
        case ops.CONV | ops.CONV_LAST | ops.CONV_LAID, (_, _, int(slot), *_):
            return (slot,)
        case _, (_, _, int(slot), _) if node.target is GROUPED:
            return (slot,)
        case _, (_, _, list() | tuple() as slots, *_) if node.target is EXPERTS:
            return tuple(s for s in slots if isinstance(s, int))
        case _:
            return ()


def called(programs: Sequence[Program]) -> frozenset[int]:
    """Slots that the graphs call kernels of; the others were left to torch."""
    return frozenset(slot for p in programs for node in p.gm.graph.nodes for slot in slots_of(node))


def weight_width(record: SlotRecord) -> int:
    """Columns of a slot's matrix."""
    return int(record.weight.shape[1] if record.weight is not None else record.packed[0].shape[1])


@dataclass(frozen=True, eq=False)
class Unspliced:
    """Programs that compute some layers themselves, and the constants [n, k] and so on that they read for it."""

    programs: tuple[Program, ...]
    tensors: dict[str, torch.Tensor]
    """On the CPU."""
    where: dict[str, str]
    """The torch device that each of them belongs on."""


def unspliced(programs: Sequence[Program], records: Sequence[SlotRecord], slots: frozenset[int]) -> Unspliced:
    """The programs with ``slots`` as torch's ops; not compiled yet, kernels of other slots stay."""
    made = [_Rewriting(program, records, slots) for program in programs]
    found = tuple(m.run() for m in made)
    tensors = {name: t for m in made for name, t in m.tensors.items()}
    return Unspliced(found, tensors, {name: w for m in made for name, w in m.where.items()})


class _Rewriting:
    """One program while its layers are put back."""

    def __init__(self, program: Program, records: Sequence[SlotRecord], slots: frozenset[int]) -> None:
        self.program, self.records, self.slots = program, records, slots
        self.gm = fx.GraphModule(program.gm, copy.deepcopy(program.gm.graph))
        self.lifted = list(program.lifted)
        placeholders = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        self.known: dict[str, fx.Node] = dict(zip(self.lifted, placeholders, strict=False))
        self.first_input = next(iter([*placeholders[len(self.lifted) :], *self.gm.graph.nodes]))
        self.tensors: dict[str, torch.Tensor] = {}
        self.where: dict[str, str] = {}

    def run(self) -> Program:
        for node in list(self.gm.graph.nodes):
            mine = slots_of(node)
            if not mine or not set(mine) <= self.slots:
                continue
            with self.gm.graph.inserting_before(node):
                new = self._again(node, mine)
            node.replace_all_uses_with(new)
            self.gm.graph.erase_node(node)
        self.gm.recompile()
        p = self.program
        return Program(p.signature, self.gm, tuple(self.lifted), self.gm, "eager", hints=p.hints)

    def _again(self, node: fx.Node, slots: tuple[int, ...]) -> fx.Node:
        call, records = self.gm.graph.call_function, [self.records[slot] for slot in slots]
        if node.target is EXPERTS:
            held = [self._constant(r.weight_name, r, r.dense_weight) for r in records]
            return call(EXPERTS_DENSE, (node.args[0], node.args[1], held))
        (r,) = records
        weight = self._constant(r.weight_name, r, r.original_weight)
        if node.target is ops.EMBEDDING:
            return call(aten.embedding.default, (weight, node.args[0]))
        if node.target is GROUPED:
            stack = call(aten.view.default, (weight, [r.experts, -1, weight_width(r)]))
            return call(GROUPED_DENSE, (*node.args[:2], call(aten.transpose.int, (stack, 1, 2))))
        bias = self._beside("bias", r, r.bias)
        if node.target is ops.LINEAR:
            return self._activated(call(aten.linear.default, (node.args[0], weight, bias)), r)
        return self._conv(node, r, weight, bias)

    def _conv(self, node: fx.Node, r: SlotRecord, weight: fx.Node, bias: fx.Node | None) -> fx.Node:
        call, conv = self.gm.graph.call_function, r.conv
        assert conv is not None
        first = 2 - conv.dims
        op = aten.conv1d.default if conv.dims == 1 else aten.conv2d.default
        sizes = [list(pair[first:]) for pair in (conv.stride, conv.padding, conv.dilation)]
        plain = r.scale is None
        y = call(op, (node.args[0], weight, bias if plain else None, *sizes))
        if not plain:
            y = call(aten.mul.Tensor, (y, self._channels(self._beside("scale", r, r.scale), conv.dims)))
            y = y if bias is None else call(aten.add.Tensor, (y, self._channels(bias, conv.dims)))
        if node.args[1] is not None:
            y = call(aten.add.Tensor, (y, node.args[1]))
        return self._activated(y, r)

    def _channels(self, vector: fx.Node | None, dims: int) -> fx.Node:
        return self.gm.graph.call_function(aten.view.default, (vector, [-1, *(1,) * dims]))

    def _activated(self, y: fx.Node, r: SlotRecord) -> fx.Node:
        if r.epilogue.activation == "none":
            return y
        op, options = ACTIVATIONS[r.epilogue.activation]
        return self.gm.graph.call_function(op, (y,), options)

    def _beside(self, what: str, r: SlotRecord, tensor: torch.Tensor | None) -> fx.Node | None:
        """A bias or scale; one that a BatchNorm was folded into has no name of the model's."""
        if tensor is None:
            return None
        own = r.bias_name if what == "bias" else None
        return self._constant(own or f"_lifted_tensor_{what}_of_{r.weight_name}", r, lambda: tensor)

    def _constant(self, name: str, r: SlotRecord, made: Callable[[], torch.Tensor]) -> fx.Node:
        if name not in self.known:
            with self.gm.graph.inserting_before(self.first_input):
                self.known[name] = self.gm.graph.placeholder(f"slot_{r.slot}_{len(self.lifted)}")
            self.lifted.append(name)
            self.tensors[name], self.where[name] = made(), r.where
        return self.known[name]
