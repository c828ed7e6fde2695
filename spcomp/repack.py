"""New parts from old ones: other weights, or the same weights held dense. Graphs and compiled code are kept."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from spcomp.aside import Aside
from spcomp.assemble import assemble
from spcomp.build import Built, build_all, compile_rest, site_from, spliced
from spcomp.capture import Captured
from spcomp.codegen.cuda_graph import fresh
from spcomp.compiled import CompiledModule
from spcomp.cost.cache import default_folder
from spcomp.device_program import gpus_of
from spcomp.encodings.matrix import matrix_of
from spcomp.errors import InputError, StateError
from spcomp.make import make_parts
from spcomp.options import Options
from spcomp.parts import LAID_DOWN, Parts, Program
from spcomp.passes.base import PassContext, Site
from spcomp.passes.find_tables import weight_key
from spcomp.placing import Placing, placed
from spcomp.planning import Planners, planners_for
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision
from spcomp.signature import Constant, evaluate
from spcomp.source import collected, constants_read
from spcomp.state import state_of
from spcomp.targets.device import devices_found
from spcomp.unspliced import called, unspliced
from spcomp.warming import warm_kernels

log = logging.getLogger("spcomp")
_OTHER = "other channels are constant or unread than when the model was compiled"
_SPARSER = "layers that the graph computes itself may be faster sparse now"


def without_sparsity(compiled: CompiledModule) -> CompiledModule:
    """The same model with every layer served by best dense: a rival to time it against.

    On a GPU that is the graph without any of our kernels, compiled as the rival of the guard is.
    """
    parts = compiled.parts
    options = replace(_options(parts), policy="off")
    sites = [site_from(r, r.dense_weight(), r.bias) for r in parts.slots]
    anew = _Anew(options, sites)
    built = anew.built()
    if not parts.on_device:
        laid = [p.engine == LAID_DOWN for p in parts.programs]
        programs = [
            replace(p, run=p.gm, engine="eager", note="") if mine else p
            for p, mine in zip(parts.programs, laid, strict=True)
        ]
        for program in itertools.compress(programs, laid):
            compile_rest(program, parts.tensors, options.engine)
        return CompiledModule(assemble(programs, built, parts.tensors, options))
    on_gpu = frozenset(s.slot for s in sites if not anew.planners.device(s).host)
    dense = unspliced(parts.programs, parts.slots, on_gpu)
    where = parts.where | {name: at for name, at in dense.where.items() if at != "cpu"}
    tensors = parts.tensors | placed(dense.tensors, where, anew.placing)
    gpus = gpus_of(dense.programs, where, [s.where for s in sites])
    for program in dense.programs:
        compile_rest(program, tensors, options.engine, gpus=gpus)
    made = assemble(dense.programs, built, tensors, options)
    made.where, made.devices, made.planned_for = where, parts.devices, parts.planned_for
    return CompiledModule(made)


@dataclass(eq=False)
class _Anew:
    """Layers to plan again, and where the model has what they are made of."""

    options: Options
    sites: list[Site]
    placing: Placing = field(default_factory=Placing)

    @functools.cached_property
    def planners(self) -> Planners:
        return planners_for(self.options, self.sites, placed=self.placing.there)

    def built(self, left: frozenset[int] = frozenset()) -> list[Built]:
        return build_all(self.sites, self.options, self.planners, left=left)


def _options(parts: Parts) -> Options:
    return replace(Options.from_dict(parts.options), devices=parts.planned_for)


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

    Kernels are built where they were; the weights may be anywhere.
    """
    placing = Placing()
    state = {name: placing.home(tensor.detach()) for name, tensor in state.items()}
    if parts.sources:
        return _again(parts, state, placing)
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
    sites = [_site(r, d, state) for r, d in zip(parts.slots, parts.decisions, strict=True)]
    anew = _Anew(_options(parts), sites, placing)
    left = frozenset(s.slot for s in sites if not anew.planners.device(s).host) - called(parts.programs)
    tensors = {name: state.get(name, t) for name, t in parts.tensors.items()}
    made = _assembled(parts, anew, anew.built(left), tensors)
    made.state = parts.state
    return made


def _site(r: SlotRecord, d: LayerDecision, state: Mapping[str, torch.Tensor]) -> Site:
    given = state[r.weight_name]
    weight = given if r.conv is None else matrix_of(given)
    if tuple(weight.shape) != (d.n, d.k) or str(weight.dtype) != f"torch.{d.dtype}":
        raise InputError(
            "update the weights", f"{r.weight_name} is {weight.dtype} of shape {tuple(weight.shape)}",
            f"{d.dtype} of shape {(d.n, d.k)}, as it was compiled",
        )  # fmt: skip
    bias, scale = None if r.bias_name is None else state[r.bias_name], None
    if r.norm is not None:
        scale, bias = r.norm.fold(state, weight.dtype)
    return site_from(replace(r, scale=scale), weight, bias)


def _again(parts: Parts, plain: dict[str, torch.Tensor], placing: Placing) -> Parts:
    """The passes run once more, on other weights. Where they come to the same graphs, compiled code is kept."""
    options = _options(parts)
    ctx, given = (
        PassContext(devices=options.devices or devices_found),
        [source.restored(plain) for source in parts.sources],
    )
    read = {k: n for gm in given for k, n in constants_read(gm).items()}
    graphs = [source.analysed(gm, ctx) for source, gm in zip(parts.sources, given, strict=True)]
    if any(source.merged for source in parts.sources):
        collected(graphs, ctx)
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    if len(sites) != len(parts.slots) or not all(map(_alike, sites, parts.slots, parts.decisions)):
        return _compiled_again(parts, plain, options, placing, _OTHER)
    for site, r in zip(sites, parts.slots, strict=True):
        site.zero_inputs, site.gathered = r.zero_inputs, r.gathered
    ctx.gathered = {weight_key(s): s.slot for s in sites if s.gathered}
    anew = _Anew(options, sites, placing)
    on_gpu = frozenset(s.slot for s in sites if not anew.planners.device(s).host)
    ctx.left = on_gpu - called(parts.programs)
    tensors: dict[str, torch.Tensor] = {}
    for source, gm in zip(parts.sources, graphs, strict=True):
        if str(spliced(gm, source.fixed, ctx, tensors)[0].graph) != source.text:
            return _compiled_again(parts, plain, options, placing, _OTHER)
    built = anew.built()
    if any(b.decision.sparse and b.record.slot in ctx.left for b in built):
        return _compiled_again(parts, plain, options, placing, _SPARSER)
    aside = Aside(options.cache_dir or default_folder())
    state = state_of(plain, set(read), sites, tensors, ctx.origins, aside)
    made = _assembled(parts, anew, built, tensors)
    made.state, made.sources, made.whole_nbytes = state, parts.sources, parts.whole_nbytes
    return made


def _assembled(parts: Parts, anew: _Anew, built: list[Built], tensors: dict[str, torch.Tensor]) -> Parts:
    """Parts with the programs that there are: constants on their devices, kernels ready for every row count."""
    there = placed(tensors, parts.where, anew.placing)
    programs = parts.programs if not parts.on_device else tuple(replace(p, run=fresh(p.run)) for p in parts.programs)
    made = assemble(programs, built, there, anew.options, parts.notes)
    made.where, made.devices, made.planned_for = parts.where, parts.devices, parts.planned_for
    if made.devices:
        warm_kernels(made.table, made.slots)
    return made


def _alike(site: Site, r: SlotRecord, d: LayerDecision) -> bool:
    return (site.n, site.k, site.layer, site.epilogue, site.dtype, site.conv) == (
        d.n, d.k, r.layer, r.epilogue, d.dtype, r.conv
    )  # fmt: skip


def _compiled_again(
    parts: Parts, state: dict[str, torch.Tensor], options: Options, placing: Placing, reason: str
) -> Parts:
    """Other channels go than before, or other layers are sparse: the graphs are others, and are compiled again."""
    log.info("%s: it is compiled again", reason)
    captured = [
        Captured(source.restored(state), p.signature, _random(p), state, source.fixed)
        for source, p in zip(parts.sources, parts.programs, strict=True)
    ]
    return make_parts(captured, options, lambda line: log.info("%s", line), placing)


def _random(program: Program) -> tuple[Any, ...]:
    """Inputs of the sizes that the program was captured with: normal numbers, and zeros where those are no numbers."""
    flat: list[Any] = []
    for leaf, device in zip(program.signature.leaves, program.signature.on, strict=True):
        if isinstance(leaf, Constant):
            flat.append(leaf.value)
            continue
        size, dtype = [evaluate(d, program.hints) for d in leaf.shape], getattr(torch, leaf.dtype)
        made = torch.randn(size).to(dtype) if dtype.is_floating_point else torch.zeros(size, dtype=dtype)
        flat.append(made.to(device))
    return tuple(flat)
