"""`HostCpu`: name, features, caches, and measured peaks of the CPU that we run on."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

MASKED_FEATURES = "SPCOMP_MASK_CPU_FEATURES"
"""Environment variable: comma-separated features to hide, so that code for lesser CPUs can be tested."""
RELEVANT = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512vbmi", "avx512_vbmi2",
            "avx512_bf16", "amx_tile")  # fmt: skip


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

    @property
    def device(self) -> str:
        """The name that measured times are filed under: the model, and a digest of its features and caches.

        How many cores this process may use is no part of it: how many threads were timed stands beside it.
        """
        known = [self.model, self.features, self.l1d_bytes, self.l2_bytes, self.l3_bytes]
        return f"{self.model} [{hashlib.blake2b(json.dumps(known).encode(), digest_size=4).hexdigest()}]"


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


def release_memory() -> None:
    """Hand freed heap memory back to the system, where the C library can (glibc's ``malloc_trim``)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
