"""What happened when: slices on tracks, and counters. Times are femtoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from spcomp.errors import InputError


class Slice(NamedTuple):
    """Something that a track did from ``begin_fs`` up to, not including, ``end_fs``."""

    track: str
    name: str
    begin_fs: int
    end_fs: int


class Sample(NamedTuple):
    """A counter's value from ``time_fs`` on."""

    counter: str
    time_fs: int
    value: int


@dataclass
class Timeline:
    """Slices of one track never overlap; they are added in order."""

    slices: list[Slice] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    _ends: dict[str, int] = field(default_factory=dict)

    def add(self, track: str, name: str, begin_fs: int, end_fs: int) -> None:
        """Raises :class:`InputError` for a slice that ends before it begins, or overlaps the track's last."""
        before = self._ends.get(track, 0)
        if not before <= begin_fs <= end_fs:
            found = f"{begin_fs} to {end_fs} fs, after a slice that ends at {before} fs"
            raise InputError(f"add {name!r} to the track {track!r}", found, "slices in order that do not overlap")
        self._ends[track] = end_fs
        self.slices.append(Slice(track, name, begin_fs, end_fs))

    def count(self, counter: str, time_fs: int, value: int) -> None:
        self.samples.append(Sample(counter, time_fs, value))

    def extend(self, other: Timeline) -> None:
        """Add another one behind the end of this one."""
        shift = max(self._ends.values(), default=0)
        for s in other.slices:
            self.add(s.track, s.name, s.begin_fs + shift, s.end_fs + shift)
        for c in other.samples:
            self.count(c.counter, c.time_fs + shift, c.value)

    def busy_fs(self, track: str) -> int:
        return sum(s.end_fs - s.begin_fs for s in self.slices if s.track == track)
