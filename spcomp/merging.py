"""Which layers that read one input are better off as one: planned both ways, measured, and decided with the layouts.

q, k and v of one block are planned apart and together. A program with static rows is then laid out for every subset of
the kinds of such groups, as :mod:`spcomp.tiling` will lay it out, and the one that takes the fewest measured seconds is
merged: what a merged layer saves may be lost in unpacking its parts, or won on tiles alone. Elsewhere, together must be
faster at every row count. Blocks that are alike are merged alike: a network repeats itself, and every group takes a
tuning.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen import inductor
from spcomp.options import JOIN, Options
from spcomp.passes.base import PassContext, Site, run_passes
from spcomp.passes.joint import Costs, LayoutCost, least_together
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.merge_siblings import Group, MergedCall, merged_calls, siblings
from spcomp.passes.pipelines import LOWER
from spcomp.passes.planned import Planned
from spcomp.passes.propose import points_of
from spcomp.passes.tune import Planner
from spcomp.passes.tune_tiles import may_have_tiles
from spcomp.placing import Placing
from spcomp.plan import Epilogue
from spcomp.planning import Planners, planners_for
from spcomp.sparsity.measure import measure
from spcomp.tiling import attention_cost, planned_on_tiles, seconds_per_element

WORTH = 1.03
"""Together must be faster by this factor on average, and slower nowhere."""


@dataclass(frozen=True, eq=False)
class BothWays:
    """Siblings of one kind, planned apart and together."""

    apart: tuple[Planned, ...]
    merged: Planned


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
    kinds: dict[Hashable, BothWays] = {}
    for sites in found.values():
        kind = _kind(sites)
        planner = planners.of(sites[0])
        if kind not in kinds:
            say(f"planning {sites[0].layer} and its siblings apart and together")
            apart = tuple(planner.plan(s, sparse=True) for s in sites)
            kinds[kind] = BothWays(apart, planner.plan(together(sites), sparse=True))
            planner.packed.clear()
    verdicts = frozenset(kind for kind, both in kinds.items() if _pays(both.apart, both.merged))
    one = all(len(p.measured) == 1 for both in kinds.values() for p in (*both.apart, both.merged))
    if one and math.isfinite(WORTH) and len(graphs) == 1 and _laid_out(options, ctx, planners):
        verdicts = _jointly(graphs[0], ctx, options, planners, found, kinds, verdicts)
    return frozenset(group for group, sites in found.items() if _kind(sites) in verdicts)


def _laid_out(options: Options, ctx: PassContext, planners: Planners) -> bool:
    """Whether activations may be laid out at all (see :func:`spcomp.tiling.with_tiles`)."""
    if not options.guard or options.engine == "eager" or inductor.unavailable() is not None:
        return False
    return all(planners.device(s).host for s in ctx.sites.values())


def _jointly(
    gm: fx.GraphModule,
    ctx: PassContext,
    options: Options,
    planners: Planners,
    found: Mapping[Group, Sequence[Site]],
    kinds: Mapping[Hashable, BothWays],
    start: frozenset[Hashable],
) -> frozenset[Hashable]:
    """The kinds whose merging makes the whole program the fastest, given the best layout of each."""
    lowered = run_passes(LOWER, fx.GraphModule(gm, copy.deepcopy(gm.graph)), PassContext(ctx.sites))
    plans = {s.slot: p for sites in found.values() for s, p in zip(sites, kinds[_kind(sites)].apart, strict=True)}
    others: dict[Hashable, Planned] = {}
    called = {n.args[1] for n in lowered.graph.nodes if n.target is ops.LINEAR}
    for site in sorted(ctx.sites.values(), key=lambda s: s.slot):
        if site.slot in plans or site.slot not in called or not may_have_tiles(site, points_of(site.domains)):
            continue
        kind = (site.epilogue, _kind([site]))
        if kind not in others:
            planner = planners.of(site)
            others[kind] = planner.plan(site, sparse=options.selects(site.layer), wanted=options.wanted(site.layer))
            planner.packed.clear()
        plans[site.slot] = others[kind]
    planner = planners.of(next(iter(found.values()))[0])
    able = [kind for kind, both in kinds.items() if both.merged.choice.sparse]
    weighing = Weighing(lowered, plans, found, {kind: kinds[kind].merged for kind in able}, planner)
    return least_together(able, weighing, start & frozenset(able))


@dataclass(eq=False)
class Weighing:
    """Seconds that a program takes with some kinds of siblings merged, laid out as is best then.

    ``plans``: of the layers apart, by slot; a layer without one takes what it takes, in rows, either way.
    """

    lowered: fx.GraphModule
    plans: Mapping[int, Planned]
    groups: Mapping[Group, Sequence[Site]]
    merged: Mapping[Hashable, Planned]
    planner: Planner

    def __call__(self, kinds: frozenset[Hashable]) -> float:
        """Merged layers count :data:`WORTH` times what they take: that much they must gain."""
        slots = [n.args[1] for n in self.lowered.graph.nodes if n.target is ops.LINEAR]
        costs = {slot: self._cost(self.plans.get(slot)) for slot in slots}
        calls: dict[tuple[int, ...], MergedCall] = {}
        for sites in self.groups.values():
            if (kind := _kind(sites)) in kinds:
                call = MergedCall(1 + max(costs), tuple(s.epilogue.activation for s in sites))
                calls[tuple(s.slot for s in sites)] = call
                costs[call.slot] = self._cost(self.merged[kind], WORTH)
        rate = seconds_per_element([*self.plans.values(), *self.merged.values()])
        convert = Costs(costs, lambda rows, features: rate * rows * features, attention_cost)
        return KeepTiles(frozenset(costs), convert).least(merged_calls(self.lowered, calls))

    def _cost(self, planned: Planned | None, factor: float = 1.0) -> LayoutCost:
        if planned is None:
            return LayoutCost(0.0, math.inf)
        on = planned_on_tiles(planned, self.planner) if planned.tiles else None
        if on is not None:
            return LayoutCost(factor * on.cost.natural, factor * on.cost.tiles)
        (m,) = planned.measured
        return LayoutCost(factor * _seconds(planned, m), math.inf)


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
