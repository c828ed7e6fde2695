"""Phases on the engine: memory fills one half of the buffers while the chip computes from the other.

Phase i begins to be computed when its operands are there and phase i - 1 has been computed; its operands begin to move
when phase i - 2 has been computed, as its half is free then. So a phase costs ``max(transfer_i, busy_{i-1})``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spcomp.sim.engine import Channel, Clock, Component, Engine, Process
from spcomp.sim.parts.dram import Dram
from spcomp.sim.step_cost import Phase
from spcomp.sim.timeline import Timeline


@dataclass(frozen=True)
class PhaseRun:
    """What the phases of a step took."""

    total_cycles: int
    busy_cycles: int
    memory_cycles: int
    read_bytes: int
    write_bytes: int
    """Whole transactions."""
    interrupted: bool


class _Mover(Component):
    """Moves what a phase needs, each transaction through the DRAM; without one nothing takes time."""

    def __init__(self, clock: Clock, dram: Dram | None, base_fs: int, phases: Sequence[Phase]) -> None:
        super().__init__("dram", clock)
        self.dram, self.base_fs, self.phases = dram, base_fs, phases
        self.free: Channel[int]
        self.full: Channel[int]
        self.bytes = {False: 0, True: 0}
        self.rates: list[tuple[int, int]] = []
        """(when, bytes a microsecond from then on)."""

    def run(self) -> Process[None]:
        for k, phase in enumerate(self.phases):
            yield from self.get(self.free)
            start = self.now_fs
            cycles, moved = self._transfer(phase)
            if cycles:
                self.rates.append((start, moved * 10**9 // self.clock.fs(cycles)))
                yield from self.work(phase.name, cycles)
                self.rates.append((self.now_fs, 0))
            yield from self.put(self.full, k)

    def _transfer(self, phase: Phase) -> tuple[int, int]:
        if self.dram is None or not (phase.reads or phase.writes):
            return 0, 0
        size, start = self.dram.config.transaction_bytes, self.base_fs + self.now_fs
        where = [span.transactions(size) for span in (*phase.writes, *phase.reads)]
        count = sum(w.size for w in where)
        written = sum(w.size for w in where[: len(phase.writes)])
        is_write = np.arange(count) < written
        self.dram.feed(np.concatenate(where), is_write, np.full(count, start, np.int64))
        self.bytes[True] += written * size
        self.bytes[False] += (count - written) * size
        moved = count * size
        cycles = -(-max(0, self.dram.finish_fs() - start) // self.clock.period_fs)
        self.dram.forget()
        return cycles, moved


class _Chip(Component):
    def __init__(self, clock: Clock, phases: Sequence[Phase], name: str) -> None:
        super().__init__(name, clock)
        self.phases = phases
        self.free: Channel[int]
        self.full: Channel[int]

    def run(self) -> Process[None]:
        for half in range(2):
            yield from self.put(self.free, half)
        for phase in self.phases:
            yield from self.get(self.full)
            yield from self.work(phase.name, phase.busy_cycles)
            yield from self.put(self.free, 0)


def run_phases(
    phases: Sequence[Phase], dram: Dram | None, clock: Clock, base_fs: int, track: str, timeline: Timeline | None
) -> PhaseRun:
    """Run phases from ``base_fs`` on; slices and counters go to ``timeline``, if one is given."""
    engine = Engine(trace=timeline is not None)
    mover, chip = _Mover(clock, dram, base_fs, phases), _Chip(clock, phases, track)
    mover.free = chip.free = engine.channel("free halves", len(phases) + 2)
    mover.full = chip.full = engine.channel("full halves", 2)
    engine.add(mover)
    engine.add(chip)
    found = engine.run()
    if timeline is not None:
        for s in found.timeline.slices:
            timeline.add(s.track, s.name, s.begin_fs + base_fs, s.end_fs + base_fs)
        for c in found.timeline.samples:
            timeline.count(f"occupancy: {c.counter}", c.time_fs + base_fs, c.value)
        for when, rate in mover.rates:
            timeline.count("bandwidth: dram, bytes/us", when + base_fs, rate)
    period = clock.period_fs
    return PhaseRun(
        found.time_fs // period, found.busy_fs[track] // period, found.busy_fs["dram"] // period, mover.bytes[False],
        mover.bytes[True], found.interrupted,
    )  # fmt: skip


def without_memory(phases: Sequence[Phase]) -> PhaseRun:
    """The same where no phase has to wait for memory: nothing but a sum."""
    busy = sum(p.busy_cycles for p in phases)
    return PhaseRun(busy, busy, 0, 0, 0, False)
