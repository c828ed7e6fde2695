"""Measure the candidates of one layer at its row counts, next to every dense member, and choose.

The likeliest few of ``propose`` are packed, compiled and timed; the same statistics on the same machine are not timed
twice, unless a verdict was close: then the doubtful row counts are. Where two neighbouring row counts have different
winners, the middle is measured before the split is believed. Where ``tune="reuse"`` asks for it, what was timed near by
says what candidates take, and which to leave out (:mod:`spcomp.passes.reuse`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch

from spcomp.cost.database import TuningDatabase
from spcomp.cost.model import Measuring, Model
from spcomp.encodings.dense import Dense as DenseEncoding
from spcomp.encodings.int8 import quantize_weight
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.spec import Refusal
from spcomp.encodings.wanted import Wanted
from spcomp.kernel import Backend, Kernel
from spcomp.passes.base import Site
from spcomp.passes.choose import DENSE, Choice, choose, dense_choice, doubtful, is_dense, open_gaps
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.planned import BestDense, Dense, Planned
from spcomp.passes.propose import Candidate, call_for, points_of, propose
from spcomp.passes.reuse import Known
from spcomp.passes.told import why_not
from spcomp.passes.tune_tiles import may_have_tiles, seconds_on_tiles
from spcomp.plan import KernelCall, RowRange

MAX_POINTS = 12
TILES_TRIED = 3
"""Kernels of a layer that are timed on tiles too: the one that serves it, and the fastest others."""
SPARE_BYTES = 64 * 1024
"""What the kernels of a layer may keep beyond its dense bytes under a budget of 1: code comes in pages, with tables."""
Chosen = tuple[Choice, dict[int, dict[str, float]], dict[int, str], dict[str, float]]
"""(choice, {rows: {kernel: seconds}}, {rows: where they are from}, {kernel: seconds on tiles}) of a site."""
BUILDERS = 4
"""Threads that generate the kernels of one layer; nothing is timed before all of them are ready."""


@dataclass(eq=False)
class Planner:
    """Everything that tuning one model needs: backends and dense members are handed in."""

    backends: Mapping[str, Backend]
    target: str
    model: Model
    tuner: Measuring
    database: TuningDatabase
    best_dense: BestDense
    rewarm: Callable[[], object]
    """Touches the scratch memory that kernels share, as the layer before would have."""
    total_weight_bytes: int
    budget: float = 1.0
    force: bool = False
    only: frozenset[str] | None = None
    quantize: str = ""
    tune: str = "measure"
    """``reuse``: times of near sizes count where there are some; ``off``: the model's do, and nothing is timed."""
    packed: dict[tuple[str, str], PackedTensor] = field(default_factory=dict)
    made: dict[str, Chosen] = field(default_factory=dict)
    """What sites planned so far were given: equal contents are given the same, whatever a clock would say by now."""
    title: str = ""
    """Of the device, where that is not the CPU."""

    def pack(self, site: Site, candidate: Candidate) -> PackedTensor:
        """The site's weight in the candidate's encoding; equal contents are packed once."""
        key = (site.facts.digest, str(candidate.form))
        if key not in self.packed:
            if candidate.quantize and site.int8 is not None:
                self.packed[key] = pack(site.int8.values, candidate.encoding, site.int8.facts)
            else:
                self.packed[key] = pack(positive_zeros(site.weight), candidate.encoding, site.facts)
        return self.packed[key]

    def propose(self, site: Site, points: Sequence[int], cold_bytes: int, wanted: Wanted | None) -> list[Candidate]:
        """What is worth a measurement."""
        return propose(
            site, self.backends, self.target, self.model, points, cold_bytes=cold_bytes, only=self.only, wanted=wanted
        )

    def serves(self, candidate: Candidate, candidates: Sequence[Candidate], m: int) -> bool:
        """Whether a candidate is timed at ``m`` rows."""
        return serves(candidate, candidates, m)

    def dense(self, call: KernelCall, site: Site, points: Sequence[int]) -> Dense:
        """The best dense program of a site."""
        return self.best_dense(call, site.weight, site.bias, points, site.scale)

    def build(self, site: Site, candidate: Candidate, call: KernelCall) -> Kernel:
        """The kernel of a candidate, its weight packed already."""
        scale = site.scale_for(candidate.quantize)
        return self.backends[candidate.backend].build(call, self.pack(site, candidate), site.bias, scale)

    def example(self, site: Site, m: int) -> tuple[torch.Tensor, ...]:
        """Random inputs of ``m`` rows, where the kernels want them."""
        return site.example(m)

    def run_of(self, kernel: Kernel, x: tuple[torch.Tensor, ...]) -> Callable[[], object]:
        """What is timed for a kernel."""
        return lambda: kernel(*x)

    def warm(self, site: Site, x: tuple[torch.Tensor, ...], m: int) -> None:
        """Leave the caches as the layer before would have."""
        for t in x:
            t.sum()
        x[0].new_empty(m, site.n).zero_()  # the block of memory that the result will be given
        self.rewarm()

    def plan(self, site: Site, *, sparse: bool = True, wanted: Wanted | None = None) -> Planned:
        """Choose the kernels of one site; ``wanted``: the only encoding that may serve it beside best dense."""
        return _SitePlan(self, site, sparse, wanted).run()

    def with_weight(self, planned: Planned, weight: torch.Tensor) -> Planned:
        """The same plan for a copy of the site's weight, with a dense program of that."""
        site = replace(planned.site, weight=weight)
        call = dense_call(site, _whole(site), self.target)
        if site.int8 is not None:
            call = replace(call, quantize=self.quantize)
        dense = self.best_dense(call, weight, site.bias, points_of(site.domains, site.pixels), site.scale)
        dense.settle({m: _dense_seconds(found) for m, found in planned.measured.items()})
        return replace(planned, site=site, dense=dense)


class _SitePlan:
    def __init__(self, planner: Planner, site: Site, sparse: bool, wanted: Wanted | None) -> None:
        sparse = sparse and not (wanted is not None and wanted.dense)
        self.p, self.site, self.wanted, self.sparse = planner, site, wanted, sparse
        self.points = points_of(site.domains, site.pixels)
        self.cold = max(0, planner.total_weight_bytes - site.weight.nbytes)
        self.without_int8 = self._quantize() if sparse and planner.quantize else None
        self.known = Known(planner.database, planner.tuner.device, planner.model, site, planner.target, self.cold)
        self.candidates = planner.propose(site, self.points, self.cold, wanted) if sparse else []
        self.measured: dict[int, dict[str, float]] = {}
        self.sources: dict[int, str] = {}
        self.kernels: dict[str, Kernel] = {}
        self.whole = _whole(site)
        call = dense_call(site, self.whole, planner.target)
        if site.int8 is not None:
            call = replace(call, quantize=planner.quantize)
        self.dense = planner.dense(call, site, self.points)
        if planner.tune == "reuse" and not self._all_known():
            at = {m: [c for c in self.candidates if planner.serves(c, self.candidates, m)] for m in self.points}
            self.candidates = self.known.likely(self.candidates, at)

    def _all_known(self) -> bool:
        """Whether the cache has the times of all candidates."""
        for m in self.points:
            usable = [c for c in self.candidates if self.p.serves(c, self.candidates, m)]
            names = frozenset(self.known.filed(usable, [DENSE + name for name in self.dense.names(m)]).values())
            if self.p.tuner.remembered(self.known.key(m), names) is None:
                return False
        return True

    def _quantize(self) -> str | None:
        """Quantise the site's weight; the reason where that cannot be or nothing here could run it."""
        able = {key.op for b in self.p.backends.values() for key in b.capabilities() if key.dtype == self.p.quantize}
        if self.site.op not in able:
            return "no int8 kernels here, they need AVX-512 VNNI" + (" and VBMI" if self.site.conv is not None else "")
        made = quantize_weight(positive_zeros(self.site.weight))
        if isinstance(made, Refusal):
            return made.reason
        self.site.int8 = made
        return None

    def run(self) -> Planned:
        keys = [self.known.key(m) for m in self.points]
        alike = str((self.site.facts.digest, self.site.experts, self.sparse, self.wanted, keys))
        if alike not in self.p.made:
            choice = self._decide()
            self.p.made[alike] = choice, self.measured, self.sources, self._on_tiles(choice)
        choice, self.measured, self.sources, tiles = self.p.made[alike]
        self.dense.settle({m: _dense_seconds(found) for m, found in self.measured.items()})
        candidates = {c.name: c for c in self.candidates}
        return Planned(self.site, choice, self.measured, candidates, self.dense, self.sources, tiles)

    def _decide(self) -> Choice:
        for m in self.points:
            self._measure(m)
        choice = self._choose()
        for m in doubtful(choice, self.measured, self.candidates):
            if m not in self.sources:
                self._measure(m, again=True)
                choice = self._choose()
        for _ in range(3):
            gaps = open_gaps(choice, self.measured)
            if not gaps or len(self.measured) + len(gaps) > MAX_POINTS:
                break
            for m in gaps:
                self._measure(m)
            self.measured = dict(sorted(self.measured.items()))
            choice = self._choose()
        if self.sparse and self.p.quantize and not any("int8" in name for _, name in choice.ranges):
            why = self.without_int8 or "int8 is not faster"
            choice = replace(choice, reason=f"{choice.reason}; stays in floating point: {why}")
        if self.wanted is not None and self.sparse:
            choice = replace(choice, reason=f"layers asks for {self.wanted}: {choice.reason}")
        if self.sources:
            choice = replace(choice, reason=f"{choice.reason}; {_said(self.sources)}")
        return choice

    def _choose(self) -> Choice:
        if not self.sparse:
            told = self.wanted is not None and self.wanted.dense
            return dense_choice(self.measured, f"{'layers' if told else 'policy, include or exclude'} keeps it dense")
        missing = [reason for b in self.p.backends.values() if (reason := b.unavailable()) is not None]
        every = len(missing) == len(self.p.backends) or self.site.conv is not None  # which one backend serves
        if not self.candidates and missing and every and self.site.facts.nonzeros < self.site.facts.elements:
            return dense_choice(self.measured, f"no sparse kernels here: {'; '.join(dict.fromkeys(missing))}")
        if not self.candidates and self.wanted is not None:
            reason = why_not(self.site.facts, self.wanted, self.points, self.p.target)
            return dense_choice(self.measured, reason)
        return choose(
            self.measured,
            self.candidates,
            dense_nbytes=self.site.weight.nbytes,
            budget=self.p.budget,
            force=self.p.force,
            spare=SPARE_BYTES,
        )

    def _measure(self, m: int, *, again: bool = False) -> None:
        usable = [c for c in self.candidates if self.p.serves(c, self.candidates, m)]
        dense = [DENSE + name for name in self.dense.names(m)]
        names = self.known.filed(usable, dense)
        found = None if again else self._looked_up(m, usable, dense, names)
        seconds, source = (self._timed(m, usable, dense, names, again), "") if found is None else found
        self.measured[m] = {name: seconds[file] for name, file in names.items() if file in seconds}
        if source:
            self.sources[m] = source

    def _looked_up(
        self, m: int, usable: Sequence[Candidate], dense: Sequence[str], names: Mapping[str, str]
    ) -> tuple[Mapping[str, float], str] | None:
        """({filed name: seconds}, where from) without a clock; None where it must be timed."""
        if self.p.tune == "off":
            predicted = self.known.predicted(m, usable, dense)
            return {names[name]: s for name, s in predicted.items()}, "predicted by the cost model"
        if (mine := self.p.tuner.remembered(self.known.key(m), frozenset(names.values()))) is not None:
            return mine, ""
        if (found := self.known.exact(m, names)) is not None:
            if not found[1]:
                self.p.tuner.remember(self.known.key(m), found[0])
            return found[0], f"measured on such a machine ({found[1]})" if found[1] else ""
        if self.p.tune == "reuse" and (near := self.known.reused(m, usable, dense)) is not None:
            return {names[name]: s for name, s in near[0].items()}, near[1]
        return None

    def _timed(
        self, m: int, usable: Sequence[Candidate], dense: Sequence[str], names: Mapping[str, str], again: bool
    ) -> Mapping[str, float]:
        """{filed name: seconds} by the clock, kept in the cache and in the database."""
        site, x = self.site, self.p.example(self.site, m)
        fresh = False

        def work() -> dict[str, Callable[[], object]]:
            nonlocal fresh
            fresh = True
            return {names[name]: run for name, run in self._work(usable, dense, x).items()}

        seconds = self.p.tuner.measure(
            self.known.key(m), work, frozenset(names.values()),
            cold_bytes=self.cold, warm=lambda: self.p.warm(site, x, m), again=again, own=site.weight,
        )  # fmt: skip
        if fresh:
            self.known.add(m, usable, dense, seconds)
        return seconds

    def _on_tiles(self, choice: Choice) -> dict[str, float]:
        """Seconds of the likeliest kernels on tiles, where a layer can be given some and may be timed."""
        if self.p.title or self.sources or not may_have_tiles(self.site, self.points):
            return {}
        (m,) = self.points
        served = {name for _, name in choice.ranges}
        usable = [c for c in self.candidates if serves(c, self.candidates, m) and not c.quantize]
        usable.sort(key=lambda c: (c.name not in served, self.measured[m].get(c.name, math.inf)))
        tried = usable[:TILES_TRIED]
        files = self.known.filed(tried, ())
        build = {files[c.name]: functools.partial(self._kernel, c) for c in tried}
        found = seconds_on_tiles(self.p.tuner, self.site, m, self.known.key(m), build, self.cold, self.p.rewarm)
        return {c.name: found[files[c.name]] for c in tried if files[c.name] in found}

    def _kernel(self, candidate: Candidate) -> Kernel:
        """Built when it is asked for first."""
        if candidate.name not in self.kernels:
            self.kernels[candidate.name] = self._build(candidate, self.p.pack(self.site, candidate))
        return self.kernels[candidate.name]

    def _work(
        self, usable: Sequence[Candidate], dense: Sequence[str], x: tuple[torch.Tensor, ...]
    ) -> dict[str, Callable[[], object]]:
        with ThreadPoolExecutor(BUILDERS) as pool:  # they wait for compilers most of the time
            started = {
                c.name: pool.submit(self._build, c, self.p.pack(self.site, c))
                for c in usable
                if c.name not in self.kernels
            }
            members = {name: self.dense.member(name.removeprefix(DENSE)) for name in dense}
        self.kernels |= {name: kernel.result() for name, kernel in started.items()}
        kernels = self.kernels | members
        return {name: self.p.run_of(kernels[name], x) for name in [*(c.name for c in usable), *dense]}

    def _build(self, candidate: Candidate, packed: PackedTensor) -> Kernel:
        call = call_for(self.site, candidate, self.whole, self.p.target, packed.digest)
        return self.p.build(self.site, candidate, call)


def _whole(site: Site) -> RowRange:
    """All rows the site can meet: what kernels are compiled for while tuning."""
    los, his = [d.lo for d in site.domains], [d.hi for d in site.domains]
    return RowRange(min(los), None if None in his else max(h for h in his if h is not None))


def serves(candidate: Candidate, candidates: Sequence[Candidate], m: int) -> bool:
    """Whether a candidate is timed at ``m`` rows: it can take them, and is the largest tiling of its encoding."""
    tokens = dict(candidate.schedule).get("tokens")
    tiles = dict(candidate.schedule).get("tiles")
    if tokens is not None:
        return m <= 15 or bool(candidate.quantize)
    if tiles is None:
        return m >= candidate.fewest_rows
    alike = [c for c in candidates if c.encoding == candidate.encoding]
    return tiles == max((dict(c.schedule).get("tiles", 0) for c in alike), default=0)


def _dense_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """{member: seconds} of what was measured."""
    return {name.removeprefix(DENSE): s for name, s in seconds.items() if is_dense(name)}


def dense_call(site: Site, rows: RowRange, target: str) -> KernelCall:
    """The dense call of a site."""
    candidate = Candidate(DenseEncoding(), "dense", (), site.weight.nbytes, site.facts.elements)
    return call_for(site, candidate, rows, target)


def _said(sources: Mapping[int, str]) -> str:
    """Where times come from that are not of a clock here, in words."""
    rows: dict[str, list[str]] = {}
    for m, source in sorted(sources.items()):
        rows.setdefault(source, []).append(str(m))
    return "; ".join(f"times at M = {', '.join(at)} {source}" for source, at in rows.items())
