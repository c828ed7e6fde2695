"""What a level of a cache hierarchy is, and what it has counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from spcomp.errors import InputError

REPLACEMENTS = ("lru", "plru", "random")
INCLUSIONS = ("non_inclusive", "inclusive", "exclusive")
PREFETCHERS = ("none", "next_line", "stride")
MAX_DEGREE = 64


@dataclass(frozen=True)
class CacheLevel:
    """One level.

    Args:
        size_bytes: of one copy.
        ways: lines in a set; a power of two for ``plru``.
        line_bytes: the same in all levels of a hierarchy.
        replacement: ``lru``, ``plru`` (a tree of bits) or ``random`` (seeded).
        write_back: dirty lines are written when they are evicted; else every store goes on to the next level at once.
        write_allocate: a store that misses fetches its line; else it goes on to the next level.
        inclusion: ``inclusive``: what it evicts leaves all levels above. ``exclusive``: it holds what the level above
            evicted, and gives up what is read. ``non_inclusive``: neither.
        shared: by all cores; else each has a copy.
        mshrs: how many lines may be under way at once; 0: any number.
        latency_cycles: of a lookup.
        prefetch: ``next_line`` (on a miss, or when a line that was prefetched is first used) or ``stride`` (after
            two equal strides within a page of 4 KiB).
        degree: lines to prefetch at once.
    """

    size_bytes: int
    ways: int
    line_bytes: int = 64
    replacement: str = "lru"
    write_back: bool = True
    write_allocate: bool = True
    inclusion: str = "non_inclusive"
    shared: bool = True
    mshrs: int = 0
    latency_cycles: int = 0
    prefetch: str = "none"
    degree: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """``32k,8,64`` is 32 KiB, 8 ways, lines of 64 bytes; then, if wanted, any of ``lru plru random write_through
        no_allocate inclusive exclusive private next_line stride``, ``mshrs=N``, ``latency=N`` and ``degree=N``.

        Raises:
            InputError: what this cannot be read as.
        """
        asked = f"read the cache level {text!r}"
        parts = [p.strip().lower() for p in text.split(",")]
        size = re.fullmatch(r"(\d+)([kmg]?)i?b?", parts[0])
        if size is None or len(parts) < 2 or not all(p.isdigit() for p in parts[1:3]):
            raise InputError(asked, "no size, ways and line", "32k,8,64")
        made: dict[str, int | str | bool] = {}
        for word in parts[3:]:
            name, _, number = word.partition("=")
            if word in REPLACEMENTS:
                made["replacement"] = word
            elif word in INCLUSIONS:
                made["inclusion"] = word
            elif word in PREFETCHERS:
                made["prefetch"] = word
            elif word in ("write_through", "no_allocate", "private"):
                made[{"write_through": "write_back", "no_allocate": "write_allocate", "private": "shared"}[word]] = (
                    False
                )
            elif name in ("mshrs", "latency", "degree") and number.isdigit():
                made["latency_cycles" if name == "latency" else name] = int(number)
            else:
                known = [*REPLACEMENTS, *INCLUSIONS, *PREFETCHERS, "write_through", "no_allocate", "private", "mshrs=8"]
                raise InputError(asked, f"{word!r} says nothing", f"one of {', '.join(known)}, latency=4, degree=2")
        bytes_ = int(size[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[size[2]]
        return cls(bytes_, int(parts[1]), int(parts[2]) if len(parts) > 2 else 64, **made)  # type: ignore[arg-type]

    @property
    def sets(self) -> int:
        return self.size_bytes // (self.ways * self.line_bytes)

    def check(self) -> None:
        """Raise :class:`InputError` where no such level can be."""
        asked = f"build a cache of {self.size_bytes} bytes, {self.ways} ways, lines of {self.line_bytes} bytes"
        for name in ("size_bytes", "ways", "line_bytes"):
            if getattr(self, name) < 1:
                raise InputError(asked, f"{name} is {getattr(self, name)}", f"{name} of at least 1")
        if self.line_bytes & (self.line_bytes - 1):
            raise InputError(asked, f"lines of {self.line_bytes} bytes", "a power of two")
        if self.sets * self.ways * self.line_bytes != self.size_bytes or self.sets & (self.sets - 1) or not self.sets:
            exact = self.size_bytes / (self.ways * self.line_bytes)
            way = self.ways * self.line_bytes
            near = way << max(0, round(np.log2(max(1.0, exact))))
            raise InputError(asked, f"{exact:g} sets, no power of two", f"size_bytes={near}")
        for name, choices in (("replacement", REPLACEMENTS), ("inclusion", INCLUSIONS), ("prefetch", PREFETCHERS)):
            if getattr(self, name) not in choices:
                raise InputError(asked, f"{name} is {getattr(self, name)!r}", ", ".join(choices))
        if self.replacement == "plru" and (self.ways & (self.ways - 1) or self.ways > 32):
            raise InputError(asked, f"a tree over {self.ways} ways", "2, 4, 8, 16 or 32 ways, or lru")
        if self.mshrs < 0 or self.latency_cycles < 0:
            raise InputError(asked, "negative mshrs or latency_cycles", "0 or more")
        if not 1 <= self.degree <= MAX_DEGREE:
            raise InputError(asked, f"degree is {self.degree}", f"1 to {MAX_DEGREE}")


@dataclass(frozen=True)
class LevelCounts:
    """What one level has seen. Reads include those that a level above or a prefetcher asks for."""

    read_hits: int
    read_misses: int
    write_hits: int
    write_misses: int
    writebacks: int
    """Dirty lines evicted."""
    evictions: int
    invalidations: int
    """Lines taken out because an inclusive level below evicted them."""
    prefetches: int
    useful_prefetches: int
    victims: int
    """Lines that the level above handed down."""

    @property
    def hits(self) -> int:
        return self.read_hits + self.write_hits

    @property
    def misses(self) -> int:
        return self.read_misses + self.write_misses
