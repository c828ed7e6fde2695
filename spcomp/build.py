"""From captured graphs to the parts of a compiled model: plan the sites, build kernels, compile the rest, guard."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import fx

from spcomp import ops
from spcomp.capture import Captured
from spcomp.check import check, check_int8, dense_error, pattern_of
from spcomp.codegen import inductor
from spcomp.codegen.chains import chained
from spcomp.codegen.cuda_graph import CudaCapturing, Graphed
from spcomp.codegen.dense_int8 import INT8_MEMBERS
from spcomp.codegen.fake import refake
from spcomp.codegen.gather import exact, row_gather
from spcomp.encodings.dense import Dense
from spcomp.errors import CaptureError, PolicyError
from spcomp.kernel import Kernel
from spcomp.options import Options
from spcomp.parts import Program
from spcomp.passes.base import PassContext, Site, run_passes
from spcomp.passes.choose import DENSE, Choice, best_dense_seconds, dense_choice, is_dense
from spcomp.passes.pipelines import LOWER
from spcomp.passes.planned import Planned
from spcomp.passes.propose import Candidate, call_for
from spcomp.passes.tune import Planner
from spcomp.plan import KernelCall, RowRange
from spcomp.planning import Planners
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision, RangeDecision
from spcomp.sparsity.measure import measure
from spcomp.targets.host import release_memory
from spcomp.tolerance import TOLERANCES
from spcomp.writes import written

log = logging.getLogger("spcomp")
PLAIN = frozenset(("dense.mkl", "dense.gemv", "dense.cublas", "dense.cublaslt", "dense.grouped"))
"""Dense members that read the weight as it is."""
INT8 = tuple(DENSE + name for name in INT8_MEMBERS)


@dataclass(eq=False)
class Built:
    """The kernels of one site."""

    slot: ops.SlotKernels
    record: SlotRecord
    calls: tuple[KernelCall, ...]
    decision: LayerDecision
    planned: Planned | None = None
    """What was measured, without the dense program: another layout may ask for another kernel."""


def build_site(planner: Planner, site: Site, options: Options) -> Built:
    """Plan one site, build what was chosen, and check it against the reference."""
    wanted = options.wanted(site.layer) if options.policy != "off" else None
    sparse = options.policy != "off" and (options.selects(site.layer) if wanted is None else not wanted.dense)
    planned = planner.plan(site, sparse=sparse, wanted=wanted)
    if options.policy == "force" and sparse and not planned.choice.sparse:
        raise PolicyError(
            f"compile {site.layer} sparse (policy='force')",
            f"{site.facts.sparsity:.1%} zeros; {planned.choice.reason}",
            "pruning further, a larger memory_budget, or policy='auto'",
        )
    kernels, calls = _kernels(planner, planned)
    error = check(site, [(rows, kernel) for rows, kernel in kernels if not kernel.call.quantize])
    limit = TOLERANCES[site.dtype]
    if (wrong := check_int8(site, kernels).wrong) and options.policy == "force":
        raise PolicyError(f"compile {site.layer} in int8 (policy='force')", wrong, "policy='auto', or quantize=None")
    if wrong:
        planned = replace(planned, choice=in_floating_point(planned.measured, wrong))
        kernels, calls = _kernels(planner, planned)
        error = check(site, kernels)
    if planned.choice.sparse and error > max(limit, 2 * dense_error(planner, site)):
        if options.policy == "force":
            raise PolicyError(
                f"compile {site.layer} sparse (policy='force')", f"an error of {error:.1e}, the bound is {limit:.0e}",
                "policy='auto', which keeps this layer dense",
            )  # fmt: skip
        refused = in_floating_point(planned.measured, f"the sparse kernel's error {error:.1e} exceeds {limit:.0e}")
        planned = replace(planned, choice=refused)
        kernels, calls = _kernels(planner, planned)
        error = check(site, kernels)
    return _built(planner, planned, kernels, calls, error)


def in_floating_point(measured: Mapping[int, Mapping[str, float]], reason: str) -> Choice:
    """Best dense without its int8 members."""
    return dense_choice({m: {n: s for n, s in found.items() if n not in INT8} for m, found in measured.items()}, reason)


def rebuilt(planner: Planner, planned: Planned) -> Built | None:
    """A site with another choice or memory of its weight; None where its kernels miss the tolerance or int8's bound."""
    site = planned.site
    kernels, calls = _kernels(planner, planned)
    if check_int8(site, kernels).wrong:
        return None
    error = check(site, [(rows, kernel) for rows, kernel in kernels if not kernel.call.quantize])
    dense = not planned.choice.sparse
    return _built(planner, planned, kernels, calls, error) if dense or error <= TOLERANCES[site.dtype] else None


def dense_built(planner: Planner, built: Built, planned_site: Site, reason: str) -> Built:
    """The same site served by best dense, whatever was chosen before."""
    planned = planner.plan(planned_site, sparse=False)
    planned = replace(planned, choice=dense_choice(planned.measured, reason))
    kernels, calls = _kernels(planner, planned)
    return _built(planner, planned, kernels, calls, check(planned_site, kernels))


def last_built(planner: Planner, site: Site, reason: str) -> Built:
    """A convolution served by oneDNN with the channels last, whatever is fastest on planes as they are."""
    choice = Choice(((RowRange(0, None), f"{DENSE}channels_last"),), reason, ())
    planned = replace(planner.plan(site, sparse=False), choice=choice)
    kernels, calls = _kernels(planner, planned)
    return _built(planner, planned, kernels, calls, check(site, kernels))


def _kernels(planner: Planner, planned: Planned) -> tuple[list[tuple[RowRange, Kernel]], list[KernelCall]]:
    site = planned.site
    made: list[tuple[RowRange, Kernel]] = []
    calls = []
    for rows, name in planned.choice.ranges:
        if is_dense(name):
            candidate = Candidate(Dense(), name, (), site.weight.nbytes, site.facts.elements)
            assert planned.dense is not None
            kernel = planned.dense.member(name.removeprefix(DENSE))
            call = call_for(site, candidate, rows, planner.target, site.facts.digest)
            calls.append(replace(call, quantize=kernel.call.quantize))
            made.append((rows, kernel))
            continue
        candidate = planned.candidates[name]
        packed = planner.pack(site, candidate)
        call = call_for(site, candidate, _served(rows, site), planner.target, packed.digest)
        made.append((rows, planner.build(site, candidate, call)))
        calls.append(replace(call, rows=rows))
    return made, calls


def _served(rows: RowRange, site: Site) -> RowRange:
    """The rows that really occur in a range: one, if the site is static."""
    if len(site.domains) == 1 and site.domains[0].lo == site.domains[0].hi:
        return site.domains[0]
    return rows


def _built(
    planner: Planner,
    planned: Planned,
    kernels: list[tuple[RowRange, Kernel]],
    calls: list[KernelCall],
    error: float,
) -> Built:
    site, choice = planned.site, planned.choice
    slot = ops.SlotKernels(tuple(r.lo for r, _ in kernels), tuple(k for _, k in kernels), site.inputs, site.pixels)
    packed = {str(c.form): planner.pack(site, c) for c in planned.candidates.values() if c.form in choice.encodings}
    has_dense = any(is_dense(name) for _, name in choice.ranges)
    keep = has_dense or (site.gathered and exact(tuple(packed.values()), site.dtype) is None)
    record = SlotRecord(
        site.slot, site.layer, site.weight_name, site.bias_name, site.epilogue, site.bias, tuple(packed.values()),
        site.weight if keep else None, tuple(site.domains), site.conv, site.scale, site.norm,
        site.zero_inputs,
        site.int8.scale if site.int8 is not None and any(p.dtype == "int8" for p in packed.values()) else None,
        site.dtype,
        site.gathered, site.experts, site.where,
    )  # fmt: skip
    if site.gathered:
        slot = replace(slot, gather=row_gather(record.packed, record.weight, record.dtype))
    ranges = tuple(_range_decision(planner, planned, rows, name) for rows, name in choice.ranges)
    members = {name for _, name in choice.ranges if is_dense(name)}
    copies = bool(members & PLAIN) + ("dense.onednn" in members)
    if site.conv is not None:  # the one that is saved, and the one laid out
        copies = has_dense + bool(members - set(INT8))
    nbytes = sum(p.nbytes for p in packed.values()) + copies * site.weight.nbytes
    nbytes += sum(name in members for name in INT8) * site.facts.elements + (keep > has_dense) * site.weight.nbytes
    found = check_int8(site, kernels)
    decision = LayerDecision(
        layer=site.layer,
        slot=site.slot,
        n=site.n,
        k=site.k,
        dtype=site.dtype,
        zeros=site.facts.sparsity,
        pattern=pattern_of(site),
        encoding=" + ".join(map(str, choice.encodings)) or ("dense int8" if members & set(INT8) else "dense"),
        reason=_removed(site) + choice.reason,
        dense_nbytes=site.weight.nbytes,
        nbytes=nbytes,
        ranges=ranges,
        error=max(error, found.error),
        quantize="int8" if any(c.quantize for c in calls) else "",
        error_limit=found.limit,
        device=planner.title,
    )
    return Built(slot, record, tuple(calls), decision, replace(planned, dense=None))


def _removed(site: Site) -> str:
    """What is gone of a weight and what was kept for its device, in words."""
    gone = f"{site.gone:.0%} of the weight is constant or unread and gone; " if site.gone else ""
    return gone + (f"{site.spared}; " if site.spared else "")


def _range_decision(planner: Planner, planned: Planned, rows: RowRange, name: str) -> RangeDecision:
    inside = [m for m in planned.measured if m in rows and name in planned.measured[m]]
    m = inside[-1] if inside else min(planned.measured, key=lambda p: abs(p - rows.lo))
    seconds = planned.measured[m]
    others = {n: s for n, s in seconds.items() if n != name}
    runner = min(others, key=others.__getitem__, default="")
    site = planned.site
    candidate = planned.candidates.get(name) or Candidate(Dense(), name, (), site.weight.nbytes, site.facts.elements)
    cold = max(0, planner.total_weight_bytes - site.weight.nbytes)
    predicted = planner.model.seconds(call_for(site, candidate, rows, planner.target), m, cold_bytes=cold)
    return RangeDecision(
        rows=str(rows),
        kernel=name,
        runner_up=f"{runner} ({1e6 * others[runner]:.0f} us)" if runner else "",
        measured_us=1e6 * seconds.get(name, float("nan")),
        predicted_us=1e6 * predicted,
        dense_us=1e6 * best_dense_seconds(seconds),
        at_rows=m,
        source=planned.sources.get(m, ""),
    )


def lower(gm: fx.GraphModule, captured: Captured, ctx: PassContext, tensors: dict[str, torch.Tensor]) -> Program:
    """Splice the kernels in and lift what is left; ``tensors`` collects the lifted ones."""
    gm, names = spliced(gm, captured.constants, ctx, tensors)
    hints = captured.signature.sizes(captured.flat)
    return Program(captured.signature, gm, tuple(names), gm, "eager", hints=hints)


def spliced(
    gm: fx.GraphModule, fixed: frozenset[str], ctx: PassContext, tensors: dict[str, torch.Tensor]
) -> tuple[fx.GraphModule, list[str]]:
    """The graph with kernels in it, and the names in ``tensors`` of what it lifted; ``fixed``: names of constants
    that are no state of the model."""
    gm = run_passes(LOWER, gm, ctx)
    names = []
    for name, tensor in gm.meta["lifted"].items():
        if name in fixed:
            name = f"_{name}"  # two programs may number different ones alike
            while name in tensors and not same(tensors[name], tensor):
                name += "_"
        tensors.setdefault(name, tensor.detach())
        names.append(name)
    for site in ctx.sites.values():
        for name, tensor in site.constants.items():
            tensors.setdefault(name, tensor)  # folded away, but part of the model's state
    return gm, names


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two constants are one."""
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def compile_rest(
    program: Program,
    tensors: Mapping[str, torch.Tensor],
    engine: str,
    *,
    faked: bool = False,
    gpus: Sequence[str] = (),
    into: frozenset[int] = frozenset(),
) -> None:
    """Hand the program's graph to Inductor, convolutions in chains; what does not work stays eager and says why.

    ``faked``: its nodes carry fresh fake values already (see :func:`~spcomp.codegen.fake.refake`). ``gpus``: the
    CUDA devices that it is for: Inductor then tries all it has for every product, and a program of static sizes on one
    GPU becomes a CUDA graph. ``into``: slots whose kernels write to memory that Inductor plans.
    """
    _compile_rest(program, tensors, engine, faked, bool(gpus), into)
    if len(gpus) == 1 and not program.signature.symbols and not written(program) and _wholly_on(program, gpus[0]):
        program.run = Graphed(program.run, len(program.lifted), CudaCapturing(gpus[0]))


def _wholly_on(program: Program, gpu: str) -> bool:
    """Whether everything a program is given and computes is on one GPU: a graph would keep what the CPU made once."""
    tensors = [n for n in program.gm.graph.nodes if isinstance(n.meta.get("val"), torch.Tensor)]
    given = {id(n) for n in [n for n in program.gm.graph.nodes if n.op == "placeholder"][: len(program.lifted)]}
    return all(str(n.meta["val"].device) == gpu for n in tensors if id(n) not in given)


def _compile_rest(
    program: Program,
    tensors: Mapping[str, torch.Tensor],
    engine: str,
    faked: bool,
    gpu: bool,
    into: frozenset[int],
) -> None:
    program.gm.meta.pop("lifted", None)
    if engine == "eager":
        program.note = "asked for"
        return
    reason = inductor.unavailable_on_gpu() if gpu else inductor.unavailable()
    if reason is None:
        lifted = [tensors[name] for name in program.lifted]
        try:
            if not faked:
                refake(program.gm, lifted, program.signature, program.hints)
            graph = inductor.planned(program.gm if gpu else chained(program.gm), into)
            program.run = inductor.compile_graph(graph, inductor.ON_GPU if gpu else {})
            program.engine = "inductor"
            return
        except Exception as error:  # Inductor raises anything; eager serves and explain() says why
            reason = (
                f"Inductor failed: {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
            )
    if engine == "inductor":
        raise CaptureError("compile the graph with Inductor", reason, "engine='auto', which falls back to eager")
    log.warning("running the graph eagerly: %s", reason)
    program.note = reason


def site_from(record: SlotRecord, weight: torch.Tensor, bias: torch.Tensor | None) -> Site:
    """A site to plan again, from a slot that was compiled before."""
    facts = measure(weight, negative_zeros=False)
    return Site(
        record.slot, record.layer, weight, bias, record.epilogue, facts, record.weight_name, record.bias_name,
        list(record.domains), conv=record.conv, scale=record.scale, norm=record.norm,
        zero_inputs=record.zero_inputs, gathered=record.gathered, where=record.where,
        experts=record.experts,
    )  # fmt: skip


def build_all(
    sites: Sequence[Site],
    options: Options,
    planners: Planners,
    progress: Callable[[str], None] | None = None,
    left: frozenset[int] = frozenset(),
) -> list[Built]:
    """Plan and build every site, in slot order; those in ``left`` are dense whatever the options say."""
    off = replace(options, policy="off")
    built = []
    for site in sites:
        if progress is not None:
            progress(site.layer)
        built.append(build_site(planners.of(site), site, off if site.slot in left else options))
        planners.keep({id(p) for b in built for p in b.record.packed})
        release_memory()  # candidates that lost leave holes of a weight's size in the heap
    return built
