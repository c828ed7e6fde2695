"""Compile kernels for GPUs that are not here, and read what came out: registers, spills, memory, instructions."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spcomp.codegen.triton.launch import Launch
from spcomp.errors import KernelError


@dataclass(frozen=True)
class Part:
    """A GPU to compile for, and the shared memory that one program of it may have, in bytes."""

    name: str
    target: GPUTarget
    shared_limit_bytes: int


PARTS = {
    "sm_80": Part("sm_80", GPUTarget("cuda", 80, 32), 163 << 10),
    "sm_90": Part("sm_90", GPUTarget("cuda", 90, 32), 227 << 10),
    "sm_100": Part("sm_100", GPUTarget("cuda", 100, 32), 227 << 10),
    "gfx942": Part("gfx942", GPUTarget("hip", "gfx942", 64), 64 << 10),
}
"""Limits: NVIDIA CUDA C++ programming guide, table of technical specifications by compute capability (8.0, 9.0, 10.0);
AMD CDNA3 instruction set architecture, local data share of a work-group."""
_TYPES = {
    torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int8: "i8", torch.uint8: "u8",
    torch.int16: "i16", torch.uint16: "u16", torch.int32: "i32", torch.uint32: "u32", torch.int64: "i64",
    torch.float8_e4m3fn: "fp8e4nv",
}  # fmt: skip
KINDS = {
    "wgmma": r"wgmma\.mma_async", "mma": r"\bmma\.sync", "mma_sp": r"\bmma\.sp(::\w+)?\.sync",
    "tcgen05": r"tcgen05\.mma", "fma": r"\bfma\.rn",
    "load16": r"ld\.global(\.\w+(::\w+)*)*\.v4\.[bu]32|ld\.global(\.\w+(::\w+)*)*\.v2\.[bu]64|"
              r"ld\.global(\.\w+(::\w+)*)*\.v8\.[bu]32",
    "load": r"ld\.global", "async16": r"cp\.async\.cg\.shared\.global \[.*?\], \[.*?\], (0x10|16)",
    "async": r"cp\.async\.c[ag]\.shared", "store": r"st\.global", "shared": r"\b(ld|st)\.shared", "popc": r"\bpopc\.",
}  # fmt: skip
"""What is counted in the PTX, by name."""
AMD_KINDS = {
    "mma": r"v_mfma_", "fma": r"v_(pk_)?fma_", "load16": r"(global|buffer)_load_dwordx4",
    "load": r"(global|buffer)_load_", "store": r"(global|buffer)_store_", "shared": r"\bds_(read|write)",
}  # fmt: skip


@dataclass(frozen=True)
class Compiled:
    """One kernel compiled for one part. ``spilled``: bytes for each thread that did not fit in registers."""

    name: str
    part: str
    registers: int
    spilled: int
    shared_bytes: int
    instructions: dict[str, int]
    text: str
    """PTX, or AMD assembly."""
    layouts: str = ""
    """Triton's own text of the kernel, with the layout of each tensor over the lanes; empty for AMD."""


def compiled(launch: Launch, part: Part) -> Compiled:
    """Compile one launch. Raises :class:`KernelError` in Triton's words."""
    source = ASTSource(fn=launch.function, **_arguments(launch))
    options = {"num_warps": launch.warps, "num_stages": launch.stages}
    try:
        made = triton.compile(source, target=part.target, options=options)
    except Exception as error:  # the compiler raises anything
        asked = f"compile {launch.name} for {part.name}"
        raise KernelError(asked, f"{type(error).__name__}: {str(error)[:600]}", "another schedule") from error
    if part.target.backend == "hip":
        return _amd(launch.name, part, made)
    text = made.asm["ptx"]
    registers, stack, local = _usage(made.asm["cubin"])
    return Compiled(
        launch.name, part.name, registers, stack + local, made.metadata.shared, _counted(text, KINDS), text,
        made.asm["ttgir"],
    )  # fmt: skip


def _arguments(launch: Launch) -> dict[str, Any]:
    """Signature, constants and alignments as a launch of these arguments would have them."""
    names = launch.function.arg_names
    signature: dict[str, str] = {}
    constants: dict[str, Any] = dict(launch.constants)
    attributes: dict[tuple[int, ...], list[list[Any]]] = {}
    for place, (name, value) in enumerate(zip(names, launch.arguments, strict=False)):
        if value is None:
            constants[name] = None
        elif isinstance(value, torch.Tensor):
            signature[name] = f"*{_TYPES[value.dtype]}"
            attributes[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "i32"
    return {
        "signature": {name: signature.get(name, "constexpr") for name in names},
        "constexprs": constants,
        "attrs": attributes,
    }


def _usage(cubin: bytes) -> tuple[int, int, int]:
    """Registers a thread, bytes of stack and of local memory, as cuobjdump says."""
    import triton.backends.nvidia as nvidia

    tool = Path(str(nvidia.__file__)).parent / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", done.stdout)
    if found is None:
        raise KernelError("read what a kernel uses", done.stdout[:200] or "nothing", "the cuobjdump of Triton's wheel")
    return int(found[1]), int(found[2]), int(found[3])


def _amd(name: str, part: Part, made: Any) -> Compiled:
    text = made.asm["amdgcn"]
    numbers = {key: int(re.search(rf"\.{key}:\s*(\d+)", text)[1]) for key in _AMD_KEYS}  # type: ignore[index]
    spilled = 4 * (numbers["vgpr_spill_count"] + numbers["sgpr_spill_count"])
    return Compiled(
        name, part.name, numbers["vgpr_count"], spilled, numbers["group_segment_fixed_size"] or made.metadata.shared,
        _counted(text, AMD_KINDS), text,
    )  # fmt: skip


_AMD_KEYS = ("vgpr_count", "vgpr_spill_count", "sgpr_spill_count", "group_segment_fixed_size")


def _counted(text: str, kinds: dict[str, str]) -> dict[str, int]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("//", ";"))]
    found: Counter[str] = Counter()
    for kind, pattern in kinds.items():
        expression = re.compile(pattern)
        found[kind] = sum(1 for line in lines if expression.search(line))
    return dict(found)
