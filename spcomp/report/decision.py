"""`LayerDecision`: what was chosen for one layer and why. The rows of ``explain()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class RangeDecision:
    """What serves one range of row counts."""

    rows: str
    kernel: str
    """``backend encoding {schedule}``."""
    runner_up: str
    measured_us: float
    predicted_us: float
    dense_us: float
    """The best dense program at the same row count."""
    at_rows: int
    """The row count at which the times were taken."""
    source: str = ""
    """Where the times come from, if nobody took them here: ``estimated from ...``, ``predicted by ...``."""

    @property
    def estimated(self) -> bool:
        """Whether no clock took these times."""
        return self.source.startswith(("estimated", "predicted"))

    @property
    def speedup(self) -> float:
        return self.dense_us / self.measured_us if self.measured_us else 1.0


@dataclass(frozen=True)
class LayerDecision:
    """One layer of ``explain()``."""

    layer: str
    slot: int
    n: int
    k: int
    dtype: str
    zeros: float
    """Share of zeros in the weight, 0 to 1."""
    pattern: str
    """The tightest pattern that was found."""
    encoding: str
    reason: str
    dense_nbytes: int
    nbytes: int
    ranges: tuple[RangeDecision, ...]
    error: float
    """max|y - y64| / max|y64| of the compile-time check on random inputs."""
    quantize: str = ""
    """``"int8"`` where a kernel of this layer computes so; then ``error`` is against the layer that was not."""
    error_limit: float = 0.0
    """What ``error`` may be at most, by arithmetic, where the layer is quantised."""
    device: str = ""
    """What it was planned for, where that is no CPU: ``cuda: NVIDIA H200 (cuda:0)``."""
    layout: str = ""
    """In which layouts a convolution reads and makes activations, and why, where the program has layouts."""

    @property
    def sparse(self) -> bool:
        return self.encoding not in ("dense", "dense int8")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        fields = dict(data)
        fields["ranges"] = tuple(RangeDecision(**r) for r in fields["ranges"])
        return cls(**fields)
