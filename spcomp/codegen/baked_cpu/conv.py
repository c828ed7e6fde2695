"""Direct convolution with baked code: pixels in the lanes, nothing unrolled into patches.

A 1x1 convolution is a product on tiles of sixteen pixels. Any other finds every column of its weight at a displacement
into planes that are padded (and split by phase, where there is a stride): in scratch memory, or the input's own. Blocks
of code run along tiles; sums are finished into the result, panel by panel. Neighbours may hand over tiles or padded
planes (:mod:`spcomp.conv_layout`), and then nothing is copied between them, except by strided ones
(:mod:`~spcomp.codegen.baked_cpu.feed`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.baked_cpu.body import bake, enter, place, unit_rows
from spcomp.codegen.baked_cpu.feed import Feed, banded, even_panel
from spcomp.codegen.mlir_cpu import jit, parallel, team
from spcomp.codegen.mlir_cpu import segments as seg
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.planes import Planes
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import CHUNK_BYTES, MLIR_DTYPES, float_vector
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES
from spcomp.conv_layout import NATURAL, TILES, Padded, makes, pointwise, reads, shape_of
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import Epilogue, KernelCall

FEWEST_TILES = 8
"""Tiles of a panel, at least: code is read anew for every panel."""
SUMS_BYTES = 512 * 1024
"""Of sums that wait to be finished, at most, where there is more than one unit of rows."""
WORTH = 2
"""A byte of x that another core may have made, or of a result that one may read, costs so many of code."""
PANEL_BYTES = 384 * 1024
"""Of x in a panel of a 1x1 convolution, about: it is read by every unit of rows."""


@dataclass(frozen=True)
class _Chunk:
    """Some rows of W and the table of their blocks."""

    row_lo: int
    row_hi: int
    table: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Zeros:
    """What no sum becomes, in the result: pieces of at most sixteen elements, so many times, so far apart."""

    at: torch.Tensor
    masks: torch.Tensor
    step: int
    times: int

    def clear(self, function: jit.Compiled, y: int, share: tuple[int, int]) -> parallel.Step:
        """``share``: which part, of how many."""
        own = parallel.even(self.times, share[1])[share[0]]
        return function, (y, self.at.data_ptr(), self.masks.data_ptr(), len(self.at), self.step, *own)


@dataclass(frozen=True, eq=False)
class _Target:
    """What sums become: where they go, the function that takes them there, and what is zeroed around them."""

    layout: str
    shape: tuple[int, ...]
    """Of one image."""
    segments: seg.Segments
    finish: jit.Compiled | None
    clear: jit.Compiled | None = None
    zeros: tuple[_Zeros, ...] = ()
    prepared: dict[tuple[int, str], parallel.Prepared] = field(default_factory=dict)
    """By threads and, where x is copied, its layout."""


class BakedConv:
    """``y = activation(conv(x) * scale + bias + residual)``. Thread safe: scratch is per thread, the rest read-only."""

    def __init__(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None
    ) -> None:
        assert call.conv is not None
        team.ready()
        self.call, self.packed, conv = call, packed, call.conv
        self.bias, self.scale = float_vector(bias), float_vector(scale)
        schedule = dict(call.schedule)
        sizes = schedule["rows"], schedule["columns"], schedule["groups"]
        self.pointwise = pointwise(conv)
        self.unit = unit_rows(call.n, torch.get_num_threads())
        rows = min(-(-call.n // LANES) * LANES, self.unit)
        panel = CHUNK_BYTES // (ZMM_BYTES * rows)
        planes = banded(Planes(conv), max(FEWEST_TILES, panel))
        if self.pointwise:
            self.tiles, self.columns = -(-conv.pixels // LANES), conv.channels
            panel = max(FEWEST_TILES, min(panel, PANEL_BYTES // (ZMM_BYTES * conv.channels)))
            panel = panel if conv.stride == (1, 1) else even_panel(self.tiles, panel)
            baked = bake(packed, *sizes, step=self.unit)
        else:
            self.tiles, self.columns = planes.tiles, 1
            offsets = planes.offsets().transpose(2, 0, 1).reshape(-1)
            order = torch.arange(call.k).reshape(call.k // conv.channels, -1).t().reshape(-1).numpy()
            baked = bake(packed, *sizes, step=self.unit, order=order, offsets=offsets * FLOAT_BYTES)
        if planes.bands > 1:
            panel = planes.band_tiles(0)[1]
        elif not self.pointwise:
            panel = max(FEWEST_TILES, panel)
        self.planes, self.panel = planes, min(self.tiles, panel)
        self.units = max(1, SUMS_BYTES // (ZMM_BYTES * self.panel * self.unit))
        """Units of rows that are computed, then finished, together."""
        self.stride = rows if self.units == 1 else min(-(-call.n // LANES) * LANES, self.units * self.unit)
        self.stride += 8
        dtype = MLIR_DTYPES[call.dtype]
        self.feed = Feed(planes, self.tiles, self.panel, dtype)
        finish = ("finish", seg.finish_text(call.epilogue, dtype, by_rows=True), 8, 5)
        self.feed.natural = jit.compile_all([self.feed.job, finish])[0]
        self.feed.ready(NATURAL)
        place(baked)
        self.code = enter(baked, self.columns, self.stride)
        self.straight = enter(baked, self.columns, call.n) if self.pointwise and call.n else self.code
        """The same with sums straight into a result in tiles."""
        self.baked = baked
        self.weights = baked.products
        self._lock = threading.Lock()
        self._known: dict[int, list[list[_Chunk]]] = {}
        self._targets: dict[tuple[str, tuple[int, ...]], _Target] = {}
        self._natural = self._target(NATURAL, ())

    @property
    def source(self) -> str:
        found = [self.feed.natural, self.code, self._natural.finish]
        return "\n".join(f"// {c.name}\n{c.text}" for c in found if c is not None)

    @property
    def extra_nbytes(self) -> int:
        for threads in {1, torch.get_num_threads()}:
            self._parts(threads)
        vectors = self.bias.nbytes + self.scale.nbytes + self.feed.nbytes
        return vectors + sum(t.segments.nbytes for t in self._targets.values()) + self.baked.nbytes

    @property
    def laid_served(self) -> bool:
        return self.call.dtype == "float32"

    def _parts(self, threads: int) -> list[list[_Chunk]]:
        """For each thread its chunks of rows, balanced by nonzeros."""
        known = self._known.get(threads)
        if known is None:
            cuts = parallel.balance(self.weights, threads)
            known = self._known[threads] = [
                [
                    _Chunk(u * self.unit, min(end * self.unit, self.call.n), self.baked.table(u, end))
                    for u in range(lo, hi, self.units)
                    for end in (min(u + self.units, hi),)
                ]
                for lo, hi in pairwise(cuts)
            ]
        return known

    def _target(self, layout: str, planes: tuple[int, ...]) -> _Target:
        """Made, and its functions compiled, when it is first asked for."""
        with self._lock:
            if (layout, planes) not in self._targets:
                self._targets[layout, planes] = self._make_target(layout, planes)
            return self._targets[layout, planes]

    def _make_target(self, layout: str, planes: tuple[int, ...]) -> _Target:
        call, conv = self.call, self.planes.conv
        pixel = self.planes.pixel()
        if self.pointwise:
            pixel = seg.natural_destination(self.tiles * LANES)
            pixel[conv.pixels :] = -1
        stride, zeros = self.stride, []
        match layout:
            case "tiles":
                stride = call.n if self.pointwise else stride
                where, step = seg.tiles_destination(conv.pixels, call.n), LANES
                if conv.pixels % LANES and not self.pointwise:
                    at, masks = seg.uncovered(np.arange(LANES) < conv.pixels % LANES)
                    zeros = [(at + conv.pixels // LANES * call.n * LANES, masks, LANES, call.n)]
            case "planes":
                to = Padded(*planes)
                where, step = seg.planes_destination(*conv.output, to), to.plane
                at, masks = seg.uncovered(np.zeros(to.total(call.n) - call.n * to.plane, np.bool_))
                zeros = [(*seg.border(*conv.output, to), to.plane, call.n), (at + call.n * to.plane, masks, 0, 1)]
            case _:
                where, step = seg.natural_destination(conv.pixels), conv.pixels
        table = seg.segments(pixel, where, stride, step)
        shape = shape_of(layout, conv.size(call.n), planes)
        if layout == TILES and self.pointwise and call.epilogue == Epilogue():
            return _Target(layout, shape, table, None)
        text = seg.finish_text(call.epilogue, MLIR_DTYPES[call.dtype], by_rows=layout != TILES)
        clear = jit.compile_text("border", seg.border_text(), 3, 4) if zeros else None
        kept = tuple(_Zeros(torch.from_numpy(at), torch.from_numpy(masks), *more) for at, masks, *more in zeros)
        return _Target(layout, shape, table, jit.compile_text("finish", text, 8, 5), clear, kept)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return self._run(x, residual, NATURAL, self._natural)

    def ready(self, given: str, made: str, planes: tuple[int, ...]) -> None:
        """Compile what :meth:`on_layout` will need."""
        self._target(made, planes)
        self.feed.ready(given)

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        return self._run(x, residual, given, self._between(given, made, planes))

    def _between(self, given: str, made: str, planes: tuple[int, ...]) -> _Target:
        """The target, with what is needed compiled. Raises :class:`KernelError` for a layout that it does not know."""
        if given not in reads(self.planes.conv) or made not in makes():
            wrong = made if given in reads(self.planes.conv) else given
            raise KernelError(f"run {self.call.layer} on {wrong}", f"a convolution of {self.planes.conv}", NATURAL)
        self.feed.ready(given)
        return self._target(made, planes)

    def work(self, given: str, made: str, planes: tuple[int, ...]) -> Work:
        """See :class:`~spcomp.codegen.mlir_cpu.chain.ChainKernel`."""
        target = self._between(given, made, planes)
        threads, rooms, sums = self._needs(given)
        copied = not self.feed.by_bands and self.feed.copies(given)

        def stages(reads: Sequence[int], y: int, room: int) -> list[parallel.Stage]:
            return self._stages(threads, given, copied, target, reads[0], (*reads, y)[1], y, room, room + rooms)

        return Work(rooms + sums, stages)

    def _needs(self, given: str) -> tuple[int, int, int]:
        """Threads, and the bytes of scratch memory for copies of x and for sums."""
        threads = parallel.threads_for(self.planes.conv.pixels * self.call.stored)
        used = self.feed.room_bytes(given)
        rooms = used * threads if self.feed.by_bands else used
        return threads, rooms, threads * self.panel * ZMM_BYTES * self.stride

    def _run(self, x: torch.Tensor, residual: torch.Tensor | None, given: str, target: _Target) -> torch.Tensor:
        y = x.new_empty((x.shape[0], *target.shape))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = y if residual is None else residual.contiguous()
        item = x.element_size()
        threads, rooms, sums = self._needs(given)
        room = scratch(rooms + sums)
        steps = (x.numel() // len(x) * item, y.numel() // len(y) * item)
        for image in range(x.shape[0]):
            xs = x.data_ptr() + image * steps[0]
            out = (other.data_ptr() + image * steps[1], y.data_ptr() + image * steps[1])
            self._image((xs, *out, room, room + rooms), threads, given, target)
        return y

    def _image(self, addresses: tuple[int, ...], threads: int, given: str, target: _Target) -> None:
        """``addresses``: of x, the residual, y, and the rooms for bands and for sums."""
        copied = self.feed.copied_whole(given, addresses[0])
        key = threads, given if self.feed.by_bands or copied else ""
        prepared = target.prepared.get(key)
        if prepared is None:
            stages = functools.partial(self._stages, threads, given, copied, target)
            prepared = target.prepared[key] = parallel.Prepared(stages, len(addresses))
        prepared(*addresses)

    def _stages(
        self, threads: int, given: str, copied: bool, target: _Target, xs: int, residual: int, y: int, room: int,
        sums: int,
    ) -> list[parallel.Stage]:  # fmt: skip
        """The calls for one image."""
        if not copied:
            return [self._steps(threads, given, target, xs, residual, y, room, sums)]
        work = self._steps(threads, given, target, room, residual, y, room, sums)
        return [self.feed.whole(given, xs, room, threads), work]

    def _steps(
        self, threads: int, given: str, target: _Target, xs: int, residual: int, y: int, room: int, sums: int
    ) -> list[list[parallel.Step]]:
        """The calls of each thread for one image."""
        table = target.segments
        before = LANES * (FLOAT_BYTES if self.call.dtype == "float32" else FLOAT_BYTES // 2)
        vectors = (self.scale.data_ptr(), self.bias.data_ptr(), residual - before, y - before, *table.tables())
        straight = self.pointwise and target.layout == TILES
        shares, used = self._shares(threads), self.feed.room_bytes(given)
        work: list[list[parallel.Step]] = [[] for _ in shares]
        for i, (panels, part) in enumerate(shares):
            if target.clear is not None:
                work[i] += [zeros.clear(target.clear, y, (i, len(shares))) for zeros in target.zeros]
            mine = sums + i * self.panel * ZMM_BYTES * self.stride
            for first, stop in panels:
                lo, hi = int(table.first[first]), int(table.first[stop])
                skipped = first * self.columns * ZMM_BYTES
                from_ = xs + skipped
                if self.feed.by_bands:
                    from_ = room + i * used
                    work[i].append(self.feed.band(given, xs, from_, (first, stop)))
                for c in part:
                    if straight:
                        base, multiply = y, (self.straight, (from_ - skipped, y, *c.table, first, stop, 0, 0))
                    else:
                        base = mine - c.row_lo * ZMM_BYTES
                        multiply = (self.code, (from_, base, *c.table, 0, stop - first, 0, 0))
                        base -= first * self.stride * ZMM_BYTES
                    work[i].append(multiply)
                    if target.finish is not None:
                        work[i].append((target.finish, (base, *vectors, lo, hi, table.step, c.row_lo, c.row_hi)))
        return work

    def _shares(self, threads: int) -> list[tuple[list[tuple[int, int]], list[_Chunk]]]:
        """For each thread its panels and its chunks of rows: where there are enough, threads share bands, not rows; and
        tiles, unless every thread's reading all code costs more than what threads have of each other's values."""
        conv = self.planes.conv
        values = FLOAT_BYTES * (conv.inputs + self.call.n * conv.pixels)
        by_tiles = self.baked.nbytes < WORTH * values
        shared = self.feed.shared(threads, by_tiles=by_tiles)
        parts = self._parts(threads // len(shared))
        return [(panels, part) for panels in shared for part in parts]
