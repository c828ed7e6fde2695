"""Keep oneDNN off a broken AMX.

Some virtual machines show AMX in the CPU's flags and hide the tile palette (CPUID leaf 29). oneDNN then picks its AMX
kernels for bfloat16 and fails, or dies of an illegal instruction: plain ``torch`` does, with or without spcomp.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from spcomp.targets.host import host_cpu

log = logging.getLogger("spcomp.targets")
LIMIT = "ONEDNN_MAX_CPU_ISA"
WITHOUT_AMX = "AVX512_CORE_FP16"
_TRY = """
import torch
for m in (1, 4, 64):
    torch.nn.functional.linear(torch.ones(m, 50).bfloat16(), torch.ones(33, 50).bfloat16())
    torch.nn.functional.linear(torch.ones(m, 512).bfloat16(), torch.ones(1024, 512).bfloat16())
"""
_TRY_INT8 = """
import torch
for m, k in ((1, 52), (64, 512)):
    weight = torch.ones(96, k, dtype=torch.int8)
    torch._int_mm(torch.ones(m, k, dtype=torch.int8), weight.t())
    packed = torch.ops.onednn.qlinear_prepack(weight, [m, k])
    x, ones, zeros = torch.ones(m, k, dtype=torch.uint8), torch.ones(96), torch.zeros(96, dtype=torch.int32)
    run = torch.ops.onednn.qlinear_pointwise
    run(x, 1.0, 128, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    kernel, where = torch.ones(96, k, 3, 3, dtype=torch.int8), ([1, 1], [1, 1], [1, 1], 1)
    planes = torch.ones(1, k, 9, 9, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    packed = torch.ops.onednn.qconv_prepack(kernel, ones, 1.0, 128, *where, list(planes.shape))
    run = torch.ops.onednn.qconv_pointwise
    run(planes, 1.0, 128, packed, ones, zeros, None, *where, 1.0, 0, torch.float32, "none", [], "")
"""


def onednn_int8_works(folder: Path) -> bool:
    """Whether oneDNN's int8 products work in this environment; a CPU that shows AMX is tried in a process of its own.

    The answer is remembered in ``folder``, for this CPU, torch and limit.
    """
    if "amx_tile" not in host_cpu().features:
        return True
    circumstances = f"int8 with convolutions {host_cpu().digest} {version('torch')} {os.environ.get(LIMIT)}"
    path = folder / f"amx-{hashlib.blake2b(circumstances.encode(), digest_size=8).hexdigest()}"
    found = _remembered(path)
    if found is None:
        found = _probe(_TRY_INT8)
        _remember(path, found)
    return found == "works"


def avoid_broken_amx(folder: Path) -> str | None:
    """Set ``ONEDNN_MAX_CPU_ISA`` for this process and its children if bfloat16 fails in a process of its own.

    Call it before oneDNN is first used. The answer is remembered in ``folder``, for this CPU and torch. Returns what
    was found, or None where all is well, the variable is set already, or the CPU has no AMX.
    """
    if "amx_tile" not in host_cpu().features or LIMIT in os.environ:
        return None
    circumstances = f"{host_cpu().digest} {version('torch')}"
    path = folder / f"amx-{hashlib.blake2b(circumstances.encode(), digest_size=8).hexdigest()}"
    found = _remembered(path)
    if found is None:
        found = _probe()
        _remember(path, found)
    if found == "works":
        return None
    os.environ[LIMIT] = WITHOUT_AMX
    log.warning("AMX does not work on this machine (%s): %s=%s", found, LIMIT, WITHOUT_AMX)
    return found


def _probe(code: str | None = None) -> str:
    done = subprocess.run([sys.executable, "-c", code or _TRY], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return "works"
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    return f"exit status {done.returncode}: {last[0][:120]}"


def _remembered(path: Path) -> str | None:
    try:
        return path.read_text() or None
    except OSError:
        return None


def _remember(path: Path, found: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(found)
        temporary.replace(path)
    except OSError as error:
        log.debug("cannot remember whether AMX works: %s", error)
