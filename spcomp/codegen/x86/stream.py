"""Many instructions at once, with numpy: each is a 64-bit word, and all of a stream have the same length.

Families of instructions that differ in registers alone come from tables made with the scalar encoder; an 8-bit
displacement is or-ed into the last byte. Nothing here loops over instructions in Python. A shorter instruction is
joined with a ``nop`` to make up the length, or with another instruction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 8
Words = NDArray[np.uint64]


def word(instruction: bytes) -> int:
    """The bytes of one instruction as a little-endian number. Raises ValueError beyond eight bytes."""
    if len(instruction) > WORD_BYTES:
        raise ValueError(f"an instruction of {len(instruction)} bytes does not fit a word of {WORD_BYTES}")
    return int.from_bytes(instruction, "little")


def table(instructions: Iterable[bytes], length: int) -> Words:
    """Words of some instructions, all of ``length`` bytes, to be indexed by what they differ in."""
    listed = list(instructions)
    if {len(i) for i in listed} != {length}:
        raise ValueError(f"instructions of {sorted({len(i) for i in listed})} bytes, wanted {length}")
    return np.array([word(i) for i in listed], np.uint64)


def open_table(instructions: Iterable[bytes], length: int) -> Words:
    """The same for instructions that end in an 8-bit displacement, which is left 0 for :func:`displaced`."""
    return table(instructions, length) & np.uint64((1 << 8 * (length - 1)) - 1)


def displaced(words: Words, units: NDArray[Any], length: int) -> Words:
    """``words`` of ``length`` bytes with their last byte filled: an 8-bit displacement, in the instruction's units."""
    found: Words = units.astype(np.uint8).astype(np.uint64)
    found <<= np.uint64(8 * (length - 1))
    found |= words
    return found


def join(words: Words, length: int) -> NDArray[np.uint8]:
    """The first ``length`` bytes of every word, one after the other."""
    octets = np.ascontiguousarray(words, dtype="<u8").view(np.uint8)
    rows = np.ndarray((len(words),), np.dtype((np.void, length)), octets.data if len(words) else b"", 0, (WORD_BYTES,))
    joined: NDArray[np.uint8] = rows.copy().view(np.uint8)
    return joined
