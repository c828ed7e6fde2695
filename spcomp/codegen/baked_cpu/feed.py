"""What a convolution's blocks read, brought to where they read it: an image at once, or a band after the other.

stride 1: nothing where x lies right, else one copy of an image before its products
strided:  for each panel of tiles what it reads, copied and multiplied while it is in the cache

Planes of all phases take as much memory as x. Copied first and multiplied after, they go out to a distant cache and
come back; a band stays, and only x comes from afar.
"""

from __future__ import annotations

import threading

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.planes import Planes, planes_text
from spcomp.codegen.mlir_cpu.regroup import Regrouping, regroup_text
from spcomp.codegen.mlir_cpu.segments import tiles_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.x86.encoder import FLOAT_BYTES
from spcomp.codegen.x86.memory import PAGE_BYTES
from spcomp.conv_layout import NATURAL, TILES, pointwise

BAND_BYTES = 640 * 1024
"""Of planes that a panel of a strided convolution reads, about, where all planes are more: a third of 2 MB of L2."""

Range = tuple[int, int]


def banded(planes: Planes, panel: int, fewest: int) -> Planes:
    """The planes of a strided convolution, of which as little is in memory as a panel reads.

    ``panel``: most tiles, ``fewest``: least tiles of one.
    """
    conv = planes.conv
    if pointwise(conv) or conv.stride == (1, 1) or planes.total * FLOAT_BYTES <= BAND_BYTES:
        return planes
    sizes = range(min(panel, planes.tiles), fewest, -1)
    most = next((t for t in sizes if Planes(conv, t).total * FLOAT_BYTES <= BAND_BYTES), fewest)
    return planes if most >= planes.tiles else Planes(conv, even_panel(planes.tiles, most))


def even_panel(tiles: int, most: int) -> int:
    """Tiles of a panel, if there are as few panels as may be and all are of about the same size."""
    return -(-tiles // -(-tiles // most))


class Feed:
    """Copies of x for one convolution. Thread safe."""

    def __init__(self, planes: Planes, tiles: int, panel: int, dtype: str) -> None:
        """``tiles``: of an image's sums; ``panel``: at most so many are made at a time; ``dtype``: of x, for MLIR."""
        conv = planes.conv
        self.planes, self.tiles, self.panel, self.dtype = planes, tiles, panel, dtype
        self.pointwise, self.strided = pointwise(conv), conv.stride != (1, 1)
        self.by_bands = self.strided and panel < tiles and (self.pointwise or planes.at_once > 0)
        """Whether x is copied for each panel alone."""
        self.job: jit.Job = ("planes", planes_text(planes, dtype), 2, 4)
        """What natural planes are copied with."""
        if self.pointwise:
            self.job = ("regroup", regroup_text(dtype), 5, 5) if self.strided else ("tiles", tiles_text(dtype), 2, 4)
        self.natural: jit.Compiled | None = None
        """The same, compiled."""
        self.over_bytes = 0
        """How far behind the input's own planes a last tile reads, into lanes that are dropped."""
        if planes.natural and not self.pointwise:
            last = int(planes.offsets().max(initial=0))
            self.over_bytes = max(0, last + tiles * LANES - conv.inputs) * FLOAT_BYTES
        self._regroupings: dict[str, Regrouping] = {}
        self._lock = threading.Lock()

    def ready(self, given: str) -> None:
        """Compile what a layout is copied with."""
        if self.copies(given) and (given == TILES or (self.pointwise and self.strided)):
            self._regrouping(given)

    def copies(self, given: str) -> bool:
        """Whether a layout is copied, or may be."""
        return given == NATURAL or (given == TILES and (self.strided or not self.pointwise))

    def nbytes(self, threads: int) -> int:
        """Of the tables of all copies, made for so many threads."""
        with self._lock:
            known = list(self._regroupings.values())
        for regrouping in known:
            for first, stop in [p for panels in self.panels(threads) for p in panels]:
                regrouping.pieces(first, stop)
        return sum(regrouping.nbytes for regrouping in known)

    def panels(self, ranges: int) -> list[list[Range]]:
        """For each of at most so many threads its panels; with no bands, all of them for all."""
        ranges = min(ranges, -(-self.tiles // self.panel)) if self.by_bands else 1
        return [_cut(lo, hi, self.panel) for lo, hi in parallel.even(self.tiles, ranges)]

    def room_bytes(self, given: str) -> int:
        """Of scratch memory for a copy of an image, or with bands of a band: whole pages."""
        if not self.copies(given):
            return 0
        tiles = self.panel if self.by_bands else self.tiles
        elements = tiles * self.planes.conv.channels * LANES if self.pointwise else self.planes.room
        return -(-elements * FLOAT_BYTES // PAGE_BYTES) * PAGE_BYTES

    def image(self, given: str, x: int, room: int, threads: int) -> int:
        """Address of an image as blocks read it, copied where need be; with bands, where it is."""
        if self.by_bands or not self.copies(given) or (given == NATURAL and self._own(x)):
            return x
        whole, shares = (0, self.tiles), parallel.even(self.planes.conv.channels, threads)
        parallel.run([[self._step(given, x, room, whole, share)] for share in shares])
        return room

    def band(self, given: str, x: int, room: int, tiles: Range) -> tuple[parallel.Step, int]:
        """The call that copies what some tiles read to ``room``, and the address where the first of them reads."""
        step = self._step(given, x, room, tiles, (0, self.planes.conv.channels))
        if self.pointwise:
            return step, room
        lo, _ = self.planes.rows(*tiles)
        return step, room + (tiles[0] * LANES - lo * self.planes.width) * FLOAT_BYTES

    def _own(self, x: int) -> bool:
        """Whether natural planes at this address are read as they are."""
        if self.pointwise or not self.planes.natural or self.dtype != "f32":
            return False
        end = x + self.planes.conv.inputs * FLOAT_BYTES  # a last tile must stay in their page
        return (end - 1) // PAGE_BYTES == (end + self.over_bytes - 1) // PAGE_BYTES

    def _step(self, given: str, x: int, out: int, tiles: Range, channels: Range) -> parallel.Step:
        if given == TILES or (self.pointwise and self.strided):
            return self._regrouping(given).step(x, out, tiles, channels)
        assert self.natural is not None
        conv = self.planes.conv
        rest = (conv.channels, conv.pixels) if self.pointwise else self.planes.rows(*tiles)
        return self.natural, (x, out, *channels, *rest)

    def _regrouping(self, given: str) -> Regrouping:
        with self._lock:
            if given not in self._regroupings:
                self._regroupings[given] = Regrouping.of(self.planes, given, self.dtype)
            return self._regroupings[given]


def _cut(lo: int, hi: int, most: int) -> list[Range]:
    """Tiles ``lo`` to ``hi`` in as few panels as may be, of about the same size."""
    return [(lo + a, lo + b) for a, b in parallel.even(hi - lo, -(-(hi - lo) // most))]
