"""Predicted time of a kernel call on a GPU: what it moves, what it multiplies, and its launches.

``seconds = launches + max(bytes / bandwidth, operations / peak)``: a GPU overlaps the two as long as there are programs
enough. It only ranks candidates; the tuner decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from spcomp.plan import KernelCall
from spcomp.targets.cuda import LAUNCH_SECONDS, GpuPeaks

MEMORY_SHARE, PRODUCT_SHARE = 0.8, 0.6
"""Of the peaks, what good kernels reach. Assumed; figures of one device only rank kernels of that device."""
L2_SPEED = 2.5
"""Times the bandwidth of memory at which a weight is read that stays in L2. Assumed."""
ONE_BY_ONE = ("csr",)
"""Encodings whose nonzeros are multiplied one by one, by the ordinary cores."""
LOADS = 4.0
"""Operations' worth of an input that a nonzero picks by its column. Assumed."""


@dataclass(frozen=True)
class DeviceModel:
    """Predicts seconds for one call on one GPU."""

    peaks: GpuPeaks

    def seconds(self, call: KernelCall, m: int, *, cold_bytes: int = 0) -> float:
        """Time of ``call`` at M = ``m``; ``cold_bytes``: weights of other layers that run in between."""
        peaks = self.peaks
        bandwidth = 1e9 * MEMORY_SHARE * peaks.memory_gb_s
        fits = call.weight_nbytes + cold_bytes <= peaks.l2_bytes // 2
        met = min(1.0, m / call.experts) if call.experts else 1.0  # a row meets one expert
        weight = met * call.weight_nbytes / (bandwidth * (L2_SPEED if fits else 1.0))
        moved = weight + call.activation_nbytes(m) / bandwidth
        return self._launches(call, m) * LAUNCH_SECONDS + max(moved, self._multiplied(call, m))

    def _multiplied(self, call: KernelCall, m: int) -> float:
        operations = 2.0 * m * (call.outputs * call.k if call.encoding.name == "dense" else call.stored)
        if call.experts and call.encoding.name != "dense":
            operations /= call.experts
        if call.encoding.name in ONE_BY_ONE:
            return operations * (1 + LOADS) / (1e12 * PRODUCT_SHARE * self.peaks.float32_tflops)
        if call.backend != "cusparselt" and call.encoding.name in ("nm", "bitmap") and m > 1:
            operations = 2.0 * m * call.n * call.k  # spread over dense tiles
        if call.encoding.name != "dense" and not call.schedule:
            operations = 2.0 * m * call.n * call.k
        peak = self.peaks.float32_tflops if call.dtype == "float32" else self.peaks.tensor_tflops
        return operations / (1e12 * PRODUCT_SHARE * peak)

    def _launches(self, call: KernelCall, m: int) -> int:
        options = dict(call.schedule)
        turned = call.encoding.name in ONE_BY_ONE and options.get("block_m", 1) > 1
        return 1 + (options.get("splits", 1) > 1) + turned
