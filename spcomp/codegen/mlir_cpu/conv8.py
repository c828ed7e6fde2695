"""Direct convolutions in int8: weights by output channel, x by image, sums in 32 bits. Needs AVX-512 VNNI and VBMI.

An image becomes bytes once (:mod:`~spcomp.codegen.mlir_cpu.octets`), with zeros around it; nothing is unrolled into
patches. Then panel by panel of pixels: sums of all rows, and the pass that makes planes of them, or, for neighbours in
int8, pixels with their largest magnitude (:mod:`spcomp.conv_layout`).
"""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from spcomp.codegen.mlir_cpu import jit, parallel, team
from spcomp.codegen.mlir_cpu import segments as seg
from spcomp.codegen.mlir_cpu.int8_rows import OFFSET
from spcomp.codegen.mlir_cpu.octets import SLACK, Octets, largest_text, octets_of_pixels_text, octets_text
from spcomp.codegen.mlir_cpu.pixels8 import pixels8_text, runs
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.taps8 import planes8_text, taps8_text
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.codegen.mlir_cpu.tokens import MLIR_DTYPES, float_vector, pointers
from spcomp.conv_layout import NATURAL, PARTS, PIXELS, makes, reads, shape_of
from spcomp.encodings.fours import Fours
from spcomp.encodings.pack import PackedTensor
from spcomp.encodings.windowed import UNIT
from spcomp.errors import KernelError
from spcomp.plan import KernelCall

PANEL_BYTES = 256 * 1024
"""Of sums that wait to become planes, at most."""
INT_BYTES = 4
LINE = 64


class Rounding:
    """An image as bytes: its largest magnitude, unless that is known, then its pixels. Thread safe."""

    def __init__(self, octets: Octets, dtype: str, given: str = NATURAL) -> None:
        """``given``: how the image lies, natural or as pixels."""
        conv = octets.conv
        self.octets, self.conv, self.given = octets, conv, given
        *largest, self.copy = jit.compile_all(rounding_jobs(octets, dtype, given))
        self.largest = largest[0] if largest else None
        self.lines = octets.lines()
        self.padded = octets.padded

    @property
    def source(self) -> str:
        found = [self.copy] if self.largest is None else [self.largest, self.copy]
        return "\n".join(f"// {c.name}\n{c.text}" for c in found)

    def pad(self, q: int) -> None:
        """What no pixel goes to is zero, before there are pixels."""
        if self.padded:
            ctypes.memset(q, OFFSET, self.octets.total)

    def steps(self, x: int, q: int, most: int, scale: int, threads: int) -> list[list[list[parallel.Step]]]:
        """The calls of each thread, first all of one stage, then all of the next; addresses as in a call."""
        conv, shares = self.conv, parallel.even(self.conv.height, threads)
        if self.largest is None:
            behind = x + conv.inputs * INT_BYTES
            sizes: tuple[int, ...] = (PARTS, conv.width * conv.channels)
            return [self._copies((x, behind, self.lines.ctypes.data, q, scale, *sizes), shares)]
        parts = min(threads, PARTS)
        look: list[list[parallel.Step]] = [
            [(self.largest, (x, most, i, *share))] for i, share in enumerate(parallel.even(conv.inputs, parts))
        ]
        sizes = (parts, conv.height * conv.width, conv.width)
        return [look, self._copies((x, most, self.lines.ctypes.data, q, scale, *sizes), shares)]

    def _copies(self, known: tuple[int, ...], shares: list[tuple[int, int]]) -> list[list[parallel.Step]]:
        return [[(self.copy, (*known, lo, hi))] for lo, hi in shares]

    def __call__(self, x: int, q: int, most: int, scale: int, threads: int) -> None:
        """Addresses of one image, of its bytes, of :data:`PARTS` numbers and of its scale."""
        self.pad(q)
        for stage in self.steps(x, q, most, scale, threads):
            parallel.run(stage)


def rounding_jobs(octets: Octets, dtype: str, given: str) -> list[jit.Job]:
    """What a :class:`Rounding` compiles: the copy last, and what finds the largest magnitude where it is not known."""
    if given == PIXELS:
        return [("octets_of_pixels", octets_of_pixels_text(), 5, 4)]
    narrow = octets.conv.width < LANES
    copy = ("octets", octets_text(octets.conv.channels, narrow, dtype), 5, 5)
    return [("largest", largest_text(dtype), 2, 3), copy]


@dataclass(frozen=True, eq=False)
class _Way:
    """From one layout to another: how x is rounded, what sums become, and all calls of an image by threads."""

    rounding: Rounding
    made: str
    shape: tuple[int, ...]
    """Of one image of the result."""
    finish: jit.Compiled
    prepared: dict[int, parallel.Prepared] = field(default_factory=dict)


class Conv8Kernel:
    """``y = activation(sums * weight_scale * image_scale + bias + residual)``. Thread safe: scratch is per thread."""

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, scale: torch.Tensor) -> None:
        """scale [n]: of each row of the weight, times BatchNorm's."""
        encoding, conv = packed.encoding, call.conv
        assert conv is not None
        self.octets = octets = Octets(conv)
        if not isinstance(encoding, Fours) or (encoding.run or call.k) != conv.run:
            raise KernelError(
                f"generate an int8 convolution for {call.layer}", f"encoding {encoding}",
                f"fours(width=64, run={conv.run})",
            )  # fmt: skip
        team.ready()
        self.call, self.packed, self.conv = call, packed, conv
        self.bias, self.scale = float_vector(bias), float_vector(scale)
        self.shift = (-OFFSET * packed.unpack().sum(dim=1, dtype=torch.int64)).to(torch.int32)
        self.pixels = next(p for p in (1, 2, 4, 8, 16) if p >= min(16, octets.span))
        self.at = _places(octets, encoding, packed)
        self.slots = np.diff(packed.buffers["group_start"].numpy())
        self.stride = -(-call.n // LANES) * LANES
        self.tiles = -(-octets.span // LANES)
        self.panel = max(1, min(self.tiles, PANEL_BYTES // (LANES * INT_BYTES * max(1, self.stride))))
        pixel = octets.pixel()
        self.table = seg.segments(pixel, seg.natural_destination(conv.pixels), self.stride, conv.pixels)
        self.runs, self.first_run = runs(pixel, self.panel * LANES)
        text = taps8_text(octets.step, encoding.width, self.pixels)
        together = [*rounding_jobs(octets, MLIR_DTYPES[call.dtype], NATURAL), self._finish_job(NATURAL)]
        self.body = jit.compile_all([("taps8", text, 6, 4), *together])[0]
        values, columns, start = pointers(packed, ("values", "columns", "group_start"))
        self._pointers = (values, columns, self.at.ctypes.data, start)
        self._lock = threading.Lock()
        self._ways: dict[tuple[str, str], _Way] = {}
        self._natural = self._way(NATURAL, NATURAL)
        self.rounding, self.finish = self._natural.rounding, self._natural.finish

    @property
    def source(self) -> str:
        ways = list(self._ways.values())
        parts = [f"// {c.name}\n{c.text}" for c in (self.body, *(way.finish for way in ways))]
        return "\n".join(dict.fromkeys([*(way.rounding.source for way in ways), *parts]))

    @property
    def extra_nbytes(self) -> int:
        vectors = self.shift.nbytes + self.scale.nbytes + self.bias.nbytes
        tables = self.table.nbytes + self.runs.nbytes + self.first_run.nbytes
        return vectors + self.at.nbytes + tables + sum(way.rounding.lines.nbytes for way in self._ways.values())

    @property
    def laid_served(self) -> bool:
        return self.call.dtype == "float32"

    def _way(self, given: str, made: str) -> _Way:
        """Made, and its functions compiled, when it is first asked for."""
        with self._lock:
            if (given, made) not in self._ways:
                shape = shape_of(made, self.conv.size(self.call.n), ())
                rounding = Rounding(self.octets, MLIR_DTYPES[self.call.dtype], given)
                self._ways[given, made] = _Way(rounding, made, shape, jit.compile_text(*self._finish_job(made)))
            return self._ways[given, made]

    def _finish_job(self, made: str) -> jit.Job:
        """What brings sums into a layout."""
        rest, epilogue = self.call.n % LANES, self.call.epilogue
        if made == PIXELS:
            return "pixels8", pixels8_text(rest, epilogue), 9, 8
        return "planes8", planes8_text(rest, "i32", epilogue, MLIR_DTYPES[self.call.dtype]), 10, 7

    def ready(self, given: str, made: str, planes: tuple[int, ...]) -> None:
        """Compile what :meth:`on_layout` will need."""
        self._way(given, made)

    def __call__(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        return self._run(x, residual, self._natural)

    def on_layout(
        self, x: torch.Tensor, residual: torch.Tensor | None, given: str, made: str, planes: tuple[int, ...]
    ) -> torch.Tensor:
        if given not in reads(self.conv, "int8") or made not in makes("int8"):
            raise KernelError(
                f"run {self.call.layer} from {given} to {made}", f"an int8 convolution of {self.conv}",
                f"{NATURAL} or {PIXELS}",
            )  # fmt: skip
        return self._run(x, residual, self._way(given, made))

    def _run(self, x: torch.Tensor, residual: torch.Tensor | None, way: _Way) -> torch.Tensor:
        y = x.new_empty((x.shape[0], *way.shape))
        if y.numel() == 0:
            return y
        x = x.contiguous()
        other = y if residual is None else residual.contiguous()
        threads = min(parallel.threads_for(self.conv.pixels * self.call.stored // 4), PARTS)
        q = scratch(SLACK + self._image + LINE * 4 + self.panel * LANES * self.stride * INT_BYTES) + SLACK
        inputs, outputs = (t.numel() // len(t) * t.element_size() for t in (x, y))
        if threads not in way.prepared:
            way.prepared[threads] = self._prepared(way, threads, y.element_size())
        for i in range(len(x)):
            way.rounding.pad(q)
            out = y.data_ptr() + i * outputs
            if way.made == PIXELS:
                ctypes.memset(out + outputs - PARTS * INT_BYTES, 0, PARTS * INT_BYTES)
            way.prepared[threads](x.data_ptr() + i * inputs, q, other.data_ptr() + i * outputs, out)
        return y

    @functools.cached_property
    def _image(self) -> int:
        """Room for an image's bytes, and for what is read behind them."""
        octets = self.octets
        return -(-(octets.total + LANES * octets.step + SLACK) // LINE) * LINE

    def _prepared(self, way: _Way, threads: int, item: int) -> parallel.Prepared:
        """All calls of an image, of addresses of x, its bytes, a residual and y."""

        def stages(x: int, q: int, residual: int, y: int) -> list[parallel.Stage]:
            most, scale = q + self._image, q + self._image + PARTS * INT_BYTES
            return [
                *way.rounding.steps(x, q, most, scale, threads),
                self._steps(way, threads, q, scale, residual, y, item),
            ]

        return parallel.Prepared(stages, 4)

    def _steps(
        self, way: _Way, threads: int, q: int, scale: int, residual: int, y: int, item: int
    ) -> list[list[parallel.Step]]:
        """Each thread's calls: its rows of every panel, and what becomes of them."""
        ys = q + self._image + 4 * LINE
        cuts = [0, len(self.slots)] if threads == 1 else parallel.balance(self.slots, threads)
        work: list[list[parallel.Step]] = [[] for _ in range(threads)]
        for tile in range(0, self.tiles, self.panel):
            stop = min(tile + self.panel, self.tiles)
            from_ = q + tile * LANES * self.octets.step
            count = -(-min((stop - tile) * LANES, self.octets.span - tile * LANES) // self.pixels) * self.pixels
            for part, (lo, hi) in enumerate(pairwise(cuts)):
                if lo == hi:
                    continue
                rows = (lo * LANES, min(hi * LANES, self.call.n))
                work[part].append((self.body, (from_, *self._pointers, ys, self.stride, count, lo, hi)))
                if way.made == PIXELS:
                    arguments = self._to_pixels(part, ys, scale, residual, y, tile)
                else:
                    arguments = self._to_planes(ys, scale, residual - LANES * item, y - LANES * item, count, tile, stop)
                work[part].append((way.finish, (*arguments, *rows)))
        return work

    def _vectors(self) -> tuple[int, int, int]:
        return self.shift.data_ptr(), self.scale.data_ptr(), self.bias.data_ptr()

    def _to_planes(
        self, ys: int, scale: int, residual: int, y: int, count: int, tile: int, stop: int
    ) -> tuple[int, ...]:
        table = (self.table.masks.ctypes.data, self.table.to.ctypes.data, self.table.first.ctypes.data)
        sizes = (count, self.stride, self.table.step, tile, stop)
        return (ys, *self._vectors(), scale, residual, y, *table, *sizes)

    def _to_pixels(self, part: int, ys: int, scale: int, residual: int, y: int, tile: int) -> tuple[int, ...]:
        panel = tile // self.panel
        span = (int(self.first_run[panel]), int(self.first_run[panel + 1]))
        most = y + self.conv.pixels * self.call.n * INT_BYTES
        sizes = (part, self.stride, self.call.n, tile * LANES, *span)
        return (ys, *self._vectors(), scale, residual, y, self.runs.ctypes.data, most, *sizes)


def _places(octets: Octets, encoding: Fours, packed: PackedTensor) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Where each slot's window begins in an image's bytes, for output pixel 0."""
    buffers = {name: buffer.numpy() for name, buffer in packed.buffers.items()}
    first = buffers["first"].astype(np.int64) * UNIT
    run = encoding.runs(buffers)
    starts = octets.runs()
    if not encoding.run or not starts.size:
        return first.astype(np.int32)
    found = np.where(buffers["values"].any(axis=(1, 2)), starts[run] + first - run * encoding.run, 0)
    return found.astype(np.int32)
