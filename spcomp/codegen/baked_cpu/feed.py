"""What a convolution's blocks read, brought to where they read it: an image at once, or a band after the other.

stride 1: nothing where x lies right, else one copy of an image before its products
strided:  for each panel of tiles what it reads, copied and multiplied while it is in the cache

Planes of all phases take as much memory as x. Copied first and multiplied after, they go out to a distant cache and
come back; a band stays, and only x comes from afar.
"""

from __future__ import annotations

import math
import threading

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.planes import Planes, planes_text
from spcomp.codegen.mlir_cpu.regroup import Regrouping, regroup_text
from spcomp.codegen.mlir_cpu.segments import tiles_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.x86.encoder import FLOAT_BYTES
from spcomp.codegen.x86.memory import PAGE_BYTES
from spcomp.conv_layout import NATURAL, TILES, pointwise

BAND_BYTES = 480 * 1024
"""Of planes that a panel of a strided convolution reads, about, where all planes are more: a quarter of 2 MB of L2."""
FEWEST_TILES = 6
"""Of a band, at least: code is read anew for every one."""

Range = tuple[int, int]


def banded(planes: Planes, most: int) -> Planes:
    """The planes of a strided convolution in bands, if all would take more memory than they should.

    Of the numbers of bands whose panels have :data:`FEWEST_TILES` to ``most`` tiles, the one with the least that is
    computed or copied in vain; an even one, which two threads share evenly.
    """
    conv, high = planes.conv, planes.conv.output[0]
    if pointwise(conv) or conv.stride == (1, 1) or planes.total * FLOAT_BYTES <= BAND_BYTES:
        return planes
    offered = dict.fromkeys(Planes(conv, -(-high // count)) for count in range(2, high + 1, 2))
    able = [p for p in offered if p.bands % 2 == 0 and FEWEST_TILES <= p.band_tiles(0)[1] <= most]
    fitting = [p for p in able if p.total * FLOAT_BYTES <= BAND_BYTES] or able[-1:]

    def vain(p: Planes) -> tuple[float, int]:
        copied = high + p.bands * p.reach[0]
        return p.tiles / planes.tiles + copied / planes.height, p.bands

    return min(fitting, key=vain, default=planes)


def even_panel(tiles: int, most: int) -> int:
    """Tiles of a panel where all are of about the same size, and as few as may be, an even number of them."""
    count = -(-tiles // most)
    return -(-tiles // (count + count % 2 if count > 1 else 1))


class Feed:
    """Copies of x for one convolution. Thread safe."""

    def __init__(self, planes: Planes, tiles: int, panel: int, dtype: str) -> None:
        """``tiles``: of an image's sums; ``panel``: at most so many are made at a time; ``dtype``: of x, for MLIR."""
        conv = planes.conv
        self.planes, self.tiles, self.panel, self.dtype = planes, tiles, panel, dtype
        self.pointwise, self.strided = pointwise(conv), conv.stride != (1, 1)
        self.by_bands = self.strided and (panel < tiles if self.pointwise else planes.bands > 1)
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

    @property
    def nbytes(self) -> int:
        """Of the tables of all copies."""
        with self._lock:
            known = list(self._regroupings.values())
        for regrouping in known:
            for first, stop in self.panels() if self.by_bands else [(0, self.tiles)]:
                regrouping.pieces(first, stop)
        return sum(regrouping.nbytes for regrouping in known)

    def panels(self) -> list[Range]:
        """Tiles that are made at a time: bands, or as many as may be."""
        if self.by_bands and not self.pointwise:
            return [self.planes.band_tiles(i) for i in range(self.planes.bands)]
        return self._panels(0, self.tiles)

    def _panels(self, first: int, stop: int) -> list[Range]:
        return [(lo, min(lo + self.panel, stop)) for lo in range(first, stop, self.panel)]

    def shared(self, threads: int, *, by_tiles: bool = False) -> list[list[Range]]:
        """The panels in equal shares, as many as a divisor of the number of threads; without bands one share, or if
        ``by_tiles`` as many tiles in each."""
        if by_tiles and not self.by_bands and self.tiles >= threads:
            return [self._panels(lo, hi) for lo, hi in parallel.even(self.tiles, threads)]
        panels = self.panels()
        shares = math.gcd(threads, len(panels)) if self.by_bands else 1
        return [panels[lo:hi] for lo, hi in parallel.even(len(panels), shares)]

    def room_bytes(self, given: str) -> int:
        """Of scratch memory for a copy of an image, or with bands of a band: whole pages."""
        if not self.copies(given):
            return 0
        tiles = self.panel if self.by_bands else self.tiles
        elements = tiles * self.planes.conv.channels * LANES if self.pointwise else self.planes.room
        return -(-elements * FLOAT_BYTES // PAGE_BYTES) * PAGE_BYTES

    def copied_whole(self, given: str, x: int) -> bool:
        """Whether blocks read a copy of the image at this address, made before them; with bands each has its own."""
        return not self.by_bands and self.copies(given) and not (given == NATURAL and self._own(x))

    def whole(self, given: str, x: int, room: int, threads: int) -> parallel.Stage:
        """The calls that copy an image to ``room``."""
        shares = parallel.even(self.planes.conv.channels, threads)
        return [[self._step(given, x, room, (0, self.tiles), share)] for share in shares]

    def band(self, given: str, x: int, room: int, tiles: Range) -> parallel.Step:
        """The call that copies what the tiles of a panel read to ``room``."""
        return self._step(given, x, room, tiles, (0, self.planes.conv.channels))

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
