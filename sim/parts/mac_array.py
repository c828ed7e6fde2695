"""MAC arrays with sparse front ends: cycles, traffic and counted actions of ``y[M, N] = x[M, K] @ W[N, K].T``.

``expected`` knows densities only and is labelled *estimated*; ``simulate`` takes the packed arrays and the inputs,
walks the tiles of the array in order, and computes the product. Both move the same operands the same way: weights of
``output_partitions * rows`` outputs stay in registers while ``token_tile`` tokens pass, the sums of the tile stay in
accumulators, a buffer feeds both operands at ``buffer_read_bytes_per_cycle``, and a tile takes as long as its
arithmetic or its operands, whichever is longer. What stays in the buffer is chosen by :func:`plan_traffic`, and of
:func:`tilings` the fastest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.spec import ITEM_BYTES, Encoding
from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import MacArray
from spcomp.sim.parts.array_counts import Traffic, Work, counts_of, plan_traffic
from spcomp.sim.parts.front_ends import (
    Weights,
    chunk_counts,
    expected_chunks,
    expected_slots,
    read_weights,
    real_steps,
)  # fmt: skip


@dataclass(frozen=True)
class Gemm:
    """Sizes of a product: N outputs, K inputs, M tokens."""

    outputs: int
    inputs: int
    tokens: int

    def __post_init__(self) -> None:
        if min(self.outputs, self.inputs, self.tokens) < 1:
            raise InputError(f"simulate {self}", "a size below 1", "sizes of at least 1")


@dataclass(frozen=True, eq=False)
class ArrayResult:
    """What a product takes. ``cycles`` of the machine's clock."""

    origin: Literal["estimated", "simulated"]
    cycles: int
    compute_cycles: int
    """If operands were always there."""
    buffer_cycles: int
    """If arithmetic took no time."""
    balanced_cycles: int
    """Arithmetic, if every MAC had something to multiply in every cycle."""
    macs: int
    """Products of nonzero weights (and nonzero inputs, in a dual-side array)."""
    slots: int
    """Products that took a place in the array, padding included."""
    work: Work
    traffic: Traffic
    counts: tuple[Count, ...]
    """Actions, for :func:`spcomp.sim.energy.charge`."""
    output: NDArray[np.float64] | None = None
    """[M, N], where inputs were given."""

    @property
    def imbalance_cycles(self) -> int:
        """Cycles of arithmetic in which some had nothing to do: edges, padding, and waiting for the slowest."""
        return self.compute_cycles - self.balanced_cycles

    @property
    def stall_cycles(self) -> int:
        """Cycles in which the array waits for operands."""
        return self.cycles - self.compute_cycles

    @property
    def metadata_bytes(self) -> int:
        """Read from the buffer and decoded."""
        return ceil(self.work.weight_metadata + self.work.input_metadata)


def expected(config: MacArray, gemm: Gemm, weight_density: float, input_density: float = 1.0) -> ArrayResult:
    """What a product takes if zeros are spread evenly: no positions, no imbalance beyond that of chance.

    Args:
        weight_density: share of nonzeros in W, from 0 to 1.
        input_density: share of nonzeros in x.

    Raises:
        InputError: a density outside 0 to 1.
    """
    for name, value in (("weight_density", weight_density), ("input_density", input_density)):
        if not 0 <= value <= 1:
            raise InputError(f"expect {name}={value}", "no share", "a number from 0 to 1")
    shares = [Fraction(value).limit_denominator(10**6) for value in (weight_density, input_density)]
    return min((_expected(tiled, gemm, *shares) for tiled in tilings(config)), key=lambda result: result.cycles)


def tilings(config: MacArray) -> Iterator[MacArray]:
    """The array as it is, and a dual-side one with its tile lying on the other side: registers and sums fit it too."""
    yield config
    if config.front_end == "dual_side" and config.rows == config.lanes and config.output_tile != config.token_tile:
        yield config.model_copy(update={"output_tile": config.token_tile, "token_tile": config.output_tile})


def _expected(config: MacArray, gemm: Gemm, density: Fraction, input_density: Fraction) -> ArrayResult:
    find = _expect_dual if config.front_end == "dual_side" else _expect_stationary
    work, traffic, compute, slots, macs = find(config, gemm, density, input_density)
    buffer = ceil(work.read_bytes / config.buffer_read_bytes_per_cycle)
    return ArrayResult(
        "estimated", max(compute, buffer), compute, buffer, ceil(slots / config.macs), macs, slots, work, traffic,
        counts_of(config, work, traffic, "int8"),
    )  # fmt: skip


def simulate(
    config: MacArray,
    encoding: Encoding,
    arrays: Mapping[str, NDArray[Any]],
    inputs: NDArray[Any],
    outputs: int,
    dtype: str = "float32",
    functional: bool = True,
) -> ArrayResult:
    """Run a packed weight on real inputs.

    Args:
        arrays: the encoding's buffers, as ``PackedTensor.arrays()`` gives them.
        inputs: x [M, K], in numbers that float64 holds.
        outputs: N.
        dtype: of the weight; inputs and outputs move in words of its size.
        functional: compute the product, too; cycles and counts are the same without.

    Raises:
        InputError: inputs that are no matrix, or buffers that do not fit the encoding.
    """
    x = np.asarray(inputs, np.float64)
    if x.ndim != 2:
        raise InputError("simulate a product", f"inputs of shape {x.shape}", "a matrix [M, K]")
    weights = read_weights(encoding, arrays, (outputs, x.shape[1]), dtype)
    gemm = Gemm(outputs, x.shape[1], x.shape[0])
    run = _run_dual if config.front_end == "dual_side" else _run_stationary
    tried = (run(tiled, gemm, weights, x, dtype) for tiled in tilings(config))
    best = min(tried, key=lambda result: result.cycles)
    return replace(best, output=multiply(weights.values, weights.nonzero, x)) if functional else best


def multiply(values: NDArray[np.float64], nonzero: NDArray[np.bool_], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """[M, N]: x @ values.T in float64; a weight that is not ``nonzero`` is skipped, whatever it would meet."""
    plain = np.isfinite(x).all(axis=0)
    with np.errstate(invalid="ignore"):  # infinities meet zeros and each other, as they may
        y: NDArray[np.float64] = x[:, plain] @ values[:, plain].T
        for column in np.flatnonzero(~plain):
            y += np.where(nonzero[:, column], np.multiply.outer(x[:, column], values[:, column]), 0.0)
    return y


def _expect_stationary(
    config: MacArray, g: Gemm, density: Fraction, input_density: Fraction
) -> tuple[Work, Traffic, int, int, int]:
    held = expected_slots(config, density)
    size = config.word_bytes
    weight = held.density * g.outputs * g.inputs * size
    moved = input_density if config.front_end == "dual_compressed" else Fraction(1)
    input_bytes = moved * g.inputs * g.tokens * size
    bitmap = Fraction(g.inputs * g.tokens, 8) if config.front_end == "dual_compressed" else Fraction(0)
    traffic = plan_traffic(config, g.outputs, g.tokens, weight, input_bytes)
    row_tiles = ceil(g.outputs / (config.rows * config.output_partitions))
    steps = ceil(g.inputs / held.window)
    again = ceil(g.tokens / traffic.token_tile)
    metadata = weight / size * held.metadata_bits / 8
    slots = int(held.density * g.outputs * g.inputs) * g.tokens
    work = Work(
        weight_reads=weight * again, weight_metadata=metadata * again, input_reads=input_bytes * row_tiles,
        input_metadata=bitmap * row_tiles, weight_bytes=weight, weight_metadata_bytes=metadata,
        input_bytes=input_bytes, input_metadata_bytes=bitmap, output_bytes=Fraction(g.outputs * g.tokens * size),
        macs=slots, skipped=0, register_writes=weight / size * again, register_reads=Fraction(slots),
        register_write_bits=held.metadata_bits * weight / size * again, register_read_bits=held.metadata_bits * slots,
        sums=g.outputs * g.tokens * steps, sums_held=g.outputs * g.tokens,
    )  # fmt: skip
    macs = int(density * g.outputs * g.inputs) * g.tokens
    return work, traffic, row_tiles * steps * g.tokens, slots, macs


def _expect_dual(
    config: MacArray, g: Gemm, density: Fraction, input_density: Fraction
) -> tuple[Work, Traffic, int, int, int]:
    size = config.word_bytes
    weight, input_bytes = density * g.outputs * g.inputs * size, input_density * g.inputs * g.tokens * size
    row_passes = ceil(g.outputs / (config.output_tile * config.output_partitions))
    token_passes = ceil(g.tokens / (config.token_tile * config.token_partitions))
    traffic = plan_traffic(config, g.outputs, g.tokens, weight, input_bytes)
    weight_chunks, weight_use = expected_chunks(config.output_tile, float(density), config.rows)
    input_chunks, input_use = expected_chunks(config.token_tile, float(input_density), config.lanes)
    pairs = int(density * g.outputs * input_density * g.tokens * g.inputs)
    use = weight_use * input_use * config.macs
    compute = ceil(pairs / use) if pairs else 0
    w_bits = _bitmap_bits(g.outputs, g.inputs, density, config.rows, config.output_tile)
    x_bits = _bitmap_bits(g.tokens, g.inputs, input_density, config.lanes, config.token_tile)
    reads_w, reads_x = weight * token_passes, input_bytes * row_passes
    to_w, to_x = reads_w * config.token_partitions, reads_x * config.output_partitions
    kept_w = w_bits.of_chunks * token_passes * config.token_partitions
    kept_x = x_bits.of_chunks * row_passes * config.output_partitions
    read_again = to_w / size * Fraction(input_chunks) + to_x / size * Fraction(weight_chunks)
    work = Work(
        weight_reads=reads_w, weight_metadata=w_bits.bits * token_passes / 8, input_reads=reads_x,
        input_metadata=x_bits.bits * row_passes / 8, weight_bytes=weight, weight_metadata_bytes=w_bits.bits / 8,
        input_bytes=input_bytes, input_metadata_bytes=x_bits.bits / 8,
        output_bytes=Fraction(g.outputs * g.tokens * size),
        macs=pairs, skipped=g.outputs * g.tokens * g.inputs - pairs, register_writes=(to_w + to_x) / size,
        register_reads=read_again, register_write_bits=kept_w + kept_x,
        register_read_bits=kept_w * (config.token_tile // config.lanes)
        + kept_x * (config.output_tile // config.rows), sums=pairs, sums_held=g.outputs * g.tokens,
    )  # fmt: skip
    return work, traffic, compute, pairs, pairs


@dataclass(frozen=True)
class Bitmap:
    """Bits that say where nonzeros are: one for each column of a tile, and those of its chunks that are not empty."""

    bits: Fraction
    of_chunks: Fraction


def _bitmap_bits(rows: int, columns: int, density: Fraction, chunk: int, tile: int) -> Bitmap:
    full = 1 - (1 - density) ** chunk
    of_chunks = rows * columns * Fraction(float(full)).limit_denominator(10**9)
    return Bitmap(of_chunks + columns * ceil(rows / tile), of_chunks)


def _run_stationary(config: MacArray, g: Gemm, weights: Weights, x: NDArray[np.float64], dtype: str) -> ArrayResult:
    item = ITEM_BYTES[dtype]
    compressed = config.front_end == "dual_compressed"
    row_tile = config.rows * config.output_partitions
    steps = real_steps(config, weights)
    value_bytes, metadata = _by_tile(weights.value_bytes, row_tile), _by_tile(weights.metadata_bytes, row_tile)
    token_bytes = np.count_nonzero(x, axis=1) * item if compressed else np.full(g.tokens, g.inputs * item)
    token_metadata = np.full(g.tokens, ceil(g.inputs / 8) if compressed else 0)
    totals = Fraction(int(value_bytes.sum())), Fraction(int(token_bytes.sum()))
    traffic = plan_traffic(config, g.outputs, g.tokens, *totals)
    tokens = _by_tile(np.ones(g.tokens, np.int64), traffic.token_tile)
    moved = _by_tile(token_bytes + token_metadata, traffic.token_tile)
    compute = np.multiply.outer(tokens, steps)
    fed = np.add.outer(moved, value_bytes + metadata)
    fed = -(-fed // config.buffer_read_bytes_per_cycle)
    again, tiles = len(tokens), len(steps)
    weight, meta, inputs, marks = (Fraction(int(v.sum())) for v in (value_bytes, metadata, token_bytes, token_metadata))
    slots = int(weights.slots.sum())
    work = Work(
        weight_reads=weight * again, weight_metadata=meta * again, input_reads=inputs * tiles,
        input_metadata=marks * tiles, weight_bytes=weight, weight_metadata_bytes=meta, input_bytes=inputs,
        input_metadata_bytes=marks, output_bytes=Fraction(g.outputs * g.tokens * item), macs=slots * g.tokens,
        skipped=0, register_writes=Fraction(slots * again), register_reads=Fraction(slots * g.tokens),
        register_write_bits=meta * again * 8, register_read_bits=meta * g.tokens * 8,
        sums=int(steps.sum()) * g.tokens * row_tile, sums_held=g.outputs * g.tokens,
    )  # fmt: skip
    macs = weights.nonzeros * g.tokens
    return _result(config, work, traffic, compute, fed, slots * g.tokens, macs, dtype)


def _run_dual(config: MacArray, g: Gemm, weights: Weights, x: NDArray[np.float64], dtype: str) -> ArrayResult:
    item, nonzero = ITEM_BYTES[dtype], x != 0
    w_chunks = chunk_counts(weights.nonzero, config.output_tile, config.rows)
    x_chunks = chunk_counts(nonzero, config.token_tile, config.lanes)
    cycles = x_chunks @ w_chunks.T
    side = _groups(_groups(cycles, config.token_partitions).max(axis=1).T, config.output_partitions).max(axis=1).T
    w_values = np.count_nonzero(weights.nonzero, axis=1) * item
    row_tile, token_tile = config.output_tile * config.output_partitions, config.token_tile * config.token_partitions
    w_bytes, w_meta = _by_tile(w_values, row_tile), _by_tile(weights.metadata_bytes, row_tile)
    x_bytes = _by_tile(np.count_nonzero(nonzero, axis=1) * item, token_tile)
    x_meta = _by_tile(np.full(g.tokens, ceil(g.inputs / 8)), token_tile)
    fed = -(-np.add.outer(x_bytes + x_meta, w_bytes + w_meta) // config.buffer_read_bytes_per_cycle)
    weight, meta, inputs, marks = (Fraction(int(v.sum())) for v in (w_bytes, w_meta, x_bytes, x_meta))
    traffic = plan_traffic(config, g.outputs, g.tokens, weight, inputs)
    pairs = int(np.count_nonzero(weights.nonzero, axis=0) @ np.count_nonzero(nonzero, axis=0))
    rows, tokens = side.shape[1], side.shape[0]
    to_w, to_x = tokens * config.token_partitions, rows * config.output_partitions
    work = Work(
        weight_reads=weight * tokens, weight_metadata=meta * tokens, input_reads=inputs * rows,
        input_metadata=marks * rows, weight_bytes=weight, weight_metadata_bytes=meta, input_bytes=inputs,
        input_metadata_bytes=marks, output_bytes=Fraction(g.outputs * g.tokens * item), macs=pairs,
        skipped=g.outputs * g.tokens * g.inputs - pairs,
        register_writes=(weight * to_w + inputs * to_x) / item,
        register_reads=Fraction(int(np.count_nonzero(weights.nonzero, axis=0) @ x_chunks.sum(axis=0))
                                + int(np.count_nonzero(nonzero, axis=0) @ w_chunks.sum(axis=0))),
        register_write_bits=8 * (meta * to_w + marks * to_x),
        register_read_bits=8 * (meta * to_w * (config.token_tile // config.lanes)
                                + marks * to_x * (config.output_tile // config.rows)),
        sums=pairs, sums_held=g.outputs * g.tokens,
    )  # fmt: skip
    return _result(config, work, traffic, side, fed, pairs, pairs, dtype)


def _result(
    config: MacArray, work: Work, traffic: Traffic, compute: NDArray[np.int64], fed: NDArray[np.int64], slots: int,
    macs: int, dtype: str,
) -> ArrayResult:  # fmt: skip
    cycles = int(np.maximum(compute, fed).sum())
    balanced = ceil(slots / config.macs)
    counts = counts_of(config, work, traffic, dtype)
    whole = int(compute.sum()), int(fed.sum())
    return ArrayResult("simulated", cycles, *whole, balanced, macs, slots, work, traffic, counts)


def _by_tile(values: NDArray[np.int64], tile: int) -> NDArray[np.int64]:
    """Sums of ``tile`` neighbours."""
    sums: NDArray[np.int64] = _groups(values, tile).sum(axis=1)
    return sums


def _groups(values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """[n, ...] -> [ceil(n / size), size, ...], zeros at the end."""
    count = -(-len(values) // size)
    padded = np.zeros((count * size, *values.shape[1:]), np.int64)
    padded[: len(values)] = values
    return padded.reshape(count, size, *values.shape[1:])
