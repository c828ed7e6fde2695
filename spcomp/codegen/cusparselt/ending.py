"""`Ending`: what a library's product of 2:4 weights leaves to do, in place wherever the result fits there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from spcomp.codegen.reference.backend import activate
from spcomp.codegen.scratch import Scratch
from spcomp.codegen.triton import device as triton_device
from spcomp.plan import KernelCall


@dataclass(frozen=True, eq=False)
class Ending:
    """``y = activation(product * row_scale * token_scale + bias + residual)``, rounded once.

    One Triton kernel; without Triton plain torch, which allocates. ``activation``: None for the call's.
    """

    call: KernelCall
    bias: torch.Tensor | None
    dtype: torch.dtype
    """Of y."""
    scratch: Scratch
    row_scale: torch.Tensor | None = None
    activation: str | None = None

    def held(self) -> tuple[torch.Tensor | None, ...]:
        """What it keeps on the device."""
        return (self.bias, self.row_scale)

    def __call__(
        self, product: torch.Tensor, m: int, residual: Sequence[torch.Tensor], token_scale: torch.Tensor | None
    ) -> torch.Tensor:
        """product [m or more, n or more], residual of y's shape in any dimensions, token_scale [m or more] or None ->
        y [m, n], contiguous."""
        n = self.call.n
        kind = self.call.epilogue.activation if self.activation is None else self.activation
        other = self.scratch.aligned("residual", residual[0]).view(m, n) if residual else None
        nothing = all(t is None for t in (self.bias, self.row_scale, token_scale, other))
        whole = product.shape[1] == n
        if nothing and kind == "none" and product.dtype == self.dtype:
            return product[:m] if whole else product[:m, :n].contiguous()
        if triton_device.unavailable() is not None:
            return self._plainly(product[:m, :n], other, token_scale, kind)
        from spcomp.codegen.triton.ending_layer import ending

        fits = whole and product.element_size() == self.dtype.itemsize
        y = product[:m].view(self.dtype) if fits else product.new_empty((m, n), dtype=self.dtype)
        with torch.cuda.device(product.device) if product.device.type == "cuda" else nullcontext():
            ending(product, self.row_scale, token_scale, self.bias, other, y, kind).run()
        return y

    def _plainly(
        self, y: torch.Tensor, residual: torch.Tensor | None, token_scale: torch.Tensor | None, kind: str
    ) -> torch.Tensor:
        wide = y.to(torch.float32)
        if self.row_scale is not None:
            wide = wide * self.row_scale
        if token_scale is not None:
            wide = wide * token_scale[: len(y), None]
        if self.bias is not None:
            wide = wide + self.bias
        if residual is not None:
            wide = wide + residual
        return activate(wide, kind).to(self.dtype).contiguous()
