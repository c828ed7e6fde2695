"""`Wanted`: an encoding that somebody asked for by name, with or without its parameters."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from spcomp.encodings.spec import Encoding
from spcomp.encodings.table import ENCODINGS, encoding_from_dict, parse_encoding
from spcomp.errors import EncodingError, InputError

FORMS = (
    *ENCODINGS, "block 8x8", "block 8x1", "block 4x4", "block 16x16", "nm 2:4", "nm 1:4", "nm 4:8", "vnm 64:2:8",
    "csr(block_columns=128)", "window(width=64)", "quad(rows=4)",
)  # fmt: skip
"""What is offered to somebody who mistyped one."""
_BLOCK = re.compile(r"block (\d{1,6})x(\d{1,6})", re.ASCII)
_NM = re.compile(r"nm (\d{1,6}):(\d{1,6})", re.ASCII)
_VNM = re.compile(r"vnm (\d{1,6}):2:(\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """An encoding by name; ``encoding`` None leaves its parameters open."""

    text: str
    """As it prints: ``block 8x8``, ``nm 2:4``, ``vnm 64:2:8``, ``csr``, ``window(width=64)``."""
    name: str
    """A key of :data:`~spcomp.encodings.table.ENCODINGS`."""
    encoding: Encoding | None = None

    @property
    def dense(self) -> bool:
        return self.name == "dense"

    def allows(self, encoding: Encoding) -> bool:
        """Whether this very encoding is what was asked for."""
        return encoding.name == self.name if self.encoding is None else encoding == self.encoding

    def __str__(self) -> str:
        return self.text


def parse_wanted(text: str) -> Wanted:
    """What ``text`` asks for: ``csr`` (any parameters), ``block 8x8``, ``nm 2:4``, ``vnm 64:2:8``, or as encodings
    print themselves: ``csr(block_columns=128)``. Letter case and extra blanks do not matter.

    Raises:
        InputError: no encoding is called so, or it has no such parameters; near names are listed.
    """
    plain = " ".join(text.lower().split())
    if plain in ENCODINGS:
        return Wanted(plain, plain)
    try:
        if match := _BLOCK.fullmatch(plain):
            return Wanted(plain, "block", encoding_from_dict(_data("block", rows=match[1], cols=match[2])))
        if match := _NM.fullmatch(plain):
            return Wanted(plain, "nm", encoding_from_dict(_data("nm", n=match[1], m=match[2])))
        if match := _VNM.fullmatch(plain):
            return Wanted(plain, "vnm", encoding_from_dict(_data("vnm", v=match[1], m=match[2])))
        encoding = parse_encoding(plain)
    except EncodingError as error:
        near = difflib.get_close_matches(plain, FORMS, n=3, cutoff=0.4) or list(ENCODINGS)
        raise InputError(f"use the encoding {text!r}", error.found, ", ".join(near)) from error
    return Wanted(str(encoding), encoding.name, encoding)


def _data(name: str, **numbers: str) -> dict[str, object]:
    return {"name": name, **{key: int(value) for key, value in numbers.items()}}
