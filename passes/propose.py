"""Candidate encodings for one layer, ranked by the analytic model.

facts -> [csr(block_columns=128), block(rows=8, cols=1), ...]: every encoding that some backend can run, that does not
refuse the weight, and that the model does not put far behind the best. The tuner measures what is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from spcomp.cost.analytic import CostModel
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.kernel import Backend
from spcomp.passes.base import Site
from spcomp.plan import KernelCall, KernelKey, RowRange, Schedule
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, SparsityFacts

BUCKETS = (RowRange(1, 1), RowRange(2, 15), RowRange(16, 127), RowRange(128, None))
"""Row buckets, tuned at both edges."""
LARGE_ROWS = 512
"""Upper edge at which an unbounded bucket is tuned."""
MANY_IMAGES = 4
"""Images of the upper point at which a convolution of a dynamic batch is tuned."""
KEEP = 3
"""Encodings measured for a layer."""
NEAR = 1.6
"""Candidates predicted slower than this many times the best are not measured."""
CSR_COLUMNS = (64, 128, 256)
CONV_CSR = Csr(256)


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

    @property
    def name(self) -> str:
        return f"{self.backend} {self.encoding} {dict(self.schedule)}"


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


def encodings_for(facts: SparsityFacts) -> list[Encoding]:
    """Encodings worth a thought for a weight with these facts; none for a weight without zeros."""
    if facts.nonzeros == facts.elements:
        return []
    found: list[Encoding] = [Csr(columns) for columns in CSR_COLUMNS if columns < 2 * facts.shape[1] or columns == 64]
    found += [Block(r, c) for r, c in BLOCK_SHAPES if r > 1 and facts.block_occupancy(r, c) > 0.5]
    shares: set[float] = set()
    for m in NM_GROUPS:
        n = facts.group_max.get((1, m), m)
        if 1 <= n < m and n <= (16 if m <= 4 else 8) and not any(share <= n / m for share in shares):
            found.append(Nm(n, m))  # 4:8 is no news where 2:4 holds: the same slots, wider indices
            shares.add(n / m)
    return [e for e in found if e.refuses(facts) is None]


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
        nonzeros=site.facts.nonzeros,
        stored=candidate.stored,
        weight_nbytes=candidate.nbytes,
        packed=packed,
        epilogue=site.epilogue,
        backend=candidate.backend,
        target=target,
        schedule=candidate.schedule,
        op=site.op,
        conv=site.conv,
    )


def propose(
    site: Site,
    backends: Mapping[str, Backend],
    target: str,
    model: CostModel,
    points: Sequence[int],
    *,
    cold_bytes: int = 0,
    only: frozenset[str] | None = None,
    keep: int = KEEP,
) -> list[Candidate]:
    """Candidates for a site at the given row counts: the likeliest ``keep`` encodings with their schedules.

    ``only``: names of encodings to consider (as in ``--encodings``); None is all.
    """
    wanted: list[tuple[float, list[Candidate]]] = []
    for encoding in encodings_for(site.facts):
        if site.conv is not None and encoding.name == "csr" and encoding != CONV_CSR:
            continue  # baked into code they are all the same
        if only is not None and encoding.name not in only:
            continue
        key = KernelKey(site.op, encoding.name, site.dtype, target)
        found: dict[str, Candidate] = {}
        best = dict.fromkeys(points, math.inf)
        for name, backend in backends.items():
            if key not in backend.capabilities():
                continue
            nbytes, stored = encoding.predict_nbytes(site.facts), encoding.stored_values(site.facts)
            if nbytes is None or stored is None:
                continue
            bare = Candidate(encoding, name, (), nbytes, stored)
            for m in sorted(points):
                for schedule in backend.schedules(call_for(site, bare, RowRange(m, m), target), m):
                    candidate = Candidate(encoding, name, schedule, nbytes, stored)
                    extra = backend.extra_nbytes(call_for(site, candidate, RowRange(m, m), target))
                    candidate = replace(candidate, extra_nbytes=extra, fewest_rows=m)
                    found.setdefault(candidate.name, candidate)
                    seconds = model.seconds(call_for(site, candidate, RowRange(m, m), target), m, cold_bytes=cold_bytes)
                    best[m] = min(best[m], seconds)
        if found and all(math.isfinite(s) for s in best.values()):
            score = sum(math.log(s) for s in best.values()) / len(points)
            wanted.append((score, list(found.values())))
    wanted.sort(key=lambda item: item[0])
    near = [item for item in wanted if item[0] <= wanted[0][0] + math.log(NEAR)]
    return [candidate for _, candidates in near[:keep] for candidate in candidates]
