"""Layers that share an order of features: what every permutation does once it knows the order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, fx

from spcomp.passes.base import PassContext, recompile
from spcomp.passes.dataflow import Constants, arguments
from spcomp.passes.origins import Step, identity, pick
from spcomp.passes.rewrite import add_constant, remove_dead_code

WORD = "permuted"
"""Constants in another order lie below a module of this name."""
Order = Callable[[Sequence[Tensor], Sequence[Tensor], PassContext], Tensor | None]


@dataclass(frozen=True, eq=False)
class Together:
    """What makes some features, what reads them, in graph order; and (node, argument) of constants that have them in
    between."""

    makers: tuple[fx.Node, ...]
    readers: tuple[fx.Node, ...]
    between: tuple[tuple[fx.Node, str], ...] = ()


def put_in_order(
    gm: fx.GraphModule, found: Sequence[Together], constants: Constants, ctx: PassContext, word: str, order: Order
) -> fx.GraphModule:
    """The graph with features in the orders that ``order(rows, columns, ctx)`` finds for weights that make them and
    that read them, asked once for the same weights (``ctx.orders``, under ``word``); None leaves them as they are."""
    changed = False
    for group in found:
        rows, columns = ([constant_of(constants, n, 1) for n in some] for some in (group.makers, group.readers))
        key = (*map(identity, rows), word, *map(identity, columns))
        if key not in ctx.orders:
            ctx.orders[key] = (*rows, *columns), order(rows, columns, ctx)
        new = ctx.orders[key][1]
        if new is None:
            continue
        changed = True
        for node in group.makers:
            _reorder(gm, node, 1, 0, new, constants, ctx)
            if arguments(node)["bias"] is not None:
                _reorder(gm, node, 2, 0, new, constants, ctx)
        for node, name in group.between:
            names = [a.name for a in node.target._schema.arguments]  # type: ignore[union-attr]
            _reorder(gm, node, names.index(name), 0, new, constants, ctx)
        for node in group.readers:
            _reorder(gm, node, 1, 1, new, constants, ctx)
    if changed:
        remove_dead_code(gm)
        recompile(gm, ctx)
    return gm


def uses_of(gm: fx.GraphModule, constants: Constants) -> Counter[tuple[object, ...]]:
    """How often each constant is read, under all its names."""
    uses: Counter[tuple[object, ...]] = Counter()
    for node in gm.graph.nodes:
        if (tensor := constants(node)) is not None:
            uses[identity(tensor)] += len(node.users)
    return uses


def in_graph_order(gm: fx.GraphModule) -> Callable[[fx.Node], int]:
    """A key that sorts nodes as the graph has them."""
    return {node: i for i, node in enumerate(gm.graph.nodes)}.__getitem__


def constant_of(constants: Constants, node: fx.Node, position: int) -> Tensor:
    """A constant argument of a layer."""
    found = constants(node.args[position])
    assert found is not None
    return found


def _reorder(
    gm: fx.GraphModule, node: fx.Node, position: int, dim: int, order: Tensor, constants: Constants, ctx: PassContext
) -> None:
    """Read a constant argument of a layer with ``dim`` in the order."""
    constant, held = constant_of(constants, node, position), node.args[position]
    assert isinstance(held, fx.Node)
    what = (WORD, dim, order.numpy().tobytes())
    made = ctx.origins.get(constant, what)
    if made is None:
        select = (Step("keep", ((dim,),), order),)
        made = ctx.origins.put(constant, what, pick(select, constant), select)
    first = next(iter(gm.graph.nodes))
    node.update_arg(position, add_constant(gm, str(held.target), made, WORD, first, ctx.origins))
