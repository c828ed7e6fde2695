"""Whether there is a CUDA device, and what is missing where there is none."""

from __future__ import annotations


def cuda_missing() -> str | None:
    """Why torch cannot use a CUDA device here, or None where it can."""
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return (
        f"torch {torch.__version__} was built for CUDA {torch.version.cuda or torch.version.hip}, but finds no device"
    )
