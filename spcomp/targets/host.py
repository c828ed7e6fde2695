"""`HostCpu`: name, features, caches, and measured peaks of the CPU that we run on."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

MASKED_FEATURES = "SPCOMP_MASK_CPU_FEATURES"
"""Environment variable: comma-separated features to hide, so that code for lesser CPUs can be tested."""
RELEVANT = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_vbmi2", "avx512_bf16",
            "amx_tile")  # fmt: skip


@dataclass(frozen=True)
class HostCpu:
    """The CPU as the compiler sees it. Cache sizes in bytes (0 where unknown)."""

    model: str
    features: tuple[str, ...]
    cores: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int

    @property
    def target(self) -> str:
        """The target name of kernel keys: the widest vector level that kernels are generated for."""
        if {"avx512f", "avx512bw", "avx512vl"} <= set(self.features):
            return "cpu-avx512"
        return "cpu-avx2" if {"avx2", "fma"} <= set(self.features) else "cpu"

    @property
    def digest(self) -> str:
        return hashlib.blake2b(json.dumps(asdict(self), sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Peaks:
    """Measured on this host, one thread: the ceilings of the analytic cost model."""

    gflops: float
    """float32 fused multiply-adds, 10^9 operations a second (two each)."""
    stream_gb_s: float
    """Reading memory far larger than the caches, 10^9 bytes a second."""
    cache_gb_s: float
    """Reading memory of a quarter of the last-level cache, 10^9 bytes a second."""

    @property
    def ghz(self) -> float:
        """Clock implied by two 16-lane fused multiply-adds a cycle."""
        return self.gflops / 64


def _cpuinfo() -> tuple[str, tuple[str, ...]]:
    model, flags = platform.processor() or platform.machine(), frozenset[str]()
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = frozenset(value.split())
    hidden = set(os.environ.get(MASKED_FEATURES, "").split(","))
    return model, tuple(f for f in RELEVANT if f in flags and f not in hidden)


def _cache_bytes(level: int, kind: str) -> int:
    for index in range(6):
        folder = Path(f"/sys/devices/system/cpu/cpu0/cache/index{index}")
        try:
            found = int((folder / "level").read_text()), (folder / "type").read_text().strip()
            size = (folder / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if found[0] == level and found[1] in (kind, "Unified"):
            scale = {"K": 1024, "M": 1024**2}.get(size[-1], 1)
            return int(size.rstrip("KM")) * scale
    return 0


@functools.cache
def host_cpu() -> HostCpu:
    """Probe the host once."""
    model, features = _cpuinfo()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return HostCpu(
        model, features, cores, _cache_bytes(1, "Data"), _cache_bytes(2, "Unified"), _cache_bytes(3, "Unified")
    )


def measure_peaks(seconds: float = 0.15) -> Peaks:
    """Measure :class:`Peaks` on one thread; takes about three times ``seconds``."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        size = 512
        a = torch.randn(size, size)
        weight = a
        product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.mm
        if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            weight = torch.ops.mkldnn._reorder_linear_weight(a.clone(), size)
            linear = torch.ops.mkldnn._linear_pointwise
            product = lambda x, w: linear(x, w, None, "none", [], "")  # noqa: E731
        flops = 2 * size**3 / _best(lambda: product(a, weight), seconds)
        far = torch.ones(max(1 << 26, 3 * host_cpu().l3_bytes // 8))
        near = torch.ones(max(1 << 16, (host_cpu().l3_bytes or 1 << 24) // 16))
        stream = far.numel() * 4 / _best(lambda: far.sum(), seconds)
        cache = near.numel() * 4 / _best(lambda: near.sum(), seconds)
    finally:
        torch.set_num_threads(threads)
    return Peaks(flops / 1e9, stream / 1e9, cache / 1e9)


def _best(work: object, seconds: float) -> float:
    assert callable(work)
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return best


def release_memory() -> None:
    """Hand freed heap memory back to the system, where the C library can (glibc's ``malloc_trim``)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
