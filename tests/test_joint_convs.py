"""Layouts of convolutions by the cut of `joint`: against every assignment, by the copies that the graph then makes and
by the seconds that it then takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx

from spcomp import ops
from spcomp.conv_layout import NATURAL, PLANES, TILES, Padded, makes, reads, takes
from spcomp.conv_shape import ConvShape
from spcomp.passes.base import PassContext
from spcomp.passes.conv_layouts import LaidSeconds, layouts, seconds_per_element
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


INT8 = st.frozensets(st.integers(0, 5)) | st.just(frozenset[int]())
"""Slots with kernels in int8."""


def of_int8(node: fx.Node, convs: dict[fx.Node, ConvShape], int8: frozenset[int]) -> bool | None:
    """Whether a convolution is in int8; None of what is no convolution."""
    return node.args[2] in int8 if node in convs else None


def every(convs: dict[fx.Node, ConvShape], int8: frozenset[int]) -> Iterator[dict[fx.Node, str]]:
    """All assignments of layouts that the kernels make."""
    choices = (makes("int8" if of_int8(n, convs, int8) else "") for n in convs)
    return (dict(zip(convs, some, strict=True)) for some in itertools.product(*choices))


def conversions(node: fx.Node, made: dict[fx.Node, str], convs: dict[fx.Node, ConvShape], int8: frozenset[int]) -> int:
    """How often a value is converted between two nodes: once to each layout, by way of the natural one."""
    layout, kind = made.get(node, NATURAL), of_int8(node, convs, int8)
    wanted = {
        NATURAL
        for r in node.users
        if r not in convs or (r.args[0] is node and kind is not None and of_int8(r, convs, int8) != kind)
    }
    wanted |= {made[r] if made[r] != PLANES else NATURAL for r in node.users if r in convs and r.args[1] is node}
    wanted -= {layout}
    if wanted and layout != NATURAL:
        wanted |= {NATURAL}
    return len(wanted)


def copies(made: dict[fx.Node, str], convs: dict[fx.Node, ConvShape], int8: frozenset[int] = frozenset()) -> float:
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
            if any(takes(convs[r]) != PLANES or of_int8(r, convs, int8) for r in mine):
                return math.inf
            continue
        for r in mine:
            alike = of_int8(r, convs, int8) == of_int8(node, convs, int8)
            best = takes(convs[r], "int8" if of_int8(r, convs, int8) else "")
            count += best not in (layout if alike else NATURAL, NATURAL)
        count += conversions(node, made, convs, int8)
    return count


@given(networks(), INT8)
@settings(max_examples=200, deadline=None)
def test_layouts_are_the_least_of_all_assignments(
    network: tuple[fx.GraphModule, dict[int, ConvShape]], int8: frozenset[int]
) -> None:
    gm, shapes = network
    convs = {n: shapes[n.args[2]] for n in gm.graph.nodes if n.target is ops.CONV}
    nodes = frozenset(n for n in convs if n.args[2] in int8)
    found = copies({n: layout for n, (layout, _) in layouts(convs, int8=nodes).items()}, convs, int8)
    assert found == min(copies(some, convs, int8) for some in every(convs, int8))


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


@st.composite
def timed_networks(
    draw: st.DrawFn,
) -> tuple[fx.GraphModule, dict[int, ConvShape], dict[int, LaidSeconds], frozenset[int]]:
    """The same with what every kernel takes; some layers are served by another one on natural planes."""
    gm, shapes = draw(networks())
    int8 = draw(INT8)
    micros = st.integers(1, 60).map(lambda n: n * 1e-6)
    seconds = {}
    for slot, conv in shapes.items():
        quantize = "int8" if slot in int8 else ""
        made = {layout: draw(micros) - 2e-5 for layout in makes(quantize)}
        own = LaidSeconds({layout: 1e-4 + draw(micros) for layout in reads(conv, quantize)}, made)
        faster = draw(st.none() | micros)
        served = math.inf if faster is None else own.knowing(NATURAL, NATURAL) - faster + 1e-5
        seconds[slot] = LaidSeconds(own.reads, own.makes, served)
    return gm, shapes, seconds, int8


def takes_seconds(
    made: dict[fx.Node, str],
    convs: dict[fx.Node, ConvShape],
    seconds: dict[int, LaidSeconds],
    rate: float,
    int8: frozenset[int],
) -> float:
    """Of a whole graph, kernel by kernel; infinite where planes cannot be."""
    if math.isinf(copies(made, convs, int8)):
        return math.inf
    kernels = []
    for n in convs:
        alike = of_int8(n.args[0], convs, int8) == of_int8(n, convs, int8)
        kernels.append(seconds[n.args[2]].of(made[n.args[0]] if alike else NATURAL, made[n]))
    values = [n for n in next(iter(convs)).graph.nodes if n.op != "output" and made.get(n) != PLANES]
    return math.fsum(kernels) + rate * 4 * SIDE * SIDE * sum(conversions(n, made, convs, int8) for n in values)


@given(timed_networks())
@settings(max_examples=150, deadline=None)
def test_timed_layouts_take_the_least_seconds_of_all_assignments(
    network: tuple[fx.GraphModule, dict[int, ConvShape], dict[int, LaidSeconds], frozenset[int]],
) -> None:
    gm, shapes, seconds, int8 = network
    convs = {n: shapes[n.args[2]] for n in gm.graph.nodes if n.target is ops.CONV}
    nodes = frozenset(n for n in convs if n.args[2] in int8)
    rate = seconds_per_element(convs, seconds, nodes)
    found = {n: layout for n, (layout, _) in layouts(convs, seconds, nodes).items()}
    least = min(takes_seconds(some, convs, seconds, rate, int8) for some in every(convs, int8))
    assert takes_seconds(found, convs, seconds, rate, int8) <= least + 1e-9


def test_a_kernel_that_loses_alone_serves_between_others() -> None:
    """Slower than dense on natural planes: tiles from end to end, where that gains more than it loses."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
    nodes = [x]
    for slot in range(3):
        nodes.append(graph.call_function(ops.CONV, (nodes[-1], None, slot, [4, SIDE, SIDE])))
        nodes[-1].meta["val"] = torch.zeros(1, 4, SIDE, SIDE)
    graph.output((nodes[-1],))
    gm = fx.GraphModule({}, graph)
    shapes = {i: ConvShape(2, 4, SIDE, SIDE, *KERNELS["1x1"]) for i in range(3)}

    def made(served: float) -> list[object]:
        kernel = LaidSeconds({TILES: 90e-6, NATURAL: 120e-6}, {NATURAL: 0.0, TILES: 0.0, PLANES: 5e-6}, served)
        laid = LayOut(shapes, dict.fromkeys(shapes, kernel)).run(gm, PassContext())
        return [n.args[4:6] for n in laid.graph.nodes if n.target is ops.CONV_LAID]

    assert made(math.inf) == [(NATURAL, TILES), (TILES, TILES), (TILES, NATURAL)]
    assert made(110e-6) == made(math.inf), "330 us dense, 300 us on tiles"
    assert made(99e-6) == [], "297 us dense"
