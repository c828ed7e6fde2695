"""Which layout every convolution of a graph makes: one minimum cut, over seconds where kernels were timed in layouts.

conv 0 (1x1) -> conv 1 (3x3) -> conv 2 (1x1) + r  ->  {0: planes [58, 58, 1, 1], 1: tiles, 2: tiles}

A kernel prepares x, multiplies and stores, so that what reading a layout costs and what making one costs add up: the
layout of a value is paid for by who makes it and by those who read it, and for the rest by conversions, of residuals
and for what is no convolution. Padded planes are possible for a value that convolutions of one geometry alone read;
who else is bound to them nobody is, so they compete with tiles before the cut. A layer whose fastest kernel works on
natural planes only keeps it where both x and its result are natural, which costs the other kernel's lag if one is not.

Kernels in int8 hand pixels to each other and know neither tiles nor planes: what one kind lays out the other kind reads
as natural planes, converted in the graph.

Where nothing was timed, elements are counted that are copied, by a kernel for itself or between two nodes. Then planes
are free; a 3x3 convolution that gets none copies for itself, from either of the others; a strided one reads every other
element and does so always, so neither asks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from torch import fx

from spcomp.conv_layout import NATURAL, PIXELS, PLANES, TILES, Padded, takes
from spcomp.conv_shape import ConvShape
from spcomp.passes.joint import Handed, LayoutCost, cheapest

LESS = 1.0
"""Elements that tiles count beside their copies for a reader that copies anyway: what no copy decides stays natural
there, which a strided 3x3 convolution reads faster."""
Convs = Mapping[fx.Node, ConvShape]
Nodes = AbstractSet[fx.Node]
NONE: Nodes = frozenset()
Made = tuple[str, tuple[int, ...]]
"""A layout, and of padded planes their numbers."""
Problem = tuple[dict[Hashable, LayoutCost], dict[Hashable, Handed]]


@dataclass(frozen=True)
class LaidSeconds:
    """What a convolution's kernel takes for one image, by the layouts of x and of its result."""

    reads: Mapping[str, float]
    """Seconds by the layout of x, whatever is made."""
    makes: Mapping[str, float]
    """What a layout of the result takes beyond that; less than nothing where it is faster than others."""
    served: float = math.inf
    """Seconds of the kernel that serves the layer on natural planes, if that one knows no layouts."""

    def knowing(self, given: str, made: str) -> float:
        """Seconds of the kernel that knows layouts."""
        return self.reads[given] + self.makes[made]

    def of(self, given: str, made: str) -> float:
        """Seconds of whichever kernel is the fastest."""
        own = self.knowing(given, made)
        return min(own, self.served) if (given, made) == (NATURAL, NATURAL) else own

    @property
    def lag(self) -> float:
        """What the kernel that knows layouts takes longer than the other one, on natural planes."""
        return self.knowing(NATURAL, NATURAL) - self.of(NATURAL, NATURAL)


def layouts(convs: Convs, seconds: Mapping[int, LaidSeconds] | None = None, int8: Nodes = NONE) -> dict[fx.Node, Made]:
    """The layout of every convolution's result; ``seconds`` by slot, None where a layer was not timed; ``int8``: those
    whose kernels are."""
    padded = {n: made for n in convs if (made := _padded(n, convs, int8)) is not None}
    if seconds is None:
        _, tiles = cheapest(*counted(convs, frozenset(padded), int8))
        plain = {n: PIXELS if n in int8 else TILES for n in convs if n in tiles}
        return {n: padded.get(n, (plain.get(n, NATURAL), ())) for n in convs}
    laid = {n: (PIXELS, ()) if n in int8 else _cheaper(n, convs, seconds, padded.get(n), int8) for n in convs}
    _, chosen = cheapest(*timed(convs, seconds, laid, int8))
    return {n: laid[n] if n in chosen else (NATURAL, ()) for n in convs}


def counted(convs: Convs, padded: frozenset[fx.Node], int8: Nodes = NONE) -> Problem:
    """What :func:`~spcomp.passes.joint.cheapest` takes: elements that are copied; ``padded``: made as planes."""
    nodes: dict[Hashable, LayoutCost] = {}
    for node in convs:
        if node in padded:
            continue
        copying, anyway = 0, 0
        for user in _reading(node, convs, int8):
            copying += user in int8 or takes(convs[user]) == TILES  # each for itself
            anyway += user not in int8 and takes(convs[user]) == NATURAL
        nodes[node] = LayoutCost(natural=float(copying * _elements(node)), tiles=LESS * anyway)
    return nodes, _conversions(convs, 1.0, padded, int8)


def timed(
    convs: Convs, seconds: Mapping[int, LaidSeconds], laid: Mapping[fx.Node, Made], int8: Nodes = NONE
) -> Problem:
    """The same in seconds of an image; ``laid``: what each makes where it does not make natural planes."""
    values = _conversions(convs, seconds_per_element(convs, seconds, int8), int8=int8)
    nodes: dict[Hashable, LayoutCost] = {}
    for node in convs:
        costs = [_cost(node, layout, convs, seconds, int8) for layout in (NATURAL, laid[node][0])]
        nodes[node] = LayoutCost(*(cost - min(costs) for cost in costs))  # a cut's costs are none below 0
        if lag := seconds[_slot(node)].lag:
            given = [x for x in node.all_input_nodes[:1] if _alike(x, node, convs, int8)]
            values["kernel", node] = Handed((*given, node), lag, 0.0)
    return nodes, values


def seconds_per_element(convs: Convs, seconds: Mapping[int, LaidSeconds], int8: Nodes = NONE) -> float:
    """What making tiles (or pixels) of natural planes takes: the median over the kernels that do it for themselves."""
    rates = [
        (found.reads[NATURAL] - found.reads[PIXELS if node in int8 else TILES]) / conv.inputs
        for node, conv in convs.items()
        if (node in int8 or takes(conv) == TILES) and (found := seconds[_slot(node)])
    ]
    return max(0.0, statistics.median(rates)) if rates else 0.0


def _cheaper(node: fx.Node, convs: Convs, seconds: Mapping[int, LaidSeconds], planes: Made | None, int8: Nodes) -> Made:
    """Tiles or, where they can be and cost less, padded planes."""
    tiles = (TILES, ())
    if planes is None:
        return tiles
    return min((planes, tiles), key=lambda made: _cost(node, made[0], convs, seconds, int8))


def _cost(node: fx.Node, layout: str, convs: Convs, seconds: Mapping[int, LaidSeconds], int8: Nodes) -> float:
    """What a layout of a value takes: to make it, and for all who read it as it is."""
    readers = (seconds[_slot(user)].reads[layout] for user in _reading(node, convs, int8))
    return seconds[_slot(node)].makes[layout] + math.fsum(readers)


def _conversions(
    convs: Convs, each: float, padded: frozenset[fx.Node] = frozenset(), int8: Nodes = NONE
) -> dict[Hashable, Handed]:
    """What would be converted in the graph: results for what is no convolution of the same kind, and residuals;
    ``each``: an element."""
    readers: dict[Hashable, list[Hashable]] = {}
    sizes: dict[Hashable, float] = {}
    for node in convs:
        if node in padded:
            continue
        sizes[node] = each * _elements(node)
        for user in node.users:
            if not _alike(user, node, convs, int8):
                readers.setdefault(node, []).append(("reads", user))
        if isinstance(other := node.args[1], fx.Node):  # a residual lies as the result does
            alike = _alike(other, node, convs, int8)
            name = other if alike else ("natural", other, node in int8)
            readers.setdefault(name, []).append(node)
            sizes[name] = each * _elements(node)
    return {v: Handed(tuple(some), sizes[v], sizes[v]) for v, some in readers.items()}


def _reading(node: fx.Node, convs: Convs, int8: Nodes) -> list[fx.Node]:
    """The convolutions of the same kind whose x a value is."""
    return [user for user in node.users if _alike(user, node, convs, int8) and user.args[0] is node]


def _alike(one: fx.Node, other: fx.Node, convs: Convs, int8: Nodes) -> bool:
    """Whether both are convolutions and hand on the same layouts."""
    return one in convs and other in convs and (one in int8) == (other in int8)


def _slot(node: fx.Node) -> int:
    return node.args[2]  # type: ignore[return-value]


def _elements(node: fx.Node) -> int:
    """Of one image."""
    return math.prod(node.args[3])  # type: ignore[arg-type]


def _padded(node: fx.Node, convs: Convs, int8: Nodes) -> Made | None:
    """Padded planes, if every reader wants the same ones and no residual is laid out otherwise; else None."""
    wanted = set()
    if node in int8:
        return None
    for user in node.users:
        if not _alike(user, node, convs, int8) or user.args[1] is node or takes(convs[user]) != PLANES:
            return None
        wanted.add(tuple(Padded.read_by(convs[user]).numbers()))
    if len(wanted) != 1 or node.args[1] is not None:
        return None
    return PLANES, wanted.pop()
