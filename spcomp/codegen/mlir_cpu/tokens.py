"""Kernels with sixteen tokens in the lanes: pack x, multiply, unpack with the epilogue.

Blocked CSR, blocks and N:M at any M share everything but the function in the middle (:class:`Body`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest

import torch

from spcomp.codegen.mlir_cpu import jit, parallel, team, tiled
from spcomp.codegen.mlir_cpu.jit import Job
from spcomp.codegen.mlir_cpu.laid_down import Work
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.scratch import scratch
from spcomp.codegen.mlir_cpu.text import LANES
from spcomp.cost.cycles import chunk_rows
from spcomp.encodings.pack import PackedTensor
from spcomp.plan import Epilogue, KernelCall
from spcomp.targets.host import host_cpu

MLIR_DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
PANEL_TILES = 8
"""Tiles (of sixteen rows) packed, multiplied and unpacked before the next ones: they stay in the L2 cache."""
FEWEST_TILES = 4
"""Of a thread, of code that takes any number of them: it is read anew by each."""
MOST_PREPARED = 16
"""Row counts whose calls are kept laid down."""
NOTHING = Epilogue()
CHUNK_BYTES = 256 * 1024
"""Partial sums of the rows of W that are worked on together; half of a small L2."""


@dataclass(frozen=True, eq=False)
class Body:
    """What an encoding contributes: its functions by tile count, its buffers, and its cuts along the rows."""

    columns: int
    """Columns of x that it reads: k, rounded up to whole blocks or groups."""
    function: Callable[[int, int, int], Job | jit.Compiled]
    """(tiles at a time, columns that a tile of x has, rows that a tile of sums has) -> ``function(xs, ys, *pointers,
    *range's pointers, tile_lo, tile_hi, unit_lo, unit_hi)``, to be compiled or ready."""
    pointers: tuple[int, ...]
    """Addresses of the packed buffers, in argument order after xs and ys."""
    row_weights: parallel.Weights
    """Work of each (tile or block of) rows, to balance threads."""
    rows_per_unit: int
    """Rows of W in one unit of ``row_weights``."""
    at: Callable[[int, int, int], tuple[int, ...]]
    """The further pointers of a range of units. The third argument: so many columns are multiplied with all of these
    rows before the next ones, 0 for all at once; only a body of any number of tiles is asked for less than all."""
    extra_nbytes: Callable[[], int] = int
    """Bytes of what ``at`` points into so far, and of code that is one weight's own."""
    done: Epilogue = NOTHING
    """What the functions themselves do of the epilogue."""
    any_tiles: bool = False
    """Whether one function takes any number of tiles; otherwise it takes them in multiples of what it was made for."""

    def left_of(self, epilogue: Epilogue) -> Epilogue:
        """What remains to be done."""
        activation = "none" if epilogue.activation == self.done.activation else epilogue.activation
        return replace(epilogue, bias=epilogue.bias and not self.done.bias, activation=activation)

    @property
    def padded_k(self) -> int:
        """Columns of a tile of packed x, as the token kernel lays it out."""
        return padded_columns(self.columns)


def padded_columns(k: int) -> int:
    """Columns of packed x. Strides of whole 4 KB pages would put all tiles of a column into the same cache set, and of
    eight pages into one or two sets of the translations."""
    nbytes = k * LANES * 4
    return k + (0 if not k or nbytes % 4096 else 8 if nbytes % (8 * 4096) else 72)


@dataclass(frozen=True)
class Chunk:
    """A range of (units of) rows of W whose sums fit in half the L2 cache, with the pointers of its start."""

    unit_lo: int
    unit_hi: int
    row_lo: int
    row_hi: int
    more: tuple[int, ...]


class TokensKernel:
    """``y = activation(x @ W.T + bias)`` for any M. Thread safe: scratch is per thread, the rest is read-only.

    A panel of up to eight tiles of x is packed; then, chunk by chunk of W's rows, the products are summed into a small
    buffer that stays in L2 and unpacked into y. Threads share the rows of x where they can
    (:func:`~spcomp.codegen.mlir_cpu.parallel.shared_tiles`), else a packed panel, of which each owns chunks.
    """

    def __init__(self, call: KernelCall, packed: PackedTensor, bias: torch.Tensor | None, body: Body) -> None:
        team.ready()
        self.call = call
        self.packed = packed
        self.body = body
        schedule = dict(call.schedule)
        self.tiles = schedule["panel"] if body.any_tiles else schedule["tiles"]
        self.unit = min(self.tiles, FEWEST_TILES) if body.any_tiles else self.tiles
        """Tiles that threads do not part."""
        self.bias = float_vector(bias)
        self.panel = max(PANEL_TILES, self.tiles)
        most = call.rows.hi
        tiles = self.panel if most is None else min(self.panel, -(-max(1, most) // LANES))
        self.together = tiled.columns_together(body.columns, tiles) if body.any_tiles else 0
        sums = max(CHUNK_BYTES, (host_cpu().l2_bytes or 0) // 4) if self.together else CHUNK_BYTES
        self.chunk, self.step = chunk_rows(sums // (4 * LANES * self.panel), body.rows_per_unit, call.n)
        """Rows of W that are worked on together, and their units."""
        self.stride = self.chunk + 8
        sizes, frame = self._sizes(), self._frame(bias is not None)
        made = jit.compile_all([*(body.function(t, body.padded_k, self.stride) for t in sizes), *frame])
        self.bodies = dict(zip(sizes, made, strict=False))
        self.pack, self.unpack, *self.further = made[len(sizes) :]
        self._chunks: dict[tuple[int, int], list[list[Chunk]]] = {}
        self._tiled: dict[int, tiled.Tiled] = {}
        self._prepared: dict[tuple[int, int], parallel.Prepared] = {}
        self._met: tuple[tuple[int, int], ...] = ()
        """Row counts and threads of the last calls: what comes again is prepared."""
        self._held: tuple[int, ...] = (self.bias.data_ptr(),)

    def _frame(self, bias: bool) -> list[Job]:
        """What packs x and what unpacks y, and whatever else a kind of kernel needs."""
        call = self.call
        dtype = MLIR_DTYPES[call.dtype]
        left = self.body.left_of(call.epilogue)
        unpack = unpack_text(call.n, self.stride, bias and left.bias, left.activation, dtype)
        return [("pack", pack_text(call.k, self.body.padded_k, dtype), 2, 3), ("unpack", unpack, 3, 5)]

    @property
    def source(self) -> str:
        return "\n".join(f"// {c.name}\n{c.text}" for c in (self.pack, *self.bodies.values(), self.unpack))

    @property
    def extra_nbytes(self) -> int:
        for threads in {1, torch.get_num_threads()}:
            self.parts(threads)  # what calls would make, whether there was one or not
        return self.bias.nbytes + self.body.extra_nbytes()

    def _sizes(self) -> list[int]:
        """Tile counts that the calls of this row range can need: the schedule's and what covers a remainder."""
        if self.body.any_tiles:
            return [self.tiles]
        rows = self.call.rows
        if rows.hi is not None and rows.lo == rows.hi:
            tiles = -(-max(1, rows.lo) // LANES)
            panels = {min(self.panel, tiles), tiles % self.panel or self.panel}
            return sorted({t for p in panels for _, _, t in self._spans(min(p, tiles))}, reverse=True)
        return [t for t in (16, 8, 4, 2, 1) if t <= self.tiles]

    def _spans(self, tiles: int) -> list[tuple[int, int, int]]:
        """(first tile, last tile, tiles at a time) that cover ``tiles``; three quarters full counts as full."""
        if self.body.any_tiles:
            return [(0, tiles, self.tiles)]
        spans, at, size = [], 0, self.tiles
        while at < tiles:
            while 4 * (tiles - at) < 3 * size:
                size //= 2
            stop = at + max(1, (tiles - at) // size) * size
            spans.append((at, stop, size))
            at = stop
        return spans

    def parts(self, threads: int, together: int | None = None) -> list[list[Chunk]]:
        """For each thread its chunks of rows, balanced by work; columns ``together`` as the kernel's own, or these."""
        together = self.together if together is None else together
        known = self._chunks.get((threads, together))
        if known is not None:
            return known
        per, step = self.body.rows_per_unit, self.step
        cuts = parallel.balance(self.body.row_weights, threads, LANES // math.gcd(LANES, per))
        made = []
        for lo, hi in pairwise(cuts):
            ranges = [(a, min(a + step, hi)) for a in range(lo, hi, step)]
            starts = [self.body.at(a, b, together) for a, b in ranges]
            rows = [(a * per, min(b * per, self.call.n)) for a, b in ranges]
            made.append([Chunk(*u, *r, more) for u, r, more in zip(ranges, rows, starts, strict=True)])
        self._chunks[threads, together] = made
        return made

    @property
    def tiles_served(self) -> bool:
        return tiled.serves(self)

    def on_tiles(self, xs: torch.Tensor) -> torch.Tensor:
        """xs [tiles, k, 16] -> [tiles, n, 16] in float32: neither packed nor unpacked."""
        return self._on_tiles(xs.shape[0])(xs)

    def work_on_tiles(self, tiles: int) -> Work | None:
        """The same for so many tiles as work that may be laid down; None where this kernel knows no tiles."""
        return self._on_tiles(tiles).work() if self.tiles_served else None

    def _on_tiles(self, tiles: int) -> tiled.Tiled:
        run = self._tiled.get(tiles)
        if run is None:
            run = self._tiled[tiles] = tiled.Tiled(self, tiles)
        return run

    def work_on_rows(self, m: int) -> Work | None:
        """See :class:`~spcomp.codegen.mlir_cpu.laid_down.LinearKernel`; of subclasses that read x as this one does."""
        if self.call.dtype != "float32" or self.call.quantize:
            return None
        threads = parallel.threads_for(m * self.call.stored)
        xs_bytes, ys_bytes = self._rooms()
        rooms = len(self._shares(m, threads)) * xs_bytes + threads * ys_bytes
        return Work(rooms, lambda reads, y, room: self._stages(m, threads, 4, xs_bytes, ys_bytes, reads[0], y, room))

    def _rooms(self) -> tuple[int, int]:
        """Bytes of a packed panel of x, and of a thread's sums."""
        return self.panel * LANES * self.body.padded_k * 4, self.panel * LANES * self.stride * 4

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        call = self.call
        y = x.new_empty((*x.shape[:-1], call.n))
        if y.numel() == 0:
            return y
        m = y.numel() // call.n
        x = x.contiguous()
        threads = parallel.threads_for(m * call.stored)
        xs_bytes, ys_bytes = self._rooms()
        xs = scratch(len(self._shares(m, threads)) * xs_bytes + threads * ys_bytes)
        bases = (x.data_ptr(), y.data_ptr(), xs)
        prepared = self._prepared.get((m, threads))
        if prepared is not None:
            prepared(*bases)
            return y
        stages = functools.partial(self._stages, m, threads, x.element_size(), xs_bytes, ys_bytes)
        if (m, threads) in self._met:
            for oldest in list(self._prepared)[: 1 - MOST_PREPARED]:
                self._prepared.pop(oldest, None)
            self._prepared[m, threads] = parallel.Prepared(stages, len(bases))
        self._met = (*self._met[-MOST_PREPARED:], (m, threads))
        for stage in stages(*bases):
            parallel.run(stage)
        return y

    def _stages(
        self, m: int, threads: int, item: int, xs_bytes: int, ys_bytes: int, x: int, y: int, xs: int
    ) -> list[parallel.Stage]:
        """Each panel is packed, then multiplied."""
        step, call = self.panel * LANES, self.call
        shares = self._shares(m, threads)
        each = threads // len(shares)
        after = xs + len(shares) * xs_bytes
        found: list[list[parallel.Stage]] = []
        for i, (lo, hi) in enumerate(shares):
            mine, sums = xs + i * xs_bytes, after + i * each * ys_bytes
            stages: list[parallel.Stage] = []
            for row in range(lo * LANES, min(hi * LANES, m), step):
                rows = min(step, m - row, hi * LANES - row)
                from_, to = x + row * call.k * item, y + row * call.n * item
                stages += self._panel(from_, self._held, to, mine, sums, ys_bytes, rows, each)
            found.append(stages)
        if each == 1:  # nobody waits for anybody
            return [[[one for stage in stages for one in stage[0]] for stages in found]]
        return [[part for stage in together for part in stage] for together in zip_longest(*found, fillvalue=())]

    def _shares(self, m: int, threads: int) -> tuple[parallel.Range, ...]:
        """The tiles of each share of ``m`` rows of x."""
        return parallel.shared_tiles(-(-m // LANES), self.unit, threads)

    def products(self, m: int) -> Callable[[], None]:
        """The middle functions alone, in one thread: what ``m`` rows cost where x is packed and y may stay packed.

        For measuring: it multiplies whatever is in this thread's scratch memory, and keeps no result.
        """
        xs_bytes, ys_bytes = self._rooms()
        total = xs_bytes + ys_bytes
        calls = []
        for row in range(0, m, self.panel * LANES):
            spans = self._spans(-(-min(self.panel * LANES, m - row) // LANES))
            for c in self.parts(1)[0]:
                calls += [(self.bodies[size].call, c, lo, hi) for lo, hi, size in spans]
        pointers = self.body.pointers

        def run() -> None:
            xs = scratch(total)
            for call, c, lo, hi in calls:
                base = xs + xs_bytes - c.row_lo * LANES * 4
                call(xs, base, *pointers, *c.more, lo, hi, c.unit_lo, c.unit_hi)

        return run

    def _panel(
        self, x: int, held: tuple[int, ...], y: int, xs: int, ys: int, ys_bytes: int, m: int, threads: int
    ) -> list[parallel.Stage]:
        """``held``: what ``unpack`` takes between the sums and y."""
        spans = self._spans(-(-m // LANES))
        tiles = spans[-1][1]  # a padded tile holds zeros and is not stored
        packing = [[(self.pack, (x, xs, m, lo, hi))] for lo, hi in parallel.even(tiles, threads)]
        return [packing, self._work(spans, held, y, xs, ys, ys_bytes, m, threads)]

    def _work(
        self,
        spans: Sequence[tuple[int, int, int]],
        held: tuple[int, ...],
        y: int,
        xs: int,
        ys: int,
        ys_bytes: int,
        m: int,
        threads: int,
    ) -> list[list[parallel.Step]]:
        """The calls of each thread for one packed panel."""
        pointers, tiles = self.body.pointers, spans[-1][1]
        work: list[list[parallel.Step]] = []
        for i, part in enumerate(self.parts(threads)):
            mine = ys + i * ys_bytes
            steps: list[parallel.Step] = []
            for c in part:
                base = mine - c.row_lo * LANES * 4
                for lo, hi, size in spans:
                    steps.append((self.bodies[size], (xs, base, *pointers, *c.more, lo, hi, c.unit_lo, c.unit_hi)))
                steps.append((self.unpack, (mine, *held, y, m, 0, tiles, c.row_lo, c.row_hi)))
            work.append(steps)
        return work


def float_vector(values: torch.Tensor | None) -> torch.Tensor:
    """A bias or scales as kernels read them; one zero in place of none."""
    return torch.zeros(1) if values is None else values.detach().to(torch.float32).contiguous()


def pointers(packed: PackedTensor, names: Sequence[str]) -> tuple[int, ...]:
    return tuple(packed.buffers[name].data_ptr() for name in names)
