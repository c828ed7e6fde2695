"""Matrix products on a GPU: CTA tiles in waves over SMs, tensor cores, L2 reuse, HBM.

A CTA computes a tile of the output; as many as there are SMs make a wave. A wave takes as long as the slowest of three:
its tensor cores (whole tiles, edges included), what its CTAs read from L2, and what L2 has to fetch from HBM. Panels of
operands that a wave shares are fetched once; those of earlier waves are hits while L2 holds them. Tiles are rasterised
in bands so that a wave's panels are few. The library is taken to choose the tile and the cut of K that are fastest.

``mma.sp`` runs ``sparse_rate`` times as fast and reads half of the weights and two bits for each: 9/16 of their bytes
in 16 bits.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import Gpu
from spcomp.sim.machines.schema import Dram as DramSection
from spcomp.sim.machines.schema import Machine
from spcomp.sim.nearest import nearest
from spcomp.sim.parts.dram import Dram

STREAM_INTERVALS = 8
"""Refresh intervals over which a stream is simulated; it repeats from one to the next."""
LEAST_DEPTH = 256
"""K is not cut into parts below this."""
PARTIAL_BYTES = 4
"""Of a partial sum where K is cut: float32."""


@dataclass(frozen=True)
class GpuResult:
    """What a product takes. Cycles are summed over waves; times in femtoseconds include the launch."""

    time_fs: int
    launch_fs: int
    tile: tuple[int, int]
    split_k: int
    waves: int
    ctas: int
    cycles: int
    tensor_cycles: int
    l2_cycles: int
    hbm_cycles: int
    executed_flops: int
    """Padding of edge tiles included; of ``mma.sp``, those it does."""
    l2_read_bytes: int
    hbm_read_bytes: int
    hbm_write_bytes: int

    @property
    def time_ms(self) -> float:
        return self.time_fs * 1e-12

    @property
    def bound(self) -> str:
        """Which of launch, tensor cores, L2 and HBM takes longest."""
        parts = {"tensor": self.tensor_cycles, "l2": self.l2_cycles, "hbm": self.hbm_cycles}
        slowest = max(parts, key=lambda name: parts[name])
        return "launch" if 2 * self.launch_fs > self.time_fs else slowest

    def counts(self) -> tuple[Count, ...]:
        """Bits that HBM moved, for a table such as ``hbm2_dram``; rows are opened once each in a stream."""
        moved = self.hbm_read_bytes + self.hbm_write_bytes
        path = ("dram_cell", "dram_column", "dram_bank_group_io", "dram_tsv", "dram_interposer")
        return (Count("dram_activate", moved, "byte"), *(Count(stage, moved, "byte") for stage in path))


def matmul(machine: Machine, m: int, k: int, n: int, dtype: str = "float16", sparse: bool = False) -> GpuResult:
    """``y[m, n] = x[m, k] @ W[n, k].T`` with the fastest tile and cut of K that the machine has.

    Args:
        dtype: of operands and result; sums are kept in 32 bits.
        sparse: W is 2:4, and ``mma.sp`` runs.

    Raises:
        InputError: a machine without ``gpu`` and ``dram``, a size below 1, a dtype its tensor cores do not have.
    """
    asked = f"multiply [{m}, {k}] by [{k}, {n}] on {machine.name}"
    if machine.gpu is None or machine.dram is None:
        raise InputError(asked, "it has no gpu or no dram", "gpu_a100 or gpu_h200")
    if min(m, k, n) < 1:
        raise InputError(asked, "a size below 1", "sizes of at least 1")
    rates = machine.gpu.tensor_flops_per_sm_cycle
    if dtype not in rates:
        raise InputError(asked, f"its tensor cores have no {dtype}", nearest(dtype, rates))
    if sparse and machine.gpu.sparse_rate == 1:
        raise InputError(asked, "it has no mma.sp", "sparse=False, or a gpu.sparse_rate above 1")
    per_cycle = streaming_bytes_per_second(machine.dram) * machine.cycle_fs * 1e-15
    product = Product(m, k, n, ITEM_BYTES[dtype], weight_share(ITEM_BYTES[dtype]) if sparse else 1.0)
    rate = rates[dtype] * (machine.gpu.sparse_rate if sparse else 1.0) * machine.gpu.tensor_efficiency
    best: GpuResult | None = None
    for cycles, tile, split in sorted(_candidates(machine.gpu, product, rate)):
        if best is None or cycles < best.cycles:
            found = _run(machine, machine.gpu, product, tile, split, rate, per_cycle)
            best = found if best is None or found.cycles < best.cycles else best
    assert best is not None
    return best


def _candidates(gpu: Gpu, p: Product, rate: float) -> Iterator[tuple[int, tuple[int, int], int]]:
    """(cycles of the tensor cores, which no wave can undercut, tile, cut of K)."""
    for tile in gpu.tiles:
        for split in gpu.split_k:
            if split == 1 or p.k // split >= LEAST_DEPTH:
                waves = ceil(ceil(p.m / tile[0]) * ceil(p.n / tile[1]) * split / gpu.sms)
                yield waves * ceil(2 * tile[0] * tile[1] * ceil(p.k / split) / rate), tile, split


def weight_share(item_bytes: int) -> float:
    """Bytes of a 2:4 weight over those of a dense one: two of four values, and two bits for each of them."""
    return (2 * 8 * item_bytes + 4) / (4 * 8 * item_bytes)


@dataclass(frozen=True)
class Product:
    """Sizes in elements; ``weight_share`` of the bytes of W move."""

    m: int
    k: int
    n: int
    item_bytes: int
    weight_share: float


def streaming_bytes_per_second(section: DramSection) -> float:
    """What a memory gives to reads of consecutive bytes: one channel is simulated, and all get equal shares."""
    return _one_channel(section.model_copy(update={"channels": 1}).model_dump_json()) * section.channels


@functools.cache
def _one_channel(text: str) -> float:
    config = DramSection.model_validate_json(text).config()
    seconds = STREAM_INTERVALS * config.timing["REFI"] * config.clock_fs * 1e-15
    requests = int(seconds * config.peak_bytes_per_second / config.transaction_bytes)
    memory = Dram(config)
    memory.feed(np.arange(requests) * config.transaction_bytes)
    result = memory.drain()
    return result.bytes / (result.time_fs * 1e-15)


def _run(
    machine: Machine, gpu: Gpu, p: Product, tile: tuple[int, int], split: int, rate: float, per_cycle: float
) -> GpuResult:
    depth = ceil(p.k / split)
    rows, columns = ceil(p.m / tile[0]), ceil(p.n / tile[1])
    flops = 2 * tile[0] * tile[1] * depth
    tensor = ceil(flops / rate)
    result_bytes = p.item_bytes if split == 1 else PARTIAL_BYTES
    cache = Panels(gpu.l2_bytes)
    sums = [0, 0, 0, 0, 0, 0, 0]
    waves = 0
    heights, widths = _extents(p.m, tile[0]), _extents(p.n, tile[1])
    for part, order in _waves(rows, columns, split, gpu.sms, tile):
        inner = np.minimum(depth, p.k - part * depth)
        i, j = order // columns, order % columns
        x = heights[i] * inner * p.item_bytes
        w = (widths[j] * inner * p.item_bytes * p.weight_share).astype(np.int64)
        asked = int(x.sum() + w.sum())
        panels = dict(zip((part * rows + i).tolist(), x.tolist(), strict=True))
        panels |= dict(zip((-1 - part * columns - j).tolist(), w.tolist(), strict=True))
        fetched = cache.fetch(panels)
        written = int((heights[i] * widths[j]).sum()) * result_bytes
        l2, hbm = ceil(asked / gpu.l2_read_bytes_per_cycle), ceil((fetched + written) / per_cycle)
        for k, value in enumerate((max(tensor, l2, hbm), tensor, l2, hbm, asked, fetched, written)):
            sums[k] += value
        waves += 1
    if split > 1:  # a last pass adds up the parts
        parts = split * p.m * p.n * PARTIAL_BYTES
        last = ceil(parts / gpu.l2_read_bytes_per_cycle)
        sums = [a + b for a, b in zip(sums, (last, 0, last, 0, parts, 0, p.m * p.n * p.item_bytes), strict=True)]
    ctas = rows * columns * split
    launch = round(gpu.launch_ns * 1e6)
    return GpuResult(
        launch + sums[0] * machine.cycle_fs, launch, tile, split, waves, ctas, sums[0], sums[1], sums[2], sums[3],
        ctas * flops, sums[4], sums[5], sums[6],
    )  # fmt: skip


def _extents(size: int, tile: int) -> NDArray[np.int64]:
    """Sizes of the tiles along an edge."""
    return np.minimum(tile, size - np.arange(0, size, tile))


def _waves(
    rows: int, columns: int, split: int, sms: int, tile: tuple[int, int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(parts of K, tiles by row and column) of the CTAs that run at a time.

    Bands of rows are as high as makes a wave's output about square.
    """
    band = max(1, min(rows, round(sqrt(sms * tile[1] / tile[0]))))
    i, j = np.divmod(np.arange(rows * columns), columns)
    order = np.lexsort((i % band, j, i // band))
    for first in range(0, split * order.size, sms):
        ctas = np.arange(first, min(first + sms, split * order.size))
        yield ctas // order.size, order[ctas % order.size]


class Panels:
    """What L2 holds: whole panels, the latest last. A wave that needs more than L2 leaves nothing behind."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: OrderedDict[int, int] = OrderedDict()
        self.bytes = 0

    def fetch(self, needed: dict[int, int]) -> int:
        """Bytes that come from memory."""
        missed = sum(size for key, size in needed.items() if key not in self.held)
        if sum(needed.values()) > self.capacity:
            self.held.clear()
            self.bytes = 0
            return missed
        for key, size in needed.items():
            self.bytes += size - self.held.pop(key, 0)
            self.held[key] = size
        while self.bytes > self.capacity:
            self.bytes -= self.held.popitem(last=False)[1]
        return missed
