"""What MAC arrays move, and the actions that their energy is charged for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import MacArray


@dataclass(frozen=True)
class Traffic:
    """How often operands come from outside, and how many tokens pass at once."""

    token_tile: int
    weight_fetches: int
    input_fetches: int

    def fetched(self, weight_bytes: Fraction, input_bytes: Fraction) -> Fraction:
        return weight_bytes * self.weight_fetches + input_bytes * self.input_fetches


@dataclass(frozen=True)
class Work:
    """Bytes and words of one product. Exact fractions where densities are expected, whole numbers where counted."""

    weight_reads: Fraction
    """Bytes of values that the buffer gives, every time they are read; so the next three."""
    weight_metadata: Fraction
    input_reads: Fraction
    input_metadata: Fraction
    weight_bytes: Fraction
    """Once; so the next three."""
    weight_metadata_bytes: Fraction
    input_bytes: Fraction
    input_metadata_bytes: Fraction
    output_bytes: Fraction
    macs: int
    """Products that cost a multiplication: zeros that keep a slot are multiplied too."""
    skipped: int
    """Products that a dual-side array leaves out."""
    register_writes: Fraction
    """Words, so the next."""
    register_reads: Fraction
    register_write_bits: Fraction
    """Metadata, so the next."""
    register_read_bits: Fraction
    sums: int
    """Additions to accumulators..."""
    sums_held: int
    """... of so many outputs."""

    @property
    def read_bytes(self) -> Fraction:
        """All that the buffer gives."""
        return self.weight_reads + self.weight_metadata + self.input_reads + self.input_metadata


def plan_traffic(config: MacArray, outputs: int, tokens: int, weight_bytes: Fraction, input_bytes: Fraction) -> Traffic:
    """Keep in the buffer what costs least: least bytes from outside, then least from the buffer.

    Either a part of the weights stays while the inputs pass tile by tile, or the other way round; the tile of tokens is
    halved where that makes room. Metadata has room of its own.
    """
    return min(
        _choices(config, outputs, tokens, weight_bytes, input_bytes),
        key=lambda t: (t.fetched(weight_bytes, input_bytes), weight_bytes * ceil(tokens / t.token_tile)),
    )


def _choices(
    config: MacArray, outputs: int, tokens: int, weight_bytes: Fraction, input_bytes: Fraction
) -> Iterator[Traffic]:
    rows = config.output_tile * config.output_partitions
    row_tile = weight_bytes * min(rows, outputs) / outputs
    tile = config.token_tile * config.token_partitions
    halve = config.front_end != "dual_side"
    while True:
        token_tile = input_bytes * min(tile, tokens) / tokens
        yield Traffic(tile, ceil(tokens / tile), 1)
        for kept, least, moved, weights_stay in (
            (weight_bytes, row_tile, token_tile, True), (input_bytes, token_tile, row_tile, False)
        ):  # fmt: skip
            room = config.buffer_bytes - moved
            if room >= min(kept, least):
                passes = max(1, ceil(kept / room))
                yield Traffic(tile, 1, passes) if weights_stay else Traffic(tile, passes, 1)
        if not halve or tile <= config.lanes:
            return
        tile //= 2


def counts_of(config: MacArray, work: Work, traffic: Traffic, dtype: str) -> tuple[Count, ...]:
    """Actions by the names of the ``sparseloop_*`` tables; an access of a part is a word of it."""
    register = Fraction(config.register_word_bytes, config.word_bytes)
    reads, writes = work.weight_reads + work.input_reads, traffic.fetched(work.weight_bytes, work.input_bytes)
    read_bits = work.weight_metadata + work.input_metadata
    write_bits = traffic.fetched(work.weight_metadata_bytes, work.input_metadata_bytes)
    return (
        Count(f"mac_{dtype}", work.macs),
        Count("register_write", work.register_writes / register),
        Count("register_read", work.register_reads / register),
        Count("register_metadata_write", work.register_write_bits / config.register_metadata_bits),
        Count("register_metadata_read", work.register_read_bits / config.register_metadata_bits),
        Count("accumulator_write", work.sums + work.sums_held),
        Count("accumulator_read", max(0, work.sums - work.sums_held)),
        Count("accumulator_skipped", 2 * work.skipped),
        Count("buffer_read", reads / config.buffer_word_bytes),
        Count("buffer_write", writes / config.buffer_word_bytes),
        Count("buffer_metadata_read", read_bits / config.buffer_metadata_word_bytes),
        Count("buffer_metadata_write", write_bits / config.buffer_metadata_word_bytes),
        Count("dram_byte", writes + work.output_bytes, "byte"),
        Count("dram_metadata_byte", write_bits, "byte"),
    )
