"""``compile``: capture a model, and make a compiled one of its programs (:mod:`spcomp.make`)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spcomp.capture import Captured, Example, capture, check_device, check_model, from_exported
from spcomp.compiled import CompiledModule
from spcomp.errors import InputError
from spcomp.make import make_parts
from spcomp.options import Engine, Options, Policy, Target, Tune
from spcomp.parts import Parts
from spcomp.signature import Constant
from spcomp.targets.device import Devices

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
    target: Target | Devices = "auto",
    tune: Tune = "measure",
    cache_dir: str | Path | None = None,
    debug_dir: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> CompiledModule:
    """Compile a model with zeros in its weights for the CPU or the GPUs that it is on.

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
        quantize: ``"int8"`` lets linear layers and convolutions compute in int8 where that is faster than in floating
            point: weights with a scale a row (output channel), inputs with a scale a token (image), both rounded.
            ``explain()`` gives each layer's error and its bound; such a layer keeps its rounded weight alone. None,
            the default, never rounds anything.
        shrink: take rows, columns, channels and heads that are constant or that nobody reads out of the graph.
        target: what the compiled model runs on. ``"auto"`` is where its weights are, each layer on its weight's device;
            ``"cpu"`` and ``"cuda"`` raise where weights are elsewhere, or there is no GPU. Or a function (name of a
            weight, torch device) -> :class:`~spcomp.targets.device.Device`, for tests and machines of one's own.
        tune: ``"measure"`` times the candidates of every layer whose case is not in the cache or an imported file;
            ``"reuse"`` takes the times of the nearest sizes that were timed on this machine, scaled by the cost model,
            and times where there are none near; ``"off"`` times nothing and believes the cost model. ``explain()``
            says which times are estimates, and ``guard`` is another matter.
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
        target="auto" if callable(target) else target,
        devices=target if callable(target) else None,
        tune=tune,
        cache_dir=None if cache_dir is None else Path(cache_dir),
        debug_dir=None if debug_dir is None else Path(debug_dir),
    )
    say = progress or (lambda line: log.info("%s", line))
    if isinstance(model, torch.export.ExportedProgram):
        if examples or dynamic_shapes is not None:
            raise InputError("compile an exported program", "further examples", "the program alone: it has its own")
        program = from_exported(model)
        for name, tensor in program.state.items():
            check_device(name, tensor, options.target)
        return CompiledModule(make_parts([program], options, say))
    checked = check_model(model, options.target)
    if not examples:

        def at_first_call(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parts:
            given = Example(args, dict(kwargs))
            return make_parts(captures(checked, [given], dynamic_shapes), options, say)

        return CompiledModule(None, build=at_first_call, original=checked)
    programs = captures(checked, [Example.of(e) for e in examples], dynamic_shapes)
    return CompiledModule(make_parts(programs, options, say), original=checked)


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
