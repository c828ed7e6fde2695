"""What the nodes of a graph are as work that can be laid down: layers, and what stands between them in small networks.

Values are float32, contiguous, on the CPU, and of sizes that the graph's fake values say; everything else is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen.laid_copies import COPIES, flat, meant, meant_tiles, planes_of, shape, tiles_of, turned
from spcomp.codegen.mlir_cpu import jit, max_pool, small
from spcomp.codegen.mlir_cpu.attention import Attention, attend_tiles
from spcomp.codegen.mlir_cpu.chain import conv_work
from spcomp.codegen.mlir_cpu.gather import CompiledRows
from spcomp.codegen.mlir_cpu.laid_down import LinearKernel, Work
from spcomp.conv_layout import NATURAL
from spcomp.ops_attention import TILES_ATTENTION, Heads

aten = torch.ops.aten
BINARY = {aten.add.Tensor: "add", aten.sub.Tensor: "sub", aten.mul.Tensor: "mul"}
SINGLE = {aten.relu.default: "relu", aten.gelu.default: "gelu", aten.silu.default: "silu"}
LAYERS = (ops.LINEAR, ops.TILES_LINEAR, ops.CONV, ops.CONV_LAID)
MOST_NUMBERS = 256
"""Of rows of tables, which Python looks at one by one."""


@dataclass(frozen=True)
class Made:
    """A node's work and what it reads."""

    work: Work
    reads: tuple[fx.Node, ...]
    into: fx.Node | None = None
    """The placeholder that it writes to, where it makes no value of its own."""
    index: tuple[fx.Node, int] | None = None
    """A placeholder of numbers of rows, and what they must be below."""
    part: Callable[[int], Work | None] | None = None
    """The work for so many of the result's tiles (its first dimension), where tiles can be worked on apart."""
    shared: int = 0
    """How many of what it reads, the last ones, are read for every tile."""


def work_of(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """None where a node must be called."""
    if jit.available() is not None or node.op != "call_function":
        return None
    target: Any = node.target
    maker = MAKERS.get(target)
    made = maker(node, table) if maker is not None else None
    reads = () if made is None else (*made.reads, *(() if made.into is not None else (node,)))
    indices = () if made is None or made.index is None else (made.index[0],)
    return made if all(flat(n) for n in reads if n not in indices) else None


def _linear(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    x, slot, _ = args
    if not flat(x):
        return None
    m = math.prod(shape(x)) // table[slot].k
    kernel = table[slot].pick(m)
    work = kernel.work_on_rows(m) if m and isinstance(kernel, LinearKernel) else None
    return None if work is None else Made(work, (x,))


def _tiles_linear(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    xs, slot, _, m = args
    kernel = table[slot].pick(m)
    if not flat(xs) or not isinstance(kernel, LinearKernel):
        return None
    work = kernel.work_on_tiles(shape(xs)[0]) if m else None
    return None if work is None else Made(work, (xs,), part=kernel.work_on_tiles)


def _conv(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Of one image: more go through ``ops_chain.CONV_CHAIN``, one image after the other."""
    args: Any = node.args
    x, residual, number, _, *layouts = args
    slot, given = table[number], (x,) if residual is None else (x, residual)
    if not all(map(flat, given)) or shape(x)[0] != 1:
        return None
    work = conv_work(slot.pick(slot.rows), *(layouts or (NATURAL, NATURAL, ())))
    return None if work is None else Made(work, given)


def _pooled(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    x, *window = args
    if not flat(x) or not flat(node) or 0 in shape(x):
        return None
    images, channels, high, wide = shape(x)
    kernel, stride, padding = ((int(a), int(b)) for a, b in window)
    work = max_pool.work(max_pool.Pool(high, wide, kernel, stride, padding), images * channels)
    return None if work is None else Made(work, (x,))


def _mean(node: fx.Node, table: ops.KernelTable) -> Made | None:
    found, tiles = meant(node), meant_tiles(node)
    if found is None:
        return None
    x, columns = found
    if tiles is not None:
        return Made(small.mean_of_tiles(shape(x)[1], columns), (tiles,))
    return Made(small.mean(math.prod(shape(x)) // columns, columns), (x,))


def _tiles_norm(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    xs, *given, eps = args
    if not flat(xs):
        return None
    there = [n is not None for n in given]
    tiles, features = shape(xs)[:2]

    def part(count: int) -> Work:
        return small.tiles_norm(count, features, eps, *there)

    return Made(part(tiles), (xs, *(n for n in given if n is not None)), part=part, shared=sum(there[1:]))


def _pair(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args, target = node.args, node.target
    a, b = args if len(args) == 2 and not node.kwargs else (None, None)
    if not isinstance(a, fx.Node) or not isinstance(b, fx.Node) or not flat(a) or not flat(b) or shape(a) != shape(b):
        return None
    kind: str = BINARY[target]  # type: ignore[index]
    return _elements(a, lambda count: small.pair(kind, count), (a, b))


def _single(node: fx.Node, table: ops.KernelTable) -> Made | None:
    target: Any = node.target
    (x, *more), kwargs = node.args, node.kwargs
    tanh = kwargs.get("approximate", "none")
    if more or kwargs.keys() - {"approximate"} or not isinstance(x, fx.Node) or not flat(x):
        return None
    kind = SINGLE[target] + ("_tanh" if tanh == "tanh" else "")
    return _elements(x, lambda count: small.single(kind, count), (x,))


def _elements(x: fx.Node, work: Callable[[int], Work], reads: tuple[fx.Node, ...]) -> Made:
    """Work by the number of elements, of values of one shape."""
    inner = math.prod(shape(x)[1:])
    return Made(work(math.prod(shape(x))), reads, part=(lambda tiles: work(tiles * inner)) if shape(x) else None)


def _norm(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    if node.kwargs or len(args) < 2:
        return None
    x, sizes, weight, bias, eps = [*args, *(None, None, 1e-5)[len(args) - 2 :]][:5]
    if len(sizes) != 1 or not flat(x) or not math.prod(shape(x)):
        return None
    features = shape(x)[-1]
    rows = math.prod(shape(x)) // features
    work = small.norm(rows, features, eps, weight=weight is not None, bias=bias is not None)
    return Made(work, tuple(n for n in (x, weight, bias) if n is not None))


def _copied(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Rows of a cache that is given, written in place."""
    args: Any = node.args
    to, dim, index, source = args
    numbers = index.meta.get("val")
    if index.op != "placeholder" or to.op != "placeholder" or not isinstance(numbers, torch.Tensor) or not flat(to):
        return None
    if numbers.dtype is not torch.int64 or numbers.dim() > 1 or not all(type(s) is int for s in numbers.shape):
        return None
    sizes = shape(to)
    if not sizes:
        return None
    at = dim % len(sizes)
    work = small.copy(math.prod(sizes[:at]), numbers.numel(), sizes[at], math.prod(sizes[at + 1 :]))
    return Made(work, (to, index, source), to, (index, sizes[at]))


def _taken(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Rows of a dense table, by numbers that are given."""
    args: Any = node.args
    source, index, *_ = args
    if not flat(source) or len(shape(source)) != 2 or not _are_numbers(index):
        return None
    rows, inner = shape(source)
    return Made(small.take(index.meta["val"].numel(), inner), (source, index), None, (index, rows))


def _gathered(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Rows of a layer's packed weight, by numbers that are given."""
    args: Any = node.args
    index, slot, *_ = args
    gather = table[slot].gather
    if not _are_numbers(index) or not isinstance(gather, CompiledRows):
        return None
    return Made(gather.work(index.meta["val"].numel()), (index,), None, (index, gather.packed.shape[0]))


def _are_numbers(index: fx.Node) -> bool:
    """Whether a node is an input of integers of known number, at most :data:`MOST_NUMBERS`, which are looked at."""
    value = index.meta.get("val")
    if index.op != "placeholder" or not isinstance(value, torch.Tensor) or value.dtype is not torch.int64:
        return False
    return all(type(size) is int for size in value.shape) and 0 < value.numel() <= MOST_NUMBERS


def _attended(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Attention of every query to every key, without a mask."""
    args: Any = node.args
    if len(args) != 3 or node.kwargs.keys() - {"scale"} or not all(map(flat, args)):
        return None
    q, k, v = map(shape, args)
    if len(q) < 3 or k != v or len(k) != len(q) or (q[:-2], q[-1]) != (k[:-2], k[-1]):
        return None
    scale: Any = node.kwargs.get("scale")
    used = 1 / math.sqrt(q[-1]) if scale is None else float(scale)
    work = small.attend(math.prod(q[:-2]), q[-2], k[-2], q[-1], used)
    return None if work is None else Made(work, args)


def _tiles_attended(node: fx.Node, table: ops.KernelTable) -> Made | None:
    args: Any = node.args
    q, k, v, mask, *numbers = args
    reads = (q, k, v) if mask is None else (q, k, v, mask)
    if not all(map(flat, reads)) or not math.prod(shape(q)):
        return None
    features, masks = (shape(q)[1], shape(k)[1], shape(v)[1]), None
    if mask is not None:
        sequences, heads, *_ = shape(mask)
        masks = sequences, heads
    return Made(attend_tiles(Attention(Heads.of(*numbers), features, shape(q)[0], masks)), reads)


def _copied_round(node: fx.Node, table: ops.KernelTable) -> Made | None:
    """Tiles of rows or of planes, made or taken apart."""
    if (source := turned(node)) is not None:
        tiles, rows, columns = shape(source)
        return Made(small.turn(tiles, rows, columns), (source,), part=lambda count: small.turn(count, rows, columns))
    if (source := planes_of(node)) is not None:
        return Made(small.planes(shape(node)[1], math.prod(shape(node)[2:])), (source,))
    if (source := tiles_of(node)) is not None:
        return Made(small.planes(shape(source)[1], math.prod(shape(source)[2:]), into=True), (source,))
    return None


Maker = Callable[[fx.Node, ops.KernelTable], Made | None]
MAKERS: Mapping[Any, Maker] = {
    ops.LINEAR: _linear, ops.TILES_LINEAR: _tiles_linear, ops.TILES_NORM: _tiles_norm,
    TILES_ATTENTION: _tiles_attended,
    ops.CONV: _conv, ops.CONV_LAID: _conv, ops.MAX_POOL: _pooled,
    aten.mean.dim: _mean, aten.adaptive_avg_pool2d.default: _mean,
    ops.EMBEDDING: _gathered, aten.embedding.default: _taken,
    aten.layer_norm.default: _norm, aten.index_copy_.default: _copied,
    aten.scaled_dot_product_attention.default: _attended,
    **dict.fromkeys(BINARY, _pair), **dict.fromkeys(SINGLE, _single), **dict.fromkeys(COPIES, _copied_round),
}  # fmt: skip
