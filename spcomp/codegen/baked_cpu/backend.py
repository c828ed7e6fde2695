"""`BakedCpu`: the backend of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.baked_cpu.body import baked_body
from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, TokensKernel
from spcomp.codegen.x86 import memory
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
SPARSE = 0.15
"""Up to this density, reading x from the L2 cache for every group is what takes time: a block then has four groups."""
BLOCKS = ((1, 2048, (64, 128, 256)), (4, 3072, (128, 256, 384)))
"""Groups in a block; nonzeros that it may have, so that its code stays in the instruction cache; columns to choose from."""


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
        return frozenset(KernelKey("linear", e, d, "cpu-avx512") for e in ENCODINGS for d in MLIR_DTYPES)

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        if m < FEWEST_ROWS or call.encoding.name not in ENCODINGS:
            return []
        density = call.nonzeros / max(1, call.n * call.k)
        groups, most, choice = BLOCKS[density <= SPARSE]
        fitting = [c for c in choice if c * density * GROUP_ROWS * groups <= most]
        columns = max(fitting, default=choice[0])
        return [(("columns", columns), ("groups", groups), ("panel", PANEL_TILES), ("rows", GROUP_ROWS))]

    def build(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None) -> Kernel:
        schedule = dict(call.schedule)
        limits = {"columns": 1 << 16, "groups": 4, "panel": MOST_PANEL_TILES, "rows": 30}
        if schedule.keys() != limits.keys() or any(not 1 <= schedule[key] <= limits[key] for key in limits):
            raise KernelError(
                f"bake {call.layer} into code", f"the schedule {schedule}",
                f"columns, groups, panel and rows, from 1 to {', '.join(map(str, limits.values()))}",
            )  # fmt: skip
        return TokensKernel(call, packed, bias, baked_body(call, packed))
