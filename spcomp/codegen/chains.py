"""Convolutions that follow each other in a graph as one op, so that they are run as one.

before:  %a : spcomp.conv_laid_v1(%x, None, 0, ...); %b : spcomp.conv_laid_v1(%a, None, 1, ...)
after:   %b : spcomp.conv_chain_v1([%x], "[{"reads":[-1],...},{"reads":[0],...}]", [64, 3136])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.conv_layout import PIXELS
from spcomp.ops_chain import CONV_CHAIN, Link, program_of

MOST_LINKS = 256
FEWEST_LINKS = 2


def chained(gm: fx.GraphModule) -> fx.GraphModule:
    """The same graph with chains of which one value is read outside, the last; itself where there is none.

    Only neighbours in the graph's order are taken, and only where some of them hand on layouts of their own: others
    are, for the most part, dense.
    """
    runs = [run for run in _runs(gm) if any(node.target is ops.CONV_LAID for node in run)]
    chains = {chain[-1]: chain for run in runs for chain in _closed(run)}
    if not chains:
        return gm
    graph = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    inside = {node for chain in chains.values() for node in chain}
    for node in gm.graph.nodes:
        if node in chains:
            values[node] = _chain(graph, chains[node], values)
        elif node not in inside:
            values[node] = graph.node_copy(node, values.__getitem__)
        else:
            continue
        values[node].meta = node.meta
    graph.set_codegen(gm.graph._codegen)
    made = fx.GraphModule(gm, graph)
    made.meta.update(gm.meta)
    return made


def _runs(gm: fx.GraphModule) -> list[list[fx.Node]]:
    """Neighbouring nodes that may be links."""
    runs: list[list[fx.Node]] = [[]]
    for node in gm.graph.nodes:
        if _may(node):
            runs[-1].append(node)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _may(node: fx.Node) -> bool:
    if node.target not in (ops.CONV, ops.CONV_LAID, ops.MAX_POOL) or PIXELS in node.args:
        return False
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dtype is not torch.float32:
        return False
    if node.target is not ops.MAX_POOL:
        return True
    (x,) = node.all_input_nodes
    return all(isinstance(size, int) for size in x.meta["val"].shape[1:])


def _closed(run: Sequence[fx.Node]) -> list[list[fx.Node]]:
    """Parts of a run, each as long as may be, of which nobody else reads any value but the last."""
    found, at = [], 0
    while at < len(run):
        stop = at + 1
        for end in range(min(len(run), at + MOST_LINKS), at + 1, -1):
            mine = set(run[at:end])
            if all(user in mine for node in run[at : end - 1] for user in node.users):
                stop = end
                break
        if stop - at >= FEWEST_LINKS:
            found.append(list(run[at:stop]))
        at = stop
    return found


def _chain(graph: fx.Graph, chain: Sequence[fx.Node], values: dict[fx.Node, fx.Node]) -> fx.Node:
    numbers = {node: i for i, node in enumerate(chain)}
    given: list[fx.Node] = []

    def number(node: fx.Node) -> int:
        if node not in numbers:
            given.append(values[node])
            numbers[node] = -len(given)
        return numbers[node]

    links = []
    for node in chain:
        args: tuple[Any, ...] = node.args
        reads = tuple(number(n) for n in args[:2] if isinstance(n, fx.Node))
        if node.target is ops.MAX_POOL:
            size, plane = (tuple(int(s) for s in n.meta["val"].shape[1:]) for n in (node, args[0]))
            window = tuple((int(p[0]), int(p[1])) for p in args[1:])
            links.append(Link(reads, size, plane=plane[1:], window=window))  # type: ignore[arg-type]
        else:
            layouts = (args[4], args[5], tuple(args[6])) if node.target is ops.CONV_LAID else ()
            links.append(Link(reads, tuple(args[3]), args[2], *layouts))
    return graph.call_function(CONV_CHAIN, (given, program_of(links), list(links[-1].shape)))
