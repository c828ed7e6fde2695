"""From what a compiled model keeps back to the state of the model that it was compiled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from spcomp.passes.base import Site
from spcomp.passes.origins import Origins, Select, identity, pick

MAX_PATCH = 1 / 32
"""What of a cut tensor is not zero and is read by nothing is kept up to this share of its elements."""
FEW = 4096
"""... or this many elements."""


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

    ``patch``: flat indices and values
    of what no piece holds. All else is zero.
    """

    size: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Held, ...]
    patch: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, known: Callable[[str], torch.Tensor]) -> torch.Tensor:
        out = torch.zeros(self.size, dtype=self.dtype)
        flat = out.view(-1)
        for piece in self.pieces:
            positions = pick(piece.select, torch.arange(flat.numel()).view(self.size)).reshape(-1)
            flat[positions] = piece.of(known(piece.name)).reshape(-1)
        if self.patch is not None:
            flat[self.patch[0]] = self.patch[1]
        return out

    @property
    def nbytes(self) -> int:
        return 0 if self.patch is None else sum(t.nbytes for t in self.patch)


@dataclass(frozen=True, eq=False)
class State:
    """Where the tensors of the original's state are.

    ``names``: in the original's state, tied ones included -> what the compiled model calls the same tensor, among its
    tensors or as a slot's weight or bias; ``restored``: those that are made of what is kept; ``lost``: those of which
    more was cut than is kept beside.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    restored: Mapping[str, Restored] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def state_of(
    state: Mapping[str, torch.Tensor],
    read: set[tuple[object, ...]],
    sites: Sequence[Site],
    tensors: Mapping[str, torch.Tensor],
    origins: Origins,
) -> State:
    """Where everything in ``state`` is; ``read``: identities of what the captured programs read of it."""
    held = dict(tensors)
    held |= {s.bias_name: s.bias for s in sites if s.bias is not None and s.bias_name is not None}
    held |= {s.weight_name: s.weight if s.original is None else s.original for s in sites}
    known = {identity(tensor): name for name, tensor in held.items()}
    pieces: dict[tuple[object, ...], list[Held]] = {}
    for name, tensor in held.items():
        for piece in origins.roots(tensor) if origins.made(tensor) else ():
            if piece.select is not None:
                pieces.setdefault(identity(piece.root), []).append(Held(name, piece.select, piece.rows))
    names: dict[str, str] = {}
    restored: dict[str, Restored] = {}
    lost = []
    for name, tensor in state.items():
        key = identity(tensor)
        if key in known:
            names[name] = known[key]
        elif key in read:
            found = Restored(tuple(tensor.shape), tensor.dtype, tuple(pieces.get(key, ())))
            patched = _patched(found, tensor.detach(), held)
            if patched is None:
                lost.append(name)
            else:
                names[name] = name
                restored[name] = patched
    return State(names, restored, tuple(lost))


def _patched(found: Restored, tensor: torch.Tensor, held: Mapping[str, torch.Tensor]) -> Restored | None:
    """With what it lacks; None if that is too much."""
    limit = max(FEW, int(MAX_PATCH * tensor.numel()))
    kept = sum(int(p.of(held[p.name]).count_nonzero()) for p in found.pieces)
    if int(tensor.count_nonzero()) - kept > limit:
        return None
    made = found(held.__getitem__)
    differ = (made != tensor) & ~(made.isnan() & tensor.isnan()) if tensor.is_floating_point() else made != tensor
    where = differ.reshape(-1).nonzero().reshape(-1)
    if len(where) > limit:
        return None
    if not len(where):
        return found
    return Restored(found.size, found.dtype, found.pieces, (where, tensor.reshape(-1)[where].clone()))
