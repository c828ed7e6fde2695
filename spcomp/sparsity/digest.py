"""Content hashes of large buffers, fast enough to take for every weight."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def leaf_digest(data: memoryview) -> bytes:
    """SHA-256 of one chunk. With SHA extensions 2 GB/s and more per core; releases the interpreter lock."""
    return hashlib.sha256(data).digest()


class Leaf:
    """:func:`leaf_digest` of a chunk that comes in pieces."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def update(self, data: memoryview) -> None:
        self._state.update(data)

    def digest(self) -> bytes:
        return self._state.digest()


def root_digest(header: str, leaves: Iterable[bytes]) -> str:
    """BLAKE2b-128 in hex over ``header`` and the leaves' SHA-256 digests: a tree hash of two levels.

    Collision-resistant as far as 128 bits go, as long as ``header`` says how the data was cut into leaves (dtype and
    shape do, where the cut depends on nothing else): then no two different inputs share the hashed text.
    """
    state = hashlib.blake2b(header.encode(), digest_size=16, person=b"spcomp-tree-1")
    state.update(b"\0")
    for leaf in leaves:
        state.update(leaf)
    return state.hexdigest()


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``[work(item) for item in items]``, on all cores this process may use; for work that releases the lock."""
    workers = min(len(items), _usable_cores())
    if workers < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
