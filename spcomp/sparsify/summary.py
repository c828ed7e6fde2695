"""`PruningSummary`: what was pruned, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerSparsity:
    """Counts of one pruned weight."""

    name: str
    shape: tuple[int, ...]
    """The weight's own shape, as the module stores it."""
    pruned: int
    """Weights that the mask holds at zero."""
    tied: tuple[str, ...] = ()
    """Other modules with the same parameter, counted here and nowhere else."""

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def sparsity(self) -> float:
        """Pruned over elements."""
        return self.pruned / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class PruningSummary:
    """All pruned layers at one step; ``str()`` of it is a table."""

    recipe: str
    step: int
    layers: tuple[LayerSparsity, ...]

    @property
    def sparsity(self) -> float:
        """Pruned over elements, all layers together."""
        elements = sum(layer.elements for layer in self.layers)
        return sum(layer.pruned for layer in self.layers) / elements if elements else 0.0

    def __str__(self) -> str:
        width = max(len(layer.name) for layer in self.layers)
        rows = [f"{self.recipe} at step {self.step}"]
        for layer in self.layers:
            shape = "x".join(map(str, layer.shape))
            tied = f"  tied: {', '.join(layer.tied)}" if layer.tied else ""
            rows.append(f"  {layer.name:<{width}}  {shape:>14}  {layer.sparsity:7.2%}{tied}")
        rows.append(f"  {'all':<{width}}  {'':>14}  {self.sparsity:7.2%}")
        return "\n".join(rows)
