"""Generated code and its memory: never writable and executable, never beside its buffers, freed, shared by threads."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import spcomp
from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.baked_cpu.body import baked_body
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.table import BACKENDS
from spcomp.codegen.x86 import memory
from spcomp.codegen.x86.memory import Region
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.errors import KernelError
from tests.guarded import PAGE, Guarded, guarded, huge, pages, resident, rights
from tests.kernels import ROWS, SHAPE, agree, call_of, fitting, in_threads, inputs, relative

BAKED = BakedCpu()
pytestmark = pytest.mark.skipif(BAKED.unavailable() is not None, reason=str(BAKED.unavailable()))
SOAK = int(os.environ.get("SPCOMP_SOAK_KERNELS", "1000"))
"""Kernels built, run and freed by the soak test; 10000 for the long one."""


def kernel_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> TokensKernel:
    call, packed = call_of(Csr(64), weight, backend="baked_cpu")
    (schedule,) = BAKED.schedules(call, 128)
    call = replace(call, schedule=schedule)
    return TokensKernel(call, packed, bias, baked_body(call, packed, bias))


# --- regions ----------------------------------------------------------------------------------------------------------


def test_a_region_is_writable_or_executable() -> None:
    region = Region(100)
    assert region.address % PAGE == 0
    assert rights(region.address) == "rw-p"
    region.write(97, b"abc")
    with pytest.raises(ValueError, match="3 bytes at 98 of a writable region of 100"):
        region.write(98, b"abc")
    region.seal(executable=True)
    assert rights(region.address) == "r-xp"
    assert ctypes.string_at(region.address + 96, 4) == b"\0abc"
    with pytest.raises(ValueError, match="of a sealed region"):
        region.write(0, np.zeros(1, np.float32))
    data = Region(1)
    data.seal(executable=False)
    assert rights(data.address) == "r--p"


@pytest.mark.parametrize("nbytes", [memory.HUGE_BYTES - PAGE, memory.HUGE_BYTES, 5 * memory.HUGE_BYTES // 2 + 1])
def test_large_regions_are_aligned_and_freed(nbytes: int) -> None:
    region = Region(nbytes)
    if nbytes >= memory.HUGE_BYTES:
        assert region.address % memory.HUGE_BYTES == 0
    region.write(nbytes - 1, b"x")
    assert region.mapped_nbytes - nbytes < PAGE
    address = region.address
    assert rights(address + nbytes - 1) == "rw-p"
    release = region._free
    del region
    assert not release.alive


class Collapsing:
    """The system's calls, and what it said to those that gather huge pages."""

    def __init__(self, real: ctypes.CDLL) -> None:
        self.mmap, self.munmap, self.mprotect, self.real = real.mmap, real.munmap, real.mprotect, real
        self.said: dict[int, int] = {}

    def madvise(self, address: int, nbytes: int, advice: int) -> int:
        said: int = self.real.madvise(address, nbytes, advice)
        if advice == memory._COLLAPSE:
            assert nbytes == memory.HUGE_BYTES
            self.said[address] = said
        return said


def test_regions_of_an_arena_share_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for wherever they may be had; where the system then has some, all code is in them."""
    libc = Collapsing(memory._libc())
    monkeypatch.setattr(memory, "_libc", lambda: libc)
    monkeypatch.setattr(memory, "_offered", lambda: True)
    arena = memory.Arena(memory._READ | memory._EXECUTE)
    size = 3 * memory.HUGE_BYTES // 4
    regions = [Region(size, arena) for _ in range(4)]
    first = min(region.address for region in regions)
    assert sorted(region.address for region in regions) == [first + i * size for i in range(4)]
    for i, region in enumerate(regions):
        region.write(size - 4, bytes([0xC3, i, i, i]))
        assert pages(region) == {"rw-p"}, "though some before it in the same huge page are sealed"
        region.seal(executable=True)
        assert pages(region) == {"r-xp"}
    assert sorted(libc.said) == [first + i * memory.HUGE_BYTES for i in range(3)]
    if not any(libc.said.values()):
        assert huge(first) == 4 * size, "three huge pages"
    for i, region in enumerate(regions):
        assert ctypes.string_at(region.address + size - 4, 4) == bytes([0xC3, i, i, i])
        ctypes.CFUNCTYPE(None)(region.address + size - 4)()
    between = regions.pop(1)
    lay = between.address
    del between, region
    assert rights(lay) == "---p"
    assert [pages(region) for region in regions] == [{"r-xp"}] * 3
    other = Region(size, arena)
    assert other.address == lay, "what is free is given again"
    assert ctypes.string_at(lay + size - 4, 4) == bytes(4), "and zeros"
    other.seal(executable=True)
    regions.clear()
    del other
    assert not arena._spans


def test_a_region_of_an_arena_is_sealed_as_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    arena = memory.Arena(memory._READ)
    region = Region(memory.SHARED_BYTES, arena)
    with pytest.raises(ValueError, match="an arena with rights 1, to be sealed with 5"):
        region.seal(executable=True)
    with pytest.raises(ValueError, match="cuts at"):
        region.seal_parts(PAGE, PAGE)
    small, large = Region(memory.SHARED_BYTES - PAGE, arena), Region(memory.SPAN_BYTES + 1, arena)
    assert small._arena is None
    assert len(arena._spans) == 2
    region.seal(executable=False)
    assert rights(region.address) == "r--p"
    monkeypatch.setattr(memory, "_offered", lambda: False)
    large.seal(executable=False)
    assert rights(large.address) == rights(large.address + large.mapped_nbytes - 1) == "r--p"
    del large
    assert len(arena._spans) == 1


def test_regions_of_an_arena_come_and_go_in_any_order() -> None:
    """From several threads, with garbage collection at any time; nobody's bytes are another's."""
    arena, wrong = memory.Arena(memory._READ), []

    def work(seed: int) -> None:
        draw, held = random.Random(seed), []
        for i in range(120):
            region = Region(draw.randrange(memory.SHARED_BYTES, 2 * memory.HUGE_BYTES), arena)
            mark = bytes([seed, i, draw.randrange(256)])
            if ctypes.string_at(region.address, 3) != bytes(3):
                wrong.append("not zeros")
            region.write(0, mark)
            region.write(region.nbytes - 3, mark)
            region.seal(executable=False)
            held.append((region, mark))
            region.loop = [region]  # type: ignore[attr-defined]  # so that collection frees it, whenever that is
            del region
            if len(held) > 6:
                held.pop(draw.randrange(len(held)))
            for one, expected in held:
                ends = ctypes.string_at(one.address, 3), ctypes.string_at(one.address + one.nbytes - 3, 3)
                if ends != (expected, expected):
                    wrong.append(f"{ends} for {expected}")

    in_threads(work, 4)
    assert not wrong
    gc.collect()
    assert not arena._spans


def test_a_refusing_system_is_an_error_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def __init__(self, real: ctypes.CDLL) -> None:
            self.mmap, self.munmap, self.madvise = real.mmap, real.munmap, real.madvise

        def mprotect(self, *_: int) -> int:
            ctypes.set_errno(13)
            return -1

    real = memory._libc()
    monkeypatch.setattr(memory, "_libc", lambda: Refusing(real))
    region = Region(1)
    with pytest.raises(KernelError, match=r"make generated code executable: Permission denied. Try: kernels without"):
        region.seal(executable=True)
    memory.unavailable.cache_clear()
    try:
        assert str(memory.unavailable()).startswith("executable memory is refused (make generated code executable")
    finally:
        memory.unavailable.cache_clear()
        monkeypatch.undo()
    assert memory.unavailable() is None


def test_a_kernels_memory_is_not_writable() -> None:
    kernel = kernel_of(fitting(Csr(64), *SHAPE))
    (baked,) = kernel.bodies.values()
    entry, code, weights, _ = baked.keep
    assert all(isinstance(region, Region) for region in (entry, code, weights))
    assert rights(baked.address) == "r-xp"
    # page by page: the system may show neighbouring regions of equal rights as one mapping
    for region, expected in ((entry, "r-xp"), (code, "r-xp"), (weights, "r--p")):
        assert pages(region) == {expected}
    released = entry._free, code._free, weights._free
    del kernel, baked, entry, code, weights, region
    gc.collect()
    assert not any(r.alive for r in released)


# --- nothing beside the buffers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("m", [0, 1, 16, 17, 33, 128])
@pytest.mark.parametrize(("n", "k", "density"), [(37, 150, 0.3), (32, 32, 1.0), (113, 300, 0.02), (28, 64, 0.0)])
def test_no_byte_beside_the_buffers_is_touched(
    n: int, k: int, density: float, m: int, at_end: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """x, packed x, sums and y between pages without any rights; so are code and weights. 32 x 32 fills its page."""
    monkeypatch.setattr(memory, "_map", lambda nbytes: guarded(nbytes, at_end=False))
    weight = fitting(Csr(64), n, k, density=density)
    kernel = kernel_of(weight)
    tiles = -(-m // 16)
    given = inputs(m, k)
    x, y = (Guarded(t.numpy(), at_end=at_end) for t in (given, torch.zeros(m, n)))
    xs = guarded(tiles * kernel.body.padded_k * 64, at_end=at_end)
    kernel.pack.call(x.address, xs, m, 0, tiles)
    ((*chunks,),) = kernel.parts(1)
    for c in chunks:
        # of the last tile's sums, only the rows of this chunk may be touched
        size = max(0, (tiles - 1) * kernel.stride + c.row_hi - c.row_lo) * 64
        ys = guarded(size, at_end=at_end)
        (body,) = kernel.bodies.values()
        body.call(xs, ys - c.row_lo * 64, *c.more, 0, tiles, c.unit_lo, c.unit_hi)
        whole = torch.zeros(max(1, tiles) * kernel.stride * 16)
        ctypes.memmove(whole.data_ptr(), ys, size)
        kernel.unpack.call(whole.data_ptr(), kernel.bias.data_ptr(), y.address, m, 0, tiles, c.row_lo, c.row_hi)
    found = torch.from_numpy(y.view.view(np.float32).copy()).reshape(m, n)
    assert relative(found, reference(given, weight, None, "none")) < 1e-5


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 75, 250])
def test_two_threads_give_the_same_bits(n: int, two_threads: None) -> None:
    kernel = kernel_of(fitting(Csr(64), n, 150), inputs(n))
    for m in ROWS:
        x = inputs(m, 150)
        torch.set_num_threads(1)
        alone = kernel(x)
        torch.set_num_threads(2)
        assert torch.equal(kernel(x), alone)


def test_several_python_threads_share_a_kernel() -> None:
    kernel = kernel_of(fitting(Csr(64), *SHAPE), inputs(SHAPE[0]))
    xs = [inputs(m, SHAPE[1], seed=m) for m in (1, 7, 16, 40, 130)]
    wanted = [kernel(x) for x in xs]
    fresh = kernel_of(fitting(Csr(64), *SHAPE), inputs(SHAPE[0]))  # its tables are made while several ask for them
    wrong: list[int] = []
    gate = threading.Barrier(len(xs))

    def work(i: int) -> None:
        gate.wait()
        wrong.extend(i for _ in range(100) if not torch.equal(fresh(xs[i]), wanted[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- many kernels, and a file -----------------------------------------------------------------------------------------


def test_memory_stays_flat_over_many_kernels() -> None:
    weight, x = fitting(Csr(64), 20, 40), inputs(16, 40)
    keep = kernel_of(weight)
    call, packed, wanted = keep.call, keep.packed, keep(x)
    before, maps = 0, 0
    for i in range(SOAK + 100):
        if i == 100:
            before, maps = resident(), len(Path("/proc/self/maps").read_text().splitlines())
        assert torch.equal(BAKED.build(call, packed, None)(x), wanted)
    gc.collect()
    assert resident() - before < 4_000_000
    assert len(Path("/proc/self/maps").read_text().splitlines()) <= maps + 8


def test_saved_and_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds no code: it is generated from the packed bytes."""
    others = {name: b for name, b in BACKENDS.items() if name != "mlir_cpu"}
    monkeypatch.setattr("spcomp.planning.BACKENDS", others)
    model = nn.Sequential(nn.Linear(192, 256), nn.ReLU(), nn.Linear(256, 64)).eval()
    for layer in (model[0], model[2]):
        layer.weight.data = fitting(Csr(64), *layer.weight.shape, density=0.05)
    x = inputs(64, 192)
    made = spcomp.compile(model, (x,), policy="force", engine="eager", guard=False)
    assert {c.backend for c in made.plan.calls} == {"baked_cpu"}
    made.save(tmp_path / "m.spc")
    loaded = spcomp.load(tmp_path / "m.spc")
    assert {c.backend for c in loaded.plan.calls} == {"baked_cpu"}
    assert not any("tuned again" in note for note in loaded.parts.notes)
    assert torch.equal(loaded(x), made(x))
    assert loaded.nbytes == made.nbytes
    agree(kernel_of(model[0].weight.data, model[0].bias), model[0].weight.data, model[0].bias, x)


def test_nm_weights_run_the_same_code() -> None:
    """What is emitted depends on the weight alone, whichever encoding it comes from."""
    weight = fitting(Nm(2, 4), *SHAPE, density=1.0)
    x = inputs(20, SHAPE[1])
    found = []
    for encoding in (Csr(64), Csr(128), Nm(2, 4)):
        call, packed = call_of(encoding, weight, backend="baked_cpu")
        (schedule,) = BAKED.schedules(call, 128)
        found.append(BAKED.build(replace(call, schedule=schedule), packed, None)(x))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
