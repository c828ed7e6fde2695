"""Dense convolutions: torch's own, and oneDNN with a weight reordered once, planes as they are or channels last.

The scale of a folded BatchNorm is multiplied into their copy of the weight, as every dense compiler does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from spcomp.codegen.reference.backend import activate
from spcomp.encodings.matrix import weight_of
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall


def conv_members(dtype: str) -> tuple[str, ...]:
    """The members that work here."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if available and hasattr(torch.ops.mkldnn, "_convolution_pointwise") and dtype in ("float32", "bfloat16"):
        return ("onednn", "channels_last", "conv")
    return ("conv",)


def conv_member(
    name: str,
    call: KernelCall,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scale: torch.Tensor | None,
    images: int,
) -> Kernel:
    """One member: weight [n, k], bias and scale [n]; made for about ``images`` images a call."""
    match name:
        case "conv":
            return TorchConv(call, weight, bias, scale)
        case "onednn" | "channels_last":
            return OneDnnConv(call, weight, bias, scale, images, name == "channels_last")
        case _:
            raise KernelError(
                f"build the dense kernel of {call.layer}", f"no member {name[:40]!r} here", "tuning again"
            )


class TorchConv:
    """``F.conv1d`` or ``F.conv2d`` with the epilogue after it."""

    source = "torch.nn.functional.conv2d"

    def __init__(
        self, call: KernelCall, weight: torch.Tensor, bias: torch.Tensor | None, scale: torch.Tensor | None
    ) -> None:
        self.call = call
        self.weight, self.bias = _folded(call, weight, scale), bias
        self.pairs = _pairs(call)

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        run = F.conv2d if x.dim() == 4 else F.conv1d
        stride, padding, dilation = self.pairs
        y = run(x, self.weight, self.bias, stride=stride, padding=padding, dilation=dilation)
        return _finish(y, self.call.epilogue.activation, residual)


class OneDnnConv:
    """oneDNN's convolution on a reordered weight, bias and ReLU fused."""

    source = "torch.ops.mkldnn._convolution_pointwise"

    def __init__(
        self,
        call: KernelCall,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        scale: torch.Tensor | None,
        images: int,
        channels_last: bool,
    ) -> None:
        assert call.conv is not None
        self.call, self.bias, self.last = call, bias, channels_last
        self.pairs = _pairs(call)
        planes = (call.conv.channels, *(call.conv.height, call.conv.width)[2 - call.conv.dims :])
        dense = _folded(call, weight, scale)
        if call.conv.dims == 1:
            dense, planes = dense.unsqueeze(2), (planes[0], 1, planes[1])
            self.pairs = [[1, *self.pairs[0]], [0, *self.pairs[1]], [1, *self.pairs[2]]]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        stride, padding, dilation = self.pairs
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            dense.contiguous(memory_format=layout), padding, stride, dilation, 1, [max(1, images), *planes]
        )
        self.relu = call.epilogue.activation == "relu"
        self.fused = "relu" if self.relu and not call.epilogue.residual else "none"

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        stride, padding, dilation = self.pairs
        flat = x.dim() == 3
        planes = x.unsqueeze(2) if flat else x
        if self.last:
            planes = planes.contiguous(memory_format=torch.channels_last)
        y: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            planes, self.weight, self.bias, padding, stride, dilation, 1, self.fused, [], ""
        )
        y = y.squeeze(2) if flat else y
        return y.contiguous() if self.fused == "relu" else _finish(y, self.call.epilogue.activation, residual)

    @property
    def last_served(self) -> bool:
        return self.last and self.call.conv is not None and self.call.conv.dims == 2

    def on_last(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        stride, padding, dilation = self.pairs
        planes = x.contiguous(memory_format=torch.channels_last)
        run = torch.ops.mkldnn._convolution_pointwise
        y: torch.Tensor
        if residual:
            other = residual[0].contiguous(memory_format=torch.channels_last)
            y = run.binary(
                planes, other, self.weight, self.bias, padding, stride, dilation, 1, "add", 1.0,
                "relu" if self.relu else None, [], None,
            )  # fmt: skip
        else:
            y = run(planes, self.weight, self.bias, padding, stride, dilation, 1, self.fused, [], "")
        y = y if self.relu else activate(y, self.call.epilogue.activation)
        return y.contiguous(memory_format=torch.channels_last)


def _folded(call: KernelCall, weight: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    assert call.conv is not None
    if scale is not None:
        weight = (weight.float() * scale.float()[:, None]).to(weight.dtype)
    # `contiguous` copies nothing of a 1x1 kernel, and strides that look like channels last make torch reorder planes
    return weight_of(weight, call.conv.weight_shape).clone(memory_format=torch.contiguous_format)


def _pairs(call: KernelCall) -> list[list[int]]:
    """Stride, padding and dilation, of one number in one dimension."""
    assert call.conv is not None
    dims = call.conv.dims
    return [list(p[2 - dims :]) for p in (call.conv.stride, call.conv.padding, call.conv.dilation)]


def _finish(y: torch.Tensor, activation: str, residual: tuple[torch.Tensor, ...]) -> torch.Tensor:
    y = y.contiguous()
    for other in residual:
        y += other
    return y.relu_() if activation == "relu" else activate(y, activation)
