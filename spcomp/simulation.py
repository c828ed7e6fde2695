"""``simulate``: a model, a plan or a workload on a simulated machine."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils import _pytree as pytree

from spcomp.api import compile as compile_model
from spcomp.capture import Example
from spcomp.compiled import CompiledModule
from spcomp.errors import InputError
from spcomp.functional import run_functional
from spcomp.options import Policy
from spcomp.parts import Parts
from spcomp.plan import KernelPlan
from spcomp.report.simulated import RunFacts, SimReport
from spcomp.signature import bind, zeros
from spcomp.sim.machines import Machine, load_machine, override, parse_machine
from spcomp.sim.perfetto import trace_events
from spcomp.sim.replan import Chosen
from spcomp.sim.replan import replan as plan_anew
from spcomp.sim.simulate import run
from spcomp.sim.workload import Workload, of_plan
from spcomp.workload import workload_of

VERSIONED = ("spcomp", "numpy", "numba", "simpy")


def simulate(
    model: nn.Module | CompiledModule | KernelPlan | Workload,
    machine: str | Path | Machine,
    inputs: Any = None,
    *,
    rows: int | None = None,
    replan: bool = False,
    seed: int = 0,
    timeline: bool = False,
    functional: bool = False,
    name: str = "",
    progress: Callable[[int, int, str], None] | None = None,
    **overrides: Any,
) -> SimReport:
    """Simulate a model on a machine, every op of it.

    Args:
        model: an ``nn.Module`` is captured and planned anew for the machine; for one of cores it is compiled as
            :func:`spcomp.compile` does, on this host. A compiled model, a plan or a workload
            runs as it is, or is refused; ``replan=True`` plans those anew that bring their weights.
        machine: a preset's name (``"gpu_h200"``), a path to a YAML file, or a :class:`Machine`.
        inputs: a tensor, a tuple of arguments, or a dict of keyword arguments; only their sizes matter
            (unless ``functional``). A compiled model without any runs at the sizes that it was compiled for.
        rows: of a plan, how many rows M each layer meets.
        replan: give each layer the encoding in which this machine takes the fewest simulated cycles.
        seed: of what is random in a machine.
        timeline: keep a trace for ``report.save_trace``.
        functional: compute the model too, every layer as the machine does, from ``inputs`` and the packed bytes:
            ``report.functional`` has the outputs, and each layer's error against the reference and multiplications.
        name: of the model, in the report.
        progress: called with steps done, steps in all, and the name of the next.
        overrides: keys of the machine: ``**{"dram.channels": 8}``.

    Returns:
        A :class:`~spcomp.report.simulated.SimReport`. Ctrl-C ends the simulation early; what had ended is in it, and
        it says so.

    Raises:
        InputError: an unknown machine or key, inputs that do not fit, a model that is none of these.
        PlanError: a layer whose encoding the machine does not run: which, why, and what could.
    """
    found = _machine(machine)
    chosen_machine = override(found, overrides) if overrides else found
    parts, flat = _parts(model, inputs, "auto" if chosen_machine.cores else "off")
    if functional and (parts is None or inputs is None):
        missing = "no inputs" if parts is not None else "a plan or a workload, which computes nothing"
        raise InputError("simulate with functional=True", missing, "a model and inputs=torch.randn(1, 128, 768)")
    workload = _workload(model, rows) if parts is None else workload_of(parts, flat)
    began = time.perf_counter()
    notes: tuple[str, ...] = ()
    fresh = isinstance(model, nn.Module) and not isinstance(model, CompiledModule) and not chosen_machine.cores
    if replan or fresh:
        workload, choices = plan_anew(workload, chosen_machine)
        notes = _told(choices, chosen_machine)
    result = run(workload, chosen_machine, seed=seed, timeline=timeline, progress=progress)
    computed = run_functional(parts, flat, workload, chosen_machine) if functional and parts is not None else None
    label = name or workload.name or _class_name(model)
    return SimReport(
        machine=chosen_machine.name,
        clock_mhz=chosen_machine.clock_mhz,
        plan=workload.digest,
        model=label,
        seed=seed,
        steps=result.steps,
        step_count=len(workload.steps),
        settings={key: str(value) for key, value in overrides.items()},
        notes=(*notes, *result.notes),
        versions=dict(_versions()),
        energy_nodes=result.energy_nodes,
        functional=computed,
        trace=None if result.timeline is None else trace_events(result.timeline, f"{label} on {chosen_machine.name}"),
        ran=RunFacts(
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), platform.node(),
            time.perf_counter() - began,
        ),
    )  # fmt: skip


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((package, importlib.metadata.version(package)) for package in VERSIONED)


def _machine(machine: str | Path | Machine) -> Machine:
    """A preset by name, or a file: whatever ends in ``.yaml`` or ``.yml``, and any ``Path``."""
    if isinstance(machine, Machine):
        return machine
    path = Path(machine)
    if isinstance(machine, str) and path.suffix not in (".yaml", ".yml"):
        return load_machine(machine)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise InputError(f"read the machine {path}", found, "a YAML file, or a preset's name") from error
    read = parse_machine(text, str(path))
    return read if read.name != "machine" else read.model_copy(update={"name": path.stem})


def _parts(model: Any, inputs: Any, policy: Policy) -> tuple[Parts | None, list[Any]]:
    """A model's parts and its inputs; ``policy``: of compiling it; dense where a machine packs the weights anew."""
    if isinstance(model, CompiledModule):
        return model.parts, _flat(model.parts, inputs)
    if not isinstance(model, nn.Module):
        return None, []
    if inputs is None:
        raise InputError(f"simulate a {type(model).__name__}", "no inputs", "inputs=torch.randn(1, 128, 768)")
    compiled = compile_model(model, Example.of(inputs), policy=policy, engine="eager", guard=False)
    return compiled.parts, _flat(compiled.parts, inputs)


def _workload(model: Any, rows: int | None) -> Workload:
    match model:
        case Workload():
            return model
        case KernelPlan():
            if rows is None:
                raise InputError("simulate a plan", "no number of rows", "rows=128")
            return of_plan(model, rows)
    found = f"a {type(model).__name__}"
    raise InputError("simulate", found, "an nn.Module, a compiled model, a KernelPlan with rows=, or a Workload")


def _flat(parts: Parts, inputs: Any) -> list[Any]:
    """Inputs as a program takes them; without any, zeros of the sizes that it was compiled for."""
    program = parts.programs[0]
    if inputs is None:
        return [zeros(leaf, program.hints) for leaf in program.signature.leaves]
    given = Example.of(inputs)
    flat, _ = pytree.tree_flatten(bind(program.signature.parameters, given.args, given.kwargs))
    return list(flat)


def _told(choices: tuple[Chosen, ...], machine: Machine) -> tuple[str, ...]:
    """How often each encoding was chosen, and why others could not be."""
    counts: dict[str, int] = {}
    refusals: dict[str, int] = {}
    for choice in choices:
        counts[choice.encoding] = counts.get(choice.encoding, 0) + 1
        for encoding in choice.refused:
            refusals[encoding] = refusals.get(encoding, 0) + 1
    chosen = ", ".join(f"{count} as {encoding}" for encoding, count in counts.items())
    lines = [f"planned anew for {machine.name}: of {len(choices)} layers {chosen}"] if choices else []
    for encoding, count in refusals.items():
        reason = next(c.refused[encoding] for c in choices if encoding in c.refused)
        lines.append(f"{encoding} was refused by {count} of them: {reason}")
    return tuple(lines)


def _class_name(model: Any) -> str:
    return "" if isinstance(model, Workload | KernelPlan | CompiledModule) else type(model).__name__
