"""From what a compiled model keeps back to the state of the model that it was compiled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from spcomp.aside import Aside, OnDisk
from spcomp.errors import StateError
from spcomp.passes.base import Site
from spcomp.passes.origins import Origins, Select, identity, pick

MAX_KEPT = 1 / 16
"""What was cut and is not zero is kept in memory, up to this share of the bytes of the whole state, ..."""
FEW_BYTES = 1 << 16
"""... or this many bytes. The rest of it is kept on disk."""


@dataclass(frozen=True, eq=False)
class Held:
    """Part of a constant: the name and the rows (None: all) of what is kept, and which elements those are of it."""

    name: str
    select: Select
    rows: tuple[int, int] | None

    def of(self, kept: torch.Tensor) -> torch.Tensor:
        return kept if self.rows is None else kept[self.rows[0] : self.rows[1]]


@dataclass(frozen=True, eq=False)
class Restored:
    """A constant of the model of which the compiled model keeps a part, in another order or other numbers.

    ``patch``: flat indices and values of what no piece holds; all else is zero. ``whole``: the constant itself, where
    that is less than a patch. ``rest``: all that no piece holds, in its order, on disk.
    """

    size: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Held, ...]
    patch: tuple[torch.Tensor, torch.Tensor] | None = None
    whole: torch.Tensor | None = None
    rest: OnDisk | None = None

    def __call__(self, known: Callable[[str], torch.Tensor]) -> torch.Tensor:
        if self.whole is not None:
            return self.whole
        out = torch.zeros(self.size, dtype=self.dtype)
        flat = out.view(-1)
        if self.rest is not None:
            flat[self.uncovered()] = self.rest.read()
        numbers: torch.Tensor | None = None
        for piece in self.pieces:
            kept = piece.of(known(piece.name))
            if all(step.kind == "view" for step in piece.select) and (part := pick(piece.select, out)).is_contiguous():
                part.copy_(kept.reshape(part.shape))  # no list of eight bytes for every element
                continue
            numbers = torch.arange(flat.numel()).view(self.size) if numbers is None else numbers
            flat[pick(piece.select, numbers).reshape(-1)] = kept.reshape(-1)
        if self.patch is not None:
            flat[self.patch[0]] = self.patch[1]
        return out

    def uncovered(self) -> torch.Tensor:
        """Which elements [elements] (bool) no piece holds."""
        missing = torch.ones(self.size, dtype=torch.bool)
        numbers: torch.Tensor | None = None
        for piece in self.pieces:
            if all(step.kind == "view" for step in piece.select):
                pick(piece.select, missing).fill_(False)
                continue
            numbers = torch.arange(missing.numel()).view(self.size) if numbers is None else numbers
            missing.view(-1)[pick(piece.select, numbers).reshape(-1)] = False
        return missing.view(-1)

    @property
    def nbytes(self) -> int:
        """What is kept in memory for this alone; what is on disk takes none."""
        indices = [step.index for piece in self.pieces for step in piece.select]
        return sum(t.nbytes for t in (*indices, *(self.patch or ()), self.whole) if t is not None)


@dataclass(frozen=True, eq=False)
class State:
    """Where the tensors of the original's state are.

    ``names``: in the original's state, tied ones included -> what the compiled model calls the same tensor, among its
    tensors or as a slot's weight or bias; ``restored``: those that are made of what is kept; ``lost``: those of which
    more was cut than is kept in memory, and the disk had no room.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, Restored] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    def complete(self, kept: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The original's state from the tensors that a compiled model has. Raises :class:`StateError` where some are
        lost."""
        if self.lost:
            raise StateError(
                "give the state of a compiled model",
                f"{len(self.lost)} of its tensors ({self.lost[0]} for one) were cut, and what nothing reads is "
                "neither in memory nor on disk (a saved file leaves it out)",
                "the original's state_dict(), or compiling with shrink=False",
            )
        state = {**kept, **{name: made(kept.__getitem__) for name, made in self.restored.items()}}
        return {name: state[known] for name, known in self.names.items() if known in state} if self.names else state


def state_of(
    state: Mapping[str, torch.Tensor],
    read: set[tuple[object, ...]],
    sites: Sequence[Site],
    tensors: Mapping[str, torch.Tensor],
    origins: Origins,
    aside: Aside | None = None,
) -> State:
    """Where everything in ``state`` is; ``read``: identities of what the captured programs read of it; ``aside``:
    where what is too much for memory goes."""
    held = dict(tensors)
    held |= {s.bias_name: s.bias for s in sites if s.bias is not None and s.bias_name is not None}
    held |= {s.weight_name: s.weight if s.original is None else s.original for s in sites}
    known = {identity(tensor): name for name, tensor in held.items()}
    pieces: dict[tuple[object, ...], list[Held]] = {}
    for name, tensor in held.items():
        for piece in origins.roots(tensor) if origins.made(tensor) else ():
            if piece.select is not None:
                pieces.setdefault(identity(piece.root), []).append(Held(name, piece.select, piece.rows))
    found: dict[tuple[object, ...], Restored] = {}
    left = max(FEW_BYTES, int(MAX_KEPT * sum({identity(t): t.nbytes for t in state.values()}.values())))
    cut = {identity(t): t.detach() for t in state.values() if identity(t) in read and identity(t) not in known}
    lacking = {key: _lacking(t, pieces.get(key, ()), held) for key, t in cut.items()}
    for key in sorted(cut, key=lambda k: _cost(cut[k], lacking[k])):
        if _cost(cut[key], lacking[key]) <= left:
            found[key] = _patched(cut[key], pieces.get(key, ()), held, lacking[key])
            left -= _cost(cut[key], lacking[key])
        elif aside is not None and (made := _put_aside(cut[key], pieces.get(key, ()), held, aside)) is not None:
            found[key] = made
    there = known.keys() | found.keys()
    names = {name: known.get(identity(t), name) for name, t in state.items() if identity(t) in there}
    restored = {name: found[identity(t)] for name, t in state.items() if identity(t) in found}
    return State(names, restored, tuple(name for name, t in state.items() if identity(t) in cut.keys() - found.keys()))


def _lacking(tensor: torch.Tensor, pieces: Sequence[Held], held: Mapping[str, torch.Tensor]) -> int:
    """Elements that are not zero and in no piece."""
    return int(tensor.count_nonzero()) - sum(int(p.of(held[p.name]).count_nonzero()) for p in pieces)


def _cost(tensor: torch.Tensor, lacking: int) -> int:
    """Bytes of what is lacking, by itself or as the whole."""
    return min(max(0, lacking) * (8 + tensor.element_size()), tensor.nbytes)


def _patched(tensor: torch.Tensor, pieces: Sequence[Held], held: Mapping[str, torch.Tensor], lacking: int) -> Restored:
    """What gives a constant back: pieces of what is kept, and what those lack."""
    plain = Restored(tuple(tensor.shape), tensor.dtype, tuple(pieces))
    if pieces and lacking == 0:
        return plain
    made = plain(held.__getitem__)
    differ = (made != tensor) & ~(made.isnan() & tensor.isnan()) if tensor.is_floating_point() else made != tensor
    where = differ.reshape(-1).nonzero().reshape(-1)
    if not len(where):
        return plain
    if len(where) * (8 + tensor.element_size()) >= tensor.nbytes:
        return Restored(plain.size, plain.dtype, (), None, tensor.clone())
    return Restored(plain.size, plain.dtype, plain.pieces, (where, tensor.reshape(-1)[where].clone()))


def _put_aside(
    tensor: torch.Tensor, pieces: Sequence[Held], held: Mapping[str, torch.Tensor], aside: Aside
) -> Restored | None:
    """A constant whose cut elements are on disk, all of it where a piece was changed; None where that cannot be."""
    plain = Restored(tuple(tensor.shape), tensor.dtype, tuple(pieces))
    missing = plain.uncovered()
    flat = tensor.reshape(-1)
    same = plain(held.__getitem__).reshape(-1) == flat
    if not bool((same | missing).all()):
        plain, missing = replace(plain, pieces=()), torch.ones_like(missing)
    rest = aside.keep(flat[missing])
    return None if rest is None else replace(plain, rest=rest)
