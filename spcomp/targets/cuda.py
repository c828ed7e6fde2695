"""Whether there is a CUDA device, what is missing where there is none, and what GPUs can do a second."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass


def cuda_missing() -> str | None:
    """Why torch cannot use a CUDA device here, or None where it can."""
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return (
        f"torch {torch.__version__} was built for CUDA {torch.version.cuda or torch.version.hip}, but finds no device"
    )


@dataclass(frozen=True)
class GpuPeaks:
    """What a GPU can do. Bandwidth in 10^9 B/s, products in 10^12 floating-point operations a second, L2 in bytes."""

    memory_gb_s: float
    tensor_tflops: float
    """float16 and bfloat16 by tensor cores, sums in float32, no sparsity."""
    float32_tflops: float
    """float32 by the ordinary cores."""
    l2_bytes: int
    source: str
    """Where the figures are from."""


MIB = 1 << 20
KNOWN: tuple[tuple[str, GpuPeaks], ...] = (
    ("H200", GpuPeaks(4800, 989.4, 66.9, 50 * MIB, "NVIDIA H200 datasheet (SXM); L2: Hopper tuning guide")),
    ("H100 PCIe", GpuPeaks(2000, 756, 51.2, 50 * MIB, "NVIDIA H100 datasheet (PCIe)")),
    ("H100", GpuPeaks(3350, 989.4, 66.9, 50 * MIB, "NVIDIA H100 datasheet (SXM5)")),
    ("A100-SXM4-80GB", GpuPeaks(2039, 312, 19.5, 40 * MIB, "NVIDIA A100 datasheet (80 GB SXM)")),
    ("A100", GpuPeaks(1555, 312, 19.5, 40 * MIB, "NVIDIA A100 datasheet (40 GB)")),
)
"""Vendors' figures by a part of the device's name; the first that matches counts."""
LAUNCH_SECONDS = 2.5e-6
"""A kernel's launch and end inside of a CUDA graph. Assumed: of the order that graphs of empty kernels take."""
ASSUMED_L2 = 64 * MIB
"""Where a device does not say."""


def peaks_of(name: str, index: int = 0) -> GpuPeaks:
    """Vendors' figures for a device of this name; where it is in no table, measured on the device."""
    found = next((peaks for part, peaks in KNOWN if part in name), None)
    return found if found is not None else probed(index)


def probed(index: int, seconds: Callable[[Callable[[], object]], float] | None = None) -> GpuPeaks:
    """Figures of device ``index``, by a copy of 256 MiB and products of 4096 x 4096 matrices.

    ``seconds`` takes the time of a call (default: CUDA events, the median of seven).
    """
    import torch

    where = torch.device("cuda", index) if seconds is None else torch.device("cpu")

    def time(call: Callable[[], object]) -> float:
        return _event_seconds(call, index) if seconds is None else seconds(call)

    side, nbytes = (4096, 1 << 28) if seconds is None else (64, 1 << 16)
    source = torch.ones(nbytes, dtype=torch.uint8, device=where)
    into = torch.empty_like(source)
    memory = 2 * nbytes / time(lambda: into.copy_(source)) / 1e9
    rates = []
    for dtype in (torch.float16, torch.float32):
        a = torch.ones(side, side, dtype=dtype, device=where)
        rates.append(2 * side**3 / time(functools.partial(torch.matmul, a, a)) / 1e12)
    l2 = (
        ASSUMED_L2 if seconds is not None else int(getattr(torch.cuda.get_device_properties(index), "L2_cache_size", 0))
    )
    return GpuPeaks(memory, rates[0], rates[1], l2 or ASSUMED_L2, "measured on the device")


def _event_seconds(call: Callable[[], object], index: int) -> float:
    import torch

    times = []
    with torch.cuda.device(index):
        for _ in range(9):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record()
            call()
            end.record()
            end.synchronize()
            times.append(float(begin.elapsed_time(end)) / 1e3)
    return statistics.median(times[2:])
