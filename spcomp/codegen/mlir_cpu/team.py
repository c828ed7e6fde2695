"""The team of threads behind :mod:`~spcomp.codegen.mlir_cpu.parallel`: torch's own OpenMP pool, and what it runs."""

from __future__ import annotations

import ctypes
import functools
import logging
from pathlib import Path

import torch

from spcomp.codegen.mlir_cpu import jit

log = logging.getLogger("spcomp.parallel")

# data: [omp_get_thread_num, omp_get_num_threads, GOMP_barrier, how many stages, the address of each: {how many lists,
# the address of each: {count, (packed entry, argument array)...}}]. A team may be smaller than it was asked to be: then
# a thread makes the calls of several lists. All stages are one region: threads wait for each other between them, but
# are not sent for again.
_TRAMPOLINE = """
llvm.func @_mlir_trampoline(%data: !llvm.ptr) {
  %zero = llvm.mlir.constant(0 : i64) : i64
  %one = llvm.mlir.constant(1 : i64) : i64
  %two = llvm.mlir.constant(2 : i64) : i64
  %p1 = llvm.getelementptr %data[1] : (!llvm.ptr) -> !llvm.ptr, i64
  %p2 = llvm.getelementptr %data[2] : (!llvm.ptr) -> !llvm.ptr, i64
  %p3 = llvm.getelementptr %data[3] : (!llvm.ptr) -> !llvm.ptr, i64
  %p4 = llvm.getelementptr %data[4] : (!llvm.ptr) -> !llvm.ptr, i64
  %number = llvm.load %data : !llvm.ptr -> !llvm.ptr
  %team = llvm.load %p1 : !llvm.ptr -> !llvm.ptr
  %wait = llvm.load %p2 : !llvm.ptr -> !llvm.ptr
  %stages = llvm.load %p3 : !llvm.ptr -> i64
  %tid32 = llvm.call %number() : !llvm.ptr, () -> i32
  %tid = llvm.zext %tid32 : i32 to i64
  %size32 = llvm.call %team() : !llvm.ptr, () -> i32
  %size = llvm.zext %size32 : i32 to i64
  %some = llvm.icmp "slt" %zero, %stages : i64
  llvm.cond_br %some, ^stage(%zero : i64), ^exit
^stage(%s: i64):
  %stage_at = llvm.getelementptr %p4[%s] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %stage = llvm.load %stage_at : !llvm.ptr -> !llvm.ptr
  %lists = llvm.load %stage : !llvm.ptr -> i64
  llvm.br ^thread(%tid : i64)
^thread(%t: i64):
  %any = llvm.icmp "slt" %t, %lists : i64
  llvm.cond_br %any, ^mine, ^done
^mine:
  %behind = llvm.add %t, %one : i64
  %at = llvm.getelementptr %stage[%behind] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %list = llvm.load %at : !llvm.ptr -> !llvm.ptr
  %count = llvm.load %list : !llvm.ptr -> i64
  llvm.br ^head(%zero : i64)
^head(%i: i64):
  %more = llvm.icmp "slt" %i, %count : i64
  llvm.cond_br %more, ^body, ^after
^body:
  %twice = llvm.mul %i, %two : i64
  %first = llvm.add %twice, %one : i64
  %second = llvm.add %twice, %two : i64
  %at0 = llvm.getelementptr %list[%first] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %at1 = llvm.getelementptr %list[%second] : (!llvm.ptr, i64) -> !llvm.ptr, i64
  %entry = llvm.load %at0 : !llvm.ptr -> !llvm.ptr
  %arguments = llvm.load %at1 : !llvm.ptr -> !llvm.ptr
  llvm.call %entry(%arguments) : !llvm.ptr, (!llvm.ptr) -> ()
  %next = llvm.add %i, %one : i64
  llvm.br ^head(%next : i64)
^after:
  %later = llvm.add %t, %size : i64
  llvm.br ^thread(%later : i64)
^done:
  %following = llvm.add %s, %one : i64
  %left = llvm.icmp "slt" %following, %stages : i64
  llvm.cond_br %left, ^together, ^exit
^together:
  llvm.call %wait() : !llvm.ptr, () -> ()
  llvm.br ^stage(%following : i64)
^exit:
  llvm.return
}
"""
Team = tuple[int, int, int]
"""Addresses of omp_get_thread_num, omp_get_num_threads and GOMP_barrier."""


@functools.cache
def openmp() -> tuple[object, Team, jit.Compiled] | None:
    """(GOMP_parallel, what the trampoline calls of OpenMP, the trampoline), or None where there is no libgomp."""
    folder = Path(torch.__file__).parent / "lib"
    for name in [*map(str, sorted(folder.glob("libgomp*.so*"))), "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(name)
            run = library.GOMP_parallel
            asked = library.omp_get_thread_num, library.omp_get_num_threads, library.GOMP_barrier
        except (OSError, AttributeError) as error:
            log.debug("no OpenMP pool in %s: %s", name, error)
            continue
        run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        run.restype = None
        number, team, barrier = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in asked)
        return run, (number, team, barrier), jit.compile_text("trampoline", _TRAMPOLINE, 1, 0)
    return None


def ready() -> None:
    """Compile what calls go through, so that it is not compiled when a model runs."""
    openmp()
