"""Measure how many inputs of a layer are zero on the example inputs, where a ReLU-like operator made them.

before:  %r : aten.relu(%h); %y : aten.linear(%r, %w, %b)          (one row at a time, the weight not pruned)
after:   the same graph; the site of %w knows the share of zeros that %r had: measured, not promised

The graph is run once on the example. A graph that writes to the model's buffers is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import fx

from spcomp.passes.base import PassContext, Site
from spcomp.passes.collect import matches, rows_of, site_key
from spcomp.passes.conv import is_conv
from spcomp.plan import RowRange

aten = torch.ops.aten
RELUS = frozenset(
    (
        aten.relu.default, aten.relu_.default, aten.relu6.default, aten.threshold.default, aten.hardswish.default,
        aten.hardsigmoid.default, aten.square.default,
    )
)  # fmt: skip
SHAPES = frozenset((aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.dropout.default,
                    aten.clone.default, aten.contiguous.default, aten.unsqueeze.default, aten.squeeze.dim))  # fmt: skip
ONE_ROW = RowRange(1, 1)


@dataclass(frozen=True)
class InferActivations:
    """Fill ``Site.zero_inputs``. ``examples``: the flat inputs that the program was captured with."""

    name: ClassVar[str] = "infer-activations"
    examples: Sequence[Any] = field(default=(), repr=False)

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        wanted: dict[fx.Node, list[Site]] = {}
        for match in matches(gm):
            x = match.node.args[0]
            site = ctx.sites.get(site_key(gm, match))
            if site is None or is_conv(match.node) or not isinstance(x, fx.Node):
                continue
            if rows_of(match.node) == ONE_ROW and _from_relu(x):
                wanted.setdefault(x, []).append(site)
        if not wanted or _writes(gm):
            return gm
        watcher = _Watcher(gm, frozenset(wanted))
        with torch.no_grad():
            watcher.run(*self.examples)
        for node, sites in wanted.items():
            for site in sites:
                found = watcher.zeros[node]
                site.zero_inputs = found if site.zero_inputs is None else min(found, site.zero_inputs)
        return gm


def _from_relu(node: fx.Node) -> bool:
    while node.target in SHAPES and isinstance(node.args[0], fx.Node):
        node = node.args[0]
    if node.target is aten.mul.Tensor:  # squared ReLU, or a gate that is one
        return any(isinstance(a, fx.Node) and a.target in RELUS for a in node.args)
    return node.target in RELUS


def _writes(gm: fx.GraphModule) -> bool:
    """Whether the graph writes in place to what it did not make itself."""
    for node in gm.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        root = node.args[0] if node.args else None
        while isinstance(root, fx.Node) and root.op == "call_function" and root.target in SHAPES:
            root = root.args[0] if root.args else None
        if not isinstance(root, fx.Node) or root.op in ("get_attr", "placeholder"):
            return True
    return False


class _Watcher(fx.Interpreter):
    """Runs a graph and counts zeros."""

    def __init__(self, gm: fx.GraphModule, watched: frozenset[fx.Node]) -> None:
        super().__init__(gm)
        self.watched = watched
        self.zeros: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self.watched:
            self.zeros[n] = 1.0 - float(torch.count_nonzero(value)) / max(1, value.numel())
        return value
