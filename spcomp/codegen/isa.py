"""Remember which vector extensions Inductor's compiler can use here.

Inductor finds out anew in every process, with child processes that load libtorch: a second, most of what loading a
saved model would cost. The answer depends on CPU, compiler and torch only; it is kept under a key of all three, and
only if every extension of the CPU passed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from spcomp.cost.cache import default_folder
from spcomp.targets.host import host_cpu

log = logging.getLogger("spcomp.inductor")


def settle(folder: Path | None = None) -> None:
    """Fill Inductor's list of usable vector extensions, from memory if it was filled in the same circumstances before.

    Anything unexpected leaves Inductor to itself.
    """
    try:
        from torch._inductor import config, cpu_vec_isa

        if cpu_vec_isa.valid_vec_isa_list.cache_info().currsize or config.cpp.vec_isa_ok is not None:
            return
        path = (folder or default_folder()) / "vector-isa" / f"{_circumstances()}.json"
        flagged = _flagged()
        if flagged and _remembered(path) == flagged:
            with config.patch({"cpp.vec_isa_ok": True}):
                cpu_vec_isa.valid_vec_isa_list()
            return
        found = [str(isa) for isa in cpu_vec_isa.valid_vec_isa_list()]
        if flagged and found == flagged:
            _remember(path, found)
    except Exception as error:  # an older or newer torch; Inductor finds out by itself
        log.info("not remembering the vector extensions: %s: %s", type(error).__name__, error)


def _flagged() -> list[str]:
    """The extensions that this CPU has and Inductor knows; empty where this is not x86 Linux."""
    from torch._inductor import cpu_vec_isa

    if sys.platform != "linux" or platform.machine() != "x86_64":
        return []
    have = cpu_vec_isa.x86_isa_checker()
    return [str(i) for i in cpu_vec_isa.supported_vec_isa_list if all(flag in have for flag in str(i).split())]


def _circumstances() -> str:
    from torch._inductor.cpp_builder import get_cpp_compiler

    compiler = shutil.which(get_cpp_compiler()) or ""
    status = os.stat(compiler)
    parts = [
        torch.__version__,
        torch.__file__,
        host_cpu().digest,
        os.path.realpath(compiler),
        status.st_size,
        status.st_mtime_ns,
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _remembered(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _remember(path: Path, found: list[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w") as file:
            json.dump(found, file)
        os.replace(temporary, path)
    except OSError as error:
        log.info("cannot write %s: %s", path, error)
