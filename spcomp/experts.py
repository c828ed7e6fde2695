"""The ops that stand for the experts of a mixture: a layer for every expert, each for the rows that were sent to it.

``spcomp::experts_v1(Tensor x, Tensor offs, int[] slots, int n) -> Tensor``: x [S, k], its rows sorted by expert; offs
[E] (int32 or int64), the row at which each expert's share ends; result [S, n]. Expert e runs the kernel that its slot
has for its number of rows, and nothing where it has none.
``spcomp::experts_dense_v1(Tensor x, Tensor offs, Tensor[] weights) -> Tensor``: the same with matrices [n, k]. It
stands in graphs until they are lowered, and serves where weights are no constants.

Rows behind the last expert's share are zeros. Offsets that fall, or lie outside of x, give an expert no rows that are
not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from spcomp.ops import running


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
_library.impl("experts_v1", lambda x, offs, slots, n: experts(x, offs, slots=slots, n=n), "CPU")  # type: ignore[no-untyped-call]
_library.impl("experts_dense_v1", experts_dense, "CPU")  # type: ignore[no-untyped-call]


@torch.library.register_fake("spcomp::experts_v1")  # type: ignore[untyped-decorator]
def _fake(x: torch.Tensor, offs: torch.Tensor, slots: Sequence[int], n: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], n))


@torch.library.register_fake("spcomp::experts_dense_v1")  # type: ignore[untyped-decorator]
def _fake_dense(x: torch.Tensor, offs: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    return x.new_empty((x.shape[0], weights[0].shape[0]))


EXPERTS = torch.ops.spcomp.experts_v1.default
EXPERTS_DENSE = torch.ops.spcomp.experts_dense_v1.default
