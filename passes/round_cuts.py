"""What a GPU wants of sizes that are cut: dead slices stay, as zeros, where cutting them would cost more than they do.

before:  96 of 128 features of %h go, 2 of them in the middle of a group of 2:4         (found by `propagate`)
after:   fewer go: 40 stay, which is a multiple of 8, and every group of 4 goes whole or not at all

Loads of 16 bytes and tensor cores want features in multiples of 8 (16-bit numbers) in layers and in heads of attention.
A weight that is N:M along K, and would be stored so, keeps its groups: they go whole, unless what is left is some N:M
of no more bytes anyway, or no more than N:M stores of it as it is. A cut that is taken back is always sound: the graph
computes what it did. Other cuts that need it are taken back with it, so that whole dependency groups stay consistent.
Layers that are planned for the CPU ask for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import fx

from spcomp.encodings.nm import Nm
from spcomp.encodings.vnm import Vnm
from spcomp.passes.axes import Axis, Cuts, Groups
from spcomp.passes.base import PassContext
from spcomp.passes.conv import is_conv
from spcomp.passes.dataflow import arguments, shape_of
from spcomp.passes.infer_sparsity import MEASURABLE, facts_of
from spcomp.passes.propagate_sparsity import Propagated
from spcomp.passes.propose_device import device_encodings_for
from spcomp.passes.slices import taken
from spcomp.sparsity.facts import SparsityFacts
from spcomp.sparsity.measure import measure
from spcomp.targets.device import Device

aten = torch.ops.aten
USED = 0.75
"""Share of the slots of an N:M that are taken in what stays, from which on it was no chance."""


@dataclass(frozen=True)
class Grouped:
    """An N:M that a layer's weight is stored by, and the rows that share chosen columns (V:N:M; else 1)."""

    n: int
    m: int
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.n}:{self.m}" if self.rows == 1 else f"{self.rows}:{self.n}:{self.m}"


@dataclass(eq=False)
class _Layer:
    """A linear layer or a convolution on a GPU, and the axes of its features."""

    node: fx.Node
    weight: torch.Tensor
    name: str
    multiple: int
    inputs: Axis | None
    results: Axis | None
    grouped: Grouped | None = None
    removable: dict[Axis, int] = field(default_factory=dict)


def round_cuts(gm: fx.GraphModule, found: Propagated, ctx: PassContext) -> dict[str, str]:
    """Take back cuts in ``found``; {name of a weight: what was kept of it and why}, empty for a model on the CPU."""
    if ctx.devices is None or not any(found.is_cut(node) for node in gm.graph.nodes):
        return {}
    layers, asked = _layers(gm, found, ctx)
    cuts = found.cuts
    for layer in layers:
        axes = [a for a in (layer.inputs, layer.results) if a is not None]
        layer.removable = {a: int(np.count_nonzero(cuts.cut[a])) for a in axes}
    while _hold_all(layers, cuts, ctx):
        pass  # groups first: elements that fill them up may fill sizes up
    _fill_all(cuts, asked)
    while _hold_all(layers, cuts, ctx):
        _fill_all(cuts, asked)
    return {layer.name: text for layer in layers if (text := _said(layer, cuts))}


def _layers(gm: fx.GraphModule, found: Propagated, ctx: PassContext) -> tuple[list[_Layer], dict[Axis, int]]:
    """Layers on GPUs, and the axes that are to be multiples of something."""
    assert ctx.devices is not None
    layers: list[_Layer] = []
    devices: dict[str, Device] = {}
    asked: dict[Axis, int] = {}
    for node in gm.graph.nodes:
        if node.target is not aten.linear.default and not is_conv(node):
            continue
        given = arguments(node)
        weight = found.facts.constants(given["weight"])
        if weight is None:
            continue
        where = str(given["weight"].meta["val"].device)
        device = ctx.devices(str(given["weight"].target), where)
        if device.host:
            continue
        devices[where] = device
        dim = 1 if is_conv(node) else -1
        layer = _Layer(
            node, weight, ctx.origins.name(str(given["weight"].target)), device.granule(weight.element_size()),
            _axis(found.cuts, given["input"], dim), _axis(found.cuts, node, dim),
        )  # fmt: skip
        layers.append(layer)
        asked |= {axis: layer.multiple for axis in (layer.inputs, layer.results) if axis is not None}
    return layers, asked | _heads(gm, found.cuts, devices)


def _heads(gm: fx.GraphModule, cuts: Cuts, devices: dict[str, Device]) -> dict[Axis, int]:
    """Features of heads of attention: fused kernels take multiples alone."""
    asked: dict[Axis, int] = {}
    for node in gm.graph.nodes:
        if node.target is not aten.scaled_dot_product_attention.default:
            continue
        value = node.meta["val"]
        device = devices.get(str(value.device))
        given = arguments(node)
        axes = [_axis(cuts, given[name], -1) for name in ("query", "key", "value")]
        if device is not None:
            asked |= {axis: device.granule(value.element_size()) for axis in axes if axis is not None}
    return asked


def _axis(cuts: Cuts, node: fx.Node, dim: int) -> Axis | None:
    axis = (node, dim % max(1, len(shape_of(node) or ())))
    return axis if axis in cuts.cut else None


def _fill_all(cuts: Cuts, asked: dict[Axis, int]) -> None:
    """Keep elements until every size is a multiple, or what it was; one axis may ask more of another."""
    while any(_lacking(cuts, axis, multiple) for axis, multiple in asked.items()):
        for axis, multiple in asked.items():
            _fill(cuts, axis, multiple)


def _fill(cuts: Cuts, axis: Axis, multiple: int) -> None:
    while lacking := _lacking(cuts, axis, multiple):
        before, gone = cuts.left(axis), np.flatnonzero(cuts.cut[axis])
        cuts.restore(axis, gone[:1])
        if cuts.left(axis) == before + 1:  # nothing else came with it: the others will not either
            cuts.restore(axis, gone[1:lacking])


def _lacking(cuts: Cuts, axis: Axis, multiple: int) -> int:
    """Elements to keep of an axis besides those that stay, at least."""
    left = cuts.left(axis)
    return min(-left % multiple, len(cuts.cut[axis]) - left)


def _hold_all(layers: Sequence[_Layer], cuts: Cuts, ctx: PassContext) -> bool:
    """Look at every layer once. Whether more groups go whole than before."""
    return sum(_hold(layer, cuts, ctx) for layer in layers) > 0


def _hold(layer: _Layer, cuts: Cuts, ctx: PassContext) -> bool:
    """Let the groups of a weight's N:M go whole from now on, where cuts would part them. Whether that is new."""
    axis = layer.inputs
    if axis is None or layer.grouped is not None or layer.weight.dim() != 2 or not cuts.cut[axis].any():
        return False
    if layer.weight.dtype not in MEASURABLE:
        return False
    (facts,) = facts_of([layer.weight], ctx)
    for kind in _stored(facts, cuts, layer):
        if _parted(layer, kind, cuts):
            layer.grouped = kind
            cuts.hold(Groups(axis, kind.m))
            if kind.rows > 1 and layer.results is not None:
                cuts.hold(Groups(layer.results, kind.rows))
            return True
    return False


def _stored(facts: SparsityFacts, cuts: Cuts, layer: _Layer) -> Sequence[Grouped]:
    """The N:M that a GPU would be offered for the weight, mostly used in what stays of it; the widest first."""
    rows = facts.shape[0] if layer.results is None else cuts.left(layer.results)
    columns = facts.shape[1] if layer.inputs is None else cuts.left(layer.inputs)
    share = facts.nonzeros / max(1, rows * columns)
    found = [Grouped(e.n, e.m) for e in device_encodings_for(facts) if isinstance(e, Nm)]
    found += [Grouped(2, e.m, e.v) for e in device_encodings_for(facts) if isinstance(e, Vnm) and e.m > 4]
    return sorted((g for g in found if share > USED * g.n / g.m), key=lambda g: (-g.m, -g.rows))


def _parted(layer: _Layer, kind: Grouped, cuts: Cuts) -> bool:
    """Whether what stays needs more than N:M stores of the groups that would stay whole, in any N:M or as it is."""
    assert layer.inputs is not None
    stays = ~cuts.cut[layer.inputs]
    left = int(stays.sum())
    stored = kind.n * int((np.add.reduceat(stays, np.arange(0, len(stays), kind.m)) > 0).sum())
    if left <= stored:
        return False
    keep = [(1, torch.from_numpy(np.flatnonzero(stays)))]
    if layer.results is not None:
        keep.insert(0, (0, torch.from_numpy(np.flatnonzero(~cuts.cut[layer.results]))))
    facts = measure(taken(layer.weight.detach(), keep), negative_zeros=False)
    if kind.rows > 1 and Vnm(kind.rows, kind.m).refuses(facts) is None:
        return False
    return all(n * -(-left // m) > stored for (axis, m), n in facts.group_max.items() if axis == 1)


def _said(layer: _Layer, cuts: Cuts) -> str:
    """What was kept of a weight and why."""
    words = []
    for axis, what, size in ((layer.inputs, "inputs", "K"), (layer.results, "outputs", "N")):
        if axis is None:
            continue
        left, spared = cuts.left(axis), layer.removable[axis] - int(np.count_nonzero(cuts.cut[axis]))
        if not spared:
            continue
        whys = []
        if what == "inputs" and layer.grouped is not None:
            whys.append(f"groups of {layer.grouped.m} go whole, for {layer.grouped}")
        if layer.multiple > 1 and left % layer.multiple == 0:
            whys.append(f"a multiple of {layer.multiple}, for tensor cores and loads of 16 bytes")
        why = f" ({', '.join(whys)})" if whys else " (what shares them needs them)"
        words.append(f"{spared} removable {what} kept, {size} = {left}{why}")
    return "; ".join(words)
