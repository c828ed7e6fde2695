"""Candidate encodings for one layer on a GPU, ranked by the analytic model.

facts -> [block(rows=64, cols=64), bitmap, csr(block_columns=65536), nm(n=2, m=4), ...]: those of the CPU's proposals
and a few more that some backend of the GPU can run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spcomp.cost.model import Model
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.wanted import Wanted
from spcomp.kernel import Backend
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate, call_for, sizes_of
from spcomp.passes.told import told
from spcomp.passes.worth import encodings_for
from spcomp.plan import KernelKey, RowRange
from spcomp.sparsity.facts import SparsityFacts

SHAPES = ((16, 16), (32, 32), (64, 64))
"""Blocks that tensor cores take and whose occupancy is measured."""
OCCUPIED = 0.5
"""Share of a block shape's stored values that must be nonzeros."""
BITMAP_DENSITY = (0.03, 0.75)
"""Below, an index a nonzero is less than a bit an element; above, expanding costs what reading saves."""
CSR_DENSITY = 0.2
"""Above, columns are more bytes than a bitmap."""
WHOLE_ROWS = 1 << 16
"""Columns of a block of compressed rows: all that a 16-bit column number reaches."""
KEEP, NEAR = 4, 3.0
"""Encodings measured for a layer, and how many times slower than the best they may be predicted: the model's shares of
peak are assumed."""
FEW = 15
"""Rows up to which kernels for one token are timed."""


def device_encodings_for(facts: SparsityFacts, only: frozenset[str] | None = None) -> list[Encoding]:
    """Encodings worth a thought on a GPU for a weight with these facts, of ``only`` these."""
    if facts.nonzeros == facts.elements:
        return []
    found: list[Encoding] = [Block(*shape) for shape in SHAPES if facts.block_occupancy(*shape) > OCCUPIED]
    if BITMAP_DENSITY[0] <= facts.density <= BITMAP_DENSITY[1]:
        found.append(Bitmap())
    if facts.density <= CSR_DENSITY:
        found.append(Csr(WHOLE_ROWS))
    found += [e for e in encodings_for(facts) if not isinstance(e, Csr)]
    return [e for e in dict.fromkeys(found) if e.refuses(facts) is None and (only is None or e.name in only)]


def _considered(facts: SparsityFacts, only: frozenset[str] | None, wanted: Wanted | None) -> list[Encoding]:
    if wanted is None:
        return device_encodings_for(facts, only)
    found = [*(e for e in device_encodings_for(facts) if wanted.allows(e)), *told(facts, wanted)]
    if wanted.name == "csr" and wanted.encoding is None:
        found.append(Csr(WHOLE_ROWS))
    if wanted.name == "block" and wanted.encoding is None:
        found += [Block(*shape) for shape in SHAPES]
    return [e for e in dict.fromkeys(found) if e.refuses(facts) is None]


@dataclass(eq=False)
class _Scored:
    candidates: dict[str, Candidate] = field(default_factory=dict)
    best: dict[int, float] = field(default_factory=dict)


def propose_on(
    site: Site,
    backends: Mapping[str, Backend],
    target: str,
    model: Model,
    points: Sequence[int],
    *,
    cold_bytes: int = 0,
    only: frozenset[str] | None = None,
    wanted: Wanted | None = None,
) -> list[Candidate]:
    """Candidates for a site at the given row counts: the likeliest encodings with all their schedules.

    Small tables that kernels keep beside the packed weight do not count as code of their own: kernels of several row
    counts serve one weight side by side.
    """
    scored: list[_Scored] = []
    for encoding in _considered(site.facts, only, wanted):
        key = KernelKey(site.op, encoding.name, site.dtype, target)
        able = {name: b for name, b in backends.items() if key in b.capabilities()}
        bare = Candidate(encoding, "", (), 0, 0)
        at = {
            (name, m): b.schedules(call_for(site, bare, RowRange(m, m), target), m)
            for name, b in able.items()
            for m in sorted(points)
        }
        sizes = sizes_of(encoding, site, site.facts) if any(at.values()) else None
        if sizes is None:
            continue
        item = _Scored()
        for (name, m), schedules in at.items():
            for schedule in schedules:
                candidate = replace(
                    bare, backend=name, schedule=tuple(schedule), nbytes=sizes[0], stored=sizes[1], fewest_rows=m
                )
                item.candidates.setdefault(candidate.name, candidate)
                seconds = model.seconds(call_for(site, candidate, RowRange(m, m), target), m, cold_bytes=cold_bytes)
                item.best[m] = min(item.best.get(m, math.inf), seconds)
        scored.append(item)
    return [c for item in _likeliest(scored, points) for c in item.candidates.values()]


def _likeliest(scored: Sequence[_Scored], points: Sequence[int]) -> list[_Scored]:
    """The best few on average of those that serve every row count, and the best at each."""
    complete = [s for s in scored if len(s.best) == len(points)]
    score = {id(s): sum(math.log(t) for t in s.best.values()) for s in complete}
    ordered = sorted(complete, key=lambda s: score[id(s)])
    limit = score[id(ordered[0])] + len(points) * math.log(NEAR) if ordered else 0.0
    found = [s for s in ordered if score[id(s)] <= limit][:KEEP]
    for m in points:
        fastest = min((s for s in scored if m in s.best), key=lambda s: s.best[m], default=None)
        if fastest is not None and fastest not in found:
            found.append(fastest)
    return found


def serves_on(candidate: Candidate, m: int) -> bool:
    """Whether a candidate is timed at ``m`` rows: its schedule was offered for as few, and for more than one if ``m``
    is many."""
    return m >= candidate.fewest_rows and (m <= FEW or dict(candidate.schedule).get("block_m") != 1)
