"""`BakedCpu`: the backend of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.baked_cpu.body import baked_body
from spcomp.codegen.baked_cpu.conv import BakedConv
from spcomp.codegen.baked_cpu.driver import ENTRY_BYTES
from spcomp.codegen.baked_cpu.emit import LINE_BYTES, SPREAD_TILES, STEP_BYTES
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, TokensKernel
from spcomp.codegen.x86 import memory
from spcomp.codegen.x86.encoder import FLOAT_BYTES
from spcomp.conv_layout import pointwise
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule
from spcomp.targets.host import host_cpu

ENCODINGS = ("csr", "nm", "block")
GROUP_ROWS = 28
"""Rows of W whose sums are in registers at a time; what is left of 32 holds columns of x."""
PANEL_TILES = 8
MOST_PANEL_TILES = 32
FEWEST_ROWS = 16
"""Below this M a tile is mostly padding, and the code costs more bytes than indices do."""
BLOCKS = (
    (0.15, 4, (128, 192, 256, 384)),
    (0.3, 2, (64, 128, 256)),
    (1.0, 1, (64, 128, 256)),
)
"""Up to which density, groups of a block, and columns to choose from. The sparser, the more of the time goes into
reading x from the L2 cache, which is done once a block."""
BLOCK_PRODUCTS = 3000
"""Nonzeros that a block may have: its code, 10 bytes each, should stay in the instruction cache from tile to tile."""


def expected_loads(call: KernelCall) -> float:
    """Columns of x that all groups together load for sixteen rows: those with a nonzero, positions taken as random."""
    rows = dict(call.schedule)["rows"]
    density = min(1.0, call.nonzeros / max(1, call.n * call.k))
    return call.n / rows * call.k * (1 - (1 - density) ** rows)


@dataclass(frozen=True)
class BakedCpu:
    """CSR, N:M and block linear layers for many rows of x; float32, bfloat16 and float16 (sums in float32)."""

    name: str = "baked_cpu"

    def unavailable(self) -> str | None:
        target = host_cpu().target
        if target != "cpu-avx512":
            return f"baked code needs AVX-512 (F, BW and VL), this is {target}"
        return memory.unavailable() or jit.available()

    def capabilities(self) -> frozenset[KernelKey]:
        if self.unavailable() is not None:
            return frozenset()
        return frozenset(
            KernelKey(op, e, d, "cpu-avx512") for op in ("linear", "conv") for e in ENCODINGS for d in MLIR_DTYPES
        )

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        if m < FEWEST_ROWS or call.encoding.name not in ENCODINGS:
            return []
        density = call.nonzeros / max(1, call.n * call.k)
        groups, choice = next((g, c) for most, g, c in BLOCKS if density <= most)
        fitting = [c for c in choice if c * density * GROUP_ROWS * groups <= BLOCK_PRODUCTS]
        columns = max(fitting, default=choice[0])
        shape = (("columns", columns), ("groups", groups))
        panel = () if call.conv is not None else (("panel", PANEL_TILES),)
        return [(*shape, *panel, ("rows", GROUP_ROWS))]

    def extra_nbytes(self, call: KernelCall) -> int:
        """Code, weights and tables; within a few percent where nonzeros are spread evenly."""
        schedule = dict(call.schedule)
        loads, segments = expected_loads(call), call.n / schedule["rows"] * max(1.0, call.k / schedule["columns"])
        loads *= 1 if call.conv is None or pointwise(call.conv) else 2  # each with a move of the pointer
        multiplies = call.nonzeros * (STEP_BYTES + FLOAT_BYTES)
        fetches = (call.nonzeros + loads) * STEP_BYTES * STEP_BYTES / LINE_BYTES / SPREAD_TILES
        sums = 2 * call.n * max(1.0, call.k / schedule["columns"]) * STEP_BYTES
        tables = segments / schedule["groups"] * (3 * ENTRY_BYTES + LINE_BYTES / 2)
        return int(multiplies + loads * STEP_BYTES + fetches + sums + tables) + 2 * memory.PAGE_BYTES

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        schedule = dict(call.schedule)
        limits = {"columns": 1 << 16, "groups": 4, "panel": MOST_PANEL_TILES, "rows": 30}
        if call.conv is not None:
            del limits["panel"]
        if schedule.keys() != limits.keys() or any(not 1 <= schedule[key] <= limits[key] for key in limits):
            raise KernelError(
                f"bake {call.layer} into code", f"the schedule {schedule}",
                f"{', '.join(limits)}, from 1 to {', '.join(map(str, limits.values()))}",
            )  # fmt: skip
        if call.conv is not None:
            return BakedConv(call, packed, bias, scale)
        return TokensKernel(call, packed, bias, baked_body(call, packed, bias))
