"""Replace chosen layers, and embeddings of their weights, by our ops, and lift what is left of the weights to inputs.

before:  %w : get_attr[fc.weight]; %n : get_attr[norm.weight]
         %y : aten.linear(%x, %w, %b); %z : aten.gelu(%y); %o : aten.layer_norm(%z, [8], %n)
         %e : aten.embedding(%w, %i); %s : spcomp.experts_dense_v1(%x, %ends, [%w_0, %w_1])
after:   %norm_weight : placeholder
         %z : spcomp.linear_v1(%x, slot, 8); %o : aten.layer_norm(%z, [8], %norm_weight)
         %e : spcomp.embedding_v1(%i, slot, 4, float32)     (where ctx.gathered says so; else %w is lifted, too)
         %s : spcomp.experts_v1(%x, %ends, [slot, slot], 8)

Lifted attributes come first, in order of first use; their names are left in ``gm.meta["lifted"]``. In-place writes
to a lifted buffer stay in the graph and reach the buffer.
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from spcomp import ops
from spcomp.passes.base import PassContext, Site, attribute
from spcomp.passes.collect import Match, matches, site_key, written_storages
from spcomp.passes.experts import lower_all_experts, lower_experts
from spcomp.passes.find_tables import embeddings, table_of


@dataclass(frozen=True)
class Lower:
    """Splice in the kernel op and lift constants."""

    name: ClassVar[str] = "lower"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        changed = False
        for match in matches(gm):
            site = ctx.sites.get(site_key(gm, match))
            if site is None or site.slot in ctx.left:
                continue
            with gm.graph.inserting_before(match.node if match.add is None else match.last):
                node = gm.graph.create_node("call_function", *call_of(match, site))
            node.meta = {k: v for k, v in match.last.meta.items() if k in ("val", "nn_module_stack", "stack_trace")}
            match.last.replace_all_uses_with(node)
            for gone in match.chain:
                gm.graph.erase_node(gone)
            changed = True
        changed = lower_experts(gm, ctx, written_storages(gm)) or changed
        changed = lower_all_experts(gm, ctx, written_storages(gm)) or changed
        changed = _gather(gm, ctx) or changed
        if not changed and "lifted" in gm.meta and not any(_is_tensor(gm, n) for n in gm.graph.nodes):
            return gm
        gm.graph.eliminate_dead_code(is_impure_node=_impure)
        return lift(gm)


def _gather(gm: fx.GraphModule, ctx: PassContext) -> bool:
    """Read rows of tables in ``ctx.gathered`` from their slots."""
    found = [(n, ctx.gathered[key]) for n in embeddings(gm) if (key := table_of(gm, n)) in ctx.gathered]
    for node, slot in found:
        made = node.meta["val"]
        with gm.graph.inserting_before(node):
            new = gm.graph.call_function(ops.EMBEDDING, (node.args[1], slot, made.shape[-1], made.dtype))
        new.meta = {k: v for k, v in node.meta.items() if k in ("val", "nn_module_stack", "stack_trace")}
        node.replace_all_uses_with(new)
        gm.graph.erase_node(node)
    return bool(found)


def call_of(match: Match, site: Site) -> tuple[Any, tuple[Any, ...]]:
    """(target, arguments) of the op that stands for a layer."""
    x = match.node.args[0]
    if site.conv is None:
        return ops.LINEAR, (x, site.slot, site.n)
    return ops.CONV, (x, match.residual, site.slot, list(site.conv.size(site.n)))


def _is_tensor(gm: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "get_attr" and isinstance(attribute(gm, node), torch.Tensor)


def _impure(node: fx.Node) -> bool:
    """Keep placeholders, the output and whatever writes in place."""
    if node.op in ("placeholder", "output"):
        return True
    schema = getattr(node.target, "_schema", None)
    return node.is_impure() or (schema is not None and schema.is_mutable)


def _parameter_name(name: str, taken: set[str]) -> str:
    """A name for a lifted tensor that Python takes as a parameter's and that no input or other tensor has."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    found = found if found.isidentifier() and not keyword.iskeyword(found) else f"_{found}"
    while found in taken:
        found += "_"
    taken.add(found)
    return found


def lift(gm: fx.GraphModule) -> fx.GraphModule:
    """A new module without tensors: every tensor attribute becomes a leading placeholder."""
    graph, values = fx.Graph(), dict[fx.Node, Any]()
    lifted: dict[str, torch.Tensor] = {}
    placeholders: dict[int, fx.Node] = {}
    modules: dict[str, Any] = {}
    taken = {str(n.target) for n in gm.graph.nodes if n.op == "placeholder"}
    for node in gm.graph.nodes:
        if node.op != "get_attr":
            continue
        value = attribute(gm, node)
        if not isinstance(value, torch.Tensor):
            modules[str(node.target)] = value
            continue
        key = id(value)
        if key not in placeholders:
            name = str(node.target)
            placeholders[key] = graph.placeholder(_parameter_name(name, taken))
            placeholders[key].meta = {"val": node.meta.get("val")}
            lifted[name] = value
        values[node] = placeholders[key]
    for node in gm.graph.nodes:
        if node not in values:
            values[node] = graph.node_copy(node, values.__getitem__)
    graph.set_codegen(fx.graph.CodeGen())
    new = fx.GraphModule(modules, graph)
    new.meta["lifted"] = lifted
    return new
