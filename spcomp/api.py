"""The flow, top to bottom: capture, analyse, plan, build, compile the rest, guard."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from spcomp import guard as guarding
from spcomp.build import (
    Built,
    analyse,
    assemble,
    build_all,
    compile_rest,
    constants_read,
    dense_built,
    flat,
    lower,
    make_planner,
)
from spcomp.capture import Captured, Example, capture, check_model, from_exported
from spcomp.compiled import CompiledModule, Parts, Program
from spcomp.dense_program import best_dense_program
from spcomp.errors import InputError, WeightError
from spcomp.gathering import gather_where_found
from spcomp.options import Engine, Options, Policy
from spcomp.passes.base import PassContext
from spcomp.report.debug import Dump
from spcomp.signature import Constant
from spcomp.source import Source
from spcomp.state import state_of
from spcomp.targets.host import release_memory
from spcomp.tiling import with_tiles

log = logging.getLogger("spcomp")
MAX_SYMBOLS = 2
"""Dynamic sizes for which a program for "this one is 1" is captured too."""


def compile(
    model: nn.Module | torch.export.ExportedProgram,
    *examples: Any,
    dynamic_shapes: Any = None,
    policy: Policy = "auto",
    memory_budget: float = 1.0,
    include: str | Sequence[str] = ("*",),
    exclude: str | Sequence[str] = (),
    encodings: str | Sequence[str] | None = None,
    layers: Mapping[str, str] | None = None,
    engine: Engine = "auto",
    guard: bool = True,
    quantize: str | None = None,
    shrink: bool = True,
    cache_dir: str | Path | None = None,
    debug_dir: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> CompiledModule:
    """Compile a model with zeros in its weights for this CPU.

    Args:
        model: an ``nn.Module`` in eval mode, or an ``ExportedProgram``.
        examples: inputs to capture with: a tensor, a tuple of arguments, or a dict of keyword arguments. A second
            example whose sizes differ makes those sizes dynamic. Without any, the first call captures.
        dynamic_shapes: ``torch.export``'s own, instead of a second example.
        policy: ``"auto"`` keeps a layer dense where sparse does not pay; ``"force"`` raises there; ``"off"`` is dense.
        memory_budget: bytes the kernels of one layer may keep, as a multiple of its dense bytes (up to 1.0, also of
            64 KiB for pages and tables). Above 1.0 only speed decides among what fits.
        include, exclude: globs over module names: which layers may become sparse.
        encodings: names of the encodings to consider (``"csr"``, ``"block"``, ``"nm"``); None is all.
        layers: what single layers should be, by globs over module names: ``{"body.*": "block 8x8", "head": "dense"}``.
            An encoding by its name (``csr``: any parameters) or as patterns and encodings print (``nm 2:4``). The
            first glob that matches counts, and goes before ``include``, ``exclude`` and ``encodings``. Such a layer is
            that or dense: with ``"auto"`` where that form would be slower, with ``"force"`` never.
        engine: what runs the rest of the graph: ``"inductor"``, ``"eager"``, or ``"auto"``: Inductor if it works.
        guard: time the compiled model against the dense program on the example and hand out the faster.
        quantize: ``"int8"`` lets linear layers compute in int8 where that is faster than in floating point: weights
            with a scale a row, inputs with a scale a token, both rounded. ``explain()`` gives each layer's error and
            its bound; such a layer keeps its rounded weight alone. None, the default, never rounds anything.
        shrink: take rows, columns, channels and heads that are constant or that nobody reads out of the graph.
        cache_dir: where tunings are remembered (default ``$SPCOMP_CACHE_DIR`` or ``~/.cache/spcomp``; compiled kernels
            are kept in the default folder, whatever this says).
        debug_dir: dump the graph after every pass, and every kernel's source, here.
        progress: called with a line of text at every step.

    Returns:
        A :class:`CompiledModule`, called like the original.

    Raises:
        InputError, StateError, WeightError, CaptureError, PolicyError: each says what was found and what to try.
    """
    options = Options(
        policy=policy,
        memory_budget=memory_budget,
        include=_names(include),
        exclude=_names(exclude),
        encodings=None if encodings is None else frozenset(_names(encodings)),
        layers=_pairs(layers),
        engine=engine,
        guard=guard,
        quantize=quantize,
        shrink=shrink,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        debug_dir=None if debug_dir is None else Path(debug_dir),
    )
    say = progress or (lambda line: log.info("%s", line))
    if isinstance(model, torch.export.ExportedProgram):
        if examples or dynamic_shapes is not None:
            raise InputError("compile an exported program", "further examples", "the program alone: it has its own")
        return CompiledModule(build_parts([from_exported(model)], options, say))
    checked = check_model(model)
    if not examples:

        def at_first_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parts:
            given = Example(args, dict(kwargs))
            return build_parts(captures(checked, [given], dynamic_shapes), options, say)

        return CompiledModule(None, build=at_first_call, original=checked)
    programs = captures(checked, [Example.of(e) for e in examples], dynamic_shapes)
    return CompiledModule(build_parts(programs, options, say), original=checked)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """A string is one name, not its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _pairs(layers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    if layers is not None and not isinstance(layers, Mapping):
        found = f"layers is a {type(layers).__name__}"
        raise InputError("choose encodings by layers", found, "a dict, such as {'encoder.*': 'block 8x8'}")
    return tuple((layers or {}).items())


def captures(model: nn.Module, examples: Sequence[Example], dynamic_shapes: Any) -> list[Captured]:
    """The programs of a model: the captured one, and, since torch.export takes sizes 0 and 1 for special, one more for
    every dynamic size (or all of them) being 1."""
    main = capture(model, examples, dynamic_shapes)
    symbols = list(main.signature.symbols)
    if not symbols:
        return [main]
    if len(symbols) <= MAX_SYMBOLS:
        subsets = [s for r in range(1, len(symbols) + 1) for s in itertools.combinations(symbols, r)]
    else:
        subsets = [(s,) for s in symbols] + [tuple(symbols)]
    found = [main]
    for ones in subsets:
        if any(main.signature.symbols[s].lo > 2 for s in ones):
            continue
        example = _with_ones(main, frozenset(ones))
        if example is None:
            continue
        second = _with_ones(main, frozenset(ones), grow=True) if len(ones) < len(symbols) else None
        found.append(capture(model, [example] if second is None else [example, second]))
    return found


def _with_ones(main: Captured, ones: frozenset[str], *, grow: bool = False) -> Example | None:
    """The example with some dynamic sizes cut to 1 (and, for ``grow``, the others one larger); None if that is not
    a matter of cutting."""
    flat: list[Any] = []
    for leaf, value in zip(main.signature.leaves, main.flat, strict=True):
        if isinstance(leaf, Constant):
            flat.append(value)
            continue
        for d, size in enumerate(leaf.shape):
            if isinstance(size, int):
                continue
            if size not in main.signature.symbols:
                return None
            if size in ones:
                value = value.narrow(d, 0, 1)
            elif grow:
                value = torch.cat([value, value.narrow(d, 0, 1)], dim=d)
        flat.append(value.clone())
    args, kwargs = torch.utils._pytree.tree_unflatten(flat, main.signature.in_tree)
    return Example(tuple(args), dict(kwargs))


def build_parts(captured: Sequence[Captured], options: Options, say: Callable[[str], None]) -> Parts:
    """Analyse every program, plan and build every layer once, lower, compile the rest, guard."""
    dump = Dump(options.debug_dir) if options.debug_dir is not None else None
    ctx = PassContext(dump=dump.graph if dump is not None else None)
    graphs: list[fx.GraphModule] = []
    sources: list[Source] = []
    read: dict[tuple[object, ...], int] = {}
    for i, program in enumerate(captured):
        say(f"analysing program {i + 1} of {len(captured)}")
        sources.append(Source.of(flat(program, ctx), program.constants, shrink=options.shrink))
        read |= constants_read(program.gm)
        graphs.append(analyse(program, ctx, shrink=options.shrink))
    if not ctx.sites and options.policy == "force":
        raise WeightError("compile sparse (policy='force')", "no layer with a constant weight", "policy='auto'")
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    options.check_layers([s.layer for s in sites])
    built = build_all(sites, options, lambda layer: say(f"planning {layer}"))
    ctx.gathered = gather_where_found(ctx.tables, sites, built)
    tensors: dict[str, torch.Tensor] = {}
    programs = [lower(gm, c, ctx, tensors) for gm, c in zip(graphs, captured, strict=True)]
    for source, made in zip(sources, programs, strict=True):
        source.text = str(made.gm.graph)
    graphs.clear()
    for i, lowered in enumerate(programs):
        say(f"compiling the rest of program {i + 1} of {len(programs)}")
        compile_rest(lowered, tensors, options.engine)
    natural = tuple(programs)
    if options.guard and options.policy != "off":
        table = tuple(b.slot for b in built)
        programs = [with_tiles(made, table, tensors, c.flat) or made for made, c in zip(natural, captured, strict=True)]
    parts = assemble(programs, built, tensors, options)
    if options.guard and options.policy != "force":
        say("timing the whole model against the dense program")
        planner = make_planner(options, sum(s.weight.nbytes for s in sites))
        alternatives = [
            b if not b.decision.sparse else dense_built(planner, b, s, "the whole model was not faster sparse")
            for b, s in zip(built, sites, strict=True)
        ]
        flats = [c.flat for c in captured]
        dense, alternatives = best_dense_program(planner, natural, alternatives, sites, tensors, flats, options.engine)
        if not any(b.decision.sparse for b in built):
            parts = assemble(dense, alternatives, tensors, options)
        else:
            parts = guarded(parts, dense, alternatives, flats, options)
        del alternatives, planner
    release_memory()  # the dense program that lost
    parts.state = state_of(captured[0].state, set(read), sites, tensors, ctx.origins)
    if len(ctx.origins):
        parts.sources = tuple(sources)
        parts.whole_nbytes = sum(read.values())
    if dump is not None:
        dump.kernels(parts.table)
    return parts


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
