"""`MlirCpu`: the backend of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp.codegen.mlir_cpu import jit
from spcomp.codegen.mlir_cpu.bodies import WORDS, body_of
from spcomp.codegen.mlir_cpu.few import FewTokensKernel
from spcomp.codegen.mlir_cpu.int8 import build_int8
from spcomp.codegen.mlir_cpu.nm import NmShape
from spcomp.codegen.mlir_cpu.nm8 import fits
from spcomp.codegen.mlir_cpu.pairs import PairsKernel
from spcomp.codegen.mlir_cpu.rows import RowsKernel
from spcomp.codegen.mlir_cpu.skips import PERCENT, SkipKernel
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, TokensKernel
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.split import Split
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.window import Window
from spcomp.kernel import Kernel
from spcomp.plan import KernelCall, KernelKey, Schedule
from spcomp.targets.host import host_cpu

ANYWHERE = ("csr", "sorted_csr", "block", "split", "nm", "nm_rest")
WITH_AVX512 = ("sell", "window", "bitmap", "transposed")
INT8_FEATURES = {
    "quad": {"avx512_vnni"}, "bitmap": {"avx512_vnni", "avx512_vbmi2"}, "fours": {"avx512_vnni", "avx512vbmi"},
    "nm": {"avx512_vnni", "avx512vbmi"},
}  # fmt: skip
"""CPU features beyond AVX-512 that int8 kernels need."""
QUAD_TILES = {1: 4, 2: 8, 4: 4, 8: 2}
"""Rows of a quad block -> tiles at a time: sixteen sums in registers, or (one row) x within L1."""
SLICE_ROWS = (4, 8)
"""Rows of a slice whose indices are one load."""
SLICE_SUMS = 16
"""Vector registers for the sums of a slice: with more, those for weights and x run out."""
ACCUMULATORS = 24
"""Vector registers that a block kernel may fill with sums, of 32."""
L1_COLUMNS = 512
"""Columns x tiles of packed x that fit in 32 KB of L1."""
FEW_TOKENS = 15
"""Up to here the row kernels of N:M and windows are worth a try."""
SUMMED_TOKENS = 8
"""Tokens whose sums a window or bitmap kernel keeps in registers; it also has bodies for what is left."""
MOST_PERCENT = 70
"""Nonzero inputs beyond which skipping the others is given up, if there is something to give it up for."""


@dataclass(frozen=True)
class MlirCpu:
    """Sparse linear layers on the CPU: float32, bfloat16 and float16 (sums in float32), int8 (sums in int32); and
    convolutions in int8."""

    name: str = "mlir_cpu"

    def unavailable(self) -> str | None:
        return jit.available()

    def capabilities(self) -> frozenset[KernelKey]:
        if self.unavailable() is not None:
            return frozenset()
        target = host_cpu().target
        encodings = ANYWHERE + (WITH_AVX512 if target == "cpu-avx512" else ())
        found = {KernelKey("linear", e, dtype, target) for e in encodings for dtype in MLIR_DTYPES}
        if target == "cpu-avx512":
            have = set(host_cpu().features)
            found |= {KernelKey("linear", e, "int8", target) for e, needs in INT8_FEATURES.items() if needs <= have}
            if INT8_FEATURES["fours"] <= have:
                found.add(KernelKey("conv", "fours", "int8", target))
            if "avx512_bf16" in have:
                found.add(KernelKey("linear", "quad", "bfloat16", target))
        return frozenset(found)

    def schedules(self, call: KernelCall, m: int) -> Sequence[Schedule]:
        tiles = max(1, -(-m // LANES))
        fitting = [t for t in (8, 4, 2, 1) if t <= tiles]
        if call.quantize and not isinstance(call.encoding, Quad):
            return _int8(call)
        match call.encoding:
            case Quad(rows=rows):
                return [(("tiles", t),) for t in fitting if t <= QUAD_TILES.get(rows, 0)][:1]
            case Csr(block_columns=columns) | SortedCsr(block_columns=columns):
                limit = max(1, L1_COLUMNS // columns)
                return [(("tiles", t),) for t in fitting if t <= limit][:1]
            case Sell(rows=rows):
                return [(("tiles", t),) for t in fitting if t * rows <= SLICE_SUMS and rows in SLICE_ROWS][:1]
            case Block(rows=rows) | Split(rows=rows):
                best = [t for t in fitting if t * rows <= ACCUMULATORS]
                return [(("tiles", t),) for t in best[:1]] if rows <= 16 else []
            case Nm():
                found: list[Schedule] = []
                if m <= FEW_TOKENS and call.target == "cpu-avx512":
                    found.append((("tokens", max(t for t in (8, 4, 2, 1) if t <= max(1, m))),))
                return found + _by_words(fitting[0])
            case NmRest():
                return _by_words(fitting[0])
            case Window() | Bitmap():
                return [(("tokens", SUMMED_TOKENS),)] if m <= FEW_TOKENS and call.target == "cpu-avx512" else []
            case Transposed():
                return [((PERCENT, MOST_PERCENT),)] if m == 1 and call.target == "cpu-avx512" else []
            case _:
                return []

    def extra_nbytes(self, call: KernelCall) -> int:
        return 0  # code is shared by all weights of a shape, tables are a few bytes

    def build(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None = None
    ) -> Kernel:
        if call.quantize:
            return build_int8(call, packed, bias, scale)
        if isinstance(packed.encoding, Quad):
            return PairsKernel(call, packed, bias)
        if isinstance(packed.encoding, Transposed):
            return SkipKernel(call, packed, bias)
        if "tokens" in dict(call.schedule):
            if isinstance(packed.encoding, Window | Bitmap):
                return FewTokensKernel(call, packed, bias)
            return RowsKernel(call, packed, bias)
        return TokensKernel(call, packed, bias, body_of(call, packed))


def _int8(call: KernelCall) -> list[Schedule]:
    """Tokens (or pixels) at a time of the int8 kernels that read x row by row."""
    if call.conv is not None:
        fits_taps = isinstance(call.encoding, Fours) and (call.encoding.run or call.k) == call.conv.run
        return [(("tokens", 2 * SUMMED_TOKENS),)] if fits_taps else []
    match call.encoding:
        case Bitmap():
            return [(("tokens", SUMMED_TOKENS),)]
        case Fours(run=0):
            return [(("tokens", 2 * SUMMED_TOKENS),)]
        case Nm(n=n, m=group) if fits(NmShape(call.n, call.k, n, group)):
            return [(("tokens", SUMMED_TOKENS),)]
        case _:
            return []


def _by_words(tiles: int) -> list[Schedule]:
    """N:M with so many tiles at a time: x in half of L1, or in most of it."""
    return [(("tiles", tiles), ("words", words)) for words in WORDS[tiles]]
