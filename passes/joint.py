"""Layouts and kernels of a whole graph together: the cheapest assignment, with conversions as costs of edges.

natural: csr 40 us, dense 38 us; on tiles: csr 25 us; a conversion of this value: 4 us  ->  csr, on tiles

Every layer has a kernel for natural rows and one for tiles, the fastest that is allowed in each layout: given the
layouts, which kernel serves a layer is nobody else's concern. What is left is one bit a node: a cost of its own for
either value, and for every value that is handed on the cost of converting it, paid once however many readers want it
converted. On a chain that is a shortest path through two states; on any graph it is a minimum cut (Greig, Porteous &
Seheult, 1989; auxiliary nodes share the conversions), solved exactly by networkx's preflow-push.

Which siblings are one layer is no such bit: three layers apart pay a conversion each where one pays one, and a merged
one pays for both layouts of its parts, so that the cost is not submodular in it. Groups that are alike are merged
alike; of those kinds there are few, and every subset of them is cut (:func:`least_together`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from spcomp.ops_attention import Heads

_TILES, _ROWS = "tiles", "rows"
MOST_KINDS = 5
"""Kinds of siblings whose subsets are all looked at."""
_TICKS = 1e12
"""Costs are whole numbers while they are cut: picoseconds, where they are seconds."""


@dataclass(frozen=True)
class LayoutCost:
    """What a node costs in either layout; ``math.inf`` where it cannot work in it."""

    natural: float = 0.0
    tiles: float = 0.0


@dataclass(frozen=True)
class Handed:
    """A value, who reads it, and what converting all of it costs, either way."""

    readers: tuple[Hashable, ...]
    pack: float
    unpack: float


@dataclass(frozen=True)
class Costs:
    """What ``keep-tiles`` weighs: seconds of layers by slot, and of packing or unpacking (rows, features)."""

    layers: Mapping[int, LayoutCost]
    convert: Callable[[int, int], float]
    attention: Callable[[Heads, int, bool], LayoutCost] = lambda heads, rows, masked: LayoutCost()
    """Of so many rows of all sequences, with a mask that is an operand or not."""


def fastest(seconds: Mapping[str, float], allowed: Sequence[str]) -> tuple[str, float] | None:
    """The fastest of the kernels that are allowed in a layout, and its seconds; None if there is none."""
    found = [(seconds[name], name) for name in allowed if name in seconds]
    return (min(found)[1], min(found)[0]) if found else None


def cheapest(
    nodes: Mapping[Hashable, LayoutCost], values: Mapping[Hashable, Handed]
) -> tuple[float, frozenset[Hashable]]:
    """The least cost, and which nodes work on tiles. A value is laid out as the node of its name makes it; values and
    readers that are no nodes are natural."""
    graph = nx.DiGraph()
    graph.add_nodes_from((_TILES, _ROWS))
    for node, cost in nodes.items():
        _edge(graph, (_TILES,), ("node", node), cost.natural)  # paid by who ends up on the side of rows
        _edge(graph, ("node", node), (_ROWS,), cost.tiles)
    for value, handed in values.items():
        made = _side(value, nodes)
        for reader in handed.readers:
            wanted = _side(reader, nodes)
            graph.add_edge(wanted, ("pack", value))  # no capacity: infinite
            graph.add_edge(("unpack", value), wanted)
        _edge(graph, ("pack", value), made, handed.pack)
        _edge(graph, made, ("unpack", value), handed.unpack)
    graph.add_edge(_TILES, (_TILES,))
    graph.add_edge((_ROWS,), _ROWS)
    _, (tiles, _) = nx.minimum_cut(graph, _TILES, _ROWS)
    chosen = frozenset(node for node in nodes if ("node", node) in tiles)
    return total(nodes, values, chosen), chosen


def least_together(
    kinds: Sequence[Hashable], cost: Callable[[frozenset[Hashable]], float], start: frozenset[Hashable] = frozenset()
) -> frozenset[Hashable]:
    """The kinds to merge for the least ``cost``; the fewest of those that cost the same.

    Up to :data:`MOST_KINDS` kinds that is the least of all subsets. Of more, one kind after the other is changed for as
    long as that helps, from ``start`` and from none: never worse than either.
    """
    if len(kinds) <= MOST_KINDS:
        subsets = itertools.chain.from_iterable(itertools.combinations(kinds, n) for n in range(len(kinds) + 1))
        return min(map(frozenset, subsets), key=cost)
    known: dict[frozenset[Hashable], float] = {}

    def remembered(some: frozenset[Hashable]) -> float:
        if some not in known:
            known[some] = cost(some)
        return known[some]

    ends = []
    for some in (frozenset[Hashable](), start):
        while remembered(best := min((some ^ {kind} for kind in kinds), key=remembered)) < remembered(some):
            some = best
        ends.append(some)
    return min(ends, key=remembered)


def total(
    nodes: Mapping[Hashable, LayoutCost], values: Mapping[Hashable, Handed], chosen: frozenset[Hashable]
) -> float:
    """What an assignment costs: the nodes in ``chosen`` work on tiles, the others on natural rows."""
    cost = math.fsum(c.tiles if node in chosen else c.natural for node, c in nodes.items())
    for value, handed in values.items():
        others = {reader in chosen for reader in handed.readers} - {value in chosen}
        if others:
            cost += handed.unpack if value in chosen else handed.pack
    return cost


def _side(name: Hashable, nodes: Mapping[Hashable, LayoutCost]) -> tuple[Hashable, ...]:
    return ("node", name) if name in nodes else (_ROWS,)


def _edge(graph: nx.DiGraph, a: Hashable, b: Hashable, cost: float) -> None:
    if math.isinf(cost):
        graph.add_edge(a, b)
    else:
        graph.add_edge(a, b, capacity=round(cost * _TICKS))
