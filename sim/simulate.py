"""A workload on a machine: every step simulated, in order, one after the other.

>>> result = run(workload, load_machine("systolic_ws"))
>>> sum(step.cycles for step in result.steps)

The sections of the machine say which runner takes it. A runner turns a step into phases and counts
(:mod:`spcomp.sim.step_cost`); phases run on the engine with the machine's DRAM, whose state lasts from step to step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spcomp.errors import InputError
from spcomp.plan import KernelPlan
from spcomp.report.simulated import DRAM, SimStep
from spcomp.sim.cpu import run_cores
from spcomp.sim.energy import Count, charge
from spcomp.sim.engine import Clock
from spcomp.sim.gpu_run import PATH, GpuRunner
from spcomp.sim.mac_array_run import MacArrayRunner
from spcomp.sim.machines.plans import require_runnable
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.dram import Dram
from spcomp.sim.phases import run_phases, without_memory
from spcomp.sim.place import Places, word_dtype
from spcomp.sim.step_cost import Cost, StepRunner
from spcomp.sim.systolic_run import SystolicRunner
from spcomp.sim.timeline import Timeline
from spcomp.sim.workload import Step, Workload

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and the name of the next step."""
PARTS = (
    ("mac_", "array"), ("register", "array"), ("accumulator", "array"), ("buffer", "buffer"), ("sram", "scratchpad"),
    ("dram", DRAM), ("add_", "vector"), ("mul_", "vector"),
)  # fmt: skip
"""First letters of an action -> the part whose energy it is."""


@dataclass(frozen=True, eq=False)
class SimResult:
    """What happened up to the end of the last step that is in ``steps``."""

    steps: tuple[SimStep, ...]
    interrupted: bool
    """Cut off by Ctrl-C; steps that had ended by then are there."""
    timeline: Timeline | None
    notes: tuple[str, ...]
    energy_nodes: tuple[str, ...]


def run(
    workload: Workload, machine: Machine, *, seed: int = 0, timeline: bool = False, progress: Progress | None = None
) -> SimResult:
    """Simulate every step of ``workload``.

    Args:
        seed: of what is random in a machine (caches that replace at random).
        timeline: keep slices and counters for a trace.

    Raises:
        PlanError: a layer in an encoding that the machine does not run: which, why, and what could.
        InputError: a machine that lacks a section, or a step that it cannot hold.
    """
    require_runnable(machine, KernelPlan(tuple(s.call for s in workload.steps if s.call is not None)))
    section = _section(machine)
    return RUNNERS[section](workload, machine, seed, Timeline() if timeline else None, progress or _silent)


def place_for(machine: Machine, workload: Workload) -> Places:
    """Addresses in the words of the machine; a GPU and a CPU take values as the plan has them."""
    section = machine.systolic or machine.mac_array
    if section is None:
        return Places.of(workload, None)
    word_dtype(section.word_bytes, machine.name)
    return Places.of(workload, section.word_bytes)


def runner_for(machine: Machine, places: Places) -> StepRunner:
    """Of machines whose steps do not depend on each other's caches: all but those with cores."""
    return _STEPS[_section(machine)](machine, places)


def _section(machine: Machine) -> str:
    for name in RUNNERS:
        if getattr(machine, name):
            return name
    raise InputError(f"simulate on {machine.name}", "no section that a runner takes", ", ".join(RUNNERS))


def _silent(done: int, total: int, name: str) -> None:
    return


def _run_steps(
    workload: Workload, machine: Machine, seed: int, timeline: Timeline | None, progress: Progress
) -> SimResult:
    places = place_for(machine, workload)
    runner = runner_for(machine, places)
    clock = Clock(machine.cycle_fs)
    dram = Dram(machine.dram.config()) if machine.dram is not None and machine.gpu is None else None
    steps: list[SimStep] = []
    nodes: set[str] = set()
    at_fs, interrupted = 0, False
    try:
        for i, step in enumerate(workload.steps):
            progress(i, len(workload.steps), step.name)
            found = _one(step, runner.cost(step), machine, places, clock, dram, at_fs, timeline)
            if found is None:
                interrupted = True
                break
            made, used = found
            steps.append(made)
            nodes |= set(used)
            at_fs = made.end_fs
    except KeyboardInterrupt:
        interrupted = True
    return SimResult(tuple(steps), interrupted, timeline, runner.notes, tuple(sorted(nodes)))


def _one(
    step: Step, cost: Cost, machine: Machine, places: Places, clock: Clock, dram: Dram | None, start_fs: int,
    timeline: Timeline | None,
) -> tuple[SimStep, tuple[str, ...]] | None:  # fmt: skip
    """A step from its phases; None where Ctrl-C came in between."""
    begin = start_fs + clock.fs(cost.overhead_cycles)
    before = dram.totals() if dram is not None else {}
    if timeline is not None and cost.overhead_cycles:
        timeline.add("launch", step.name, start_fs, begin)
    ran = (
        without_memory(cost.phases)
        if dram is None and timeline is None
        else run_phases(cost.phases, dram, clock, begin, _section(machine), timeline)
    )
    if ran.interrupted:
        return None
    cycles = cost.overhead_cycles + ran.total_cycles
    stalls = {name: v for name, v in cost.stalls.items() if v}
    if waited := ran.total_cycles - ran.busy_cycles:
        stalls[DRAM] = stalls.get(DRAM, 0) + waited
    if cost.overhead_cycles:
        stalls["launch"] = cost.overhead_cycles
    end_fs = start_fs + clock.fs(cycles)
    moved = ({DRAM: ran.read_bytes}, {DRAM: ran.write_bytes}) if dram is not None else ({}, {})
    read, written = dict(cost.read_bytes) | moved[0], dict(cost.write_bytes) | moved[1]
    counts = [*cost.counts, *_memory_counts(machine, dram, before, read, written, end_fs - start_fs)]
    energy, nodes = _energy(counts, machine)
    return SimStep(
        step.name, step.kind, _shape(step), "" if step.call is None else str(step.call.encoding), start_fs, end_fs,
        cycles, cost.compute_cycles, cost.parts,
        dict(cost.memory_cycles) | ({DRAM: ran.memory_cycles} if dram is not None else {}), stalls, step.dense_macs,
        cost.executed_macs, step.m * step.call.nonzeros if step.call is not None else step.dense_macs, read, written,
        places.metadata_bytes(step), energy,
    ), nodes  # fmt: skip


def _memory_counts(
    machine: Machine, dram: Dram | None, before: Mapping[str, int], read: Mapping[str, int],
    written: Mapping[str, int], time_fs: int,
) -> Iterator[Count]:  # fmt: skip
    """By event where a table has events; else by what was moved."""
    if machine.gpu is not None:
        return
    known = {action for table in machine.energy_tables() for action in table.entries}
    moved = read.get(DRAM, 0) + written.get(DRAM, 0)
    if dram is not None and "dram_activate" in known:
        now, config = dram.totals(), dram.config
        new = {name: now[name] - before[name] for name in now}
        bursts = new["reads"] + new["writes"] - new["forwarded_reads"] - new["merged_writes"]
        yield Count("dram_activate", new["activates"] * config.columns * config.transaction_bytes, "byte")
        for stage in PATH:
            yield Count(stage, bursts * config.transaction_bytes, "byte")
        yield Count("dram_refresh_bank" if config.refresh == "per_bank" else "dram_refresh_all", new["refreshes"])
        yield Count("dram_background", config.channels * time_fs, "fs")
    elif "dram_byte" in known:
        yield Count("dram_byte", moved, "byte")
    elif known:
        yield Count("dram_64bit", -(-moved // 8))


def _energy(counts: list[Count], machine: Machine) -> tuple[dict[str, int], tuple[str, ...]]:
    """Femtojoules by part; nothing where the machine names no table."""
    if not machine.energy:
        return {}, ()
    charged = charge(counts, machine.energy_tables())
    parts: dict[str, int] = {}
    for line in charged.lines:
        part = next((name for start, name in PARTS if line.action.startswith(start)), "other")
        parts[part] = parts.get(part, 0) + line.energy_fj
    return parts, charged.nodes()


def _shape(step: Step) -> str:
    if step.kind in ("layer", "matmul", "attention"):
        batch = f"{step.batch} x " if step.batch > 1 else ""
        return f"{batch}{step.m} x {step.k} x {step.n}"
    return " x ".join(str(size) for size in step.writes[0].shape) if step.writes else ""


def _run_cores(
    workload: Workload, machine: Machine, seed: int, timeline: Timeline | None, progress: Progress
) -> SimResult:
    """One core, whose caches last from step to step: :func:`spcomp.sim.cpu.run_cores`."""
    places = place_for(machine, workload)
    steps: list[SimStep] = []
    nodes: set[str] = set()
    at_fs, interrupted = 0, False
    found = run_cores(workload, machine, seed=seed, timeline=timeline is not None)
    try:
        for i, (step, one) in enumerate(zip(workload.steps, found, strict=True)):
            progress(i, len(workload.steps), step.name)
            end_fs = at_fs + one.cycles * machine.cycle_fs
            if timeline is not None:
                timeline.add("core", step.name, at_fs, end_fs)
            energy, used = _energy(list(one.counts), machine)
            nodes |= set(used)
            steps.append(_of_core(step, one, at_fs, end_fs, places, energy))
            at_fs = end_fs
    except KeyboardInterrupt:
        interrupted = True
    notes = ("one core runs, as the kernels were measured",)
    return SimResult(tuple(steps), interrupted, timeline, notes, tuple(sorted(nodes)))


def _of_core(step: Step, one: Any, start_fs: int, end_fs: int, places: Places, energy: dict[str, int]) -> SimStep:
    """Waits of an out-of-order core overlap with its work; ``stalls`` are what cycles remain, by the busiest cause."""
    compute = min(one.compute_cycles, one.cycles)
    cause = max(one.stalls, key=lambda name: one.stalls[name], default="core")
    waited = one.cycles - compute
    return SimStep(
        step.name, step.kind, _shape(step), "" if step.call is None else str(step.call.encoding), start_fs, end_fs,
        one.cycles, compute, {"core": compute}, {"memory": one.memory_cycles}, {cause: waited} if waited else {},
        step.dense_macs, step.executed_macs,
        step.m * step.call.nonzeros if step.call is not None else step.dense_macs,
        dict(one.level_bytes) | {DRAM: one.dram_bytes}, {}, places.metadata_bytes(step), energy,
    )  # fmt: skip


_STEPS: dict[str, Callable[[Machine, Places], StepRunner]] = {
    "systolic": SystolicRunner, "mac_array": MacArrayRunner, "gpu": GpuRunner,
}  # fmt: skip
RUNNERS: dict[str, Callable[[Workload, Machine, int, Timeline | None, Progress], SimResult]] = {
    "systolic": _run_steps, "mac_array": _run_steps, "gpu": _run_steps, "cores": _run_cores,
}  # fmt: skip
"""Section of a machine -> what runs a workload on it; the first that a machine has."""


def only(workload: Workload, step: Step) -> Workload:
    """A workload of one step at its place in another one."""
    return replace(workload, steps=(step,))
