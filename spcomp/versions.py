"""Versions of what generates code: kernels and timings of other ones are not ours."""

from __future__ import annotations

import importlib.metadata

import torch


def versions() -> str:
    """Versions of everything that generates code, for cache keys and manifests."""
    found = [f"torch={torch.__version__}"]
    for name in ("torch-mlir", "spcomp"):
        try:
            found.append(f"{name}={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name}=none")
    return " ".join(found)
