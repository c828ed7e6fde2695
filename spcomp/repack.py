"""New parts from old ones: other weights, or the same weights held dense. Graphs and compiled code are kept."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from spcomp.build import assemble, build_all, site_from
from spcomp.compiled import CompiledModule, Parts
from spcomp.encodings.matrix import matrix_of
from spcomp.errors import InputError
from spcomp.options import Options
from spcomp.record import SlotRecord


def without_sparsity(compiled: CompiledModule) -> CompiledModule:
    """The same model with every layer served by best dense: a rival to time it against."""
    parts = compiled.parts
    options = replace(Options.from_dict(parts.options), policy="off")
    built = build_all([site_from(r, r.dense_weight(), r.bias) for r in parts.slots], options)
    return CompiledModule(assemble(parts.programs, built, parts.tensors, options))


def _names(record: SlotRecord) -> tuple[str | None, ...]:
    return (record.weight_name, record.bias_name, *(() if record.norm is None else record.norm.names()))


def repack(parts: Parts, model: nn.Module) -> Parts:
    """New parts with the weights of ``model``: packed again, planned again, same graphs."""
    state = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
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
    built = build_all(sites, options)
    tensors = {name: state[name].detach() if name in state else t for name, t in parts.tensors.items()}
    made = assemble(parts.programs, built, tensors, options, parts.notes)
    made.state_names = parts.state_names
    return made
