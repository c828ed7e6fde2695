"""Tensors and the bytes they share: each storage is stored once, and views of one storage are views of one again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from spcomp.errors import ArtifactError

Reference = list[Any]
"""``[name]`` of a stored tensor, or ``[name, dtype, shape, strides, byte offset]`` for another view of it."""


class Pool:
    """Collects tensors to be saved; afterwards knows what to store and how each is found in it."""

    def __init__(self) -> None:
        self._names: dict[str, torch.Tensor] = {}

    def add(self, name: str, tensor: torch.Tensor) -> str:
        """Remember ``tensor``; the key for :meth:`finish`'s references."""
        assert name not in self._names
        self._names[name] = tensor.detach()
        return name

    def finish(self) -> tuple[dict[str, torch.Tensor], dict[str, Reference]]:
        """What to store, and a reference for each tensor that was added."""
        groups: dict[tuple[int, int | str], list[str]] = {}
        for name, tensor in self._names.items():
            if tensor.layout is not torch.strided or tensor.device.type != "cpu":
                found = f"the tensor {name} is {tensor.layout} on {tensor.device}"
                raise ArtifactError("save a compiled model", found, "plain CPU tensors")
            storage = tensor.untyped_storage()
            alone = name if tensor.numel() == 0 else 0
            groups.setdefault((storage.data_ptr(), alone), []).append(name)
        stored: dict[str, torch.Tensor] = {}
        references: dict[str, Reference] = {}
        for names in groups.values():
            base, views = _group([self._names[n] for n in names])
            stored[names[0]] = base
            references |= {n: [names[0], *view] for n, view in zip(names, views, strict=True)}
        return stored, references


def _group(tensors: list[torch.Tensor]) -> tuple[torch.Tensor, list[list[Any]]]:
    first = tensors[0]
    forms = {(t.dtype, tuple(t.shape), t.stride(), t.storage_offset()) for t in tensors}
    if len(forms) == 1 and first.is_contiguous():
        return first, [[] for _ in tensors]
    spans = [_span(t) for t in tensors]
    dtype = first.dtype if len({t.dtype for t in tensors}) == 1 else torch.uint8
    lo, hi = min(a for a, _ in spans), max(b for _, b in spans)
    size = dtype.itemsize
    base = torch.empty(0, dtype=dtype).set_(first.untyped_storage(), lo // size, ((hi - lo) // size,), (1,))
    views = [
        [str(t.dtype)[6:], list(t.shape), list(t.stride()), a - lo] for t, (a, _) in zip(tensors, spans, strict=True)
    ]
    return base, views


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """First and last byte (exclusive) of a view in its storage."""
    size = tensor.element_size()
    if tensor.numel() == 0:
        return int(tensor.storage_offset()) * size, int(tensor.storage_offset()) * size
    reach = sum((int(n) - 1) * int(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return int(tensor.storage_offset()) * size, (int(tensor.storage_offset()) + reach + 1) * size


class Views:
    """Tensors again, from what was stored and references to it."""

    def __init__(self, stored: Mapping[str, torch.Tensor]) -> None:
        self._stored = dict(stored)

    def copy(self, names: Iterable[str]) -> None:
        """Move these stored tensors into memory of their own: they are written to."""
        for name in set(names) & self._stored.keys():
            self._stored[name] = self._stored[name].clone()

    def get(self, reference: Any) -> torch.Tensor:
        """Raises :class:`ArtifactError` for a reference that leaves its tensor."""
        match reference:
            case [str() as name] if name in self._stored:
                return self._stored[name]
            case [str() as name, str() as kind, list() as shape, list() as strides, int() as offset] if (
                name in self._stored and len(shape) == len(strides)
            ):
                dtype = getattr(torch, kind, None)
                whole = [*shape, *strides, offset]
                if isinstance(dtype, torch.dtype) and all(type(v) is int and 0 <= v < 1 << 48 for v in whole):
                    return self._view(name, dtype, shape, strides, offset)
        raise _bad(reference)

    def _view(self, name: str, dtype: torch.dtype, shape: list[int], strides: list[int], offset: int) -> torch.Tensor:
        base, size = self._stored[name], dtype.itemsize
        reach = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1 if 0 not in shape else 0
        if offset % size or offset + reach * size > base.nbytes:
            raise _bad([name, str(dtype), shape, strides, offset])
        start = base.storage_offset() * base.element_size() + offset
        if start % size:
            raise _bad([name, str(dtype), shape, strides, offset])
        empty = torch.empty(0, dtype=dtype)
        return empty.set_(base.untyped_storage(), start // size, tuple(shape), tuple(strides))


def _bad(reference: Any) -> ArtifactError:
    return ArtifactError(
        "load a saved model", f"a reference to a tensor that is not there ({str(reference)[:80]})",
        "a file written by save(); this one is damaged or forged",
    )  # fmt: skip
