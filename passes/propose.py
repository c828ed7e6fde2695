"""Candidate encodings for one layer, ranked by the analytic model.

facts -> [csr(block_columns=128), block(rows=8, cols=1), ...]: every encoding that some backend can run, that does not
refuse the weight, and that the model does not put far behind the best. The tuner measures what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from spcomp.cost.model import Model
from spcomp.encodings.spec import Encoding
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.wanted import Wanted
from spcomp.kernel import Backend
from spcomp.passes.base import Site
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.told import told
from spcomp.passes.worth import encodings_for, int8_encodings_for
from spcomp.plan import KernelCall, KernelKey, RowRange, Schedule
from spcomp.sparsity.bits import as_matrix, weight_bits
from spcomp.sparsity.facts import SparsityFacts

BUCKETS = (RowRange(1, 1), RowRange(2, 15), RowRange(16, 127), RowRange(128, None))
"""Row buckets, tuned at both edges."""
LARGE_ROWS = 512
"""Upper edge at which an unbounded bucket is tuned."""
MANY_IMAGES = 4
"""Images of the upper point at which a convolution of a dynamic batch is tuned."""
KEEP = 3
"""Encodings measured for a layer, of those that serve all its row counts; beside them the likeliest at each one."""
NEAR = 1.6
"""Candidates predicted slower than this many times the best are not measured."""
CODED = ("baked_cpu",)
"""Backends whose kernels are code that holds the weight; its packed form only restores it."""
FEWEST_ZERO_INPUTS = 0.4
"""Share of zero inputs from which on skipping their columns is worth a try."""


@dataclass(frozen=True)
class Quantised:
    """An encoding whose values are int8."""

    encoding: Encoding

    def __str__(self) -> str:
        return f"int8 {self.encoding}"


Form = Encoding | Quantised
"""How a weight is kept: two forms of one weight are two copies."""


@dataclass(frozen=True)
class Candidate:
    """One kernel that may serve a layer: where it comes from and what it would keep in memory."""

    encoding: Encoding
    backend: str
    schedule: Schedule
    nbytes: int
    stored: int
    extra_nbytes: int = 0
    """Bytes of its own beside the packed weight, such as generated code."""
    fewest_rows: int = 1
    """The fewest of the given row counts for which its backend offered it."""
    quantize: str = ""
    nonzeros: int | None = None
    """Of the quantised weight; None: as many as the weight has."""

    @property
    def form(self) -> Form:
        return Quantised(self.encoding) if self.quantize else self.encoding

    @property
    def name(self) -> str:
        return f"{self.backend} {self.form} {dict(self.schedule)}"


def points_of(domains: Iterable[RowRange], pixels: int = 1) -> list[int]:
    """Row counts to measure at: static ones, and both edges of every bucket that a dynamic range touches.

    Rows that come ``pixels`` at a time are measured at one image and at several.
    """
    found: set[int] = set()
    if pixels > 1:
        for domain in domains:
            least = max(pixels, domain.lo)
            found |= {least} if domain.hi == domain.lo else {least, MANY_IMAGES * least}
        return sorted(found)
    for domain in domains:
        if domain.hi == domain.lo:
            found.add(max(1, domain.lo))
            continue
        for bucket in BUCKETS:
            lo = max(bucket.lo, domain.lo, 1)
            ends = [end for end in (bucket.hi, domain.hi) if end is not None]
            hi = min(ends) if ends else max(LARGE_ROWS, lo)
            if lo <= hi:
                found |= {lo, hi}
    return sorted(found)


def _skips(site: Site) -> bool:
    """Whether columns of W could be skipped: enough inputs were zero, and nothing in W makes 0 x W something else."""
    enough = site.zero_inputs is not None and site.zero_inputs >= FEWEST_ZERO_INPUTS
    return enough and bool(torch.isfinite(site.weight).all())


def call_for(site: Site, candidate: Candidate, rows: RowRange, target: str, packed: str = "") -> KernelCall:
    """The kernel call that a candidate would be, for a range of rows."""
    return KernelCall(
        layer=site.layer,
        slot=site.slot,
        rows=rows,
        n=site.n,
        k=site.k,
        dtype=site.dtype,
        encoding=candidate.encoding,
        nonzeros=site.facts.nonzeros if candidate.nonzeros is None else candidate.nonzeros,
        stored=candidate.stored,
        weight_nbytes=candidate.nbytes,
        packed=packed,
        epilogue=site.epilogue,
        backend=candidate.backend,
        target=target,
        schedule=candidate.schedule,
        op=site.op,
        conv=site.conv,
        zero_inputs=site.zero_inputs or 0.0,
        quantize=candidate.quantize,
        experts=site.experts,
    )


def propose(
    site: Site,
    backends: Mapping[str, Backend],
    target: str,
    model: Model,
    points: Sequence[int],
    *,
    cold_bytes: int = 0,
    only: frozenset[str] | None = None,
    keep: int = KEEP,
    wanted: Wanted | None = None,
) -> list[Candidate]:
    """Candidates for a site at the given row counts: the likeliest encodings with their schedules.

    Those are the ``keep`` likeliest on average that serve every row count, and the likeliest at each row count if it
    is another: an encoding for few rows may serve beside one for many. ``only``: names of encodings to consider (as in
    ``--encodings``); None is all. ``wanted``: the encoding that this layer was told to use, whatever ``only`` says.
    """
    ranked = _ranked(site, backends, target, model, points, cold_bytes, only, "", wanted)
    found = _likeliest(ranked, points, keep)
    if site.int8 is not None:
        quantised = _ranked(site, backends, target, model, points, cold_bytes, only, "int8", wanted)
        found += _likeliest(quantised, points, keep)
    return [c for item in found for c in item.candidates.values()]


def _ranked(
    site: Site,
    backends: Mapping[str, Backend],
    target: str,
    model: Model,
    points: Sequence[int],
    cold_bytes: int,
    only: frozenset[str] | None,
    quantize: str,
    wanted: Wanted | None,
) -> list[_Ranked]:
    """Every encoding that somebody can run, of the weight or of the quantised one, with its predicted seconds."""
    ranked: list[_Ranked] = []
    facts = site.int8.facts if quantize and site.int8 is not None else site.facts
    for encoding in _considered(site, facts, quantize, only, wanted):
        key = KernelKey(site.op, encoding.name, quantize or site.dtype, target)
        unsized = Candidate(encoding, "", (), 0, 0, quantize=quantize, nonzeros=facts.nonzeros)
        able = {
            name: backend
            for name, backend in backends.items()
            if key in backend.capabilities()
            and any(backend.schedules(call_for(site, unsized, RowRange(m, m), target), m) for m in points)
        }  # before sizes, for which a window looks at every nonzero
        sizes = sizes_of(encoding, site, facts) if able else None
        if sizes is None:
            continue
        item = _Ranked(points)
        for name, backend in able.items():
            bare = Candidate(encoding, name, (), *sizes, quantize=quantize, nonzeros=facts.nonzeros)
            for m in sorted(points):
                for schedule in backend.schedules(call_for(site, bare, RowRange(m, m), target), m):
                    candidate = replace(bare, schedule=schedule)
                    extra = backend.extra_nbytes(call_for(site, candidate, RowRange(m, m), target))
                    candidate = replace(candidate, extra_nbytes=extra, fewest_rows=m)
                    item.candidates.setdefault(candidate.name, candidate)
                    seconds = model.seconds(call_for(site, candidate, RowRange(m, m), target), m, cold_bytes=cold_bytes)
                    item.seconds[candidate.name, m] = seconds
        if item.candidates:
            ranked.append(item)
    return _coded_once(ranked)


def _coded_once(ranked: Sequence[_Ranked]) -> list[_Ranked]:
    """Where code holds the weight, all encodings give the same: only the one of the least bytes is tried."""
    for backend in CODED:
        having = [(item, [c for c in item.candidates.values() if c.backend == backend]) for item in ranked]
        having = sorted(((i, cs) for i, cs in having if cs), key=lambda pair: min(c.nbytes for c in pair[1]))
        for item, candidates in having[1:]:
            for candidate in candidates:
                del item.candidates[candidate.name]
    return [item for item in ranked if item.candidates]


def _considered(
    site: Site, facts: SparsityFacts, quantize: str, only: frozenset[str] | None, wanted: Wanted | None
) -> list[Encoding]:
    """What is worth a thought, or what this layer was told to use."""
    if wanted is None:
        found = int8_encodings_for(facts, site.conv) if quantize else encodings_for(facts, only)
        found += [Transposed()] if _skips(site) and not quantize else []
        return [e for e in found if only is None or e.name in only]
    if quantize:
        return [e for e in int8_encodings_for(facts, site.conv) if wanted.allows(e)]
    return told(facts, wanted) if wanted.name != "transposed" or _skips(site) else []


@dataclass(eq=False)
class _Ranked:
    """One encoding: its candidates by name, and what is predicted for them at each row count they were offered for."""

    points: Sequence[int]
    candidates: dict[str, Candidate] = field(default_factory=dict)
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def best(self) -> dict[int, float]:
        """The least seconds at each row count."""
        return {
            m: min((self.seconds.get((c, m), math.inf) for c in self.candidates), default=math.inf) for m in self.points
        }

    @property
    def score(self) -> float:
        return sum(math.log(s) for s in self.best.values())


def _likeliest(ranked: Sequence[_Ranked], points: Sequence[int], keep: int) -> list[_Ranked]:
    complete = sorted((r for r in ranked if all(map(math.isfinite, r.best.values()))), key=lambda r: r.score)
    if not complete:
        return []
    near = [r for r in complete if r.score <= complete[0].score + len(points) * math.log(NEAR)][:keep]
    if keep > 1:
        for m in points:
            fastest = min(ranked, key=lambda r: r.best[m])
            if fastest not in near:
                near.append(fastest)
    return near


def sizes_of(encoding: Encoding, site: Site, facts: SparsityFacts) -> tuple[int, int] | None:
    """Bytes and stored values: from the facts where they say, else by looking at the weight."""
    nbytes, stored = encoding.predict_nbytes(facts), encoding.stored_values(facts)
    if nbytes is not None and stored is not None:
        return nbytes, stored
    quantised = facts is not site.facts and site.int8 is not None
    bits, _ = weight_bits(site.int8.values if quantised else positive_zeros(site.weight))  # type: ignore[union-attr]
    return encoding.exact_sizes(facts, as_matrix(bits))
