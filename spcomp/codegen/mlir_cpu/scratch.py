"""Per-thread scratch memory for packed activations: grown on demand, reused by every kernel of the thread."""

from __future__ import annotations

import threading

import torch

ALIGNMENT = 4096
_local = threading.local()


def scratch(nbytes: int) -> int:
    """Address of at least ``nbytes`` bytes, page aligned, valid until this thread asks again."""
    held: tuple[int, int, torch.Tensor] | None = getattr(_local, "held", None)
    if held is None or held[1] < nbytes:
        memory = torch.empty((nbytes + ALIGNMENT) // 8 + 1, dtype=torch.int64, device="cpu")
        address = -(-memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        held = (address, nbytes, memory)
        _local.held = held
    _local.asked = nbytes
    return held[0]


def touch() -> None:
    """Read what this thread asked for last, so that it is in the caches; not all that it ever asked for."""
    held: tuple[int, int, torch.Tensor] | None = getattr(_local, "held", None)
    if held is not None:
        address, _, memory = held
        first = (address - memory.data_ptr()) // 8
        memory[first : first + -(-_local.asked // 8)].sum()
