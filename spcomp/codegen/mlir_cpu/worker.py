"""MLIR text -> object code, in this process or in one of its own.

As a program (``python -I -S worker.py FOLDER...``) it answers requests on stdin until that is closed. It imports the
standard library and torch_mlir, which it finds in the folders: neither torch nor the rest of spcomp, and nothing of the
program that started it.

A message is :data:`HEAD` (lengths of what follows), a JSON header and bytes. Request: ``{"pipeline": ...}`` and MLIR
text. Reply: ``{"error": null}`` and an object file, or ``{"error": line}``. The first message is ``{"ready": true}``.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import tempfile
from typing import Any, BinaryIO

HEAD = struct.Struct("<4sIQ")
MAGIC = b"spc1"
MOST_BYTES = 1 << 28
_TEXTS_A_CONTEXT = 64
"""A context keeps every type and constant that it ever saw, so it is used so many times only."""


def message(header: dict[str, Any], body: bytes = b"") -> bytes:
    """One message, whole."""
    head = json.dumps(header).encode()
    return HEAD.pack(MAGIC, len(head), len(body)) + head + body


def lengths(head: bytes) -> tuple[int, int]:
    """Bytes of a message's header and body. Raises ValueError for what is no beginning of a message."""
    magic, header, body = HEAD.unpack(head)
    if magic != MAGIC or header > MOST_BYTES or body > MOST_BYTES:
        raise ValueError(f"a message that begins with {head!r}")
    return header, body


class Compiler:
    """Runs a pipeline and LLVM. Raises whatever torch-mlir raises: its own MLIRError, RuntimeError, ValueError."""

    def __init__(self) -> None:
        self._context: Any = None
        self._left = 0

    def engine(self, text: str, pipeline: str) -> Any:
        """An execution engine for a module; it keeps its context alive."""
        from torch_mlir import ir, passmanager
        from torch_mlir.execution_engine import ExecutionEngine

        if self._left == 0:
            self._context, self._left = ir.Context(), _TEXTS_A_CONTEXT
            self._context.enable_multithreading(False)
        self._left -= 1
        context = self._context
        module = ir.Module.parse(text, context)
        with context, ir.Location.unknown(context):
            passmanager.PassManager.parse(pipeline).run(module.operation)
        return ExecutionEngine(module, opt_level=3)

    def object(self, text: str, pipeline: str) -> bytes:
        """The object file of a module."""
        return dump(self.engine(text, pipeline))


def dump(engine: Any) -> bytes:
    """An engine's object file, by way of a file: LLVM writes to a path. Raises OSError where there is no place for it.

    Empty, or something that is no object file, where LLVM could not write it.
    """
    try:
        nameless: Any = open(os.memfd_create("kernel.o"), "rb")  # noqa: SIM115
    except OSError:  # refused by some sandboxes
        nameless = tempfile.TemporaryFile()  # noqa: SIM115
    with nameless as file:
        engine.dump_to_object_file(f"/proc/self/fd/{file.fileno()}")
        file.seek(0)
        content: bytes = file.read()
        return content


def answer(source: BinaryIO, sink: BinaryIO) -> None:
    """Serve requests until the source ends."""
    compiler = Compiler()
    while len(head := source.read(HEAD.size)) == HEAD.size:
        header, body = lengths(head)
        request = json.loads(source.read(header))
        text = source.read(body).decode()
        try:
            reply = message({"error": None}, compiler.object(text, request["pipeline"]))
        except Exception as error:  # the one who asked finds out for himself, in his own process
            reply = message({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        sink.write(reply)
        sink.flush()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the program that started this one, which closes stdin
    sys.path += sys.argv[1:]
    with os.fdopen(os.dup(1), "wb") as sink, os.fdopen(os.dup(0), "rb") as source:
        os.dup2(2, 1)  # what libraries print is no reply
        import torch_mlir.execution_engine
        import torch_mlir.ir
        import torch_mlir.passmanager  # noqa: F401

        sink.write(message({"ready": True}))
        sink.flush()
        answer(source, sink)


if __name__ == "__main__":
    main()
