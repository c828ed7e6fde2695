"""What benchmarks.gpu measures: cases, their targets, and how each layer is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from benchmarks.harness import Target
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import PackedTensor, pack
from spcomp.encodings.spec import Encoding
from spcomp.encodings.vnm import Vnm
from spcomp.plan import Epilogue, KernelCall, RowRange
from spcomp.sparsity.measure import measure


@dataclass(frozen=True)
class Case:
    """One linear layer at M rows. ``pattern``: ``b64``, ``u``, ``nm24``, ``vnm8`` (64:2:8); with ``zeros`` in %."""

    pattern: str
    zeros: int
    m: int
    n: int
    k: int
    autotuned: bool = False
    """Whether max-autotune races too; it takes a minute a shape."""

    @property
    def key(self) -> str:
        return f"m{self.m}_{self.n}x{self.k}_{self.pattern}_{self.zeros}"


def _cases() -> dict[str, list[tuple[Case, float | None]]]:
    found: dict[str, list[tuple[Case, float | None]]] = {"nm24": [], "blocks": [], "vnm": [], "decode": []}
    for size in (4096, 8192, 16384):
        found["nm24"].append((Case("nm24", 50, 4096, size, size, size == 8192), 1.3))
    for size in (4096, 8192):
        goals = {("b64", 60): 1.0, ("b64", 80): 2.5, ("b64", 90): 5.0, ("b64", 95): 9.0, ("b32", 90): 3.5,
                 ("b16", 90): 2.0}  # fmt: skip
        for (pattern, zeros), goal in goals.items():
            found["blocks"].append((Case(pattern, zeros, 4096, size, size, pattern == "b64" and zeros == 80), goal))
    for m, goals in ((1, (2.5, 4.0)), (16, (2.0, 3.0)), (64, (1.6, 2.2)), (4096, (1.2, 1.8))):
        for size in (4096, 8192):
            for group, zeros, goal in ((8, 75, goals[0]), (16, 87, goals[1])):
                found["vnm"].append((Case(f"vnm{group}", zeros, m, size, size), goal if size == 8192 else None))
    for m in (1, 4, 16):
        for n, k in ((4096, 4096), (8192, 8192), (14336, 8192), (8192, 14336)):
            blocks = 3.0 if n == k == 4096 else 5.0
            goals = {("b64", 90): blocks, ("u", 50): 1.4, ("u", 70): 2.0, ("u", 95): 4.0}
            for (pattern, zeros), goal in goals.items():
                autotuned = m == 1 and pattern == "b64" and n != 14336
                known = goal if pattern == "b64" or n > 4096 else None
                found["decode"].append((Case(pattern, zeros, m, n, k, autotuned), known))
    return found


CASES: Mapping[str, list[tuple[Case, float | None]]] = _cases()
MODELS = {
    "llama_b64_90": 2.5, "llama_nm24": 1.3, "vit_b64_80": 1.35, "vit_b64_90": 1.55,
}  # fmt: skip
COMPILED = {
    "compiled_llama_b64_90": ("llama", "b64", 90, 1, 2.5),
    "compiled_llama_nm24": ("llama", "nm24", 50, 1, 1.3),
    "compiled_mlp_b64_90_m1": ("mlp", "b64", 90, 1, 2.5),
    "compiled_mlp_b64_90_m4096": ("mlp", "b64", 90, 4096, 2.5),
    "compiled_mlp_u_95_m1": ("mlp", "u", 95, 1, 2.5),
    "compiled_mlp_dense_m64": ("mlp", "", 0, 64, 0.97),
}
"""(model, pattern, zeros in percent, rows, target) of what the compiler does end to end: the bars of whole models, and
never slower where there are no zeros."""
BANDWIDTH = 0.7
"""Share of a copy's bandwidth that decode must reach."""
GRID = [
    Case(pattern, zeros, m, n, k)
    for m in (1, 8, 64, 512, 4096)
    for n, k in ((1024, 4096), (4096, 1024), (4096, 4096), (5120, 1280))
    for pattern, zeros in (("b64", 50), ("b64", 80), ("b64", 95), ("b16", 70), ("b16", 90), ("u", 50), ("u", 70),
                           ("u", 90), ("u", 97), ("nm24", 50))
]  # fmt: skip
TARGETS = (
    {case.key: Target(goal) for cases in CASES.values() for case, goal in cases if goal is not None}
    | {f"{case.key}_bandwidth": Target(BANDWIDTH) for case, _ in CASES["decode"]}
    | {f"{name}": Target(goal) for name, goal in MODELS.items()}
    | {name: Target(goal) for name, (*_, goal) in COMPILED.items()}
    | {"fp8_nm24_8192": Target(1.25), "grid_worst": Target(0.97), "grid_cells": Target(200), "wrong": Target(0, "<=")}
)


def encodings_of(case: Case) -> list[Encoding]:
    """What is worth a try for a pattern."""
    if case.pattern.startswith("b"):
        side = int(case.pattern[1:])
        return [Block(side, side)]
    if case.pattern == "nm24":
        return [Nm(2, 4)]
    if case.pattern.startswith("vnm"):
        return [Vnm(64, int(case.pattern[3:]))]
    return [Bitmap()] if case.zeros < 85 else [Bitmap(), Csr(1 << 16)] if case.zeros < 95 else [Csr(1 << 16), Bitmap()]


def weight_of(case: Case, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> torch.Tensor:
    """A random weight [n, k] with the case's zeros, on the CPU."""
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(case.n, case.k, generator=g).clamp(min=-4, max=4) / case.k**0.5
    if case.pattern.startswith("b"):
        side = int(case.pattern[1:])
        live = torch.rand(-(-case.n // side), -(-case.k // side), generator=g) >= case.zeros / 100
        keep = live.repeat_interleave(side, 0).repeat_interleave(side, 1)[: case.n, : case.k]
    elif case.pattern == "nm24":
        order = torch.rand(case.n, -(-case.k // 4), 4, generator=g).argsort(-1).argsort(-1)
        keep = (order < 2).reshape(case.n, -1)[:, : case.k]
    elif case.pattern.startswith("vnm"):
        m, strips = int(case.pattern[3:]), -(-case.n // 64)
        chosen = torch.rand(strips, -(-case.k // m), m, generator=g).argsort(-1).argsort(-1) < 4
        order = torch.rand(64 * strips, -(-case.k // m), m, generator=g)
        order = order.masked_fill(~chosen.repeat_interleave(64, 0), 2.0).argsort(-1).argsort(-1)
        keep = (order < 2).reshape(64 * strips, -1)[: case.n, : case.k]
    else:
        keep = torch.rand(case.n, case.k, generator=g) >= case.zeros / 100
    return torch.where(keep, weight, 0.0).to(dtype)


def call_of(
    case: Case, weight: torch.Tensor, encoding: Encoding, *, bias: bool = True, activation: str = "none"
) -> tuple[KernelCall, PackedTensor]:
    """The call without a schedule, and the packed weight."""
    facts = measure(weight)
    packed = pack(weight, encoding, facts)
    stored = encoding.stored_values(facts) or packed.buffers["values"].numel()
    call = KernelCall(
        case.key, 0, RowRange(case.m, case.m), case.n, case.k, facts.dtype, encoding, facts.nonzeros, stored,
        packed.nbytes, packed.digest, Epilogue(bias, activation), "triton", "cuda",
    )  # fmt: skip
    return call, packed


def smaller(case: Case) -> Case:
    """The same in sizes for a rehearsal in the interpreter."""
    return replace(case, m=min(case.m, 40), n=min(case.n // 64, 96), k=min(case.k // 64, 96), autotuned=False)
