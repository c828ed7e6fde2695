"""Races of single layers and of chains of them: every kernel that the backends offer against the best dense program.

Two stages: all candidates (and dense members) of each distinct shape are timed in a few rounds; then the winners, every
dense member, and the winner once more as a control meet in fresh runs, and only those are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from benchmarks.harness import Benchmark, Flusher, Ratio, Timing, interleave, ratio
from benchmarks.reading import CYCLES, multiplier, reader
from benchmarks.walks import chained, each, walk
from spcomp.codegen.dense import best_dense
from spcomp.codegen.mlir_cpu.scratch import touch
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.table import BACKENDS
from spcomp.conv_layout import PLANES, TILES, Padded, laid, takes
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.spec import Encoding
from spcomp.kernel import Kernel, LaidKernel, LastKernel
from spcomp.passes.base import Site
from spcomp.passes.permute_hidden import USED
from spcomp.passes.propose import Candidate, call_for
from spcomp.passes.tune import dense_call
from spcomp.passes.worth import encodings_for
from spcomp.plan import KernelKey, RowRange
from spcomp.profiling.timing import interleave_for
from spcomp.targets.host import host_cpu

HOPELESS = 2.0
"""A candidate this many times slower than the fastest so far is not timed any further while selecting."""
NEAR = 1.3
"""The same from shape to shape of a cold chain."""
SELECT_ROUNDS = 5
Flush = Callable[[], None]


@dataclass(eq=False)
class Layer:
    """One layer of a race: its site (a weight with its zeros), its input, and what was built for it."""

    site: Site
    x: tuple[torch.Tensor, ...]
    dense: Mapping[str, Kernel]
    packed: dict[Encoding, PackedTensor] = field(default_factory=dict)
    forms: dict[tuple[int, str], torch.Tensor] = field(default_factory=dict)
    """x in other layouts; layers that share an input share these."""

    @property
    def m(self) -> int:
        return self.site.domains[0].lo

    @property
    def shape(self) -> tuple[object, ...]:
        return self.site.n, self.site.k, self.site.conv

    def run(self, kernel: Kernel) -> Callable[[], object]:
        """A call of one of its kernels; of a convolution, on x as its neighbour in a network would hand it over."""
        x, conv = self.x, self.site.conv
        if conv is None:
            return lambda: kernel(*x)
        if isinstance(kernel, LastKernel) and kernel.last_served:
            key = (id(x[0]), "channels last")
            last = self.forms.setdefault(key, x[0].contiguous(memory_format=torch.channels_last))
            return lambda: kernel.on_last(last)
        if isinstance(kernel, LaidKernel) and kernel.laid_served:
            xs, given = self.handed()
            kernel.ready(given, TILES, ())
            return lambda: kernel.on_layout(xs, None, given, TILES, ())
        return lambda: kernel(*x)

    def handed(self) -> tuple[torch.Tensor, str]:
        """The x of a convolution in the layout that it reads without a copy, and that layout."""
        assert self.site.conv is not None
        given = takes(self.site.conv)
        numbers = Padded.read_by(self.site.conv).numbers() if given == PLANES else ()
        return self.forms.setdefault((id(self.x[0]), given), laid(self.x[0], given, numbers)), given

    def build(self, candidate: Candidate) -> Kernel:
        site = self.site
        if candidate.encoding not in self.packed:
            self.packed[candidate.encoding] = pack(site.weight, candidate.encoding, site.facts)
        packed = self.packed[candidate.encoding]
        call = call_for(site, replace(candidate, nbytes=packed.nbytes), site.domains[0], host_cpu().target)
        return BACKENDS[candidate.backend].build(call, packed, site.bias, site.scale)


def dense_members(site: Site) -> dict[str, Kernel]:
    """Every member of best dense for the site's row count."""
    m = site.domains[0].lo
    best = best_dense(dense_call(site, site.domains[0], host_cpu().target), site.weight, site.bias, (m,), site.scale)
    return {name: best.member(name) for name in best.names(m)}


def candidates(site: Site) -> list[Candidate]:
    """Every encoding, backend and schedule for the site's row count, however many bytes it takes; N:M only where its
    slots are mostly used, for others may hold by chance in one layer of a chain and not in the next."""
    target, m = host_cpu().target, site.domains[0].lo
    rows = RowRange(m, m)
    found: dict[str, Candidate] = {}
    for encoding in encodings_for(site.facts):
        if isinstance(encoding, Nm) and site.facts.density < USED * encoding.n / encoding.m:
            continue
        key = KernelKey(site.op, encoding.name, site.dtype, target)
        for name, backend in BACKENDS.items():
            if name == "reference" or key not in backend.capabilities():
                continue
            stored = encoding.stored_values(site.facts) or site.facts.nonzeros
            bare = Candidate(encoding, name, (), 0, stored)
            for schedule in backend.schedules(call_for(site, bare, rows, target), m):
                made = replace(bare, schedule=schedule)
                found[made.name] = made
    if site.conv is not None and found:  # baked into code, all encodings are the same
        found = dict([next(iter(found.items()))])
    return list(found.values())


def nbytes(kernel: Kernel) -> int:
    """Bytes of weights that a call reads: packed, or as code and baked weights; dense ones as they are."""
    call = kernel.call
    if call.backend == "baked_cpu":
        return kernel.extra_nbytes
    return call.weight_nbytes or call.n * call.k * 4


def select(
    work: Mapping[str, Callable[[], object]], flush: Flush | None, rounds: int = SELECT_ROUNDS
) -> dict[str, float]:
    """Seconds of all of ``work`` from a few rounds, the fastest first; hopeless ones get one run."""
    once = interleave(work, rounds=1, warmup=1, flush=flush)
    found = {name: timing.median for name, timing in once.items()}
    best = min(found.values())
    alive = {name: run for name, run in work.items() if found[name] <= HOPELESS * best}
    if len(alive) > 1:
        inner = 1 if flush is not None else max(1, min(20, int(5e-4 / best)))
        times = interleave(alive, rounds=rounds, warmup=0, flush=flush, inner=inner, hot=flush is None)
        found |= {name: timing.median for name, timing in times.items()}
    return dict(sorted(found.items(), key=lambda item: (item[0] not in alive, item[1])))


@dataclass(frozen=True)
class Result:
    """One race: best dense over ours."""

    gain: Ratio
    control: float
    """The fastest of ours over itself."""
    ours: Timing
    dense: Timing
    dense_name: str
    kernels: tuple[str, ...]
    chosen: str
    """The whole name of the first layer's candidate."""
    flops: float
    """effective_w: two for each nonzero weight and row."""
    dense_flops: float
    ours_bytes: int
    dense_bytes: int
    packed: Ratio | None = None
    """The same with the middle functions only: activations are packed already, and stay so."""
    laid: Ratio | None = None
    """Of several layers: the same with all calls laid down as one, as compiled programs of few rows and of convolutions
    make them."""
    natural: Ratio | None = None
    """Of convolutions: the same where every layer of ours begins and ends with planes as they are."""

    read: Ratio | None = None
    """Best dense over reading as many bytes as ours take for weights (convolutions: and their planes), and nothing
    else: what bytes allow."""
    cycle_s: float = 0.0
    """Seconds of a cycle while the core multiplies at full speed, in the same race."""
    near: frozenset[str] = frozenset()
    """Candidates that came within a factor of two."""

    def details(self) -> dict[str, object]:
        mine, theirs = self.ours.median, self.dense.median
        found: dict[str, object] = {
            "ratio": self.gain.value,
            "lower": self.gain.lower,
            "control": self.control,
            "ours_us": 1e6 * mine,
            "dense_us": 1e6 * theirs,
            "dense": self.dense_name,
            "kernels": list(self.kernels),
            "chosen": self.chosen,
            "gflops_effective_w": self.flops / mine / 1e9,
            "gb_s": self.ours_bytes / mine / 1e9,
            "weight_bytes": self.ours_bytes,
            "dense_gflops": self.dense_flops / theirs / 1e9,
            "dense_gb_s": self.dense_bytes / theirs / 1e9,
            "dense_weight_bytes": self.dense_bytes,
        }
        if self.read is not None:
            found |= {"bytes_allow": self.read.value, "cycle_ns": 1e9 * self.cycle_s}
        return found

    def note(self) -> str:
        d = self.details()
        allowed = "" if self.read is None else f"bytes allow {self.read.value:.3g}; "
        return (
            f"{d['ours_us']:.0f} us, {d['gflops_effective_w']:.1f} GFLOP/s, {d['gb_s']:.1f} GB/s; "
            f"{self.dense_name} {d['dense_us']:.0f} us, {d['dense_gflops']:.0f} GFLOP/s, {d['dense_gb_s']:.1f} GB/s; "
            f"lower {self.gain.lower:.2f}, A/A {self.control:.3f}; {allowed}{' | '.join(self.kernels)}"
        )

    def report(self, bench: Benchmark, key: str, extra: str = "") -> None:
        bench.report(key, self.gain.value, self.note() + extra, self.details())
        if self.packed is not None:
            note = f"lower {self.packed.lower:.2f}; the products alone, x packed before and y left packed"
            bench.report(f"{key}_packed", self.packed.value, note)
        if self.laid is not None:
            note = f"lower {self.laid.lower:.2f}; all layers as one call"
            bench.report(f"{key}_laid", self.laid.value, note)
        if self.natural is not None:
            note = f"lower {self.natural.lower:.2f}; planes as they are before and after each layer of ours"
            bench.report(f"{key}_natural", self.natural.value, note)


@dataclass(eq=False)
class Choice:
    """Which candidate (or dense member) is the fastest for each distinct shape, and the names that came near."""

    ours: dict[tuple[object, ...], Candidate] = field(default_factory=dict)
    dense: dict[tuple[object, ...], str] = field(default_factory=dict)
    near: frozenset[str] = frozenset()


def choose(layers: Sequence[Layer], flush: Flush | None, near: frozenset[str] = frozenset()) -> Choice:
    """The fastest for each distinct shape, timed on its first layer. Only candidates in ``near`` are timed (if any is
    offered), and after the first shape only those that came near there."""
    made = Choice(near=near)
    for layer in layers:
        if layer.shape in made.ours:
            continue
        cooled = None if flush is None else cool(flush, layer.x)
        members = {name: layer.run(kernel) for name, kernel in layer.dense.items()}
        made.dense[layer.shape] = next(iter(select(members, cooled) if len(members) > 1 else members))
        offered = {c.name: c for c in candidates(layer.site)}
        named = {name: c for name, c in offered.items() if name in made.near} or offered
        if not named:
            raise RuntimeError(f"no sparse kernel here: {[b.unavailable() for b in BACKENDS.values()]}")
        if len(named) == 1:
            made.ours[layer.shape] = next(iter(named.values()))
            continue
        seconds = select({name: layer.run(layer.build(c)) for name, c in named.items()}, cooled)
        best = next(iter(seconds))
        made.ours[layer.shape] = named[best]
        limit = (HOPELESS if flush is None else NEAR) * seconds[best]
        made.near = frozenset(name for name, s in seconds.items() if s <= limit)
    return made


def race(
    layers: Sequence[Layer],
    flush: Flush | None,
    *,
    rounds: int = 9,
    seconds: float = 0.5,
    near: frozenset[str] = frozenset(),
    packed: bool = False,
) -> Result:
    """Race a chain (cold, with ``flush`` before every walk), or one layer again and again (hot).

    ``near``: names of candidates to begin with; none is all. They are chosen with 64 MB read before each run.
    """
    choice = choose(layers, None if flush is None else Flusher(), near)
    candidates_of = [choice.ours[layer.shape] for layer in layers]
    kernels = [layer.build(c) for layer, c in zip(layers, candidates_of, strict=True)]
    dense = {
        "fastest by shape": [layer.dense[choice.dense[layer.shape]] for layer in layers],
        **{name: [layer.dense[name] for layer in layers] for name in layers[0].dense},
    }
    if len(set(choice.dense.values())) == 1:
        del dense["fastest by shape"]
    work = {"ours": walk(layers, kernels), "control": walk(layers, kernels)}
    work |= {name: walk(layers, members) for name, members in dense.items()}
    if layers[0].site.conv is not None:
        work["natural"] = each([lambda k=k, x=layer.x: k(*x) for layer, k in zip(layers, kernels, strict=True)])  # type: ignore[misc]
    middles = [k.products(k.call.rows.lo) for k in kernels if isinstance(k, TokensKernel)]
    if packed and len(middles) == len(kernels):
        work["packed"] = each(middles)
    if len(layers) > 1 and (chain := chained(layers, kernels)) is not None:
        work["laid"] = chain
    if flush is not None:
        results = [k(*layer.x) for layer, k in zip(layers, kernels, strict=True)]
        planes = [0 if r.dim() == 2 else layer.x[0].nbytes + r.nbytes for layer, r in zip(layers, results, strict=True)]
        work["read"] = each([reader(nbytes(k) + p, r.shape) for k, p, r in zip(kernels, planes, results, strict=True)])
        del results
        work["multiply"] = multiplier()
        times = interleave(work, rounds=rounds, warmup=1, flush=flush)
    else:
        times = interleave_for(work, seconds, least=rounds)
    best = min(dense, key=lambda name: times[name].median)
    rows = [layer.site.facts for layer in layers]
    return Result(
        gain=ratio(times[best], times["ours"]),
        control=ratio(times["control"], times["ours"]).value,
        ours=times["ours"],
        dense=times[best],
        dense_name=best,
        kernels=tuple(dict.fromkeys(_short(c) for c in candidates_of)),
        chosen=candidates_of[0].name,
        flops=sum(2.0 * layer.m * f.nonzeros for layer, f in zip(layers, rows, strict=True)),
        dense_flops=sum(2.0 * layer.m * f.elements for layer, f in zip(layers, rows, strict=True)),
        ours_bytes=sum(map(nbytes, kernels)),
        dense_bytes=sum(4 * f.elements for f in rows),
        packed=ratio(times[best], times["packed"]) if "packed" in times else None,
        laid=ratio(times[best], times["laid"]) if "laid" in times else None,
        natural=ratio(times[best], times["natural"]) if "natural" in times else None,
        read=ratio(times[best], times["read"]) if "read" in times else None,
        cycle_s=times["multiply"].median / CYCLES if "multiply" in times else 0.0,
        near=choice.near,
    )


def cool(flush: Flush, x: Sequence[torch.Tensor]) -> Flush:
    """Flush, and bring back what the layer before would have left in the caches."""

    def run() -> None:
        flush()
        for t in x:
            t.sum()
        touch()

    return run


def _short(candidate: Candidate) -> str:
    return f"{candidate.backend.removesuffix('_cpu')} {candidate.encoding}"
