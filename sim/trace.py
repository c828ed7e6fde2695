"""Address traces: what a program read and wrote, in order.

Two formats. *lackey*: the output of ``valgrind --tool=lackey --trace-mem=yes`` (``I  4001000,3``, `` L 1ffe,8``,
`` S 1ffe,8``, `` M 1ffe,4``; lines of valgrind itself are skipped). *plain*: ``R 0x1f40``, ``W 8000``, with ``load``,
``store``, ``read``, ``write``, ``LD``, ``ST`` for the first word, an optional size in bytes behind, ``#`` for comments.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from spcomp.errors import InputError

Array: TypeAlias = NDArray[np.int64]
INSTRUCTION, LOAD, STORE, MODIFY = range(4)
WORDS = {"r": LOAD, "ld": LOAD, "l": LOAD, "load": LOAD, "read": LOAD, "w": STORE, "st": STORE, "s": STORE,
         "store": STORE, "write": STORE}  # fmt: skip
PLAIN_HINT = "R 0x1f40, W 8000, load 0x1f40 4"
LACKEY_HINT = "a line such as ' L 1ffefff8,8'"
MOST_DIGITS = 15
"""Of a hexadecimal address, so that it fits 63 bits."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Accesses in order; arrays of one length."""

    kind: NDArray[np.uint8]
    """INSTRUCTION, LOAD, STORE or MODIFY (a load and a store of the same bytes)."""
    address: Array
    size: Array
    """Bytes; 1 where the trace gives none."""

    def __len__(self) -> int:
        return self.address.size

    def data(self) -> Trace:
        """Without instructions, and each MODIFY as a load and a store."""
        keep = np.flatnonzero(self.kind != INSTRUCTION)
        twice = np.repeat(keep, np.where(self.kind[keep] == MODIFY, 2, 1))
        kind = self.kind[twice]
        second = np.zeros(twice.size, np.bool_)
        second[1:] = (twice[1:] == twice[:-1]) & (kind[1:] == MODIFY)
        kind = np.where(kind == MODIFY, np.where(second, STORE, LOAD), kind).astype(np.uint8)
        return Trace(kind, self.address[twice], self.size[twice])

    @property
    def is_write(self) -> NDArray[np.bool_]:
        return np.equal(self.kind, STORE)

    def split(self, transaction_bytes: int) -> tuple[Array, NDArray[np.bool_]]:
        """(addresses, is_write) of the transactions that the accesses touch, in order."""
        first = self.address // transaction_bytes
        counts = (self.address + self.size - 1) // transaction_bytes - first + 1
        of = np.repeat(np.arange(len(self)), counts)
        within = np.arange(of.size) - np.repeat(np.cumsum(counts) - counts, counts)
        return (first[of] + within) * transaction_bytes, self.is_write[of]


def read_trace(path: Path) -> Trace:
    """Read a trace in either format; its first line that says something tells which.

    Raises:
        InputError: no such file, or a malformed line (its number and text are in the message).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"read the trace {path}", error.strerror or str(error), "a file that exists") from error
    for line in data.splitlines()[:1000] if len(data) < 1 << 16 else data[: 1 << 16].splitlines():
        if line.strip() and not line.startswith((b"==", b"--", b"#")):
            lackey = b"," in line
            return parse_lackey(data, str(path)) if lackey else parse_plain(data, str(path))
    return Trace(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))


def parse_plain(data: bytes, name: str = "trace") -> Trace:
    """The plain format. Raises :class:`InputError` for a malformed line."""
    kinds: list[int] = []
    addresses: list[int] = []
    sizes: list[int] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            kind = WORDS[words[0].lower()]
            address, size = int(words[1], 0), int(words[2], 0) if len(words) > 2 else 1
        except (KeyError, IndexError, ValueError):
            raise _malformed(name, number, line, PLAIN_HINT) from None
        if len(words) > 3 or not 0 <= address < 1 << 60 or not 1 <= size < 1 << 32:
            raise _malformed(name, number, line, PLAIN_HINT)
        kinds.append(kind)
        addresses.append(address)
        sizes.append(size)
    return Trace(np.array(kinds, np.uint8), np.array(addresses, np.int64), np.array(sizes, np.int64))


def parse_lackey(data: bytes, name: str = "trace") -> Trace:
    """The output of lackey, some ten million lines a second. Raises :class:`InputError` for a malformed line."""
    text = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1])
    numbers = np.arange(1, ends.size + 1)
    ends = ends - (text[np.maximum(ends - 1, 0)] == ord("\r"))
    told = (ends > starts) & (text[starts] != ord("=")) & (text[starts] != ord("-"))
    starts, ends, numbers = starts[told], ends[told], numbers[told]
    padded = np.concatenate([text, np.zeros(4, np.uint8)])
    first, second = padded[starts], padded[starts + 1]
    kind = np.full(starts.size, 255, np.uint8)
    kind[(first == ord("I")) & (second == ord(" "))] = INSTRUCTION
    for letter, value in (("L", LOAD), ("S", STORE), ("M", MODIFY)):
        kind[(first == ord(" ")) & (second == ord(letter))] = value
    commas = np.flatnonzero(text == ord(","))
    at = np.searchsorted(commas, starts)
    comma = commas[np.minimum(at, commas.size - 1)] if commas.size else np.zeros_like(starts)
    bad = (kind == 255) | (padded[starts + 2] != ord(" ")) | (comma <= starts + 3) | (comma >= ends - 1)
    bad |= (comma - starts - 3 > MOST_DIGITS) | (ends - comma - 1 > 9)
    comma, stop = np.where(bad, starts, comma), np.where(bad, starts, ends)
    address, wrong = _number(text, starts + 3, comma, 16)
    size, odd = _number(text, comma + 1, stop, 10)
    bad |= wrong | odd | (size < 1)
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        line = bytes(text[starts[k] : ends[k]]).decode("utf-8", "replace")
        raise _malformed(name, int(numbers[k]), line, LACKEY_HINT)
    return Trace(kind, address, size)


def _number(text: NDArray[np.uint8], start: Array, stop: Array, base: int) -> tuple[Array, NDArray[np.bool_]]:
    """The numbers at ``text[start:stop]``, and where there is none."""
    table = np.full(256, -1, np.int64)
    for value, letter in enumerate("0123456789abcdef"[:base]):
        table[ord(letter)] = table[ord(letter.upper())] = value
    total = np.zeros(start.size, np.int64)
    wrong = np.zeros(start.size, np.bool_)
    for k in range(int((stop - start).max(initial=0))):
        inside = start + k < stop
        digit = table[text[np.where(inside, start + k, 0)]]
        wrong |= inside & (digit < 0)
        total = np.where(inside, total * base + digit, total)
    return total, wrong


def _malformed(name: str, number: int, line: str, hint: str) -> InputError:
    return InputError(f"read the trace {name}", f"line {number} is no access: {line[:80]!r}", hint)
