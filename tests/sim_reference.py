"""What the simulator's parts are compared with: reference figures, their traces, and slow obvious caches."""

from __future__ import annotations

import csv
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "shared" / "reference"
DRAM_CSV = FOLDER / "dram_ramulator2.csv"


def dram_rows() -> list[dict[str, str]]:
    """Rows of the reference table, or none where it is absent."""
    if not DRAM_CSV.is_file():
        return []
    with DRAM_CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def dram_trace(kind: str, n: int, seed: int, write_fraction: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The trace of a row of the table, as the table's description gives it."""
    g = np.random.default_rng(seed)
    match kind:
        case "seq":
            a = np.arange(n) * 64
        case "random":
            a = g.integers(0, (1 << 30) // 64, n) * 64
        case "stride":
            a = (np.arange(n) * 64 * 1024 * 17) % (1 << 30)
        case "csr":
            gathered = g.integers(0, (64 << 20) // 64, n) * 64 + (512 << 20)
            pick = g.random(n) < 0.4
            a = np.where(pick, gathered, np.arange(n) * 64)
        case _:
            raise ValueError(kind)
    return a, g.random(n) < write_fraction


class SlowTree(OrderedDict[int, bool]):
    """A set replaced by a tree: lines keep their place; each half of places knows whether its other half goes next."""

    def __init__(self, ways: int) -> None:
        super().__init__()
        self.places: list[int | None] = [None] * ways
        self.right_goes: dict[tuple[int, int], bool] = {}

    def __setitem__(self, line: int, dirty: bool) -> None:
        if line not in self:
            self.places[self.places.index(None)] = line
            super().__setitem__(line, dirty)
            self.move_to_end(line)
        super().__setitem__(line, dirty)

    def move_to_end(self, line: int, last: bool = True) -> None:
        low, high, place = 0, len(self.places), self.places.index(line)
        while high - low > 1:
            middle = (low + high) // 2
            self.right_goes[low, high] = place < middle
            low, high = (low, middle) if place < middle else (middle, high)

    def pop(self, line: int, *default: bool) -> bool:  # type: ignore[override]
        if line in self:
            self.places[self.places.index(line)] = None
        return super().pop(line, *default)

    def popitem(self, last: bool = True) -> tuple[int, bool]:
        low, high = 0, len(self.places)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.right_goes.get((low, high), False) else (low, middle)
        line = self.places[low]
        assert line is not None
        return line, self.pop(line)


class SlowLevel:
    """A set-associative level: a dictionary a set, with LRU the latest used last; line -> dirty."""

    def __init__(
        self, sets: int, ways: int, write_back: bool, allocate: bool, inclusion: str, replacement: str = "lru"
    ) -> None:
        self.sets: list[OrderedDict[int, bool]] = [
            SlowTree(ways) if replacement == "plru" else OrderedDict() for _ in range(sets)
        ]
        self.ways = ways
        self.write_back, self.allocate, self.inclusion = write_back, allocate, inclusion
        self.counts = dict.fromkeys(("read_hits", "read_misses", "write_hits", "write_misses", "writebacks"), 0)

    def of(self, line: int) -> OrderedDict[int, bool]:
        return self.sets[line % len(self.sets)]


class SlowCaches:
    """One core's hierarchy in plain Python, line by line, with its traffic to memory."""

    def __init__(self, levels: list[SlowLevel]) -> None:
        self.levels = levels
        self.memory: list[tuple[int, bool]] = []
        self.waiting: list[tuple[int, int, bool]] = []

    def read(self, line: int) -> int:
        top = self.levels[0]
        if line in top.of(line):
            top.counts["read_hits"] += 1
            top.of(line).move_to_end(line)
            had = 0
        else:
            top.counts["read_misses"] += 1
            had, dirty = self.fetch(1, line)
            self.put(0, line, dirty)
        self.settle()
        return had

    def write(self, line: int) -> int:
        had = self.store(0, line, True, True)
        self.settle()
        return had

    def fetch(self, start: int, line: int) -> tuple[int, bool]:
        had, dirty = len(self.levels), False
        for k in range(start, len(self.levels)):
            here = self.levels[k]
            if line in here.of(line):
                here.counts["read_hits"] += 1
                here.of(line).move_to_end(line)
                if here.inclusion == "exclusive":
                    dirty = here.of(line).pop(line)
                had = k
                break
            here.counts["read_misses"] += 1
        else:
            self.memory.append((line, False))
        for k in reversed(range(start, had)):
            if self.levels[k].inclusion != "exclusive":
                self.put(k, line, False)
        return had, dirty

    def put(self, k: int, line: int, dirty: bool) -> None:
        here = self.levels[k]
        if len(here.of(line)) == here.ways:
            old, old_dirty = here.of(line).popitem(last=False)
            if here.inclusion == "inclusive":
                for above in self.levels[:k]:
                    old_dirty = above.of(old).pop(old, False) or old_dirty
            here.counts["writebacks"] += old_dirty
            below = self.levels[k + 1] if k + 1 < len(self.levels) else None
            if old_dirty or (below is not None and below.inclusion == "exclusive"):
                self.waiting.append((k + 1, old, old_dirty))
        here.of(line)[line] = dirty

    def store(self, k: int, line: int, demand: bool, dirty: bool) -> int:
        had = len(self.levels)
        while k < len(self.levels):
            here = self.levels[k]
            keep = dirty and here.write_back
            present = line in here.of(line)
            if demand:
                here.counts["write_hits" if present else "write_misses"] += 1
            if present:
                had = min(had, k)
                here.of(line)[line] |= keep
                here.of(line).move_to_end(line)
            elif here.allocate:
                if demand:
                    found, carried = self.fetch(k + 1, line)
                    had, keep = min(had, found), keep or carried
                self.put(k, line, keep)
            if not dirty or (here.write_back and (present or here.allocate)):
                return had
            k += 1
        self.memory.append((line, True))
        return had

    def settle(self) -> None:
        while self.waiting:
            k, line, dirty = self.waiting.pop(0)
            self.store(k, line, False, dirty)


def as_dict(counts: Any) -> dict[str, int]:
    """The counters that :class:`SlowLevel` keeps, of the fast caches."""
    names = ("read_hits", "read_misses", "write_hits", "write_misses", "writebacks")
    return {name: getattr(counts, name) for name in names}
