"""Constants that passes make of a model's own: shared between captured programs, and traceable to what they are of.

fc.weight [768, 3072] --permute--> fc.transposed.weight [3072, 768] --rows 0, 2, 3, ...--> fc.kept.weight [2190, 768]

The same function of the same memory is one tensor, whichever program asks: layers of several programs are then one
layer, and a tied table stays tied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

import torch

from spcomp.passes.slices import taken


def identity(tensor: torch.Tensor) -> tuple[object, ...]:
    """Equal for the same elements of the same memory: an address alone is shared with slices, or 0 if empty."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


@dataclass(frozen=True, eq=False)
class Step:
    """Elements of a tensor picked or put in another order: ``keep`` (dim,) and the index of what stays there,
    ``permute`` (order, shape), ``view`` (size, stride, (offset,)) of its memory."""

    kind: Literal["keep", "permute", "view"]
    numbers: tuple[tuple[int, ...], ...]
    index: torch.Tensor | None = None

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        match self.kind:
            case "keep":
                assert self.index is not None
                return taken(tensor, [(self.numbers[0][0], self.index)])
            case "permute":
                order, shape = self.numbers
                return tensor.permute(order).reshape(shape)
            case "view":
                size, stride, (offset,) = self.numbers
                return tensor.as_strided(size, stride, offset)


Select = tuple[Step, ...]


def pick(select: Select, tensor: torch.Tensor) -> torch.Tensor:
    """All steps, one after the other; cuts that follow each other are one."""
    for kind, steps in groupby(select, lambda step: step.kind):
        if kind == "keep":
            tensor = taken(tensor, [(s.numbers[0][0], s.index) for s in steps if s.index is not None])
            continue
        for step in steps:
            tensor = step(tensor)
    return tensor


@dataclass(frozen=True, eq=False)
class Origin:
    """Of which constant one was made, and how its elements were picked; None: they were computed."""

    source: torch.Tensor
    select: Select | None


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows (None: all) of a made constant, the model's own constant ``root`` they go back to, and how its elements were
    picked; None: they were computed."""

    root: torch.Tensor
    select: Select | None
    rows: tuple[int, int] | None


@dataclass(eq=False)
class Origins:
    """All constants that the passes of one compilation made."""

    _made: dict[Hashable, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """(source, what was asked of it) -> (source, kept alive so that nothing else gets its address; what it became)."""
    _of: dict[tuple[object, ...], tuple[torch.Tensor, Origin]] = field(default_factory=dict)
    """Identity of a made constant -> itself, and where it came from."""
    _parts: dict[tuple[object, ...], tuple[torch.Tensor, tuple[torch.Tensor, ...]]] = field(default_factory=dict)
    """Identity of a merged constant -> itself, and what lies in it one below the other."""
    _names: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _of_name: dict[str, str] = field(default_factory=dict)

    def get(self, source: torch.Tensor, what: Hashable) -> torch.Tensor | None:
        found = self._made.get((identity(source), what))
        return None if found is None else found[1]

    def put(self, source: torch.Tensor, what: Hashable, made: torch.Tensor, select: Select | None) -> torch.Tensor:
        """Remember ``made``; the earlier one, where the same was made before."""
        made = self._made.setdefault((identity(source), what), (source, made))[1]
        self._record(made, Origin(source, select))
        return made

    def computed(self, source: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """Remember what was computed of ``source`` (and of others); the earlier one of the same content."""
        flat = made.detach().contiguous().reshape(-1).view(torch.uint8)
        digest = hashlib.blake2b(flat.numpy().data, digest_size=16).digest()
        made = self._made.setdefault((digest, tuple(made.shape), made.stride(), made.dtype), (source, made))[1]
        self._record(made, Origin(source, None))
        return made

    def _record(self, made: torch.Tensor, origin: Origin) -> None:
        """Where a constant came from, unless that goes back to itself, as a matrix transposed twice does."""
        back: torch.Tensor | None = origin.source
        while back is not None:
            if identity(back) == identity(made):
                return
            found = self._of.get(identity(back))
            back = None if found is None else found[1].source
        self._of.setdefault(identity(made), (made, origin))

    def claim(self, name: str, tensor: torch.Tensor, of: str) -> bool:
        """Take a name for a tensor that is made of the one named ``of``; False where it means another one already."""
        if self._names.setdefault(name, identity(tensor)) != identity(tensor):
            return False
        self._of_name.setdefault(name, of)
        return True

    def name(self, name: str) -> str:
        """The name of the model's own constant that a name goes back to: itself, if it is of none."""
        while name in self._of_name:
            name = self._of_name[name]
        return name

    def __len__(self) -> int:
        return len(self._of) + len(self._parts)

    def made(self, tensor: torch.Tensor) -> bool:
        return identity(tensor) in self._of or identity(tensor) in self._parts

    def merged(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Tensors one below the other."""
        what = ("merged", *(identity(p) for p in parts[1:]))
        found = self.get(parts[0], what)
        if found is None:
            found = torch.cat(list(parts))
            self._made[(identity(parts[0]), what)] = parts[0], found
            self._parts[identity(found)] = found, tuple(parts)
        return found

    def call(self, name: str, layer: str) -> None:
        """What :meth:`name` says of a name from now on."""
        self._of_name[name] = layer

    def roots(self, tensor: torch.Tensor) -> list[Piece]:
        """Which of the model's own constants a tensor holds: one, or several one below the other."""
        found = self._parts.get(identity(tensor))
        if found is None:
            return [Piece(*self._root(tensor), None)]
        pieces, start = [], 0
        for part in found[1]:
            pieces.append(Piece(*self._root(part), (start, start + len(part))))
            start += len(part)
        return pieces

    def _root(self, tensor: torch.Tensor) -> tuple[torch.Tensor, Select | None]:
        select: Select | None = ()
        while (found := self._of.get(identity(tensor))) is not None:
            origin = found[1]
            select = None if select is None or origin.select is None else (*origin.select, *select)
            tensor = origin.source
        return tensor, select


def viewed(made: torch.Tensor, source: torch.Tensor) -> Select | None:
    """How ``made`` looks at the memory of ``source``; None if it is no view of all that is contiguous there."""
    if made.untyped_storage().data_ptr() != source.untyped_storage().data_ptr() or not source.is_contiguous():
        return None
    offset = int(made.storage_offset()) - int(source.storage_offset())
    return (Step("view", (tuple(made.shape), made.stride(), (offset,))),)
