"""Demand fills of our own kernels: valgrind's cachegrind on an AVX2 build of one, and our streams through our caches.

The kernel is what :mod:`spcomp.codegen.mlir_cpu` generates: its text goes through the same passes, LLVM is told to
build for AVX2 (cachegrind knows no AVX-512 and takes prefetches for nothing), and the objects are linked to a small C
driver that maps the packed buffers, x, y and scratch at the addresses that our streams use, and makes the calls that
the kernel makes: pack, multiply, unpack. Misses are counted by function.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cost_cases import FAMILIES, CostCase
from benchmarks.harness import Benchmark, Target
from benchmarks.weights import mask
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.mlir_cpu.worker import dump
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.errors import KernelError
from spcomp.plan import KernelCall
from spcomp.sim import cpu_streams as st
from spcomp.sim.cpu import costs
from spcomp.sim.cpu_calls import Walk, walk_call
from spcomp.sim.machines import load_machine
from spcomp.sim.parts.cache import CacheLevel, Caches
from spcomp.sim.trace import INSTRUCTION, read_trace
from spcomp.sparsity.measure import measure

HASWELL = '[["target-cpu", "haswell"], ["target-features", "+avx2,+fma,-avx512f"]]'
FIRST_PLACE = 1 << 33
"""Addresses that valgrind leaves to the program."""
PAGE = 4096
EVENTS = ("D1mr", "D1mw", "DLmr", "DLmw")
DRIVER = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
%(declared)s
static void place(const char *name, unsigned long where, unsigned long size) {
  int file = open(name, O_RDONLY);
  int how = MAP_PRIVATE | MAP_FIXED;
  if (file < 0 || mmap((void *)where, size, PROT_READ | PROT_WRITE, how, file, 0) != (void *)where) exit(1);
}
int main(void) {
%(placed)s
%(calls)s
  return 0;
}
"""


@dataclass(frozen=True)
class Fills:
    """Misses of the first level, and of both levels, by function."""

    first: dict[str, int]
    last: dict[str, int]


def missing() -> str | None:
    """Why this cannot be done here; None: it can."""
    for tool in ("valgrind", "gcc"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return jit.available()


def object_for_avx2(text: str) -> bytes:
    """The object file of a kernel's text, for AVX2."""
    from torch_mlir import ir, passmanager
    from torch_mlir.execution_engine import ExecutionEngine

    with ir.Context() as context, ir.Location.unknown(context):
        context.enable_multithreading(False)
        module = ir.Module.parse(text)
        passmanager.PassManager.parse(jit.PIPELINE).run(module.operation)
        for operation in module.body.operations:
            operation.attributes["passthrough"] = ir.Attribute.parse(HASWELL)
        return dump(ExecutionEngine(module, opt_level=3))


class Laid:
    """A kernel's buffers at places of our choice, and its calls for ``m`` rows.

    Raises:
        KernelError: a kernel of other than one middle function.
    """

    def __init__(self, call: KernelCall, packed: PackedTensor, m: int) -> None:
        kernel = MlirCpu().build(call, packed, None, None)
        if not isinstance(kernel, TokensKernel) or len(kernel.bodies) != 1:
            asked = f"lay down the kernel of {call.layer} for {m} rows"
            raise KernelError(asked, "more than one middle function, or none", "a row count that its tiles divide")
        self.call, self.m, self.packed = call, m, packed
        (body,) = kernel.bodies.values()
        self.functions = (kernel.pack, body, kernel.unpack)
        panel = kernel.panel * 16
        scratch = panel * 4 * (kernel.body.padded_k + kernel.stride)
        self.content: dict[str, bytes] = {
            "x": np.random.default_rng(0).standard_normal((m, call.k)).astype(np.float32).tobytes(),
            "y": bytes(4 * m * call.n),
            "scratch": bytes(scratch),
            "bias": bytes(64),
        }
        moved = {kernel.bias.data_ptr(): "bias"}
        for name, buffer in packed.buffers.items():
            self.content[name] = buffer.contiguous().view(torch.uint8).numpy().tobytes()
            moved[buffer.data_ptr()] = name
        starts = [(pointer, 8 * len(packed.buffers["counts"])) for c in kernel.parts(1)[0] for pointer in c.more]
        if starts:
            self.content["starts"] = b"".join(ctypes.string_at(pointer, size) for pointer, size in starts)
        self.at: dict[str, int] = {}
        where = FIRST_PLACE
        for name, content in self.content.items():
            self.at[name] = where
            where += -(-len(content) // PAGE) * PAGE + PAGE
        xs_bytes = panel * 4 * kernel.body.padded_k
        self.span = where - FIRST_PLACE
        stages = kernel._stages(m, 1, 4, xs_bytes, 0, self.at["x"], self.at["y"], self.at["scratch"])
        steps = [step for (part,) in stages for step in part]
        places = {pointer: self.at[name] for pointer, name in moved.items()}
        places |= {pointer: self.at["starts"] + k * size for k, (pointer, size) in enumerate(starts)}
        self.steps = [(made.name, [places.get(v, v) for v in arguments]) for made, arguments in steps]

    def build(self, folder: Path) -> None:
        """``folder/kernel``: the program."""
        placed = []
        for name, content in self.content.items():
            (folder / name).write_bytes(content or bytes(1))
            placed.append(f'  place("{name}", {self.at[name]}ul, {max(1, len(content))}ul);')
        declared, objects = [], []
        for made in self.functions:
            (folder / f"{made.name}.o").write_bytes(object_for_avx2(made.text))
            objects.append(f"{made.name}.o")
            count = len(next(arguments for name, arguments in self.steps if name == made.name))
            declared.append(f"void _mlir_{made.name}({', '.join(['long'] * count)});")
        calls = [f"  _mlir_{name}({', '.join(f'{v}l' for v in arguments)});" for name, arguments in self.steps]
        text = DRIVER % {key: "\n".join(v) for key, v in (("declared", declared), ("placed", placed), ("calls", calls))}
        (folder / "driver.c").write_text(text)
        command = ["gcc", "-O1", "-o", "kernel", "driver.c", *objects]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)


def theirs(folder: Path, first: str, last: str) -> Fills:
    """Of ``folder/kernel`` under cachegrind with these sizes of D1 and LL."""
    sizes = (f"--D1={first}", f"--LL={last}", "--I1=32768,8,64")
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", *sizes, "--cachegrind-out-file=out", "./kernel"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    if done.returncode:
        raise KernelError("count misses with cachegrind", done.stderr[-500:], "a valgrind that knows AVX2")
    found: dict[str, Counter[str]] = {}
    function, names = "", []
    for line in (folder / "out").read_text().splitlines():
        if line.startswith("events:"):
            names = line.split()[1:]
        elif line.startswith("fn="):
            function = line[3:].removeprefix("_mlir_")
        elif line[:1].isdigit() and names:
            found.setdefault(function, Counter()).update(dict(zip(names, map(int, line.split()[1:]), strict=False)))
    return Fills(
        {name: c["D1mr"] + c["D1mw"] for name, c in found.items()},
        {name: c["DLmr"] + c["DLmw"] for name, c in found.items()},
    )


class Marked(Walk):
    """Streams with the name of the function that makes them, in whole blocks of one."""

    label = ""

    def run(self, function: Any, stop: int, *arguments: Any, at: int = 0, following: int = 0) -> Iterator[int]:
        self.label = function.__name__
        yield from super().run(function, stop, *arguments, at=at, following=following)
        yield from self.flush()


def ours(laid: Laid, first: str, last: str, *, again: bool = True) -> Fills:
    """The same of our streams through our caches: loads and stores, without prefetches, as an AVX2 build has them.

    Args:
        again: streams that read again from their last line make that access, as the kernel does; without it they do
            not, as when a machine is simulated.
    """
    caches = Caches([CacheLevel.parse(first), CacheLevel.parse(last)])
    walk = Marked(costs(next(iter(load_machine("cached_cpu").cores.values()))))
    walk.state[st.S_AGAIN] = -1 if again else 0
    arrays: dict[str, NDArray[Any]] = dict(laid.packed.arrays())
    found: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for n in walk_call(walk, laid.call, laid.m, arrays, laid.at):
        level = caches.access(walk.address[:n][walk.kind[:n] != st.AHEAD]).level
        label = walk.label if walk.label in ("pack", "unpack") else laid.functions[1].name
        for k, count in enumerate(found):
            count[label] += int((level > k).sum())
    return Fills(dict(found[0]), dict(found[1]))


def traced(laid: Laid, folder: Path, first: str, last: str) -> tuple[int, int]:
    """Misses of both levels of every access of ``folder/kernel`` to its buffers, as lackey saw them, in our caches.

    Accesses to the stack are left out: what an AVX2 build keeps there for want of registers.
    """
    command = ["valgrind", "--tool=lackey", "--trace-mem=yes", "--log-file=trace", "./kernel"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env={"PATH": "/usr/bin:/bin"})
    trace = read_trace(folder / "trace")
    mine = (trace.address >= FIRST_PLACE) & (trace.address < FIRST_PLACE + laid.span) & (trace.kind != INSTRUCTION)
    caches = Caches([CacheLevel.parse(first), CacheLevel.parse(last)])
    level = caches.access(trace.address[mine], sizes=trace.size[mine]).level
    return int((level > 0).sum()), int((level > 1).sum())


SIZES = (("32768,8,64", "1048576,16,64"), ("4096,4,64", "65536,8,64"))
"""D1 and LL: of an AVX2 core, and small enough that most of a kernel misses."""
CASES = (
    ("csr", Csr(64), (160, 192), 64, "u75"),
    ("csr", Csr(128), (192, 320), 128, "u90"),
    ("sorted csr", SortedCsr(128), (192, 320), 128, "u90"),
    ("block 4x4", Block(4, 4), (256, 256), 64, "b4x4_75"),
    ("nm tiles", Nm(2, 4), (128, 256), 64, "nm24"),
)
"""Family, encoding, shape, rows of x, zeros."""
TARGETS = {
    "kernel_fills_error": Target(0, "<="),
    "kernel_fills_block_error": Target(1e-3, "<="),
    "kernel_fills_nm_error": Target(3e-3, "<="),
    "kernel_fills_stack_error": Target(3e-2, "<="),
}

MOVED = {"block": "kernel_fills_block_error", "nm": "kernel_fills_nm_error"}
"""Families whose loads LLVM moves past each other within a block of code."""


def laid(family: str, encoding: Encoding, shape: tuple[int, int], m: int, pattern: str) -> Laid:
    """A case with random weights, from seed 0."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.where(mask(shape, pattern, generator), torch.randn(shape, generator=generator), 0.0)
    case = CostCase(next(f for f in FAMILIES if f.name == family), shape, m, pattern, encoding)
    call, _ = case.made(torch.Generator().manual_seed(0))
    call = replace(call, target="cpu-avx2")  # N:M takes rows one by one there
    return Laid(call, pack(weight, encoding, measure(weight)), m)


def kernel_fills(bench: Benchmark, options: Any) -> None:
    """Fills of an AVX2 build's own accesses, equal; of all that cachegrind saw, its stack included; without repeats."""
    reason = missing()
    if reason is not None:
        print(f"kernel_fills: {reason}")
        return
    worst: dict[str, float] = {}
    for case in CASES[::2] if options.quick else CASES:
        with tempfile.TemporaryDirectory() as name:
            made, folder = laid(*case), Path(name)
            made.build(folder)
            for first, last in SIZES:
                mine, merged = (ours(made, first, last, again=again) for again in (True, False))
                seen = theirs(folder, first, last)
                wanted = traced(made, folder, first, last)
                print(f"  {case[0]} {case[1]} {first} {last}")
                for level, count in zip(("first", "last"), wanted, strict=True):
                    a, b, all_ = (getattr(v, level) for v in (mine, merged, seen))
                    theirs_, ours_ = sum(all_[f] for f in a), sum(a.values())
                    print(f"    {level}: ours {a}; their buffers {count}, ours {ours_}; with their stack {theirs_}")
                    name = MOVED.get(case[0].split()[0], "kernel_fills_error")
                    for key, error in (
                        (name, abs(ours_ - count) / count),
                        ("kernel_fills_stack_error", abs(ours_ - theirs_) / theirs_),
                        ("kernel_fills_merged_error", abs(sum(b.values()) - count) / count),
                    ):  # fmt: skip
                        worst[key] = max(worst.get(key, 0.0), error)
    notes = {
        "kernel_fills_error": "csr, sorted csr: fills of two levels by an AVX2 build's accesses to its buffers",
        "kernel_fills_block_error": "blocks, whose loads LLVM takes in another order",
        "kernel_fills_nm_error": "N:M: a word's loads and those of its sums are one block, in LLVM's order",
        "kernel_fills_stack_error": "all that cachegrind counts there, what is kept on the stack included",
        "kernel_fills_merged_error": "streams as they are simulated, without what is read again from the last line",
    }
    for key, value in worst.items():
        bench.report(key, value, notes[key])
