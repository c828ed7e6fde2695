"""The host's measured peaks, remembered on disk beside the tuning cache."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spcomp.targets.host import HostCpu, host_cpu

log = logging.getLogger("spcomp.targets")
PEAKS_VERSION = 6
DENSE_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Row counts at which dense libraries are measured."""
DENSE_SIDES = (512, 1280)
READ_SHARES = (1.25, 4, 16, 48, 192)
"""Working sets beyond the second-level cache whose reading is measured, in sizes of that cache."""


@dataclass(frozen=True)
class Peaks:
    """Measured on this host, one thread: what the analytic cost model is made of.

    Of a host where only the first three are known, the others are what those imply for a core of this kind.
    """

    gflops: float
    """float32 fused multiply-adds, 10^9 operations a second (two each)."""
    stream_gb_s: float
    """Reading memory far larger than the caches, 10^9 bytes a second."""
    cache_gb_s: float
    """Reading what lies in the last-level cache, 10^9 bytes a second."""
    l1_gb_s: float = 0.0
    """Reading what lies in the first-level cache; 0: two registers of 64 bytes a cycle."""
    l2_gb_s: float = 0.0
    """Reading what lies in the second-level cache; 0: half a register a cycle, or the last level's if that is more."""
    far_gb_s: tuple[float, ...] = ()
    """Reading working sets of :data:`READ_SHARES`; empty: ``cache_gb_s``, then ``stream_gb_s``."""
    l2_latency_ns: float = 0.0
    """From asking to having a line of the second-level cache, 10^-9 s; 0: not measured, as the next three."""
    l3_latency_ns: float = 0.0
    """The same of the last-level cache."""
    l2_write_gb_s: float = 0.0
    """Writing what lies in the second-level cache, 10^9 bytes a second."""
    mixed_loads_gb_s: float = 0.0
    """Loads that multiply-adds and broadcasts take from the first-level cache, 64 bytes each, 10^9 bytes a second."""
    permuted_loads_gb_s: float = 0.0
    """Loads that permutes of two registers and multiply-adds take from the first-level cache, 64 bytes each; 0: not
    measured."""
    pack_ns: float = 0.0
    """One 16 x 16 block of activations packed into tiles, 10^-9 s; 0: 80 cycles."""
    unpack_ns: float = 0.0
    """The same unpacked, with a bias."""
    mispredict_ns: float = 0.0
    """A loop whose end was not foreseen, 10^-9 s; 0: 18 cycles. Of 4096 rows, some of which the core remembers."""
    surprise_ns: float = 0.0
    """The same where eight sums are in flight and no row is remembered; 0: ``mispredict_ns``."""
    learned_ends: float = 0.0
    """Ends of loops, in an order that comes again and again, that the core remembers; 0: not known."""
    call_us: float = 1.0
    """A result allocated and a compiled function entered from Python, 10^-6 s."""
    mkl_near: tuple[float, ...] = ()
    """GFLOP/s that MKL reaches at :data:`DENSE_ROWS` rows of a square weight of :data:`DENSE_SIDES`'s first side, which
    lies in L2; empty: 0.85 of peak."""
    mkl_far: tuple[float, ...] = ()
    """The same of its second side, which does not."""
    onednn_near: tuple[float, ...] = ()
    """The same of oneDNN with a weight that was laid out before."""
    onednn_far: tuple[float, ...] = ()

    @property
    def ghz(self) -> float:
        """Clock implied by two 16-lane fused multiply-adds a cycle."""
        return self.gflops / 64

    def reads(self, nbytes: float, host: HostCpu) -> float:
        """GB/s at which a loop reads working sets of so many bytes again and again."""
        if nbytes <= host.l1d_bytes * 0.75:
            return self.l1_gb_s or 2 * 64 * self.ghz
        l2 = host.l2_bytes or 1 << 20
        near = max(self.cache_gb_s, self.l2_gb_s or 32 * self.ghz)
        if nbytes <= l2 / 2:
            return near
        if not self.far_gb_s:
            return self.stream_gb_s if nbytes > host.l3_bytes else self.cache_gb_s
        marks = [(l2 / 2, near), *zip((share * l2 for share in READ_SHARES), self.far_gb_s, strict=True)]
        for (lo, a), (hi, b) in itertools.pairwise(marks):
            if nbytes < hi:
                share = math.log(nbytes / lo) / math.log(hi / lo)
                return float(a ** (1 - share) * b**share)
        return marks[-1][1]

    def cycles(self, nanoseconds: float, otherwise: float) -> float:
        """A measured time in cycles; ``otherwise`` where it is not known."""
        return nanoseconds * self.ghz if nanoseconds > 0 else otherwise

    @property
    def plausible(self) -> bool:
        """Whether these can be figures of a machine: positive, finite, lists of the right length."""
        for name, value in asdict(self).items():
            numbers = value if isinstance(value, tuple | list) else (value,)
            least = 0.0 if name in _OPTIONAL else 1e-9
            if not all(type(v) in (int, float) and math.isfinite(v) and v >= least for v in numbers):
                return False
            if name in _LENGTHS and len(value) not in (0, _LENGTHS[name]):
                return False
        return True


_LENGTHS = {"far_gb_s": len(READ_SHARES)} | dict.fromkeys(
    ("mkl_near", "mkl_far", "onednn_near", "onednn_far"), len(DENSE_ROWS)
)
_OPTIONAL = (
    "l1_gb_s", "l2_gb_s", "pack_ns", "unpack_ns", "mispredict_ns", "l2_latency_ns", "l3_latency_ns", "l2_write_gb_s",
    "mixed_loads_gb_s", "surprise_ns", "learned_ends",
    "permuted_loads_gb_s",
)  # fmt: skip


def read_peaks(text: str) -> Peaks:
    """Peaks from their JSON. Raises ValueError or TypeError for anything else."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.pop("version", None) != PEAKS_VERSION:
        raise ValueError("not peaks of this version")
    unknown = data.keys() ^ {f.name for f in fields(Peaks)}
    if unknown:
        raise ValueError(f"fields {sorted(unknown)}")
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
    found = Peaks(**values)
    if not found.plausible:
        raise ValueError("figures of no machine")
    return found


@functools.cache
def host_peaks(folder: Path, probe: Callable[[], Peaks]) -> Peaks:
    """Measured by ``probe`` once per host; read from ``folder`` afterwards. A file that cannot be read or written costs
    the measurement again."""
    path = folder / f"peaks-{host_cpu().digest}.json"
    try:
        return read_peaks(path.read_text())
    except (OSError, ValueError, TypeError) as error:
        log.debug("no measured peaks in %s: %s", path, error)
    found = probe()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"version": PEAKS_VERSION, **asdict(found)}))
        temporary.replace(path)
    except OSError as error:
        log.debug("cannot remember the peaks: %s", error)
    return found
