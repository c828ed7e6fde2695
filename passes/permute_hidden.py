"""Put the features between two layers in an order in which blocks are full. Nothing is computed for it.

before:  %h : aten.linear(%x, %fc1_weight, %fc1_bias); %a : aten.gelu(%h); %y : aten.linear(%a, %fc2_weight, %fc2_bias)
after:   %h : aten.linear(%x, %fc1_permuted_weight, %fc1_permuted_bias); ...; aten.linear(%a, %fc2_permuted_weight, ...)

Rows (and bias) of every layer that makes a hidden value and columns of every layer that reads it are put in one order,
where what lies between takes each feature by itself (activations, gate x up). Values that anything else reads keep
theirs: residual streams, the inputs of norms, heads of attention, results. Only where it pays for sure: the elements
that the best block shape stores, counted, are fewer by ``gain``, half of them are nonzeros, and no N:M is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from spcomp.passes.base import PassContext
from spcomp.passes.dataflow import Constants, arguments, is_static, same_size, shape_of
from spcomp.passes.infer_sparsity import MEASURABLE, facts_of
from spcomp.passes.origins import identity
from spcomp.passes.pointwise import is_pointwise
from spcomp.passes.slices import taken
from spcomp.passes.together import Together, in_graph_order, put_in_order, uses_of
from spcomp.sparsity.bits import weight_bits
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, SparsityFacts
from spcomp.sparsity.measure import measure_all
from spcomp.sparsity.order import row_order, support

aten = torch.ops.aten
SHAPES = tuple((rows, cols) for rows, cols in BLOCK_SHAPES if 1 < rows <= 16)
RESHAPES = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)
LOOKS = (aten._assert_tensor_metadata.default, aten.sym_size.int)
"""Ops that see sizes and dtypes alone."""
DENSEST = 0.5
"""Above, in every weight, no order makes blocks that are worth it."""
USED = 0.75
"""Share of the slots of an N:M that are taken, from which on it was no chance."""
FEWEST = 32
"""Features; with fewer there is nothing to gain."""


@dataclass(frozen=True)
class PermuteHidden:
    """Reorder hidden features where blocks get fuller. ``group``: features that are brought together."""

    name: ClassVar[str] = "permute-hidden"
    group: int = 8
    gain: float = 0.2

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        constants = Constants.of(gm)
        return put_in_order(gm, hidden_dimensions(gm, constants), constants, ctx, "read by", self.order)

    def order(self, rows: Sequence[Tensor], columns: Sequence[Tensor], ctx: PassContext) -> Tensor | None:
        """The order, if it pays; weights [hidden, k] that make the features and [n, hidden] that read them."""
        before = facts_of([*rows, *columns], ctx)
        if all(facts.density > DENSEST for facts in before):
            return None
        parts = [support(weight_bits(w)[0], axis) for axis, some in enumerate((rows, columns)) for w in some]
        found = row_order(parts, self.group)
        if found is None:
            return None
        order = torch.from_numpy(found)
        moved = [taken(w.detach(), [(axis, order)]) for axis, some in enumerate((rows, columns)) for w in some]
        return order if self.pays(before, measure_all(moved, negative_zeros=False), len(rows)) else None

    def pays(self, before: Sequence[SparsityFacts], after: Sequence[SparsityFacts], makers: int) -> bool:
        """Whether blocks store so much less that it is worth it; the first ``makers`` make the features."""
        stored = [(_stored(old), _stored(new)) for old, new in zip(before, after, strict=True)]
        if sum(new for _, new in stored) > (1 - self.gain) * sum(old for old, _ in stored):
            return False
        better = [f for f, (old, new) in zip(after, stored, strict=True) if new < old]
        if not any(f.nonzeros > DENSEST * _stored(f) for f in better):
            return False
        read = zip(before[makers:], after[makers:], strict=True)
        return not any(new.group_max[1, m] > n for old, new in read for n, m in _promised(old))


def _promised(facts: SparsityFacts) -> list[tuple[int, int]]:
    """N:M that hold and are mostly used: a group has no more than N nonzeros, and on average not much less."""
    held = ((facts.group_max[1, m], m) for m in NM_GROUPS)
    return [(n, m) for n, m in held if n < m and facts.density > USED * n / m]


def _stored(facts: SparsityFacts) -> int:
    """Elements that the best block shape stores."""
    return min(facts.block_counts[rows, cols] * rows * cols for rows, cols in SHAPES)


def hidden_dimensions(gm: fx.GraphModule, constants: Constants) -> list[Together]:
    """Features that linear layers make and linear layers read, and nothing mixes or looks at in between."""
    found: list[Together] = []
    place, uses = in_graph_order(gm), uses_of(gm, constants)
    seen: set[fx.Node] = set()
    for node in gm.graph.nodes:
        if node.target is not aten.linear.default or node in seen:
            continue
        around = _around(node, constants)
        if around is not None and all(_is_own(n, constants, uses) for n in (*around[0], *around[1])):
            seen |= around[0]
            makers, readers = (tuple(sorted(some, key=place)) for some in around)
            found.append(Together(makers, readers))
    return found


def _around(first: fx.Node, constants: Constants) -> tuple[set[fx.Node], set[fx.Node]] | None:
    """Layers that make and that read what is joined to a layer's result feature by feature; None where anything else
    does."""
    size = _features(first)
    if not isinstance(size, int) or size < FEWEST:
        return None
    makers: set[fx.Node] = set()
    readers: set[fx.Node] = set()
    values: set[fx.Node] = set()
    queue = [first]
    while queue:
        node = queue.pop()
        if node in values:
            continue
        values.add(node)
        sources = [] if node.target is aten.linear.default else _sources(node, size)
        users = [u for u in node.users if u.target not in LOOKS]
        if node in constants.opaque or _features(node) != size or sources is None or not users:
            return None
        makers |= {node} if node.target is aten.linear.default else set()
        readers |= {u for u in users if u.target is aten.linear.default}
        queue += [*sources, *(u for u in users if u.target is not aten.linear.default)]
    return (makers, readers) if readers and not makers & readers else None


def _features(node: fx.Node) -> object:
    """Size of a value's last dimension; None where there is none, or it is not static."""
    shape = shape_of(node)
    return shape[-1] if shape and is_static(shape[-1]) else None


def _sources(node: fx.Node, size: int) -> list[fx.Node] | None:
    """Values whose features a node's features are, one by one; None where it is anything else."""
    if node.op != "call_function" or not hasattr(node.target, "_schema"):
        return None
    if node.target in RESHAPES:
        source = node.args[0]
        return [source] if isinstance(source, fx.Node) and _features(source) == size else None
    if not is_pointwise(node.target, arguments(node)):
        return None
    shapes = {source: shape_of(source) for source in node.all_input_nodes}
    if any(shape is None for shape in shapes.values()):
        return None
    return [source for source, shape in shapes.items() if shape and not same_size(shape[-1], 1)]


def _is_own(node: fx.Node, constants: Constants, uses: Counter[tuple[object, ...]]) -> bool:
    """Whether a layer's weight and bias are constants that nothing else in the graph reads."""
    tensors = [constants(a) for a in node.args[1:] if a is not None]
    own = all(t is not None and uses[identity(t)] == 1 for t in tensors)
    return own and not node.kwargs and tensors[0] is not None and tensors[0].dtype in MEASURABLE
