"""New parts from old ones: other weights, or the same weights held dense. Graphs and compiled code are kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from spcomp.aside import Aside
from spcomp.assemble import assemble
from spcomp.build import Built, build_all, site_from, spliced
from spcomp.capture import Captured
from spcomp.compiled import CompiledModule, Parts, Program
from spcomp.cost.cache import default_folder
from spcomp.encodings.matrix import matrix_of
from spcomp.errors import InputError, StateError
from spcomp.make import make_parts
from spcomp.options import Options
from spcomp.passes.base import PassContext, Site
from spcomp.passes.find_tables import weight_key
from spcomp.planning import planners_for
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision
from spcomp.signature import Constant, evaluate
from spcomp.source import collected, constants_read
from spcomp.state import state_of

log = logging.getLogger("spcomp")


def without_sparsity(compiled: CompiledModule) -> CompiledModule:
    """The same model with every layer served by best dense: a rival to time it against."""
    parts = compiled.parts
    if parts.devices or parts.where:
        hint = "torch.compile(model, mode='max-autotune'), which its guard held it against"
        raise StateError("make a dense rival of a compiled model", "it is on a GPU", hint)
    options = replace(Options.from_dict(parts.options), policy="off")
    built = _built([site_from(r, r.dense_weight(), r.bias) for r in parts.slots], options)
    return CompiledModule(assemble(parts.programs, built, parts.tensors, options))


def _names(record: SlotRecord) -> tuple[str | None, ...]:
    return (record.weight_name, record.bias_name, *(() if record.norm is None else record.norm.names()))


def state_of_model(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers by every name that they have."""
    parameters, buffers = model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    return {**dict(parameters), **dict(buffers)}


def completed(
    parts: Parts, own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], strict: bool
) -> dict[str, torch.Tensor]:
    """Copies of what is ``given`` of the state, and what there is now for the rest; buffers that are no state too.

    Raises:
        StateError: ``strict``, and something is missing.
    """
    missing = [name for name in own if name not in given]
    if missing and strict:
        found = f"{len(missing)} tensors are missing, {missing[0]} for one"
        raise StateError("load a state into a compiled model", found, "the whole state, or strict=False")
    return {**parts.tensors, **own, **{name: t.detach().clone() for name, t in given.items() if name in own}}


def repack(parts: Parts, state: Mapping[str, torch.Tensor]) -> Parts:
    """New parts with the weights in ``state``, by the names of the original: packed again, planned again, same graphs.

    Raises :class:`StateError` for a model on a GPU, whose constants would have to be placed again.
    """
    if parts.devices or parts.where:
        found = f"it was compiled for {', '.join(d.title for d in parts.devices) or 'a GPU'}"
        raise StateError("update the weights of a compiled model", found, "spcomp.compile with the new weights")
    if parts.sources:
        return _again(parts, state)
    if parts.state.lost or parts.state.restored:
        raise StateError(
            "update the weights",
            "a model that was cut or reordered before it was saved: what it was made of is not in the file",
            "spcomp.compile again (with shrink=False, if weights will change often)",
        )  # fmt: skip
    missing = [n for r in parts.slots for n in _names(r) if n is not None and n not in state]
    missing += [n for n in parts.tensors if n not in state and not n.startswith("_")]
    if missing:
        raise InputError("update the weights", f"the model has no {missing[0]}", "a model of the compiled architecture")
    options = Options.from_dict(parts.options)
    sites = []
    for r, d in zip(parts.slots, parts.decisions, strict=True):
        given = state[r.weight_name].detach()
        weight = given if r.conv is None else matrix_of(given)
        if tuple(weight.shape) != (d.n, d.k) or str(weight.dtype) != f"torch.{d.dtype}":
            raise InputError(
                "update the weights", f"{r.weight_name} is {weight.dtype} of shape {tuple(weight.shape)}",
                f"{d.dtype} of shape {(d.n, d.k)}, as it was compiled",
            )  # fmt: skip
        bias = None if r.bias_name is None else state[r.bias_name].detach()
        scale = None
        if r.norm is not None:
            scale, bias = r.norm.fold(state, weight.dtype)
        sites.append(site_from(replace(r, scale=scale), weight, bias))
    built = _built(sites, options)
    tensors = {name: state[name].detach() if name in state else t for name, t in parts.tensors.items()}
    made = assemble(parts.programs, built, tensors, options, parts.notes)
    made.state = parts.state
    return made


def _again(parts: Parts, state: Mapping[str, torch.Tensor]) -> Parts:
    """The passes run once more, on other weights. Where they come to the same graphs, compiled code is kept."""
    options = Options.from_dict(parts.options)
    plain = {name: tensor.detach() for name, tensor in state.items()}
    ctx, given = PassContext(), [source.restored(plain) for source in parts.sources]
    read = {k: n for gm in given for k, n in constants_read(gm).items()}
    graphs = [source.analysed(gm, ctx) for source, gm in zip(parts.sources, given, strict=True)]
    if any(source.merged for source in parts.sources):
        collected(graphs, ctx)
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    if len(sites) != len(parts.slots) or not all(map(_alike, sites, parts.slots, parts.decisions)):
        return _anew(parts, plain, options)
    for site, r in zip(sites, parts.slots, strict=True):
        site.zero_inputs, site.gathered = r.zero_inputs, r.gathered
    ctx.gathered = {weight_key(s): s.slot for s in sites if s.gathered}
    tensors: dict[str, torch.Tensor] = {}
    for source, gm in zip(parts.sources, graphs, strict=True):
        if str(spliced(gm, source.fixed, ctx, tensors)[0].graph) != source.text:
            return _anew(parts, plain, options)
    made = assemble(parts.programs, _built(sites, options), tensors, options, parts.notes)
    made.state = state_of(plain, set(read), sites, tensors, ctx.origins, Aside(default_folder()))
    made.sources, made.whole_nbytes = parts.sources, parts.whole_nbytes
    return made


def _alike(site: Site, r: SlotRecord, d: LayerDecision) -> bool:
    return (site.n, site.k, site.layer, site.epilogue, site.dtype, site.conv) == (
        d.n, d.k, r.layer, r.epilogue, d.dtype, r.conv
    )  # fmt: skip


def _anew(parts: Parts, state: dict[str, torch.Tensor], options: Options) -> Parts:
    """Other channels are constant or unread than before: the graphs are others, and are compiled again."""
    log.info("other channels are constant or unread than when the model was compiled: it is compiled again")
    captured = [
        Captured(source.restored(state), p.signature, _random(p), state, source.fixed)
        for source, p in zip(parts.sources, parts.programs, strict=True)
    ]
    return make_parts(captured, options, lambda line: log.info("%s", line))


def _random(program: Program) -> tuple[Any, ...]:
    """Inputs of the sizes that the program was captured with: normal numbers, and zeros where those are no numbers."""
    flat: list[Any] = []
    for leaf in program.signature.leaves:
        if isinstance(leaf, Constant):
            flat.append(leaf.value)
            continue
        size, dtype = [evaluate(d, program.hints) for d in leaf.shape], getattr(torch, leaf.dtype)
        flat.append(torch.randn(size).to(dtype) if dtype.is_floating_point else torch.zeros(size, dtype=dtype))
    return tuple(flat)


def _built(sites: list[Site], options: Options) -> list[Built]:
    return build_all(sites, options, planners_for(options, sites))
