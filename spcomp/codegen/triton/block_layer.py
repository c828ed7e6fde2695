"""`BlocksKernel`: a block-sparse linear layer, for many rows or for few."""

from __future__ import annotations

import torch

from spcomp.codegen.triton.blocks import blocks_many
from spcomp.codegen.triton.blocks_decode import blocks_few
from spcomp.codegen.triton.device import multiprocessors
from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.launch import Buffers, Constants, Launch, TritonKernel, ceil_div
from spcomp.codegen.triton.split import add_parts
from spcomp.encodings.block import Block
from spcomp.encodings.pack import PackedTensor
from spcomp.plan import KernelCall

SIDES = (16, 32, 64, 128)
"""Block sides that tensor cores can take."""
ADD_BLOCK = 1024


class BlocksMany(TritonKernel):
    """Many rows: schedule ``block_m``, ``block_k``, ``group``, ``per_unit`` (programs a multiprocessor), ``warps``,
    ``stages``."""

    templates = (blocks_many, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        heaviest = torch.argsort(packed.buffers["row_start"].diff(), descending=True, stable=True)
        return packed.buffers, {"order": heaviest.to(torch.int32)}

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        assert isinstance(call.encoding, Block)
        rows, cols = call.encoding.rows, call.encoding.cols
        tiles = ceil_div(len(x), s["block_m"]) * ceil_div(call.n, rows)
        constants: Constants = {
            "N": call.n, "K": call.k, "ROWS": rows, "COLS": cols, "BLOCK_M": s["block_m"], "BLOCK_K": s["block_k"],
            "GROUP": s["group"], "STAGES": s["stages"], "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        p = self.packed
        arguments = (
            x, p["values"], p["columns"], p["row_start"], self.made["order"], self.bias, residual, y, len(x),
        )  # fmt: skip
        programs = min(tiles, s["per_unit"] * multiprocessors(self.device))
        return [Launch(blocks_many, (programs,), arguments, constants, s["warps"], s["stages"])]


class BlocksFew(TritonKernel):
    """Few rows: schedule ``block_m`` (1, or the tokens of a tile), ``block_n``, ``block_k``, ``splits``, ``warps``,
    ``stages``."""

    templates = (blocks_few, add_parts, finish, activate)

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        assert isinstance(call.encoding, Block)
        rows, cols = call.encoding.rows, call.encoding.cols
        splits = s["splits"]
        constants: Constants = {
            "N": call.n, "K": call.k, "ROWS": rows, "COLS": cols, "BLOCK_M": s["block_m"], "BLOCK_N": s["block_n"],
            "BLOCK_K": s["block_k"], "SPLITS": splits, "STAGES": s["stages"], "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        p = self.packed
        pieces = ceil_div(call.n, rows) * (rows // s["block_n"])
        grid = (pieces * ceil_div(len(x), s["block_m"]), splits)
        whole = splits == 1
        parts = y if whole else self.scratch.floats(splits * y.numel(), self.device)
        ending = (self.bias, residual) if whole else (None, None)
        arguments = (x, p["values"], p["columns"], p["row_start"], *ending, parts, len(x))
        found = [Launch(blocks_few, grid, arguments, constants, s["warps"], s["stages"])]
        return found if whole else [*found, adding(call, parts, self.bias, residual, y, splits)]


def adding(
    call: KernelCall,
    parts: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    y: torch.Tensor,
    splits: int,
) -> Launch:
    """The second pass: parts float32 [splits, M, N] -> y [M, N]."""
    constants: Constants = {"N": call.n, "SPLITS": splits, "BLOCK": ADD_BLOCK, "ACTIVATION": call.epilogue.activation}
    grid = (len(y), ceil_div(call.n, ADD_BLOCK))
    return Launch(add_parts, grid, (parts, bias, residual, y, len(y)), constants, 4)
