"""Many instructions at once, with numpy: each is a 64-bit word of up to eight bytes and a length.

Families of instructions that differ in registers alone come from tables made with the scalar encoder; an 8-bit
displacement is or-ed into its byte. Nothing here loops over instructions in Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 8
Words = NDArray[np.uint64]
Lengths = NDArray[np.uint8]
_KEEP = np.arange(WORD_BYTES) < np.arange(WORD_BYTES + 1)[:, None]


def word(instruction: bytes) -> int:
    """The bytes of one instruction as a little-endian number. Raises ValueError beyond eight bytes."""
    if len(instruction) > WORD_BYTES:
        raise ValueError(f"an instruction of {len(instruction)} bytes does not fit a word of {WORD_BYTES}")
    return int.from_bytes(instruction, "little")


def table(instructions: Iterable[bytes]) -> tuple[Words, Lengths]:
    """Words and lengths of some instructions, to be indexed by what they differ in."""
    listed = list(instructions)
    return np.array([word(i) for i in listed], np.uint64), np.array([len(i) for i in listed], np.uint8)


def open_table(instructions: Iterable[bytes]) -> Words:
    """Words of instructions of one length that end in an 8-bit displacement, which is left 0 for :func:`displaced`."""
    words, lengths = table(instructions)
    if (lengths != lengths[0]).any():
        raise ValueError(f"instructions of {sorted(set(lengths.tolist()))} bytes do not end at the same place")
    return words & np.uint64((1 << 8 * (int(lengths[0]) - 1)) - 1)


def displaced(words: Words, units: NDArray[Any], length: int) -> Words:
    """``words`` of ``length`` bytes with their last byte filled: an 8-bit displacement, in the instruction's units."""
    found: Words = words | units.astype(np.uint8).astype(np.uint64) << np.uint64(8 * (length - 1))
    return found


def join(words: Words, lengths: Lengths) -> NDArray[np.uint8]:
    """The first ``lengths`` bytes of every word, one after the other."""
    octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8).reshape(-1, WORD_BYTES)
    joined: NDArray[np.uint8] = octets[_KEEP[lengths]]
    return joined
