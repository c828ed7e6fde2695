"""Put the channels between convolutions in an order in which blocks are full. Nothing is computed for it.

before:  %h : aten.conv2d(%x, %a_weight); %n : aten.batch_norm(%h, ...); %y : aten.conv2d(%n, %b_weight)
after:   the same with %a_permuted_weight, the norm's permuted vectors, %b_permuted_weight

Every convolution that makes a channel and every one that reads it take one order, and what lies between works on each
channel by itself: activations, additions of residuals, eval-mode BatchNorm and depthwise convolutions (their vectors
and kernels move along), pooling. Behind a mean over all pixels linear layers read channels too. What anything else
reads keeps its order: results, concatenations, normalisations over channels. It pays by the rule of
:mod:`spcomp.passes.permute_hidden`, on the matrices that would be encoded.

Only for weights on a GPU, where convolutions are encoded as blocks: on the CPU their weights are code, every nonzero an
instruction, which is as fast in any order. ``everywhere`` is for who wants it there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, fx

from spcomp.encodings.matrix import matrix_of
from spcomp.passes.base import PassContext
from spcomp.passes.conv import is_conv
from spcomp.passes.dataflow import Constants, arguments, is_static, same_size, shape_of
from spcomp.passes.infer_sparsity import MEASURABLE, facts_of
from spcomp.passes.known_rules import conv_groups
from spcomp.passes.origins import identity
from spcomp.passes.permute_hidden import DENSEST, FEWEST, LOOKS, PermuteHidden
from spcomp.passes.pointwise import is_pointwise
from spcomp.passes.slices import taken
from spcomp.passes.together import Together, in_graph_order, put_in_order, uses_of
from spcomp.sparsity.bits import weight_bits
from spcomp.sparsity.measure import measure
from spcomp.sparsity.order import row_order, support

aten = torch.ops.aten
POOLS = (
    aten.max_pool1d.default, aten.max_pool2d.default, aten.avg_pool1d.default, aten.avg_pool2d.default,
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default,
)  # fmt: skip
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class PermuteChannels:
    """Reorder channels where blocks get fuller. ``group``: channels that are brought together."""

    name: ClassVar[str] = "permute-channels"
    group: int = 8
    gain: float = 0.2
    everywhere: bool = False

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        if not any(is_conv(n) and (self.everywhere or _on_gpu(n)) for n in gm.graph.nodes):
            return gm
        constants = Constants.of(gm)
        return put_in_order(gm, channel_groups(gm, constants), constants, ctx, "channels read by", self.order)

    def order(self, rows: Sequence[Tensor], columns: Sequence[Tensor], ctx: PassContext) -> Tensor | None:
        """The order, if it pays; weights [channels, ...] that make them and [n, channels, ...] that read them."""
        before = facts_of([*rows, *columns], ctx)
        if all(facts.density > DENSEST for facts in before):
            return None
        parts = [support(weight_bits(matrix_of(w))[0], 0) for w in rows]
        parts += [support(weight_bits(w.movedim(1, -1).reshape(-1, w.shape[1]))[0], 1) for w in columns]
        found = row_order(parts, self.group)
        if found is None:
            return None
        order = torch.from_numpy(found)
        moved = [taken(w.detach(), [(axis, order)]) for axis, some in enumerate((rows, columns)) for w in some]
        after = [measure(matrix_of(w), negative_zeros=False) for w in moved]
        return order if PermuteHidden(self.group, self.gain).pays(before, after, len(rows)) else None


def _on_gpu(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.device.type == "cuda"


def channel_groups(gm: fx.GraphModule, constants: Constants) -> list[Together]:
    """Channels that convolutions make and that convolutions and linear layers read, and nothing mixes in between."""
    place, uses = in_graph_order(gm), uses_of(gm, constants)
    found: list[Together] = []
    seen: set[fx.Node] = set()
    for node in gm.graph.nodes:
        if not _is_layer(node, constants) or not is_conv(node) or node in seen:
            continue
        walk = _Walk(constants, uses, _channels(node))
        if walk.run(node):
            seen |= walk.makers
            ordered = [tuple(sorted(some, key=place)) for some in (walk.makers, walk.readers)]
            found.append(Together(ordered[0], ordered[1], tuple(walk.between)))
    return found


@dataclass(eq=False)
class _Walk:
    """From one convolution to everything whose channels are those of its result."""

    constants: Constants
    uses: Counter[tuple[object, ...]]
    size: object
    makers: set[fx.Node] = field(default_factory=set)
    readers: set[fx.Node] = field(default_factory=set)
    between: list[tuple[fx.Node, str]] = field(default_factory=list)

    def run(self, first: fx.Node) -> bool:
        """Whether all of them can take another order."""
        if not isinstance(self.size, int) or self.size < FEWEST:
            return False
        values: set[fx.Node] = set()
        queue = [first]
        while queue:
            node = queue.pop()
            if node in values:
                continue
            values.add(node)
            maker = _is_layer(node, self.constants)
            sources = [] if maker and is_conv(node) else self._sources(node)
            users = [u for u in node.users if u.target not in LOOKS]
            if (
                node in self.constants.opaque
                or sources is None
                or not same_size(_channels(node), self.size)
                or not users
            ):
                return False
            self.makers |= {node} if maker and is_conv(node) else set()
            layers = {u for u in users if _is_layer(u, self.constants) and u.args[0] is node}
            if any(u.target is aten.linear.default and len(shape_of(node) or ()) != 2 for u in layers):
                return False
            self.readers |= layers
            queue += [*sources, *(u for u in users if u not in layers)]
        own = all(self._own(n, ("weight", "bias")) for n in self.makers | self.readers)
        return own and bool(self.readers) and not self.makers & self.readers

    def _sources(self, node: fx.Node) -> list[fx.Node] | None:
        """Values whose channels a node's channels are, one by one; None where it is anything else."""
        if node.op != "call_function" or not hasattr(node.target, "_schema"):
            return None
        given = arguments(node)
        if node.target in POOLS or _keeps_channels(node, given):
            return [given["self"]]
        if node.target is aten.batch_norm.default:
            return self._with(node, NORM) if given["training"] is False else None
        if is_conv(node):  # depthwise: _is_layer says no to groups
            weight = given["weight"].meta.get("val") if isinstance(given["weight"], fx.Node) else None
            batched = conv_groups(node, given) is not None
            depthwise = batched and weight is not None and given["groups"] == weight.shape[0] and weight.shape[1] == 1
            return self._with(node, ("weight", "bias")) if depthwise else None
        if not is_pointwise(node.target, given):
            return None
        rank = len(shape_of(node) or ())
        shapes = {source: shape_of(source) for source in node.all_input_nodes}
        if any(shape is None or len(shape) not in (0, rank) for shape in shapes.values()):
            return None  # what has fewer dimensions is aligned with the last ones
        return [source for source, shape in shapes.items() if shape and not same_size(shape[1], 1)]

    def _with(self, node: fx.Node, names: Sequence[str]) -> list[fx.Node] | None:
        given = arguments(node)
        if not self._own(node, names):
            return None
        self.between += [(node, name) for name in names if given[name] is not None]
        source = given["input"]
        return [source] if isinstance(source, fx.Node) else None

    def _own(self, node: fx.Node, names: Sequence[str]) -> bool:
        """Whether a node's constants are read by nothing else in the graph, and can be replaced where they stand."""
        given = arguments(node)
        tensors = [self.constants(given[name]) for name in names if given[name] is not None]
        return not node.kwargs and all(t is not None and self.uses[identity(t)] == 1 for t in tensors)


def _is_layer(node: fx.Node, constants: Constants) -> bool:
    """A linear layer or a convolution of one group whose weight is a constant that can be measured."""
    if node.target is not aten.linear.default and not is_conv(node):
        return False
    weight = constants(node.args[1])
    if weight is None or weight.dtype not in MEASURABLE:
        return False
    return not is_conv(node) or conv_groups(node, arguments(node)) == 1


def _channels(node: fx.Node) -> object:
    """Size of a batched value's second dimension; None where there is none, or it is not static."""
    shape = shape_of(node)
    return shape[1] if shape is not None and len(shape) > 1 and is_static(shape[1]) else None


def _keeps_channels(node: fx.Node, given: dict[str, object]) -> bool:
    """Whether a node is a mean over pixels, or a view of [B, C, 1, 1] as [B, C]."""
    source = given.get("self")
    before, after = shape_of(source) if isinstance(source, fx.Node) else None, shape_of(node)
    if before is None or after is None or len(before) < 3:
        return False
    if node.target is aten.mean.dim:
        dims = given["dim"]
        return isinstance(dims, list | tuple) and all(d % len(before) > 1 for d in dims)
    views = (aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten._unsafe_view.default)
    ones = all(same_size(size, 1) for size in (*before[2:], *after[2:]))
    return node.target in views and ones and len(after) > 1 and all(map(same_size, before[:2], after[:2]))
