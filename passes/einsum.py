"""Which einsum of a value and a constant is a linear layer."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class EinsumLinear:
    """``linear(flatten(x, last contracted dims), permute(constant, order).reshape(shape))``, the last dimension then
    unflattened to ``results``."""

    order: tuple[int, ...]
    shape: tuple[int, int]
    contracted: int
    results: tuple[int, ...]


def as_linear(equation: str, at: int, rank: int, shape: tuple[int, ...]) -> EinsumLinear | None:
    """The linear layer that ``equation`` is, or None. ``at``: which operand is the constant (of ``shape``);
    ``rank``: of the other one. Its contracted labels must be its last ones, and the constant's own labels the
    result's last ones."""
    match = re.fullmatch(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)", equation.replace(" ", ""))
    if match is None:
        return None
    own, x, out = match.group(1 + at), match.group(2 - at), match.group(3)
    if any(len(set(labels)) != len(labels) for labels in (own, x, out)) or (len(x), len(own)) != (rank, len(shape)):
        return None
    contracted = [label for label in x if label in own]
    results = [label for label in out if label in own]
    leading = [label for label in x if label not in own]
    summed_alone = set(own) - set(contracted) - set(results)
    if not contracted or not results or summed_alone or set(contracted) & set(out):
        return None
    if x != "".join(leading + contracted) or out != "".join(leading + results):
        return None
    order = tuple(own.index(label) for label in results + contracted)
    sizes = tuple(shape[own.index(label)] for label in results)
    inner = math.prod(shape[own.index(label)] for label in contracted)
    return EinsumLinear(order, (math.prod(sizes), inner), len(contracted), sizes)
