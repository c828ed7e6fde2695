"""Hand activations from convolution to convolution in the layout that the next one computes on.

before:  %a : spcomp.conv_v1(%x, None, 0, [64, 56, 56]); %b : spcomp.conv_v1(%a, None, 1, [64, 56, 56])
         %c : spcomp.conv_v1(%b, %r, 2, [256, 56, 56]); %d : spcomp.conv_v1(%c, None, 3, [64, 56, 56])
after:   %a : spcomp.conv_laid_v1(%x, None, 0, [64, 56, 56], natural, planes, [58, 58, 1, 1])
         %b : spcomp.conv_laid_v1(%a, None, 1, [64, 56, 56], planes, tiles, [])
         %c : spcomp.conv_laid_v1(%b, %r in tiles, 2, [256, 56, 56], tiles, tiles, []); %d : ... of %c in tiles

Here 0, 2 and 3 are 1x1 and 1 is 3x3. Which value lies how is decided at once, by seconds of kernels in each layout or
by elements that are copied (:mod:`spcomp.passes.conv_layouts`); this pass makes the graph so. Padded planes nobody
copies; a value that is tiles is made natural once, for all who want that. Kernels in int8 hand on pixels instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import fx

from spcomp import ops
from spcomp.conv_layout import LANES, NATURAL, PARTS, PIXELS, TILES, reads
from spcomp.conv_shape import ConvShape
from spcomp.kernel import LaidKernel
from spcomp.passes.base import PassContext
from spcomp.passes.conv_layouts import Convs, LaidSeconds, Made, layouts

aten = torch.ops.aten


@dataclass(frozen=True)
class LayOut:
    """Rewrite a lowered graph; ``slots``: the convolutions with kernels that know layouts; ``seconds``: of all those
    kernels in each layout, or None; ``int8``: slots whose kernels are."""

    name: ClassVar[str] = "lay-out"
    slots: Mapping[int, ConvShape]
    seconds: Mapping[int, LaidSeconds] | None = field(default=None, repr=False)
    int8: frozenset[int] = frozenset()

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        convs = {
            n: self.slots[n.args[2]]
            for n in gm.graph.nodes
            if n.target is ops.CONV and n.args[2] in self.slots and not _written(n)
        }
        int8 = frozenset(n for n in convs if n.args[2] in self.int8)
        made = layouts(convs, self.seconds, int8)
        if all(layout == NATURAL for layout, _ in made.values()):
            return gm
        return _Rewriter(gm, convs, made, self.seconds, int8).run()


def _written(node: fx.Node) -> bool:
    """Whether something writes into a value, or into a view of it: a copy of it would not do then."""
    for user in node.users:
        schema = getattr(user.target, "_schema", None)
        if schema is None:
            continue
        if schema.is_mutable or (any(r.alias_info is not None for r in schema.returns) and _written(user)):
            return True
    return False


def _pooling(node: fx.Node) -> tuple[list[int], list[int], list[int]] | None:
    """(kernel, stride, padding) of a max pooling that our kernel can do, else None."""
    if node.target is not aten.max_pool2d.default or len(node.args) > 4 or node.kwargs:
        return None  # dilated, or rounding up
    given: list[list[Any]] = [[*a] if isinstance(a, list | tuple) else [a] for a in node.args[1:]]
    kernel, stride, padding = [*given, [], []][:3]
    pairs = [[v[0], v[-1]] for v in (kernel, stride or kernel, padding or [0])]
    kernel, stride, padding = pairs
    if any(type(v) is not int for v in (*kernel, *stride, *padding)) or stride[1] > 2:
        return None
    return kernel, stride, padding


class _Rewriter:
    def __init__(
        self,
        gm: fx.GraphModule,
        convs: Convs,
        made: Mapping[fx.Node, Made],
        seconds: Mapping[int, LaidSeconds] | None,
        int8: frozenset[fx.Node],
    ) -> None:
        self.gm, self.convs, self.made, self.seconds, self.int8 = gm, convs, made, seconds, int8
        self.graph = fx.Graph()
        self.values: dict[tuple[fx.Node, str], fx.Node] = {}

    def run(self) -> fx.GraphModule:
        for node in self.gm.graph.nodes:
            if node not in self.convs:
                copy = self.values[node, NATURAL] = self.graph.node_copy(node, self._natural)
                numbers = _pooling(node)
                if numbers is not None and node.args[0] in self.convs:
                    copy.target, copy.args, copy.kwargs = ops.MAX_POOL, (copy.args[0], *numbers), {}
                continue
            layout, planes = self.made[node]
            self.values[node, layout] = self._conv(node, layout, planes)
        self.graph.set_codegen(fx.graph.CodeGen())
        new = fx.GraphModule(self.gm, self.graph)
        new.meta.update(self.gm.meta)
        return new

    def _conv(self, node: fx.Node, layout: str, planes: tuple[int, ...]) -> fx.Node:
        x, residual, slot, size = node.args
        assert isinstance(x, fx.Node)
        given = self._given(x, node, layout)
        other = None
        if isinstance(residual, fx.Node):
            ways = {TILES: self._tiles, PIXELS: self._pixels}
            other = ways.get(layout, self._natural)(residual)
        if (given, layout) == (NATURAL, NATURAL):
            return self.graph.call_function(ops.CONV, (self._natural(x), other, slot, size))
        value = self._natural(x) if given == NATURAL else self.values[x, given]
        return self.graph.call_function(ops.CONV_LAID, (value, other, slot, size, given, layout, list(planes)))

    def _given(self, x: fx.Node, node: fx.Node, made: str) -> str:
        """The layout in which a convolution gets x, of those in which x is there: the fastest, or the first that it
        reads."""
        known = reads(self.convs[node], "int8" if node in self.int8 else "")
        there = [layout for layout in known if (x, layout) in self.values]
        if self.seconds is not None and there:
            own = self.seconds[node.args[2]]  # type: ignore[index]
            return min(there, key=lambda layout: own.of(layout, made))
        return there[0] if there else NATURAL

    def _natural(self, node: fx.Node) -> fx.Node:
        if (node, NATURAL) not in self.values:
            size = [int(s) for s in node.meta["val"].shape[1:]]
            call = self.graph.call_function
            if (node, PIXELS) in self.values:
                t = call(aten.slice.Tensor, (self.values[node, PIXELS], 1, 0, math.prod(size)))
                t = call(aten.reshape.default, (t, [-1, math.prod(size[1:]), size[0]]))
                t = call(aten.transpose.int, (t, 1, 2))
                self.values[node, NATURAL] = call(aten.reshape.default, (t, [-1, *size]))
                return self.values[node, NATURAL]
            t = call(aten.transpose.int, (self.values[node, TILES], 1, 2))
            t = call(aten.reshape.default, (t, [-1, size[0], -(-math.prod(size[1:]) // LANES) * LANES]))
            t = call(aten.reshape.default, (call(aten.slice.Tensor, (t, 2, 0, math.prod(size[1:]))), [-1, *size]))
            if math.prod(size[1:]) % LANES:
                t = call(aten.clone.default, (t,), {"memory_format": torch.contiguous_format})
            self.values[node, NATURAL] = t
        return self.values[node, NATURAL]

    def _tiles(self, node: fx.Node) -> fx.Node:
        if (node, TILES) not in self.values:
            channels, *rest = (int(s) for s in node.meta["val"].shape[1:])
            pixels = math.prod(rest)
            call = self.graph.call_function
            t = call(aten.reshape.default, (self._natural(node), [-1, channels, pixels]))
            t = call(aten.constant_pad_nd.default, (t, [0, -pixels % LANES]))
            t = call(aten.reshape.default, (t, [-1, channels, -(-pixels // LANES), LANES]))
            t = call(aten.transpose.int, (t, 1, 2))
            self.values[node, TILES] = call(aten.clone.default, (t,), {"memory_format": torch.contiguous_format})
        return self.values[node, TILES]

    def _pixels(self, node: fx.Node) -> fx.Node:
        if (node, PIXELS) not in self.values:
            channels, *rest = (int(s) for s in node.meta["val"].shape[1:])
            call = self.graph.call_function
            t = call(aten.reshape.default, (self._natural(node), [-1, channels, math.prod(rest)]))
            t = call(aten.transpose.int, (t, 1, 2))
            t = call(aten.reshape.default, (t, [-1, channels * math.prod(rest)]))
            most = call(aten.amax.default, (call(aten.abs.default, (t,)), [1], True))
            t = call(aten.cat.default, ([t, most], 1))
            self.values[node, PIXELS] = call(aten.constant_pad_nd.default, (t, [0, PARTS - 1]))
        return self.values[node, PIXELS]


def make_ready(gm: fx.GraphModule, table: ops.KernelTable) -> None:
    """Have the kernels compile what a rewritten graph will ask them for, so that nothing is compiled when it runs."""
    for node in gm.graph.nodes:
        if node.target is ops.CONV_LAID:
            _, _, slot, _, given, made, planes = node.args
            for kernel in table[slot].kernels:
                if isinstance(kernel, LaidKernel) and kernel.laid_served:
                    kernel.ready(given, made, tuple(planes))
