"""Programs that consist of one layer."""

from __future__ import annotations

from torch import fx

from spcomp.ops import CONV, LINEAR


def lone_slot(graph: fx.Graph) -> int | None:
    """The slot of the one layer that a graph consists of, from its input to its result; None of any other graph.

    Such a layer is called without a graph, which would cost as much as a small kernel.
    """
    nodes = list(graph.nodes)
    if len(nodes) != 3 or nodes[0].op != "placeholder" or nodes[2].args != ((nodes[1],),):
        return None
    match nodes[1].target, nodes[1].args:
        case target, (x, int(slot), _) if target is LINEAR and x is nodes[0]:
            return slot
        case target, (x, None, int(slot), _) if target is CONV and x is nodes[0]:
            return slot
        case _:
            return None
