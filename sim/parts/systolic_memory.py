"""Memories behind scratchpads: one of a bandwidth and a latency, and DRAM with real addresses."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError
from spcomp.sim.parts.dram import Dram, DramConfig
from spcomp.sim.parts.systolic_store import Transfer
from spcomp.sim.parts.systolic_tiles import Scratchpads, Tile
from spcomp.sim.topology import Layer

Array: TypeAlias = NDArray[np.int64]
ALIGN_BYTES = 4096


class Memory(Protocol):
    """Moves what a phase moves. One at a time, in order."""

    def transfer_cycles(self, transfers: Sequence[Transfer], start_cycle: int) -> int:
        """Cycles of the array from ``start_cycle`` until the last byte is there."""


class BandwidthMemory:
    """Bytes over bandwidth, and a latency once a phase that moves anything.

    Args:
        bytes_per_cycle: of the array's clock; any positive number.
        latency_cycles: 0 or more.
    """

    def __init__(self, bytes_per_cycle: float | Fraction, latency_cycles: int = 0) -> None:
        if not 0 < bytes_per_cycle < float("inf") or latency_cycles < 0:
            found = f"{bytes_per_cycle} bytes a cycle and a latency of {latency_cycles} cycles"
            raise InputError("build a memory", found, "more than 0 bytes a cycle, and no negative latency")
        self.bytes_per_cycle = Fraction(bytes_per_cycle)
        self.latency_cycles = latency_cycles

    def transfer_cycles(self, transfers: Sequence[Transfer], start_cycle: int) -> int:
        nbytes = sum(t.nbytes for t in transfers)
        return self.latency_cycles + -(-nbytes // self.bytes_per_cycle) if nbytes else 0


class DramMemory:
    """A :class:`Dram` that sees every transaction of every tile.

    The input lies as [m, k], or [height, width, channels] for a convolution; the weight tile by tile, as it is
    read; the output as [m, n]. Each begins at a page of 4 KiB. All transactions of a phase arrive as it starts.
    """

    def __init__(self, config: DramConfig, layer: Layer, pads: Scratchpads, period_fs: int) -> None:
        self.dram = Dram(config)
        self.layer, self.pads, self.period_fs = layer, pads, period_fs
        v = layer.conv
        inputs = layer.m * layer.k if v is None else v.height * v.width * v.channels
        sizes = (inputs * pads.operand_element_bytes, layer.k * layer.n * pads.operand_element_bytes)
        starts = np.cumsum([0, *(-(-size // ALIGN_BYTES) * ALIGN_BYTES for size in sizes)])
        self._start = dict(zip(("ifmap", "filter", "ofmap"), starts.tolist(), strict=True))
        self.transactions = 0

    def transfer_cycles(self, transfers: Sequence[Transfer], start_cycle: int) -> int:
        if not transfers:
            return 0
        start_fs = start_cycle * self.period_fs
        for t in transfers:
            addresses = self._addresses(t)
            arrival = np.full(addresses.size, start_fs, np.int64)
            self.dram.feed(addresses, np.full(addresses.size, t.is_write), arrival)
            self.transactions += addresses.size
        return -(-max(0, self.dram.finish_fs() - start_fs) // self.period_fs)

    def _addresses(self, transfer: Transfer) -> Array:
        """Of the transactions that a tile touches, ascending."""
        size = self.dram.config.transaction_bytes
        tile = transfer.tile
        width = self.pads.element_bytes(tile.operand)
        first = self._elements(transfer) * width + self._start[tile.operand]
        touched = np.concatenate([first // size, (first + width - 1) // size]) if width > 1 else first // size
        return np.unique(touched) * size

    def _elements(self, transfer: Transfer) -> Array:
        tile = transfer.tile
        if transfer.elements is not None:
            return transfer.elements
        if tile.operand == "filter":
            return _packed(tile, self.layer.k)
        rows, cols = np.arange(tile.row, tile.row + tile.rows), np.arange(tile.col, tile.col + tile.cols)
        return (rows[:, None] * self.layer.n + cols).ravel()


def _packed(tile: Tile, k: int) -> Array:
    """Where a tile of the weight lies: blocks of columns one after the other, each with its rows in order."""
    start = tile.col * k + tile.row * tile.cols
    return np.arange(start, start + tile.elements)
