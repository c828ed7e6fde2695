"""The token kernel between neighbours that keep activations in tiles: nothing is packed, nothing unpacked.

Tiles are [ceil(M/16), features, 16] in float32. Sums go straight into the result; bias and activation follow chunk by
chunk, while the sums are in the L2 cache.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.epilogue import activate
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.text import LANES, VEC, Function
from spcomp.plan import Epilogue
from spcomp.targets.host import host_cpu

if TYPE_CHECKING:
    from spcomp.codegen.mlir_cpu.tokens import TokensKernel

UNROLL = 4


def columns_together(columns: int, tiles: int) -> int:
    """Columns of so many tiles of x that are multiplied with a chunk's rows before the next ones.

    0 is all: these tiles take at most half of the L2 cache, and every group of rows finds them there. Else as many as
    an eighth holds, for x would come from L3 again for every group.
    """
    l2 = host_cpu().l2_bytes or 1 << 20
    tile = 4 * LANES * tiles
    return 0 if columns * tile <= l2 // 2 else max(LANES, l2 // 8 // tile)


def tiles_together(columns: int, most: int) -> int:
    """Tiles whose columns are read together: at most four where they lie multiples of 64 KB apart.

    Their pages then share one of 16 sets of the first translation buffer, which holds six (Intel's since Golden Cove);
    eight tiles of 1024, 2048 and 3072 columns took 1.2 times as long as tiles of 768, 1536 and 2304.
    """
    return min(most, 4) if columns * 4 * LANES % (16 * 4096) == 0 else most


class Tiled:
    """One token kernel for a fixed number of tiles. Thread safe: it has no scratch."""

    def __init__(self, kernel: TokensKernel, tiles: int) -> None:
        call, body = kernel.call, kernel.body
        self.kernel, self.tiles, self.n = kernel, tiles, call.n
        cuts, functions = [], []
        at, size = 0, kernel.tiles if body.any_tiles else tiles_together(call.k, kernel.tiles)
        while at < tiles:
            while not body.any_tiles and tiles - at < size:
                size //= 2
            stop = tiles if body.any_tiles else at + (tiles - at) // size * size
            cuts.append((at, stop))
            functions.append(body.function(size, call.k, call.n))
            at = stop
        self.together = columns_together(call.k, tiles) if body.any_tiles else 0
        self._prepared: dict[int, parallel.Prepared] = {}
        left = body.left_of(call.epilogue)
        if left != Epilogue():
            functions.append(("finish", finish_text(call.n, left), 2, 4))
        made = jit.compile_all(functions)
        self.spans = [(lo, hi, function) for (lo, hi), function in zip(cuts, made, strict=False)]
        self.finish = made[-1] if len(made) > len(cuts) else None

    def __call__(self, xs: torch.Tensor) -> torch.Tensor:
        """xs [tiles, k, 16] -> [tiles, n, 16], both float32 and contiguous."""
        ys = xs.new_empty(self.tiles, self.n, LANES)
        threads = parallel.threads_for(self.tiles * LANES * self.kernel.call.stored)
        prepared = self._prepared.get(threads)
        if prepared is None:
            prepared = self._prepared[threads] = parallel.Prepared(functools.partial(self._stages, threads), 2)
        prepared(xs.data_ptr(), ys.data_ptr())
        return ys

    def work(self) -> Work:
        """For as many threads as torch has now."""
        threads = parallel.threads_for(self.tiles * LANES * self.kernel.call.stored)
        return Work(0, lambda reads, y, _: self._stages(threads, reads[0], y))

    def _stages(self, threads: int, x: int, y: int) -> list[parallel.Stage]:
        kernel = self.kernel
        bias = kernel.bias.data_ptr()
        shares = parallel.shared_tiles(self.tiles, kernel.unit, threads)
        work: list[list[parallel.Step]] = []
        for first, stop in shares:
            spans = [(max(lo, first), min(hi, stop), function) for lo, hi, function in self.spans]
            for part in kernel.parts(threads // len(shares), self.together):
                steps: list[parallel.Step] = []
                for c in part:
                    for lo, hi, function in spans:
                        if lo < hi:
                            at = (x, y, *kernel.body.pointers, *c.more, lo, hi, c.unit_lo, c.unit_hi)
                            steps.append((function, at))
                    if self.finish is not None:
                        steps.append((self.finish, (y, bias, first, stop, c.row_lo, c.row_hi)))
                work.append(steps)
        return [work]


def serves(kernel: TokensKernel) -> bool:
    """Whether a token kernel can work on tiles without padding: nothing of W is read or written past k and n."""
    call, body = kernel.call, kernel.body
    whole = body.any_tiles or call.n % body.rows_per_unit == 0
    return call.weight_dtype == call.dtype == "float32" and body.columns == call.k and whole


def finish_text(n: int, epilogue: Epilogue) -> str:
    """``finish(ys[tiles, n, 16], bias[n], tile_lo, tile_hi, row_lo, row_hi)``: bias and activation in place."""
    f = Function("finish", (("ys", "f32"), ("bias", "f32")), ("tile_lo", "tile_hi", "row_lo", "row_hi"))
    with f.loop("%tile_lo", "%tile_hi", hint="tile") as tile:
        base = f.mul(tile.index, f.idx(n * LANES))
        with f.loop("%row_lo", "%row_hi", hint="row") as row:
            at = f.add(base, f.mul(row.index, f.idx(LANES)))
            value = f.vload("%ys", at)
            if epilogue.bias:
                value = f.val(f"arith.addf {value}, {f.broadcast(f.load('%bias', row.index))} : {VEC}", "y")
            f.vstore(activate(f, value, epilogue.activation), "%ys", at)
    return f.text()


def norm_text(features: int, eps: float, *, residual: bool, weight: bool, bias: bool) -> str:
    """``norm(xs, residual, weight[features], bias[features], ys, tile_lo, tile_hi)``: LayerNorm over the features.

    xs, residual and ys are [tiles, features, 16]; x + residual is normalised. Two passes, mean first, in float32.
    """
    names = ("xs", "residual", "weight", "bias", "ys")
    f = Function("norm", tuple((name, "f32") for name in names), ("tile_lo", "tile_hi"))
    step = UNROLL if features % UNROLL == 0 else 1
    zero = f.splat("0.0")
    with f.loop("%tile_lo", "%tile_hi", hint="tile") as tile:
        base = f.mul(tile.index, f.idx(features * LANES))

        def at(row: str, i: int) -> str:
            return f.add(base, f.mul(f.add(row, f.idx(i)), f.idx(LANES)))

        with f.loop(f.idx(0), f.idx(features), f.idx(step), [(zero, VEC)] * step) as row:
            sums = []
            for i in range(step):
                place = at(row.index, i)
                value = f.vload("%xs", place)
                if residual:
                    value = f.val(f"arith.addf {value}, {f.vload('%residual', place)} : {VEC}", "s")
                    f.vstore(value, "%ys", place)
                sums.append(f.val(f"arith.addf {row.carried[i]}, {value} : {VEC}", "s"))
            f.yield_(sums, [VEC] * step)
        share = f.splat(1.0 / features)
        mean = f.val(f"arith.mulf {_total(f, row.results)}, {share} : {VEC}", "m")
        source = "%ys" if residual else "%xs"
        with f.loop(f.idx(0), f.idx(features), f.idx(step), [(zero, VEC)] * step) as row:
            squares = []
            for i in range(step):
                gap = f.val(f"arith.subf {f.vload(source, at(row.index, i))}, {mean} : {VEC}", "d")
                squares.append(f.fma(gap, gap, row.carried[i]))
            f.yield_(squares, [VEC] * step)
        spread = f.fma(_total(f, row.results), share, f.splat(eps))
        root = f.val(f"math.sqrt {spread} : {VEC}", "r")
        inverse = f.val(f"arith.divf {f.splat(1.0)}, {root} : {VEC}", "r")
        with f.loop(f.idx(0), f.idx(features), f.idx(step)) as row:
            for i in range(step):
                place = at(row.index, i)
                value = f.val(f"arith.subf {f.vload(source, place)}, {mean} : {VEC}", "d")
                value = f.val(f"arith.mulf {value}, {inverse} : {VEC}", "y")
                feature = f.add(row.index, f.idx(i))
                if weight:
                    value = f.val(f"arith.mulf {value}, {f.broadcast(f.load('%weight', feature))} : {VEC}", "y")
                if bias:
                    value = f.val(f"arith.addf {value}, {f.broadcast(f.load('%bias', feature))} : {VEC}", "y")
                f.vstore(value, "%ys", place)
    return f.text()


def _total(f: Function, parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = f.val(f"arith.addf {total}, {part} : {VEC}", "s")
    return total


@functools.lru_cache(maxsize=64)
def norm(features: int, eps: float, residual: bool, weight: bool, bias: bool) -> jit.Compiled:
    return jit.compile_text("norm", norm_text(features, eps, residual=residual, weight=weight, bias=bias), 5, 2)


def tiles_norm(
    xs: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    *,
    eps: float,
) -> torch.Tensor:
    """LayerNorm of ``xs + residual`` over the features: tiles [T, F, 16] in, tiles out; weight and bias [F]."""
    tiles, features, _ = xs.shape
    ys = torch.empty_like(xs)
    given = (xs, residual, weight, bias)
    addresses = tuple(xs.data_ptr() if t is None else t.data_ptr() for t in given)
    function = norm(features, eps, residual is not None, weight is not None, bias is not None)
    threads = min(tiles, parallel.threads_for(8 * xs.numel()))
    parallel.over(function, (*addresses, ys.data_ptr()), tiles, threads)
    return ys
