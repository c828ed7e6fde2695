"""The layers of a model that could become sparse: which are alike, and the rows that each meets in each example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx

from spcomp.capture import Captured
from spcomp.passes.base import PassContext, Site, run_passes
from spcomp.passes.collect import matches, site_key, written_storages
from spcomp.passes.conv import is_conv
from spcomp.passes.experts import expert_key, expert_layers, matrices
from spcomp.passes.pipelines import COLLECT, SHRINK
from spcomp.plan import RowRange

Calls = tuple[Counter[int], ...]
"""For each example, how often a layer is called with how many rows."""


@dataclass(eq=False)
class Kind:
    """Layers that are alike; ``site`` is the first of them, with the row counts that all of them meet."""

    site: Site
    names: tuple[str, ...]
    calls: Calls
    """Of all of them."""
    nbytes: int
    """Of their weights, dense; a weight that several of them hold counts once."""

    @property
    def weight(self) -> torch.Tensor:
        """The first one's own weight, in the model's own shape."""
        return self.site.weight if self.site.original is None else self.site.original

    @property
    def row_counts(self) -> tuple[int, ...]:
        return tuple(domain.lo for domain in self.site.domains)


def sites_of(captured: Sequence[Captured]) -> list[tuple[Site, Calls]]:
    """Every linear layer, convolution and expert with a constant weight, in program order, with its calls. They are
    those that ``compile`` plans: what is constant or unread is gone. Who is sent where is known when a model runs only:
    experts get equal shares of the rows."""
    ctx = PassContext()
    calls: dict[tuple[object, ...], list[Counter[int]]] = {}
    for i, program in enumerate(captured):
        gm = run_passes((*SHRINK, *COLLECT), program.gm, ctx)
        for match in matches(gm):
            key = site_key(gm, match)
            counted = calls.setdefault(key, [Counter() for _ in captured])
            counted[i][_rows_met(match.node, ctx.sites[key].pixels)] += 1
        for node in expert_layers(gm, written_storages(gm)):
            for weight, (rows, times) in zip(matrices(node), _shares(node), strict=True):
                counted = calls.setdefault(expert_key(gm, weight), [Counter() for _ in captured])
                counted[i][rows] += times
    return [(ctx.sites[key], tuple(counted)) for key, counted in calls.items()]


def kinds_of(found: Sequence[tuple[Site, Calls]]) -> list[Kind]:
    """Those that are alike together: equal sizes, geometry, epilogue, dtype and row counts."""
    groups: dict[tuple[object, ...], list[tuple[Site, Calls]]] = {}
    for site, calls in found:
        key = (site.n, site.k, site.conv, site.epilogue, site.dtype, _rows(calls))
        groups.setdefault(key, []).append((site, calls))
    seen: set[int] = set()
    kinds = []
    for group in groups.values():
        first, calls = group[0]
        domains = [RowRange(m, m) for m in _rows(calls)]
        # What inputs are zero is no matter of weights, and an embedding's reads are none of the layer's time.
        site = replace(first, domains=domains, zero_inputs=None, gathered=False)
        together = tuple(Counter[int]() for _ in calls)
        for _, others in group:
            for total, counted in zip(together, others, strict=True):
                total.update(counted)
        nbytes = 0
        for other, _ in group:
            memory = (other.weight if other.original is None else other.original).data_ptr()
            nbytes += 0 if memory in seen else other.weight.nbytes
            seen.add(memory)
        kinds.append(Kind(site, tuple(dict.fromkeys(s.layer for s, _ in group)), together, nbytes))
    return kinds


def _rows(calls: Calls) -> tuple[int, ...]:
    """The row counts of all examples, ascending."""
    return tuple(sorted({m for counted in calls for m in counted}))


def _shares(node: fx.Node) -> list[tuple[int, int]]:
    """For every expert, how many rows it is sent at the example, and whether it is called at all (0 or 1)."""
    rows, experts = _rows_met(node, 1), len(matrices(node))
    share = max(1, -(-rows // experts))
    return [(share, int(e * share < rows)) for e in range(experts)]


def _rows_met(node: fx.Node, pixels: int) -> int:
    """M at the example; a dynamic size counts as it was there."""
    x = node.args[0]
    assert isinstance(x, fx.Node)
    shape = x.meta["val"].shape
    rows = pixels
    for size in shape[:1] if is_conv(node) else shape[:-1]:
        rows *= size if isinstance(size, int) else int(size.node.hint)
    return rows
