"""Find which slices of which values are constant or unread, through the whole graph, and which of them can go.

before:  %h : aten.linear(%x, %w1, %b1); %a : aten.relu(%h); %y : aten.linear(%a, %w2, %b2)    (row 3 of %w1 is zero)
after:   the same graph; known(%h) and known(%a) hold the constants of feature 3, removable(%a) says [3]

Forward, one sweep: constants of dead rows go through biases, activations, norms, additions, reshapes and attention
(:mod:`spcomp.passes.known_rules`). Backward: what no reader needs, or what it can have folded into its bias, goes with
all that shares its dimension (:mod:`spcomp.passes.axes`). A captured graph has no cycles, so that the sweep is the
fixpoint forward; backward it is the greatest solution of all relations. Ops without a rule stop both directions.

Not by every reader: where a known value is read by an op that could not do without it, it stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import fx

from spcomp.passes import axis_rules, axis_rules_parts, known_rules, known_rules_parts
from spcomp.passes.axes import Cuts
from spcomp.passes.axis_rules import Relating
from spcomp.passes.base import PassContext
from spcomp.passes.dataflow import Constants, is_static, shape_of
from spcomp.passes.known import Known
from spcomp.passes.known_rules import Knowledge
from spcomp.passes.live import Live

KNOWN_RULES = {**known_rules.RULES, **known_rules_parts.RULES}
AXIS_RULES = {**axis_rules.RULES, **axis_rules_parts.RULES}
KEY = "removable"


@dataclass(frozen=True, eq=False)
class Propagated:
    """What was found in one graph."""

    facts: Knowledge
    cuts: Cuts

    def kept(self, node: object, dim: int) -> np.ndarray[tuple[int], np.dtype[np.int64]] | None:
        """Indices along a dimension that stay; None for all."""
        if not isinstance(node, fx.Node):
            return None
        shape = shape_of(node)
        cut = None if shape is None else self.cuts.cut.get((node, dim % len(shape))) if shape else None
        return None if cut is None or not cut.any() else np.flatnonzero(~cut)

    def is_cut(self, node: fx.Node) -> bool:
        return any(self.kept(node, d) is not None for d in range(len(shape_of(node) or ())))


def propagate(gm: fx.GraphModule, live: Live | None = None) -> Propagated:
    """Analyse a graph of undecomposed ATen with fake values; nothing is changed. ``live`` is shared between
    graphs."""
    constants = Constants.of(gm)
    facts = Knowledge(constants, KNOWN_RULES, Live() if live is None else live)
    for node in gm.graph.nodes:
        facts.learn(node)
    cuts = Cuts()
    for node in gm.graph.nodes:
        if constants(node) is not None:
            continue
        for d, size in enumerate(shape_of(node) or ()):
            if is_static(size) and size > 1:
                cuts.add((node, d), int(size))
    relating = Relating(cuts, facts, constants, AXIS_RULES)
    for node in gm.graph.nodes:
        relating.relate(node)
    cuts.solve()
    return Propagated(facts, cuts)


def known(node: fx.Node) -> Known | None:
    """What the pass found to be constant of a node's value."""
    found = node.meta.get("known")
    return found if isinstance(found, Known) else None


def removable(node: fx.Node) -> dict[int, list[int]]:
    """{dimension: indices} that the pass found can go."""
    return dict(node.meta.get(KEY, {}))


@dataclass(frozen=True)
class PropagateSparsity:
    """Annotate nodes with what is known of them and which of their slices can go."""

    name: ClassVar[str] = "propagate-sparsity"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = propagate(gm)
        for node in gm.graph.nodes:
            node.meta.pop("known", None)
            node.meta.pop(KEY, None)
            if isinstance(own := found.facts.of.get(node), Known):
                node.meta["known"] = own
        for (node, dim), cut in found.cuts.cut.items():
            if cut.any() and isinstance(dim, int):
                node.meta.setdefault(KEY, {})[dim] = np.flatnonzero(cut).tolist()
        return gm
