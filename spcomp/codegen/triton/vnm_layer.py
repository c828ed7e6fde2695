"""Linear layers in V:2:M: through sparse tensor cores, or gathered and dense."""

from __future__ import annotations

import torch

from spcomp.codegen.triton.block_layer import adding
from spcomp.codegen.triton.csr import tokens_last
from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.launch import Buffers, Constants, Launch, TritonKernel, ceil_div
from spcomp.codegen.triton.row_layers import turned_floats, turning
from spcomp.codegen.triton.split import add_parts
from spcomp.codegen.triton.vnm import vnm_many, vnm_one
from spcomp.codegen.triton.vnm_sp import multiply, pair, vnm_sparse, words
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.vnm import TILE, Vnm
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

TYPES = {"bfloat16": "bf16", "float16": "f16"}
"""As the instruction calls them."""


class VnmSparse(TritonKernel):
    """Schedule ``row_tiles`` (of 16 rows, for each warp), ``tokens`` (eights of them, for each warp), ``splits``,
    ``unroll``, ``warps``, ``stages``. float16 and bfloat16, on NVIDIA's GPUs."""

    templates = (vnm_sparse, multiply, words, pair, tokens_last, add_parts, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        if self.call.dtype not in TYPES:
            found = f"dtype {self.call.dtype}, and sparse tensor cores take {', '.join(TYPES)} here"
            raise KernelError(f"build the kernel of {self.call.layer}", found, "a schedule without row_tiles")
        return {name: b.view(torch.int32) for name, b in packed.buffers.items()}, {}

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        tokens, splits = s["tokens"], s["splits"]
        padded = ceil_div(len(x), 8 * tokens) * 8 * tokens
        turn = tokens > 1
        memory = self.scratch.floats(
            (turned_floats(x, padded) if turn else 0) + (splits * y.numel() if splits > 1 else 0), self.device
        )
        turned = memory[: turned_floats(x, padded)] if turn else x
        parts = memory[len(memory) - splits * y.numel() :] if splits > 1 else y
        common = sizes(call)
        constants: Constants = {
            **common, "TYPE": TYPES[call.dtype], "ROW_TILES": s["row_tiles"], "TOKENS": tokens, "WARPS": s["warps"],
            "UNROLL": s["unroll"], "SPLITS": splits, "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        programs = ceil_div(int(common["TILES"]), s["warps"] * s["row_tiles"])
        grid = (programs * (padded // (8 * tokens)), splits)
        ending = (self.bias, residual) if splits == 1 else (None, None)
        p = self.packed
        arguments = (
            turned.view(torch.int32 if turn else torch.int16), p["values"], p["metadata"], p["columns"], *ending, parts,
            len(x), padded // 16,
        )  # fmt: skip
        found = [Launch(vnm_sparse, grid, arguments, constants, s["warps"], s["stages"])]
        if turn:
            found.insert(0, turning(x, turned.view(x.dtype), padded))
        return found if splits == 1 else [*found, adding(call, parts, self.bias, residual, y, splits)]


class VnmOne(TritonKernel):
    """Schedule ``block_t`` (tiles of 16 rows), ``splits``, ``warps``, ``stages``; a program takes one token."""

    templates = (vnm_one, add_parts, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        return {**packed.buffers, "metadata": packed.buffers["metadata"].view(torch.int32)}, {}

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        splits = s["splits"]
        common = sizes(call)
        constants: Constants = {
            **common, "BLOCK_T": s["block_t"], "SPLITS": splits, "STAGES": s["stages"],
            "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        parts = self.scratch.floats(splits * y.numel(), self.device) if splits > 1 else y
        ending = (self.bias, residual) if splits == 1 else (None, None)
        p = self.packed
        arguments = (x, p["values"], p["metadata"], p["columns"], *ending, parts, len(x))
        grid = (ceil_div(int(common["TILES"]), s["block_t"]) * len(x), splits)
        found = [Launch(vnm_one, grid, arguments, constants, s["warps"], s["stages"])]
        return found if splits == 1 else [*found, adding(call, parts, self.bias, residual, y, splits)]


class VnmMany(TritonKernel):
    """Schedule ``block_m``, ``block_n`` (v at most), ``block_s`` (steps of 32 gathered columns), ``splits``, ``warps``,
    ``stages``."""

    templates = (vnm_many, tokens_last, add_parts, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        p = packed.buffers
        pairs = torch.int32 if p["values"].element_size() == 2 else torch.int64
        return {
            "pairs": p["values"].view(pairs),
            "metadata": p["metadata"].view(torch.int32),
            "columns": p["columns"],
        }, {}

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        splits = s["splits"]
        padded = ceil_div(len(x), s["block_m"]) * s["block_m"]
        first = turned_floats(x, padded)
        memory = self.scratch.floats(first + (splits * y.numel() if splits > 1 else 0), self.device)
        turned = memory[:first].view(x.dtype)
        parts = memory[first:] if splits > 1 else y
        constants: Constants = {
            **sizes(call), "BLOCK_M": s["block_m"], "BLOCK_N": s["block_n"], "BLOCK_S": s["block_s"], "SPLITS": splits,
            "STAGES": s["stages"], "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        ending = (self.bias, residual) if splits == 1 else (None, None)
        p = self.packed
        arguments = (
            turned, p["pairs"], p["metadata"], p["columns"], *ending, parts, len(x), padded // 16,
        )  # fmt: skip
        grid = (ceil_div(call.n, s["block_n"]) * (padded // s["block_m"]), splits)
        found = [turning(x, turned, padded), Launch(vnm_many, grid, arguments, constants, s["warps"], s["stages"])]
        return found if splits == 1 else [*found, adding(call, parts, self.bias, residual, y, splits)]


def sizes(call: KernelCall) -> Constants:
    """The constants that all templates of V:2:M share."""
    vnm = call.encoding
    assert isinstance(vnm, Vnm)
    tiles, steps, _ = vnm.sizes((call.n, call.k))
    return {"N": call.n, "K": call.k, "TILES": tiles, "STEPS": steps, "GROUP": vnm.m, "PANEL": vnm.v // TILE}
