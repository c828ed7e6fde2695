"""`Device`: what one part of a model is planned for, as data: target of kernels, torch device, what it is known by."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spcomp.errors import InputError
from spcomp.targets.cuda import GpuPeaks, cuda_missing, peaks_of
from spcomp.targets.host import host_cpu

if TYPE_CHECKING:
    from spcomp.cost.device_tuner import Timer

ON_CPU = ("baked_cpu", "mlir_cpu")
"""Backends that layers on the CPU are planned with."""
ON_CUDA = ("cusparselt", "triton")
"""Backends that layers on a GPU are planned with."""


@dataclass(frozen=True)
class Device:
    """Where layers run, and how they are planned for it."""

    target: str
    """As in kernel keys: ``"cpu-avx512"``, ``"cuda"``."""
    where: str
    """The torch device: ``"cpu"``, ``"cuda:0"``."""
    name: str
    """As its maker calls it."""
    digest: str
    """What tunings are filed under: equal for devices that take equal times."""
    backends: tuple[str, ...]
    peaks: GpuPeaks | None = None
    """What a GPU can do a second; None on the CPU, which has :mod:`spcomp.targets.peaks`."""
    timer: Timer | None = field(default=None, compare=False, repr=False)
    """What times kernels there; None: CUDA graphs of calls on cold copies of the weight."""

    vector_bytes: int = 16
    """What a GPU's threads load at once, and what tensor cores want rows of operands to be multiples of."""

    def granule(self, element_bytes: int) -> int:
        """Elements that sizes should be multiples of: 8 of 16 bits, 16 of one byte; on the CPU any number is fine.

        Source: NVIDIA, Matrix Multiplication Background User's Guide, "Requirements to use Tensor Cores": dimensions
        that are multiples of 16 bytes.
        """
        return 1 if self.host else max(1, self.vector_bytes // element_bytes)

    @property
    def host(self) -> bool:
        """Whether it is planned for as the CPU is."""
        return self.target != "cuda"

    @property
    def title(self) -> str:
        """``cuda: NVIDIA H200 (cuda:0)``."""
        return f"{self.target}: {self.name} ({self.where})"


Devices = Callable[[str, str], Device]
"""(name of a weight, torch device that it is on) -> the device it is planned for."""


def host_device() -> Device:
    """This machine's CPU."""
    host = host_cpu()
    return Device(host.target, "cpu", host.model, host.digest, ON_CPU)


@functools.cache
def cuda_device(index: int) -> Device:
    """One CUDA device. Raises :class:`InputError` where torch sees none."""
    if (missing := cuda_missing()) is not None:
        raise InputError("compile for target='cuda'", missing, "target='auto' or 'cpu'")
    import torch

    name, (major, minor) = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    properties = torch.cuda.get_device_properties(index)
    known = f"{name} {major}.{minor} {properties.multi_processor_count} {properties.total_memory >> 30}"
    digest = hashlib.blake2b(known.encode(), digest_size=8).hexdigest()
    return Device("cuda", f"cuda:{index}", name, digest, ON_CUDA, peaks_of(name, index))


def devices_found(_name: str, where: str) -> Device:
    """The device that a weight is on. Raises :class:`InputError` for one that nothing here is generated for."""
    kind, _, index = where.partition(":")
    match kind:
        case "cpu":
            return host_device()
        case "cuda":
            return cuda_device(int(index or 0))
        case _:
            raise InputError("compile a model", f"a weight on {where}", "model.cpu() or model.cuda() first")
