"""DRAM, cycle by cycle: channels behind FR-FCFS controllers, of any standard in :mod:`dram_rules`.

>>> memory = Dram(preset("DDR4_2400R"))
>>> memory.feed(np.arange(1000) * 64)
>>> memory.drain().row_hits
992

Time outside is femtoseconds, inside it is controller cycles (a clock; half of one in HBM3). What is modelled and what
is not: ``docs/simulation.md``.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcomp.errors import InputError
from spcomp.sim.parts import dram_layout as at
from spcomp.sim.parts.dram_config import DramConfig, preset, presets
from spcomp.sim.parts.dram_effects import Effects, unroll
from spcomp.sim.parts.dram_kernel import controller
from spcomp.sim.parts.dram_map import Places, locate
from spcomp.sim.parts.dram_rules import STANDARDS, RuleTable, build_rules, ticks

__all__ = ["Command", "Dram", "DramConfig", "DramResult", "preset", "presets"]

Array: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Command:
    """One command on a command bus."""

    cycle: int
    channel: int
    name: str
    bank: int
    """Index within the channel; the first bank of the rank for PREA and REFA."""
    row: int
    """-1 where the command names none."""


@dataclass(frozen=True, eq=False)
class DramResult:
    """What a memory has done since it was made. Arrays have one element per request, in the order they were fed.

    ``cycles`` are controller cycles of ``cycle_fs`` femtoseconds, counted from 0. Latency counts from
    the cycle in which a request is taken into a queue. -1 stands for what has not happened yet.
    """

    cycle_fs: int
    transaction_bytes: int
    cycles: int
    """When the last burst has ended."""
    accepted_cycles: int
    """The cycle in which the last request was taken into a queue."""
    reads: int
    writes: int
    forwarded_reads: int
    """Answered from the write queue."""
    merged_writes: int
    """Same bytes as a write that was still queued."""
    row_hits: int
    row_misses: int
    row_conflicts: int
    activates: int
    precharges: int
    """Rows closed."""
    refreshes: int
    clock_syncs: int
    """LPDDR5: how often the data clock was started."""
    data_bus_busy_cycles: int
    """Summed over all data buses."""
    read_latency_cycles: int
    """Summed over all finished reads, from being taken in to the end of the burst."""
    finished_reads: int
    accept_cycle: Array
    issue_cycle: Array
    """Of the column command."""
    completion_cycle: Array
    commands: tuple[Command, ...] = ()
    commands_dropped: int = 0

    @property
    def bytes(self) -> int:
        """Requests times the size of a transaction."""
        return (self.reads + self.writes) * self.transaction_bytes

    @property
    def average_read_latency_cycles(self) -> float:
        return self.read_latency_cycles / self.finished_reads if self.finished_reads else 0.0

    @property
    def time_fs(self) -> int:
        return self.cycles * self.cycle_fs

    @property
    def completion_fs(self) -> Array:
        """Of each request; -1 where it is not done."""
        return np.where(self.completion_cycle >= 0, self.completion_cycle * self.cycle_fs, -1)

    @property
    def bandwidth_gb_s(self) -> float:
        """Bytes over the time until the last burst, in 10^9 bytes a second."""
        return self.bytes / (self.time_fs * 1e-6) if self.cycles else 0.0

    def counters(self) -> dict[str, int | float]:
        """Every figure but the arrays, by name."""
        names = [n for n, kind in DramResult.__annotations__.items() if kind == "int" and n != "commands_dropped"]
        made: dict[str, int | float] = {name: getattr(self, name) for name in names}
        made["bytes"] = self.bytes
        made["average_read_latency_cycles"] = self.average_read_latency_cycles
        made["bandwidth_gb_s"] = self.bandwidth_gb_s
        return made


class Dram:
    """A memory of one or more channels, with state that persists: a stream fed in pieces gives what it gives whole.

    Raises:
        InputError: an impossible configuration.
    """

    def __init__(self, config: DramConfig) -> None:
        config.check()
        self.config = config
        self._parameters = _parameters(config)
        n, banks = config.channels, config.banks_per_channel
        timing = tuple(sorted(config.timing.items()))
        table, self._effects = _tables(
            config.standard.name, timing, (config.ranks, config.stacks, config.groups, config.banks)
        )
        rings = np.full((n, max(1, table.histories) * banks, table.deepest + 1), -at.FAR, np.int64)
        rings[..., 0] = 0
        self._history = rings.reshape(n, -1)
        self._ready = np.zeros((n, (at.TIMED + 1) * banks), np.int64)
        self._ready[:, at.TIMED * banks :] = at.FAR_CELL
        self._registers = np.zeros((n, at.REGISTERS), np.int64)
        self._registers[:, at.R_NEXT_REFRESH] = self._parameters[at.P_INTERVAL] - 1
        for register in (at.R_CAS_SOURCE, at.R_SPLIT_BANK, at.R_PAIR_EDGE, at.C_LAST_ACCEPT, at.C_LAST_DONE):
            self._registers[:, register] = -1
        states = np.zeros((n, banks, at.BANK_FIELDS), np.int64)
        states[..., at.B_ROW] = at.CLOSED
        self._bank = states.reshape(n, -1)
        room = _queue_room(config)
        queue = np.full((n, 2, at.QUEUE_FIELDS, room), -1, np.int64)
        queue[:, :, (at.Q_CELL, at.Q_ROW_CELL)] = at.TIMED * banks
        self._queue = queue.reshape(n, -1)
        self._active = np.zeros((n, (banks + 1) * at.ACTIVE_FIELDS), np.int64)
        self._refresh = np.zeros((n, at.WAITING_REFRESHES), np.int64)
        self._controller = controller(room)
        self._log = np.zeros((config.log_commands, 5), np.int64)
        self._out = np.full((3, 0), -1, np.int64)
        self._size = 0
        self._last_arrival = 0

    def feed(
        self, addresses: ArrayLike, is_write: ArrayLike | None = None, arrival_fs: ArrayLike | None = None
    ) -> None:
        """Hand over requests of one transaction each and run until all of them are in a queue.

        Args:
            addresses: [n], bytes; requests of more than a transaction are split before (``Trace.split``).
            is_write: [n], true for writes; None: all read.
            arrival_fs: [n], femtoseconds, never falling; None: as fast as they are taken in.

        Raises:
            InputError: lengths that differ, negative or falling arrival times, negative addresses.
        """
        c = self.config
        where = np.asarray(addresses, np.int64).ravel()
        n = where.size
        writes = np.zeros(n, np.bool_) if is_write is None else np.asarray(is_write, np.bool_).ravel()
        arrival = self._arrivals(n, arrival_fs)
        if writes.size != n or arrival.size != n:
            found = f"{n} addresses, {writes.size} write flags, {arrival.size} arrival times"
            raise InputError(f"feed {c.name}", found, "arrays of one length")
        sizes = {
            "channel": c.channels, "rank": c.ranks, "stack": c.stacks, "group": c.groups, "bank": c.banks,
            "row": c.rows, "column": c.columns,
        }  # fmt: skip
        places = locate(where, c.mapper, sizes, c.transaction_bytes, c.interleave_bytes, c.xor)
        base, self._size = self._size, self._size + n
        if self._out.shape[1] < self._size:
            grown = np.full((3, max(self._size, 2 * self._out.shape[1])), -1, np.int64)
            grown[:, :base] = self._out[:, :base]
            self._out = grown
        for low, high in self._fronts():
            whole = high - low == c.channels
            order = np.arange(n) if whole else np.flatnonzero(places.channel == low)
            if order.size:
                self._run(places, writes, arrival, order, base, low, high)

    def drain(self) -> DramResult:
        """Run until every request is done, and say what happened so far. Feeding may go on afterwards."""
        self._run_dry()
        return self.result()

    def finish_fs(self) -> int:
        """Run until every request is done: when the last burst has ended. Feeding may go on afterwards."""
        self._run_dry()
        return max(0, int(self._registers[:, at.C_LAST_DONE].max())) * self.config.cycle_fs

    def forget(self) -> None:
        """Run until every request is done, and drop the times of single requests; totals and state stay."""
        self._run_dry()
        self._size = 0

    def totals(self) -> dict[str, int]:
        """Activations, refreshes and requests so far, without the arrays of :meth:`result`."""
        total = self._registers.sum(0)
        names = {"activates": at.C_ACTIVATES, "refreshes": at.C_REFRESHES, "reads": at.C_READS, "writes": at.C_WRITES}
        moved = {"forwarded_reads": at.C_FORWARDED, "merged_writes": at.C_MERGED}
        return {name: int(total[where]) for name, where in (names | moved).items()}

    def result(self) -> DramResult:
        """What happened so far; requests that are still queued have no issue and completion cycle yet."""
        total = self._registers.sum(0)
        last = self._registers.max(0)
        accept, issue, completion = (self._out[k, : self._size].copy() for k in range(3))
        kept = min(int(total[at.C_COMMANDS]), self._log.shape[0])
        log = self._log[:kept]
        log = log[np.argsort(log[:, 0], kind="stable")]
        commands = tuple(Command(int(t), int(c), at.COMMANDS[int(k)], int(b), int(r)) for t, c, k, b, r in log)
        return DramResult(
            cycle_fs=self.config.cycle_fs,
            transaction_bytes=self.config.transaction_bytes,
            cycles=max(0, int(last[at.C_LAST_DONE])),
            accepted_cycles=max(0, int(last[at.C_LAST_ACCEPT])),
            reads=int(total[at.C_READS]),
            writes=int(total[at.C_WRITES]),
            forwarded_reads=int(total[at.C_FORWARDED]),
            merged_writes=int(total[at.C_MERGED]),
            row_hits=int(total[at.C_HITS]),
            row_misses=int(total[at.C_MISSES]),
            row_conflicts=int(total[at.C_CONFLICTS]),
            activates=int(total[at.C_ACTIVATES]),
            precharges=int(total[at.C_PRECHARGES]),
            refreshes=int(total[at.C_REFRESHES]),
            clock_syncs=int(total[at.C_SYNCS]),
            data_bus_busy_cycles=int(total[at.C_COLUMNS]) * self.config.cycles("BL"),
            read_latency_cycles=int(total[at.C_LATENCY]),
            finished_reads=int(total[at.C_SERVED] + total[at.C_FORWARDED]),
            accept_cycle=accept,
            issue_cycle=issue,
            completion_cycle=completion,
            commands=commands,
            commands_dropped=int(total[at.C_COMMANDS]) - kept,
        )

    def _run_dry(self) -> None:
        empty = np.zeros(0, np.int64)
        for low, high in self._fronts():
            self._run(Places(empty, empty, empty, empty), empty.astype(np.bool_), empty, empty, self._size, low, high)

    def _fronts(self) -> tuple[tuple[int, int], ...]:
        """Channels that take their requests from one stream."""
        n = self.config.channels
        return ((0, n),) if self.config.front_end == "in_order" else tuple((c, c + 1) for c in range(n))

    def _arrivals(self, n: int, arrival_fs: ArrayLike | None) -> Array:
        """In cycles, rounded up."""
        if arrival_fs is None:
            return np.full(n, self._last_arrival, np.int64)
        given = np.asarray(arrival_fs)
        if not np.issubdtype(given.dtype, np.integer):
            raise InputError(f"feed {self.config.name}", f"arrival times of type {given.dtype}", "integer femtoseconds")
        arrival = -(-given.astype(np.int64).ravel() // self.config.cycle_fs)
        if arrival.size:
            if int(given.min()) < 0:
                raise InputError(
                    f"feed {self.config.name}", f"a negative arrival time ({given.min()} fs)", "0 fs or later"
                )
            if np.any(np.diff(arrival) < 0) or int(arrival[0]) < self._last_arrival:
                raise InputError(f"feed {self.config.name}", "arrival times that go back", "requests sorted by arrival")
            self._last_arrival = int(arrival[-1])
        return arrival

    def _run(
        self, places: Places, writes: NDArray[np.bool_], arrival: Array, order: Array, base: int, low: int, high: int
    ) -> None:
        self._controller(
            self._parameters, self._effects.table, self._effects.at, self._history, self._ready, self._registers,
            self._bank, self._queue, self._active, self._refresh, self._log, self._out, places.channel,
            places.transaction, places.bank, places.row, writes, arrival, order, base, low, high,
        )  # fmt: skip


@functools.lru_cache(64)
def _tables(
    standard: str, timing: tuple[tuple[str, int], ...], shape: tuple[int, int, int, int]
) -> tuple[RuleTable, Effects]:
    """The table of constraints, resolved and unrolled. Memories that are alike share it; nobody writes to it."""
    ranks, stacks, groups, banks = shape
    sizes = {"ranks": ranks, "stacks": stacks, "groups": groups, "banks": banks}
    table = build_rules(STANDARDS[standard], dict(timing), sizes)
    in_rank = stacks * groups * banks
    return table, unroll(table, ranks * in_rank, in_rank, STANDARDS[standard].ticks_per_clock == 2)


def _queue_room(c: DramConfig) -> int:
    """Places of a queue, a vector of them empty: few sizes, for each is compiled."""
    longest = max(c.read_queue, c.write_queue, at.SHORT_QUEUE)
    return (1 << (longest - 1).bit_length()) + at.LANES


def _parameters(c: DramConfig) -> Array:
    made = np.zeros(at.PARAMETERS, np.int64)
    read, write = c.cycles("CL") + c.cycles("BL"), c.cycles("CWL") + c.cycles("BL")
    close_after = {"open": -1, "closed": 0, "timeout": c.row_timeout * c.standard.ticks_per_clock}
    interval = {"all_bank": "REFI", "per_bank": "REFIPB"}
    values = {
        at.P_BANKS: c.banks_per_channel,
        at.P_RANK_BANKS: c.banks_per_rank,
        at.P_QUEUE_READ: c.read_queue,
        at.P_QUEUE_WRITE: c.write_queue,
        # more than 25.6 writes are 26, less than 6.4 are 6
        at.P_HIGH: math.floor(c.high_watermark * c.write_queue),
        at.P_LOW: math.ceil(c.low_watermark * c.write_queue),
        at.P_READ_DONE: read,
        at.P_WRITE_DONE: write,
        at.P_REFRESH: {"none": at.NO_REFRESH, "all_bank": at.ALL_BANK, "per_bank": at.PER_BANK}[c.refresh],
        at.P_INTERVAL: 0 if c.refresh == "none" else c.cycles(interval[c.refresh]),
        at.P_CLOSE_AFTER: close_after[c.row_policy],
        at.P_DUAL_BUS: int(c.standard.dual_bus),
        at.P_HALF_TICKS: int(c.standard.ticks_per_clock == 2),
        at.P_ACTIVATE_TICKS: ticks(c.standard, "ACT"),
        at.P_SPLIT: int(c.standard.split_activate),
        at.P_SPLIT_LIMIT: c.timing.get("AAD", 0),
        at.P_SYNC: int(c.standard.clock_sync and c.clock_sync),
        at.P_SYNC_READ: read + c.timing.get("WCKPST", 0),
        at.P_SYNC_WRITE: write + c.timing.get("WCKPST", 0),
        at.P_WIDTH: c.accept_per_cycle,
        at.P_LOG: c.log_commands,
    }
    for index, value in values.items():
        made[index] = value
    return made
