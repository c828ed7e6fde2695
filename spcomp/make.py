"""From captured programs to the parts of a compiled model: analyse, merge, plan, build, lower, compile, guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx

from spcomp import guard as guarding
from spcomp.aside import Aside
from spcomp.assemble import assemble
from spcomp.build import Built, build_all, compile_rest, dense_built, lower
from spcomp.capture import Captured
from spcomp.cost.cache import default_folder
from spcomp.dense_program import best_dense_program
from spcomp.device_program import Model, make_device_parts
from spcomp.direct import call_directly
from spcomp.errors import WeightError
from spcomp.gathering import gather_where_found
from spcomp.merging import worth_merging
from spcomp.options import Options
from spcomp.parts import Parts, Program
from spcomp.passes.base import PassContext, Site, run_passes
from spcomp.passes.flatten import Flatten
from spcomp.passes.infer_activations import InferActivations
from spcomp.passes.merge_siblings import MergeSiblings
from spcomp.placing import Placing
from spcomp.planning import make_planner, planners_for
from spcomp.report.debug import Dump
from spcomp.source import Source, collected, constants_read
from spcomp.state import state_of
from spcomp.targets.device import devices_found
from spcomp.targets.host import release_memory
from spcomp.tiling import with_tiles
from spcomp.whole import lay_down

Say = Callable[[str], None]


@dataclass(eq=False)
class Analysed:
    """The graphs of a model after the passes, and what they were before."""

    graphs: list[fx.GraphModule]
    sources: list[Source]
    read: dict[tuple[object, ...], int]
    """Identities and bytes of the constants that the captured programs read."""

    @property
    def nbytes(self) -> int:
        return sum(self.read.values())


def analysed(captured: Sequence[Captured], options: Options, ctx: PassContext, placing: Placing, say: Say) -> Analysed:
    """Run the passes on every program, and merge layers that are faster together."""
    found = Analysed([], [], {})
    for i, program in enumerate(captured):
        say(f"analysing program {i + 1} of {len(captured)}")
        gm = Flatten().run(program.gm, ctx)
        source = Source.of(gm, program.constants, shrink=options.shrink)
        found.sources.append(source)
        found.read |= constants_read(gm)
        found.graphs.append(source.analysed(gm, ctx))
    groups = worth_merging(found.graphs, ctx, options, placing, say)
    if groups:
        for i, gm in enumerate(found.graphs):
            found.sources[i].merged = groups
            found.graphs[i] = run_passes((MergeSiblings(groups),), gm, ctx)
        collected(found.graphs, ctx)
    planners = planners_for(options, list(ctx.sites.values()))
    if all(planners.device(s).host for s in ctx.sites.values()):  # its kernels that skip zero inputs are the CPU's
        for gm, program in zip(found.graphs, captured, strict=True):
            run_passes((InferActivations(program.flat),), gm, ctx)
    return found


def make_parts(captured: Sequence[Captured], options: Options, say: Say, placing: Placing | None = None) -> Parts:
    """Analyse every program, plan and build every layer once, lower, compile the rest, guard.

    ``placing``: where constants that were brought to the CPU already belong.
    """
    dump = Dump(options.debug_dir) if options.debug_dir is not None else None
    ctx = PassContext(dump=dump.graph if dump is not None else None, devices=options.devices or devices_found)
    placing = Placing() if placing is None else placing
    captured = [placing.brought_home(c) for c in captured]
    found = analysed(captured, options, ctx, placing, say)
    if not ctx.sites and options.policy == "force":
        raise WeightError("compile sparse (policy='force')", "no layer with a constant weight", "policy='auto'")
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    options.check_layers([s.layer for s in sites])
    planners = planners_for(options, sites, placed=placing.there)
    built = build_all(sites, options, planners, lambda layer: say(f"planning {layer}"))
    ctx.gathered = gather_where_found(ctx.tables, sites, built, planners)
    model = Model(captured, sites, built, options, placing, planners)
    ctx.left = model.left()
    rivals = model.rivals(found.graphs, ctx)
    tensors: dict[str, Tensor] = {}
    programs = [lower(gm, c, ctx, tensors) for gm, c in zip(found.graphs, captured, strict=True)]
    for source, made in zip(found.sources, programs, strict=True):
        source.text = str(made.gm.graph)
    found.graphs.clear()
    if model.on_device:
        texts = {} if rivals is None else {id(p): str(p.gm.graph) for p in rivals.programs}
        parts = make_device_parts(model, programs, tensors, rivals, say)
        for source, handed_out in zip(found.sources, parts.programs, strict=True):
            source.text = texts.get(id(handed_out), source.text)
    else:
        for i, lowered in enumerate(programs):
            say(f"compiling the rest of program {i + 1} of {len(programs)}")
            compile_rest(lowered, tensors, options.engine)
        flats = [c.flat for c in captured]
        parts = _fastest(programs, built, sites, tensors, flats, options, say)
        if options.guard and options.engine == "auto":
            lay_down(parts, flats)
            call_directly(parts, flats)
    release_memory()  # the dense program that lost
    aside = Aside(options.cache_dir or default_folder())
    parts.state = state_of(captured[0].state, set(found.read), sites, tensors, ctx.origins, aside)
    parts.planned_for = options.devices
    parts.notes += tuple(f"{name}: experts stay dense: {why}" for name, why in ctx.unserved.items())
    if len(ctx.origins) or model.on_device:  # which layers a graph of a GPU leaves to torch depends on the weights
        parts.sources = tuple(found.sources)
    if len(ctx.origins):
        parts.whole_nbytes = found.nbytes
    if dump is not None:
        dump.kernels(parts.table)
    return parts


def _fastest(
    natural: Sequence[Program],
    built: list[Built],
    sites: Sequence[Site],
    tensors: dict[str, Tensor],
    flats: Sequence[Sequence[Any]],
    options: Options,
    say: Say,
) -> Parts:
    """With activations laid out as is fastest; the dense program where nothing sparse is faster."""
    programs = list(natural)
    planner = make_planner(options, sum(s.weight.nbytes for s in sites))
    if options.guard and options.policy != "off":
        for i, (made, flat) in enumerate(zip(natural, flats, strict=True)):
            laid = with_tiles(
                made, built, planner, tensors, flat, alone=len(natural) == 1, laying=options.engine == "auto"
            )
            programs[i], built = laid or (made, built)
    parts = assemble(programs, built, tensors, options)
    if not options.guard or options.policy == "force":
        return parts
    say("timing the whole model against the dense program")
    alternatives = [
        b if not b.decision.sparse else dense_built(planner, b, s, "the whole model was not faster sparse")
        for b, s in zip(built, sites, strict=True)
    ]
    dense, alternatives = best_dense_program(
        planner, tuple(natural), alternatives, sites, tensors, flats, options.engine
    )
    if not any(b.decision.sparse for b in built):
        return assemble(dense, alternatives, tensors, options)
    return guarded(parts, dense, alternatives, flats, options)


def guarded(
    parts: Parts,
    dense: Sequence[Program],
    alternatives: Sequence[Built],
    flats: Sequence[Sequence[Any]],
    options: Options,
) -> Parts:
    """The parts with what the guard found, or those of the dense program where it is faster."""
    worst, speedups = guarding.slowest_speedup(parts, tuple(a.slot for a in alternatives), flats, dense)
    if worst < guarding.MARGIN:
        note = f"guard: sparse was {worst:.2f}x of dense"
        return assemble(dense, alternatives, parts.tensors, options, (note,))
    shown = ", ".join(f"{s:.2f}x" for s in speedups)
    parts.notes = (f"guard: {shown} of the best dense program, whole model, example inputs",)
    return parts
