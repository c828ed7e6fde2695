"""A systolic array with double-buffered scratchpads and a memory, run on the engine.

While step i - 1 is computed, memory writes what step i - 2 completed and reads what step i needs. So step i starts
``max(transfer_i, compute_{i-1})`` after step i - 1 did, and ``stall_i = max(0, transfer_i - compute_{i-1})``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from spcomp.errors import InputError
from spcomp.sim.engine import Channel, Clock, Component, Engine, Process
from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.parts.systolic_memory import Memory
from spcomp.sim.parts.systolic_store import Phase, Stores
from spcomp.sim.parts.systolic_tiles import OPERANDS, Scratchpads, Step, steps
from spcomp.sim.timeline import Timeline
from spcomp.sim.topology import Layer

CLOCK = Clock.of_mhz(1000)


@dataclass(frozen=True)
class SystolicRun:
    """A layer, with its memory. Scratchpads count elements, those for memory too; memory counts bytes."""

    total_cycles: int
    compute_cycles: int
    stall_cycles: int
    memory_cycles: int
    macs: int
    sram_reads: dict[str, int]
    sram_writes: dict[str, int]
    dram_read_bytes: dict[str, int]
    dram_write_bytes: dict[str, int]
    phases: tuple[tuple[int, int], ...] = field(repr=False)
    """(transfer, compute) cycles of each phase; the last two compute nothing."""

    def counters(self) -> dict[str, object]:
        made = asdict(self)
        del made["phases"]
        return made


class _Memory(Component):
    """Fills the half that is free, phase by phase."""

    def __init__(
        self, clock: Clock, memory: Memory, phases: Sequence[Phase], free: Channel[int], full: Channel[Step | None]
    ) -> None:
        super().__init__("memory", clock)
        self.memory, self.phases, self.free, self.full = memory, phases, free, full
        self.cycles: list[int] = []

    def run(self) -> Process[None]:
        for phase in self.phases:
            yield from self.get(self.free)
            cycles = self.memory.transfer_cycles(phase.transfers, self.now_fs // self.clock.period_fs)
            self.cycles.append(cycles)
            for t in phase.transfers:
                self.count(f"{'write' if t.is_write else 'read'} {t.tile.operand}", t.nbytes)
            yield from self.work(_name(phase), cycles)
            yield from self.put(self.full, phase.step)


class _Array(Component):
    """Computes from the half that is full."""

    def __init__(self, clock: Clock, count: int, free: Channel[int], full: Channel[Step | None]) -> None:
        super().__init__("array", clock)
        self.phases, self.free, self.full = count, free, full

    def run(self) -> Process[None]:
        for half in range(2):
            yield from self.put(self.free, half)
        for _ in range(self.phases):
            step = yield from self.get(self.full)
            if step is not None:
                for operand, elements in step.reads.items():
                    self.count(f"read {operand}", elements)
                self.count("write ofmap", step.writes)
                self.count("macs", step.macs)
                yield from self.work("compute", step.compute_cycles)
            yield from self.put(self.free, 0)


def run_layer(
    array: SystolicArray,
    layer: Layer,
    memory: Memory,
    pads: Scratchpads | None = None,
    clock: Clock = CLOCK,
    timeline: Timeline | None = None,
) -> SystolicRun:
    """Run one layer from and to memory; what happened is added behind the end of ``timeline``, if one is given.

    Raises:
        InputError: mode ``scalesim``, which knows no memory; a scratchpad that is too small.
    """
    if array.mode != "exact":
        found = f"mode {array.mode!r}, which counts no memory"
        raise InputError(f"run {layer.name!r} with a memory", found, "mode 'exact', or no memory")
    pads = pads or Scratchpads()
    phases = list(Stores(layer, pads).phases(steps(array, layer, pads)))
    engine = Engine(trace=timeline is not None)
    free, full = engine.channel("free", len(phases) + 2), engine.channel("full", 2)
    mover = _Memory(clock, memory, phases, free, full)
    engine.add(mover)
    engine.add(_Array(clock, len(phases), free, full))
    result = engine.run()
    if timeline is not None:
        timeline.extend(result.timeline)
    moved, done = result.counts["memory"], result.counts["array"]
    reads = {name: done.get(f"read {name}", 0) for name in OPERANDS}
    computed = [0 if phase.step is None else phase.step.compute_cycles for phase in phases]
    filled = {name: moved.get(f"read {name}", 0) // pads.element_bytes(name) for name in OPERANDS}
    reads["ofmap"] += moved["write ofmap"] // pads.element_bytes("ofmap")
    return SystolicRun(
        total_cycles=result.time_fs // clock.period_fs,
        compute_cycles=result.busy_fs["array"] // clock.period_fs,
        stall_cycles=sum(result.stalls_fs["array"].values()) // clock.period_fs,
        memory_cycles=result.busy_fs["memory"] // clock.period_fs,
        macs=done["macs"],
        sram_reads=reads,
        sram_writes={**filled, "ofmap": filled["ofmap"] + done["write ofmap"]},
        dram_read_bytes={name: moved.get(f"read {name}", 0) for name in OPERANDS},
        dram_write_bytes={name: moved.get(f"write {name}", 0) for name in OPERANDS},
        phases=tuple(zip(mover.cycles, computed, strict=True)),
    )


def _name(phase: Phase) -> str:
    names = sorted({("write " if t.is_write else "read ") + t.tile.operand for t in phase.transfers})
    return ", ".join(names) or "nothing"
