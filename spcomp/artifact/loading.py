"""`load`: one file -> checked parts -> a compiled model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from spcomp.artifact import archive
from spcomp.artifact.archive import bad
from spcomp.artifact.devices import declared, devices_here, other_device, saved_devices, saved_places
from spcomp.artifact.kernels import BUILDERS, Jobs, another_machine, retune
from spcomp.artifact.pool import Views
from spcomp.artifact.records import OURS, check_graph, gathered, read_program, read_record, unproven
from spcomp.artifact.restored import read_state
from spcomp.artifact.saving import FORMAT, VERSION, unplain
from spcomp.assemble import assemble
from spcomp.build import Built, compile_rest
from spcomp.codegen import inductor
from spcomp.codegen.laid_program import LaidProgram
from spcomp.compiled import CompiledModule
from spcomp.device_program import gpus_of
from spcomp.direct import directly
from spcomp.errors import ArtifactError, KernelError, SpcompError
from spcomp.options import Engine, Options
from spcomp.parts import Program
from spcomp.passes.lay_out import make_ready
from spcomp.placing import Placing, placed
from spcomp.plan import KernelCall, KernelPlan
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision
from spcomp.state import State
from spcomp.targets.device import Devices, devices_found
from spcomp.warming import warm_kernels
from spcomp.writes import written

log = logging.getLogger("spcomp")
_KEYS = {"format": str, "version": int, "versions": str, "host": dict, "plan": dict, "options": dict, "decisions": list,
         "notes": list, "programs": list, "tensors": dict, "slots": list, "references": dict,
         "state": dict, "whole_nbytes": int}  # fmt: skip

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, AssertionError)
"""What Python raises where a manifest has something else than expected."""


def load(
    path: str | Path,
    *,
    cache_dir: str | Path | None = None,
    engine: Engine | None = None,
    guard: bool | None = None,
    target: Devices | None = None,
    progress: Callable[[str], None] | None = None,
) -> CompiledModule:
    """Read a compiled model that :meth:`CompiledModule.save` wrote.

    The file may come from anywhere: it is checked whole, and no code in it is unpickled, evaluated or imported.

    On the machine and versions it was saved with, its kernels are generated straight from its plan. Elsewhere (another
    CPU or GPU, other versions, another number of threads) its layers are tuned again, and a note says so. A model that
    was compiled for GPUs needs as many.

    Args:
        path: the file.
        cache_dir: where tunings are remembered, as for :func:`spcomp.compile`.
        engine: what runs the rest of the graph, instead of what the model was compiled with.
        guard: after tuning again, hand out the dense program where that is faster; default: as it was compiled.
        target: what layers are planned for instead of the devices that they were on, as for :func:`spcomp.compile`.
        progress: called with a line of text at every step.

    Raises:
        ArtifactError: the file is missing, truncated, altered, of another version, or no saved model; or it is for a
            GPU, and there is none.
    """
    say = progress or (lambda line: log.info("%s", line))
    say("reading the file")
    manifest, stored = archive.read(Path(path))
    _check_keys(manifest, Path(path))
    devices = target or devices_found
    saved = saved_devices(manifest, Path(path), here=target is not None)
    placing, where = Placing(), saved_places(manifest)
    try:
        tensors, programs, records, plan, state = _read(manifest, stored)
        tensors = placed(tensors, where, placing)
        decisions = [LayerDecision.from_dict(unplain(d)) for d in manifest["decisions"]]
        options = Options.from_dict(manifest["options"])
        options = replace(
            options, cache_dir=Path(cache_dir) if cache_dir else None, engine=engine or options.engine, devices=target
        )
        notes = tuple(str(note) for note in manifest["notes"])
        cut = int(manifest["whole_nbytes"])
        _check_decisions(decisions, plan)
        say("checking the graph")
        for program in programs:
            check_graph(program, tensors, [calls[0] for _, calls in records])
        read = gathered(programs)
        records = [(replace(r, gathered=r.slot in read), calls) for r, calls in records]
        reason = another_machine(manifest["versions"], manifest["host"], plan.threads)
        if saved:
            reason = other_device(saved, manifest.get("device_versions"), [r for r, _ in records], devices)
    except ArtifactError:
        raise
    except SpcompError as error:
        raise ArtifactError(f"load {path}", f"{error.asked}: {error.found}", error.hint) from error
    except _MALFORMED as error:
        raise bad("the manifest", f"{type(error).__name__}: {str(error)[:200]}") from error
    built: list[Built] | None = None
    gpus = gpus_of(programs, where, [r.where for r, _ in records])
    with ThreadPoolExecutor(BUILDERS) as pool:
        jobs = Jobs(pool, records, decisions, placing) if reason is None else None
        if options.engine != "eager" and any(p.engine not in OURS for p in programs):
            say("preparing Inductor")
            if not gpus and inductor.unavailable() is None:
                inductor.prepare()
        if jobs is not None:
            say("generating the kernels of the plan")
            try:
                built = jobs.results()
            except KernelError as error:
                reason = f"a kernel of the plan could not be generated ({error.found})"
    writers = frozenset(b.record.slot for b in built or () if b.slot.writes_into) if gpus else frozenset()
    for i, program in enumerate(programs):
        say(f"compiling the rest of program {i + 1} of {len(programs)}")
        free = unproven(program)
        ours = program.engine in OURS and options.engine == "auto" and not free
        if ours and (program.engine == "direct" or built is not None):
            laid = program.engine != "direct"
            program.run = LaidProgram(program.gm, lifted=len(program.lifted)) if laid else directly(program.gm)
            continue
        program.engine = "eager"
        compile_rest(program, tensors, "eager" if free else options.engine, faked=True, gpus=gpus, into=writers)
        program.note = free or program.note
    if built is not None:
        for program in programs:
            make_ready(program.gm, tuple(b.slot for b in built))
        parts = assemble(programs, built, tensors, options, notes)
    else:
        say(f"tuning again: {reason}")
        parts = retune(programs, [r for r, _ in records], tensors, options, str(reason), guard, placing, say)
    parts.state = state
    parts.whole_nbytes = cut
    parts.where, parts.devices, parts.planned_for = where, devices_here(parts.slots, devices), target
    if parts.devices:
        say("compiling kernels for every row count")
        warm_kernels(parts.table, parts.slots)
    return CompiledModule(parts)


def _check_keys(manifest: Mapping[str, Any], path: Path) -> None:
    if manifest.get("format") != FORMAT:
        found = f"a file of the format {str(manifest.get('format'))[:40]!r}"
        raise ArtifactError(f"load {path}", found, "a file written by save()")
    if type(manifest.get("version")) is not int or manifest["version"] != VERSION:
        raise ArtifactError(
            f"load {path}",
            f"version {str(manifest.get('version'))[:20]} of the saved form; this spcomp reads version {VERSION}",
            "compiling and saving the model again with this spcomp",
        )  # fmt: skip
    for key, kind in _KEYS.items():
        if type(manifest.get(key)) is not kind:
            raise bad("the manifest", f"no {key} ({kind.__name__})")


def _read(
    manifest: Mapping[str, Any], stored: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], list[Program], list[tuple[SlotRecord, tuple[KernelCall, ...]]], KernelPlan, State]:
    references = manifest["references"]
    pool = Views(stored)
    names: dict[str, str] = manifest["tensors"]
    placed = {name: pool.get(references[key]) for name, key in names.items()}
    programs = [read_program(p, placed, declared(manifest)) for p in manifest["programs"]]
    if not programs:
        raise bad("the manifest", "no programs")
    pool.copy(references[names[name]][0] for p in programs for name in written(p))
    tensors = {name: pool.get(references[key]) for name, key in names.items()}
    plan = KernelPlan.from_json(json.dumps(manifest["plan"]))
    calls = plan.slots()
    if list(calls) != list(range(len(manifest["slots"]))):
        raise bad("the plan", f"slots {str(list(calls))[:80]}, the file has {len(manifest['slots'])}")
    records = [(read_record(s, references, pool, calls[i]), calls[i]) for i, s in enumerate(manifest["slots"])]
    return tensors, programs, records, plan, read_state(manifest["state"], references, pool)


def _check_decisions(decisions: list[LayerDecision], plan: KernelPlan) -> None:
    calls = plan.slots()
    if len(decisions) != len(calls):
        raise bad("the decisions", f"{len(decisions)} of them for {len(calls)} layers")
    for d, slot in zip(decisions, calls, strict=True):
        first = calls[slot][0]
        if (d.layer, d.slot, d.n, d.k, d.dtype) != (first.layer, slot, first.n, first.k, first.dtype):
            raise bad("the decisions", f"one for {str(d.layer)[:80]} that is not the plan's")
