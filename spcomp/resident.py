"""What a compiled model keeps in memory, in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from spcomp.passes.tune_device import held

if TYPE_CHECKING:
    from spcomp.compiled import Parts


def resident_nbytes(parts: Parts) -> int:
    """Bytes of packed weights, dense weights, tables, and what stayed in the graph; each copy once.

    Of tensors that are parts of one larger memory, as the matrices of experts are, each counts, together at most that
    memory. Of a layer on a GPU, what its kernels hold there.
    """
    seen = _Seen()
    for tensor in parts.tensors.values():
        seen.add(tensor)
    extra: dict[int, int] = {}
    on_device = [slot.kernels[0].call.target == "cuda" for slot in parts.table]
    for slot in (s for s, there in zip(parts.table, on_device, strict=True) if there):
        for tensor in (t for kernel in slot.kernels for t in held(kernel)):
            seen.add(tensor)
    for record, decision, there in zip(parts.slots, parts.decisions, on_device, strict=True):
        if there:
            continue  # what it holds are copies on the CPU, to save it with
        if (record.conv is not None or decision.encoding == "dense int8") and record.weight is not None:
            seen.add(record.weight)
        for packed in record.packed:
            for buffer in packed.buffers.values():
                seen.add(buffer)
    for slot, there in zip(parts.table, on_device, strict=True):
        if there:
            continue
        if slot.gather is not None:
            extra[id(slot.gather)] = slot.gather.extra_nbytes
            seen.add(getattr(slot.gather, "weight", None))
        for kernel in slot.kernels:
            seen.add(getattr(kernel, "weight", None))
            extra[id(kernel)] = kernel.extra_nbytes
    restored = {id(r): r.nbytes for r in parts.state.restored.values()}
    return seen.nbytes + sum(extra.values()) + sum(restored.values())


class _Seen:
    """Tensors by the memory that they lie in."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, int]] = {}
        self._most: dict[int, int] = {}

    def add(self, tensor: object) -> None:
        """Nothing but tensors counts."""
        if not isinstance(tensor, torch.Tensor):
            return
        nbytes = tensor.numel() * tensor.element_size()
        if tensor.is_mkldnn:
            self._parts[id(tensor)], self._most[id(tensor)] = {0: nbytes}, nbytes
            return
        storage = tensor.untyped_storage()
        parts = self._parts.setdefault(storage.data_ptr(), {})
        parts[tensor.data_ptr()] = max(nbytes, parts.get(tensor.data_ptr(), 0))
        self._most[storage.data_ptr()] = storage.nbytes()

    @property
    def nbytes(self) -> int:
        return sum(min(self._most[memory], sum(parts.values())) for memory, parts in self._parts.items())
