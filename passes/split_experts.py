"""Products with a stack of experts' weights become one op over a matrix for each expert, or, on a GPU, over one of all.

before:  %y : transformers.grouped_mm_fallback(%x, %w, %ends)       (or aten._grouped_mm; constant %w [E, k, n])
after:   %y : spcomp.experts_dense_v1(%x, %ends, [%w_0, %w_1, ...])     (constants [n, k])

before:  the same, of a %w that is computed, or in a dtype that is not measured
after:   %t : aten.transpose(%w, 1, 2); %u : aten.unbind(%t); %y : spcomp.experts_dense_v1(%x, %ends, [%u[0], ...])

on a GPU:
before:  the first
after:   %y : spcomp.grouped_dense_v1(%x, %ends, %w, %w_all)     (constant [E * n, k]: the matrices one below the other)

Each constant matrix is a layer of its own from here on: measured, planned and encoded like a linear layer's weight. It
looks at the model's own memory where that holds it row by row (stacks [E, n, k] that are transposed for the product),
and is a copy elsewhere. ``experts.gate_up_proj`` is read as ``experts.expert.0.gate_up_proj`` and so on; the layers
are called ``experts.gate_up_proj.0``. The second form is there so that the graph can be saved.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from spcomp.experts import EXPERTS_DENSE, GROUPED_DENSE
from spcomp.passes.base import PassContext, recompile
from spcomp.passes.dataflow import Constants, arguments, shape_of
from spcomp.passes.experts import AS_IT_WAS
from spcomp.passes.infer_sparsity import MEASURABLE
from spcomp.passes.origins import Origins, Select, Step, viewed
from spcomp.passes.rewrite import add_constant, refresh, remove_dead_code

aten = torch.ops.aten
FALLBACK = "transformers.grouped_mm_fallback.default"
"""Known by its name: the library that defines it need not be here."""
NUMBERS = (torch.int32, torch.int64)
WORD = "expert"
READERS = (aten.index.Tensor, aten.index_select.default, aten.bmm.default, aten.baddbmm.default, aten.matmul.default)
"""Ops that compute with experts' matrices in ways that nothing here replaces."""
COMPUTED = "its matrices are computed, or in a dtype that is not measured"


@dataclass(frozen=True)
class SplitExperts:
    """Give every expert a matrix of its own. Nothing to do returns the same object."""

    name: ClassVar[str] = "split-experts"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = [(node, product) for node in gm.graph.nodes if (product := product_of(node)) is not None]
        if ctx.devices is None:  # a layer for every expert would wait for a GPU at each call
            found = [(node, product) for node, product in found if product.x.meta["val"].device.type == "cpu"]
        _say_what_is_read_otherwise(gm, found, ctx)
        if not found:
            return gm
        constants = Constants.of(gm)
        for node, product in found:
            stack = constants(product.weight)
            on_gpu = _on_gpu(product, ctx)
            if on_gpu and (stack is None or stack.dtype not in MEASURABLE):
                ctx.unserved[product.weight.name] = COMPUTED
                continue
            if on_gpu and stack is not None:
                _below_each_other(gm, node, product, stack, ctx)
                continue
            if stack is not None and stack.dtype in MEASURABLE:
                held = _constants(gm, product.weight, stack, node, ctx.origins)
            else:
                held = _unbound(gm, product, node)
            with gm.graph.inserting_before(node):
                new = gm.graph.call_function(EXPERTS_DENSE, (product.x, product.ends, held))
            new.meta = {k: v for k, v in node.meta.items() if k in ("nn_module_stack", "stack_trace")}
            refresh(gm, {new})
            node.replace_all_uses_with(new)
            gm.graph.erase_node(node)
        remove_dead_code(gm)
        recompile(gm, ctx)
        return gm


@dataclass(frozen=True)
class Product:
    """x [S, k], sorted by expert, times the matrices of weight [experts, k, n]; ends [experts]."""

    x: fx.Node
    weight: fx.Node
    ends: fx.Node
    experts: int


def product_of(node: fx.Node) -> Product | None:
    """The product with a stack of matrices that a node computes, or None."""
    if node.op != "call_function":
        return None
    if str(node.target) == FALLBACK:
        given = arguments(node)
        x, weight, ends = given["input"], given["weight"], given["offs"]
    elif node.target is aten._grouped_mm.default:
        given = arguments(node)
        x, weight, ends = given["self"], given["mat2"], given["offs"]
        if given["bias"] is not None or given["out_dtype"] not in (None, node.meta["val"].dtype):
            return None
    else:
        return None
    if not all(isinstance(n, fx.Node) and isinstance(n.meta.get("val"), Tensor) for n in (x, weight, ends)):
        return None
    sizes, rows, many = shape_of(weight) or (), shape_of(x) or (), shape_of(ends) or ()
    if (len(rows), len(sizes), len(many)) != (2, 3, 1) or not all(type(s) is int for s in (*sizes, *many, rows[1])):
        return None
    kinds = {t.meta["val"].dtype for t in (x, weight, node)}
    fits = many[0] == sizes[0] and rows[1] == sizes[1] and len(kinds) == 1 and ends.meta["val"].dtype in NUMBERS
    return Product(x, weight, ends, int(sizes[0])) if fits and sizes[0] else None


def _constants(gm: fx.GraphModule, weight: fx.Node, stack: Tensor, before: fx.Node, origins: Origins) -> list[fx.Node]:
    own = origins.name(str(weight.target))
    found = []
    for expert in range(len(stack)):
        matrix = matrix_of(stack, expert, origins)
        node = add_constant(gm, own, matrix, f"{WORD}.{expert}", before, origins)
        origins.call(str(node.target), f"{own}.{expert}")
        found.append(node)
    return found


def _on_gpu(product: Product, ctx: PassContext) -> bool:
    if ctx.devices is None:
        return False
    return not ctx.devices(str(product.weight.target), str(product.weight.meta["val"].device)).host


def _below_each_other(gm: fx.GraphModule, node: fx.Node, product: Product, stack: Tensor, ctx: PassContext) -> None:
    """The form for GPUs, where one kernel may serve all experts."""
    whole = whole_of(stack, ctx.origins)
    held = add_constant(gm, ctx.origins.name(str(product.weight.target)), whole, "experts", node, ctx.origins)
    with gm.graph.inserting_before(node):
        new = gm.graph.call_function(GROUPED_DENSE, (product.x, product.ends, product.weight, held))
    new.meta = {k: v for k, v in node.meta.items() if k in ("val", "nn_module_stack", "stack_trace")}
    if str(node.target) != FALLBACK:
        new.meta[AS_IT_WAS] = node.target
    node.replace_all_uses_with(new)
    gm.graph.erase_node(node)


def _say_what_is_read_otherwise(gm: fx.GraphModule, found: Sequence[tuple[fx.Node, Product]], ctx: PassContext) -> None:
    """Note stacks on GPUs whose matrices something else than a grouped product reads."""
    if ctx.devices is None:
        return
    constants, products = Constants.of(gm), {node for node, _ in found}
    for node in gm.graph.nodes:
        if node in products or node.target not in READERS:
            continue
        for weight in node.all_input_nodes:
            stack = constants(weight)
            if stack is None or stack.dim() != 3 or stack.dtype not in MEASURABLE or weight.op != "get_attr":
                continue
            if not ctx.devices(str(weight.target), str(weight.meta["val"].device)).host:
                name = ctx.origins.name(str(weight.target))
                ctx.unserved[name] = f"{node.target} reads its matrices; only grouped products have a kernel for all"


def whole_of(stack: Tensor, origins: Origins) -> Tensor:
    """The matrices of a constant [E, k, n] one below the other [E * n, k]: the same tensor whenever it is asked for."""
    pieces = origins.roots(stack)
    root, before = (pieces[0].root, pieces[0].select) if len(pieces) == 1 else (stack, ())
    what = ("experts", tuple(stack.shape), stack.stride(), stack.data_ptr())
    made = origins.get(root, what)
    if made is not None:
        return made
    size = (int(stack.shape[0] * stack.shape[2]), int(stack.shape[1]))
    whole = stack.transpose(1, 2).reshape(size)
    select: Select | None = viewed(whole, root) if before is not None else None
    if select is None and before is not None:
        select = (*before, Step("permute", ((0, 2, 1), size)))
    return origins.put(root, what, whole.contiguous(), select)


def matrix_of(stack: Tensor, expert: int, origins: Origins) -> Tensor:
    """The matrix [n, k] of one expert of a constant [E, k, n]: the same one whenever it is asked for."""
    pieces = origins.roots(stack)
    root, before = (pieces[0].root, pieces[0].select) if len(pieces) == 1 else (stack, ())
    what = ("expert", expert, tuple(stack.shape), stack.stride(), stack.data_ptr())
    made = origins.get(root, what)
    if made is not None:
        return made
    matrix = stack[expert].t()
    select: Select | None = viewed(matrix, root) if before is not None else None
    if matrix.is_contiguous() and select is not None:
        return origins.put(root, what, matrix, select)
    if before is not None:
        size = (int(stack.shape[2]), int(stack.shape[1]))
        one = torch.tensor([expert])
        select = (*before, Step("keep", ((0,),), one), Step("permute", ((0, 2, 1), size)))
    return origins.put(root, what, matrix.contiguous(), select)


def _unbound(gm: fx.GraphModule, product: Product, before: fx.Node) -> list[fx.Node]:
    graph = gm.graph
    with graph.inserting_before(before):
        turned = graph.call_function(aten.transpose.int, (product.weight, 1, 2))
        parts = graph.call_function(aten.unbind.int, (turned,))
        held = [graph.call_function(operator.getitem, (parts, expert)) for expert in range(product.experts)]
    refresh(gm, {turned, parts, *held})
    return held
