"""Networks of routers: meshes, tori, rings and crossbars, and the way that packets take through them.

Packets go along x first, then along y (dimension order). On a torus and a ring they go the shorter way round, and
upwards where both are as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError

Array: TypeAlias = NDArray[np.int64]
NO_RING = -1
MOST_NODES = 1024


@dataclass(frozen=True, eq=False)
class Network:
    """Routers and one-way links. Node (x, y) has the number ``y * width + x``.

    ``port[a, b]`` is the output that a packet for b takes at a: a link, or ``len(links) + a`` where a is b.
    """

    name: str
    graph: Any
    """The networkx DiGraph whose edges are the links."""
    links: tuple[tuple[int, int], ...]
    """(from, to), sorted."""
    ring: Array
    """[links]: which ring of links it is part of, or NO_RING."""
    port: Array
    """[nodes, nodes]."""

    @property
    def nodes(self) -> int:
        return int(self.port.shape[0])

    def path(self, source: int, target: int) -> Iterator[int]:
        """The nodes on the way, both ends included."""
        yield source
        while source != target:
            source = self.links[int(self.port[source, target])][1]
            yield source


def mesh(width: int, height: int) -> Network:
    """Raises :class:`InputError` for a side below 1, or too many nodes; so do the others."""
    return _grid(f"mesh {width}x{height}", width, height, False)


def torus(width: int, height: int) -> Network:
    """A side of 1 or 2 has no links round, as they would double others."""
    return _grid(f"torus {width}x{height}", width, height, True)


def ring(nodes: int) -> Network:
    return _grid(f"ring {nodes}", nodes, 1, True)


def crossbar(nodes: int) -> Network:
    """Every node is linked to every other; a packet waits behind the crosspoint until its target is free."""
    _check(f"crossbar {nodes}", nodes, 1)
    graph = nx.complete_graph(nodes, nx.DiGraph)
    return _build(f"crossbar {nodes}", graph, lambda at, to: to, lambda a, b: NO_RING)


def _grid(name: str, width: int, height: int, periodic: bool) -> Network:
    _check(name, width, height)
    grid = nx.grid_2d_graph(width, height, periodic=(periodic and width > 2, periodic and height > 2))
    graph = nx.relabel_nodes(grid, {(x, y): y * width + x for x, y in grid}).to_directed()
    round_x, round_y = (periodic and side > 2 for side in (width, height))

    def next_node(at: int, to: int) -> int:
        (y, x), (to_y, to_x) = divmod(at, width), divmod(to, width)
        if x != to_x:
            return y * width + _towards(x, to_x, width, round_x)
        return _towards(y, to_y, height, round_y) * width + x

    def ring_of(a: int, b: int) -> int:
        (y, x), (to_y, to_x) = divmod(a, width), divmod(b, width)
        if y == to_y:
            return 2 * y + ((to_x - x) % width == 1) if round_x else NO_RING
        return 2 * (height + x) + ((to_y - y) % height == 1) if round_y else NO_RING

    return _build(name, graph, next_node, ring_of)


def _towards(at: int, to: int, side: int, periodic: bool) -> int:
    up = 2 * ((to - at) % side) <= side if periodic else to > at
    return (at + (1 if up else -1)) % side


def _build(name: str, graph: Any, next_node: Any, ring_of: Any) -> Network:
    nodes = graph.number_of_nodes()
    links = tuple(sorted((int(a), int(b)) for a, b in graph.edges))
    index = {link: k for k, link in enumerate(links)}
    port = np.zeros((nodes, nodes), np.int64)
    for a in range(nodes):
        for b in range(nodes):
            port[a, b] = len(links) + a if a == b else index[a, next_node(a, b)]
    return Network(name, graph, links, np.array([ring_of(a, b) for a, b in links], np.int64), port)


def _check(name: str, width: int, height: int) -> None:
    if width < 1 or height < 1 or width * height > MOST_NODES:
        raise InputError(f"build a {name}", f"{max(0, width) * max(0, height)} nodes", f"1 to {MOST_NODES} nodes")
