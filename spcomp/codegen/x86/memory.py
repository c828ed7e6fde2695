"""Memory for generated code and its constants: filled while writable, sealed before anybody uses it.

A :class:`Region` is an anonymous mapping. It starts readable and writable; :meth:`Region.seal` makes it read-only or
readable and executable, for good (:meth:`Region.seal_parts`: page by page). At no time is any of it writable and
executable. Freed with the last reference to it.

Code of a layer is often smaller than a huge page, and in small ones every 4 KB cost a walk through the tables of guest
and host: 4 to 8 % of a network's time. So what an :class:`Arena` gives lies side by side, and what is sealed there is
gathered in huge pages that several regions share.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import KernelError

HUGE_BYTES = 2 * 1024 * 1024
PAGE_BYTES = mmap.PAGESIZE
SHARED_BYTES = 64 * 1024
"""Regions of fewer bytes are mappings of their own; they would cut up the huge pages of others."""
SPAN_BYTES = 32 * HUGE_BYTES
"""Addresses that an arena reserves at a time; no memory."""
_NOTHING, _READ, _WRITE, _EXECUTE = 0, 1, 2, 4
_PRIVATE_ANONYMOUS, _NO_RESERVE = 0x22, 0x4000
_DONTNEED, _HUGEPAGE, _COLLAPSE = 4, 14, 25
_FAILED = ctypes.c_void_p(-1).value


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


def _refused(what: str) -> KernelError:
    return KernelError(
        what, os.strerror(ctypes.get_errno()), "kernels without generated machine code, or a system that allows it"
    )


@functools.cache
def _offered() -> bool:
    """Whether the system has huge pages for who asks."""
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


@dataclass(eq=False)
class _Span:
    """Reserved addresses, whole huge pages: what is free of them, and what is being written."""

    start: int
    nbytes: int
    holes: list[tuple[int, int]]
    """Where free pages begin and end, in order; no two touch."""
    writable: set[tuple[int, int]] = field(default_factory=set)

    def take(self, nbytes: int) -> int | None:
        """The first place for so many bytes."""
        for i, (lo, hi) in enumerate(self.holes):
            if hi - lo >= nbytes:
                self.holes[i : i + 1] = [(lo + nbytes, hi)] if hi - lo > nbytes else []
                self.writable.add((lo, lo + nbytes))
                return lo
        return None

    def give(self, lo: int, hi: int) -> None:
        """Free again."""
        self.writable.discard((lo, hi))
        joined = []
        for hole in self.holes:
            if hole[1] == lo:
                lo = hole[0]
            elif hole[0] == hi:
                hi = hole[1]
            else:
                joined.append(hole)
        self.holes = sorted([*joined, (lo, hi)])

    def used(self, lo: int, hi: int) -> int:
        """Bytes between these addresses that are not free."""
        return hi - lo - sum(max(0, min(hi, b) - max(lo, a)) for a, b in self.holes)


class Arena:
    """Memory for regions that are sealed with the same ``rights``: side by side, in huge pages where there are some.

    Pages are reserved, writable, and then sealed as long as a region has them; free ones hold nothing, and are taken
    again. Thread safe, also where garbage collection frees a region while this thread takes one.
    """

    def __init__(self, rights: int) -> None:
        self.rights = rights
        self._spans: list[_Span] = []
        self._lock = threading.Lock()
        self._freed: deque[tuple[int, int]] = deque()

    def take(self, nbytes: int) -> int:
        """The address of so many bytes, whole pages, that may be written."""
        with self._lock:
            for span in self._spans:
                if (address := span.take(nbytes)) is not None:
                    break
            else:
                span = self._reserved(nbytes)
                found = span.take(nbytes)
                assert found is not None
                address = found
            if _libc().mprotect(address, nbytes, _READ | _WRITE) != 0:
                span.give(address, address + nbytes)
                raise _refused(f"map {nbytes} bytes for generated code")
        self._forget()
        return address

    def _reserved(self, nbytes: int) -> _Span:
        size = max(SPAN_BYTES, -(-nbytes // HUGE_BYTES) * HUGE_BYTES)
        start = _map(size, _NOTHING, _NO_RESERVE)
        self._spans.append(_Span(start, size, [(start, start + size)]))
        return self._spans[-1]

    def seal(self, address: int, nbytes: int) -> int:
        """Zero, or what ``mprotect`` says; huge pages for all that is sealed round there, if the system has them."""
        with self._lock:
            refused: int = _libc().mprotect(address, nbytes, self.rights)
            if refused == 0:
                span = self._span(address)
                span.writable.discard((address, address + nbytes))
                if _offered():
                    self._gather(span, address, address + nbytes)
        self._forget()
        return refused

    def _gather(self, span: _Span, lo: int, hi: int) -> None:
        """Whole huge pages, at least half used and nowhere written, become one each; free pages in them are sealed."""
        for at in range(lo // HUGE_BYTES * HUGE_BYTES, hi, HUGE_BYTES):
            end = at + HUGE_BYTES
            written = any(a < end and b > at for a, b in span.writable)
            if written or 2 * span.used(at, end) < HUGE_BYTES or _libc().mprotect(at, HUGE_BYTES, self.rights) != 0:
                continue
            _libc().madvise(at, HUGE_BYTES, _COLLAPSE)  # no matter if the system has none, or cannot

    def free(self, address: int, nbytes: int) -> None:
        """Soon, if not at once."""
        self._freed.append((address, nbytes))
        self._forget()

    def _forget(self) -> None:
        while self._freed and self._lock.acquire(blocking=False):  # else who holds it comes here afterwards
            try:
                while self._freed:
                    address, nbytes = self._freed.popleft()
                    span = self._span(address)
                    span.give(address, address + nbytes)
                    if span.holes == [(span.start, span.start + span.nbytes)]:
                        _libc().munmap(span.start, span.nbytes)
                        self._spans.remove(span)
                    else:
                        _libc().mprotect(address, nbytes, _NOTHING)
                        _libc().madvise(address, nbytes, _DONTNEED)
            finally:
                self._lock.release()

    def _span(self, address: int) -> _Span:
        return next(s for s in self._spans if s.start <= address < s.start + s.nbytes)


CODE = Arena(_READ | _EXECUTE)
CONSTANTS = Arena(_READ)


class Region:
    """``nbytes`` of memory, zeros at first, page aligned; at 2 MB and above aligned for huge pages and asking for them.

    With an ``arena`` it lies among others that are sealed alike, if it is not small. Raises :class:`KernelError` where
    the system refuses.
    """

    def __init__(self, nbytes: int, arena: Arena | None = None) -> None:
        self.nbytes = nbytes
        self.mapped_nbytes = -(-max(1, nbytes) // PAGE_BYTES) * PAGE_BYTES
        self._arena = arena if self.mapped_nbytes >= SHARED_BYTES else None
        if self._arena is not None:
            self.address = self._arena.take(self.mapped_nbytes)
            free = self._arena.free
        else:
            self.address, free = _map(self.mapped_nbytes), _libc().munmap
        self._free = weakref.finalize(self, free, self.address, self.mapped_nbytes)
        self._free.atexit = False  # other threads may still run kernels while the interpreter shuts down
        self._sealed = False

    def write(self, offset: int, content: bytes | NDArray[np.generic]) -> None:
        """Copy bytes in. Raises ValueError outside the region, or after :meth:`seal`."""
        octets = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content.reshape(-1).view(np.uint8)
        if self._sealed or offset < 0 or offset + octets.size > self.nbytes:
            raise ValueError(f"{octets.size} bytes at {offset} of a {self._state()} region of {self.nbytes}")
        ctypes.memmove(self.address + offset, octets.ctypes.data, octets.size)

    def seal(self, *, executable: bool) -> None:
        """From now on readable only, or readable and executable. Raises ValueError if its arena's rights are others."""
        rights = _READ | (_EXECUTE if executable else 0)
        if self._arena is None:
            refused = _libc().mprotect(self.address, self.mapped_nbytes, rights)
        elif rights == self._arena.rights:
            refused = self._arena.seal(self.address, self.mapped_nbytes)
        else:
            raise ValueError(f"a region of an arena with rights {self._arena.rights}, to be sealed with {rights}")
        if refused != 0:
            raise _refused("make generated code executable" if executable else "make constants read-only")
        self._sealed = True

    def seal_parts(self, code_nbytes: int, constant_end: int) -> None:
        """From now on the first ``code_nbytes`` are readable and executable, from there to ``constant_end`` readable.

        Both in whole pages; what follows stays writable. Raises ValueError for other cuts.
        """
        whole = (code_nbytes | constant_end) % PAGE_BYTES == 0 and self._arena is None
        if not whole or not 0 <= code_nbytes <= constant_end <= self.mapped_nbytes:
            raise ValueError(f"cuts at {code_nbytes} and {constant_end} of {self.mapped_nbytes} bytes in pages")
        for lo, hi, rights in ((0, code_nbytes, _READ | _EXECUTE), (code_nbytes, constant_end, _READ)):
            if hi > lo and _libc().mprotect(self.address + lo, hi - lo, rights) != 0:
                raise _refused("make compiled code executable")
        self._sealed = True

    def _state(self) -> str:
        return "sealed" if self._sealed else "writable"


def _map(nbytes: int, rights: int = _READ | _WRITE, flags: int = 0) -> int:
    """Address of an anonymous mapping of whole pages."""
    spare = HUGE_BYTES if nbytes >= HUGE_BYTES else 0
    address = _libc().mmap(None, nbytes + spare, rights, _PRIVATE_ANONYMOUS | flags, -1, 0)
    if address in (None, _FAILED):
        raise _refused(f"map {nbytes} bytes for generated code")
    assert isinstance(address, int)
    if not spare:
        return address
    aligned = -(-address // HUGE_BYTES) * HUGE_BYTES
    if aligned > address:
        _libc().munmap(address, aligned - address)
    if (rest := address + spare - aligned) > 0:
        _libc().munmap(aligned + nbytes, rest)
    _libc().madvise(aligned, nbytes // HUGE_BYTES * HUGE_BYTES, _HUGEPAGE)  # no matter if the system has none
    return aligned


@functools.cache
def unavailable() -> str | None:
    """Why generated x86-64 code cannot run in this process, or None. Tries it once, with a function that returns."""
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        return f"machine code is generated for x86-64 Linux, this is {platform.machine()} {platform.system()}"
    try:
        region = Region(1)
        region.write(0, b"\xc3")
        region.seal(executable=True)
    except (KernelError, OSError, AttributeError) as error:
        return f"executable memory is refused ({error})"
    ctypes.CFUNCTYPE(None)(region.address)()
    return None
