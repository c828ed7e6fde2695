"""`Functional`: what a simulated machine computed, beside how long it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

EQUAL = 1e-12
"""Largest error of sums in float64 whose terms come in another order, as a share of the largest result."""


@dataclass(frozen=True)
class FunctionalLayer:
    """One layer, as often as the model called it."""

    name: str
    encoding: str
    rows: int
    macs: int
    """Multiplications that the machine made by weights that are no zero."""
    nonzero_macs: int
    """Nonzeros of the weight times rows."""
    error: float
    """max|y - reference| / max|reference|, in float64."""

    @property
    def equal(self) -> bool:
        return self.error <= EQUAL


@dataclass(frozen=True, eq=False)
class Functional:
    """The model's outputs with its layers computed by the machine, and each layer held against the reference."""

    outputs: tuple[Any, ...] = field(repr=False)
    """Flat, as the captured program gives them."""
    layers: tuple[FunctionalLayer, ...]

    @property
    def equal(self) -> bool:
        """Whether every layer gave what the reference gives."""
        return all(layer.equal for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; without the outputs."""
        return {"equal": self.equal, "macs": self.macs, "layers": [asdict(layer) for layer in self.layers]}

    def summary(self) -> str:
        worst = max((layer.error for layer in self.layers), default=0.0)
        wanted = sum(layer.nonzero_macs for layer in self.layers)
        equal = "equal to the reference" if self.equal else "NOT equal to the reference"
        return (
            f"functional: {len(self.layers)} layers {equal} (largest error {worst:.1e}); "
            f"{self.macs} multiplications by nonzeros, of {wanted}"
        )
