"""`Scratch`: memory on a device that a kernel keeps from call to call."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

ALIGNED = 16
"""Bytes from which compiled kernels take every tensor to begin."""


@dataclass(eq=False)
class Scratch:
    """Pieces by name, one for each thread and stream that asked, kept for the next call.

    While a CUDA graph is captured the piece is the graph's own, so that replays share nothing with other calls.
    """

    _kept: dict[tuple[str, int, int], torch.Tensor] = field(default_factory=dict)

    def floats(self, count: int, device: torch.device) -> torch.Tensor:
        """``count`` float32, contents undefined."""
        return self.piece("floats", (count,), torch.float32, device)

    def piece(self, name: str, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """A contiguous tensor, contents undefined: what was there under this name before is overwritten."""
        nbytes = math.prod(shape) * dtype.itemsize
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return torch.empty(nbytes, dtype=torch.uint8, device=device).view(dtype).reshape(tuple(shape))
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        key = (name, threading.get_ident(), stream)
        kept = self._kept.get(key)
        if kept is None or kept.numel() < nbytes:
            kept = self._kept[key] = torch.empty(nbytes, dtype=torch.uint8, device=device)
        return kept[:nbytes].view(dtype).reshape(tuple(shape))

    def aligned(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """``x`` itself where it is contiguous and begins at a multiple of 16 bytes, else a copy in its piece."""
        if x.is_contiguous() and x.data_ptr() % ALIGNED == 0:
            return x
        piece = self.piece(name, x.shape, x.dtype, x.device)
        piece.copy_(x)
        return piece

    def padded(self, name: str, x: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
        """``x`` [m, k] with zeros below and to the right, in the piece ``name``; itself where nothing is missing."""
        m, k = x.shape
        if (m, k) == (rows, columns):
            return self.aligned(name, x)
        piece = self.piece(name, (rows, columns), x.dtype, x.device)
        piece[:m, :k].copy_(x)
        piece[:m, k:].zero_()
        piece[m:].zero_()
        return piece

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self._kept.values())
