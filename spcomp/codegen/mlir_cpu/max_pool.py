"""Max pooling on planes as they are: sixteen output columns at a time, every other input column picked by a shuffle.

Inductor vectorises pooling along the channels, which lie last in dense convolutional networks; between sparse
convolutions they do not.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spcomp import ops
from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.layout import store_row
from spcomp.codegen.mlir_cpu.text import LANES, MASK, VEC, Function

_NUMBERS = f"vector<{LANES}xi32>"
LOWEST = "0xFF800000"
"""Minus infinity as float32 bits."""


@dataclass(frozen=True)
class Pool:
    """The geometry of a max pooling: windows [down, across] of planes [height, width]."""

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    @functools.cached_property
    def output(self) -> tuple[int, int]:
        sizes = zip((self.height, self.width), self.kernel, self.stride, self.padding, strict=True)
        high, wide = ((size + 2 * p - k) // s + 1 for size, k, s, p in sizes)
        return high, wide


def pool_text(pool: Pool) -> str:
    """``pool(x[C, H, W], y[C, P, Q], c_lo, c_hi)`` of f32, for strides across of 1 and 2. NaN wins, as in torch."""
    f = Function("pool", (("x", "f32"), ("y", "f32")), ("c_lo", "c_hi"))
    high, wide = pool.output
    with f.loop("%c_lo", "%c_hi", hint="c") as c:
        x0, y0 = f.mul(c.index, f.idx(pool.height * pool.width)), f.mul(c.index, f.idx(high * wide))
        with (
            f.loop(f.idx(0), f.idx(high), hint="i") as i,
            f.loop(f.idx(0), f.idx(wide), f.idx(LANES), hint="j") as j,
        ):
            top = f.sub(f.mul(i.index, f.idx(pool.stride[0])), f.idx(pool.padding[0]))
            left = f.sub(f.mul(j.index, f.idx(pool.stride[1])), f.idx(pool.padding[1]))
            found = []
            for across in range(0, pool.kernel[1], pool.stride[1]):
                parts = [
                    _tallest(f, pool, x0, top, f.add(left, f.idx(across + p * LANES))) for p in range(pool.stride[1])
                ]
                picks = range(min(pool.stride[1], pool.kernel[1] - across))
                found += [_every_other(f, parts, pick) for pick in picks] if len(parts) > 1 else parts
            best = functools.reduce(lambda a, b: _larger(f, a, b), found)
            rest = f.sub(f.idx(wide), j.index)
            keep = f.mask(rest)
            at = f.add(f.add(y0, f.mul(i.index, f.idx(wide))), j.index)
            store_row(f, best, "%y", at, "f32", keep)
    return f.text()


def _larger(f: Function, a: str, b: str) -> str:
    return f.val(f"arith.maximumf {a}, {b} : {VEC}", "x")


def _every_other(f: Function, parts: list[str], first: int) -> str:
    lanes = list(range(first, 2 * LANES, 2))
    return f.val(f"vector.shuffle {parts[0]}, {parts[1]} {lanes} : {VEC}, {VEC}", "x")


def _tallest(f: Function, pool: Pool, x0: str, top: str, column: str) -> str:
    """Of each of sixteen columns from ``column`` on, the largest in the rows of a window; outside is minus infinity."""
    lanes = f.const(f"dense<[{', '.join(map(str, range(LANES)))}]>", _NUMBERS)
    first = f.val(f"arith.index_cast {column} : index to i32", "s")
    number = f.val(f"arith.addi {f.val(f'vector.broadcast {first} : i32 to {_NUMBERS}')}, {lanes} : {_NUMBERS}")
    within = f.val(f"arith.cmpi ult, {number}, {f.const(f'dense<{pool.width}>', _NUMBERS)} : {_NUMBERS}", "m")
    rows = []
    for down in range(pool.kernel[0]):
        line = f.add(top, f.idx(down))
        inside = f.val(f"arith.cmpi ult, {line}, {f.idx(pool.height)} : index", "p")  # a negative one wraps around
        mask = f.val(f"arith.andi {within}, {f.val(f'vector.broadcast {inside} : i1 to {MASK}', 'm')} : {MASK}", "m")
        at = f.add(f.add(x0, f.mul(line, f.idx(pool.width))), column)
        rows.append(f.vload("%x", at, mask=mask, fill=LOWEST))
    return functools.reduce(lambda a, b: _larger(f, a, b), rows)


@functools.lru_cache(maxsize=32)
def _compiled(pool: Pool) -> jit.Compiled:
    return jit.compile_text("pool", pool_text(pool), 2, 2)


def max_pool(x: torch.Tensor, *, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> torch.Tensor:
    """``ops.max_pool`` by the kernel of this file."""
    if x.dtype is not torch.float32 or stride[1] > 2 or jit.available() is not None:
        return ops.max_pool(x, kernel=kernel, stride=stride, padding=padding)
    pairs = [(int(p[0]), int(p[1])) for p in (kernel, stride, padding)]
    return pooled(x.contiguous(), Pool(int(x.shape[2]), int(x.shape[3]), *pairs))


def pooled(x: torch.Tensor, pool: Pool) -> torch.Tensor:
    """x [B, C, H, W] in float32, contiguous -> [B, C, P, Q]."""
    y = x.new_empty((*x.shape[:2], *pool.output))
    if y.numel():
        planes = x.shape[0] * x.shape[1]
        threads = parallel.threads_for(y.numel() * pool.kernel[0])
        parallel.over(_compiled(pool), (x.data_ptr(), y.data_ptr()), planes, threads)
    return y


def work(pool: Pool, channels: int) -> Work | None:
    """Of so many planes of one image, for as many threads as torch has now; None where our kernel does not do it."""
    if pool.stride[1] > 2 or jit.available() is not None:
        return None
    function, (high, wide) = _compiled(pool), pool.output
    threads = parallel.threads_for(channels * high * wide * pool.kernel[0])

    def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
        return [[[(function, (reads[0], y, *share))] for share in parallel.even(channels, threads)]]

    return Work(0, stages)
