"""Relocatable ELF files for x86-64 (``.o``), as far as compiled kernels need them: sections, symbols, relocations.

Source: System V ABI, chapters "Object files" and "AMD64 supplement". Everything is checked against the length of the
file; what is not understood is an error, never a guess.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from spcomp.errors import KernelError

ASKED = "load compiled code"
HINT = "compiling it in this process, or reporting the dumped kernel source as a bug"
ZEROS = 8
"""Type of a section that has a size and no bytes in the file."""
WRITE, ALLOCATE, EXECUTE, THREAD_LOCAL = 0x1, 0x2, 0x4, 0x400
ABSOLUTE, COMMON = 0xFFF1, 0xFFF2
"""Section numbers of symbols that are in none."""
_PROGRAM, _UNWIND = 1, 0x70000001
_SYMBOLS, _RELA, _REL = 2, 4, 9
_HEADER, _SECTION = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ")
_SYMBOL, _RELOCATION = struct.Struct("<IBBHQQ"), struct.Struct("<QQq")


def refuse(found: str) -> KernelError:
    """The error of this file and the loader."""
    return KernelError(ASKED, found, HINT)


@dataclass(frozen=True)
class Section:
    """``nbytes`` in memory; ``content`` is empty for zeros."""

    name: str
    kind: int
    flags: int
    alignment: int
    nbytes: int
    content: bytes


@dataclass(frozen=True)
class Symbol:
    """``value`` is an offset in its section; section 0 means that it is somewhere else."""

    name: str
    kind: int
    section: int
    value: int


@dataclass(frozen=True)
class Relocation:
    """A place in a section that depends on where a symbol is."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


@dataclass(frozen=True)
class Object:
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]


def read(file: bytes) -> Object:
    """Parse a whole file. Raises :class:`KernelError` for anything else than a sound x86-64 relocatable."""
    (magic, kind, machine, _, _, _, at, _, _, _, _, entry, count, names) = _unpack(_HEADER, file, 0)
    if magic[:6] != b"\x7fELF\x02\x01" or (kind, machine) != (1, 62) or entry != _SECTION.size:
        raise refuse("no relocatable ELF file for x86-64")
    if not 0 < names < count:
        raise refuse(f"section names in section {names} of {count}")
    heads = [_unpack(_SECTION, file, at + i * _SECTION.size) for i in range(count)]
    strings = _content(file, heads[names])
    sections = tuple(
        Section(_name(strings, h[0]), h[1], h[2], max(1, h[8]), h[5], _content(file, h)) for h in heads
    )  # fmt: skip
    tables = [i for i, s in enumerate(sections) if s.kind == _SYMBOLS]
    if len(tables) > 1:
        raise refuse(f"{len(tables)} tables of symbols")
    symbols: tuple[Symbol, ...] = ()
    if tables:
        link = heads[tables[0]][6]
        if link >= count:
            raise refuse(f"symbol names in section {link} of {count}")
        symbols = _symbols(sections[tables[0]].content, sections[link].content, count)
    relocations: list[Relocation] = []
    for section, head in zip(sections, heads, strict=True):
        target = head[7]
        if section.kind == _REL:
            raise refuse(f"relocations without addends in {section.name}")
        if section.kind == _RELA:
            if target >= count:
                raise refuse(f"relocations of section {target} of {count}")
            relocations += _relocations(section.content, target, len(symbols))
    return Object(sections, symbols, tuple(relocations))


def is_program(section: Section) -> bool:
    """Whether it belongs into memory: code, constants, data; tables for unwinding are left out."""
    return bool(section.flags & ALLOCATE) and section.kind != _UNWIND and not section.name.startswith(".eh_frame")


def check_program(section: Section) -> None:
    """Raises :class:`KernelError` for a section of a program that takes more than to be put into memory."""
    if section.kind not in (_PROGRAM, ZEROS) or section.flags & THREAD_LOCAL:
        raise refuse(f"a section {section.name} of type {section.kind:#x} and flags {section.flags:#x}")
    if section.flags & WRITE and section.flags & EXECUTE:
        raise refuse(f"a section {section.name} that is code and writable")


def _symbols(table: bytes, strings: bytes, sections: int) -> tuple[Symbol, ...]:
    found = []
    for name, info, _, section, value, _ in _entries(_SYMBOL, table):
        if section >= sections and section not in (ABSOLUTE, COMMON):
            raise refuse(f"a symbol in section {section} of {sections}")
        found.append(Symbol(_name(strings, name), info & 15, section, value))
    return tuple(found)


def _relocations(table: bytes, section: int, symbols: int) -> list[Relocation]:
    found = []
    for offset, info, addend in _entries(_RELOCATION, table):
        if info >> 32 >= symbols:
            raise refuse(f"a relocation by symbol {info >> 32} of {symbols}")
        found.append(Relocation(section, offset, info & 0xFFFFFFFF, info >> 32, addend))
    return found


def _entries(form: struct.Struct, table: bytes) -> list[tuple[int, ...]]:
    if len(table) % form.size:
        raise refuse(f"a table of {len(table)} bytes with entries of {form.size}")
    return list(form.iter_unpack(table))


def _unpack(form: struct.Struct, file: bytes, at: int) -> tuple[Any, ...]:
    if at + form.size > len(file):
        raise refuse(f"a file of {len(file)} bytes that should have some at {at}")
    return form.unpack_from(file, at)


def _content(file: bytes, head: tuple[int, ...]) -> bytes:
    kind, at, nbytes = head[1], head[4], head[5]
    if kind in (0, ZEROS):
        return b""
    if at + nbytes > len(file):
        raise refuse(f"a file of {len(file)} bytes that should have {nbytes} at {at}")
    return file[at : at + nbytes]


def _name(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    if at > len(strings) or end < 0:
        raise refuse(f"a name at {at} of {len(strings)} bytes of names")
    return strings[at:end].decode("utf-8", "replace")
