"""What a machine computes: a layer's product from its packed bytes, walked as the machine walks it. :func:`execute`.

Times come from elsewhere. Here numbers move: the loops of a core over the arrays of each encoding, the folds of a
systolic array, the CTA tiles of a GPU, and whatever a sparse front end lets through. A weight whose bits are 0 is not
multiplied, whatever it would meet, as the reference has it; sums are taken in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError
from spcomp.sim.functional_core import entries
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.front_ends import Weights, as_float, read_weights
from spcomp.sim.parts.gpu import matmul
from spcomp.sim.parts.mac_array import multiply, simulate
from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.workload import Step

Matrix: TypeAlias = NDArray[np.float64]
SECTIONS = ("systolic", "mac_array", "gpu", "cores")
PRODUCTS_AT_ONCE = 1 << 22
"""Of a core's entries times rows of x."""


@dataclass(frozen=True, eq=False)
class Executed:
    """A product and what it took."""

    output: Matrix
    """[m, n]: x @ W.T, before the epilogue."""
    macs: int
    """Multiplications by weights that are no zero, counted where they were made."""


def execute(machine: Machine, step: Step, x: NDArray[Any]) -> Executed:
    """The product of a layer on ``machine``.

    Args:
        step: a layer with its packed bytes.
        x: [m, k], any number of rows.

    Raises:
        InputError: a step that is no layer, one without its bytes, an x that does not fit, a machine without a section
            that multiplies.
    """
    asked = f"execute {step.name} on {machine.name}"
    if step.call is None or not step.packed:
        raise InputError(asked, "no layer with packed bytes", "a step of a compiled model's workload")
    if x.ndim != 2 or x.shape[1] != step.k:
        raise InputError(asked, f"inputs of shape {x.shape}", f"a matrix [m, {step.k}]")
    for section in SECTIONS:
        if getattr(machine, section):
            return _EXECUTE[section](machine, step, np.asarray(x, np.float64))
    raise InputError(asked, "no section that multiplies", ", ".join(SECTIONS))


def _weights(step: Step) -> Weights:
    assert step.call is not None
    return read_weights(step.call.encoding, step.packed, (step.n, step.k), step.call.weight_dtype)


def _on_mac_array(machine: Machine, step: Step, x: Matrix) -> Executed:
    assert machine.mac_array is not None
    assert step.call is not None
    if not len(x):
        return Executed(np.zeros((0, step.n)), 0)
    found = simulate(machine.mac_array, step.call.encoding, step.packed, x, step.n, step.call.weight_dtype)
    assert found.output is not None
    return Executed(found.output, found.macs)


def _on_systolic(machine: Machine, step: Step, x: Matrix) -> Executed:
    """Fold by fold: what stays, what streams, and the sums that are added up over folds."""
    section = machine.systolic
    assert section is not None
    array = SystolicArray(section.rows, section.columns, section.dataflow)

    def pieces() -> Iterator[tuple[slice, slice, slice]]:
        every = slice(None)
        for fold in array.folds(len(x), step.k, step.n) if x.size and step.n else ():
            rows = slice(fold.row_start, fold.row_start + fold.rows)
            columns = slice(fold.col_start, fold.col_start + fold.cols)
            match section.dataflow:
                case "ws":
                    yield every, columns, rows
                case "is":
                    yield columns, every, rows
                case _:
                    yield rows, columns, every

    return _in_pieces(_weights(step), x, pieces())


def _on_gpu(machine: Machine, step: Step, x: Matrix) -> Executed:
    """CTA by CTA, K in as many parts as the library cuts it into."""
    assert step.call is not None
    if not x.size or not step.n:
        return Executed(np.zeros((len(x), step.n)), 0)
    sparse = step.call.encoding.name == "nm"
    taken = matmul(machine, len(x), step.k, step.n, step.call.dtype, sparse)
    (rows, columns), depth = taken.tile, -(-step.k // taken.split_k)
    pieces = (
        (slice(i, i + rows), slice(j, j + columns), slice(d, d + depth))
        for d in range(0, step.k, depth)
        for i in range(0, len(x), rows)
        for j in range(0, step.n, columns)
    )
    return _in_pieces(_weights(step), x, pieces)


def _in_pieces(weights: Weights, x: Matrix, pieces: Iterator[tuple[slice, slice, slice]]) -> Executed:
    """Sum of products of (rows of x, rows of W, columns of both)."""
    y, macs = np.zeros((len(x), weights.shape[0])), 0
    for rows, outputs, depth in pieces:
        part, nonzero = weights.values[outputs, depth], weights.nonzero[outputs, depth]
        with np.errstate(invalid="ignore"):
            y[rows, outputs] += multiply(part, nonzero, x[rows, depth])
        macs += int(np.count_nonzero(nonzero)) * len(range(*rows.indices(len(x))))
    return Executed(y, macs)


def _on_core(machine: Machine, step: Step, x: Matrix) -> Executed:
    """The entries of the packed arrays in the order in which a kernel's loops meet them."""
    call = step.call
    assert call is not None
    y, macs = np.zeros((step.n, len(x))), 0
    if not x.size:
        return Executed(y.T, 0)
    most = max(1, PRODUCTS_AT_ONCE // len(x))
    for rows, columns, bits in entries(call.encoding, _weights(step).bits, (step.n, step.k)):
        kept = np.flatnonzero(bits)  # padding is multiplied too, and adds nothing
        rows, columns, values = rows[kept], columns[kept], as_float(bits[kept], call.weight_dtype)
        for at in range(0, len(values), most):
            part = slice(at, at + most)
            with np.errstate(invalid="ignore"):
                np.add.at(y, rows[part], values[part, None] * x.T[columns[part]])
        macs += len(values) * len(x)
    return Executed(y.T, macs)


_EXECUTE: dict[str, Callable[[Machine, Step, Matrix], Executed]] = {
    "systolic": _on_systolic, "mac_array": _on_mac_array, "gpu": _on_gpu, "cores": _on_core,
}  # fmt: skip
