"""An order of a matrix's rows in which neighbours have their nonzeros in the same columns, so that blocks are full.

bits [3072, 768] whose rows were pruned eight at a time, in any order -> the order that brings those eight together

Greedy: a row that is left and has most in common with the last group starts the next one, and the rows nearest to it
join. Reordering rows for blocks is as old as they are (Pinar & Heath, 1999); the measure is common minus foreign
columns, counted exactly on one bit an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
TRIED = 8
"""Groups that are formed before it is asked whether they are any better than chance."""
_NEVER = -(1 << 62)
FULL = 0.5
"""Share of nonzeros in the groups' columns from which on blocks are worth it."""


def support(bits: NDArray[Any]) -> Words:
    """Where a matrix [rows, columns] of raw bits is not zero: a bit an element, [rows, ceil(columns / 64)]."""
    rows, columns = bits.shape
    words = np.zeros((rows, 8 * -(-columns // 64)), dtype=np.uint8)
    step = max(8, (1 << 18) // max(1, columns) // 8 * 8)
    for start in range(0, rows, step):
        some = slice(start, start + step)
        words[some, : -(-columns // 8)] = np.packbits(bits[some] != 0, axis=1, bitorder="little")
    return words.view("<u8")


def row_order(parts: Sequence[Words], size: int) -> NDArray[np.int64] | None:
    """An order of the rows that all ``parts`` [rows, words] share, in groups of ``size`` rows that are alike.

    None where the first groups, which are the easiest, fill less than half of their columns in every part.
    """
    words = np.concatenate(parts, axis=1)
    counts = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    left, taken = np.arange(len(words)), np.zeros(len(words), dtype=np.bool_)
    found: list[NDArray[np.int64]] = []
    last = words[counts.argmax()] if len(words) else np.zeros(words.shape[1], np.uint64)
    while not taken.all():
        if 2 * np.count_nonzero(taken) > len(taken):  # the rest closer together
            left, words, counts, taken = left[~taken], words[~taken], counts[~taken], taken[~taken]
        seed = words[np.where(taken, _NEVER, _alike(words, counts, last)).argmax()]
        near = np.where(taken, _NEVER, _alike(words, counts, seed))
        group = np.argsort(-near, kind="stable")[: min(size, np.count_nonzero(~taken))]
        last = np.bitwise_or.reduce(words[group], axis=0)
        found.append(left[group])
        taken[group] = True
        if len(found) == TRIED and not _full(parts, found):
            return None
    return np.concatenate(found) if found else None


def _alike(words: Words, counts: NDArray[np.int64], row: Words) -> NDArray[np.int64]:
    """Columns of each row that are also in ``row``, less those that are not."""
    common: NDArray[np.int64] = np.bitwise_count(words & row).sum(axis=1, dtype=np.int64)
    return 2 * common - counts


def _full(parts: Sequence[Words], groups: Sequence[NDArray[np.int64]]) -> bool:
    for part in parts:
        held = sum(int(np.bitwise_count(part[group]).sum()) for group in groups)
        room = sum(int(np.bitwise_count(np.bitwise_or.reduce(part[g], axis=0)).sum()) * len(g) for g in groups)
        if held >= FULL * room > 0:
            return True
    return False
