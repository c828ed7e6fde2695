"""What sparse front ends do with zeros: how many steps, by expected densities or by real positions.

*Structured* ends (``structured``, ``flexible``, ``dual_compressed``) give each row of MACs a window of inputs among
which its lanes choose; all rows take the next window together, when the slowest is done. The *dual-side* end multiplies
the nonzeros of a column of weights with those of a row of inputs, in chunks of ``rows`` and ``lanes``; partitions that
work side by side wait for each other once a tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import comb
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.errors import InputError
from spcomp.sim.machines.compute import MacArray

Counts: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
GROUPS = {4: 2, 6: 2, 8: 3}
"""m of 2:m -> bits that say where a weight stands (run lengths; Sparseloop, MICRO 2022 artifact, figure 15)."""


@dataclass(frozen=True)
class Slots:
    """Expected density: how a structured end holds weights."""

    density: Fraction
    """Slots of all positions; 1 where weights are kept dense."""
    window: int
    """Inputs of a step."""
    metadata_bits: Fraction
    """Of a slot, as stored: whole entries in a byte."""


def expected_slots(config: MacArray, density: Fraction) -> Slots:
    """The sparsest 2:m that holds so many weights, or dense.

    A ``structured`` end has 2:4 only. Entries do not cross bytes: three bits take four.
    """
    if config.front_end == "dense" or density > Fraction(1, 2):
        return Slots(Fraction(1), config.lanes, Fraction(0))
    allowed = [4] if config.front_end == "structured" else list(GROUPS)
    m = max(m for m in allowed if Fraction(2, m) >= density and config.lanes * m <= 2 * config.window_columns)
    return Slots(Fraction(2, m), config.lanes * m // 2, Fraction(8, 8 // GROUPS[m]))


def expected_chunks(size: int, density: float, chunk: int) -> tuple[float, float]:
    """Of ``size`` positions that are nonzero independently: (chunks needed, use of the chunks), both means.

    Their product is not the mean number of nonzeros over ``chunk``: the mean of ratios is above the ratio of means. The
    use of chunks is what Sparseloop divides by, so that its cycles are below those of any real mask.
    """
    weight = [comb(size, k) * density**k * (1 - density) ** (size - k) for k in range(size + 1)]
    needed = sum(w * -(-k // chunk) for k, w in enumerate(weight))
    use = sum(w * k / (chunk * -(-k // chunk)) for k, w in enumerate(weight) if k)
    return needed, use


@dataclass(frozen=True, eq=False)
class Weights:
    """A packed weight as the front end reads it: positions, and the bytes of each row. Decoded where asked for."""

    encoding: Encoding
    bits: Mapping[str, NDArray[Any]]
    """The buffers, ``values`` as raw bits."""
    shape: tuple[int, int]
    """(N, K)."""
    dtype: str

    @cached_property
    def matrix(self) -> NDArray[Any]:
        """[N, K]: raw bits."""
        return self.encoding.unpack_bits(self.bits, self.shape)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """[N, K]: numbers."""
        return as_float(self.matrix, self.dtype)

    @cached_property
    def nonzero(self) -> Mask:
        """[N, K]."""
        mask: Mask = self.matrix != 0
        return mask

    @cached_property
    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.bits["values"]))

    @cached_property
    def stored(self) -> Mask:
        """[N, K]: the positions that have a slot; of a block that is stored, all."""
        if not isinstance(self.encoding, Block):
            return self.nonzero
        ones = {**self.bits, "values": np.ones_like(self.bits["values"])}
        mask: Mask = self.encoding.unpack_bits(ones, self.shape) != 0
        return mask

    @cached_property
    def slots(self) -> Counts:
        """[N]: values that the array is given for each row, padding included."""
        rows, columns = self.shape
        if isinstance(self.encoding, Nm):
            return np.full(rows, self.bits["values"].shape[1], np.int64)
        if isinstance(self.encoding, Block):
            blocks = np.diff(self.bits["row_start"]).astype(np.int64)
            return np.repeat(blocks * self.encoding.cols, self.encoding.rows)[:rows]
        if self.encoding.name == "dense":
            return np.full(rows, columns, np.int64)
        counts: Counts = np.count_nonzero(self.nonzero, axis=1).astype(np.int64)
        return counts

    @cached_property
    def value_bytes(self) -> Counts:
        """[N]; bytes that belong to no row (of padding rows) are laid to the first."""
        made: Counts = self.slots * self.bits["values"].itemsize
        made[:1] += self.bits["values"].nbytes - int(made.sum())
        return made

    @cached_property
    def metadata_bytes(self) -> Counts:
        """[N]; offsets of the whole matrix are laid to the first row."""
        made = _metadata(self.encoding, self.bits, self.shape, self.slots)
        made[:1] += sum(v.nbytes for k, v in self.bits.items() if k != "values") - int(made.sum())
        return made


def read_weights(encoding: Encoding, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> Weights:
    """Take packed buffers (``PackedTensor.arrays()``: numpy views, bfloat16 as uint16).

    Raises:
        InputError: buffers that are not those of this encoding, shape and dtype.
    """
    if dtype not in BIT_DTYPES:
        raise InputError(f"read weights of {dtype}", "no dtype of that name", ", ".join(BIT_DTYPES))
    bits = {k: v.view(BIT_DTYPES[dtype]) if k == "values" else v for k, v in arrays.items()}
    if wrong := encoding.check(bits, shape, dtype):
        raise InputError(f"read a {encoding} of shape {shape}", wrong, "the arrays of the PackedTensor")
    return Weights(encoding, bits, shape, dtype)


def as_float(bits: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """Raw bits as numbers."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return bits.view(np.dtype(dtype)).astype(np.float64)


def _metadata(encoding: Encoding, bits: Mapping[str, Any], shape: tuple[int, int], slots: Counts) -> Counts:
    """Bytes that belong to one row each."""
    rows = shape[0]
    made = np.zeros(rows, np.int64)
    if isinstance(encoding, Nm):
        made[:] = bits["control"].shape[1] * bits["control"].itemsize
    elif isinstance(encoding, Csr):
        made += slots * bits["columns"].itemsize
        made += bits["counts"].shape[0] * bits["counts"].itemsize
    elif isinstance(encoding, Block):
        made[:: encoding.rows] = np.diff(bits["row_start"]) * bits["columns"].itemsize
    elif encoding.name == "bitmap":
        made[:] = bits["masks"].shape[1] + bits["row_start"].itemsize
    return made


def real_steps(config: MacArray, weights: Weights) -> Counts:
    """[row tiles]: steps that all rows of a tile take together through their inputs.

    Dense and N:M weights have no choice. Others: each window takes as many steps as the fullest row of the tile needs,
    and at least one.
    """
    (rows, columns), encoding = weights.shape, weights.encoding
    tile = config.rows * config.output_partitions
    tiles = -(-rows // tile)
    if isinstance(encoding, Nm):
        groups = -(-columns // encoding.m)
        together = max(1, min(config.lanes // encoding.n, config.window_columns // encoding.m))
        return np.full(tiles, -(-groups // together), np.int64)
    if encoding.name == "dense":
        return np.full(tiles, -(-columns // config.lanes), np.int64)
    counts = window_counts(weights.stored, config.window_columns)
    padded = np.zeros((tiles * tile, counts.shape[1]), np.int64)
    padded[:rows] = counts
    fullest = padded.reshape(tiles, tile, -1).max(axis=1)
    steps: Counts = np.maximum(1, -(-fullest // config.lanes)).sum(axis=1)
    return steps


def window_counts(mask: Mask, window: int) -> Counts:
    """[rows, windows]: how many are set in each window of columns."""
    rows, columns = mask.shape
    windows = -(-columns // window)
    padded = np.zeros((rows, windows * window), np.bool_)
    padded[:, :columns] = mask
    counts: Counts = np.count_nonzero(padded.reshape(rows, windows, window), axis=2)
    return counts


def chunk_counts(mask: Mask, tile: int, chunk: int) -> Counts:
    """[tiles, columns]: chunks of ``chunk`` that the nonzeros of ``tile`` rows fill, column by column."""
    rows, columns = mask.shape
    tiles = -(-rows // tile)
    padded = np.zeros((tiles * tile, columns), np.bool_)
    padded[:rows] = mask
    counts = np.count_nonzero(padded.reshape(tiles, tile, columns), axis=1)
    made: Counts = -(-counts // chunk)
    return made
