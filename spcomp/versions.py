"""Versions of what generates code: kernels and timings of other ones are not ours."""

from __future__ import annotations

import importlib.metadata

import torch


def versions() -> str:
    """Versions of everything that generates code, for cache keys and manifests."""
    found = [f"torch={torch.__version__}"]
    for name in ("torch-mlir", "spcomp"):
        found.append(f"{name}={_version(name)}")
    return " ".join(found)


def device_versions() -> str:
    """The same for a GPU: Triton and CUDA in the place of torch-mlir."""
    cuda = torch.version.cuda or torch.version.hip or "none"
    return f"torch={torch.__version__} cuda={cuda} triton={_version('triton')} spcomp={_version('spcomp')}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
