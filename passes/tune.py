"""Measure the candidates of one layer at its row counts, next to every dense member, and choose.

The likeliest few of ``propose`` are packed, compiled and timed; the same statistics on the same machine are not timed
twice, unless sparse would be refused by a little: then the doubtful row counts are. Where two neighbouring row counts
have different winners, the middle is measured before the split is believed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from spcomp.cost.analytic import CostModel
from spcomp.cost.tuner import Tuner
from spcomp.encodings.dense import Dense as DenseEncoding
from spcomp.encodings.int8 import quantize_weight
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.spec import Refusal
from spcomp.encodings.wanted import Wanted
from spcomp.kernel import Backend, Kernel
from spcomp.passes.base import Site
from spcomp.passes.choose import DENSE, Choice, choose, dense_choice, doubtful, is_dense, open_gaps
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.propose import Candidate, call_for, points_of, propose
from spcomp.passes.told import why_not
from spcomp.plan import KernelCall, RowRange

MAX_POINTS = 12
SPARE_BYTES = 64 * 1024
"""What the kernels of a layer may keep beyond its dense bytes under a budget of 1: code comes in pages, with tables."""
BUILDERS = 4
"""Threads that generate the kernels of one layer; nothing is timed before all of them are ready."""


class Dense(Protocol):
    """The best dense program of one layer, as the code generators make it."""

    def names(self, m: int) -> Sequence[str]:
        """Members that can take ``m`` rows."""
        ...

    def member(self, name: str) -> Kernel:
        """One of them."""
        ...

    def settle(self, measured: Mapping[int, Mapping[str, float]]) -> None:
        """Told the seconds of every member by row count, it becomes the fastest."""
        ...


BestDense = Callable[[KernelCall, torch.Tensor, torch.Tensor | None, Sequence[int], torch.Tensor | None], Dense]


@dataclass(eq=False)
class Planner:
    """Everything that tuning one model needs: backends and dense members are handed in."""

    backends: Mapping[str, Backend]
    target: str
    model: CostModel
    tuner: Tuner
    best_dense: BestDense
    rewarm: Callable[[], object]
    """Touches the scratch memory that kernels share, as the layer before would have."""
    total_weight_bytes: int
    budget: float = 1.0
    force: bool = False
    only: frozenset[str] | None = None
    quantize: str = ""
    packed: dict[tuple[str, str], PackedTensor] = field(default_factory=dict)

    def pack(self, site: Site, candidate: Candidate) -> PackedTensor:
        """The site's weight in the candidate's encoding; equal contents are packed once."""
        key = (site.facts.digest, str(candidate.form))
        if key not in self.packed:
            if candidate.quantize and site.int8 is not None:
                self.packed[key] = pack(site.int8.values, candidate.encoding, site.int8.facts)
            else:
                self.packed[key] = pack(positive_zeros(site.weight), candidate.encoding, site.facts)
        return self.packed[key]

    def plan(self, site: Site, *, sparse: bool = True, wanted: Wanted | None = None) -> Planned:
        """Choose the kernels of one site; ``wanted``: the only encoding that may serve it beside best dense."""
        return _SitePlan(self, site, sparse, wanted).run()


@dataclass(eq=False)
class Planned:
    """A site with its choice, what was measured, and kernels that were built on the way (by name)."""

    site: Site
    choice: Choice
    measured: dict[int, dict[str, float]]
    candidates: dict[str, Candidate]
    dense: Dense
    """Settled by what was measured."""


class _SitePlan:
    def __init__(self, planner: Planner, site: Site, sparse: bool, wanted: Wanted | None) -> None:
        sparse = sparse and not (wanted is not None and wanted.dense)
        self.p, self.site, self.wanted, self.sparse = planner, site, wanted, sparse
        self.points = points_of(site.domains, site.pixels)
        self.cold = max(0, planner.total_weight_bytes - site.weight.nbytes)
        self.without_int8 = self._quantize() if sparse and planner.quantize else None
        self.candidates: list[Candidate] = (
            propose(
                site, planner.backends, planner.target, planner.model, self.points,
                cold_bytes=self.cold, only=planner.only, wanted=wanted,
            )
            if sparse
            else []
        )  # fmt: skip
        self.measured: dict[int, dict[str, float]] = {}
        self.kernels: dict[str, Kernel] = {}
        self.whole = self._whole()
        call = dense_call(site, self.whole, planner.target)
        if site.int8 is not None:
            call = replace(call, quantize=planner.quantize)
        self.dense = planner.best_dense(call, site.weight, site.bias, self.points, site.scale)

    def _quantize(self) -> str | None:
        """Quantise the site's weight; the reason where that cannot be or nothing here could run it."""
        able = {key.op for b in self.p.backends.values() for key in b.capabilities() if key.dtype == self.p.quantize}
        if self.site.conv is not None:
            return "int8 is for linear layers"
        if not able:
            return "no int8 kernels here, they need AVX-512 VNNI"
        made = quantize_weight(positive_zeros(self.site.weight))
        if isinstance(made, Refusal):
            return made.reason
        self.site.int8 = made
        return None

    def _whole(self) -> RowRange:
        """All rows the site can meet: what kernels are compiled for while tuning."""
        los = [d.lo for d in self.site.domains]
        his = [d.hi for d in self.site.domains]
        return RowRange(min(los), None if None in his else max(h for h in his if h is not None))

    def run(self) -> Planned:
        for m in self.points:
            self._measure(m)
        choice = self._choose()
        for m in doubtful(choice, self.measured, self.candidates):
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
        if self.sparse and self.p.quantize and not _is_int8(choice):
            why = self.without_int8 or "int8 is not faster"
            choice = replace(choice, reason=f"{choice.reason}; stays in floating point: {why}")
        if self.wanted is not None and self.sparse:
            choice = replace(choice, reason=f"layers asks for {self.wanted}: {choice.reason}")
        self.dense.settle({m: _dense_seconds(found) for m, found in self.measured.items()})
        return Planned(self.site, choice, self.measured, {c.name: c for c in self.candidates}, self.dense)

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
        site = self.site
        usable = [c for c in self.candidates if serves(c, self.candidates, m)]
        dense = [DENSE + name for name in self.dense.names(m)]
        x = site.example(m)

        def warm() -> None:
            for t in x:
                t.sum()
            x[0].new_empty(m, site.n).zero_()  # the block of memory that the result will be given
            self.p.rewarm()

        filed = {c.name: f"{c.name} stores {_coarse(c.stored / site.facts.elements)}" for c in usable}
        filed |= {name: name for name in dense}
        seconds = self.p.tuner.measure(
            _key(site, m, self.cold),
            lambda: {filed[name]: run for name, run in self._work(usable, dense, x).items()},
            frozenset(filed.values()),
            cold_bytes=self.cold,
            warm=warm,
            again=again,
            own=site.weight,
        )
        self.measured[m] = {name: seconds[file] for name, file in filed.items() if file in seconds}

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

        def at(kernel: Kernel) -> Callable[[], object]:
            return lambda: kernel(*x)

        return {name: at(kernels[name]) for name in [*(c.name for c in usable), *dense]}

    def _build(self, candidate: Candidate, packed: PackedTensor) -> Kernel:
        call = call_for(self.site, candidate, self.whole, self.p.target, packed.digest)
        scale = self.site.scale_for(candidate.quantize)
        return self.p.backends[candidate.backend].build(call, packed, self.site.bias, scale)


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


def _is_int8(choice: Choice) -> bool:
    """Whether any kernel of a choice computes in int8."""
    return any("int8" in name for _, name in choice.ranges)


def _dense_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """{member: seconds} of what was measured."""
    return {name.removeprefix(DENSE): s for name, s in seconds.items() if is_dense(name)}


def dense_call(site: Site, rows: RowRange, target: str) -> KernelCall:
    """The dense call of a site."""
    candidate = Candidate(DenseEncoding(), "dense", (), site.weight.nbytes, site.facts.elements)
    return call_for(site, candidate, rows, target)


def _key(site: Site, m: int, cold: int) -> dict[str, object]:
    """What can change a measurement: sizes, and the pattern's statistics to about five percent.

    What a kernel stores is part of the name under which its time is filed.
    """
    facts = site.facts
    return {
        "n": site.n,
        "k": site.k,
        "m": m,
        "dtype": site.dtype,
        "epilogue": [site.epilogue.bias, site.epilogue.activation, site.epilogue.residual],
        "conv": None if site.conv is None else site.conv.to_dict(),
        "density": _coarse(facts.density),
        "zero_inputs": round(site.zero_inputs or 0.0, 1),
        "spread": round(facts.row_spread, 1),
        "cold": _coarse(cold),
    }


def _coarse(share: float) -> float:
    """Rounded to steps of five percent: enough for a cost."""
    return 0.0 if share <= 0 else round(1.05 ** round(math.log(share) / math.log(1.05)), 4)
