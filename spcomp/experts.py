"""The ops that stand for the experts of a mixture: a layer for every expert, each for the rows that were sent to it;
on a GPU, one layer for all.

``spcomp::experts_v1(Tensor x, Tensor offs, int[] slots, int n) -> Tensor``: x [S, k], its rows sorted by expert; offs
[E] (int32 or int64), the row at which each expert's share ends; result [S, n]. Expert e runs the kernel that its slot
has for its number of rows, and nothing where it has none.
``spcomp::experts_dense_v1(Tensor x, Tensor offs, Tensor[] weights) -> Tensor``: the same with matrices [n, k]. It
stands in graphs until they are lowered, and serves where weights are no constants.

``spcomp::grouped_v1(Tensor x, Tensor offs, int slot, int n) -> Tensor``: the same with one kernel for all experts, that
finds out on its device which rows are whose: nothing waits for it.
``spcomp::grouped_dense_v1(Tensor x, Tensor offs, Tensor stack, Tensor? matrix=None) -> Tensor``: the same with a stack
[E, k, n]; ``matrix`` [E * n, k] is the same one below the other, for passes to look at.

Rows behind the last expert's share are zeros. Offsets that fall, or lie outside of x, give an expert no rows that are
not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from spcomp.ops import KEYS, running


def experts(x: torch.Tensor, offs: torch.Tensor, *, slots: Sequence[int], n: int) -> torch.Tensor:
    """Run the kernels of ``slots``, each on its share of the rows: x [S, k] -> [S, n]."""
    table = running()
    out = x.new_empty((x.shape[0], n))
    done = 0
    for expert, start, end in shares(offs, x.shape[0]):
        out[start:end] = table[slots[expert]](x[start:end])
        done = end
    out[done:] = 0
    return out


def experts_dense(x: torch.Tensor, offs: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """What :func:`experts` means, in plain torch: weights [n, k] each, x [S, k] -> [S, n]."""
    out = x.new_zeros((x.shape[0], weights[0].shape[0]))
    for expert, start, end in shares(offs, x.shape[0]):
        out[start:end] = x[start:end] @ weights[expert].t()
    return out


def grouped(x: torch.Tensor, offs: torch.Tensor, *, slot: int, n: int) -> torch.Tensor:
    """Run the one kernel of ``slot`` for all experts: x [S, k] -> [S, n]."""
    return running()[slot](x, offs)


def grouped_dense(
    x: torch.Tensor, offs: torch.Tensor, stack: torch.Tensor, matrix: torch.Tensor | None = None
) -> torch.Tensor:
    """What :func:`grouped` means, in torch: a stack [E, k, n]; bfloat16 on a GPU by torch's own grouped product."""
    if x.is_cuda and x.dtype is torch.bfloat16 and hasattr(torch, "_grouped_mm"):
        ends = starts_of(offs, x.shape[0])[1:]
        y: torch.Tensor = torch._grouped_mm(x, stack, offs=ends)  # leaves what is behind the last end undefined
        rows = torch.arange(x.shape[0], device=x.device)
        return y.masked_fill_((rows >= ends[-1]).unsqueeze(1), 0)
    return experts_dense(x, offs, list(stack.transpose(1, 2)))


def starts_of(offs: torch.Tensor, rows: int) -> torch.Tensor:
    """The row of every expert's first, and the one behind the last: int32 [E + 1], as :func:`shares` has them, on the
    device of ``offs`` and without waiting for it."""
    starts = torch.zeros(len(offs) + 1, dtype=torch.int32, device=offs.device)
    starts[1:] = offs.clamp(0, rows).cummax(0).values
    return starts


def shares(offs: torch.Tensor, rows: int) -> Iterator[tuple[int, int, int]]:
    """(expert, first row, row behind the last) of every expert that has rows, in order and without gaps."""
    start = 0
    for expert, offset in enumerate(offs.tolist()):
        end = min(offset, rows)
        if end > start:
            yield expert, start, end
            start = end


_library = torch.library.Library("spcomp", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define("experts_v1(Tensor x, Tensor offs, int[] slots, int n) -> Tensor")  # type: ignore[no-untyped-call]
_library.define("experts_dense_v1(Tensor x, Tensor offs, Tensor[] weights) -> Tensor")  # type: ignore[no-untyped-call]
_library.define("grouped_v1(Tensor x, Tensor offs, int slot, int n) -> Tensor")  # type: ignore[no-untyped-call]
_library.define("grouped_dense_v1(Tensor x, Tensor offs, Tensor stack, Tensor? matrix=None) -> Tensor")  # type: ignore[no-untyped-call]
for _key in KEYS:
    _library.impl("grouped_v1", lambda x, offs, slot, n: grouped(x, offs, slot=slot, n=n), _key)  # type: ignore[no-untyped-call]
    _library.impl("grouped_dense_v1", grouped_dense, _key)  # type: ignore[no-untyped-call]
_library.impl("experts_v1", lambda x, offs, slots, n: experts(x, offs, slots=slots, n=n), "CPU")  # type: ignore[no-untyped-call]
_library.impl("experts_dense_v1", experts_dense, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::experts_v1")  # type: ignore[untyped-decorator]
def _fake(x: torch.Tensor, offs: torch.Tensor, slots: Sequence[int], n: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], n))


@torch.library.register_fake("spcomp::experts_dense_v1")  # type: ignore[untyped-decorator]
def _fake_dense(x: torch.Tensor, offs: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    return x.new_empty((x.shape[0], weights[0].shape[0]))


@torch.library.register_fake("spcomp::grouped_v1")  # type: ignore[untyped-decorator]
def _fake_grouped(x: torch.Tensor, offs: torch.Tensor, slot: int, n: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], n))


@torch.library.register_fake("spcomp::grouped_dense_v1")  # type: ignore[untyped-decorator]
def _fake_grouped_dense(
    x: torch.Tensor, offs: torch.Tensor, stack: torch.Tensor, matrix: torch.Tensor | None = None
) -> torch.Tensor:
    return x.new_empty((x.shape[0], stack.shape[2]))


GROUPED = torch.ops.spcomp.grouped_v1.default
GROUPED_DENSE = torch.ops.spcomp.grouped_dense_v1.default
EXPERTS = torch.ops.spcomp.experts_v1.default
EXPERTS_DENSE = torch.ops.spcomp.experts_dense_v1.default
