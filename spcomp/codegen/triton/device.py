"""Whether Triton kernels can run here, and on what."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any

import torch

from spcomp.targets.cuda import cuda_missing

INTERPRET = "TRITON_INTERPRET"
"""Triton's own variable: ``1`` runs kernels on CPU tensors, slowly. It counts from the first import of Triton on."""
PROGRAMS = 132
"""Multiprocessors that kernels are laid out for where no GPU is there to ask: those of an H100 or H200."""
OLDEST = (8, 0)
"""Compute capability of the first GPU with bfloat16 tensor cores and asynchronous copies."""


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get(INTERPRET) == "1"


def unavailable() -> str | None:
    """Why no Triton kernel can run here, or None."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed: pip install 'spcomp[gpu]'"
    if interpreted():
        return None
    if (missing := cuda_missing()) is not None:
        return missing
    found = torch.cuda.get_device_capability()
    if torch.version.hip is None and found < OLDEST:
        return f"the GPU has compute capability {found[0]}.{found[1]}; {OLDEST[0]}.{OLDEST[1]} is the oldest served"
    return None


def home() -> torch.device:
    """Where packed weights go: the current CUDA device, or the CPU for the interpreter and to compile ahead of time."""
    if interpreted() or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Of this GPU; :data:`PROGRAMS` where there is none."""
    if device.type != "cuda":
        return PROGRAMS
    properties: Any = torch.cuda.get_device_properties(device)
    return int(properties.multi_processor_count)
