"""Layouts of convolutions by the cut of `joint`: against every assignment, by the copies that the graph then makes."""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from spcomp import ops
from spcomp.conv_layout import NATURAL, PLANES, TILES, Padded, takes
from spcomp.conv_shape import ConvShape
from spcomp.passes.base import PassContext
from spcomp.passes.conv_layouts import layouts
from spcomp.passes.lay_out import LayOut

SIDE = 8
KERNELS = {"1x1": ((1, 1), (1, 1), (0, 0)), "3x3": ((3, 3), (1, 1), (1, 1)), "5x5": ((5, 5), (1, 1), (2, 2))}


@st.composite
def networks(draw: st.DrawFn) -> tuple[fx.GraphModule, dict[int, ConvShape]]:
    """Up to six convolutions of 4 channels on one size of planes, each of any earlier value, some with a residual."""
    graph = fx.Graph()
    values = [graph.placeholder("x")]
    values[0].meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
    shapes = {}
    for slot in range(draw(st.integers(1, 6))):
        kernel, stride, padding = KERNELS[draw(st.sampled_from(sorted(KERNELS)))]
        shapes[slot] = ConvShape(2, 4, SIDE, SIDE, kernel, stride, padding)
        x = values[draw(st.integers(max(0, len(values) - 3), len(values) - 1))]
        other = draw(st.none() | st.sampled_from(values))
        other = None if other is x else other
        node = graph.call_function(ops.CONV, (x, other, slot, [4, SIDE, SIDE]))
        node.meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
        values.append(node)
        if draw(st.integers(0, 3)) == 0:
            values.append(graph.call_function(torch.ops.aten.abs.default, (node,)))
            values[-1].meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
    graph.output((values[-1],))
    return fx.GraphModule({}, graph), shapes


def copies(made: dict[fx.Node, str], convs: dict[fx.Node, ConvShape]) -> float:
    """How often all elements of a value are copied; infinite where planes cannot be."""
    count = 0
    for node in [n for n in next(iter(convs)).graph.nodes if n.op != "output"]:
        layout = made.get(node, NATURAL)
        mine = [r for r in node.users if r in convs and r.args[0] is node]
        residual_of = [r for r in node.users if r in convs and r.args[1] is node]
        if layout == PLANES:
            wanted = {tuple(Padded.read_by(convs[r]).numbers()) for r in mine if takes(convs[r]) == PLANES}
            if len(wanted) != 1 or len(mine) != len(node.users) or residual_of or node.args[1] is not None:
                return math.inf
            if any(takes(convs[r]) != PLANES for r in mine):
                return math.inf
            continue
        count += sum(takes(convs[r]) not in (layout, NATURAL) for r in mine)
        others = {made[r] == TILES for r in residual_of} | {False for r in node.users if r not in convs}
        count += (layout == TILES) not in others if len(others) == 1 else len(others) == 2
    return count


@given(networks())
@settings(max_examples=150, deadline=None)
def test_layouts_are_the_least_of_all_assignments(network: tuple[fx.GraphModule, dict[int, ConvShape]]) -> None:
    gm, shapes = network
    convs = {n: shapes[n.args[2]] for n in gm.graph.nodes if n.target is ops.CONV}
    found = copies({n: layout for n, (layout, _) in layouts(convs).items()}, convs)
    every = itertools.product((NATURAL, TILES, PLANES), repeat=len(convs))
    assert found == min(copies(dict(zip(convs, some, strict=True)), convs) for some in every)


def test_a_value_that_two_kinds_of_convolutions_read_is_made_as_tiles() -> None:
    """A 3x3 convolution copies for itself from either layout; counting that against tiles left two copies of one."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    a = graph.call_function(ops.CONV, (x, None, 0, [4, SIDE, SIDE]))
    b = graph.call_function(ops.CONV, (a, None, 0, [4, SIDE, SIDE]))
    c = graph.call_function(ops.CONV, (a, b, 1, [4, SIDE, SIDE]))
    graph.output((c,))
    for node in (x, a, b, c):
        node.meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
    shapes = {i: ConvShape(2, 4, SIDE, SIDE, *KERNELS[name]) for i, name in enumerate(("1x1", "3x3"))}
    laid = LayOut(shapes).run(fx.GraphModule({}, graph), PassContext())
    made = [n.args[4:6] for n in laid.graph.nodes if n.target is ops.CONV_LAID]
    assert made[0] == (NATURAL, TILES)
    assert made[1][0] == TILES
