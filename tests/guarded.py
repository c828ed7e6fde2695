"""Memory that ends where nobody may read or write: what a kernel touches past a buffer ends the test."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np


class Guarded:
    """Bytes that end where a page that nobody may touch begins."""

    def __init__(self, data: np.ndarray) -> None:  # type: ignore[type-arg]
        page = mmap.PAGESIZE
        octets = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        size = -(-max(octets.size, 1) // page) * page
        self.memory = mmap.mmap(-1, size + page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        libc = ctypes.CDLL(None)
        assert libc.mprotect(ctypes.c_void_p(base + size), ctypes.c_size_t(page), 0) == 0
        self.address = base + size - octets.size
        self.view = np.frombuffer(self.memory, dtype=np.uint8)[size - octets.size : size]
        self.view[:] = octets
