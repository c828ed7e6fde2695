"""Which layers that read one input are better off as one: planned both ways, and measured.

q, k and v of one block are planned apart and together. Where together is faster at every row count, blocks like it are
merged too: a network repeats itself, and every group takes a tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import fx

from spcomp.options import JOIN, Options
from spcomp.passes.base import PassContext, Site
from spcomp.passes.merge_siblings import Group, siblings
from spcomp.passes.planned import Planned
from spcomp.placing import Placing
from spcomp.plan import Epilogue
from spcomp.planning import planners_for
from spcomp.sparsity.measure import measure

WORTH = 1.03
"""Together must be faster by this factor on average, and slower nowhere."""


def worth_merging(
    graphs: Sequence[fx.GraphModule],
    ctx: PassContext,
    options: Options,
    placing: Placing,
    say: Callable[[str], None],
) -> frozenset[Group]:
    """Groups of layers to merge, of those that read one input in every program."""
    planners = planners_for(options, list(ctx.sites.values()), placed=placing.there)
    found = {
        group: sites
        for group, sites in siblings(graphs, ctx).items()
        if all(options.selects(s.layer) and options.wanted(s.layer) is None for s in sites)
        and all(s.facts.nonzeros < s.facts.elements for s in sites)
        and len({planners.device(s) for s in sites}) == 1
    }
    if not found or options.policy == "off" or options.quantize:
        return frozenset()
    verdicts: dict[object, bool] = {}
    for sites in found.values():
        kind = _kind(sites)
        planner = planners.of(sites[0])
        if kind not in verdicts:
            say(f"planning {sites[0].layer} and its siblings apart and together")
            apart = [planner.plan(s, sparse=True) for s in sites]
            verdicts[kind] = _pays(apart, planner.plan(together(sites), sparse=True))
            planner.packed.clear()
    return frozenset(group for group, sites in found.items() if verdicts[_kind(sites)])


def _kind(sites: Sequence[Site]) -> object:
    """Equal for groups that are alike: sizes, tightest structure, row counts, and zeros to the tenth."""
    return tuple(
        (s.n, s.k, s.dtype, s.where, tuple(s.domains), round(10 * s.facts.sparsity), _structure(s)) for s in sites
    )


def _structure(site: Site) -> tuple[object, ...]:
    facts = site.facts
    tight = sorted((m, n) for (axis, m), n in facts.group_max.items() if axis == 1 and 2 * n <= m)
    return tuple(tight), round(10 * facts.block_occupancy(8, 8))


def together(sites: Sequence[Site]) -> Site:
    """One layer of several that read the same input, without what follows them."""
    first = sites[0]
    weight = torch.cat([s.weight for s in sites])
    biases = [s.bias for s in sites if s.bias is not None]
    return Site(
        first.slot, JOIN.join(s.layer for s in sites), weight, torch.cat(biases) if biases else None,
        Epilogue(bool(biases)), measure(weight, negative_zeros=False), first.weight_name, first.bias_name,
        list(first.domains), zero_inputs=first.zero_inputs, where=first.where,
    )  # fmt: skip


def _pays(apart: Sequence[Planned], merged: Planned) -> bool:
    if not all(p.choice.sparse for p in (*apart, merged)):
        return False
    gains = []
    for m in merged.measured:
        if any(m not in p.measured for p in apart):
            continue
        gains.append(sum(_seconds(p, m) for p in apart) / _seconds(merged, m))
    return bool(gains) and min(gains) >= 1.0 and math.exp(sum(map(math.log, gains)) / len(gains)) >= WORTH


def _seconds(planned: Planned, m: int) -> float:
    """Of what was chosen for ``m`` rows."""
    measured: Mapping[str, float] = planned.measured[m]
    name = next(name for rows, name in planned.choice.ranges if m in rows)
    return measured.get(name, min(measured.values()))
