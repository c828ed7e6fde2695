"""How a product passes through scratchpads: steps, and the parts of the operands that each of them uses.

A step is a fold, or a part of one along the dimension that streams, cut so that what a step uses of an operand fits
half of its scratchpad. The array computes from one half while the other is filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError
from spcomp.sim.parts.systolic import Fold, SystolicArray
from spcomp.sim.topology import Layer

Array: TypeAlias = NDArray[np.int64]
OPERANDS = ("ifmap", "filter", "ofmap")


class Tile(NamedTuple):
    """A part of a matrix: of the ifmap rows m and columns k, of the filter k and n, of the ofmap m and n."""

    operand: str
    row: int
    rows: int
    col: int
    cols: int

    @property
    def elements(self) -> int:
        return self.rows * self.cols


@dataclass(frozen=True)
class Scratchpads:
    """Bytes of each scratchpad, both halves together, and of an element (partial sums are as wide as outputs)."""

    ifmap_bytes: int = 256 << 10
    filter_bytes: int = 256 << 10
    ofmap_bytes: int = 128 << 10
    operand_element_bytes: int = 1
    output_element_bytes: int = 1

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise InputError("build scratchpads", f"{name} is {getattr(self, name)}", "at least 1")

    def capacity(self, operand: str) -> int:
        return int(getattr(self, f"{operand}_bytes"))

    def element_bytes(self, operand: str) -> int:
        return self.output_element_bytes if operand == "ofmap" else self.operand_element_bytes


@dataclass(frozen=True)
class Step:
    """What is computed without a pause. ``reads`` and ``writes`` count elements at the scratchpads."""

    compute_cycles: int
    tiles: tuple[Tile, ...]
    """Of each operand that the step uses."""
    starts: bool
    """The first sums of its ofmap tile: nothing to be read."""
    ends: bool
    """The last ones: the tile goes to memory."""
    reads: dict[str, int]
    writes: int
    macs: int


def steps(array: SystolicArray, layer: Layer, pads: Scratchpads) -> Iterator[Step]:
    """The steps of a layer, in order.

    Raises:
        InputError: a scratchpad whose half cannot hold what a step uses at least.
    """
    chunk = chunk_elements(array, layer, pads)
    for fold in array.folds(layer.m, layer.k, layer.n):
        for first in range(0, fold.stream, chunk):
            yield _step(array, layer, fold, first, min(chunk, fold.stream - first))


def chunk_elements(array: SystolicArray, layer: Layer, pads: Scratchpads) -> int:
    """How much of the dimension that streams a step takes. Raises as :func:`steps` does."""
    along_rows, along_cols, stream = array.spans(layer.m, layer.k, layer.n)
    r, c = min(array.rows, along_rows), min(array.cols, along_cols)
    streamed, kept = {
        "ws": ({"ifmap": r, "ofmap": c}, {"filter": r * c}),
        "os": ({"ifmap": r, "filter": c}, {"ofmap": r * c}),
        "is": ({"filter": r, "ofmap": c}, {"ifmap": r * c}),
    }[array.dataflow]
    for operand, elements in (kept | streamed).items():
        least = 2 * elements * pads.element_bytes(operand)
        if pads.capacity(operand) < least:
            asked = f"run {layer.name!r} on {array.rows}x{array.cols}, {array.dataflow}"
            found = f"the {operand} scratchpad has {pads.capacity(operand)} bytes"
            raise InputError(asked, found, f"at least {least} bytes: two halves of {elements} elements")
    fits = (pads.capacity(name) // (2 * count * pads.element_bytes(name)) for name, count in streamed.items())
    return min(stream, *fits)


def _step(array: SystolicArray, layer: Layer, f: Fold, first: int, t: int) -> Step:
    begins, ends = first == 0, first + t == f.stream
    cycles = t + (f.rows + f.cols - 2 if ends else 0)
    r, c = (f.row_start, f.rows), (f.col_start, f.cols)
    if array.dataflow == "os":
        tiles = [Tile("ifmap", *r, first, t), Tile("filter", first, t, *c)]
        tiles += [Tile("ofmap", *r, *c)] if ends else []
        reads = {"ifmap": f.rows * t, "filter": t * f.cols, "ofmap": 0}
        return Step(cycles, tuple(tiles), True, ends, reads, f.rows * f.cols if ends else 0, f.rows * f.cols * t)
    cycles += f.rows if begins else 0
    starts, last = f.row_start == 0, f.row_start + f.rows == layer.k
    kept, sums = f.rows * f.cols if begins else 0, 0 if starts else f.cols * t
    if array.dataflow == "ws":
        found = (Tile("ifmap", first, t, *r), Tile("filter", *r, *c), Tile("ofmap", first, t, *c))
        reads = {"ifmap": f.rows * t, "filter": kept, "ofmap": sums}
    else:
        found = (Tile("ifmap", *c, *r), Tile("filter", *r, first, t), Tile("ofmap", *c, first, t))
        reads = {"ifmap": kept, "filter": f.rows * t, "ofmap": sums}
    return Step(cycles, found, starts, last, reads, f.cols * t, f.rows * f.cols * t)


def ifmap_elements(layer: Layer, tile: Tile) -> Array:
    """Which elements of the input in memory a tile of the ifmap needs, each once, ascending.

    Windows of a convolution overlap, so there may be fewer than the tile has. Beyond the image there is nothing.
    """
    m, k = np.arange(tile.row, tile.row + tile.rows), np.arange(tile.col, tile.col + tile.cols)
    if layer.conv is None:
        return (m[:, None] * layer.k + k).ravel()
    v = layer.conv
    down = (m // v.out_width * v.stride)[:, None] + k // (v.filter_width * v.channels)
    right = (m % v.out_width * v.stride)[:, None] + k // v.channels % v.filter_width
    there = (down < v.height) & (right < v.width)
    where = (down * v.width + right) * v.channels + k % v.channels
    used = np.zeros(v.height * v.width * v.channels, np.bool_)
    used[where[there]] = True
    return np.flatnonzero(used)
