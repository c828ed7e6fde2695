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
        memory = torch.empty(nbytes + ALIGNMENT, dtype=torch.uint8, device="cpu")
        address = -(-memory.data_ptr() // ALIGNMENT) * ALIGNMENT
        held = (address, nbytes, memory)
        _local.held = held
    return held[0]


def touch() -> None:
    """Read this thread's scratch memory, so that it is in the caches."""
    held: tuple[int, int, torch.Tensor] | None = getattr(_local, "held", None)
    if held is not None:
        held[2].sum()
