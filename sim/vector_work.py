"""What a vector unit does in a step: simple operations, and special functions such as exp, tanh and divisions.

Counts are those of straightforward code in one precision; they are declared here, once, and used by every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import VectorUnit
from spcomp.sim.workload import Step

KINDS: dict[str, tuple[int, int]] = {"softmax": (4, 1), "norm": (6, 0), "attention": (5, 1)}
"""Kind -> (simple, special) an element. Softmax: maximum, subtract, exp, add up, scale; of attention's scores another
scaling before. Norms: add up, subtract, square, add up, scale, shift."""
FUNCTIONS: dict[str, tuple[int, int]] = {
    "gelu": (4, 1), "silu": (2, 1), "sigmoid": (2, 1), "softplus": (2, 1), "tanh": (0, 1), "exp": (0, 1),
    "log": (0, 1), "erf": (0, 1), "sqrt": (0, 1), "rsqrt": (0, 1), "pow": (0, 2), "sin": (0, 1), "cos": (0, 1),
    "div": (1, 1), "reciprocal": (0, 1), "elu": (2, 1), "mish": (3, 2), "hardswish": (4, 0), "hardsigmoid": (3, 0),
}  # fmt: skip
"""Elementwise ops by the name of their node; any other is one simple operation."""
EPILOGUES: dict[str, tuple[int, int]] = {
    "none": (0, 0), "relu": (1, 0), "gelu": (4, 1), "gelu_tanh": (6, 1), "silu": (2, 1),
}  # fmt: skip
SPECIAL_TERMS = 5
"""Multiply-adds that the energy of a special function counts as: a polynomial of degree five. Assumed."""


@dataclass(frozen=True)
class VectorWork:
    simple: int
    special: int

    def cycles(self, unit: VectorUnit, units: int = 1) -> int:
        """Simple operations and special functions take turns."""
        return ceil(self.simple / (unit.lanes * units)) + ceil(self.special / (unit.special_lanes * units))

    def counts(self) -> tuple[Count, ...]:
        """In float32: additions for simple operations, multiply-adds for special functions."""
        multiplies = SPECIAL_TERMS * self.special
        return Count("add_float32", self.simple + multiplies), Count("mul_float32", multiplies)


def vector_work(step: Step) -> VectorWork:
    """Of what no array does: a layer's epilogue, attention's softmax, norms, elementwise ops."""
    if step.call is not None:
        e = step.call.epilogue
        simple, special = EPILOGUES[e.activation]
        simple += e.bias + e.scale + e.residual
        return VectorWork(step.m * step.n * simple, step.m * step.n * special)
    elements = step.vector_elements
    rows = elements // max(1, step.writes[0].shape[-1]) if step.kind == "norm" and step.writes[0].shape else 0
    simple, special = KINDS.get(step.kind) or FUNCTIONS.get(_plain(step.name), (1, 0))
    return VectorWork(elements * simple, elements * special + 2 * rows)


def _plain(name: str) -> str:
    """``gelu_3`` -> ``gelu``."""
    head, _, number = name.rpartition("_")
    return head if head and number.isdigit() else name
