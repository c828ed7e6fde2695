"""What a layer would gain from zeros that it does not have yet: the figures of ``what_if()``, as data."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prospect:
    """One layer pruned to one pattern at one share of zeros."""

    pattern: str
    """``unstructured``, or as patterns print: ``nm 2:4``, ``block 8x8``."""
    zeros: float
    """The share that was asked for, 0 to 1; of blocks, for block patterns."""
    found: float
    """The share of zeros that the pruned weight really has; 0.0 where it could not be pruned so."""
    encoding: str
    """What would store it; empty where nothing would."""
    nbytes: int
    """Bytes of the packed weight and of generated code (predicted); the dense bytes where nothing would store it."""
    us: tuple[float, ...]
    """Microseconds of the fastest kernels at each of the layer's row counts; empty where there are none."""
    speedups: tuple[float, ...]
    """Best dense over that, at each row count."""
    reason: str
    """Why it pays, or why not."""

    @property
    def speedup(self) -> float | None:
        """The geometric mean over the row counts; None where nothing would serve."""
        if not self.speedups:
            return None
        return math.exp(sum(map(math.log, self.speedups)) / len(self.speedups))

    @property
    def least(self) -> float | None:
        """The speed-up at the worst row count; None where nothing would serve."""
        return min(self.speedups, default=None)

    @property
    def pays(self) -> bool:
        """Whether it is slower than best dense at no row count: then ``compile`` would make it sparse."""
        return self.least is not None and self.least >= 1.0

    def to_dict(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "zeros": self.zeros,
            "found": self.found,
            "encoding": self.encoding,
            "nbytes": self.nbytes,
            "us": list(self.us),
            "speedups": list(self.speedups),
            "speedup": self.speedup,
            "pays": self.pays,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class LayerProspects:
    """Layers that are alike in sizes, dtype, epilogue and row counts; the first of them was looked at."""

    layers: tuple[str, ...]
    n: int
    k: int
    dtype: str
    conv: str
    """The geometry of a convolution as text; empty for a linear layer."""
    zeros: float
    """Share of zeros in the first one's weight as it is now."""
    row_counts: tuple[int, ...]
    """M, the rows that the examples bring, ascending."""
    dense_us: tuple[float, ...]
    """Best dense at each of them, microseconds."""
    dense_nbytes: int
    """Of one weight."""
    prospects: tuple[Prospect, ...]

    @property
    def name(self) -> str:
        """The first layer, and how many more there are."""
        return self.layers[0] + (f" and {len(self.layers) - 1} more" if len(self.layers) > 1 else "")

    def at(self, pattern: str, zeros: float) -> Prospect | None:
        """The prospect of a pattern at a share of zeros; None if that was not asked."""
        return next((p for p in self.prospects if p.pattern == pattern and p.zeros == zeros), None)

    @property
    def crossovers(self) -> dict[str, float | None]:
        """By pattern, the least share of zeros at which it pays; None where it never does on the grid.

        Between the last share that does not pay and the first that does, the speed-up at the worst row count is taken
        to be a straight line. Where the first share on the grid pays already, that share.
        """
        patterns = dict.fromkeys(p.pattern for p in self.prospects)
        return {name: crossover([p for p in self.prospects if p.pattern == name]) for name in patterns}

    def to_dict(self) -> dict[str, Any]:
        return {
            "layers": list(self.layers),
            "n": self.n,
            "k": self.k,
            "dtype": self.dtype,
            "conv": self.conv,
            "zeros": self.zeros,
            "row_counts": list(self.row_counts),
            "dense_us": list(self.dense_us),
            "dense_nbytes": self.dense_nbytes,
            "crossovers": self.crossovers,
            "prospects": [p.to_dict() for p in self.prospects],
        }


@dataclass(frozen=True)
class ModelProspect:
    """All layers that were looked at, pruned to one pattern at one share of zeros, where that pays; the rest dense."""

    pattern: str
    zeros: float
    speedups: tuple[float, ...]
    """For each example, the time of best dense in these layers over the time that they would take. Of the rest of the
    model (attention, norms, pooling) nothing is known here: the whole model gains less."""
    nbytes: int
    """Of the weights of these layers, each once."""
    dense_nbytes: int
    paying: int
    """How many layers would be sparse."""

    @property
    def speedup(self) -> float:
        """The geometric mean over the examples."""
        return math.exp(sum(map(math.log, self.speedups)) / len(self.speedups))

    def to_dict(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "zeros": self.zeros,
            "speedups": list(self.speedups),
            "nbytes": self.nbytes,
            "dense_nbytes": self.dense_nbytes,
            "paying": self.paying,
        }


def crossover(prospects: list[Prospect]) -> float | None:
    """Of one layer and pattern; see :attr:`LayerProspects.crossovers`."""
    ordered = sorted(prospects, key=lambda p: p.zeros)
    if ordered and ordered[0].pays:
        return ordered[0].zeros
    for before, after in itertools.pairwise(ordered):
        if not after.pays:
            continue
        low, high = before.least, after.least
        if low is None or high is None or low >= high:
            return after.zeros
        return before.zeros + (after.zeros - before.zeros) * (1.0 - low) / (high - low)
    return None
