"""One x86-64 instruction at a time: the AVX-512 and integer instructions that generated kernels are made of.

Every function returns the bytes of one instruction. Formats and opcodes after the Intel 64 and IA-32 Architectures
Software Developer's Manual, volume 2 (EVEX prefix: section 2.7; displacements of one byte: section 2.7.5). General
registers are :class:`Gpr`, vector registers are numbers from 0 to 31. Tests compare with a disassembler.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ZMM_BYTES = 64
FLOAT_BYTES = 4


class Gpr(IntEnum):
    """The sixteen 64-bit general registers, by their number in encodings."""

    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    R8 = 8
    R9 = 9
    R10 = 10
    R11 = 11
    R12 = 12
    R13 = 13
    R14 = 14
    R15 = 15


class Condition(IntEnum):
    """What a conditional jump looks at, by its number in encodings; after ``cmp a, b`` (B, AE, BE, A unsigned)."""

    B = 0x2
    AE = 0x3
    E = 0x4
    NE = 0x5
    BE = 0x6
    A = 0x7
    L = 0xC
    GE = 0xD
    LE = 0xE
    G = 0xF


@dataclass(frozen=True)
class Mem:
    """The operand ``[base + disp]``; ``disp`` in bytes, 32 bits signed."""

    base: Gpr
    disp: int = 0


def _modrm(reg: int, mem: Mem, scale: int = 1) -> bytes:
    """ModRM, SIB and displacement. One byte of displacement counts in units of ``scale`` bytes."""
    low, reg = mem.base & 7, (reg & 7) << 3
    sib = b"\x24" if low == Gpr.RSP else b""
    if mem.disp == 0 and low != Gpr.RBP:
        return bytes([reg | low]) + sib
    short, rest = divmod(mem.disp, scale)
    if rest == 0 and -128 <= short <= 127:
        return bytes([0x40 | reg | low]) + sib + short.to_bytes(1, "little", signed=True)
    return bytes([0x80 | reg | low]) + sib + mem.disp.to_bytes(4, "little", signed=True)


def evex(
    opcode: int,
    reg: int,
    second: int,
    rm: int | Mem,
    *,
    table: int,
    prefix: int,
    wide: bool = False,
    scale: int = ZMM_BYTES,
    broadcast: bool = False,
    mask: int = 0,
    zeroing: bool = False,
) -> bytes:
    """A 512-bit EVEX instruction ``reg, second, rm``.

    ``table``: opcode map 1 to 3; ``prefix``: 0 none, 1 is 66, 2 is F3, 3 is F2; ``wide``: the W bit; ``second``: the
    register in vvvv, 0 where there is none; ``scale``: bytes that one unit of an 8-bit displacement stands for;
    ``mask``: k1 to k7, 0 for none; ``zeroing``: masked lanes become 0 instead of keeping their value.
    """
    if isinstance(rm, Mem):
        x, b, tail = 0, rm.base >> 3 & 1, _modrm(reg, rm, FLOAT_BYTES if broadcast else scale)
    else:
        x, b, tail = rm >> 4 & 1, rm >> 3 & 1, bytes([0xC0 | (reg & 7) << 3 | rm & 7])
    first = (~reg >> 3 & 1) << 7 | (1 - x) << 6 | (1 - b) << 5 | (~reg >> 4 & 1) << 4 | table
    middle = wide << 7 | (~second & 15) << 3 | 4 | prefix
    last = zeroing << 7 | 2 << 5 | broadcast << 4 | (~second >> 4 & 1) << 3 | mask
    return bytes([0x62, first, middle, last, opcode]) + tail


def vmovups_load(reg: int, mem: Mem, *, mask: int = 0, zeroing: bool = False) -> bytes:
    """``vmovups zmm{k}, [mem]``: sixteen floats, any alignment."""
    return evex(0x10, reg, 0, mem, table=1, prefix=0, mask=mask, zeroing=zeroing)


def vmovups_store(mem: Mem, reg: int, *, mask: int = 0) -> bytes:
    """``vmovups [mem]{k}, zmm``."""
    return evex(0x11, reg, 0, mem, table=1, prefix=0, mask=mask)


def vmovaps(reg: int, source: int) -> bytes:
    """``vmovaps zmm, zmm``."""
    return evex(0x28, reg, 0, source, table=1, prefix=0)


def vbroadcastss(reg: int, mem: Mem) -> bytes:
    """``vbroadcastss zmm, [mem]``: one float in all lanes."""
    return evex(0x18, reg, 0, mem, table=2, prefix=1, scale=FLOAT_BYTES)


def vfmadd231ps(reg: int, a: int, b: int | Mem, *, broadcast: bool = False) -> bytes:
    """``reg += a * b``; with ``broadcast``, ``b`` is one float in memory ({1to16})."""
    return evex(0xB8, reg, a, b, table=2, prefix=1, broadcast=broadcast)


def vaddps(reg: int, a: int, b: int | Mem, *, broadcast: bool = False) -> bytes:
    """``reg = a + b``."""
    return evex(0x58, reg, a, b, table=1, prefix=0, broadcast=broadcast)


def vmaxps(reg: int, a: int, b: int | Mem, *, broadcast: bool = False) -> bytes:
    """``reg = a > b ? a : b``."""
    return evex(0x5F, reg, a, b, table=1, prefix=0, broadcast=broadcast)


def vpxord(reg: int, a: int, b: int) -> bytes:
    """``reg = a ^ b``."""
    return evex(0xEF, reg, a, b, table=1, prefix=1)


def vzeroupper() -> bytes:
    """Clear the upper parts of the vector registers, before code that knows nothing of them."""
    return b"\xc5\xf8\x77"


def vpxor_xmm(reg: int, a: int, b: int) -> bytes:
    """``vpxor xmm, xmm, xmm`` (VEX, registers 0 to 15): with equal operands, the short way to clear a zmm register."""
    if not all(0 <= r < 16 for r in (reg, a, b)):
        raise ValueError(f"VEX reaches registers 0 to 15, not {max(reg, a, b)}")
    r, vvvv = (~reg >> 3 & 1) << 7, (~a & 15) << 3
    tail = bytes([0xEF, 0xC0 | (reg & 7) << 3 | b & 7])
    if b < 8:
        return bytes([0xC5, r | vvvv | 1]) + tail
    return bytes([0xC4, r | 0x40 | 1, vvvv | 1]) + tail


def clear(reg: int) -> bytes:
    """Set a zmm register to +0.0 in all lanes, the shortest way."""
    return vpxor_xmm(reg, reg, reg) if reg < 8 else vpxord(reg, reg, reg)


def kmovw(mask: int, source: Gpr) -> bytes:
    """``kmovw k, r32``: the low 16 bits of a general register become a mask."""
    if source < 8:
        return bytes([0xC5, 0xF8, 0x92, 0xC0 | mask << 3 | source])
    return bytes([0xC4, 0xC1, 0x78, 0x92, 0xC0 | mask << 3 | source & 7])


def _rex(reg: int, rm: int) -> int:
    return 0x48 | (reg >> 3 & 1) << 2 | rm >> 3 & 1


def mov(reg: Gpr, source: Gpr | Mem) -> bytes:
    """``mov r64, r64`` or ``mov r64, [mem]``."""
    if isinstance(source, Mem):
        return bytes([_rex(reg, source.base), 0x8B]) + _modrm(reg, source)
    return bytes([_rex(source, reg), 0x89, 0xC0 | (source & 7) << 3 | reg & 7])


def mov_store(mem: Mem, reg: Gpr) -> bytes:
    """``mov [mem], r64``."""
    return bytes([_rex(reg, mem.base), 0x89]) + _modrm(reg, mem)


def mov_immediate(reg: Gpr, value: int) -> bytes:
    """``mov r64, imm64`` (any 64-bit value, signed or not)."""
    return bytes([_rex(0, reg), 0xB8 | reg & 7]) + (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")


def lea(reg: Gpr, mem: Mem) -> bytes:
    """``lea r64, [mem]``."""
    return bytes([_rex(reg, mem.base), 0x8D]) + _modrm(reg, mem)


def _arithmetic(extension: int, reg: Gpr, value: int) -> bytes:
    head = bytes([_rex(0, reg)])
    tail = 0xC0 | extension << 3 | reg & 7
    if -128 <= value <= 127:
        return head + bytes([0x83, tail]) + value.to_bytes(1, "little", signed=True)
    return head + bytes([0x81, tail]) + value.to_bytes(4, "little", signed=True)


def add_immediate(reg: Gpr, value: int) -> bytes:
    """``add r64, imm``, 32 bits signed."""
    return _arithmetic(0, reg, value)


def sub_immediate(reg: Gpr, value: int) -> bytes:
    """``sub r64, imm``, 32 bits signed."""
    return _arithmetic(5, reg, value)


def cmp_immediate(reg: Gpr, value: int) -> bytes:
    """``cmp r64, imm``, 32 bits signed."""
    return _arithmetic(7, reg, value)


def add(reg: Gpr, source: Gpr | Mem) -> bytes:
    """``add r64, r64`` or ``add r64, [mem]``."""
    return _integer(0x03, reg, source)


def sub(reg: Gpr, source: Gpr | Mem) -> bytes:
    """``sub r64, r64`` or ``sub r64, [mem]``."""
    return _integer(0x2B, reg, source)


def cmp(reg: Gpr, source: Gpr | Mem) -> bytes:
    """``cmp r64, r64`` or ``cmp r64, [mem]``."""
    return _integer(0x3B, reg, source)


def _integer(opcode: int, reg: Gpr, source: Gpr | Mem) -> bytes:
    if isinstance(source, Mem):
        return bytes([_rex(reg, source.base), opcode]) + _modrm(reg, source)
    return bytes([_rex(reg, source), opcode, 0xC0 | (reg & 7) << 3 | source & 7])


def imul(reg: Gpr, source: Gpr, value: int) -> bytes:
    """``imul r64, r64, imm32``."""
    return bytes([_rex(reg, source), 0x69, 0xC0 | (reg & 7) << 3 | source & 7]) + value.to_bytes(
        4, "little", signed=True
    )


def shift_right(reg: Gpr, bits: int) -> bytes:
    """``shr r64, imm8``."""
    return bytes([_rex(0, reg), 0xC1, 0xE8 | reg & 7, bits])


def divide(divisor: Gpr) -> bytes:
    """``div r64``: rdx:rax by ``divisor``; quotient in rax, rest in rdx."""
    return bytes([_rex(0, divisor), 0xF7, 0xF0 | divisor & 7])


def prefetch(mem: Mem, level: int) -> bytes:
    """``prefetcht0`` to ``prefetcht2``, ``level`` 0 to 2: into all caches, from the second on, from the third on."""
    rex = b"\x41" if mem.base >= 8 else b""
    return rex + b"\x0f\x18" + _modrm(level + 1, mem)


def push(reg: Gpr) -> bytes:
    return (b"\x41" if reg >= 8 else b"") + bytes([0x50 | reg & 7])


def pop(reg: Gpr) -> bytes:
    return (b"\x41" if reg >= 8 else b"") + bytes([0x58 | reg & 7])


def call(target: Gpr | Mem) -> bytes:
    """``call r64`` or ``call [mem]``."""
    return _indirect(2, target)


def jmp_to(target: Gpr | Mem) -> bytes:
    """``jmp r64`` or ``jmp [mem]``."""
    return _indirect(4, target)


def _indirect(extension: int, target: Gpr | Mem) -> bytes:
    base = target.base if isinstance(target, Mem) else target
    rex = b"\x41" if base >= 8 else b""
    tail = _modrm(extension, target) if isinstance(target, Mem) else bytes([0xC0 | extension << 3 | target & 7])
    return rex + b"\xff" + tail


def ret() -> bytes:
    return b"\xc3"


def nop() -> bytes:
    return b"\x90"


def trap() -> bytes:
    """``int3``: what fills the space between functions."""
    return b"\xcc"


JUMP_BYTES = 5
BRANCH_BYTES = 6


def jump(distance: int) -> bytes:
    """``jmp rel32``; ``distance`` from the end of the instruction, in bytes."""
    return b"\xe9" + distance.to_bytes(4, "little", signed=True)


def branch(condition: Condition, distance: int) -> bytes:
    """``jcc rel32``; ``distance`` from the end of the instruction, in bytes."""
    return bytes([0x0F, 0x80 | condition]) + distance.to_bytes(4, "little", signed=True)
