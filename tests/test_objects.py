"""Object files: read, linked into memory, refused where something in them is not known."""

from __future__ import annotations

import ctypes
import gc
import math
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from spcomp.codegen.x86 import elf as reading
from spcomp.codegen.x86 import loader, memory
from spcomp.errors import KernelError
from tests.elf_writer import ALLOCATE, EXECUTE, WRITE, Part, code, constants, data, elf, zeros
from tests.guarded import rights

pytestmark = pytest.mark.skipif(memory.unavailable() is not None, reason="needs x86-64 Linux")

ABS64, PC32, PLT32, GOTPCREL, ABS32, ABS32S, PC64, REX_GOTPCRELX = 1, 2, 4, 9, 10, 11, 24, 42
RET = b"\xc3"
MOV_RAX_AT = b"\x48\x8b\x05"  # mov rax, [rip + 32 bits]
MOVABS = b"\x48\xb8"  # mov rax, 64 bits
LOAD = b"\x48\x8b\x00"  # mov rax, [rax]


def call(file: bytes, name: str = "f") -> int:
    loaded = loader.load(file)
    found = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.addresses[name])()
    assert isinstance(found, int)
    return found


def test_constants_by_distance_and_by_address() -> None:
    number = constants(struct.pack("<qq", 7, -123456789012))
    near = code(MOV_RAX_AT + bytes(4) + RET, (3, PC32, "c", 8 - 4))
    assert call(elf([near, number], {"f": (0, 0), "c": (1, 0)})) == -123456789012
    far = code(MOVABS + bytes(8) + LOAD + RET, (2, ABS64, "c", 0))
    assert call(elf([far, number], {"f": (0, 0), "c": (1, 0)})) == 7
    table = code(MOV_RAX_AT + bytes(4) + LOAD + RET, (3, REX_GOTPCRELX, "c", -4))
    assert call(elf([table, number], {"f": (0, 0), "c": (1, 8)})) == -123456789012
    distance = constants(bytes(8), (0, PC64, "f", 0))
    loaded = loader.load(elf([code(RET), distance], {"f": (0, 0), "d": (1, 0)}))
    at = loaded.addresses["d"]
    assert at + ctypes.c_int64.from_address(at).value == loaded.addresses["f"]


@pytest.mark.parametrize("kind", [PLT32, GOTPCREL])
def test_calls_into_the_c_library(kind: int) -> None:
    """abs(-5), through a stub or through the table."""
    head = b"\x48\x83\xec\x08\xbf\xfb\xff\xff\xff"  # sub rsp, 8; mov edi, -5
    enter = b"\xe8" if kind == PLT32 else b"\xff\x15"  # call; call [rip + ...]
    body = head + enter + bytes(4) + b"\x48\x83\xc4\x08" + RET
    file = elf([code(body, (len(head) + len(enter), kind, "abs", -4))], {"f": (0, 0), "abs": (-1, 0)})
    assert call(file) & 0xFFFFFFFF == 5


def test_calls_further_than_two_gigabytes_go_through_a_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = memory._libc()
    nbytes = memory.PAGE_BYTES
    far = libc.mmap(1 << 40, nbytes, memory._READ | memory._WRITE, memory._PRIVATE_ANONYMOUS, -1, 0)
    ctypes.memmove(far, b"\xb8\x2a\x00\x00\x00\xc3", 6)  # mov eax, 42; ret
    assert libc.mprotect(far, nbytes, memory._READ | memory._EXECUTE) == 0
    monkeypatch.setattr(loader, "address_of", lambda _: far)
    file = elf([code(b"\xe9" + bytes(4), (1, PLT32, "answer", -4))], {"f": (0, 0), "answer": (-1, 0)})  # jmp
    loaded = loader.load(file)
    assert abs(loaded.region.address - far) > 1 << 31
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.addresses["f"])() == 42
    with pytest.raises(KernelError, match="'answer' is further away"):
        loader.load(elf([code(bytes(4), (0, PC32, "answer", 0))], {"answer": (-1, 0)}))
    libc.munmap(far, nbytes)


def test_functions_that_call_each_other() -> None:
    """Thirty of them; each adds one to what the next returns."""
    body, symbols, relocations = b"", {}, []
    for i in range(30):
        symbols[f"f{i}"] = (0, len(body))
        relocations.append((len(body) + 1, PLT32, f"f{i + 1}", -4))
        body += b"\xe8" + bytes(4) + b"\x48\xff\xc0" + RET  # call; inc rax
    symbols["f30"] = (0, len(body))
    file = elf([code(body + b"\x31\xc0" + RET, *relocations)], symbols)
    assert call(file, "f0") == 30
    assert call(file, "f29") == 1


def test_writable_data_and_zeros() -> None:
    """A counter in zeros that starts at what data says."""
    body = MOV_RAX_AT + bytes(4) + b"\x48\x03\x05" + bytes(4) + b"\x48\xff\x05" + bytes(4) + RET
    relocations = ((3, PC32, "start", -4), (10, PC32, "count", -4), (17, PC32, "count", -4))
    file = elf(
        [code(body, *relocations), data(struct.pack("<q", 100)), zeros(5000)],
        {"f": (0, 0), "start": (1, 0), "count": (2, 4992)},
    )
    loaded = loader.load(file)
    count = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.addresses["f"])
    assert [count() for _ in range(3)] == [100, 101, 102]
    assert [rights(loaded.addresses[name]) for name in ("f", "start", "count")] == ["r-xp", "rw-p", "rw-p"]
    assert call(file) == 100, "every load has data of its own"


def test_nothing_is_writable_and_executable() -> None:
    pointers = data(bytes(8), (0, ABS64, "f", 0), name=".data.rel.ro")
    file = elf([code(RET), constants(b"12345678"), pointers, data(b"x")], {"f": (0, 0), "c": (1, 0), "p": (2, 0)})
    loaded = loader.load(file)
    where = {name: rights(address) for name, address in loaded.addresses.items()}
    assert where == {"f": "r-xp", "c": "r--p", "p": "r--p"}
    assert ctypes.c_int64.from_address(loaded.addresses["p"]).value == loaded.addresses["f"]
    region = loaded.region
    pages = range(region.address, region.address + region.mapped_nbytes, memory.PAGE_BYTES)
    assert not any("w" in r and "x" in r for r in map(rights, pages))
    with pytest.raises(ValueError, match="sealed region"):
        region.write(0, b"\xcc")
    address = region.address
    del loaded, region
    gc.collect()
    assert rights(address) != "r-xp"


def test_regions_are_cut_at_pages() -> None:
    region = memory.Region(3 * memory.PAGE_BYTES)
    for cuts in ((1, 4096), (8192, 4096), (0, 4 * 4096), (-4096, 0)):
        with pytest.raises(ValueError, match="cuts at"):
            region.seal_parts(*cuts)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (elf([code(bytes(8), (0, 19, "f", 0))], {"f": (0, 0)}), "relocation of type 19"),
        (elf([code(bytes(8), (1, ABS64, "f", 0))], {"f": (0, 0)}), "relocation at 1 of 8 bytes"),
        (elf([code(bytes(8), (0, PLT32, "g", 0))], {"f": (0, 0), "g_": (-1, 0), "g": (-1, 0)}), "no symbol 'g'"),
        (elf([code(bytes(8), (0, PC32, "abs", 1 << 40))], {"abs": (-1, 0)}), "further away"),
        (elf([code(bytes(8), (0, ABS32, "f", 0))], {"f": (0, 0)}), "further away"),
        (elf([code(bytes(8), (0, ABS32S, "f", 0))], {"f": (0, 0)}), "further away"),
        (elf([code(bytes(8), (0, ABS64, "f", 0))], {"f": (0, 9)}), "behind its section"),
        (elf([code(bytes(8), (0, ABS64, "f", 0))], {"f": (0, 0)}, symbol_kind=6), "symbol f of type 6"),
        (elf([code(bytes(8), (0, ABS64, "f", 0))], {"f": (0, 0)}, symbol_kind=10), "symbol f of type 10"),
        (elf([code(bytes(8), (0, ABS64, "c", 0))], {"c": (0xFFF1, 0)}), "type 0 in section 0xfff2"),
        (elf([code(RET), Part(".x", b"", 0)], {"f": (0, 0)})[:-1], "should have some at"),
        (elf([Part(".text", RET, ALLOCATE | EXECUTE | WRITE)], {"f": (0, 0)}), "code and writable"),
        (elf([Part(".init_array", bytes(8), ALLOCATE | WRITE, kind=14)], {"f": (0, 0)}), "type 0xe"),
        (elf([Part(".tdata", bytes(8), ALLOCATE | WRITE | 0x400)], {"f": (0, 0)}), "flags 0x403"),
        (elf([Part(".text", RET, ALLOCATE | EXECUTE, alignment=8192)], {"f": (0, 0)}), "aligned to 8192"),
        (elf([Part(".text", RET, ALLOCATE | EXECUTE, alignment=24)], {"f": (0, 0)}), "aligned to 24"),
        (elf([code(RET), Part(".d", bytes(8), 0)], {"f": (0, 0), "d": (1, 0)}), None),
        (b"", "0 bytes that should have some at 0"),
        (b"\x7fELF" + bytes(100), "no relocatable ELF file"),
        (bytes(200), "no relocatable ELF file"),
    ],
)
def test_what_is_not_known_is_refused(file: bytes, words: str | None) -> None:
    if words is None:
        assert "d" not in loader.load(file).addresses
        return
    with pytest.raises(KernelError, match=f"load compiled code: .*{words}.* Try: "):
        loader.load(file)


def test_symbols_of_sections_that_are_not_loaded_are_refused() -> None:
    other = Part(".debug", bytes(8), 0)
    with pytest.raises(KernelError, match="'d' in a section that is not loaded"):
        loader.load(elf([code(bytes(8), (0, ABS64, "d", 0)), other], {"f": (0, 0), "d": (1, 0)}))


def test_relocations_without_addends_are_refused() -> None:
    part = code(bytes(8), (0, ABS64, "f", 0))
    part.rela_kind = 9
    with pytest.raises(KernelError, match="without addends"):
        loader.load(elf([part], {"f": (0, 0)}))


def test_damaged_files_are_refused_or_harmless() -> None:
    """Every byte changed, every length cut: an error of ours, or a file that loads. Nothing is run."""
    body = code(MOV_RAX_AT + bytes(4) + RET, (3, PC32, "c", -4))
    file = elf([body, constants(bytes(8)), zeros(8)], {"f": (0, 0), "c": (1, 0)})
    for at in range(len(file)):
        for changed in (file[:at], file[:at] + bytes([file[at] ^ 0xFF]) + file[at + 1 :]):
            try:
                loader.load(changed)
            except KernelError as error:
                assert error.asked == "load compiled code"  # noqa: PT017


def test_unwind_tables_are_left_out() -> None:
    frames = Part(".eh_frame", bytes(16), ALLOCATE, relocations=[(0, 99, "f", 0)])
    file = elf([code(b"\x31\xc0" + RET), frames], {"f": (0, 0)})
    assert call(file) == 0
    assert not reading.is_program(reading.read(file).sections[2])


SOURCE = """
#include <math.h>
#include <string.h>
#include <stdlib.h>
static const double table[4] = {1.5, 2.5, 3.5, 4.5};
static int calls;
const char *words[2] = {"zero", "one"};
double pick(int i) { calls += 1; return table[i & 3]; }
int count(void) { return calls; }
int length(int i) { return (int)strlen(words[i]); }
float grow(float x) { return expf(x) + erff(x); }
int copied(const char *from, int n) {
    char *to = malloc(n); memcpy(to, from, n); int last = to[n - 1]; free(to); return last;
}
int chosen(int i) {
    switch (i) { case 0: return 11; case 1: return 5; case 2: return 99; case 3: return 1; case 4: return 7; }
    return -1;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("flags", ["-fPIC", "-fPIC -fno-plt", "-mcmodel=large -fno-pic", "-fPIC -O0"])
def test_what_a_c_compiler_makes(tmp_path: Path, flags: str) -> None:
    (tmp_path / "a.c").write_text(SOURCE)
    build = ["gcc", "-O2", *flags.split(), "-fno-builtin", "-c", "a.c", "-o", "a.o"]
    subprocess.run(build, cwd=tmp_path, check=True)
    loaded = loader.load((tmp_path / "a.o").read_bytes())

    def at(name: str, result: type, *arguments: type) -> ctypes._CFunctionType:
        return ctypes.CFUNCTYPE(result, *arguments)(loaded.addresses[name])

    i, d, f = ctypes.c_int, ctypes.c_double, ctypes.c_float
    assert [at("pick", d, i)(k) for k in range(4)] == [1.5, 2.5, 3.5, 4.5]
    assert at("count", i)() == 4
    assert at("length", i, i)(1) == 3
    assert at("grow", f, f)(0.5) == pytest.approx(math.exp(0.5) + math.erf(0.5), rel=1e-6)
    assert at("copied", i, ctypes.c_char_p, i)(b"abc", 3) == ord("c")
    assert [at("chosen", i, i)(k) for k in range(-1, 6)] == [-1, 11, 5, 99, 1, 7, -1]
