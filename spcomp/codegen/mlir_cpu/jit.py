"""MLIR text -> machine code, through torch-mlir's pass manager and execution engine.

Equal texts are compiled once, for as long as somebody uses them.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spcomp.errors import KernelError

log = logging.getLogger("spcomp.jit")

PIPELINE = (
    "builtin.module("
    + ",".join(
        (
            "canonicalize",
            "cse",
            "convert-vector-to-scf",
            "convert-scf-to-cf",
            "expand-strided-metadata",
            "lower-affine",
            "convert-math-to-llvm",
            "convert-vector-to-llvm",
            "finalize-memref-to-llvm",
            "convert-ub-to-llvm",
            "convert-index-to-llvm",
            "convert-arith-to-llvm",
            "convert-cf-to-llvm",
            "convert-func-to-llvm{use-bare-ptr-memref-call-conv=1}",
            "reconcile-unrealized-casts",
            "canonicalize",
            "cse",
        )
    )
    + ")"
)


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled function. ``call(*pointers_as_int, *scalars)`` enters it with plain C arguments, without the GIL."""

    name: str
    text: str
    address: int
    seconds: float
    call: Any
    packed_address: int
    """Entry that takes an array of pointers to the arguments; 0 for functions that have none."""
    keep: tuple[object, ...]
    """The engine; the code lives as long as this object does."""


_lock = threading.Lock()
_compiled: weakref.WeakValueDictionary[str, Compiled] = weakref.WeakValueDictionary()
"""By text. Code is freed with the last kernel that uses it."""


def available() -> str | None:
    """None when MLIR kernels can be compiled here, else the reason why not."""
    try:
        import torch_mlir.execution_engine
        import torch_mlir.ir
        import torch_mlir.passmanager  # noqa: F401
    except ImportError as error:
        return f"torch-mlir cannot be imported ({error})"
    return None


def compile_text(name: str, text: str, pointers: int, scalars: int) -> Compiled:
    """Compile one function written by :class:`~spcomp.codegen.mlir_cpu.text.Function`, or hand out the earlier result.

    Raises :class:`KernelError` when MLIR rejects the text.
    """
    with _lock:
        known = _compiled.get(text)
        if known is None:
            known = _compiled[text] = _compile(name, text, pointers, scalars)
        return known


def compile_all(jobs: Iterable[tuple[str, str, int, int]]) -> list[Compiled]:
    """:func:`compile_text` for several jobs.

    One after the other: torch-mlir's bindings hold the GIL while they compile, two threads were measured no faster.
    """
    return [compile_text(*job) for job in jobs]


def _compile(name: str, text: str, pointers: int, scalars: int) -> Compiled:
    reason = available()
    if reason is not None:
        raise KernelError(f"compile the kernel {name}", reason, "install torch-mlir (x86-64 Linux) or use policy='off'")
    from torch_mlir import ir, passmanager
    from torch_mlir.execution_engine import ExecutionEngine

    start = time.perf_counter()
    context = ir.Context()
    context.enable_multithreading(False)
    try:
        module = ir.Module.parse(text, context)
        with context, ir.Location.unknown(context):
            passmanager.PassManager.parse(PIPELINE).run(module.operation)
        engine = ExecutionEngine(module, opt_level=3)
        address = engine.raw_lookup(name)
        packed = engine.raw_lookup(f"_mlir_{name}")
    except Exception as error:  # torch-mlir raises its own MLIRError, RuntimeError or ValueError by stage
        raise KernelError(
            f"compile the kernel {name}", str(error).splitlines()[0], "report the dumped kernel source as a bug"
        ) from error
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * pointers, *[ctypes.c_int64] * scalars)
    seconds = time.perf_counter() - start
    log.debug("compiled %s in %.0f ms", name, 1e3 * seconds)
    return Compiled(name, text, address, seconds, signature(address), packed, (engine, module, context))
