"""What is known of a layer's kernels without a clock: exact records, times scaled from near ones, the model.

measured at 768 x 768, asked at 800 x 768  ->  the same kernel's seconds, by the ratio of the model's predictions
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spcomp.cost.database import HERE, Near, Same, TuningDatabase
from spcomp.cost.model import Model
from spcomp.cost.records import SearchRecord, TuningCase, TuningRecord, filed, key_of, point_of
from spcomp.encodings.dense import Dense
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate, call_for
from spcomp.plan import RowRange

FEWER = 1.5
"""A candidate that near records put this many times behind the best one at all its row counts is not timed."""
LIKELY = "likely candidates "


@dataclass(frozen=True, eq=False)
class Known:
    """What the database and the model say about the kernels of one site on one device."""

    database: TuningDatabase
    device: tuple[str, str, int]
    """Its name, the versions and the threads."""
    model: Model
    site: Site
    target: str
    cold_bytes: int

    def key(self, m: int) -> dict[str, Any]:
        """What can change a measurement of the site at ``m`` rows."""
        site, facts = self.site, self.site.facts
        return key_of(
            site.n, site.k, m, site.dtype, site.epilogue, site.conv, facts.density, site.zero_inputs or 0.0,
            facts.row_spread, self.cold_bytes,
        )  # fmt: skip

    def filed(self, usable: Sequence[Candidate], dense: Sequence[str]) -> dict[str, str]:
        """{name: the name under which its time is filed}."""
        sparse = {c.name: filed(c.name, c.stored, self.site.facts.elements) for c in usable}
        return sparse | {name: name for name in dense}

    def cases(self, usable: Sequence[Candidate], dense: Sequence[str], m: int) -> dict[str, TuningCase]:
        """{name: case} of candidates and dense members at ``m`` rows."""
        site, rows = self.site, RowRange(m, m)
        bare = Candidate(Dense(), "dense", (), site.weight.nbytes, site.facts.elements)
        members = [(name, replace(bare, backend=name)) for name in dense]
        return {
            name: TuningCase.of(
                self.device, m, call_for(site, c, rows, self.target), site.facts.density, site.facts.row_spread,
                self.cold_bytes,
            )
            for name, c in (*((c.name, c) for c in usable), *members)
        }  # fmt: skip

    def exact(self, m: int, names: Mapping[str, str]) -> tuple[dict[str, float], str] | None:
        """({filed name: seconds}, where from) where all of them were measured on such a device."""
        point = point_of(*self.device, self.key(m))
        found = self.database.exact(self.device[0], point, names.values())
        if found is None:
            return None
        origins = sorted({origin for _, origin in found.values()} - {HERE})
        return {name: seconds for name, (seconds, _) in found.items()}, " and ".join(origins)

    def reused(self, m: int, usable: Sequence[Candidate], dense: Sequence[str]) -> tuple[dict[str, float], str] | None:
        """({name: estimated seconds}, where from): what was chosen among at the nearest sizes that were timed.

        None where a dense member was not timed within :data:`~spcomp.cost.database.WITHIN`, or the candidate that the
        model takes for the fastest is of an encoding and backend that were not.
        """
        cases = self.cases(usable, dense, m)
        near = self._near(cases, "kernel", "encoding", "kind")
        covered = {(c.backend, c.encoding.name, c.quantize) for c in usable if c.name in near}
        likeliest = min(usable, key=lambda c: self._predict(cases[c.name].call, m, self.cold_bytes), default=None)
        known = likeliest is None or (likeliest.backend, likeliest.encoding.name, likeliest.quantize) in covered
        if not known or not all(name in near for name in dense):
            return None
        seconds = {name: found.seconds(cases[name], self._predict) for name, found in near.items()}
        farthest = max(near.values(), key=lambda found: (found.distance, not found.record.case.dense))
        return seconds, f"estimated from {farthest.record.case}"

    def predicted(self, m: int, usable: Sequence[Candidate], dense: Sequence[str]) -> dict[str, float]:
        """{name: seconds} by the analytic model alone."""
        cases = self.cases(usable, dense, m)
        return {name: self._predict(case.call, m, case.cold_bytes) for name, case in cases.items()}

    def add(self, m: int, usable: Sequence[Candidate], dense: Sequence[str], seconds: Mapping[str, float]) -> None:
        """Keep {filed name: seconds} that were measured here."""
        names = self.filed(usable, dense)
        cases = self.cases(usable, dense, m).items()
        self.database.add([TuningRecord(case, seconds[names[name]]) for name, case in cases if names[name] in seconds])

    # -- fewer candidates ---------------------------------------------------------------------------------------

    def likely(self, candidates: Sequence[Candidate], at: Mapping[int, Sequence[Candidate]]) -> list[Candidate]:
        """Candidates without those that near records show to be far behind, as it was decided the first time.

        ``at``: {rows: candidates that would be timed there}. Nothing that no record speaks of is left out, and at each
        row count the best of those that records speak of stays.
        """
        names = [c.name for c in candidates]
        text = json.dumps([self.device[2], names, [self.key(m) for m in at]], sort_keys=True)
        about = LIKELY + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        kept = self.database.search(self.device[0], self.device[1], about)
        if kept is None:
            behind = self._behind(candidates, at)
            kept = tuple(i for i, c in enumerate(candidates) if _form(c) not in behind)
            if len(kept) < len(candidates):
                self.database.add([SearchRecord(self.device[0], self.device[1], about, kept)])
        return [candidates[i] for i in kept if i < len(candidates)]

    def _behind(
        self, candidates: Sequence[Candidate], at: Mapping[int, Sequence[Candidate]]
    ) -> set[tuple[object, ...]]:
        """Forms whose every member that would be timed is estimated and far behind, wherever it would be."""
        hopeful: set[tuple[object, ...]] = set()
        seen: set[tuple[object, ...]] = set()
        for m, usable in at.items():
            cases = self.cases(usable, (), m)
            near = self._near(cases, "kernel")
            seconds = {name: found.seconds(cases[name], self._predict) for name, found in near.items()}
            best = min(seconds.values(), default=0.0)
            for c in usable:
                seen.add(_form(c))
                if c.name not in seconds or seconds[c.name] <= FEWER * best:
                    hopeful.add(_form(c))
        return seen - hopeful

    def _near(self, cases: Mapping[str, TuningCase], *same: Same) -> dict[str, Near]:
        """{name: the nearest record} by the first of ``same`` that has one; without those of which none is known."""
        found = {}
        for name, case in cases.items():
            tried = (self.database.nearest(case, same=kind) for kind in same)
            if (near := next(filter(None, tried), None)) is not None:
                found[name] = near
        return found

    def _predict(self, call: Any, m: int, cold_bytes: int) -> float:
        return self.model.seconds(call, m, cold_bytes=cold_bytes)


def _form(candidate: Candidate) -> tuple[object, ...]:
    """What is dropped together: tilings of one encoding, of which the largest alone is timed; else each schedule."""
    tiled = "tiles" in dict(candidate.schedule)
    return candidate.backend, candidate.form, "tiles" if tiled else candidate.schedule
