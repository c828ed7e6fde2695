"""Find embeddings whose table is the very weight of a layer: its rows may be gathered out of the packed bytes.

before:  %e : aten.embedding(%w, %ids); ...; %y : aten.linear(%x, %w)
after:   the same graph; ctx.tables knows %w, and whether only layers and embeddings read it

The graph is changed by ``lower`` only, for tables of which no dense copy has to stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from spcomp.passes.base import PassContext, Site, attribute
from spcomp.passes.collect import matches, site_key, written_storages
from spcomp.passes.origins import identity

NUMBERS = (torch.int32, torch.int64)


@dataclass(frozen=True)
class FindTables:
    """Fill ``ctx.tables``."""

    name: ClassVar[str] = "find-tables"

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
        found = [n for n in embeddings(gm) if table_of(gm, n) in _weights(ctx)]
        if not found:
            return gm
        layers = {m.node for m in matches(gm) if site_key(gm, m) in ctx.sites}
        for key in {table_of(gm, n) for n in found}:
            storage = next(attribute(gm, _table(n)) for n in found if table_of(gm, n) == key).untyped_storage()
            readers = [n for n in gm.graph.nodes if n.op == "get_attr" and _on(attribute(gm, n), storage.data_ptr())]
            same = [u in found and table_of(gm, u) == key for r in readers for u in r.users]
            used = [u in layers and _only_weight(u, r) for r in readers for u in r.users]
            alone = all(a or b for a, b in zip(same, used, strict=True))
            ctx.tables[key] = ctx.tables.get(key, True) and alone
        return gm


def embeddings(gm: fx.GraphModule) -> list[fx.Node]:
    """Calls of ``aten.embedding`` on a constant that nobody writes to, with numbers that a gather takes."""
    found: list[fx.Node] = []
    written: set[int] | None = None
    for node in gm.graph.nodes:
        if node.target is not torch.ops.aten.embedding.default or node.args[0].op != "get_attr":
            continue
        ids, made, table = node.args[1].meta.get("val"), node.meta.get("val"), attribute(gm, node.args[0])
        if not isinstance(ids, torch.Tensor) or ids.dtype not in NUMBERS or not isinstance(made, torch.Tensor):
            continue
        written = written_storages(gm) if written is None else written
        if made.dtype is table.dtype and table.numel() and table.untyped_storage().data_ptr() not in written:
            found.append(node)
    return found


def table_of(gm: fx.GraphModule, node: fx.Node) -> tuple[object, ...]:
    """Identity of an embedding's table."""
    return identity(attribute(gm, _table(node)))


def _table(node: fx.Node) -> fx.Node:
    table = node.args[0]
    assert isinstance(table, fx.Node)
    return table


def _weights(ctx: PassContext) -> set[tuple[object, ...]]:
    return {weight_key(site) for site in ctx.sites.values() if site.conv is None}


def weight_key(site: Site) -> tuple[object, ...]:
    """Identity of a layer's weight, to be compared with :func:`table_of`."""
    return identity(site.weight)


def _on(value: object, storage: int) -> bool:
    return isinstance(value, torch.Tensor) and value.untyped_storage().data_ptr() == storage


def _only_weight(layer: fx.Node, weight: fx.Node) -> bool:
    """Whether a layer reads a tensor as its weight and as nothing else."""
    return layer.args[1] is weight and [*layer.args, *layer.kwargs.values()].count(weight) == 1
