"""The flow: capture, find the layers, price each kind of layer in each pattern, add up."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spcomp.capture import Captured, Example, capture, check_model, from_exported
from spcomp.errors import InputError, WeightError
from spcomp.forecast.layers import Kind, kinds_of, sites_of
from spcomp.forecast.patterns import ZEROS, Family, families, grid
from spcomp.forecast.price import Priced, predict, price
from spcomp.options import Options
from spcomp.passes.choose import best_dense_seconds
from spcomp.passes.tune import Planner
from spcomp.planning import make_planner
from spcomp.report.prospect import LayerProspects, ModelProspect
from spcomp.report.what_if import WhatIf
from spcomp.sparsity.pattern import Pattern
from spcomp.targets.host import host_cpu, release_memory

log = logging.getLogger("spcomp")


def what_if(
    model: nn.Module | torch.export.ExportedProgram,
    *examples: Any,
    target: str = "auto",
    patterns: str | Pattern | Sequence[str | Pattern] | None = None,
    zeros: float | Sequence[float] = ZEROS,
    measure: bool = False,
    include: str | Sequence[str] = ("*",),
    exclude: str | Sequence[str] = (),
    memory_budget: float = 1.0,
    cache_dir: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> WhatIf:
    """What zeros would bring, layer by layer and pattern by pattern, before anyone prunes. The model is not changed.

    Every linear layer and convolution that :func:`spcomp.compile` would find is looked at with the row counts that the
    examples bring; layers that are alike (sizes, geometry, epilogue, dtype, row counts) are looked at once. A copy of
    the first one's own weight is pruned by magnitude, as :func:`spcomp.sparsify` would, so positions are real; then its
    encodings are chosen as ``compile`` would choose them. Zeros that it has already are the first to be pruned, and
    count. Accuracy is not looked at.

    The figures of all layers together are sums over those layers, dense where sparse does not pay. What the rest of the
    model takes is unknown here, so the whole model gains less than they say.

    Args:
        model: an ``nn.Module`` in eval mode, or an ``ExportedProgram`` (which has its example).
        examples: inputs as for ``compile``; each is a case of its own, captured with its sizes as they are.
        target: ``"auto"``, or the name of this host's target.
        patterns: ``"unstructured"``, ``"nm 2:4"``, ``"block 8x8"``, ... or ``NM`` and ``Block``; None: eight of them.
        zeros: shares of zeros between 0 and 1 (of blocks, for block patterns); N:M has its own.
        measure: pack and time the promising candidates against best dense on this machine (seconds for every layer and
            pattern; remembered in the tuning cache). Without it both times are the analytic cost model's.
        include, exclude: globs over module names: which layers to look at.
        memory_budget: as for ``compile``.
        cache_dir: where tunings and measured peaks are remembered, as for ``compile``.
        progress: called with a line of text at every step.

    Returns:
        A :class:`~spcomp.report.what_if.WhatIf` with origin ``estimated`` or ``measured``.

    Raises:
        InputError: an unknown pattern or target, zeros outside (0, 1), no example, globs that leave no layer.
        StateError: the model is in training mode.
        WeightError: it has no linear layer or convolution with a constant weight.
        CaptureError: ``torch.export`` cannot capture it.
    """
    looked = families(patterns)
    shares = grid(zeros)
    options = Options(
        memory_budget=memory_budget,
        include=(include,) if isinstance(include, str) else tuple(include),
        exclude=(exclude,) if isinstance(exclude, str) else tuple(exclude),
        cache_dir=None if cache_dir is None else Path(cache_dir),
    )
    _check_target(target)
    say = progress or (lambda line: log.info("%s", line))
    say("capturing the model")
    kinds = _kinds(_captured(model, examples), options)
    weights = list({k.weight.data_ptr(): k.site.weight for k in kinds}.values())
    planner = make_planner(options, sum(k.nbytes for k in kinds), weights)
    layers = []
    for kind in kinds:
        priced = []
        for family in looked:
            for share in family.shares(shares):
                say(f"{kind.names[0]}: {family} at {share:.4g} zeros")
                priced.append(price(planner, kind, family, share, timed=measure))
        layers.append(_layer(planner, kind, priced))
        release_memory()
    return WhatIf(
        origin="measured" if measure else "estimated",
        target=planner.target,
        host=host_cpu().model,
        threads=torch.get_num_threads() if measure else 1,
        patterns=tuple(map(str, looked)),
        zeros=shares,
        layers=tuple(layers),
        model=tuple(_model(kinds, layers, f, z) for f in looked for z in f.shares(shares)),
    )


def _check_target(target: str) -> None:
    here = host_cpu().target
    if target not in ("auto", here):
        raise InputError(f"look ahead for the target {target!r}", f"this machine is {here}", f"'auto' or {here!r}")


def _captured(model: nn.Module | torch.export.ExportedProgram, examples: Sequence[Any]) -> list[Captured]:
    if isinstance(model, torch.export.ExportedProgram):
        if examples:
            raise InputError("look ahead for an exported program", "further examples", "the program alone")
        return [from_exported(model)]
    checked = check_model(model, "cpu")
    if not examples:
        raise InputError(
            "look ahead for a model", "no example input", "spcomp.what_if(model, torch.randn(1, 128, 768))"
        )
    return [capture(checked, [Example.of(example)]) for example in examples]


def _kinds(captured: Sequence[Captured], options: Options) -> list[Kind]:
    found = sites_of(captured)
    if not found:
        raise WeightError(
            "look ahead for a model", "no linear layer or convolution with a constant weight in it",
            "a model with nn.Linear or nn.Conv layers (one group) of float32, bfloat16 or float16",
        )  # fmt: skip
    chosen = [(site, calls) for site, calls in found if options.selects(site.layer)]
    if not chosen:
        names = ", ".join(site.layer for site, _ in found[:5])
        raise InputError("look ahead for a model", "include and exclude leave no layer", f"globs for {names}")
    return kinds_of(chosen)


def _layer(planner: Planner, kind: Kind, priced: Sequence[Priced]) -> LayerProspects:
    site = kind.site
    beside = [p.dense_seconds for p in priced if p.dense_seconds]
    if not beside:  # no pattern fits the layer, so nothing was timed
        _, seconds = predict(planner, site)
        beside = [tuple(best_dense_seconds(seconds[m]) for m in kind.row_counts)]
    return LayerProspects(
        layers=kind.names,
        n=site.n,
        k=site.k,
        dtype=site.dtype,
        conv="" if site.conv is None else str(site.conv),
        zeros=site.facts.sparsity,
        row_counts=kind.row_counts,
        dense_us=tuple(1e6 * statistics.median(times) for times in zip(*beside, strict=True)),
        dense_nbytes=site.weight.nbytes,
        prospects=tuple(p.prospect for p in priced),
    )


def _model(kinds: Sequence[Kind], layers: Sequence[LayerProspects], family: Family, zeros: float) -> ModelProspect:
    """All layers together, each sparse where that pays."""
    cases = range(len(kinds[0].calls))
    dense, sparse, nbytes, paying = [0.0 for _ in cases], [0.0 for _ in cases], 0.0, 0
    for kind, layer in zip(kinds, layers, strict=True):
        prospect = layer.at(str(family), zeros)
        pays = prospect is not None and prospect.pays
        speedups = prospect.speedups if prospect is not None and pays else tuple(1.0 for _ in layer.row_counts)
        for case in cases:
            for m, us, speedup in zip(layer.row_counts, layer.dense_us, speedups, strict=True):
                dense[case] += kind.calls[case][m] * us
                sparse[case] += kind.calls[case][m] * us / speedup
        share = prospect.nbytes / layer.dense_nbytes if prospect is not None and pays and layer.dense_nbytes else 1.0
        nbytes += share * kind.nbytes
        paying += pays * len(layer.layers)
    return ModelProspect(
        pattern=str(family),
        zeros=zeros,
        speedups=tuple(d / s if s else 1.0 for d, s in zip(dense, sparse, strict=True)),
        nbytes=round(nbytes),
        dense_nbytes=sum(kind.nbytes for kind in kinds),
        paying=paying,
    )
