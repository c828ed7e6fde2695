"""Object files into memory: a small linker for compiled kernels.

One :class:`Region` an object: code with stubs, then constants with the global offset table, then writable data, each on
pages of its own. What is code is never writable. Symbols that an object does not define are looked up in the C library,
libm and the compiler's run-time library. Tables for unwinding are not registered: kernels throw nothing.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from dataclasses import dataclass

from spcomp.codegen.x86 import elf
from spcomp.codegen.x86.elf import refuse
from spcomp.codegen.x86.memory import PAGE_BYTES, Region

log = logging.getLogger("spcomp.jit")

MOST_NBYTES = 256 * 1024 * 1024
_LIBRARIES = (None, "libm.so.6", "libgcc_s.so.1")
_STUB = b"\xff\x25\x00\x00\x00\x00"
"""``jmp [rip]``, followed by the address."""
_STUB_BYTES = 16
_SLOT_BYTES = 8
_ABS64, _PC32, _PLT32, _GOTPCREL, _ABS32, _ABS32S, _PC64, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 10, 11, 24, 41, 42
_BY_TABLE = (_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX)
_WIDTH = {_ABS64: 8, _PC64: 8, _PC32: 4, _PLT32: 4, _ABS32: 4, _ABS32S: 4, **dict.fromkeys(_BY_TABLE, 4)}
_PLAIN_KINDS = (0, 1, 2, 3, 4)
"""Symbols that are nothing, data, a function, a section or a file; not thread-local, not resolved by a call."""
_CONSTANT_ONCE_LINKED = ".data.rel.ro"


@dataclass(frozen=True)
class Loaded:
    """Code in memory, for as long as somebody holds ``region``."""

    region: Region
    addresses: dict[str, int]
    """Of the symbols that the object defines."""


def load(file: bytes) -> Loaded:
    """Link an object file into executable memory.

    Raises :class:`KernelError` for a file that is damaged, has sections or relocations that are not known here, or
    wants symbols that are nowhere.
    """
    return _Link(elf.read(file)).run()


@functools.cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(ctypes.CDLL(name))
        except OSError as error:
            log.debug("no symbols from %s: %s", name, error)
    return tuple(found)


def address_of(name: str) -> int | None:
    """Where this process has a C symbol, or None."""
    for library in _libraries():
        try:
            return ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        except AttributeError:
            continue
    return None


class _Link:
    def __init__(self, found: elf.Object) -> None:
        self.object = found
        self.places: dict[int, int] = {}
        """Section -> offset in the region."""
        self.outside: dict[int, int] = {}
        """Symbol that is not defined here -> address."""
        wanted = [r for r in found.relocations if elf.is_program(found.sections[r.section])]
        for r in wanted:
            self._check(r)
        self.wanted = wanted
        self.stubs = _numbered([r.symbol for r in wanted if r.kind == _PLT32 and r.symbol in self.outside])
        self.slots = _numbered([r.symbol for r in wanted if r.kind in _BY_TABLE])
        groups: tuple[list[int], list[int], list[int]] = ([], [], [])
        for i, section in enumerate(found.sections):
            if elf.is_program(section):
                elf.check_program(section)
                groups[_group(section)].append(i)
        self.stubs_at = self._place(groups[0], 0)
        self.code_nbytes = _up(self.stubs_at + _STUB_BYTES * len(self.stubs), PAGE_BYTES)
        self.slots_at = self._place(groups[1], self.code_nbytes)
        self.constant_end = _up(self.slots_at + _SLOT_BYTES * len(self.slots), PAGE_BYTES)
        self.nbytes = max(1, self._place(groups[2], self.constant_end))

    def _check(self, r: elf.Relocation) -> None:
        """That its kind, place and symbol are known."""
        section, symbol = self.object.sections[r.section], self.object.symbols[r.symbol]
        if r.kind not in _WIDTH:
            raise refuse(f"a relocation of type {r.kind} in {section.name}")
        if r.offset + _WIDTH[r.kind] > len(section.content):
            raise refuse(f"a relocation at {r.offset} of {len(section.content)} bytes of {section.name}")
        if symbol.kind not in _PLAIN_KINDS or symbol.section == elf.COMMON:
            raise refuse(f"a symbol {symbol.name} of type {symbol.kind} in section {symbol.section:#x}")
        if symbol.section == 0 and r.symbol not in self.outside:
            address = address_of(symbol.name) if symbol.name else None
            if address is None:
                raise refuse(f"no symbol {symbol.name!r} in this process")
            self.outside[r.symbol] = address

    def _place(self, sections: list[int], at: int) -> int:
        """Lay sections out one after the other; returns where the last one ends, in whole stubs."""
        for i in sections:
            section = self.object.sections[i]
            if section.alignment > PAGE_BYTES or section.alignment & (section.alignment - 1):
                raise refuse(f"a section {section.name} aligned to {section.alignment} bytes")
            at = _up(at, section.alignment)
            self.places[i] = at
            at += section.nbytes
            if at > MOST_NBYTES:
                raise refuse(f"a section {section.name} of {section.nbytes} bytes")
        return _up(at, _STUB_BYTES)

    def run(self) -> Loaded:
        region = Region(self.nbytes)
        image = bytearray(self.nbytes)
        for i, at in self.places.items():
            content = self.object.sections[i].content
            image[at : at + len(content)] = content
        for symbol, i in self.stubs.items():
            at = self.stubs_at + i * _STUB_BYTES
            image[at : at + len(_STUB)] = _STUB
            _store(image, at + len(_STUB), self.outside[symbol], 8, signed=False)
        for symbol, i in self.slots.items():
            _store(image, self.slots_at + i * _SLOT_BYTES, self._address(symbol, region.address), 8, signed=False)
        for r in self.wanted:
            self._relocate(image, r, region.address)
        region.write(0, bytes(image))
        region.seal_parts(self.code_nbytes, self.constant_end)
        symbols = self.object.symbols
        return Loaded(
            region,
            {
                s.name: self._address(i, region.address)
                for i, s in enumerate(symbols)
                if s.name and s.section in self.places
            },
        )

    def _address(self, symbol: int, base: int) -> int:
        if symbol in self.outside:
            return self.outside[symbol]
        found = self.object.symbols[symbol]
        if found.section == elf.ABSOLUTE:
            return found.value
        if found.section not in self.places:
            raise refuse(f"a symbol {found.name!r} in a section that is not loaded")
        if found.value > self.object.sections[found.section].nbytes:
            raise refuse(f"a symbol {found.name!r} at {found.value}, behind its section")
        return base + self.places[found.section] + found.value

    def _relocate(self, image: bytearray, r: elf.Relocation, base: int) -> None:
        at = self.places[r.section] + r.offset
        here = base + at
        width = _WIDTH[r.kind]
        if r.kind in _BY_TABLE:
            value = base + self.slots_at + self.slots[r.symbol] * _SLOT_BYTES + r.addend - here
        else:
            value = self._address(r.symbol, base) + r.addend
            if r.kind in (_PC32, _PLT32, _PC64):
                value -= here
            if r.kind == _PLT32 and r.symbol in self.stubs and not _fits(value, 4, signed=True):
                value = base + self.stubs_at + self.stubs[r.symbol] * _STUB_BYTES + r.addend - here
        signed = r.kind not in (_ABS64, _ABS32)
        if r.kind == _ABS64:
            value %= 1 << 64
        if not _fits(value, width, signed=signed):
            name = self.object.symbols[r.symbol].name
            raise refuse(f"{name!r} is further away than a relocation of type {r.kind} reaches")
        _store(image, at, value, width, signed=signed)


def _numbered(symbols: list[int]) -> dict[int, int]:
    return {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}


def _group(section: elf.Section) -> int:
    """0 for code, 1 for constants, 2 for data."""
    if section.flags & elf.EXECUTE:
        return 0
    return 2 if section.flags & elf.WRITE and not section.name.startswith(_CONSTANT_ONCE_LINKED) else 1


def _up(at: int, step: int) -> int:
    return -(-at // step) * step


def _fits(value: int, width: int, *, signed: bool) -> bool:
    lo, hi = (-(1 << 8 * width - 1), 1 << 8 * width - 1) if signed else (0, 1 << 8 * width)
    return lo <= value < hi


def _store(image: bytearray, at: int, value: int, width: int, *, signed: bool) -> None:
    image[at : at + width] = value.to_bytes(width, "little", signed=signed)
