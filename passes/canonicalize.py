"""One form for what is the same: products with constants are linear layers, functions of constants are constants.

before:  %y : aten.addmm(%b, %x, %w)            (%w [in, out], as in GPT-2)
after:   %y : aten.linear(%x, %w_transposed, %b)

before:  %n : aten.div(%v, %norm); %w : aten.mul(%g, %n); %y : aten.linear(%x, %w)      (a weight norm)
after:   %y : aten.linear(%x, %w_folded)

before:  %y : aten.relu_(%h)                    (nobody reads %h, or a view of it, afterwards)
after:   %y : aten.relu(%h)

before:  %d : aten.dropout(%x, 0.1, False); %r : aten.reshape(%d, [1, 12, 128, 64])     (the sizes that it has)
after:   %x

Functions of constants are computed by the very ops, in their own dtype. Transposed copies are made once and shared.
A convolution and the BatchNorm after it are left to ``collect``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import fx

from spcomp.passes.base import PassContext, attribute, recompile
from spcomp.passes.dataflow import Constants, arguments, escapes, is_mutable, is_part, is_random, same_size, shape_of
from spcomp.passes.einsum import EinsumLinear, as_linear
from spcomp.passes.functional import functionalize
from spcomp.passes.origins import Origins, Step, identity, pick, viewed
from spcomp.passes.rewrite import add_constant, refresh, remove_dead_code

aten = torch.ops.aten
DROPOUTS = frozenset((aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default))
WHOLE_VIEWS = frozenset((aten.view.default, aten.reshape.default, aten.expand.default, aten.alias.default))
MAX_GROWTH_BYTES = 1 << 20
"""A folded constant may be this much larger than twice what it is made of."""


@dataclass(frozen=True)
class Canonicalize:
    """Rewrite products with constants as linear layers and fold constants. Nothing to do returns the same object."""

    name: ClassVar[str] = "canonicalize"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        changed = functionalize(gm)
        changed |= fold_constants(gm, ctx.origins)
        changed |= _Products(gm, Constants.of(gm), ctx.origins).run()
        changed |= drop_identities(gm)
        if remove_dead_code(gm) or changed:
            recompile(gm, ctx)
        return gm


def drop_identities(gm: fx.GraphModule) -> bool:
    """Who reads dropout in evaluation, or a view of all of a value in its own sizes, reads the value itself. What is
    returned stays."""
    changed = False
    for node in gm.graph.nodes:
        if node.op == "call_function" and node.users and not escapes(node) and _is_identity(node):
            node.replace_all_uses_with(node.args[0])
            changed = True
    return changed


def _is_identity(node: fx.Node) -> bool:
    if node.target in DROPOUTS:
        return arguments(node).get("train") is False
    source = node.args[0] if node.args else None
    if node.target not in WHOLE_VIEWS or not isinstance(source, fx.Node):
        return False
    mine, given = node.meta.get("val"), source.meta.get("val")
    if not isinstance(mine, torch.Tensor) or not isinstance(given, torch.Tensor) or mine.dim() != given.dim():
        return False
    sizes = [*mine.shape, *mine.stride(), *given.shape, *given.stride()]
    return all(type(s) is int for s in sizes) and (mine.shape, mine.stride()) == (given.shape, given.stride())


def fold_constants(gm: fx.GraphModule, origins: Origins) -> bool:
    """Compute what depends on constants alone. What is still in use is materialised, what is not was a step."""
    constants = Constants.of(gm)
    values: dict[fx.Node, Any] = {}
    for node in gm.graph.nodes:
        if (constant := constants(node)) is not None:
            values[node] = constant
        elif _foldable(node, constants, values):
            args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), values.__getitem__)
            with torch.no_grad():
                made = node.target(*args, **kwargs)
            if _reasonable(made, args):
                values[node] = made
    folded = False
    for node in list(gm.graph.nodes):
        value = values.get(node)
        leaves = any(user not in values or (escapes(user) and user.op != "get_attr") for user in node.users)
        if node.op == "get_attr" or not isinstance(value, torch.Tensor) or not leaves or escapes(node):
            continue  # what is returned is the caller's, a new one every time
        source = _largest_source(node)
        value = _shared(origins, attribute(gm, source), value)
        new = add_constant(gm, str(source.target), value, "folded", node, origins)
        new.meta["val"] = node.meta.get("val", new.meta["val"])
        node.replace_all_uses_with(new, delete_user_cb=lambda user: user not in values or escapes(user))
        folded = True
    return folded


def _foldable(node: fx.Node, constants: Constants, values: dict[fx.Node, Any]) -> bool:
    inputs = node.all_input_nodes
    if node.op != "call_function" or not inputs or node in constants.opaque or _moves(node):
        return False
    pure = hasattr(node.target, "_schema") and not is_mutable(node) and not is_random(node)
    pure = pure and bool(node.target._schema.returns)  # type: ignore[union-attr]
    return (pure or is_part(node)) and all(n in values for n in inputs)


def _moves(node: fx.Node) -> bool:
    """Whether a node names a device that constants, which are looked at on the CPU, are not on here."""
    given = torch.utils._pytree.tree_leaves((node.args, dict(node.kwargs)))
    return any(isinstance(a, torch.device) and a.type != "cpu" for a in given)


def _reasonable(made: Any, args: Any) -> bool:
    """Expanded or repeated constants are not stored."""
    if not isinstance(made, torch.Tensor):
        return isinstance(made, list | tuple)
    given = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, torch.Tensor)]
    return made.nbytes <= 2 * sum(t.nbytes for t in given) + MAX_GROWTH_BYTES


def _shared(origins: Origins, source: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A folded value, or the one that another program came to: a view is known by its memory, the rest by content."""
    select = viewed(value, source)
    if select is not None:
        return origins.put(source, ("view", *identity(value)), value, select)
    return origins.computed(source, value)


def _largest_source(node: fx.Node) -> fx.Node:
    """The largest attribute that a folded value is made of: it gives its name."""
    found: dict[fx.Node, int] = {}
    todo, seen = [node], {node}
    while todo:
        for source in todo.pop().all_input_nodes:
            if source.op == "get_attr" and isinstance(value := source.meta.get("val"), torch.Tensor):
                found[source] = value.numel()
            elif source not in seen:
                seen.add(source)
                todo.append(source)
    return max(found, key=found.__getitem__)


@dataclass(eq=False)
class _Products:
    """Products with constants of one graph."""

    gm: fx.GraphModule
    constants: Constants
    origins: Origins
    made: dict[tuple[object, ...], fx.Node] = field(default_factory=dict)

    def run(self) -> bool:
        changed = False
        for node in list(self.gm.graph.nodes):
            rule = self._rules.get(node.target) if node.op == "call_function" else None
            if rule is not None and node not in self.constants.opaque:
                changed |= bool(rule(self, node, arguments(node)))
        return changed

    def weight(self, node: fx.Node, order: tuple[int, ...], shape: tuple[int, int]) -> fx.Node:
        """A constant with its dimensions in another order, as a matrix; itself if nothing changes."""
        constant = self.constants(node)
        assert constant is not None
        if order == tuple(range(constant.dim())) and tuple(constant.shape) == shape:
            return node
        key = (*identity(constant), order, shape)
        if key not in self.made:
            matrix = self.origins.get(constant, (order, shape))
            if matrix is None:
                select = (Step("permute", (order, shape)),)
                matrix = self.origins.put(constant, (order, shape), pick(select, constant).contiguous(), select)
            first = next(iter(self.gm.graph.nodes))
            self.made[key] = add_constant(self.gm, str(node.target), matrix, "transposed", first, self.origins)
        return self.made[key]

    def linear(self, node: fx.Node, x: fx.Node, weight: fx.Node, bias: fx.Node | None) -> bool:
        """Put a linear layer in the place of a node."""
        args = (x, weight) if bias is None else (x, weight, bias)
        with self.gm.graph.inserting_before(node):
            new = self.gm.graph.call_function(aten.linear.default, args)
        self._replace(node, new)
        return True

    def _replace(self, node: fx.Node, new: fx.Node) -> None:
        new.meta = {k: v for k, v in node.meta.items() if k in ("val", "nn_module_stack", "stack_trace")}
        refresh(self.gm, {new})
        node.replace_all_uses_with(new)
        self.gm.graph.erase_node(node)

    def _addmm(self, node: fx.Node, given: dict[str, Any]) -> bool:
        bias, x, matrix = given["self"], given["mat1"], given["mat2"]
        weight, shift = self.constants(matrix), self.constants(bias)
        if weight is None or shift is None or given["beta"] != 1 or given["alpha"] != 1 or x is matrix:
            return False
        if tuple(shift.shape) != (weight.shape[1],) or shift.dtype != weight.dtype:
            return False
        own = self.weight(matrix, (1, 0), (weight.shape[1], weight.shape[0]))
        return self._without_views(node, x, own, bias) or self.linear(node, x, own, bias)

    def _without_views(self, node: fx.Node, x: fx.Node, weight: fx.Node, bias: fx.Node) -> bool:
        """view, addmm, view back: a linear layer takes any leading dimensions."""
        views = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)
        user = next(iter(node.users)) if len(node.users) == 1 else None
        if x.target not in views or user is None or user.target not in views:
            return False
        inner = x.args[0]
        before, after = shape_of(inner), shape_of(user)  # type: ignore[arg-type]
        rows = self.constants(weight)
        if before is None or after is None or rows is None or len(before) != len(after):
            return False
        if not all(map(same_size, [*before, rows.shape[0]], [*after[:-1], rows.shape[1], after[-1]])):
            return False
        assert isinstance(inner, fx.Node)
        self.linear(user, inner, weight, bias)
        self.gm.graph.erase_node(node)
        return True

    def _matmul(self, node: fx.Node, given: dict[str, Any]) -> bool:
        """x @ constant matrix; the other order stays, it would need two transposed activations."""
        x, matrix = given["self"], given["mat2" if "mat2" in given else "other"]
        weight, shape = self.constants(matrix), shape_of(x)
        if weight is None or shape is None or self.constants(x) is not None or len(shape) < 1:
            return False
        if weight.dim() == 3 and weight.shape[0] == 1 and node.target is aten.bmm.default:
            return self.linear(node, x, self.weight(matrix, (0, 2, 1), (weight.shape[2], weight.shape[1])), None)
        if weight.dim() != 2:
            return False
        return self.linear(node, x, self.weight(matrix, (1, 0), (weight.shape[1], weight.shape[0])), None)

    def _einsum(self, node: fx.Node, given: dict[str, Any]) -> bool:
        tensors = given["tensors"]
        if len(tensors) != 2:
            return False
        held = [self.constants(t) for t in tensors]
        if (held[0] is None) == (held[1] is None):
            return False
        at = 0 if held[0] is not None else 1
        constant, x = held[at], tensors[1 - at]
        shape = shape_of(x)
        assert constant is not None
        plan = None if shape is None else as_linear(given["equation"], at, len(shape), tuple(constant.shape))
        if plan is None:
            return False
        self._replace(node, self._planned(node, plan, x, tensors[at]))
        return True

    def _planned(self, node: fx.Node, plan: EinsumLinear, x: fx.Node, held: fx.Node) -> fx.Node:
        graph, new = self.gm.graph, set()
        weight = self.weight(held, plan.order, plan.shape)
        with graph.inserting_before(node):
            if plan.contracted > 1:
                x = graph.call_function(aten.flatten.using_ints, (x, -plan.contracted, -1))
                new.add(x)
            y = graph.call_function(aten.linear.default, (x, weight))
            new.add(y)
            if len(plan.results) != 1:
                y = graph.call_function(aten.unflatten.int, (y, -1, list(plan.results)))
                new.add(y)
        refresh(self.gm, new)
        return y

    _rules: ClassVar[dict[Any, Any]] = {
        aten.addmm.default: _addmm,
        **dict.fromkeys((aten.matmul.default, aten.mm.default, aten.bmm.default), _matmul),
        aten.einsum.default: _einsum,
    }
