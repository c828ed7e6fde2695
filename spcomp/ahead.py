"""Tune a model before it is compiled: time every layer at every row count that ``compile`` would ask about.

Passes over the layers follow one another until one of them times nothing: then a compilation times no layer either.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spcomp.api import captures
from spcomp.build import build_all, dense_built
from spcomp.capture import Captured, Example, check_model, from_exported
from spcomp.codegen.dense_conv import conv_members
from spcomp.cost.database import TuningDatabase
from spcomp.errors import InputError, StateError
from spcomp.laying import time_ahead
from spcomp.make import analysed
from spcomp.options import Options
from spcomp.passes.base import PassContext, Site
from spcomp.placing import Placing
from spcomp.plan import RowRange
from spcomp.planning import make_planner, planners_for
from spcomp.targets.device import devices_found
from spcomp.targets.host import release_memory

log = logging.getLogger("spcomp")
MOST_PASSES = 8
Say = Callable[[str], None]


@dataclass(frozen=True)
class Ahead:
    """What tuning ahead did."""

    layers: int
    passes: int
    """Over all layers, the last of which timed nothing."""
    timed: int
    """Kernel times that were kept."""
    settled: bool
    """Whether a pass timed nothing; if not, a compilation may still time something."""


def tune_ahead(
    model: nn.Module | torch.export.ExportedProgram,
    *examples: Any,
    options: Options,
    rows: Sequence[int] = (),
    progress: Say | None = None,
) -> Ahead:
    """Fill the cache and the database with the times that compiling ``model`` with these options asks for.

    Args:
        model, examples: as for :func:`spcomp.compile`; sizes that differ between two examples are dynamic, and tuned
            at both edges of every row bucket.
        options: of the compilation to come; ``tune`` is taken to be ``measure``.
        rows: further row counts; linear layers are also tuned as if compiled for each of them alone.
        progress: called with a line of text at every step.

    Raises:
        InputError: no example, or a row count below 1.
        StateError: the cache folder cannot be written.
    """
    if any(m < 1 for m in rows):
        raise InputError("tune ahead", f"the row counts {', '.join(map(str, rows))}", "row counts of at least 1")
    if not isinstance(model, torch.export.ExportedProgram) and not examples:
        raise InputError("tune ahead", "no example input", "an example for each size that is to be tuned")
    options = replace(options, tune="measure")
    say = progress or (lambda line: log.info("%s", line))
    folder = make_planner(options, 1).database.folder
    before = kept = _kept(folder)
    for count in range(1, MOST_PASSES + 1):
        say(f"pass {count}")
        sites = _pass(_captured(model, examples), options, rows, say)
        now = _kept(folder)
        if now == kept:
            if now == 0 and sites:
                raise StateError("tune ahead", f"nothing was kept in {folder}", "a cache folder that can be written")
            return Ahead(len(sites), count, now - before, True)
        kept = now
    return Ahead(len(sites), MOST_PASSES, kept - before, False)


def _kept(folder: Path) -> int:
    """Lines that were measured here, on any device."""
    return sum(path.read_bytes().count(b"\n") for path in TuningDatabase(folder).own_files())


def _captured(model: nn.Module | torch.export.ExportedProgram, examples: Sequence[Any]) -> list[Captured]:
    if isinstance(model, torch.export.ExportedProgram):
        return [from_exported(model)]
    return captures(check_model(model), [Example.of(e) for e in examples], None)


def _at(site: Site, m: int) -> Site:
    """The site as a compilation for ``m`` rows alone finds it: zeros of its input count at one row."""
    return replace(site, domains=[RowRange(m, m)], zero_inputs=site.zero_inputs if m == 1 else None)


def _pass(captured: Sequence[Captured], options: Options, rows: Sequence[int], say: Say) -> list[Site]:
    """Everything of a compilation that times layers: merging, planning, layouts of convolutions, and the dense program
    that guards."""
    ctx, placing = PassContext(devices=options.devices or devices_found), Placing()
    analysed([placing.brought_home(c) for c in captured], options, ctx, placing, say)
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    options.check_layers([s.layer for s in sites])
    planners = planners_for(options, sites, placed=placing.there)
    built = build_all(sites, options, planners, lambda layer: say(f"planning {layer}"))
    for site, b in zip(sites, built, strict=True):
        if b.decision.sparse or (site.conv is not None and "channels_last" in conv_members(site.dtype)):
            dense_built(planners.of(site), b, site, "timed ahead")
    home = [(s, b) for s, b in zip(sites, built, strict=True) if s.conv is not None and planners.device(s).host]
    if home:
        say("timing convolutions in layouts")
        time_ahead([b for _, b in home], planners.of(home[0][0]))
    for m in rows:
        fixed = [_at(s, m) for s in sites if s.conv is None]
        say(f"planning {len(fixed)} layers at {m} rows")
        build_all(fixed, options, planners_for(options, fixed, placed=placing.there))
    release_memory()
    return sites
