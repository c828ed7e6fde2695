"""What a convolution means here: patches of x times the weight matrix, zeros of the weight skipped, in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from spcomp.codegen.reference.backend import activate, linear
from spcomp.conv_shape import ConvShape


def patches(x: torch.Tensor, conv: ConvShape) -> torch.Tensor:
    """x [B, C, H, W] (or [B, C, W]) -> [B, pixels, k]: row m of the product, columns ordered (r, s, c)."""
    planes = x.reshape(x.shape[0], conv.channels, conv.height, conv.width)
    found = F.unfold(planes, conv.kernel, conv.dilation, conv.padding, conv.stride)
    per_channel = found.reshape(x.shape[0], conv.channels, conv.kernel[0] * conv.kernel[1], conv.pixels)
    return per_channel.permute(0, 3, 2, 1).reshape(x.shape[0], conv.pixels, conv.k)


def conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    shape: ConvShape,
    bias: torch.Tensor | None,
    activation: str,
    scale: torch.Tensor | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:
    """``activation(conv(x, weight) * scale + bias + residual)`` in float64.

    x [B, C, H, W] (or [B, C, W]), weight [n, k] as :func:`~spcomp.encodings.matrix.matrix_of` has it, scale and bias
    [n]. A weight whose bits are +0 is skipped; padding is a zero that is multiplied.
    """
    product = linear(patches(x.double(), shape), weight, None, "none")
    y = product.movedim(-1, 1).reshape(x.shape[0], *shape.size(weight.shape[0]))
    return finish(y, bias, activation, scale, residual)


def finish(
    y: torch.Tensor,
    bias: torch.Tensor | None,
    activation: str,
    scale: torch.Tensor | None,
    residual: torch.Tensor | None,
) -> torch.Tensor:
    """The epilogue on planes y [B, n, ...] in float64."""
    across = (-1, *(1 for _ in y.shape[2:]))
    if scale is not None:
        y = y * scale.double().reshape(across)
    if bias is not None:
        y = y + bias.double().reshape(across)
    if residual is not None:
        y = y + residual.double()
    return activate(y, activation)
