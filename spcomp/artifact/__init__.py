"""The saved form of a compiled model: one safetensors file with a JSON manifest. No pickle, nothing evaluated."""

from __future__ import annotations

from spcomp.artifact.loading import load
from spcomp.artifact.saving import save

__all__ = ["load", "save"]
