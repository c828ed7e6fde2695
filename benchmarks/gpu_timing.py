"""Timing on a GPU: CUDA graphs of many calls on weights that are not in the cache; the ceilings; rehearsals."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

Call = Callable[[], object]
COLD_BYTES = 1 << 28
"""Weights walked through between two uses of one: more than four times the L2 cache of an H200 (50 MB)."""
MOST_COPIES = 24


@dataclass
class Clock:
    """Seconds a call takes. On the CPU (a rehearsal) each call is made once and no time is worth reading."""

    device: torch.device
    replays: int = 7
    failures: list[str] = field(default_factory=list)

    @property
    def real(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """Of what is timed; the interpreter's product of bfloat16 is wrong, so that float16 is rehearsed."""
        return torch.bfloat16 if self.real else torch.float16

    def copies(self, nbytes: int) -> int:
        """How many copies of weights of ``nbytes`` to walk through so that each comes from memory."""
        return max(2, min(MOST_COPIES, -(-COLD_BYTES // max(nbytes, 1)))) if self.real else 1

    def seconds(self, calls: Sequence[Call]) -> float:
        """Median seconds of one of ``calls``, which run one after another in one CUDA graph.

        Where capture fails, events around plain calls are read instead, and ``failures`` says so.
        """
        if not self.real:
            start = time.perf_counter()
            for call in calls:
                call()
            return (time.perf_counter() - start) / len(calls)
        for call in calls:  # compiles, and makes the memory that calls keep
            call()
        torch.cuda.synchronize()
        try:
            whole = self._captured(calls)
        except RuntimeError as error:
            self.failures.append(f"no CUDA graph: {str(error)[:160]}")
            torch.cuda.synchronize()

            def whole() -> None:
                for call in calls:
                    call()

        times = []
        for _ in range(self.replays + 2):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            whole()
            end.record()
            torch.cuda.synchronize()
            times.append(begin.elapsed_time(end) / 1e3 / len(calls))
        return statistics.median(times[2:])

    def _captured(self, calls: Sequence[Call]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for call in calls:
                call()
        return graph.replay

    def ratio(self, dense: Sequence[Call], ours: Sequence[Call]) -> tuple[float, float, float]:
        """(seconds of dense / seconds of ours, both seconds), measured in turn, the median of three rounds."""
        rounds = [(self.seconds(dense), self.seconds(ours)) for _ in range(3 if self.real else 1)]
        return (
            statistics.median(d / o for d, o in rounds),
            statistics.median(d for d, _ in rounds),
            statistics.median(o for _, o in rounds),
        )

    def copy_gb_s(self) -> float:
        """Bytes read and written a second by a copy of 1 GiB, 10^9."""
        n = 1 << 30 if self.real else 1 << 12
        source = torch.ones(n, dtype=torch.uint8, device=self.device)
        into = torch.empty_like(source)
        return 2 * n / self.seconds([lambda: into.copy_(source)]) / 1e9

    def dense_tflops(self, dtype: torch.dtype) -> float:
        """Of cuBLAS on 8192 x 8192 x 8192, 10^12 operations a second."""
        n = 8192 if self.real else 32
        a, b = (torch.randn(n, n, device=self.device).to(dtype) for _ in range(2))
        return 2 * n**3 / self.seconds([lambda: a @ b]) / 1e12
