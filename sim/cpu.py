"""A core with caches runs a program: :func:`run_call` a kernel call, :func:`run_cores` a workload, step by step.

The packed arrays of every call make a stream of accesses (:mod:`spcomp.sim.cpu_calls`), which passes the caches; their
contents persist from step to step. Where each line was decides when it comes (:mod:`spcomp.sim.cpu_time`). What leaves
the last level goes to the DRAM part at those times; a step that it could not serve by then takes until it has.

One core runs, as the kernels were measured: ``core[0]``. What is modelled and what is not: ``docs/simulation.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError
from spcomp.sim import cpu_streams as st
from spcomp.sim import cpu_time as tm
from spcomp.sim.cpu_calls import Walk
from spcomp.sim.cpu_passes import walk_step
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import Core
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.cache import Caches
from spcomp.sim.parts.dram import Dram
from spcomp.sim.parts.gpu import streaming_bytes_per_second
from spcomp.sim.workload import Step, Workload

CALLS = {"few": 1.6, "tiles": 3.0, "dense": 2.0}
"""Entries of a compiled function, ``call_ns`` each, that calling a kernel takes: those of the analytic model."""
SCRATCH_GAP = 1 << 20
DEFAULT_RATE = 3
"""Instructions a cycle of passes over activations, whose instructions are not counted."""


@dataclass(frozen=True)
class CpuStep:
    """What a step took, in cycles of the core."""

    name: str
    cycles: int
    compute_cycles: int
    """Of the core's work, if every access hit the first level."""
    memory_cycles: int
    """Of the busiest way between levels, or of the memory."""
    stalls: Mapping[str, int]
    """Cycles waited by cause: for reads from a level or the memory (``L2``, ``memory``), ``stores``, ``dram`` (beyond
    what reads waited), and ``surprises`` (part of the work)."""
    level_bytes: Mapping[str, int]
    """Bytes that came from each level, and from memory, to the one above."""
    hits: Mapping[str, int]
    """Accesses that each level, or memory, answered; those ahead included."""
    dram_bytes: int
    accesses: int
    surprises: int
    counts: tuple[Count, ...]
    """For energy."""


class CpuState:
    """A core, its caches and the memory, with what they hold from step to step.

    Raises:
        InputError: a machine without cores or without caches.
    """

    def __init__(self, machine: Machine, *, seed: int = 0) -> None:
        if not machine.cores or machine.cache is None:
            asked = f"run a program on the cores of {machine.name}"
            raise InputError(asked, "it has no cores or no cache", "cached_cpu")
        self.machine = machine
        self.core: Core = next(iter(machine.cores.values()))
        levels = machine.cache.levels
        self.names = (*(level.name for level in levels), "memory")
        self.caches = Caches([replace(v.level(), mshrs=0, latency_cycles=0) for v in levels], seed=seed)
        self.walk = Walk(costs(self.core))
        self.ways = ways(machine)
        depth = len(self.ways)
        self.regs = np.zeros(tm.REGISTERS, np.int64)
        self.regs[tm.T_BUFFER] = self.core.store_buffer
        self.reads = np.zeros((tm.READS, 3), np.int64)
        self.registers = np.zeros((depth, tm.MOST_REGISTERS), np.int64)
        self.turns, self.free = np.zeros(depth, np.int64), np.zeros(depth, np.int64)
        self.stores = np.zeros(self.core.store_buffer, np.int64)
        self.stalls, self.moved, self.hits = (np.zeros(depth, np.int64) for _ in range(3))
        self.work = self.lost = 0
        self.requests: list[tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]] = []

    def take(self, n: int) -> None:
        """Run the first ``n`` accesses that the walk holds."""
        walk = self.walk
        counted = int(walk.state[st.S_INSTRUCTIONS])
        before = int(self.regs[tm.T_ACCESSES])
        seen = self.caches.access(walk.address[:n], walk.kind[:n] == st.WRITE)
        ticks = int(walk.gap[:n].sum())
        each = max(ticks - int(walk.state[st.S_LOST]), 1) / counted if counted else st.TICKS / DEFAULT_RATE
        self.lost += int(walk.state[st.S_LOST])
        walk.state[st.S_INSTRUCTIONS] = walk.state[st.S_LOST] = 0
        arrival = np.empty(n, np.int64)
        tm.advance(
            n, walk.kind, walk.gap, seen.level, seen.fetched_ahead, round(self.core.window_instructions * each),
            self.ways, self.regs, self.reads, self.registers, self.turns, self.free, self.stores, self.stalls,
            self.moved, self.hits, arrival,
        )  # fmt: skip
        self.work += ticks
        if seen.address.size:
            self.requests.append((seen.address, seen.is_write, arrival[seen.access - before]))

    def finish(self) -> None:
        """Wait for everything under way."""
        tm.drain(self.regs, self.reads)


def costs(core: Core) -> NDArray[np.int64]:
    """Ticks of the operations of a core."""
    found = np.zeros(st.COSTS, np.int64)
    found[st.C_VECTOR] = round(st.TICKS / core.fma_units)
    found[st.C_PERMUTE] = round(st.TICKS / core.permutes_per_cycle)
    found[st.C_LOAD] = round(st.TICKS * st.LINE / core.load_bytes_per_cycle)
    found[st.C_STORE] = round(st.TICKS * st.LINE / core.store_bytes_per_cycle)
    found[st.C_ISSUE] = round(st.TICKS / core.issue_per_cycle)
    found[st.C_SURPRISE] = st.TICKS * core.mispredict_cycles
    found[st.C_LATENCY] = st.TICKS * core.fma_latency_cycles
    found[st.C_WINDOW] = core.window_instructions
    found[st.C_OVERLAP] = round(100 * core.port_overlap)
    found[st.C_PERMUTED] = round(100 * core.permute_overlap)
    found[st.C_LEARNED] = core.learned_ends
    return found


def ways(machine: Machine) -> NDArray[np.int64]:
    """Latency, bandwidth and miss registers of each level and of the memory, in ticks."""
    assert machine.cache is not None
    cache = machine.cache
    found = np.zeros((len(cache.levels) + 1, 4), np.int64)
    latency = 0
    for row, level in zip(found, cache.levels, strict=False):
        latency += level.latency_cycles
        read = level.bytes_per_cycle or level.line_bytes
        written = level.written_bytes_per_cycle or read
        row[:] = (
            latency * st.TICKS, round(level.line_bytes * st.TICKS / read), round(level.line_bytes * st.TICKS / written),
            min(level.mshrs, tm.MOST_REGISTERS),
        )  # fmt: skip
    latency += round((cache.memory_latency_ns or 0.0) * 1e6 / machine.cycle_fs)
    rate = cache.memory_bytes_per_cycle or 1e9
    if machine.dram is not None:
        config = machine.dram.config()
        clocks = config.timing["RCD"] + config.timing["CL"] + config.timing["BL"]
        latency += round(clocks * config.clock_fs / machine.cycle_fs)
        rate = min(rate, streaming_bytes_per_second(machine.dram) * machine.cycle_fs * 1e-15)
    line = round(cache.levels[0].line_bytes * st.TICKS / rate)
    found[-1] = latency * st.TICKS, line, line, 0
    return found


def run_call(step: Step, machine: Machine, places: Mapping[str, int], state: CpuState | None = None) -> CpuStep:
    """One step on ``state``, which keeps what the caches hold; None: nothing is in them.

    Args:
        places: byte addresses, of :meth:`~spcomp.sim.workload.Workload.places`.

    Raises:
        PlanError: a call whose accesses are not modelled, or a weight without its packed bytes.
    """
    state = state or CpuState(machine)
    before = _snapshot(state)
    scratch = max(places.values(), default=0) + SCRATCH_GAP
    biggest = max((o.nbytes for o in (*step.reads, *step.writes)), default=0)
    for n in walk_step(state.walk, step, places, -(-(scratch + biggest) // SCRATCH_GAP) * SCRATCH_GAP):
        state.take(n)
    for n in state.walk.flush():
        state.take(n)
    state.finish()
    return _counted(step, state, before)


def run_cores(
    workload: Workload,
    machine: Machine,
    *,
    seed: int = 0,
    timeline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[CpuStep]:
    """Every step of a workload in its order, on one core, caches kept from step to step.

    Args:
        seed: of caches that replace at random.
        timeline: accepted and without effect: a core's steps follow one another.
        progress: called with (steps done, steps).
    """
    state, places = CpuState(machine, seed=seed), workload.places()
    for done, step in enumerate(workload.steps, 1):
        yield run_call(step, machine, places, state)
        if progress is not None:
            progress(done, len(workload.steps))


def _snapshot(state: CpuState) -> tuple[NDArray[np.int64], ...]:
    state.requests = []
    numbers = np.array([state.work, state.walk.state[st.S_SURPRISES], state.lost], np.int64)
    return state.regs.copy(), state.stalls.copy(), state.moved.copy(), state.hits.copy(), numbers


def _counted(step: Step, state: CpuState, before: tuple[NDArray[np.int64], ...]) -> CpuStep:
    regs, stalls, moved, hits, (work, surprises, lost) = before
    machine, line = state.machine, state.caches.line_bytes
    waited = (state.stalls - stalls) // st.TICKS
    lines, answered = state.moved - moved, state.hits - hits
    called = round(_calls(step) * state.core.call_ns * 1e6 / machine.cycle_fs)
    worked = int(state.work - work) // st.TICKS + called
    cycles = ceil(int(state.regs[tm.T_NOW] - regs[tm.T_NOW]) / st.TICKS) + called
    served, requests, dram_bytes = _serve(state, int(regs[tm.T_NOW]))
    late = max(0, served - cycles)
    surprised = int(state.walk.state[st.S_SURPRISES] - surprises) // st.THOUSANDTHS
    busy = [int(count * way) // st.TICKS for count, way in zip(lines, state.ways[:, tm.V_LINE], strict=True)]
    causes = {name: int(v) for name, v in zip(state.names, waited, strict=True) if v}
    causes["stores"] = int(state.regs[tm.T_STORE_STALL] - regs[tm.T_STORE_STALL]) // st.TICKS
    causes["surprises"] = int(state.lost - lost) // st.TICKS
    causes["dram"] = late
    read = dict(zip(state.names[1:], (int(v) * line for v in lines[1:]), strict=True))
    return CpuStep(
        name=step.name,
        cycles=cycles + late,
        compute_cycles=worked,
        memory_cycles=max(served, *busy),
        stalls={name: v for name, v in causes.items() if v},
        level_bytes=read,
        hits=dict(zip(state.names, (int(v) for v in answered), strict=True)),
        dram_bytes=dram_bytes,
        accesses=int(answered.sum()),
        surprises=surprised,
        counts=_energy(step, int(answered.sum()), [int(v) for v in lines], requests, line),
    )


def _serve(state: CpuState, since: int) -> tuple[int, int, int]:
    """(cycles until the memory has served a step's requests, its lines, its bytes). Rows are closed before."""
    if not state.requests:
        return 0, 0, 0
    address, is_write, ticks = (np.concatenate(part) for part in zip(*state.requests, strict=True))
    line = state.caches.line_bytes
    section = state.machine.dram
    if section is None:
        return 0, len(address), len(address) * line
    config, cycle_fs = section.config(), state.machine.cycle_fs
    pieces = max(1, line // config.transaction_bytes)
    where = (address[:, None] % config.capacity_bytes + np.arange(pieces) * config.transaction_bytes).ravel()
    arrival = np.maximum.accumulate(np.maximum(ticks - since, 0)) * cycle_fs // st.TICKS
    memory = Dram(config)
    memory.feed(where, np.repeat(is_write, pieces), np.repeat(arrival, pieces))
    return ceil(memory.drain().time_fs / cycle_fs), len(address), where.size * config.transaction_bytes


def _calls(step: Step) -> float:
    if step.call is None:
        return 1.0
    if step.call.encoding.name == "dense":
        return CALLS["dense"]
    return CALLS["few" if "tokens" in dict(step.call.schedule) else "tiles"]


def _energy(step: Step, accesses: int, lines: list[int], requests: int, line: int) -> tuple[Count, ...]:
    """Counts that ``horowitz_45nm`` knows: multiply-adds, and 64 bits of the caches and of the memory."""
    words = line // 8
    return (
        Count("mac_float32", step.executed_macs),
        Count("sram_32k_64bit", accesses * words),
        Count("sram_1m_64bit", sum(lines[1:-1]) * words),
        Count("dram_64bit", requests * words),
    )
