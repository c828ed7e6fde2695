"""Choose what serves a layer, given what was measured.

measured: {M: {kernel: seconds}}  ->  ranges: rows 1: nm {tokens 1}; rows 2-15: nm {tokens 8}; rows 16+: nm {tiles 8}

A set of encodings (one, or two) is kept if its bytes, generated code included, fit the budget and its best kernel is
nowhere slower than the best dense program and worth it on (geometric) average; among those the fastest on average wins.
Otherwise the best dense program itself serves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spcomp.passes.propose import Candidate, Form
from spcomp.plan import RowRange

NEVER_SLOWER = 1.0
"""Compiled over best dense may not fall below this at any measured row count: the promise is 0.97, clocks are noisy."""
WORTH = 1.05
"""On average compiled must gain this much: what other work takes of the core's shared parts turns smaller gains into
losses (264 x 160, 28 rows: 0.94 of dense's time on a quiet core, 1.08 beside a busy one)."""
DOUBTFUL = 0.75
"""A refusal for being slower is looked at again where sparse reached at least this share of dense."""
CONVINCING = 1.2
"""A win over dense by less than this factor is looked at again too."""
CLOSE = 1.02
"""Within this factor of the fastest, fewer bytes win."""
SECOND = 1.1
"""A second copy of the weight in another encoding must be worth at least this factor on average."""
CODE = 2.0
"""Generated code, which is two to four times as large as what it is made of, must be worth at least this factor on
average over the row counts that it serves, unless the budget is above 1: who allows more bytes than dense has wants
speed. Where nothing else serves a form of the weight, code has nobody to be compared with."""


DENSE = "dense."
"""What the names of best dense's members begin with."""


@dataclass(frozen=True)
class Choice:
    """Which kernel (by name; ``dense.<member>`` for dense ones) serves which rows, and why."""

    ranges: tuple[tuple[RowRange, str], ...]
    reason: str
    encodings: tuple[Form, ...]

    @property
    def sparse(self) -> bool:
        return bool(self.encodings)


def is_dense(name: str) -> bool:
    return name.startswith(DENSE)


def best_dense_seconds(seconds: Mapping[str, float]) -> float:
    return min(s for name, s in seconds.items() if is_dense(name))


def choose(
    measured: Mapping[int, Mapping[str, float]],
    candidates: Sequence[Candidate],
    *,
    dense_nbytes: int,
    budget: float = 1.0,
    force: bool = False,
    spare: int = 0,
) -> Choice:
    """The fastest set of kernels that keeps the promises. ``force`` drops "never slower" (not the budget).

    ``spare``: bytes that a budget of 1 allows beyond the dense ones.
    """
    if not candidates:
        return dense_choice(measured, "no sparse encoding fits this weight")
    encodings = sorted({c.form for c in candidates}, key=str)
    sizes = {c.form: c.nbytes for c in candidates}
    scored = []
    refusals = []
    for kept, own in _sets(encodings, candidates):
        allowed = {c.name for c in candidates if c.form in kept and (c.extra_nbytes == 0 or c == own)}
        nbytes = sum(sizes[e] for e in kept) + (own.extra_nbytes if own else 0)
        label = " + ".join(map(str, kept)) + (f" with {own.backend}" if own else "")
        if nbytes > budget * dense_nbytes + min(budget, 1) * spare:
            refusals.append(f"{label} needs {nbytes} B, more than {budget:g} x dense")
            continue
        worst, total, complete = math.inf, 0.0, True
        for seconds in measured.values():
            mine = [s for name, s in seconds.items() if name in allowed]
            if not mine:
                complete = False
                break
            ratio = best_dense_seconds(seconds) / min(mine)
            worst = min(worst, ratio)
            total += math.log(ratio)
        if not complete:
            refusals.append(f"{label} has no kernel for some row count")
        elif worst < NEVER_SLOWER and not force:
            refusals.append(f"{label} would be {worst:.2f}x of dense at some row count")
        elif total < math.log(WORTH) * len(measured) and not force:
            gain = math.exp(total / len(measured))
            refusals.append(f"{label} gains {gain:.2f}x, less than other work on the machine can take")
        elif own and budget <= 1 and (gain := _gain(measured, allowed, own.name)) < CODE:
            refusals.append(f"{label} gains {gain:.2f}x, too little for its bytes")
        else:
            handicap = math.log(SECOND) * (len(kept) - 1)
            scored.append((total / len(measured), handicap, -nbytes, kept, allowed))
    if not scored:
        return dense_choice(measured, "; ".join(refusals[:3]))
    top = max(mean - handicap for mean, handicap, *_ in scored)
    near = [s for s in scored if s[0] - s[1] >= top - math.log(CLOSE)]
    mean, _, _, kept, names = max(near, key=lambda s: (s[2], s[0] - s[1]))
    return Choice(
        _ranges(measured, names),
        f"{math.exp(mean):.2f}x of best dense on average over M = {', '.join(map(str, measured))}",
        tuple(kept),
    )


def affordable(candidate: Candidate, *, dense_nbytes: int, budget: float = 1.0, spare: int = 0) -> bool:
    """Whether a budget has room for a kernel's encoding alone, with what it keeps beside it."""
    return candidate.nbytes + candidate.extra_nbytes <= budget * dense_nbytes + min(budget, 1) * spare


def _sets(
    encodings: Sequence[Form], candidates: Sequence[Candidate]
) -> Iterator[tuple[tuple[Form, ...], Candidate | None]]:
    """One or two encodings to keep, each with no kernel that has bytes of its own, and with one of those."""
    for kept in [*itertools.combinations(encodings, 1), *itertools.combinations(encodings, 2)]:
        yield kept, None
        yield from ((kept, c) for c in candidates if c.extra_nbytes and c.form in kept)


def _gain(measured: Mapping[int, Mapping[str, float]], allowed: set[str], own: str) -> float:
    """How much faster the kernel ``own`` is than the others allowed, on average where it is the fastest of them."""
    logs = []
    for seconds in measured.values():
        others = min((s for name, s in seconds.items() if name in allowed and name != own), default=math.inf)
        if own in seconds and seconds[own] < others:
            logs.append(math.log(others / seconds[own]))
    return math.exp(sum(logs) / len(logs)) if logs else 1.0


def doubtful(choice: Choice, measured: Mapping[int, Mapping[str, float]], candidates: Sequence[Candidate]) -> list[int]:
    """Row counts to measure again: where sparse won by little, or, if it lost nowhere by much, where it lost."""
    if not candidates:
        return []
    names = {name for _, name in choice.ranges} if choice.sparse else {c.name for c in candidates}
    ratios = {
        m: best_dense_seconds(seconds) / min((s for name, s in seconds.items() if name in names), default=math.inf)
        for m, seconds in measured.items()
    }
    if choice.sparse:
        return [m for m, r in ratios.items() if r < CONVINCING]
    return [m for m, r in ratios.items() if r < WORTH] if min(ratios.values()) >= DOUBTFUL else []


def dense_choice(measured: Mapping[int, Mapping[str, float]], reason: str) -> Choice:
    """The best dense member at each measured row count."""
    names = {name for seconds in measured.values() for name in seconds if is_dense(name)}
    return Choice(_ranges(measured, names), reason, ())


def _ranges(measured: Mapping[int, Mapping[str, float]], names: set[str]) -> tuple[tuple[RowRange, str], ...]:
    """Winners by point, spread over the rows between; where two neighbours differ, split at the geometric mean.

    Between two points serves only what was measured at both: our GEMV at four rows says nothing about five.
    """
    points = sorted(measured)
    winners = [min((s, n) for n, s in measured[m].items() if n in names)[1] for m in points]
    cuts = [0]
    kernels = [winners[0]]
    for (a, b), winner in zip(itertools.pairwise(points), winners[1:], strict=True):
        if winner == kernels[-1]:
            continue
        down, up = winner in measured[a], kernels[-1] in measured[b]
        if not down and not up and b > a + 1 and (able := names & measured[a].keys() & measured[b].keys()):
            cuts.append(a + 1)
            kernels.append(min(able, key=lambda n: (measured[a][n] * measured[b][n], n)))
        cut = min(b, max(a + 1, math.isqrt(a * b) + 1)) if down and up else a + 1 if down else b
        cuts.append(cut)
        kernels.append(winner)
    ends: list[int | None] = [c - 1 for c in cuts[1:]]
    return tuple((RowRange(lo, hi), name) for lo, hi, name in zip(cuts, [*ends, None], kernels, strict=True))


def open_gaps(choice: Choice, measured: Mapping[int, object], limit: float = 1.5) -> list[int]:
    """Row counts to measure before a split is believed: the middle of wide gaps between different winners."""
    points = sorted(measured)
    found = []
    for rows, _ in choice.ranges[1:]:
        below = max((p for p in points if p < rows.lo), default=None)
        above = min((p for p in points if p >= rows.lo), default=None)
        if below is not None and above is not None and above > limit * below and above - below > 1:
            found.append(math.isqrt(below * above))
    return [m for m in found if m not in measured]
