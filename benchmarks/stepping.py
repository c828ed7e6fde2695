"""Instructions that generated code executes, one by one, and the least cycles in which a core's ports can take them.

A guest has no performance counters, so a forked child runs a call of the kernel under ``ptrace``, step by step; steps
in anonymous executable memory are generated code, others (the interpreter's, the library's) are only counted. About
40,000 steps a second. The ports are those of Intel's Golden Cove core for 512-bit operands (uops.info; Intel 64 and
IA-32 Optimization Reference Manual, "Golden Cove"): arithmetic on ports 0 and 5, whatever moves lanes or makes masks
on port 5 alone, two loads into full registers (broadcasts among them) or three loads in all and one store a cycle, six
instructions issued a cycle. A loop of broadcasts and full loads in turns did 2.0 a cycle on an Emerald Rapids core,
with a scalar load between them 3.1.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TRACEME, PEEKUSER, SINGLESTEP = 0, 3, 9
RIP = 16 * 8
"""Where ``struct user`` of x86-64 Linux keeps the instruction pointer."""

LANE_MOVES = (
    "vperm", "vexpand", "vpexpand", "vcompress", "vpcompress", "vpmov", "vshuf", "vpshuf", "vunpck", "vpunpck",
    "vinsert", "vextract", "vpcmp", "vcmp", "vptest", "vpalign", "valign", "kmov", "vpbroadcast", "vbroadcast",
    "vmovhlps", "vmovlhps",
)  # fmt: skip
"""Beginnings of the names of instructions that port 5 alone executes, if not by a load."""
MASKS = ("kand", "kor", "knot", "kxor", "kshift", "ktest", "kunpck", "kadd")


@dataclass
class Steps:
    """What one call executed in generated code."""

    names: Counter[str] = field(default_factory=Counter)
    """Executions by mnemonic."""
    arithmetic: int = 0
    """Micro-operations on vectors that ports 0 and 5 share."""
    lanes: int = 0
    """Those of port 5 alone."""
    loads: int = 0
    wide: int = 0
    """Loads into full registers, or operands of instructions on them."""
    stores: int = 0
    code_bytes: int = 0
    """Bytes of the instructions executed, each time again."""
    outside: int = 0
    """Instructions of everything else in the same call."""

    @property
    def instructions(self) -> int:
        return sum(self.names.values())

    def times(self, count: int) -> Steps:
        """The same again and again."""
        names = Counter({name: count * n for name, n in self.names.items()})
        rest = (
            self.arithmetic, self.lanes, self.loads, self.wide, self.stores, self.code_bytes, self.outside,
        )  # fmt: skip
        return Steps(names, *(count * n for n in rest))

    def __add__(self, other: Steps) -> Steps:
        return Steps(
            self.names + other.names, self.arithmetic + other.arithmetic, self.lanes + other.lanes,
            self.loads + other.loads, self.wide + other.wide, self.stores + other.stores,
            self.code_bytes + other.code_bytes, self.outside + other.outside,
        )  # fmt: skip

    def ports(self) -> dict[str, float]:
        """Cycles that each resource is busy, if nothing else waits."""
        return {
            "ports 0 and 5": (self.arithmetic + self.lanes) / 2,
            "port 5": float(self.lanes),
            "loads": max(self.wide / 2, self.loads / 3),
            "stores": float(self.stores),
            "issue": self.instructions / 6,
        }

    def cycles(self) -> tuple[str, float]:
        """The resource that binds, and the least cycles."""
        found = self.ports()
        name = max(found, key=lambda key: found[key])
        return name, found[name]


def steps(call: Callable[[], object]) -> Steps:
    """Execute ``call`` in a forked child, step by step. Raises OSError where the system does not let it be traced, and
    RuntimeError where the call fails.

    Call it once or twice before, so that nothing is compiled or laid down in the child.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            if libc.ptrace(TRACEME, 0, None, None) == 0:
                signal.raise_signal(signal.SIGSTOP)
                call()
                failed = 0
        finally:
            os._exit(failed)
    try:
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            raise OSError("step through generated code: this system does not let a process trace its child (ptrace)")
        return _counted(_places(libc, child))
    finally:
        _end(child)


def _end(child: int) -> None:
    try:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except (ProcessLookupError, ChildProcessError):
        return  # it came to its end


def generated() -> list[tuple[int, int]]:
    """This process's executable memory that no file is behind."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *path = line.split()
        named = path and (path[0].startswith("/") or path[0] in ("[vdso]", "[vsyscall]"))
        if "x" in rights and inode == "0" and not named:
            low, high = (int(v, 16) for v in span.split("-"))
            found.append((low, high))
    return found


def _places(libc: ctypes.CDLL, child: int) -> Counter[int]:
    """How often each address of generated code was executed; address 0 is everywhere else."""
    ranges = generated()
    seen: Counter[int] = Counter()
    while True:
        if libc.ptrace(SINGLESTEP, child, None, None) != 0:
            raise OSError(ctypes.get_errno(), "step through generated code")
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            if status != 0:
                raise RuntimeError("step through generated code: the call failed in the child; try it alone")
            return seen
        at = libc.ptrace(PEEKUSER, child, RIP, None) & (1 << 64) - 1
        inside = any(low <= at < high for low, high in ranges)
        seen[at if inside else 0] += 1


def straight(address: int, nbytes: int) -> Steps:
    """Every instruction between two addresses once: of straight-line code, what one pass executes."""
    reader, code = _reader(), ctypes.string_at(address, nbytes)
    return _sorted((one, 1) for one in reader.disasm(code, address) if one.mnemonic != "int3")


def _counted(places: Counter[int]) -> Steps:
    """Disassembled and sorted by ports."""
    reader, outside = _reader(), places.pop(0, 0)

    def executed() -> Iterator[tuple[Any, int]]:
        for at, times in places.items():
            one = next(reader.disasm(ctypes.string_at(at, 15), at, 1), None)
            if one is None:
                raise OSError(f"step through generated code: no instruction of x86-64 at {at:#x}")
            yield one, times

    return replace(_sorted(executed()), outside=outside)


def _reader() -> Any:
    import capstone

    reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    reader.detail = True
    return reader


def _sorted(executed: Iterable[tuple[Any, int]]) -> Steps:
    """Instructions as capstone reads them, and how often each: sorted by ports."""
    from capstone import x86_const

    found = Steps()
    for one, times in executed:
        memory = [o for o in one.operands if o.type == x86_const.X86_OP_MEM]
        name = one.mnemonic
        found.names[name] += times
        found.code_bytes += times * one.size
        to_memory = (
            bool(memory)
            and one.operands[0].type == x86_const.X86_OP_MEM
            and not name.startswith(("cmp", "test", "prefetch"))
        )
        many = 16 if "gather" in name or "scatter" in name else 1
        if to_memory:
            found.stores += times * many
        elif memory and name not in ("lea", "nop"):
            found.loads += times * many
            found.wide += times * ("zmm" in one.op_str)
        moves = name.startswith(("vmov", "vbroadcast", "vpbroadcast")) and bool(memory)
        if moves or not (name.startswith(("v", "k"))) or name == "vzeroupper" or many > 1:
            continue
        if name.startswith(LANE_MOVES):
            found.lanes += times * (2 if "expand" in name or "compress" in name else 1)
        elif name.startswith(MASKS) or not name.startswith("vmov"):
            found.arithmetic += times
    return found
