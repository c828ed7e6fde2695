"""What lies in the scratchpads, and therefore what each step must move to and from memory.

An input that fits its scratchpad whole is read once, element by element as it is first used. Otherwise tiles are kept,
the one used longest ago going first; that is never one of the step that runs. Tiles of sums that have to go before
they are complete are written and read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.sim.parts.systolic_tiles import OPERANDS, Scratchpads, Step, Tile, ifmap_elements
from spcomp.sim.topology import Layer

Array: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Transfer:
    """Bytes of one tile, to or from memory."""

    tile: Tile
    nbytes: int
    is_write: bool
    elements: Array | None = None
    """Of the ifmap: which elements in memory."""


@dataclass(frozen=True, eq=False)
class Phase:
    """What memory moves while the step before is computed: writes, then reads; and what is computed afterwards."""

    transfers: tuple[Transfer, ...]
    step: Step | None
    """None in the two phases after the last step, which write what is left."""


@dataclass
class _Kept:
    """Tiles of one operand, least recently used first, with their bytes."""

    capacity: int
    tiles: OrderedDict[Tile, int] = field(default_factory=OrderedDict)
    held: int = 0

    def touch(self, tile: Tile, nbytes: int) -> tuple[bool, list[tuple[Tile, int]]]:
        """(whether it was there, what had to go)."""
        if tile in self.tiles:
            self.tiles.move_to_end(tile)
            return True, []
        gone = []
        while self.held + nbytes > self.capacity:
            old, size = self.tiles.popitem(last=False)
            self.held -= size
            gone.append((old, size))
        self.tiles[tile] = nbytes
        self.held += nbytes
        return False, gone

    def drop(self, tile: Tile) -> int:
        size = self.tiles.pop(tile)
        self.held -= size
        return size


class Stores:
    """The three scratchpads of a layer."""

    def __init__(self, layer: Layer, pads: Scratchpads) -> None:
        self.layer, self.pads = layer, pads
        self._kept = {name: _Kept(pads.capacity(name)) for name in OPERANDS}
        self._had: set[Tile] = set()
        v = layer.conv
        inputs = layer.m * layer.k if v is None else v.height * v.width * v.channels
        whole = inputs * pads.operand_element_bytes <= pads.ifmap_bytes
        self._read = np.zeros(inputs, np.bool_) if whole else None
        """Where the whole input fits: which elements are there."""

    def phases(self, steps: Iterable[Step]) -> Iterator[Phase]:
        """One a step, and two to write what is left."""
        earlier: list[Tile] = []
        """Sums that the step before last completed. They stay in their half until they are written."""
        last: list[Tile] = []
        for step in steps:
            writes, reads = self._complete(earlier), []
            for tile in step.tiles:
                moved = self._sums(tile, step) if tile.operand == "ofmap" else self._inputs(tile)
                writes += [t for t in moved if t.is_write]
                reads += [t for t in moved if not t.is_write]
            yield Phase((*writes, *reads), step)
            earlier, last = last, [t for t in step.tiles if t.operand == "ofmap" and step.ends]
        yield Phase(tuple(self._complete(earlier)), None)
        yield Phase(tuple(self._complete(last)), None)

    def _inputs(self, tile: Tile) -> list[Transfer]:
        width = self.pads.operand_element_bytes
        kept = self._kept[tile.operand]
        if tile.operand == "filter":
            there, _ = kept.touch(tile, tile.elements * width)
            return [] if there else [Transfer(tile, tile.elements * width, False)]
        if self._read is not None:
            if tile in self._had:
                return []
            self._had.add(tile)
            used = ifmap_elements(self.layer, tile)
            new = used[~self._read[used]]
            self._read[new] = True
            return [Transfer(tile, new.size * width, False, new)] if new.size else []
        if tile in kept.tiles:
            kept.touch(tile, 0)
            return []
        used = ifmap_elements(self.layer, tile)
        kept.touch(tile, used.size * width)
        return [Transfer(tile, used.size * width, False, used)] if used.size else []

    def _sums(self, tile: Tile, step: Step) -> list[Transfer]:
        nbytes = tile.elements * self.pads.output_element_bytes
        there, gone = self._kept["ofmap"].touch(tile, nbytes)
        moved = [Transfer(old, size, True) for old, size in gone]
        if not there and not step.starts:
            moved.append(Transfer(tile, nbytes, False))
        return moved

    def _complete(self, tiles: list[Tile]) -> list[Transfer]:
        return [Transfer(tile, self._kept["ofmap"].drop(tile), True) for tile in tiles]
