"""spcomp: a compiler and a simulator for sparse neural networks that share one lowered program.

The public names load on first use, so that ``import spcomp.sim`` brings in no torch.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spcomp.api import compile
    from spcomp.artifact import load
    from spcomp.compiled import CompiledModule
    from spcomp.errors import SpcompError
    from spcomp.forecast import what_if
    from spcomp.plan import KernelPlan
    from spcomp.report.explain import Explanation
    from spcomp.report.simulated import SimReport
    from spcomp.report.what_if import WhatIf
    from spcomp.simulation import simulate
    from spcomp.sparsify import Recipe, sparsify
    from spcomp.sparsity.measure import measure
    from spcomp.sparsity.pattern import NM, VNM, Block, Unstructured

_HOMES = {
    "NM": "spcomp.sparsity.pattern",
    "Block": "spcomp.sparsity.pattern",
    "CompiledModule": "spcomp.compiled",
    "Explanation": "spcomp.report.explain",
    "KernelPlan": "spcomp.plan",
    "Recipe": "spcomp.sparsify",
    "SimReport": "spcomp.report.simulated",
    "SpcompError": "spcomp.errors",
    "Unstructured": "spcomp.sparsity.pattern",
    "VNM": "spcomp.sparsity.pattern",
    "WhatIf": "spcomp.report.what_if",
    "compile": "spcomp.api",
    "load": "spcomp.artifact",
    "measure": "spcomp.sparsity.measure",
    "simulate": "spcomp.simulation",
    "sparsify": "spcomp.sparsify",
    "what_if": "spcomp.forecast",
}
__all__ = [
    "NM",
    "VNM",
    "Block",
    "CompiledModule",
    "Explanation",
    "KernelPlan",
    "Recipe",
    "SimReport",
    "SpcompError",
    "Unstructured",
    "WhatIf",
    "compile",
    "load",
    "measure",
    "simulate",
    "sparsify",
    "what_if",
]

logging.getLogger("spcomp").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'spcomp' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
