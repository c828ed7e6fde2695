"""An order of a matrix's rows in which neighbours have their nonzeros in the same columns, so that blocks are full.

bits [3072, 768] whose rows were pruned eight at a time, in any order -> the order that brings those eight together

Greedy: the row that is nearest to the last group and not in it starts the next one, and the rows nearest to it join.
Near means: many columns in common, few foreign ones. Reordering rows for blocks is as old as those are (Pinar & Heath,
1999). What is near is looked up in up to :data:`STRIPES` stripes of 64 columns of each matrix, evenly spread; what an
order is worth is for the caller to count, in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
"""A bit an element, [stripes, rows]."""
STRIPES = 8
TRIED = 8
"""Groups that are formed before it is asked whether they are any better than chance."""
FULL = 0.5
"""Share of nonzeros in the groups' columns from which on blocks are worth it."""
_NEVER = np.int32(-(1 << 30))


def support(bits: NDArray[Any], axis: int = 0) -> Words:
    """Where the rows (``axis`` 1: the columns) of a matrix are not zero, in some stripes of the others.

    ``bits``: of floats; -0.0 is a zero too.
    """
    across = bits.shape[1 - axis]
    stripes = -(-across // 64)
    chosen = np.unique(np.linspace(0, stripes - 1, min(stripes, STRIPES)).astype(np.int64)) if stripes else ()
    words = np.zeros((len(chosen), bits.shape[axis], 8), dtype=np.uint8)
    for word, stripe in zip(words, chosen, strict=True):
        some = slice(64 * stripe, 64 * stripe + 64)
        held = (bits[:, some] if axis == 0 else bits[some]) << 1 != 0  # whatever the sign
        held = np.ascontiguousarray(held if axis == 0 else held.T)
        if held.shape[1] % 8 == 0:  # in one go: rows of a few bytes cost more than what is in them
            packed = np.packbits(held.reshape(-1), bitorder="little").reshape(len(held), -1)
        else:
            packed = np.packbits(held, axis=1, bitorder="little")
        word[:, : packed.shape[1]] = packed
    return words.view("<u8")[:, :, 0]


def row_order(parts: Sequence[Words], size: int) -> NDArray[np.int64] | None:
    """An order of the rows that all ``parts`` share, in groups of ``size`` rows that are alike.

    None where the first groups, which are the easiest, fill less than half of their columns in every part.
    """
    words = np.concatenate(parts)
    counts = np.bitwise_count(words).sum(axis=0, dtype=np.int32)
    left, taken = np.arange(words.shape[1]), np.zeros(words.shape[1], dtype=np.bool_)
    found: list[NDArray[np.int64]] = []
    seed: int = int(np.argmax(counts)) if len(left) else 0
    while not taken.all():
        if 2 * np.count_nonzero(taken) > len(taken):  # the rest closer together
            seed = int(np.count_nonzero(~taken[:seed]))
            words, counts, left = np.ascontiguousarray(words[:, ~taken]), counts[~taken], left[~taken]
            taken = np.zeros(len(left), dtype=np.bool_)
        near = np.where(taken, _NEVER, _alike(words, counts, seed))
        near[seed] = -_NEVER
        most: int = min(size + 1, int(np.count_nonzero(~taken)))
        group = np.sort(np.argpartition(-near, most - 1)[:most])
        group = group[np.argsort(-near[group], kind="stable")]
        seed = int(group[size]) if most > size else 0
        group = group[:size]
        found.append(left[group])
        taken[group] = True
        if len(found) == TRIED and not _full(parts, found):
            return None
    return np.concatenate(found) if found else None


def _alike(words: Words, counts: NDArray[np.int32], row: int) -> NDArray[np.int32]:
    """Columns of each row that are also in ``row``, less those that are not."""
    common: NDArray[np.uint16] = np.bitwise_count(words & words[:, row, None]).sum(axis=0, dtype=np.uint16)
    return 2 * common.astype(np.int32) - counts


def _full(parts: Sequence[Words], groups: Sequence[NDArray[np.int64]]) -> bool:
    for part in parts:
        held = sum(int(np.bitwise_count(part[:, g]).sum()) for g in groups)
        room = sum(int(np.bitwise_count(np.bitwise_or.reduce(part[:, g], axis=1)).sum()) * len(g) for g in groups)
        if held >= FULL * room > 0:
            return True
    return False
