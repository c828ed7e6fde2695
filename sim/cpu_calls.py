"""Which streams a kernel call is made of: panels of tiles, chunks of rows, tiles at a time, as our generated code runs.

:class:`Walk` fills a block of accesses and hands it out whenever it is full; what a call does in which order is that of
``spcomp/codegen/mlir_cpu`` (``tokens.py``, ``few.py``, ``rows.py``), for one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcomp.cost.cycles import LANES, PANEL_TILES, chunk_rows, portions, rows_together
from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import PlanError
from spcomp.plan import KernelCall
from spcomp.sim import cpu_streams as st
from spcomp.sim import cpu_streams_csr as blocked
from spcomp.sim import cpu_streams_few as few
from spcomp.sim import cpu_streams_layout as layout
from spcomp.sim.cpu_streams_sell import SellBody

CHUNK_BYTES = 256 * 1024
"""Sums of the rows of W that are worked on together."""
WORDS = {8: (1, 2), 4: (1,), 2: (4,), 1: (8,)}
"""Tiles at a time -> control words of N:M in a column block."""
BITMAP_ROWS = (4, 4, 4, 2)
"""Rows of W that a bitmap kernel takes with 1, 2, 4 and 8 tokens."""
LEAST_BLOCK = 1 << 17
"""Accesses."""
MODELLED = ("csr", "sorted_csr", "sell", "block", "nm", "window", "bitmap", "dense")

Array = NDArray[np.int64]


class Walk:
    """A block of accesses that streams are appended to, and what they counted."""

    def __init__(self, cost: Array) -> None:
        self.cost = cost
        self.state = np.zeros(st.STATES, np.int64)
        self.state[st.S_MISSED] = st.THOUSANDTHS
        self.table = np.zeros((blocked.TABLES, st.DEEPEST, st.DEEPEST), np.int64)
        self.begun: dict[tuple[int, ...], int] = {}
        self.n = 0
        self.spare = 0
        self.address: Array = np.zeros(0, np.int64)
        self.kind: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.gap: Array = np.zeros(0, np.int64)
        self._room(LEAST_BLOCK)

    def _room(self, size: int) -> None:
        address, kind, gap = np.zeros(size, np.int64), np.zeros(size, np.uint8), np.zeros(size, np.int64)
        if self.n:
            address[: self.n], kind[: self.n] = self.address[: self.n], self.kind[: self.n]
            gap[: self.n] = self.gap[: self.n]
        self.address, self.kind, self.gap = address, kind, gap

    def need(self, spare: int) -> None:
        """Places that one step of the next streams may take."""
        self.spare = spare
        if len(self.address) < 4 * spare:
            self._room(4 * spare)

    def run(self, function: Any, stop: int, *arguments: Any, at: int = 0, following: int = 0) -> Iterator[int]:
        """A stream from ``at`` to ``stop``; yields accesses in the block whenever it is full."""
        self.state[st.S_AT], self.state[st.S_NEXT] = at, following
        self.state[st.S_VALUE : st.S_FETCHED2 + 1] = -1
        while self.state[st.S_AT] < stop:
            self.n = function(
                self.address, self.kind, self.gap, self.n, self.spare, self.state, *arguments
            )  # fmt: skip
            if self.state[st.S_AT] < stop or self.n > len(self.address) - self.spare:
                yield from self.flush()

    def remember(self, *loops: int) -> None:
        """``loops`` of these names begin: what ended since they began last is how much the core had to remember."""
        now = int(self.state[st.S_ENDS])
        since = now - self.begun[loops] if loops in self.begun else None
        self.begun[loops] = now
        share = 1.0 if since is None else st.missed(since, int(self.cost[st.C_LEARNED]))
        self.state[st.S_MISSED] = round(st.THOUSANDTHS * share)

    def read(self, address: int) -> None:
        """One access between streams; :meth:`need` has made room."""
        self.address[self.n], self.kind[self.n], self.gap[self.n] = address, st.READ, 0
        self.n += 1

    def flush(self) -> Iterator[int]:
        if self.n:
            yield self.n
        self.n = 0


def padded_columns(k: int) -> int:
    """Columns of packed x: strides of whole pages are avoided, and of eight more so."""
    nbytes = k * LANES * 4
    return k + (0 if not k or nbytes % 4096 else 8 if nbytes % (8 * 4096) else 72)


def spans(tiles: int, most: int) -> list[tuple[int, int, int]]:
    """(first tile, last tile, tiles at a time) that cover ``tiles``; three quarters full counts as full."""
    found, at, size = [], 0, most
    while at < tiles:
        while 4 * (tiles - at) < 3 * size:
            size //= 2
        stop = at + max(1, (tiles - at) // size) * size
        found.append((at, stop, size))
        at = stop
    return found


def walk_call(
    walk: Walk, call: KernelCall, m: int, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]
) -> Iterator[int]:
    """The accesses of a call with ``m`` rows.

    Args:
        packed: the buffers of the weight; of dense weights none are needed.
        at: byte addresses of ``x``, ``y``, ``bias``, ``scratch`` and of the buffers; if known, of ``starts``, where
            the rows of a chunk begin in each column block.

    Raises:
        PlanError: an encoding or a kernel whose stream is not modelled, or a weight whose bytes are not known.
    """
    asked, name = f"simulate {call.layer} on cached_cpu", call.encoding.name
    if name not in MODELLED or call.conv is not None or call.backend == "baked_cpu":
        what = "a convolution" if call.conv is not None else f"{name} of {call.backend}"
        raise PlanError(asked, f"{what}, whose accesses are not modelled", f"one of {', '.join(MODELLED)}")
    if name == "dense":
        yield from _dense(walk, call, m, at)
        return
    if not packed:
        raise PlanError(asked, "a weight without its packed bytes", "a workload of a compiled model")
    if "tokens" in dict(call.schedule):
        yield from _few(walk, call, m, packed, at)
    else:
        yield from _tiles(walk, call, m, packed, at)


def _dense(walk: Walk, call: KernelCall, m: int, at: Mapping[str, int]) -> Iterator[int]:
    item = ITEM_BYTES[call.dtype]
    if call.backend == "dense.gemv":
        walk.need(call.k + 256)
        for size in portions(m, 4):
            bases = _bases(at["x"], at["y"], at["values"])
            yield from walk.run(
                few.gemv, -(-call.n // 4), walk.cost, -(-call.n // 4), size, call.k, call.n, bases, item
            )
    else:
        yield from product(walk, m, call.n, call.k, item, (at["x"], at["y"], at["values"]))


def product(walk: Walk, m: int, n: int, k: int, item: int, at: tuple[int, int, int]) -> Iterator[int]:
    """A dense product [m, k] x [k, n]."""
    walk.need(7 * k + 128)
    stop = -(-n // (LANES * few.PANEL_LINES)) * -(-m // few.REGISTER_ROWS)
    yield from walk.run(few.gemm, stop, walk.cost, stop, m, k, n, _bases(*at), item)


def _few(
    walk: Walk, call: KernelCall, m: int, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]
) -> Iterator[int]:
    most, item = dict(call.schedule)["tokens"], packed["values"].itemsize
    y_item = ITEM_BYTES[call.dtype]
    match call.encoding.name:
        case "nm":
            shape = _nm_shape(call)
            padded, token = int(shape[4] * shape[5]), 0
            walk.need(int(shape[5]) * (2 * int(shape[3]) + 16 * most + 8) + 64)
            for size in portions(m, most):
                bases = _bases(
                    at["x"] + token * padded * 4, at["y"] + token * call.n * y_item, at["values"], at["control"]
                )
                stop = -(-call.n // LANES)
                yield from walk.run(
                    few.nm_rows, stop, walk.cost, stop, size, shape, padded, call.n, bases, item, y_item
                )  # fmt: skip
                token += size
        case "window":
            width = int(call.encoding.parameters()["width"])
            padded = call.k if width > few.WIDEST_PERMUTED else max(width, -(-call.k // LANES) * LANES)
            start = packed["group_start"].astype(np.int64)
            longest = int(np.diff(start).max(initial=0))
            each = 16 if width > few.WIDEST_PERMUTED else width // 16 + 1
            walk.need(longest * (5 + most * each) + 16 * most + 64)
            names = ("values", "columns", "first", "group_start", "order")
            stop = len(start) - 1
            walk.remember(at["values"], m)
            yield from walk.run(
                few.window, stop, walk.cost, walk.table[0], stop, m, most, width, padded, call.n,
                _bits(packed["values"]), packed["columns"], packed["first"], start, packed["order"],
                _bases(at["x"], at["y"], *(at[name] for name in names)), item, y_item,
            )  # fmt: skip
        case _:
            walk.need(-(-call.k // LANES) * (most + 12) * 4 + 256)
            start, stop = packed["row_start"].astype(np.int64), -(-call.n // 4)
            masks = packed["masks"].view(np.uint16)
            bases = _bases(at["x"], at["y"], at["values"], at["masks"], at["row_start"])
            yield from walk.run(
                few.bitmap, stop, walk.cost, stop, m, most, call.k, call.n, np.array(BITMAP_ROWS), masks, start, bases,
                item, y_item,
            )  # fmt: skip


def _tiles(
    walk: Walk, call: KernelCall, m: int, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]
) -> Iterator[int]:
    tiles, item = dict(call.schedule)["tiles"], ITEM_BYTES[call.dtype]
    panel = max(PANEL_TILES, tiles)
    body = _BODIES[call.encoding.name](walk, call, packed, at)
    chunk, step = chunk_rows(CHUNK_BYTES // (4 * LANES * panel), body.rows, call.n)
    stride = chunk + 8
    columns = padded_columns(body.columns)
    xs = at["scratch"]
    ys = xs + panel * LANES * columns * 4
    units = -(-call.n // body.rows)
    for row in range(0, m, panel * LANES):
        rows = min(panel * LANES, m - row)
        parts = spans(-(-rows // LANES), tiles)
        stop = parts[-1][1] * -(-call.k // LANES)
        bases = _bases(at["x"] + row * call.k * item, xs)
        walk.need(max(body.spare, 64 + columns - body.columns + LANES))
        yield from walk.run(layout.pack, stop, walk.cost, stop, rows, call.k, columns, item, bases)
        for lo in range(0, units, step):
            hi = min(lo + step, units)
            base = ys - lo * body.rows * LANES * 4
            for first, last, size in parts:
                for tile in range(first, last, size):
                    x, y = xs + tile * columns * 64, base + tile * stride * 64
                    yield from body.run(lo, hi, size, x, y, columns * 64, stride * 64)
            end = min(hi * body.rows, call.n)
            stop = parts[-1][1] * -(-(end - lo * body.rows) // LANES)
            bases = _bases(ys, at["bias"], at["y"] + row * call.n * item)
            yield from walk.run(
                layout.unpack, stop, walk.cost, stop, rows, call.n, stride, lo * body.rows, end, item,
                call.epilogue.bias, bases,
            )  # fmt: skip


class _Csr:
    """Blocked rows, sorted within windows or not."""

    def __init__(self, walk: Walk, call: KernelCall, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]) -> None:
        parameters = call.encoding.parameters()
        self.walk, self.call, self.at = walk, call, at
        self.window = int(parameters.get("window", 0))
        self.rows = self.window or 1
        self.columns, self.width = call.k, int(parameters["block_columns"])
        self.counts = packed["counts"].astype(np.int64)
        self.order = packed["order"].astype(np.int64) if self.window else np.zeros((len(self.counts), 0), np.int64)
        self.column = packed["columns"].astype(np.uint16)
        self.items = _bases(packed["values"].itemsize, packed["columns"].itemsize, packed["counts"].itemsize)
        self.chunks: dict[int, int] = {}
        before = np.cumsum(self.counts, axis=1) - self.counts
        self.starts = before + packed["block_start"].astype(np.int64)[: len(self.counts), None]
        self.mean = float(self.counts.mean()) if self.counts.size else 0.0
        self.spare = 64 + 11 * (4 + int(self.counts.max(initial=0)))

    def run(self, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> Iterator[int]:
        n, at, walk = self.call.n, self.at, self.walk
        lo, hi = lo * self.rows, min(hi * self.rows, n)
        chunk = self.chunks.setdefault(lo, len(self.chunks))
        together = rows_together(size, self.mean) if self.window else 1
        walk.need(max(walk.spare, together * self.spare))
        walk.remember(at["values"], lo, size)
        for block, counts in enumerate(self.counts):
            if "starts" in at:
                walk.read(at["starts"] + 8 * (chunk * len(self.counts) + block))
            bases = _bases(
                x + block * self.width * 64, y, at["values"], at["columns"],
                at["counts"] + block * n * int(self.items[2]), at.get("order", 0) + block * n,
            )  # fmt: skip
            yield from walk.run(
                blocked.csr, hi, walk.cost, walk.table, hi, block == 0, size, self.window, together, counts,
                self.order[block], self.column, bases, _bases(x_stride, y_stride), self.items, at=lo,
                following=int(self.starts[block, lo]),
            )  # fmt: skip


class _Block:
    def __init__(self, walk: Walk, call: KernelCall, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]) -> None:
        parameters = call.encoding.parameters()
        self.walk, self.call = walk, call
        self.rows, self.cols = int(parameters["rows"]), int(parameters["cols"])
        self.columns = -(-call.k // self.cols) * self.cols
        self.column, self.start = packed["columns"].astype(np.int64), packed["row_start"].astype(np.int64)
        self.item = packed["values"].itemsize
        self.bases = (at["values"], at["columns"], at["row_start"])
        self.spare = 256 + self.cols * (10 + self.rows) + 8 * self.rows

    def run(self, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> Iterator[int]:
        kept = self.call.n - (len(self.start) - 2) * self.rows
        self.walk.remember(self.bases[0], lo, size)
        yield from self.walk.run(
            st.block, hi, self.walk.cost, self.walk.table[0], hi, size, self.rows, self.cols, kept, self.column,
            self.start, _bases(x, y, *self.bases), _bases(x_stride, y_stride), self.item, at=lo,
        )  # fmt: skip


class _Nm:
    rows = LANES

    def __init__(self, walk: Walk, call: KernelCall, packed: Mapping[str, NDArray[Any]], at: Mapping[str, int]) -> None:
        self.walk, self.control = walk, packed["control"].astype(np.int64)
        self.shape = (*_nm_shape(call), 2 if call.target == "cpu-avx512" else 1)
        schedule = dict(call.schedule)
        self.own = {schedule["tiles"]: schedule["words"]} if "words" in schedule else {}
        self.columns = int(self.shape[4] * self.shape[5])
        self.item = packed["values"].itemsize
        self.bases = (at["values"], at["control"])
        self.spare = 64 + 8 * (4 + 10 * int(self.shape[3]))

    def run(self, lo: int, hi: int, size: int, x: int, y: int, x_stride: int, y_stride: int) -> Iterator[int]:
        words, step = int(self.shape[5]), self.own.get(size, WORDS[size][0])
        for word in range(0, words, step):
            yield from self.walk.run(
                st.nm, hi * LANES, self.walk.cost, hi * LANES, word == 0, size, (word, min(word + step, words)),
                tuple(int(v) for v in self.shape), self.control, _bases(x, y, *self.bases), _bases(x_stride, y_stride),
                self.item, at=lo * LANES,
            )  # fmt: skip


_BODIES: dict[str, Any] = {"csr": _Csr, "sorted_csr": _Csr, "sell": SellBody, "block": _Block, "nm": _Nm}


def _nm_shape(call: KernelCall) -> tuple[int, ...]:
    """N, M, bits of a field, slots of a word, columns of a word, words of a row."""
    parameters = call.encoding.parameters()
    n, m = int(parameters["n"]), int(parameters["m"])
    bits = 2 if m <= 4 else 4
    groups = 32 // bits // n
    words = -(-call.k // (groups * m))
    return n, m, bits, groups * n, groups * m, words


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[values.itemsize])


def _bases(*values: int) -> Array:
    return np.array(values, np.int64)
