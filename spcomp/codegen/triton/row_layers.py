"""Linear layers of which single elements are zero: bitmaps, compressed rows, N:M."""

from __future__ import annotations

import torch

from spcomp.codegen.triton.bitmap import bitmap_rows, expanded, ones
from spcomp.codegen.triton.block_layer import adding
from spcomp.codegen.triton.csr import csr_many, csr_one, tokens_last
from spcomp.codegen.triton.finish import activate, finish
from spcomp.codegen.triton.launch import Buffers, Constants, Launch, TritonKernel, ceil_div
from spcomp.codegen.triton.nm import nm_rows
from spcomp.codegen.triton.schedules import bitmap_share
from spcomp.codegen.triton.split import add_parts
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

MOST_NONZEROS = (1 << 31) - 1
"""What kernels address with 32 bits."""
TURN = 64
"""Side of the tiles in which x is turned."""


class BitmapRows(TritonKernel):
    """Schedule ``block_m`` (1, or the tokens of a tile), ``block_n``, ``step`` (columns at a time), ``splits``,
    ``warps``, ``stages``."""

    templates = (bitmap_rows, expanded, ones, add_parts, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        countable(self.call, packed)
        p = packed.buffers
        step, share, _ = bitmap_share(self.call.k, self.call.schedule)
        self.space = space_of(p["masks"], p["row_start"], step)
        made = {"part_start": part_starts(p["masks"], p["row_start"], share)}
        return {"values": in_eights(p["values"]), "masks": p["masks"]}, made

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        splits = len(self.made["part_start"])
        step, share, _ = bitmap_share(call.k, call.schedule)
        constants: Constants = {
            "N": call.n, "K": call.k, "BYTES": self.packed["masks"].shape[1], "SHARE": share, "STEP": step,
            "SPACE": self.space, "BLOCK_M": s["block_m"], "BLOCK_N": s["block_n"], "SPLITS": splits,
            "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        grid = (ceil_div(call.n, s["block_n"]) * ceil_div(len(x), s["block_m"]), splits)
        whole = splits == 1
        parts = y if whole else self.scratch.floats(splits * y.numel(), self.device)
        ending = (self.bias, residual) if whole else (None, None)
        p = self.packed
        arguments = (x, p["values"], p["masks"], self.made["part_start"], *ending, parts, len(x))
        found = [Launch(bitmap_rows, grid, arguments, constants, s["warps"], s["stages"])]
        return found if whole else [*found, adding(call, parts, self.bias, residual, y, splits)]


class CsrRows(TritonKernel):
    """Schedule ``block_m`` (1, or the tokens of a tile), ``block_n``, ``lanes`` (of one row; with many tokens: nonzeros
    in flight), ``warps``, ``stages``."""

    templates = (csr_one, csr_many, tokens_last, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        countable(self.call, packed)
        counts = packed.buffers["counts"].to(torch.int64)
        ends = counts.cumsum(1) + packed.buffers["block_start"][:-1, None]
        starts = torch.cat([packed.buffers["block_start"][:-1, None], ends], dim=1)
        longest = torch.argsort(counts.sum(0), descending=True, stable=True)
        made = {"row_start": starts.to(torch.int32), "order": longest.to(torch.int32)}
        return {name: in_eights(packed.buffers[name]) for name in ("values", "columns")}, made

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        assert isinstance(call.encoding, Csr)
        common: Constants = {
            "N": call.n, "COLUMN_BLOCKS": len(self.made["row_start"]), "BLOCK_COLUMNS": call.encoding.block_columns,
            "BLOCK_N": s["block_n"], "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        tables = (self.packed["values"], self.packed["columns"], self.made["row_start"], self.made["order"])
        row_tiles = ceil_div(call.n, s["block_n"])
        if s["block_m"] == 1:
            constants: Constants = {**common, "K": call.k, "BLOCK_L": s["lanes"]}
            grid = (row_tiles * len(x),)
            return [Launch(csr_one, grid, (x, *tables, self.bias, residual, y), constants, s["warps"], s["stages"])]
        token_tiles = ceil_div(len(x), s["block_m"])
        padded = token_tiles * s["block_m"]
        turned = self.scratch.floats(turned_floats(x, padded), self.device).view(x.dtype)
        constants = {**common, "BLOCK_M": s["block_m"], "UNROLL": s["lanes"]}
        arguments = (turned, *tables, self.bias, residual, y, len(x), padded // 16)
        return [
            turning(x, turned, padded),
            Launch(csr_many, (row_tiles * token_tiles,), arguments, constants, s["warps"], s["stages"]),
        ]


class NmRows(TritonKernel):
    """Schedule ``block_m`` (1, or the tokens of a tile), ``block_n``, ``block_k``, ``splits``, ``warps``,
    ``stages``."""

    templates = (nm_rows, add_parts, finish, activate)

    def laid_out(self, packed: PackedTensor) -> tuple[Buffers, Buffers]:
        p = packed.buffers
        return {"values": p["values"], "control": p["control"].view(torch.int32)}, {}

    def launches(self, x: torch.Tensor, residual: torch.Tensor | None, y: torch.Tensor) -> list[Launch]:
        call, s = self.call, self.schedule
        nm = call.encoding
        assert isinstance(nm, Nm)
        splits = s["splits"]
        constants: Constants = {
            "N": call.n, "K": call.k, "WORDS": nm.sizes((call.n, call.k))[1], "SLOTS_OF_GROUP": nm.n, "GROUP": nm.m,
            "BITS": nm.bits_per_index, "PER_WORD": nm.slots_per_word, "BLOCK_M": s["block_m"],
            "BLOCK_N": s["block_n"], "BLOCK_K": s["block_k"], "SPLITS": splits, "STAGES": s["stages"],
            "ACTIVATION": call.epilogue.activation,
        }  # fmt: skip
        grid = (ceil_div(call.n, s["block_n"]) * ceil_div(len(x), s["block_m"]), splits)
        whole = splits == 1
        parts = y if whole else self.scratch.floats(splits * y.numel(), self.device)
        ending = (self.bias, residual) if whole else (None, None)
        arguments = (x, self.packed["values"], self.packed["control"], *ending, parts, len(x))
        found = [Launch(nm_rows, grid, arguments, constants, s["warps"], s["stages"])]
        return found if whole else [*found, adding(call, parts, self.bias, residual, y, splits)]


def countable(call: KernelCall, packed: PackedTensor) -> None:
    """Raise :class:`KernelError` for more nonzeros than 32 bits count."""
    if packed.buffers["values"].numel() > MOST_NONZEROS:
        found = f"{packed.buffers['values'].numel()} nonzeros, and its kernels count to {MOST_NONZEROS}"
        raise KernelError(f"build the kernel of {call.layer}", found, "a block encoding, or splitting the layer")


def turned_floats(x: torch.Tensor, padded: int) -> int:
    """Memory for x [M, K] turned, in float32."""
    return ceil_div(padded * x.shape[1] * x.element_size(), 4)


def turning(x: torch.Tensor, turned: torch.Tensor, padded: int) -> Launch:
    """x [M, K] -> turned [K, padded], tokens as neighbours and zeros beyond M; padded is a multiple of 16."""
    grid = (ceil_div(x.shape[1], TURN) * ceil_div(padded, TURN),)
    sizes: Constants = {"K": x.shape[1], "BLOCK_K": TURN, "BLOCK_M": TURN}
    return Launch(tokens_last, grid, (x, turned, len(x), padded // 16), sizes, 4)


def in_eights(values: torch.Tensor) -> torch.Tensor:
    """The same with zeros up to a multiple of eight: the last ones are loaded with their neighbours."""
    missing = -len(values) % 8
    return torch.cat([values, values.new_zeros(missing)]) if missing else values


def bits_of(masks: torch.Tensor, step: int) -> torch.Tensor:
    """masks uint8 [N, bytes] -> int64 [N, steps], the ones in every ``step`` bytes."""
    of_byte = torch.zeros(256, dtype=torch.int16)
    for i in range(8):
        of_byte += (torch.arange(256, dtype=torch.int16) >> i) & 1
    counts = of_byte[masks.to(torch.int32)]
    counts = torch.nn.functional.pad(counts, (0, -masks.shape[1] % step))
    return counts.reshape(len(masks), counts.shape[1] // step, step).sum(2, dtype=torch.int64)


def space_of(masks: torch.Tensor, row_start: torch.Tensor, step: int) -> int:
    """Room for the nonzeros of any ``step`` columns of a row, from the last multiple of eight before them on, and eight
    more, which stay empty: a power of two."""
    counts = bits_of(masks, step // 8)
    first = row_start[:-1, None] + counts.cumsum(1) - counts
    most = int((first % 8 + counts).max()) if counts.numel() else 0
    return max(16, 1 << (ceil_div(most, 8) * 8 + 7).bit_length())


def part_starts(masks: torch.Tensor, row_start: torch.Tensor, share: int) -> torch.Tensor:
    """masks uint8 [N, bytes], row_start int64 [N + 1] -> int32 [parts, N]: each row's first nonzero in every part of
    ``share`` bytes."""
    counts = bits_of(masks, share)
    if counts.shape[1] == 0:
        return row_start[None, :-1].to(torch.int32)
    return (row_start[:-1, None] + counts.cumsum(1) - counts).t().contiguous().to(torch.int32)
