"""Direct convolution with baked code: pixels in the lanes, nothing unrolled into patches.

A 1x1 convolution is a product on tiles of sixteen pixels. Any other finds every column of its weight at a displacement
into planes that are padded (and split by phase, where there is a stride): in scratch memory, or the input's own. Blocks
of code run along tiles; sums are finished into the result, panel by panel. Neighbours may hand over tiles or padded
planes (:mod:`spcomp.conv_layout`), and then nothing is copied between them.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from spcomp.codegen.baked_cpu.body import bake, enter, place, unit_rows
from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu import segments as seg
from spcomp.codegen.mlir_cpu.planes import Planes, planes_text
from spcomp.codegen.mlir_cpu.regroup import Regrouping
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import CHUNK_BYTES, MLIR_DTYPES, float_vector
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES
from spcomp.codegen.x86.memory import PAGE_BYTES
from spcomp.conv_layout import NATURAL, TILES, Padded, makes, pointwise, reads, shape_of, takes
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import KernelError
from spcomp.plan import Epilogue, KernelCall

FEWEST_TILES = 8
"""Tiles of a panel, at least: code is read anew for every panel."""
SUMS_BYTES = 512 * 1024
"""Of sums that wait to be finished, at most, where there is more than one unit of rows."""
PANEL_BYTES = 384 * 1024
"""Of x in a panel of a 1x1 convolution, about: it is read by every unit of rows."""


@dataclass(frozen=True)
class _Chunk:
    """Some rows of W and the table of their blocks."""

    row_lo: int
    row_hi: int
    table: tuple[int, int]


@dataclass(frozen=True, eq=False)
class _Target:
    """What sums become: where they go, the function that takes them there, and what is zeroed around them."""

    layout: str
    shape: tuple[int, ...]
    """Of one image."""
    segments: seg.Segments
    finish: jit.Compiled | None
    around: tuple[jit.Compiled, torch.Tensor, torch.Tensor] | None = None
    planes: Padded | None = None
    prepared: dict[int, parallel.Prepared] = field(default_factory=dict)
    """By threads."""


class BakedConv:
    """``y = activation(conv(x) * scale + bias + residual)``. Thread safe: scratch is per thread, the rest read-only."""

    def __init__(
        self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor | None
    ) -> None:
        assert call.conv is not None
        parallel.ready()
        self.call, self.packed, conv = call, packed, call.conv
        self.planes = planes = Planes(conv)
        self.bias, self.scale = float_vector(bias), float_vector(scale)
        schedule = dict(call.schedule)
        sizes = schedule["rows"], schedule["columns"], schedule["groups"]
        self.pointwise = pointwise(conv)
        self.unit = unit_rows(call.n)
        rows = min(-(-call.n // LANES) * LANES, self.unit)
        self.tiles = -(-conv.pixels // LANES) if self.pointwise else planes.tiles
        panel = CHUNK_BYTES // (ZMM_BYTES * rows)
        self.over_bytes = 0
        """How far behind the input's own planes a last tile reads, into lanes that are dropped."""
        if self.pointwise:
            panel = min(panel, PANEL_BYTES // (ZMM_BYTES * conv.channels))
            self.columns = conv.channels
            baked = bake(packed, *sizes)
        else:
            offsets = planes.offsets().transpose(2, 0, 1).reshape(-1)
            order = torch.arange(call.k).reshape(call.k // conv.channels, -1).t().reshape(-1).numpy()
            self.columns = 1
            self.over_bytes = max(0, int(offsets.max(initial=0)) + self.tiles * LANES - conv.inputs) * FLOAT_BYTES
            baked = bake(packed, *sizes, order=order, offsets=offsets * FLOAT_BYTES)
        self.panel = min(self.tiles, max(FEWEST_TILES, panel))
        self.units = max(1, SUMS_BYTES // (ZMM_BYTES * self.panel * self.unit))
        """Units of rows that are computed, then finished, together."""
        self.stride = rows if self.units == 1 else min(-(-call.n // LANES) * LANES, self.units * self.unit)
        self.stride += 8
        dtype = MLIR_DTYPES[call.dtype]
        jobs = [] if self.pointwise and conv.stride == (1, 1) else [("planes", planes_text(planes, dtype), 2, 2)]
        after = "f32" if jobs else dtype
        jobs += [("tiles", seg.tiles_text(after), 2, 4)] if self.pointwise else []
        jobs += [("finish", seg.finish_text(call.epilogue, dtype, by_rows=True), 8, 5)]
        compiled = {c.name: c for c in jit.compile_all(jobs)}
        self.prepare, self.to_tiles = compiled.get("planes"), compiled.get("tiles")
        place(baked)
        self.code = enter(baked, self.columns, self.stride)
        self.straight = enter(baked, self.columns, call.n) if self.pointwise and call.n else self.code
        """The same with sums straight into a result in tiles."""
        self.baked = baked
        self.weights = baked.products
        self._lock = threading.Lock()
        self._known: dict[int, list[list[_Chunk]]] = {}
        self._pages: dict[tuple[str, int], list[int]] = {}
        self._targets: dict[tuple[str, tuple[int, ...]], _Target] = {}
        self._from_tiles: Regrouping | None = None
        self._natural = self._target(NATURAL, ())

    @property
    def source(self) -> str:
        found = [self.prepare, self.to_tiles, self.code, self._natural.finish]
        return "\n".join(f"// {c.name}\n{c.text}" for c in found if c is not None)

    @property
    def extra_nbytes(self) -> int:
        for threads in {1, torch.get_num_threads()}:
            self._parts(threads)
        vectors = self.bias.nbytes + self.scale.nbytes + (self._from_tiles.nbytes if self._from_tiles else 0)
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
        stride, around, to = self.stride, None, None
        match layout:
            case "tiles":
                stride = call.n if self.pointwise else stride
                where, step = seg.tiles_destination(conv.pixels, call.n), LANES
            case "planes":
                to = Padded(*planes)
                where, step = seg.planes_destination(*conv.output, to), to.plane
                at, masks = (torch.from_numpy(v) for v in seg.border(*conv.output, to))
                around = (jit.compile_text("border", seg.border_text(), 3, 4), at, masks)
            case _:
                where, step = seg.natural_destination(conv.pixels), conv.pixels
        table = seg.segments(pixel, where, stride, step)
        shape = shape_of(layout, conv.size(call.n), planes)
        if layout == TILES and self.pointwise and call.epilogue == Epilogue():
            return _Target(layout, shape, table, None)
        text = seg.finish_text(call.epilogue, MLIR_DTYPES[call.dtype], by_rows=layout != TILES)
        return _Target(layout, shape, table, jit.compile_text("finish", text, 8, 5), around, to)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return self._run(x, residual, NATURAL, self._natural)

    def ready(self, given: str, made: str, planes: tuple[int, ...]) -> None:
        """Compile what :meth:`on_layout` will need."""
        self._target(made, planes)
        if given == TILES:
            self._regrouping()

    def _regrouping(self) -> Regrouping | None:
        """What turns tiles into what is read instead, made when it is first asked for; None where that is tiles."""
        if takes(self.planes.conv) == TILES:
            return None
        with self._lock:
            if self._from_tiles is None:
                self._from_tiles = Regrouping.of(self.planes)
            return self._from_tiles

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        if given not in reads(self.planes.conv) or made not in makes():
            wrong = made if given in reads(self.planes.conv) else given
            raise KernelError(f"run {self.call.layer} on {wrong}", f"a convolution of {self.planes.conv}", NATURAL)
        if given == TILES:
            self._regrouping()
        return self._run(x, residual, given, self._target(made, planes))

    def _run(self, x: torch.Tensor, residual: torch.Tensor | None, given: str, target: _Target) -> torch.Tensor:
        y = x.new_empty((x.shape[0], *target.shape))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = y if residual is None else residual.contiguous()
        item = x.element_size()
        threads = parallel.threads_for(self.planes.conv.pixels * self.call.stored)
        rooms = self._rooms(given, threads)
        steps = (x.numel() // len(x) * item, y.numel() // len(y) * item)
        for image in range(x.shape[0]):
            xs = x.data_ptr() + image * steps[0]
            if given == NATURAL:
                xs = self._prepared(xs, rooms, threads)
            elif given == TILES and self._from_tiles is not None:
                self._from_tiles(xs, rooms[0], threads)
                xs = rooms[0]
            out = (other.data_ptr() + image * steps[1], y.data_ptr() + image * steps[1])
            self._image(xs, *out, rooms[2], threads, target)
        return y

    def _rooms(self, given: str, threads: int) -> list[int]:
        """Addresses in this thread's scratch memory: for planes, tiles of x, and sums."""
        pages = self._pages.get((given, threads))
        if pages is None:
            needs = [0, 0, threads * self.panel * ZMM_BYTES * self.stride]
            if given == NATURAL:
                needs[0] = (self.planes.total + LANES) * FLOAT_BYTES if self.prepare is not None else 0
                needs[1] = self.tiles * self.columns * ZMM_BYTES if self.pointwise else 0
            elif given == TILES and self._from_tiles is not None:
                tiles = self.tiles * self.columns * LANES if self.pointwise else self.planes.total + LANES
                needs[0] = tiles * FLOAT_BYTES
            pages = self._pages[given, threads] = [-(-n // PAGE_BYTES) * PAGE_BYTES for n in needs]
        start = scratch(sum(pages))
        return [start, start + pages[0], start + pages[0] + pages[1]]

    def _prepared(self, x: int, rooms: list[int], threads: int) -> int:
        """Address of the tiles or padded planes of one natural image."""
        conv, planes = self.planes.conv, self.planes
        if not self.pointwise and planes.natural and self.call.dtype == "float32":
            end = x + conv.inputs * FLOAT_BYTES  # the input's own, where a last tile stays in their page
            if (end - 1) // PAGE_BYTES == (end + self.over_bytes - 1) // PAGE_BYTES:
                return x
        shares = parallel.even(conv.channels, threads)
        if self.prepare is not None:
            parallel.run([[(self.prepare, (x, rooms[0], lo, hi))] for lo, hi in shares])
            x = rooms[0]
        if self.to_tiles is not None:
            sizes = (conv.channels, conv.pixels)
            parallel.run([[(self.to_tiles, (x, rooms[1], lo, hi, *sizes))] for lo, hi in shares])
            x = rooms[1]
        return x

    def _image(self, xs: int, residual: int, y: int, sums: int, threads: int, target: _Target) -> None:
        n = self.call.n
        if target.planes is not None:
            used = n * target.planes.plane
            ctypes.memset(y + used * FLOAT_BYTES, 0, (target.planes.total(n) - used) * FLOAT_BYTES)
        elif target.layout == TILES and self.planes.conv.pixels % LANES and not self.pointwise:
            ctypes.memset(y + (self.tiles_out - 1) * n * ZMM_BYTES, 0, n * ZMM_BYTES)
        prepared = target.prepared.get(threads)
        if prepared is None:
            steps = functools.partial(self._steps, threads, target)
            prepared = target.prepared[threads] = parallel.Prepared(steps, 4)
        prepared(xs, residual, y, sums)

    def _steps(
        self, threads: int, target: _Target, xs: int, residual: int, y: int, sums: int
    ) -> list[list[parallel.Step]]:
        """The calls of each thread for one image."""
        table = target.segments
        before = LANES * (FLOAT_BYTES if self.call.dtype == "float32" else FLOAT_BYTES // 2)
        vectors = (self.scale.data_ptr(), self.bias.data_ptr(), residual - before, y - before, *table.tables())
        straight = self.pointwise and target.layout == TILES
        parts = self._parts(threads)
        work: list[list[parallel.Step]] = [[] for _ in parts]
        if target.around is not None:
            clear, at, masks = target.around
            assert target.planes is not None
            sizes = (len(at), target.planes.plane, 0, self.call.n)
            work[0].append((clear, (y, at.data_ptr(), masks.data_ptr(), *sizes)))
        for first in range(0, self.tiles, self.panel):
            stop = min(first + self.panel, self.tiles)
            lo, hi = int(table.first[first]), int(table.first[stop])
            for i, part in enumerate(parts):
                mine = sums + i * self.panel * ZMM_BYTES * self.stride
                for c in part:
                    if straight:
                        base, multiply = y, (self.straight, (xs, y, *c.table, first, stop, 0, 0))
                    else:
                        base = mine - c.row_lo * ZMM_BYTES
                        from_ = xs + first * self.columns * ZMM_BYTES
                        multiply = (self.code, (from_, base, *c.table, 0, stop - first, 0, 0))
                        base -= first * self.stride * ZMM_BYTES
                    work[i].append(multiply)
                    if target.finish is not None:
                        work[i].append((target.finish, (base, *vectors, lo, hi, table.step, c.row_lo, c.row_hi)))
        return work

    @functools.cached_property
    def tiles_out(self) -> int:
        return -(-self.planes.conv.pixels // LANES)
