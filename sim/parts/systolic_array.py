"""A systolic array whose cells pass numbers on, cycle by cycle: slow, and what the closed form is held to.

A cell takes what its left and upper neighbours held one cycle before. Row i of an operand enters on the left i cycles
late, column j of one from above j cycles late, so that what belongs together meets. ``ws`` and ``is``: the operand that
stays comes in from above, one row a cycle, then sums move down and leave at the bottom. ``os``: both operands
move, sums stay; a cell that has its last pair hands its sum to its column's output, in another cycle than all other
cells of the column. A fold begins when the one before has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError
from spcomp.sim.parts.systolic import SystolicArray

Matrix: TypeAlias = NDArray[Any]
LARGEST = 16
"""Sides of an array that is stepped cell by cell."""


@dataclass(frozen=True, eq=False)
class SteppedProduct:
    """What came out, and what it took. ``cycles`` were counted while stepping."""

    output: Matrix
    """[m, n]."""
    cycles: int
    macs: int
    """Multiplications of two operands that were both there."""
    folds: int


def step_product(array: SystolicArray, inputs: Matrix, weights: Matrix) -> SteppedProduct:
    """Multiply ``inputs`` [m, k] by ``weights`` [k, n] on an array of at most 16x16, in mode ``exact``.

    Sums are taken in the operands' common dtype, k ascending.

    Raises:
        InputError: operands that do not fit each other, a larger array, another mode.
    """
    asked = f"step an array of {array.rows}x{array.cols}"
    if inputs.ndim != 2 or weights.ndim != 2 or inputs.shape[1] != weights.shape[0]:
        raise InputError(asked, f"operands of {inputs.shape} and {weights.shape}", "[m, k] and [k, n]")
    if max(array.rows, array.cols) > LARGEST or array.mode != "exact":
        raise InputError(asked, f"mode {array.mode!r}", f"at most {LARGEST}x{LARGEST}, mode 'exact'")
    (m, k), n = inputs.shape, weights.shape[1]
    output = np.zeros((m, n), np.result_type(inputs, weights))
    cycles = macs = folds = 0
    for f in array.folds(m, k, n):
        along_rows, along_cols = slice(f.row_start, f.row_start + f.rows), slice(f.col_start, f.col_start + f.cols)
        match array.dataflow:
            case "ws":
                sums, took, done = _stay(weights[along_rows, along_cols], inputs[:, along_rows])
                output[:, along_cols] += sums
            case "is":
                sums, took, done = _stay(inputs[along_cols, along_rows].T, weights[along_rows].T)
                output[along_cols] += sums.T
            case _:
                sums, took, done = _meet(inputs[along_rows], weights[:, along_cols])
                output[along_rows, along_cols] = sums
        cycles, macs, folds = cycles + took, macs + done, folds + 1
    return SteppedProduct(output, cycles, macs, folds)


def _stay(kept: Matrix, streamed: Matrix) -> tuple[Matrix, int, int]:
    """(streamed @ kept, cycles, multiplications): ``kept`` [r, c] stays, ``streamed`` [t, r] moves right."""
    (r, c), t = kept.shape, streamed.shape[0]
    held = np.zeros((r, c), np.result_type(kept, streamed))
    cycles = 0
    for row in range(r):
        held[1:] = held[:-1].copy()
        held[0] = kept[r - 1 - row]
        cycles += 1
    left, there, sums = np.zeros_like(held), np.zeros((r, c), np.bool_), np.zeros_like(held)
    out = np.zeros((t, c), held.dtype)
    left_out = np.zeros(c, np.int64)
    """Sums that each column has put out."""
    macs = step = 0
    rows = np.arange(r)
    while int(left_out.min()) < t:
        left[:, 1:], there[:, 1:] = left[:, :-1].copy(), there[:, :-1].copy()
        entering = step - rows
        there[:, 0] = (entering >= 0) & (entering < t)
        left[:, 0] = np.where(there[:, 0], streamed[np.clip(entering, 0, t - 1), rows], 0)
        above = np.vstack([np.zeros((1, c), held.dtype), sums[:-1]])
        sums = np.where(there, above + left * held, above)
        macs += int(there.sum())
        (leaving,) = np.nonzero(there[-1])
        out[left_out[leaving], leaving] = sums[-1, leaving]
        left_out[leaving] += 1
        step += 1
        cycles += 1
    return out, cycles, macs


def _meet(rows_in: Matrix, cols_in: Matrix) -> tuple[Matrix, int, int]:
    """(rows_in @ cols_in, cycles, multiplications): [r, t] moves right, [t, c] moves down, sums stay."""
    (r, t), c = rows_in.shape, cols_in.shape[1]
    dtype = np.result_type(rows_in, cols_in)
    left, above, sums, out = (np.zeros((r, c), dtype) for _ in range(4))
    from_left, from_above = np.zeros((r, c), np.bool_), np.zeros((r, c), np.bool_)
    taken = np.zeros((r, c), np.int64)
    """Pairs that each cell has multiplied."""
    cycles = 0
    rows, cols = np.arange(r), np.arange(c)
    while int(taken.min()) < t:
        left[:, 1:], from_left[:, 1:] = left[:, :-1].copy(), from_left[:, :-1].copy()
        above[1:], from_above[1:] = above[:-1].copy(), from_above[:-1].copy()
        at_row, at_col = cycles - rows, cycles - cols
        from_left[:, 0], from_above[0] = (at_row >= 0) & (at_row < t), (at_col >= 0) & (at_col < t)
        left[:, 0] = np.where(from_left[:, 0], rows_in[rows, np.clip(at_row, 0, t - 1)], 0)
        above[0] = np.where(from_above[0], cols_in[np.clip(at_col, 0, t - 1), cols], 0)
        meet = from_left & from_above
        if not np.array_equal(from_left, from_above):
            raise AssertionError("an operand arrived without its partner")
        sums = np.where(meet, sums + left * above, sums)
        taken += meet
        ended = meet & (taken == t)
        if int(ended.sum(0).max()) > 1:
            raise AssertionError("two sums of a column ended in one cycle")
        out[ended] = sums[ended]
        cycles += 1
    return out, cycles, int(taken.sum())
