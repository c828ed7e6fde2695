"""Demand fills of our kernels: an AVX2 build under valgrind against our streams through our caches."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import sim_cachegrind as cg
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.errors import KernelError

SMALL = ("4096,4,64", "65536,8,64")


@pytest.mark.skipif(cg.missing() is not None, reason=str(cg.missing()))
@pytest.mark.parametrize(
    ("family", "encoding", "pattern", "m"),
    [
        ("csr", Csr(64), "u75", 64),
        ("sorted csr", SortedCsr(64, 32), "u90", 64),
        ("sorted csr", SortedCsr(64, 32), "u50", 32),  # three rows together
        ("sorted csr", SortedCsr(32, 32), "u50", 16),
        ("nm tiles", Nm(2, 4), "nm24", 64),
        ("block 4x4", Block(4, 4), "b4x4_75", 64),
    ],
)
def test_fills_are_those_of_an_avx2_build(
    family: str, encoding: Encoding, pattern: str, m: int, tmp_path: Path
) -> None:
    """Of its buffers: hit for hit, but where LLVM moved loads of a block past each other. With its stack: nearly."""
    made = cg.laid(family, encoding, (96, 160), m, pattern)
    made.build(tmp_path)
    mine, seen = cg.ours(made, *SMALL), cg.theirs(tmp_path, *SMALL)
    totals = sum(mine.first.values()), sum(mine.last.values())
    wanted = cg.traced(made, tmp_path, *SMALL)
    assert min(wanted) > 1000
    if family.startswith(("csr", "sorted")):
        assert totals == wanted
    else:
        assert totals == pytest.approx(wanted, rel=2e-3)
    if not family.startswith("block"):  # whose sums do not fit sixteen registers: its stack takes lines as well
        name = made.functions[1].name
        stack = 0.03 if m == 64 else 0.12  # rows together leave fewer registers for places
        assert mine.first[name] == pytest.approx(seen.first[name], rel=stack)
    assert mine.last["pack"] == pytest.approx(seen.last["pack"], rel=0.01, abs=4)


@pytest.mark.skipif(cg.missing() is not None, reason=str(cg.missing()))
def test_a_build_for_avx2_has_no_wider_registers(tmp_path: Path) -> None:
    path = tmp_path / "kernel.o"
    path.write_bytes(cg.object_for_avx2(cg.laid("csr", Csr(64), (32, 64), 64, "u75").functions[1].text))
    command = ["objdump", "--disassemble=_mlir_csr", path]  # not the entry for the JIT, which nobody calls
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "%ymm" in code
    assert "%zmm" not in code


def test_a_kernel_of_several_middle_functions_is_refused() -> None:
    with pytest.raises(KernelError, match="more than one middle function, or none"):
        cg.laid("csr", Csr(64), (32, 64), 80, "u75")
