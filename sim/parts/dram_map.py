"""Address mappers: which channel, bank and row an address lands in.

A mapper is an order of fields from the lowest bits up, taken after the bits within one transaction. ``column:4`` takes
four columns of the field, a later ``column`` the rest. Sizes need not be powers of two (three channels are fine). What
is left above the last field is dropped, so addresses wrap round at the end of the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError

Array = NDArray[np.int64]

MAPPERS: dict[str, tuple[str, ...]] = {
    # named from the highest bits to the lowest; Ra stands for ranks (pseudo channels) and stack ids
    "RoBaRaCoCh": ("channel", "column", "rank", "stack", "group", "bank", "row"),
    "RoRaBaChCo": ("column", "channel", "group", "bank", "stack", "rank", "row"),
    "RoCoBaRaBgCh": ("channel", "group", "stack", "rank", "bank", "column", "row"),
    "ChRaBaRoCo": ("column", "row", "bank", "group", "stack", "rank", "channel"),
    "MOP4CLXOR": ("channel", "column:4", "rank", "stack", "group", "bank", "column", "row"),
}


@dataclass(frozen=True, eq=False)
class Places:
    """Where addresses land; arrays of one length."""

    channel: Array
    bank: Array
    """Index within the channel: rank, stack, group, bank, the last running fastest."""
    row: Array
    transaction: Array
    """The address over the size of a transaction: equal where two requests touch the same bytes."""


def locate(
    addresses: Array,
    mapper: str,
    sizes: Mapping[str, int],
    transaction_bytes: int,
    interleave_bytes: int,
    xor: bool,
) -> Places:
    """Map byte addresses.

    Args:
        sizes: of ``channel rank stack group bank row column`` (columns in transactions).
        interleave_bytes: with ``channel`` lowest, how many bytes stay together in one channel; a multiple of the
            transaction, at most a row.
        xor: with powers of two, bank group and bank are xored with the low bits of the row (Zhang et al., MICRO 2000),
        so
            that strides of whole rows spread out. ``MOP4CLXOR`` has a hash of its own: groups, banks and rows are xored
            with the column's bits in turn.

    Raises:
        InputError: negative addresses.
    """
    if addresses.size and int(addresses.min()) < 0:
        raise InputError("map addresses", f"a negative one ({int(addresses.min())})", "byte addresses from 0 up")
    transaction = _split(addresses, transaction_bytes)[1]
    rest = transaction
    found: dict[str, Array] = {}
    left = dict(sizes)
    for part in _parts(mapper, interleave_bytes // transaction_bytes if sizes["channel"] > 1 else 1):
        name, _, few = part.partition(":")
        size = min(int(few), left[name]) if few else left[name]
        if size == 1:
            continue
        value, rest = _split(rest, size)
        scale = sizes[name] // left[name]
        found[name] = found[name] + value * scale if name in found else value
        left[name] //= size
    nothing = np.zeros_like(addresses)
    for name in sizes:
        found.setdefault(name, nothing)
    if mapper == "MOP4CLXOR":
        _mop_hash(found, sizes)
    if xor:
        low, bits = found["row"], 0
        for name in ("group", "bank"):
            found[name] = found[name] ^ ((low >> bits) & (sizes[name] - 1))
            bits += sizes[name].bit_length() - 1
    bank = found["rank"]
    for name in ("stack", "group", "bank"):
        if sizes[name] > 1:
            bank = bank * sizes[name] + found[name] if bank is not nothing else found[name]
    return Places(found["channel"], bank, found["row"], transaction)


def _parts(mapper: str, together: int) -> tuple[str, ...]:
    parts = MAPPERS[mapper]
    if parts[0] != "channel" or together <= 1:
        return parts
    return (f"column:{together}", *parts)


def _split(values: Array, size: int) -> tuple[Array, Array]:
    if size & (size - 1) == 0:
        return values & (size - 1), values >> (size.bit_length() - 1)
    return values % size, values // size


def _mop_hash(found: dict[str, Array], sizes: Mapping[str, int]) -> None:
    bits = 0
    for name in ("rank", "stack", "group", "bank", "row"):
        found[name] = found[name] ^ ((found["column"] >> bits) & (sizes[name] - 1))
        bits += sizes[name].bit_length() - 1
