"""Caches: any number of set-associative levels, private to cores or shared, over whole blocks of addresses.

>>> caches = Caches([CacheLevel.parse("32k,8,64"), CacheLevel.parse("1m,16,64")])

What is modelled and what is not: ``docs/simulation.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcomp.errors import InputError
from spcomp.sim.parts import cache_layout as at
from spcomp.sim.parts.cache_kernel import run
from spcomp.sim.parts.cache_level import INCLUSIONS, PREFETCHERS, REPLACEMENTS, CacheLevel, LevelCounts
from spcomp.sim.parts.cache_one_core_state import OneCore

__all__ = ["Accesses", "CacheLevel", "Caches", "LevelCounts"]

Array: TypeAlias = NDArray[np.int64]
BLOCK = 1 << 20
"""Memory requests that are gathered before they are copied out."""


@dataclass(frozen=True, eq=False)
class Accesses:
    """What became of a block of accesses, and what went to memory: whole lines, in order.

    ``cycle`` is 0 throughout unless a level or the memory has a latency, or a level has ``mshrs``.
    """

    level: NDArray[np.uint8]
    """[n]: the level that had it, counted from 0; the number of levels for memory."""
    fetched_ahead: NDArray[np.bool_]
    """[n]: whether a prefetcher had brought the line there, and this is its first use."""
    address: Array
    """[requests]: byte address of the line."""
    is_write: NDArray[np.bool_]
    access: Array
    """[requests]: the access that caused it, counted over all blocks."""
    cycle: Array
    """[requests]: when that access began."""


class Caches:
    """A hierarchy with state that persists: a stream in pieces gives what it gives whole.

    Args:
        levels: from the cores to the memory. Private ones come before shared ones.
        cores: how many.
        whole_accesses: an access over two lines is one access, which misses if either line does and goes down whole, as
            in cachegrind; reads only. Else each line is an access.
        memory_latency_cycles: after the last level.
        seed: of random replacement.

    Raises:
        InputError: an impossible hierarchy.
    """

    def __init__(
        self,
        levels: Sequence[CacheLevel],
        *,
        cores: int = 1,
        whole_accesses: bool = False,
        memory_latency_cycles: int = 0,
        seed: int = 0,
    ) -> None:
        _check(levels, cores, memory_latency_cycles)
        self.levels = tuple(levels)
        self.cores = cores
        self.line_bytes = levels[0].line_bytes
        table = np.zeros((len(levels), at.LEVEL_FIELDS), np.int64)
        size = trees = 0
        for row, level in zip(table, levels, strict=True):
            copies = 1 if level.shared else cores
            lines = level.sets * level.ways
            row[:] = (
                level.sets, level.ways, size, lines if copies > 1 else 0, trees, level.sets if copies > 1 else 0,
                REPLACEMENTS.index(level.replacement), level.write_back, level.write_allocate,
                INCLUSIONS.index(level.inclusion), PREFETCHERS.index(level.prefetch), level.degree, level.mshrs,
                level.latency_cycles, copies,
            )  # fmt: skip
            size += copies * lines
            trees += copies * level.sets
        timed = memory_latency_cycles > 0 or any(level.latency_cycles or level.mshrs for level in levels)
        prefetching = any(level.prefetch != "none" for level in levels)
        shift = self.line_bytes.bit_length() - 1
        pages = max(1, at.PAGE_BYTES // self.line_bytes)
        large = next((k for k, v in enumerate(levels) if v.sets * v.ways * 8 > at.LARGE_BYTES), len(levels))
        self._common = np.array(
            [whole_accesses, pages, prefetching, timed, memory_latency_cycles, shift, large], np.int64
        )
        self._table = table
        self._registers = np.zeros(at.REGISTERS, np.int64)
        self._registers[at.R_RANDOM] = np.int64((seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & ((1 << 63) - 1)) | 1
        self._registers[at.R_ACCESS] = self._registers[at.R_CYCLE] = -1
        self._counts = np.zeros((len(levels), at.COUNTS), np.int64)
        self._pending = np.zeros((3, at.SPARE), np.int64)
        self._out = np.zeros((4, 2 * at.SPARE), np.int64)
        self._streams = np.full((len(levels), cores, 4, at.STREAMS), -1, np.int64)
        most = max(1, *(level.mshrs for level in levels))
        self._mshrs = np.full((len(levels), cores, 2, most), -1, np.int64)
        fits = cores == 1 and not timed and not whole_accesses
        self._sets = OneCore.of(levels) if fits else None
        if self._sets is None:
            self._entries, self._tree = np.full(size, at.EMPTY, np.int64), np.zeros(trees, np.int64)

    def access(
        self,
        addresses: ArrayLike,
        is_write: ArrayLike | None = None,
        sizes: ArrayLike | None = None,
        core: ArrayLike | None = None,
    ) -> Accesses:
        """Run a block of accesses.

        Args:
            addresses: [n], bytes.
            is_write: [n]; None: all read.
            sizes: [n], bytes; None: within one line each.
            core: [n]; None: the first.

        Raises:
            InputError: lengths that differ, negative addresses, sizes below 1, no such core.
        """
        where = np.ascontiguousarray(addresses, np.int64).ravel()
        writes = np.ascontiguousarray([] if is_write is None else is_write, np.bool_).ravel()
        lengths = np.ascontiguousarray([] if sizes is None else sizes, np.int64).ravel()
        cores = np.ascontiguousarray([] if core is None else core, np.int64).ravel()
        self._check_block(where, writes, lengths, cores, (is_write, sizes, core))
        if (
            self._sets is not None
            and where.size
            and not self._sets.holds(int(where.max()), int(lengths.max(initial=0)))
        ):
            self._leave_sets()
        had = np.zeros(where.size, np.uint8)
        if self._sets is not None:
            address, access, written = self._sets.run((self._registers, self._counts), where, writes, lengths, had)
            cycle = np.zeros(address.size, np.int64)
        else:
            address, access, written, cycle = self._run_general(where, writes, lengths, cores, had)
        ahead = had >= at.FIRST_USE
        had &= at.FIRST_USE - 1
        return Accesses(had, ahead, address, written, access, cycle)

    def _run_general(
        self, where: Array, writes: NDArray[np.bool_], lengths: Array, cores: Array, had: NDArray[np.uint8]
    ) -> tuple[Array, Array, NDArray[np.bool_], Array]:
        """Requests: byte addresses, the accesses that caused them, which are writes, and cycles."""
        if self._out.shape[1] < min(where.size, BLOCK) + at.SPARE:
            self._out = np.zeros((4, min(where.size, BLOCK) + 2 * at.SPARE), np.int64)
        pieces: list[Array] = []
        done = 0
        while done < where.size:
            self._registers[at.R_OUT] = 0
            done = run(
                self._common, self._table, self._entries, self._tree, self._registers, self._counts, self._pending,
                self._out, self._streams, self._mshrs, where, writes, lengths, cores, had, done,
            )  # fmt: skip
            pieces.append(self._out[:, : self._registers[at.R_OUT]].copy())
        out = np.concatenate(pieces, axis=1) if pieces else np.zeros((4, 0), np.int64)
        cycle = np.maximum(out[at.O_CYCLE], 0)
        return out[at.O_LINE] * self.line_bytes, out[at.O_ACCESS], out[at.O_WRITE] > 0, cycle

    def flush(self) -> Array:
        """Empty all levels; returns the byte addresses of the lines that were dirty, sorted: they go to memory."""
        if self._sets is not None:
            self._leave_sets()
        dirty = self._entries[(self._entries != at.EMPTY) & (self._entries & at.DIRTY > 0)] >> 2
        self._entries[:] = at.EMPTY
        return np.unique(dirty) * self.line_bytes

    def _leave_sets(self) -> None:
        """Go on with the kernel for all hierarchies, which holds any address."""
        assert self._sets is not None
        self._entries, self._tree = self._sets.entries(), self._sets.trees()
        self._sets = None

    def counts(self) -> tuple[LevelCounts, ...]:
        """Of each level, since the hierarchy was made."""
        return tuple(LevelCounts(*(int(v) for v in row)) for row in self._counts)

    @property
    def cycles(self) -> int:
        """Until the last access has ended, where levels have latencies."""
        return int(self._registers[at.R_LAST])

    @property
    def stalled_cycles(self) -> int:
        """Cycles in which an access waited for a miss register."""
        return int(self._registers[at.R_STALLED])

    def _check_block(
        self,
        where: Array,
        writes: NDArray[np.bool_],
        lengths: Array,
        cores: Array,
        given: tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None],
    ) -> None:
        asked = f"access a cache {where.size} times"
        for name, values, value in zip(("is_write", "sizes", "core"), (writes, lengths, cores), given, strict=True):
            if value is not None and values.size != where.size:
                raise InputError(asked, f"{name} has {values.size} elements", "arrays of one length")
        if where.size and int(where.min()) < 0:
            raise InputError(asked, f"a negative address ({int(where.min())})", "byte addresses from 0 up")
        if lengths.size and int(lengths.min()) < 1:
            raise InputError(asked, f"an access of {int(lengths.min())} bytes", "at least 1 byte")
        if cores.size and not 0 <= int(cores.min()) <= int(cores.max()) < self.cores:
            raise InputError(asked, f"cores {int(cores.min())} to {int(cores.max())}", f"cores 0 to {self.cores - 1}")
        if self._common[at.G_WHOLE] and lengths.size and int(lengths.max()) > at.SPARE // 2 * self.line_bytes:
            most = at.SPARE // 2 * self.line_bytes
            raise InputError(asked, f"an access of {int(lengths.max())} bytes, whole", f"at most {most} bytes")
        if self._common[at.G_WHOLE] and writes.any():
            raise InputError(
                asked, "writes, with whole_accesses", "is_write=None: cachegrind's caches take all as reads"
            )


def _check(levels: Sequence[CacheLevel], cores: int, memory_latency_cycles: int) -> None:
    asked = f"build a hierarchy of {len(levels)} levels"
    if not levels or cores < 1 or memory_latency_cycles < 0:
        found = f"{len(levels)} levels, {cores} cores, a memory latency of {memory_latency_cycles}"
        raise InputError(asked, found, "at least one level and one core, and a latency of 0 or more")
    for k, level in enumerate(levels):
        level.check()
        if level.line_bytes != levels[0].line_bytes:
            found = f"lines of {levels[0].line_bytes} and of {level.line_bytes} bytes"
            raise InputError(asked, found, "one line size for all levels")
        if k and not level.shared and levels[k - 1].shared:
            raise InputError(asked, f"level {k + 1} is private below a shared one", "private levels first")
    if levels[0].inclusion == "exclusive":
        raise InputError(asked, "the first level is exclusive", "exclusive levels below another")
