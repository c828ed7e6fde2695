"""Predicted time of a kernel call from what its inner loop does and what the host was measured to do a second.

``seconds = call + packing + unpacking + overlapped(core, memory)``. *Core* is cycles of the loop, lines that it takes
from the second-level cache, and branches that were not foreseen; counts are in :mod:`spcomp.cost.cycles`. *Memory* is
bytes of the weight, code included, over the bandwidth of the working set that they are a part of. Such times overlap,
but not entirely: ``(a^p + b^p)^(1/p)`` is between their maximum and their sum, see :data:`OVERLAP`. It ranks
candidates and stands beside what was measured in ``explain()``; the tuner decides.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from spcomp.cost.cycles import LANES, LINE_BYTES, constant, rounded, work_of
from spcomp.encodings.spec import ITEM_BYTES
from spcomp.plan import KernelCall
from spcomp.targets.host import HostCpu
from spcomp.targets.peaks import DENSE_ROWS, DENSE_SIDES, Peaks

OVERLAP = 2.0
"""p of the combination: 1 is a core that waits for every byte, infinity one that waits for none. Prefetches run ahead
in all kernels, and two limits at once still cost more than either: 2 is the usual choice for independent queues."""
DENSE_EFFICIENCY = 0.85
"""Share of peak of a dense library that was not measured."""
CALLS = {"few": 1.6, "tiles": 3.0, "conv": 8.0, "dense": 2.0}
"""Entries of a compiled function, :attr:`Peaks.call_us` each, that calling a kernel takes in Python and for its parts:
one with a row count; packing, chunks and unpacking; planes of an image; torch's dispatcher."""
PACK_CYCLES = 80.0
MISPREDICT_CYCLES = 18.0


def overlapped(core: float, memory: float) -> float:
    """Between the larger of two times and their sum."""
    most = max(core, memory)
    if most <= 0:
        return 0.0
    return float(most * ((core / most) ** OVERLAP + (memory / most) ** OVERLAP) ** (1 / OVERLAP))


@dataclass(frozen=True)
class CostModel:
    """Predicts seconds for one call on one thread of this host."""

    host: HostCpu
    peaks: Peaks

    def seconds(self, call: KernelCall, m: int, *, cold_bytes: int = 0) -> float:
        """Time of ``call`` at M = ``m``; ``cold_bytes``: weights of other layers that run in between."""
        if call.encoding.name == "dense" or not call.schedule:
            return self._dense(call, m, cold_bytes)
        work = work_of(call, m, self.host.l1d_bytes or 1 << 15)
        clock, peaks = self.peaks.ghz * 1e9, self.peaks
        surprised = work.surprises * peaks.cycles(peaks.mispredict_ns, MISPREDICT_CYCLES)
        line = LINE_BYTES / peaks.reads(self.host.l2_bytes // 2, self.host) * peaks.ghz
        core = (overlapped(work.cycles, work.lines * line) + surprised + rounded(call, m)) / clock
        memory = self._reading(work.weight_bytes, work.passes, work.again, cold_bytes)
        if work.waits:
            memory *= constant("stream")  # whole lines one after the other, as the probe reads
        moved = work.packed * peaks.cycles(peaks.pack_ns, PACK_CYCLES)
        moved += work.unpacked * peaks.cycles(peaks.unpack_ns, PACK_CYCLES)
        kind = "conv" if call.conv is not None else "tiles" if work.packed else "few"
        return self._called(kind) + moved / clock + (core + memory if work.waits else overlapped(core, memory))

    def _called(self, kind: str) -> float:
        return CALLS[kind] * self.peaks.call_us * 1e-6

    def _reading(self, nbytes: float, passes: float, again: float, cold_bytes: float) -> float:
        """Seconds to read a weight ``passes`` times from where it lies, and ``again`` times right after."""
        first = nbytes / self.peaks.reads(nbytes + cold_bytes, self.host)
        near = nbytes / self.peaks.reads(nbytes, self.host)
        return (first + (passes - 1 + again) * min(near, first)) / (1e9 * constant("stream"))

    def _dense(self, call: KernelCall, m: int, cold_bytes: int) -> float:
        peaks, nbytes = self.peaks, call.weight_nbytes
        if call.backend == "dense.gemv":
            cycles = call.n * call.k / LANES * max(m / 2, (1 + m / 4) / 2)
            memory = self._reading(nbytes, 1.0, 0.0, cold_bytes)
            return self._called("few") + overlapped(cycles / (peaks.ghz * 1e9), memory)
        names = {"dense.mkl": ("mkl",), "dense.onednn": ("onednn",)}.get(call.backend, ("mkl", "onednn"))
        rates = {
            "mkl": (self._rate(peaks.mkl_near, m), self._rate(peaks.mkl_far, m)),
            "onednn": (self._rate(peaks.onednn_near, m), self._rate(peaks.onednn_far, m)),
        }
        low, high = (4 * side * side for side in DENSE_SIDES)
        share = min(1.0, max(0.0, math.log(max(1, nbytes) / low) / math.log(high / low)))
        core = (
            min(
                call.dense_flops(m) / (near ** (1 - share) * far**share)
                for near, far in (rates[name] for name in names)
            )
            / 1e9
        )
        memory = self._reading(nbytes, 1.0, 0.0, cold_bytes) + call.activation_nbytes(m) / (peaks.cache_gb_s * 1e9)
        reordered = 0.0
        if call.conv is not None and call.backend == "dense.onednn":
            reordered = call.activation_nbytes(m) / ITEM_BYTES[call.dtype] * constant("planes") / (peaks.ghz * 1e9)
        return self._called("dense") + overlapped(core, memory) + reordered

    def _rate(self, measured: tuple[float, ...], m: int) -> float:
        """GFLOP/s at ``m`` rows, between the measured ones on a straight line over log M."""
        if not measured:
            return self.peaks.gflops * DENSE_EFFICIENCY
        for (lo, a), (hi, b) in itertools.pairwise(zip(DENSE_ROWS, measured, strict=True)):
            if m <= hi:
                return a + (b - a) * math.log(max(1, m) / lo) / math.log(hi / lo)
        return measured[-1]
