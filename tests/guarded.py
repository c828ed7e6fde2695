"""Memory whose neighbourhood tells: pages that nobody may touch end the test, canaries show what was written."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import numpy as np
import torch

from spcomp.codegen.x86 import memory

PAGE = mmap.PAGESIZE


class Guarded:
    """Bytes that end (or begin) where a page that nobody may touch begins (or ends). Never freed."""

    def __init__(self, data: np.ndarray, *, at_end: bool = True) -> None:  # type: ignore[type-arg]
        octets = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        self.address = guarded(octets.size, at_end=at_end)
        self.view = np.ctypeslib.as_array((ctypes.c_uint8 * octets.size).from_address(self.address))
        self.view[:] = octets


def guarded(nbytes: int, *, at_end: bool = True) -> int:
    """Address of ``nbytes`` bytes that end (or begin) at a page which cannot be touched; never freed."""
    pages = -(-max(1, nbytes) // PAGE) * PAGE
    libc = memory._libc()
    start = libc.mmap(None, pages + 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANON, -1, 0)
    for page in (start, start + PAGE + pages):
        assert libc.mprotect(page, PAGE, 0) == 0
    return int(start + PAGE + (pages - nbytes if at_end else 0))


def between_canaries(size: int, edge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``size`` floats between two stretches of NaN, and the whole."""
    whole = torch.full((size + 2 * edge,), float("nan"))
    return whole[edge : edge + size], whole


def rights(address: int) -> str:
    """``r-xp`` and the like, of the mapping that holds an address; empty if there is none."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, found = line.split()[:2]
        lo, hi = (int(end, 16) for end in span.split("-"))
        if lo <= address < hi:
            return found
    return ""


def huge(address: int) -> int:
    """Bytes in huge pages of the mapping that an address is in."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first:
            lo, hi = (int(end, 16) for end in first.split("-"))
            inside = lo <= address < hi
        elif inside and first == "AnonHugePages:":
            return 1024 * int(rest[0])
    return 0


def pages(region: memory.Region) -> set[str]:
    """Rights of all its pages."""
    return {rights(page) for page in range(region.address, region.address + region.mapped_nbytes, PAGE)}


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
