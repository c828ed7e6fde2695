"""How a product is cut into tiles that fit halves of three scratchpads, so that memory moves the fewest bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from spcomp.errors import InputError
from spcomp.sim.machines.compute import Systolic
from spcomp.sim.parts.systolic import SystolicArray

SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)


@dataclass(frozen=True)
class Tiling:
    """Sizes of a tile; k innermost, so that sums stay until they are complete.

    ``columns_outside``: all rows of x pass for some columns of the result before the next columns; else the other way.
    """

    m: int
    k: int
    n: int
    columns_outside: bool
    keeps_x: str
    """What of x stays in its half: ``all``, a ``strip`` (all k of some rows), or a ``tile``."""
    keeps_w: str

    def places(self, m: int, n: int) -> Iterator[tuple[int, int]]:
        """(first row, first column) of tiles of the result, in order."""
        if self.columns_outside:
            yield from ((i, j) for j in range(0, n, self.n) for i in range(0, m, self.m))
        else:
            yield from ((i, j) for i in range(0, m, self.m) for j in range(0, n, self.n))


def best_tiling(section: Systolic, m: int, k: int, n: int, word_bytes: int) -> Tiling:
    """The tiling that reads the fewest elements, then the fewest cycles, then the fewest tiles. All are tried.

    Raises:
        InputError: scratchpads whose halves hold no tile at all.
    """
    array = SystolicArray(section.rows, section.columns, section.dataflow)
    halves = [size // (2 * word_bytes) for size in (section.ifmap_bytes, section.filter_bytes, section.ofmap_bytes)]
    best: tuple[tuple[int, int, int], Tiling] | None = None
    for mt in _sizes(m, section):
        for nt in _sizes(n, section):
            kt = _depth(section, k, mt, nt, halves)
            if kt < 1 or mt * nt > halves[2]:
                continue
            for outside in (True, False):
                tiling = _kept(m, k, n, mt, kt, nt, outside, halves)
                moved = _moved(tiling, m, k, n)
                if best is not None and moved > best[0][0]:
                    continue
                score = (moved, _cycles(array, tiling, m, k, n), -kt * nt * mt)
                if best is None or score < best[0]:
                    best = score, tiling
    if best is None:
        found = f"scratchpads of {section.ifmap_bytes}, {section.filter_bytes} and {section.ofmap_bytes} bytes"
        raise InputError(f"cut a product of {m} x {k} x {n}", found, "larger ones: two halves that hold a value each")
    return best[1]


def _sizes(span: int, section: Systolic) -> list[int]:
    """Even shares of a dimension, rounded up to a side of the array."""
    side = max(section.rows, section.columns)
    found = {min(span, ceil(ceil(span / share) / side) * side) for share in SHARES}
    return sorted(found | {1, min(span, 8)}, reverse=True)


def _depth(section: Systolic, k: int, mt: int, nt: int, halves: list[int]) -> int:
    most = min(k, halves[0] // mt, halves[1] // nt)
    return most if most == k or most < section.rows else most // section.rows * section.rows


def _kept(m: int, k: int, n: int, mt: int, kt: int, nt: int, outside: bool, halves: list[int]) -> Tiling:
    x = "all" if m * k <= halves[0] else "strip" if mt * k <= halves[0] else "tile"
    w = "all" if k * n <= halves[1] else "strip" if k * nt <= halves[1] else "tile"
    return Tiling(mt, kt, nt, outside, x, w)


def _moved(t: Tiling, m: int, k: int, n: int) -> int:
    """Elements of x and W that are read."""
    rows, columns = -(-m // t.m), -(-n // t.n)
    x = 1 if t.keeps_x == "all" or (t.keeps_x == "strip" and (not t.columns_outside or rows == 1)) else columns
    w = 1 if t.keeps_w == "all" or (t.keeps_w == "strip" and (t.columns_outside or columns == 1)) else rows
    return x * m * k + w * k * n


def _cycles(array: SystolicArray, t: Tiling, m: int, k: int, n: int) -> int:
    found = 0
    for mt, rows in _parts(m, t.m):
        for kt, depth in _parts(k, t.k):
            for nt, columns in _parts(n, t.n):
                found += rows * depth * columns * array.cycles(mt, kt, nt)
    return found


def _parts(span: int, size: int) -> list[tuple[int, int]]:
    whole, rest = divmod(span, size)
    return [(s, c) for s, c in ((size, whole), (rest, 1)) if s and c]
