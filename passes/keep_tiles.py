"""Keep activations in tiles of sixteen rows between sparse layers, where that saves packing and unpacking.

before:  %a : spcomp.linear_v1(%x, 0, 3072); %b : spcomp.linear_v1(%a, 1, 768); %n : aten.layer_norm(%b + %x, ...)
after:   %t : tiles of %x; %a : spcomp.tiles_linear_v1(%t, 0, 3072, 128); %b : spcomp.tiles_linear_v1(%a, 1, 768, 128)
         %s : spcomp.tiles_norm_v1(%b, %t, ...); %n : rows of %s

Layers cost what their fastest kernel for either layout takes (``costs``; without, their kernels want tiles whatever
that costs), elementwise operators, LayerNorm, slices of features, as those of merged siblings are, and attention take
what they get (a mask becomes tiles of what is added to the scores, once); everything else is natural. Who works on
tiles is decided at once, with the conversions (:mod:`spcomp.passes.joint`); :meth:`KeepTiles.least` says what that
costs, for who has several graphs to choose among.
Tiles are [ceil(M/16), features, 16]; rows beyond M hold whatever came of zeros.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import fx

from spcomp import ops
from spcomp.ops_attention import TILES_ATTENTION, Heads
from spcomp.passes.attended import Attended, attended
from spcomp.passes.base import PassContext
from spcomp.passes.joint import Costs, Handed, LayoutCost, cheapest

aten = torch.ops.aten
LANES = 16
UNARY = frozenset(
    (
        aten.relu.default, aten.gelu.default, aten.silu.default, aten.tanh.default, aten.sigmoid.default,
        aten.neg.default, aten.abs.default, aten.exp.default, aten.clone.default,
    )
)  # fmt: skip
BINARY = frozenset((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor))
Kind = str | Attended
""":meth:`KeepTiles._kind`'s word for a node, or attention whose result it is."""


@dataclass(frozen=True)
class KeepTiles:
    """Rewrite a lowered graph with static rows; ``slots``: the layers with kernels that work on tiles."""

    name: ClassVar[str] = "keep-tiles"
    slots: frozenset[int] = frozenset()
    costs: Costs | None = field(default=None, repr=False)

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = self._found(gm)
        linears = sum(kind == "linear" for kind in found.values())
        if linears < (2 if self.costs is None else 1):
            return gm
        cost, chosen = cheapest(*self.problem(gm))
        own = frozenset(n for n in found if n in chosen)
        if not any(found[n] == "linear" or isinstance(found[n], Attended) for n in own):
            return gm
        if self.costs is None and cost >= _moved_by_kernels(found):
            return gm
        return _Rewriter(gm, found, own).run()

    def problem(self, gm: fx.GraphModule) -> tuple[dict[Hashable, LayoutCost], dict[Hashable, Handed]]:
        """What there is to lay out, and what is handed on between: what :func:`~spcomp.passes.joint.cheapest` takes."""
        found = self._found(gm)
        return {node: self._cost(node, kind) for node, kind in found.items()}, self._values(found)

    def least(self, gm: fx.GraphModule) -> float:
        """Seconds of the layers and of all conversions, laid out as cheaply as can be; ``costs`` says them of all
        layers."""
        assert self.costs is not None
        nodes, values = self.problem(gm)
        rest = [n for n in gm.graph.nodes if n.target is ops.LINEAR and n not in nodes]
        return cheapest(nodes, values)[0] + math.fsum(self.costs.layers[n.args[1]].natural for n in rest)

    def _found(self, gm: fx.GraphModule) -> dict[fx.Node, Kind]:
        results = attended(gm)
        inside = {n for made in results.values() for n in made.inside}
        kinds = {n: results.get(n) or self._kind(n) for n in gm.graph.nodes if n not in inside}
        return {n: kind for n, kind in kinds.items() if kind is not None}

    def _cost(self, node: fx.Node, kind: Kind) -> LayoutCost:
        if isinstance(kind, Attended) and self.costs is not None:
            rows = node.meta["val"].numel() // kind.heads.features
            return self.costs.attention(kind.heads, rows, kind.mask is not None)
        if kind != "linear":
            return LayoutCost()
        return LayoutCost(natural=math.inf) if self.costs is None else self.costs.layers[node.args[1]]  # type: ignore[index]

    def _values(self, found: dict[fx.Node, Kind]) -> dict[Hashable, Handed]:
        """Everything that could be converted: what the nodes read, and what they make for others."""
        inside = {n for kind in found.values() if isinstance(kind, Attended) for n in kind.inside}
        readers: dict[fx.Node, list[Hashable]] = {}
        for node, kind in found.items():
            for value in _values(node, kind):
                readers.setdefault(value, []).append(node)
            for user in node.users:
                if user not in inside and (user not in found or node not in _values(user, found[user])):
                    readers.setdefault(node, []).append(("reads", user))
        for node, kind in found.items():
            if isinstance(kind, Attended) and kind.mask in found:
                readers.setdefault(kind.mask, []).append(("reads", node))  # as it is
        return {value: Handed(tuple(some), *2 * (self._convert(value),)) for value, some in readers.items()}

    def _convert(self, value: fx.Node) -> float:
        rows = _rows(value)
        assert rows is not None
        return float(rows[0] * rows[1]) if self.costs is None else self.costs.convert(*rows)

    def _kind(self, node: fx.Node) -> str | None:
        """``linear``, ``norm``, ``part`` or ``elementwise`` for a node that can work on tiles, else None."""
        rows = _rows(node)
        if rows is None or node.op != "call_function":
            return None
        x = node.args[0]
        read = _rows(x) if isinstance(x, fx.Node) else None
        if not isinstance(x, fx.Node) or read is None or read[0] != rows[0]:
            return None
        if node.target is ops.LINEAR:
            return "linear" if node.args[1] in self.slots else None
        if _is_part(node):
            return "part"
        if node.meta["val"].shape != x.meta["val"].shape:
            return None
        if node.target is aten.layer_norm.default:
            return "norm" if list(node.args[1]) == [x.meta["val"].shape[-1]] else None  # type: ignore[arg-type]
        if node.target in UNARY and not node.kwargs.get("memory_format"):
            return "elementwise"
        if node.target in BINARY and all(_takes(node, a) for a in node.args[1:]):
            return "elementwise"
        return None


def _is_part(node: fx.Node) -> bool:
    """Whether a node is some features, side by side, of every row of another."""
    if node.target is not aten.slice.Tensor or len(node.args) != 4 or node.kwargs:
        return False
    dim, start, end = node.args[1:]
    last = node.meta["val"].dim() - 1
    return dim in (last, -1) and type(start) is int and type(end) is int and 0 <= start < end


def _takes(node: fx.Node, other: object) -> bool:
    """Whether an operand means the same for tiles: a number, a tensor of the same shape, or one number a feature."""
    if not isinstance(other, fx.Node):
        return isinstance(other, int | float)
    mine, theirs = node.meta["val"], other.meta.get("val")
    if not isinstance(theirs, torch.Tensor) or theirs.dtype is not torch.float32:
        return False
    return theirs.shape == mine.shape or tuple(theirs.shape) in ((), (mine.shape[-1],))


def _rows(node: fx.Node) -> tuple[int, int] | None:
    """(M, features) of a float32 value of static shape with two dimensions or more."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32 or value.dim() < 2:
        return None
    if any(type(size) is not int for size in value.shape):
        return None
    rows, features = math.prod(value.shape[:-1]), int(value.shape[-1])
    return (rows, features) if rows >= LANES and features > 1 else None


def _values(node: fx.Node, kind: Kind = "") -> Iterator[fx.Node]:
    """The operands that have rows of the node's own number: those that would be tiles."""
    if isinstance(kind, Attended):
        yield from dict.fromkeys(kind.sources)
        return
    mine = _rows(node)
    assert mine is not None
    for other in dict.fromkeys(a for a in node.args if isinstance(a, fx.Node)):
        rows = _rows(other)
        whole = node.target is ops.LINEAR or _is_part(node) or other.meta["val"].shape == node.meta["val"].shape
        if rows is not None and rows[0] == mine[0] and whole:
            yield other


def _moved_by_kernels(found: dict[fx.Node, Kind]) -> int:
    """Elements that kernels move which pack their own input and unpack their own result."""
    linears = [node for node, kind in found.items() if kind == "linear"]
    return sum(v.meta["val"].numel() for node in linears for v in (*_values(node), node))


class _Rewriter:
    def __init__(self, gm: fx.GraphModule, found: dict[fx.Node, Kind], chosen: frozenset[fx.Node]) -> None:
        self.gm, self.found, self.chosen = gm, found, chosen
        self.graph = fx.Graph()
        self.natural: dict[fx.Node, fx.Node] = {}
        self.tiles: dict[fx.Node, fx.Node] = {}
        self.masks: dict[tuple[fx.Node, Heads], fx.Node] = {}

    def run(self) -> fx.GraphModule:
        skipped = self._fused_adds()
        skipped |= {n for node in self.chosen if isinstance(kind := self.found[node], Attended) for n in kind.inside}
        for node in self.gm.graph.nodes:
            if node in skipped:
                continue
            if node in self.chosen:
                self.tiles[node] = self._tiled(node, skipped)
            else:
                self.natural[node] = self.graph.node_copy(node, self._as_rows)
        self.graph.set_codegen(fx.graph.CodeGen())
        new = fx.GraphModule(self.gm, self.graph)
        new.meta.update(self.gm.meta)
        return new

    def _fused_adds(self) -> frozenset[fx.Node]:
        """Additions of two values that only a LayerNorm on tiles reads: they become its residual."""
        found = set()
        for node in self.chosen:
            if self.found[node] != "norm":
                continue
            add = node.args[0]
            assert isinstance(add, fx.Node)
            plain = add.target is aten.add.Tensor and not add.kwargs and add in self.chosen and len(add.users) == 1
            if plain and len(list(_values(add))) == 2:
                found.add(add)
        return frozenset(found)

    def _tiled(self, node: fx.Node, skipped: frozenset[fx.Node]) -> fx.Node:
        rows = _rows(node)
        assert rows is not None
        match self.found[node]:
            case Attended(heads=heads, sources=sources, mask=mask):
                tiles = [self._side_by_side(source) for source in sources]
                added = None if mask is None else self._mask(mask, heads)
                return self.graph.call_function(TILES_ATTENTION, (*tiles, added, *heads.numbers.values()))
            case "linear":
                x, slot, n = node.args
                assert isinstance(x, fx.Node)
                return self.graph.call_function(ops.TILES_LINEAR, (self._as_tiles(x), slot, n, rows[0]))
            case "part":
                x, _, start, end = node.args
                assert isinstance(x, fx.Node)
                return self.graph.call_function(aten.slice.Tensor, (self._as_tiles(x), 1, start, end))
            case "norm":
                return self._norm(node, skipped)
            case _:
                arguments = tuple(self._operand(node, a) for a in node.args)
                return self.graph.call_function(node.target, arguments, dict(node.kwargs))  # type: ignore[arg-type]

    def _mask(self, mask: fx.Node, heads: Heads) -> fx.Node:
        """:func:`~spcomp.ops_attention.mask_tiles` of a mask, once for all attention of these sizes."""
        key = mask, replace(heads, firsts=(0, 0, 0))
        if key not in self.masks:
            call, value, length = self.graph.call_function, mask.meta["val"], heads.length
            x = self._as_rows(mask)
            if value.dtype is torch.bool:
                x = call(aten.where.Scalar, (x, 0.0, -math.inf))
            sizes = [1] * (4 - value.dim()) + list(value.shape)
            if list(value.shape) != sizes:
                x = call(aten.reshape.default, (x, sizes))
            if sizes[2:] != [length, length]:
                x = call(aten.expand.default, (x, [*sizes[:2], length, length]))
            if length % LANES:
                x = call(aten.constant_pad_nd.default, (x, [0, 0, 0, -length % LANES]))
            x = call(aten.reshape.default, (x, [*sizes[:2], -(-length // LANES), LANES, length]))
            x = call(aten.transpose.int, (x, 3, 4))
            self.masks[key] = call(aten.clone.default, (x,), {"memory_format": torch.contiguous_format})
        return self.masks[key]

    def _norm(self, node: fx.Node, skipped: frozenset[fx.Node]) -> fx.Node:
        x, residual = node.args[0], None
        assert isinstance(x, fx.Node)
        if x in skipped:
            x, residual = _values(x)
        vectors = [*node.args[2:4], None, None][:2]
        more = [self._as_rows(v) if isinstance(v, fx.Node) else None for v in vectors]
        eps = node.args[4] if len(node.args) > 4 else 1e-5
        both = [self._side_by_side(x), None if residual is None else self._side_by_side(residual)]
        return self.graph.call_function(ops.TILES_NORM, (*both, *more, eps))

    def _side_by_side(self, node: fx.Node) -> fx.Node:
        """Tiles of a value one after the other in memory, as kernels take their addresses."""
        tiles = self._as_tiles(node)
        if self.found.get(node) != "part":
            return tiles
        return self.graph.call_function(aten.clone.default, (tiles,), {"memory_format": torch.contiguous_format})

    def _operand(self, node: fx.Node, given: object) -> object:
        if not isinstance(given, fx.Node):
            return given
        if given.meta["val"].shape == node.meta["val"].shape:
            return self._as_tiles(given)
        vector = self._as_rows(given)
        return vector if given.meta["val"].dim() == 0 else self.graph.call_function(aten.unsqueeze.default, (vector, 1))

    def _as_tiles(self, node: fx.Node) -> fx.Node:
        if node not in self.tiles:
            rows = _rows(node)
            assert rows is not None
            m, features = rows
            call = self.graph.call_function
            x = call(aten.reshape.default, (self.natural[node], [m, features]))
            if m % LANES:
                x = call(aten.constant_pad_nd.default, (x, [0, 0, 0, -m % LANES]))
            x = call(aten.reshape.default, (x, [-(-m // LANES), LANES, features]))
            x = call(aten.transpose.int, (x, 1, 2))
            self.tiles[node] = call(aten.clone.default, (x,), {"memory_format": torch.contiguous_format})
        return self.tiles[node]

    def _as_rows(self, node: fx.Node) -> fx.Node:
        if node not in self.natural:
            shape = list(node.meta["val"].shape)
            m, features = math.prod(shape[:-1]), shape[-1]
            call = self.graph.call_function
            x = call(aten.transpose.int, (self.tiles[node], 1, 2))
            x = call(aten.reshape.default, (x, [-(-m // LANES) * LANES, features]))
            x = call(aten.slice.Tensor, (x, 0, 0, m)) if m % LANES else x
            self.natural[node] = call(aten.reshape.default, (x, shape))
        return self.natural[node]
