"""What one pruned layer would take: by the cost model, or packed and timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from spcomp.encodings.matrix import matrix_of
from spcomp.encodings.spec import Refusal
from spcomp.forecast.layers import Kind
from spcomp.forecast.patterns import Family, pruned
from spcomp.passes.base import Site
from spcomp.passes.choose import DENSE, Choice, best_dense_seconds, choose
from spcomp.passes.propose import Candidate, call_for, propose
from spcomp.passes.tune import SPARE_BYTES, Planner, dense_call, serves
from spcomp.plan import RowRange
from spcomp.report.prospect import Prospect
from spcomp.sparsity.measure import measure

Seconds = Mapping[int, Mapping[str, float]]
"""{rows: {kernel: seconds}}, those of best dense among them."""


@dataclass(frozen=True)
class Priced:
    """A prospect, and best dense beside it at each row count, in seconds."""

    prospect: Prospect
    dense_seconds: tuple[float, ...]
    """Empty where nothing was timed."""


def price(planner: Planner, kind: Kind, family: Family, zeros: float, *, timed: bool) -> Priced:
    """Prune a copy of the layer's weight and see what serves it: ``timed`` on this machine, or by the cost model."""
    weight = pruned(kind.weight, family, zeros)
    if isinstance(weight, Refusal):
        return Priced(_nothing(kind, family, zeros, 0.0, weight.reason), ())
    site = pruned_site(kind.site, weight)
    candidates: Sequence[Candidate]
    seconds: Seconds
    if timed:
        planned = planner.plan(site)
        seconds = {m: planned.measured[m] for m in kind.row_counts}
        candidates, unless = tuple(planned.candidates.values()), planned.choice.reason
        planner.packed.clear()  # of a copy that is gone in a moment
    else:
        candidates, seconds = predict(planner, site)
        unless = _missing(planner)
    choice = _choice(seconds, candidates, site.weight.nbytes, planner.budget)
    dense = tuple(best_dense_seconds(seconds[m]) for m in kind.row_counts)
    if not choice.sparse:
        reason = choice.reason if candidates else unless or choice.reason
        return Priced(_nothing(kind, family, zeros, site.facts.sparsity, reason), dense)
    names = [next(name for rows, name in choice.ranges if m in rows) for m in kind.row_counts]
    took = [seconds[m][name] for m, name in zip(kind.row_counts, names, strict=True)]
    prospect = Prospect(
        pattern=str(family),
        zeros=zeros,
        found=site.facts.sparsity,
        encoding=" + ".join(map(str, choice.encodings)),
        nbytes=_nbytes(choice, [c for c in candidates if c.name in names], candidates),
        us=tuple(1e6 * s for s in took),
        speedups=tuple(d / s for d, s in zip(dense, took, strict=True)),
        reason=choice.reason,
    )
    return Priced(prospect, dense)


def pruned_site(site: Site, weight: torch.Tensor) -> Site:
    """The same layer with another weight, given in the model's own shape."""
    matrix = matrix_of(weight)
    return replace(site, weight=matrix, facts=measure(matrix, negative_zeros=False), original=None, int8=None)


def predict(planner: Planner, site: Site) -> tuple[Sequence[Candidate], Seconds]:
    """The candidates that would be timed, and what the cost model says of them and of dense."""
    points = [domain.lo for domain in site.domains]
    cold = max(0, planner.total_weight_bytes - site.weight.nbytes)
    model, target = planner.model, planner.target
    candidates = propose(site, planner.backends, target, model, points, cold_bytes=cold, only=planner.only)
    found: dict[int, dict[str, float]] = {}
    for m in points:
        rows = RowRange(m, m)
        found[m] = {f"{DENSE}predicted": model.seconds(dense_call(site, rows, target), m, cold_bytes=cold)}
        for c in candidates:
            if serves(c, candidates, m):
                found[m][c.name] = model.seconds(call_for(site, c, rows, target), m, cold_bytes=cold)
    return candidates, found


def _choice(seconds: Seconds, candidates: Sequence[Candidate], dense_nbytes: int, budget: float) -> Choice:
    """What ``compile`` would choose; where that is dense, the fastest that the budget allows."""
    chosen = choose(seconds, candidates, dense_nbytes=dense_nbytes, budget=budget, spare=SPARE_BYTES)
    if chosen.sparse:
        return chosen
    forced = choose(seconds, candidates, dense_nbytes=dense_nbytes, budget=budget, spare=SPARE_BYTES, force=True)
    return replace(forced, reason=chosen.reason)


def _nbytes(choice: Choice, used: Sequence[Candidate], candidates: Sequence[Candidate]) -> int:
    sizes = {c.form: c.nbytes for c in candidates}
    return sum(sizes[form] for form in choice.encodings) + sum(c.extra_nbytes for c in set(used))


def _missing(planner: Planner) -> str:
    """Why no backend can work here; empty if one can."""
    reasons = [b.unavailable() for b in planner.backends.values()]
    if None in reasons:
        return ""
    return ": ".join(["no sparse kernels here", *filter(None, ["; ".join(dict.fromkeys(map(str, reasons)))])])


def _nothing(kind: Kind, family: Family, zeros: float, found: float, reason: str) -> Prospect:
    return Prospect(str(family), zeros, found, "", kind.site.weight.nbytes, (), (), reason)
