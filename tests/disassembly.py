"""Bytes -> text, by capstone."""

from __future__ import annotations

import capstone

_DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)


def disassemble(code: bytes) -> list[tuple[int, str]]:
    """``(bytes, text)`` of each instruction, up to the first that capstone does not know."""
    return [(size, f"{name} {operands}".strip()) for _, size, name, operands in _DISASSEMBLER.disasm_lite(code, 0)]
