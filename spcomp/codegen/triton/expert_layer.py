"""`GroupedBlocks`: the linear layers of all experts at once, each row of x by its own."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from spcomp.codegen.scratch import Scratch
from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.grouped import blocks_grouped
from spcomp.codegen.triton.launch import Constants, Launch, ceil_div, text_of
from spcomp.encodings.block import Block
from spcomp.encodings.pack import TORCH_DTYPES, PackedTensor
from spcomp.errors import KernelError
from spcomp.experts import starts_of
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
        self.packed = {name: b.to(where) for name, b in packed.buffers.items()}
        self.bias = None if bias is None else bias.detach().to(where).contiguous()
        self.scratch = Scratch()

    @property
    def source(self) -> str:
        return "\n\n".join(text_of(t) for t in (blocks_grouped, finish, activate))

    @property
    def extra_nbytes(self) -> int:
        return (0 if self.bias is None else self.bias.nbytes) + self.scratch.nbytes

    def launch(
        self, x: torch.Tensor, expert_start: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor
    ) -> Launch:
        """What computes y [M, N]; programs for as many tiles as there can be."""
        wide, asked = x.dtype == torch.float32, dict(self.call.schedule)
        block_m = asked.get("block_m", 32 if wide else BLOCK_M)
        constants: Constants = {
            "EXPERTS": self.experts, "N": self.n, "K": self.call.k, "ROWS": self.encoding.rows,
            "COLS": self.encoding.cols, "BLOCK_M": block_m, "BLOCK_K": asked.get("block_k", 32 if wide else 64),
            "STAGES": asked.get("stages", 3), "ACTIVATION": self.call.epilogue.activation,
        }  # fmt: skip
        tiles = ceil_div(len(x), block_m) + self.experts
        b = self.packed
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
                self.launch(self.scratch.aligned("x", x), expert_start, residual, y).run()
        return y


class ExpertsLayer(GroupedBlocks):
    """The same as a layer of a compiled model: ``y[m] = x[m] @ W[expert of m].T``, zeros for rows of no expert.

    ``call``: its ``experts`` matrices one below the other, without bias. Which rows are whose is found on the device.
    """

    def __init__(self, call: KernelCall, packed: PackedTensor, where: torch.device) -> None:
        super().__init__(call, packed, None, call.experts, where)
        self.device = where

    def prepare(self, m: int) -> None:
        """Compile what ``m`` rows take, by computing zeros."""
        x = torch.zeros(m, self.call.k, dtype=TORCH_DTYPES[self.call.dtype], device=self.device)
        self(x, torch.full((self.experts,), m, dtype=torch.int32, device=self.device))

    def __call__(self, x: torch.Tensor, *ends: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """x [M, K] with rows sorted by expert; ends [experts] (int32 or int64), the row at which each share ends: any
        numbers, for they are cut to the rows that are there."""
        y = x.new_zeros(len(x), self.n)
        if y.numel():
            with torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext():
                self.launch(self.scratch.aligned("x", x), starts_of(ends[0], len(x)), None, y).run()
        return y
