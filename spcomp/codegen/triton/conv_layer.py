"""`BlocksConv`: a block-sparse convolution."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from spcomp.codegen.scratch import Scratch
from spcomp.codegen.triton.conv import blocks_conv
from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.launch import Constants, Launch, ceil_div, text_of
from spcomp.encodings.block import Block
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall


class BlocksConv:
    """Schedule ``block_m`` (pixels), ``block_k``, ``warps``, ``stages``. It works with the channels last; planes as
    they are get turned before and after, in memory that the kernel keeps."""

    last_served = True

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, where: torch.device) -> None:
        if call.conv is None or not isinstance(packed.encoding, Block) or call.epilogue.scale:
            found = f"op {call.op} in {packed.encoding}, {call.epilogue}"
            raise KernelError(
                f"build the kernel of {call.layer}", found, "a convolution in blocks, its scale folded in"
            )
        self.call, self.conv, self.encoding = call, call.conv, packed.encoding
        self.buffers = {name: b.to(where) for name, b in packed.buffers.items()}
        self.bias = None if bias is None else bias.detach().to(where).contiguous()
        self.scratch = Scratch()

    @property
    def source(self) -> str:
        return "\n\n".join(text_of(t) for t in (blocks_conv, finish, activate))

    @property
    def extra_nbytes(self) -> int:
        return (0 if self.bias is None else self.bias.nbytes) + self.scratch.nbytes

    def launch(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> Launch:
        """x [B, C, H, W], y and residual [B, n, ...], all with the channels last."""
        conv, s = self.conv, dict(self.call.schedule)
        m = len(x) * conv.pixels
        constants: Constants = {
            "N": self.call.n, "C": conv.channels, "HEIGHT": conv.height, "WIDTH": conv.width,
            "OUT_HEIGHT": conv.output[0], "OUT_WIDTH": conv.output[1], "TAPS_DOWN": conv.kernel[0],
            "TAPS": conv.kernel[1], "STRIDE_H": conv.stride[0], "STRIDE_W": conv.stride[1],
            "PAD_H": conv.padding[0], "PAD_W": conv.padding[1], "DILATION_H": conv.dilation[0],
            "DILATION_W": conv.dilation[1], "ROWS": self.encoding.rows, "COLS": self.encoding.cols,
            "BLOCK_M": s["block_m"], "BLOCK_K": s["block_k"], "STAGES": s["stages"],
            "ACTIVATION": self.call.epilogue.activation,
        }  # fmt: skip
        grid = (ceil_div(m, s["block_m"]) * ceil_div(self.call.n, self.encoding.rows),)
        b = self.buffers
        arguments = (x, b["values"], b["columns"], b["row_start"], self.bias, residual, y, m)
        return Launch(blocks_conv, grid, arguments, constants, s["warps"], s["stages"])

    def prepare(self, m: int) -> None:
        """Compile what ``m`` pixels take, by computing zeros."""
        images, dtype = max(1, m // self.conv.pixels), TORCH_DTYPES[self.call.dtype]
        where = self.buffers["values"].device
        x = torch.zeros(images, self.conv.channels, self.conv.height, self.conv.width, dtype=dtype, device=where)
        other = torch.zeros(images, self.call.n, *self.conv.output, dtype=dtype, device=where)
        self.on_last(x, *((other,) if self.call.epilogue.residual else ()))

    def on_last(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        """x [B, C, H, W] (and a residual) -> [B, n, H', W'], all in ``torch.channels_last``."""
        high, wide = self.conv.output
        y = x.new_empty(len(x), high, wide, self.call.n).permute(0, 3, 1, 2)
        self._run(y, x, *residual)
        return y

    def _run(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        """y with the channels last; the others as they come."""
        if y.numel():
            other = self._last("residual", residual[0]) if residual else None
            with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
                self.launch(self._last("x", x), other, y).run()

    def _last(self, name: str, planes: torch.Tensor) -> torch.Tensor:
        """The same with the channels last, turned in scratch memory where it is not."""
        return self.scratch.aligned(name, planes.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    @property
    def into_served(self) -> bool:
        return True

    def into(self, y: torch.Tensor, x: torch.Tensor, *residual: torch.Tensor) -> None:
        """x [B, C, ...] -> y [B, n, ...], planes as they are; nothing is allocated once there is scratch memory."""
        conv, n = self.conv, self.call.n
        high, wide = conv.output
        planes = x.reshape(len(x), conv.channels, conv.height, conv.width)
        others = tuple(r.reshape(len(x), n, high, wide) for r in residual)
        last = self.scratch.piece("y", (len(x), high, wide, n), x.dtype, x.device).permute(0, 3, 1, 2)
        self._run(last, planes, *others)
        y.view(len(x), n, high, wide).copy_(last)

    def __call__(self, x: torch.Tensor, *residual: torch.Tensor) -> torch.Tensor:
        y = x.new_empty(len(x), *self.conv.size(self.call.n))
        self.into(y, x, *residual)
        return y
