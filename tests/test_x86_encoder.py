"""Our encoder against a disassembler, operand by operand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import capstone
import pytest

from spcomp.codegen.x86 import encoder as x86
from spcomp.codegen.x86 import stream
from spcomp.codegen.x86.encoder import Condition, Gpr, Mem
from spcomp.codegen.x86.program import Program
from tests.disassembly import disassemble

ZMM = range(32)
BYTES = (0, 1, -1, 127, 128, -128, -129, 2**31 - 1, -(2**31))
UNITS = (0, 1, -1, 127, 128, -128, -129, 1 << 20)


def scaled(unit: int) -> list[int]:
    """Displacements that fit one byte in units of so many bytes, just do not, or lie between two units."""
    return sorted({u * unit for u in UNITS} | {4, 60, 68, -4})


def text(mem: Mem, size: str = "") -> str:
    """A memory operand as the disassembler prints it."""
    sign = "+" if mem.disp > 0 else "-"
    far = abs(mem.disp)
    shown = f" {sign} {far if far < 10 else hex(far)}" if mem.disp else ""
    return f"{size}[{mem.base.name.lower()}{shown}]"


def one(code: bytes, wanted: str) -> None:
    found = disassemble(code)
    assert [t for _, t in found] == [wanted], code.hex()
    assert found[0][0] == len(code)


ThreeOperands = Callable[[int, int, int], bytes]


@pytest.mark.parametrize(
    ("name", "make"), [("vfmadd231ps", x86.vfmadd231ps), ("vaddps", x86.vaddps), ("vmaxps", x86.vmaxps),
                       ("vpxord", x86.vpxord)],
)  # fmt: skip
def test_three_vector_registers(name: str, make: ThreeOperands) -> None:
    some = (0, 1, 7, 8, 15, 16, 23, 24, 31)
    for a, b, c in itertools.product(ZMM, some, some):
        one(make(a, b, c), f"{name} zmm{a}, zmm{b}, zmm{c}")


@pytest.mark.parametrize("base", Gpr)
def test_vector_and_memory(base: Gpr) -> None:
    for reg, disp in itertools.product((0, 7, 8, 15, 16, 31), scaled(64)):
        mem = Mem(base, disp)
        where = text(mem, "zmmword ptr ")
        one(x86.vmovups_load(reg, mem), f"vmovups zmm{reg}, {where}")
        one(x86.vmovups_store(mem, reg), f"vmovups {where}, zmm{reg}")
        one(x86.vfmadd231ps(reg, 31 - reg, mem), f"vfmadd231ps zmm{reg}, zmm{31 - reg}, {where}")


@pytest.mark.parametrize("base", Gpr)
def test_broadcast_from_memory(base: Gpr) -> None:
    for reg, disp in itertools.product((0, 7, 8, 15, 16, 31), scaled(4)):
        mem = Mem(base, disp)
        where = text(mem, "dword ptr ")
        one(x86.vbroadcastss(reg, mem), f"vbroadcastss zmm{reg}, {where}")
        for name, make in (("vfmadd231ps", x86.vfmadd231ps), ("vaddps", x86.vaddps), ("vmaxps", x86.vmaxps)):
            one(make(reg, 31 - reg, mem, broadcast=True), f"{name} zmm{reg}, zmm{31 - reg}, {where}{{1to16}}")


def test_masks() -> None:
    for reg, mask in itertools.product((0, 9, 31), range(1, 8)):
        mem = Mem(Gpr.RDX, 64)
        where = text(mem, "zmmword ptr ")
        one(x86.vmovups_store(mem, reg, mask=mask), f"vmovups {where} {{k{mask}}}, zmm{reg}")
        one(x86.vmovups_load(reg, mem, mask=mask), f"vmovups zmm{reg} {{k{mask}}}, {where}")
        one(x86.vmovups_load(reg, mem, mask=mask, zeroing=True), f"vmovups zmm{reg} {{k{mask}}} {{z}}, {where}")
    for mask, reg in itertools.product(range(8), (Gpr.RAX, Gpr.RDI, Gpr.R8, Gpr.R15)):
        low = f"{reg.name.lower()}d" if reg >= 8 else f"e{reg.name[1:].lower()}"
        one(x86.kmovw(mask, reg), f"kmovw k{mask}, {low}")


def test_clearing_registers() -> None:
    for a, b, c in itertools.product(range(16), repeat=3):
        one(x86.vpxor_xmm(a, b, c), f"vpxor xmm{a}, xmm{b}, xmm{c}")
    for reg in ZMM:
        found = f"vpxor xmm{reg}, xmm{reg}, xmm{reg}" if reg < 8 else f"vpxord zmm{reg}, zmm{reg}, zmm{reg}"
        one(x86.clear(reg), found)
        one(x86.vmovaps(reg, 31 - reg), f"vmovaps zmm{reg}, zmm{31 - reg}")
    with pytest.raises(ValueError, match="registers 0 to 15, not 16"):
        x86.vpxor_xmm(16, 0, 0)


@pytest.mark.parametrize("base", Gpr)
def test_integers_and_memory(base: Gpr) -> None:
    for reg, disp in itertools.product(Gpr, BYTES):
        mem, r = Mem(base, disp), reg.name.lower()
        where = text(mem, "qword ptr ")
        one(x86.mov(reg, mem), f"mov {r}, {where}")
        one(x86.mov_store(mem, reg), f"mov {where}, {r}")
        one(x86.lea(reg, mem), f"lea {r}, {text(mem)}")
        one(x86.add(reg, mem), f"add {r}, {where}")
        one(x86.sub(reg, mem), f"sub {r}, {where}")
        one(x86.cmp(reg, mem), f"cmp {r}, {where}")
    for disp in BYTES:
        one(x86.call(Mem(base, disp)), f"call {text(Mem(base, disp), 'qword ptr ')}")
        one(x86.jmp_to(Mem(base, disp)), f"jmp {text(Mem(base, disp), 'qword ptr ')}")
        for level in range(3):
            one(x86.prefetch(Mem(base, disp), level), f"prefetcht{level} {text(Mem(base, disp), 'byte ptr ')}")


@pytest.mark.parametrize("a", Gpr)
def test_integers(a: Gpr) -> None:
    r = a.name.lower()
    for b in Gpr:
        s = b.name.lower()
        one(x86.mov(a, b), f"mov {r}, {s}")
        one(x86.add(a, b), f"add {r}, {s}")
        one(x86.sub(a, b), f"sub {r}, {s}")
        one(x86.cmp(a, b), f"cmp {r}, {s}")
        one(x86.imul(a, b, 64), f"imul {r}, {s}, 0x40")
        one(x86.imul(a, b, 1 << 20), f"imul {r}, {s}, 0x100000")
    for value in (1, 127, 128, 2**31 - 1):
        shown = value if value < 10 else hex(value)
        one(x86.add_immediate(a, value), f"add {r}, {shown}")
        one(x86.sub_immediate(a, value), f"sub {r}, {shown}")
        one(x86.cmp_immediate(a, value), f"cmp {r}, {shown}")
    one(x86.sub_immediate(a, -128), f"sub {r}, -0x80")
    one(x86.add_immediate(a, -129), f"add {r}, -0x81")
    one(x86.mov_immediate(a, 0x123456789ABCDEF0), f"movabs {r}, 0x123456789abcdef0")
    one(x86.mov_immediate(a, -1), f"movabs {r}, 0xffffffffffffffff")
    one(x86.shift_right(a, 6), f"shr {r}, 6")
    one(x86.divide(a), f"div {r}")
    one(x86.push(a), f"push {r}")
    one(x86.pop(a), f"pop {r}")
    one(x86.call(a), f"call {r}")
    one(x86.jmp_to(a), f"jmp {r}")


def test_the_rest() -> None:
    known = {"ret": x86.ret(), "nop": x86.nop(), "int3": x86.trap(), "vzeroupper": x86.vzeroupper()}
    for wanted, code in known.items():
        one(code, wanted)


@pytest.mark.parametrize("condition", Condition)
def test_jumps_find_their_labels(condition: Condition) -> None:
    p = Program()
    p.label("start")
    p.jump("end", condition)
    p.add(*[x86.nop()] * 200)
    p.jump("start")
    p.label("end")
    p.jump("start", condition)
    code = p.assemble()
    found = [t for _, t in disassemble(code) if t != "nop"]
    name = f"j{condition.name.lower()}"
    assert found == [f"{name} {hex(len(code) - 6)}", "jmp 0", f"{name} 0"]


def test_labels_that_are_wrong() -> None:
    p = Program()
    p.label("a")
    with pytest.raises(ValueError, match="label a stands twice"):
        p.label("a")
    p.jump("b")
    with pytest.raises(KeyError, match="b"):
        p.assemble()


def test_streams_refuse_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="10 bytes does not fit a word of 8"):
        stream.word(x86.mov_immediate(Gpr.RAX, 0))
    with pytest.raises(ValueError, match=r"instructions of \[1, 3\] bytes, wanted 3"):
        stream.table([x86.ret(), x86.vzeroupper()], 3)
    assert stream.join(stream.table([x86.vzeroupper()] * 3, 3), 3).tobytes() == x86.vzeroupper() * 3
    assert capstone.cs_version()[0] >= 5
