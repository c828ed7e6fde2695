"""`GroupedBlocks`: the linear layers of all experts at once, each row of x by its own."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.grouped import blocks_grouped
from spcomp.codegen.triton.launch import Constants, Launch, ceil_div, text_of
from spcomp.encodings.block import Block
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

BLOCK_M = 64
"""Tokens of a tile: experts get few each."""


class GroupedBlocks:
    """``y[m] = activation(x[m] @ W[expert of m].T + bias[expert of m] + residual[m])``.

    ``packed``: the matrices [N, K] of all experts, one under the other, as one block matrix [experts * N, K]; N is a
    multiple of the blocks' rows. ``call``: of that matrix. bias [experts, N] or None. Raises :class:`KernelError`.
    """

    def __init__(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, experts: int, where: torch.device
    ) -> None:
        encoding = packed.encoding
        asked = f"build the kernel of {call.layer} for {experts} experts"
        if not isinstance(encoding, Block) or experts < 1 or call.n % (experts * encoding.rows):
            found = f"a matrix of {call.n} rows in {encoding}"
            raise KernelError(asked, found, "blocks whose rows divide those of each expert")
        if (bias is not None) != call.epilogue.bias or (
            bias is not None and bias.shape != (experts, call.n // experts)
        ):
            found = "no bias" if bias is None else f"a bias {tuple(bias.shape)}"
            raise KernelError(asked, found, f"one of ({experts}, {call.n // experts}), as the epilogue says")
        self.call, self.encoding, self.experts, self.n = call, encoding, experts, call.n // experts
        self.buffers = {name: b.to(where) for name, b in packed.buffers.items()}
        self.bias = None if bias is None else bias.detach().to(where).contiguous()

    @property
    def source(self) -> str:
        return "\n\n".join(text_of(t) for t in (blocks_grouped, finish, activate))

    @property
    def extra_nbytes(self) -> int:
        return 0 if self.bias is None else self.bias.nbytes

    def launch(
        self, x: torch.Tensor, expert_start: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor
    ) -> Launch:
        """What computes y [M, N]; programs for as many tiles as there can be."""
        wide = x.dtype == torch.float32
        constants: Constants = {
            "EXPERTS": self.experts, "N": self.n, "K": self.call.k, "ROWS": self.encoding.rows,
            "COLS": self.encoding.cols, "BLOCK_M": 32 if wide else BLOCK_M, "BLOCK_K": 32 if wide else 64,
            "STAGES": 3, "ACTIVATION": self.call.epilogue.activation,
        }  # fmt: skip
        tiles = ceil_div(len(x), 32 if wide else BLOCK_M) + self.experts
        b = self.buffers
        arguments = (x, b["values"], b["columns"], b["row_start"], expert_start, self.bias, residual, y)
        return Launch(blocks_grouped, (tiles * (self.n // self.encoding.rows),), arguments, constants, 4, 3)

    def __call__(
        self, x: torch.Tensor, expert_start: torch.Tensor, residual: torch.Tensor | None = None
    ) -> torch.Tensor:
        """x [M, K] with rows sorted by expert, expert_start int32 [experts + 1] (row of each expert's first, and M),
        both on the weight's device -> y [M, N]."""
        y = x.new_empty(len(x), self.n)
        if y.numel():
            with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
                self.launch(x.contiguous(), expert_start, residual, y).run()
        return y
