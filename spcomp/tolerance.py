"""How far a compiled result may be from the float64 truth, by dtype: max|y - y64| / max|y64|."""

from __future__ import annotations

TOLERANCES: dict[str, float] = {"float64": 1e-10, "float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-3}
"""Twice the dense program's own error is allowed where that is larger."""
