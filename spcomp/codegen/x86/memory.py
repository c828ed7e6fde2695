"""Memory for generated code and its constants: filled while writable, sealed before anybody uses it.

A :class:`Region` is an anonymous mapping. It starts readable and writable; :meth:`Region.seal` makes it read-only or
readable and executable, for good (:meth:`Region.seal_parts`: page by page). At no time is any of it writable and
executable. Freed with the last reference to it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import weakref

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import KernelError

HUGE_BYTES = 2 * 1024 * 1024
PAGE_BYTES = mmap.PAGESIZE
_READ, _WRITE, _EXECUTE = 1, 2, 4
_PRIVATE_ANONYMOUS = 0x22
_HUGEPAGE = 14
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


class Region:
    """``nbytes`` of memory, zeros at first, page aligned; at 2 MB and above aligned for huge pages and asking for them.

    Raises :class:`KernelError` where the system refuses.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.mapped_nbytes = -(-max(1, nbytes) // PAGE_BYTES) * PAGE_BYTES
        self.address = _map(self.mapped_nbytes)
        self._free = weakref.finalize(self, _libc().munmap, self.address, self.mapped_nbytes)
        self._free.atexit = False  # other threads may still run kernels while the interpreter shuts down
        self._sealed = False

    def write(self, offset: int, content: bytes | NDArray[np.generic]) -> None:
        """Copy bytes in. Raises ValueError outside the region, or after :meth:`seal`."""
        octets = np.frombuffer(content, np.uint8) if isinstance(content, bytes) else content.reshape(-1).view(np.uint8)
        if self._sealed or offset < 0 or offset + octets.size > self.nbytes:
            raise ValueError(f"{octets.size} bytes at {offset} of a {self._state()} region of {self.nbytes}")
        ctypes.memmove(self.address + offset, octets.ctypes.data, octets.size)

    def seal(self, *, executable: bool) -> None:
        """From now on readable only, or readable and executable."""
        rights = _READ | (_EXECUTE if executable else 0)
        if _libc().mprotect(self.address, self.mapped_nbytes, rights) != 0:
            raise _refused("make generated code executable" if executable else "make constants read-only")
        self._sealed = True

    def seal_parts(self, code_nbytes: int, constant_end: int) -> None:
        """From now on the first ``code_nbytes`` are readable and executable, from there to ``constant_end`` readable.

        Both in whole pages; what follows stays writable. Raises ValueError for other cuts.
        """
        if not 0 <= code_nbytes <= constant_end <= self.mapped_nbytes or (code_nbytes | constant_end) % PAGE_BYTES:
            raise ValueError(f"cuts at {code_nbytes} and {constant_end} of {self.mapped_nbytes} bytes in pages")
        for lo, hi, rights in ((0, code_nbytes, _READ | _EXECUTE), (code_nbytes, constant_end, _READ)):
            if hi > lo and _libc().mprotect(self.address + lo, hi - lo, rights) != 0:
                raise _refused("make compiled code executable")
        self._sealed = True

    def _state(self) -> str:
        return "sealed" if self._sealed else "writable"


def _map(nbytes: int) -> int:
    """Address of an anonymous mapping of whole pages, readable and writable."""
    spare = HUGE_BYTES if nbytes >= HUGE_BYTES else 0
    address = _libc().mmap(None, nbytes + spare, _READ | _WRITE, _PRIVATE_ANONYMOUS, -1, 0)
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
