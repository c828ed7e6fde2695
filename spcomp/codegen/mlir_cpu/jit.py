"""MLIR text -> machine code: pipeline and LLVM by torch-mlir, the object file linked into memory by us.

Equal texts are compiled once, for as long as somebody uses them; their object files are kept on disk
(:mod:`~spcomp.codegen.mlir_cpu.objects`). Several texts compile side by side, in processes of their own
(:mod:`~spcomp.codegen.mlir_cpu.pool`); where that cannot be, one after the other in this one.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from spcomp.codegen.mlir_cpu import pool
from spcomp.codegen.mlir_cpu.objects import key_of, objects
from spcomp.codegen.mlir_cpu.worker import Compiler, dump
from spcomp.codegen.x86 import loader, memory
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
    """The memory; the code lives as long as this object does."""


Job = tuple[str, str, int, int]
"""Name, text, and how many pointers and scalars the function takes."""


def available() -> str | None:
    """None when MLIR kernels can be compiled here, else the reason why not.

    Where they were before, with this torch-mlir on this machine, it is not imported to find out.
    """
    name = "torch_mlir.execution_engine"
    if name not in sys.modules and importlib.util.find_spec("torch_mlir") is not None and objects().any():
        return None
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
    return compile_all([(name, text, pointers, scalars)])[0]


def compile_all(jobs: Iterable[Job | Compiled]) -> list[Compiled]:
    """:func:`compile_text` for several jobs at once; what is compiled already is handed through."""
    return _table.compile(list(jobs))


class _Flight:
    """A text that is being compiled, by the thread that asked first; others wait for it."""

    def __init__(self, job: Job) -> None:
        self.name, self.text, self.pointers, self.scalars = job
        self.done: Future[Compiled] = Future()
        self._start = 0.0
        self._content: bytes | None = None
        self._key = ""
        """Empty where objects cannot be used."""
        self._ordered: Future[bytes] | None = None

    def depart(self) -> None:
        """Find the object on disk, or order it from another process."""
        self._start = time.perf_counter()
        reason = available()
        if reason is not None:
            raise KernelError(
                f"compile the kernel {self.name}", reason, "install torch-mlir (x86-64 Linux) or use policy='off'"
            )
        if memory.unavailable() is not None:
            return
        self._key = key_of(self.text, PIPELINE)
        self._content = objects().get(self._key)
        workers = pool.pool() if self._content is None else None
        if workers is not None:
            self._ordered = workers.submit(self.text, PIPELINE)

    def land(self) -> Compiled:
        """The compiled function. Raises :class:`KernelError`."""
        stored = self._content is not None
        if self._ordered is not None:
            try:
                self._content = self._ordered.result()
            except pool.WorkerError as error:
                log.debug("%s is compiled in this process: %s", self.name, error)
        made = self._linked() if self._content is not None else None
        if made is None:
            made = self._in_process()
        if self._content is not None and not stored:
            objects().put(self._key, self._content)
        log.debug("%s %s in %.0f ms", "loaded" if stored else "compiled", self.name, 1e3 * made.seconds)
        return made

    def _linked(self) -> Compiled | None:
        """The object's code in memory; None where the loader does not know everything in it."""
        assert self._content is not None
        try:
            found = loader.load(self._content)
            address = found.addresses[f"_mlir_{self.name}"]
        except (KernelError, KeyError) as error:
            log.debug("%s stays in the execution engine: %s", self.name, error)
            self._content, self._key = None, ""
            return None
        return self._compiled(address, found.addresses.get(f"_mlir__mlir_{self.name}", 0), (found.region,))

    def _in_process(self) -> Compiled:
        try:
            with _compiling:
                engine = Compiler().engine(self.text, PIPELINE)
                if self._key:
                    with contextlib.suppress(OSError):  # nowhere to write it: the engine serves
                        self._content = dump(engine)
                    made = None if self._content is None else self._linked()
                    if made is not None:
                        return made
                address, packed = engine.raw_lookup(self.name), engine.raw_lookup(f"_mlir_{self.name}")
        except Exception as error:  # torch-mlir raises its own MLIRError, RuntimeError or ValueError by stage
            raise KernelError(
                f"compile the kernel {self.name}", str(error).splitlines()[0],
                "report the dumped kernel source as a bug",
            ) from error  # fmt: skip
        return self._compiled(address, packed, (engine,))

    def _compiled(self, address: int, packed: int, keep: tuple[object, ...]) -> Compiled:
        signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * self.pointers, *[ctypes.c_int64] * self.scalars)
        seconds = time.perf_counter() - self._start
        return Compiled(self.name, self.text, address, seconds, signature(address), packed, keep)


class _Table:
    """What is compiled or being compiled, by text. Code is freed with the last kernel that uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compiled: weakref.WeakValueDictionary[str, Compiled] = weakref.WeakValueDictionary()
        self._flying: dict[str, _Flight] = {}

    def compile(self, jobs: list[Job | Compiled]) -> list[Compiled]:
        found: list[Compiled | _Flight] = []
        mine: list[_Flight] = []
        with self._lock:
            for job in jobs:
                if isinstance(job, Compiled):
                    found.append(job)
                    continue
                known = self._compiled.get(job[1]) or self._flying.get(job[1])
                if known is None:
                    known = self._flying[job[1]] = _Flight(job)
                    mine.append(known)
                found.append(known)
        self._fly(mine)
        return [each.done.result() if isinstance(each, _Flight) else each for each in found]

    def _fly(self, mine: list[_Flight]) -> None:
        """All of them leave before the first is waited for. Whatever happens, each has a result in the end."""
        try:
            for step in (_Flight.depart, self._land):
                for flight in mine:
                    if not flight.done.done():
                        self._try(step, flight)
        except BaseException as error:  # an interrupt: whoever waits for one of these must not wait for ever
            for flight in mine:
                self._failed(flight, error)
            raise

    def _try(self, step: Callable[[_Flight], None], flight: _Flight) -> None:
        try:
            step(flight)
        except Exception as error:  # handed on to everybody who asked for this text
            self._failed(flight, error)

    def _land(self, flight: _Flight) -> None:
        self._arrived(flight, flight.land())

    def _arrived(self, flight: _Flight, made: Compiled) -> None:
        with self._lock:
            self._compiled[flight.text] = made
            del self._flying[flight.text]
        flight.done.set_result(made)

    def _failed(self, flight: _Flight, error: BaseException) -> None:
        if flight.done.done():
            return
        with self._lock:
            del self._flying[flight.text]
        flight.done.set_exception(error)


_compiling = threading.Lock()
_table = _Table()


def _forget() -> None:
    """In a forked child: what other threads were compiling never arrives, and their locks stay shut."""
    global _compiling, _table
    _compiling, _table = threading.Lock(), _Table()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
