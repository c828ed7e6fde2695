"""Small x86-64 object files by hand, well-formed or not."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

WRITE, ALLOCATE, EXECUTE = 1, 2, 4
PROGRAM, SYMBOLS, STRINGS, RELA, ZEROS = 1, 2, 3, 4, 8


@dataclass
class Part:
    """A section; ``relocations`` are (offset, kind, symbol name, addend)."""

    name: str
    content: bytes
    flags: int
    kind: int = PROGRAM
    alignment: int = 16
    relocations: list[tuple[int, int, str, int]] = field(default_factory=list)
    rela_kind: int = RELA


def code(content: bytes, *relocations: tuple[int, int, str, int]) -> Part:
    return Part(".text", content, ALLOCATE | EXECUTE, relocations=list(relocations))


def constants(content: bytes, *relocations: tuple[int, int, str, int], name: str = ".rodata") -> Part:
    return Part(name, content, ALLOCATE, relocations=list(relocations))


def data(content: bytes, *relocations: tuple[int, int, str, int], name: str = ".data") -> Part:
    return Part(name, content, ALLOCATE | WRITE, relocations=list(relocations))


def zeros(nbytes: int) -> Part:
    return Part(".bss", bytes(nbytes), ALLOCATE | WRITE, kind=ZEROS)


class _Names:
    def __init__(self) -> None:
        self.content = b"\0"

    def add(self, name: str) -> int:
        at = len(self.content)
        self.content += name.encode() + b"\0"
        return at


def elf(parts: list[Part], symbols: dict[str, tuple[int, int]], *, symbol_kind: int = 0) -> bytes:
    """An object file. ``symbols``: name -> (number of the part, offset); those of part -1 are defined elsewhere."""
    names = _Names()
    table = bytes(24)
    order = list(symbols)
    for name, (part, offset) in symbols.items():
        table += struct.pack("<IBBHQQ", names.add(name), 1 << 4 | symbol_kind, 0, part + 1, offset, 0)
    sections = [Part("", b"", 0, kind=0), *parts]
    count = len(parts)
    extra: list[tuple[Part, int, int]] = [
        (Part(".symtab", table, 0, kind=SYMBOLS), count + 2, 1),
        (Part(".strtab", b"", 0, kind=STRINGS), 0, 0),
    ]
    for i, part in enumerate(parts):
        if part.relocations:
            rows = b"".join(
                struct.pack("<QQq", at, order.index(name) + 1 << 32 | kind, addend)
                for at, kind, name, addend in part.relocations
            )
            extra.append((Part(".rela" + part.name, rows, 0, kind=part.rela_kind), count + 1, i + 1))
    listed = [(s, 0, 0) for s in sections] + extra
    heads = [(names.add(s.name), s, link, info) for s, link, info in listed]
    listed[count + 2][0].content = names.content
    body, rows = b"", b""
    for name, s, link, info in heads:
        stored = b"" if s.kind == ZEROS else s.content
        entry = {SYMBOLS: 24, RELA: 24}.get(s.kind, 0)
        at = 64 + len(body)
        rows += struct.pack("<IIQQQQIIQQ", name, s.kind, s.flags, 0, at, len(s.content), link, info, s.alignment, entry)
        body += stored + bytes(-len(stored) % 16)
    numbers = (1, 62, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(heads), count + 2)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", *numbers)
    return head + body + rows
