"""Cycles of a row-stationary array (Eyeriss) on a convolution, in closed form.

A row of a filter stays in each PE, a column of PEs adds up the rows of a filter, and as many filters or channels are
laid one above the other as fit; PEs beside each other compute neighbouring output columns, or other filters where the
output is too narrow. Every utilized PE multiplies once a cycle, so cycles are products over utilized PEs. Zero inputs
are skipped, but the scratchpads give no more than ``skip_width`` words a cycle.

Source: Chen et al., Eyeriss, ISCA 2016, and the mappings of the Sparseloop artifact (MICRO 2022, table 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from spcomp.errors import InputError


@dataclass(frozen=True)
class ConvLayer:
    """A convolution of ``images``; sizes of the output."""

    filters: int
    channels: int
    filter_rows: int
    filter_columns: int
    output_rows: int
    output_columns: int
    images: int = 1

    @property
    def macs(self) -> int:
        taps = self.channels * self.filter_rows * self.filter_columns
        return self.filters * taps * self.output_rows * self.output_columns * self.images


def utilized_pes(layer: ConvLayer, rows: int = 12, columns: int = 14) -> int:
    """PEs that work, of ``rows`` x ``columns`` (12 x 14 in Eyeriss).

    Down: the rows of a filter, and filters or channels above each other so far as they divide. Across: the largest
    number that divides the output columns, then filters.
    """
    if min(layer.filter_rows, rows, columns) < 1 or layer.filter_rows > rows:
        found = f"filters of {layer.filter_rows} rows on {rows} x {columns} PEs"
        raise InputError("map a layer row-stationary", found, "an array with at least the rows of a filter")
    above = _largest_divisor(layer.filters * layer.channels, rows // layer.filter_rows)
    beside = _largest_divisor(layer.output_columns, columns)
    filters = _largest_divisor(layer.filters, columns // beside)
    return layer.filter_rows * above * beside * filters


def row_stationary_cycles(
    layer: ConvLayer, input_density: float = 1.0, skip_width: int = 2, rows: int = 12, columns: int = 14
) -> int:
    """Cycles, with ``input_density`` of the inputs nonzero.

    Raises:
        InputError: a filter taller than the array, or a density outside 0 to 1.
    """
    if not 0 <= input_density <= 1:
        raise InputError(f"expect input_density={input_density}", "no share", "a number from 0 to 1")
    dense = Fraction(layer.macs, utilized_pes(layer, rows, columns))
    share = max(Fraction(input_density).limit_denominator(10**6), Fraction(1, skip_width))
    return ceil(dense * share)


def _largest_divisor(value: int, most: int) -> int:
    return next(d for d in range(max(1, most), 0, -1) if value % d == 0)
