"""`Known`: which elements of a value are constants, whatever the inputs.

The lattice of the forward analysis. Knowledge is held for some dimensions and is uniform over the others: of
x [batch, tokens, 768] with three dead features, ``mask`` is [1, 1, 768] with three True. Of several dimensions,
as heads x features, it is joint. Nothing known is None. Sparse conditional constant propagation (Wegman & Zadeck,
1991) has this lattice per variable; here it is one per element, without branches.

A zero of a weight is structural: it multiplies nothing, an Inf or NaN included, and a value that is known to be
zero because of such weights multiplies to zero too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MAX_ELEMENTS = 1 << 22
"""Knowledge of more elements than this is forgotten: it would cost more than it is worth."""


@dataclass(frozen=True, eq=False)
class Known:
    """``mask`` (bool) and ``value`` have the value's rank; every size is the value's or 1, which means uniform."""

    mask: Tensor
    value: Tensor

    @classmethod
    def constant(cls, tensor: Tensor) -> Known:
        return cls(torch.ones((1,) * tensor.dim(), dtype=torch.bool), tensor)

    @property
    def sizes(self) -> tuple[int, ...]:
        return common_sizes(self.mask.shape, self.value.shape)

    @property
    def whole(self) -> bool:
        return bool(self.mask.all())

    def zeros(self) -> Tensor:
        """Where the value is known to be zero."""
        return self.mask & (self.value == 0)

    def map(self, change: Callable[[Tensor], Tensor]) -> Known:
        return Known(change(self.mask), change(self.value))

    def full(self) -> Known:
        """Mask and value of one shape."""
        return self.map(lambda t: t.expand(self.sizes))

    def along(self, dim: int, size: int) -> Known:
        """Mask and value of ``size`` elements along ``dim``."""
        sizes = list(self.sizes)
        sizes[dim] = size
        return self.map(lambda t: t.expand(sizes))

    def channels(self, dim: int, size: int) -> tuple[Tensor, Tensor]:
        """(mask [size], value [size]) of the slices along ``dim`` that hold one constant each."""
        rest = [d for d in range(self.mask.dim()) if d != dim % self.mask.dim()]
        own = self.full()
        mask, value = own.mask, own.value
        first = value
        for d in rest:
            first = first.narrow(d, 0, 1)
        same = mask & (value == first)
        for d in rest:
            same = same.all(d, keepdim=True)
        return same.reshape(-1).expand(size), first.reshape(-1).expand(size)


def common_sizes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that tensors of one rank are broadcast to."""
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


def known(mask: Tensor, value: Tensor) -> Known | None:
    """Knowledge, or None if there is none, it is too much, or the constant is Inf or NaN."""
    if value.is_floating_point():
        mask = mask & torch.isfinite(value)
    if mask.numel() > MAX_ELEMENTS or value.numel() > MAX_ELEMENTS or not bool(mask.any()):
        return None
    return Known(mask, value)


def reshaped(own: Known, before: Sequence[Any], after: Sequence[Any]) -> Known | None:
    """Knowledge of a value after its shape was changed (row-major, nothing moved)."""
    groups = dimension_groups(before, after)
    if groups is None:
        return None
    sizes: list[int] = []
    expanded: list[int] = []
    for old, new in groups:
        present = [own.sizes[d] for d in old]
        if all(s == 1 for s in present):
            sizes += [1] * len(new)
            expanded += present
            continue
        if not all(type(before[d]) is int for d in old) or not all(type(after[d]) is int for d in new):
            return None
        expanded += [before[d] for d in old]
        sizes += [after[d] for d in new]
    return own.map(lambda t: t.expand(expanded).reshape(sizes))


Groups = list[tuple[list[int], list[int]]]


def dimension_groups(before: Sequence[Any], after: Sequence[Any]) -> Groups | None:
    """Pairs (dimensions before, dimensions after) of equal products, as small as can be; None if it is unclear.

    Symbolic sizes are matched by name; sizes between two of them that do not match are one group.
    """
    head: Groups = []
    a, b = 0, 0
    while a < len(before) and b < len(after):
        step = _group(before, after, a, b, 1)
        if step is None:
            break
        head.append((list(range(a, step[0])), list(range(b, step[1]))))
        a, b = step
    tail: Groups = []
    end_a, end_b = len(before), len(after)
    while end_a > a and end_b > b:
        step = _group(before[a:end_a][::-1], after[b:end_b][::-1], 0, 0, 1)
        if step is None:
            break
        tail.insert(0, (list(range(end_a - step[0], end_a)), list(range(end_b - step[1], end_b))))
        end_a, end_b = end_a - step[0], end_b - step[1]
    rest = (list(range(a, end_a)), list(range(b, end_b)))
    if rest[0] and rest[1]:
        return [*head, rest, *tail]
    if not rest[0] and not rest[1]:
        return [*head, *tail]
    sizes = [before[d] for d in rest[0]] + [after[d] for d in rest[1]]
    return [*head, rest, *tail] if all(type(s) is int and s == 1 for s in sizes) else None


def _group(before: Sequence[Any], after: Sequence[Any], a: int, b: int, product: int) -> tuple[int, int] | None:
    """The ends of the smallest group that starts at (a, b), sizes of 1 on one side apart."""
    if str(before[a]) == str(after[b]):
        return a + 1, b + 1
    if type(before[a]) is int and before[a] == 1:
        return a + 1, b
    if type(after[b]) is int and after[b] == 1:
        return a, b + 1
    left, right = before[a], after[b]
    if type(left) is not int or type(right) is not int:
        return None
    a, b = a + 1, b + 1
    while left != right:
        sizes, at = (before, a) if left < right else (after, b)
        if at >= len(sizes) or type(sizes[at]) is not int:
            return None
        if left < right:
            left, a = left * sizes[at], a + 1
        else:
            right, b = right * sizes[at], b + 1
    return a, b
