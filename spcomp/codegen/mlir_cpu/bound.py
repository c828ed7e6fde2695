"""A compiled function with most of its arguments bound, for kernels so short that passing eleven of them shows.

``ctypes`` takes about 0.1 us for an argument. A small compiled function takes x, y and (where the kernel wants it) the
number of rows, and finds the rest in a table.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from spcomp.codegen.mlir_cpu import jit


def bind(body: jit.Compiled, held: Sequence[int], scalars: Sequence[int], *, rows: bool) -> Bound:
    """``body(x, *held, y, [m,] *scalars)`` as ``call(x, y[, m])``."""
    enter = jit.compile_text(*job(len(held), len(scalars), rows=rows))
    table = (ctypes.c_int64 * (1 + len(held) + len(scalars)))(body.address, *held, *scalars)
    return Bound(body, enter, table)


def job(held: int, scalars: int, *, rows: bool) -> jit.Job:
    """What :func:`bind` compiles for so many held pointers and scalars."""
    return "enter", _text(held, scalars, rows), 3, int(rows)


class Bound:
    """Keeps what it calls alive. ``run(address, x, y[, m])`` with ``address`` of the table."""

    __slots__ = ("_keep", "address", "run")

    def __init__(self, body: jit.Compiled, enter: jit.Compiled, table: ctypes.Array[ctypes.c_int64]) -> None:
        self._keep = (body, enter, table)
        self.address = ctypes.addressof(table)
        self.run: Callable[..., Any] = enter.call


def _text(held: int, scalars: int, rows: bool) -> str:
    """``enter(table, x, y[, m])``; table: address of the function, its held pointers, its scalars."""
    m = ", %m: i64" if rows else ""
    lines = [f"llvm.func @_mlir_enter(%table: !llvm.ptr, %x: !llvm.ptr, %y: !llvm.ptr{m}) {{"]
    lines.append("  %entry = llvm.load %table : !llvm.ptr -> !llvm.ptr")
    for i in range(held + scalars):
        kind = "!llvm.ptr" if i < held else "i64"
        lines.append(f"  %at{i} = llvm.getelementptr %table[{i + 1}] : (!llvm.ptr) -> !llvm.ptr, i64")
        lines.append(f"  %v{i} = llvm.load %at{i} : !llvm.ptr -> {kind}")
    names = ["%x", *(f"%v{i}" for i in range(held)), "%y", *(["%m"] if rows else [])]
    names += [f"%v{held + i}" for i in range(scalars)]
    kinds = ["!llvm.ptr"] * (held + 2) + ["i64"] * (scalars + int(rows))
    lines.append(f"  llvm.call %entry({', '.join(names)}) : !llvm.ptr, ({', '.join(kinds)}) -> ()")
    return "\n".join([*lines, "  llvm.return", "}", ""])
