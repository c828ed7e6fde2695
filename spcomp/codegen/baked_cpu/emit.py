"""A weight becomes code: one fused multiply-add with an embedded broadcast a nonzero, no index anywhere.

The rows of W are cut in groups whose sums fill the vector registers, and its columns too. A few groups x some columns
are a block, a function ``block(x, w, y)`` for sixteen rows of x in the lanes. For each group, sums are cleared (in its
first columns) or loaded; for every column with a nonzero, x is loaded once and each nonzero multiplies it by a weight
from a stream; sums are stored. The groups of a block find x in the L1 cache.

    nop; vpxord zmm0, zmm0, zmm0                            ; a sum for each of up to 28 rows
    vmovups zmm28, [rdi + 64 * (column - 128)]              ; sixteen rows of x
    vfmadd231ps zmm5, zmm28, [rsi + 4 * (i - 128)]{1to16}   ; the i-th weight of the block, in row 5

Both pointers stand 128 units into their data, so that one byte of displacement reaches 256 of them; then they are
bumped. In between, lines of the next block are fetched into the cache. All instructions, or pairs of them, are seven
bytes long, and a unit of rows is emitted in one go with numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.x86 import encoder as x86
from spcomp.codegen.x86 import stream
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES, Gpr, Mem

X, WEIGHTS, Y, BIAS = Gpr.RDI, Gpr.RSI, Gpr.RDX, Gpr.RAX
"""Arguments of a block: 128 columns into x, 128 weights into the stream, the first row's sums, and its bias."""
NEXT_CODE, NEXT_WEIGHTS = Gpr.RCX, Gpr.RBX
"""Where the lines of the next block begin that are to be fetched; a block moves them on past what it has fetched."""
SPREAD_TILES = 4
"""Calls of a block that together fetch the whole next one; further calls go on with what comes after it."""
WINDOW = 256
"""Columns, and weights, that displacements of one byte reach."""
MIDDLE = WINDOW // 2
_WINDOW_BITS = WINDOW.bit_length() - 1
REGISTERS = 32
MOST_ROWS = 128
"""Rows of sums that displacements of one byte reach."""
LINE_BYTES = 64
LINE_WEIGHTS = LINE_BYTES // FLOAT_BYTES
STEP_BYTES = 7
"""Bytes of an instruction with a vector operand in memory at such a displacement; the others are made as long."""

Ints = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Blocks:
    """The emitted blocks of some rows, ordered by rows, then by columns; offsets in bytes from their start."""

    code: NDArray[np.uint8]
    weights: NDArray[np.float32]
    code_start: Ints
    code_bytes: Ints
    weight_start: Ints
    weight_bytes: Ints
    code_fetched: Ints
    """Bytes of the next block's code that a call fetches; likewise weights."""
    weights_fetched: Ints
    first_column: Ints
    first_row: Ints
    products: int
    """Nonzeros of all blocks."""


@dataclass(frozen=True)
class _Tables:
    """Words of the instructions that a block is made of, by register number."""

    clear: stream.Words
    load_sum: stream.Words
    store_sum: stream.Words
    load_x: stream.Words
    load_bias: stream.Words
    at_least: stream.Words
    """The larger of a sum and what the last register holds."""
    multiply: stream.Words
    """By register of x, then of the sum."""
    bump_x: np.uint64
    bump_weights: np.uint64
    fetch_code: np.uint64
    fetch_weights: np.uint64
    ret: np.uint64


@functools.cache
def _tables() -> _Tables:
    every = range(REGISTERS)
    sums, x, weight = Mem(Y, ZMM_BYTES), Mem(X, ZMM_BYTES), Mem(WEIGHTS, FLOAT_BYTES)
    bias = Mem(BIAS, FLOAT_BYTES)
    nop = x86.nop()
    return _Tables(
        clear=stream.table((nop + x86.vpxord(r, r, r) for r in every), STEP_BYTES),
        load_sum=stream.open_table((x86.vmovups_load(r, sums) for r in every), STEP_BYTES),
        store_sum=stream.open_table((x86.vmovups_store(sums, r) for r in every), STEP_BYTES),
        load_bias=stream.open_table((x86.vbroadcastss(r, bias) for r in every), STEP_BYTES),
        at_least=stream.table((nop + x86.vmaxps(r, REGISTERS - 1, r) for r in every), STEP_BYTES),
        load_x=stream.open_table((x86.vmovups_load(r, x) for r in every), STEP_BYTES),
        multiply=stream.open_table(
            (x86.vfmadd231ps(r, v, weight, broadcast=True) for v in every for r in every), STEP_BYTES
        ),
        bump_x=np.uint64(stream.word(x86.add_immediate(X, WINDOW * ZMM_BYTES)) & 0xFFFFFF),
        bump_weights=np.uint64(stream.word(x86.add_immediate(WEIGHTS, WINDOW * FLOAT_BYTES))),
        fetch_code=np.uint64(stream.word(x86.prefetch(Mem(NEXT_CODE), 1) + x86.add_immediate(NEXT_CODE, LINE_BYTES))),
        fetch_weights=np.uint64(
            stream.word(x86.prefetch(Mem(NEXT_WEIGHTS), 0) + x86.add_immediate(NEXT_WEIGHTS, LINE_BYTES))
        ),
        ret=np.uint64(stream.word(x86.ret() + x86.trap() * (STEP_BYTES - 1))),
    )


def group_cuts(rows: int, most: int) -> list[int]:
    """Cut points of ``rows`` rows in as few groups of at most ``most`` as will do, of about equal size."""
    groups = max(1, -(-rows // most))
    return [rows * i // groups for i in range(groups + 1)]


def floats(bits: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Raw bits of float32, bfloat16 or float16 as float32, exactly."""
    match dtype:
        case "float32":
            return bits.view(np.float32)
        case "bfloat16":
            return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
        case _:
            return bits.view(np.float16).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Nonzeros:
    """The nonzeros of some rows in the order of the code. A segment is what one group does in one block."""

    sizes: Ints
    """Rows of each group, [down, groups]; 0 for groups that are missing in the last block down."""
    across: int
    """Blocks side by side."""
    order: Ints
    """The row of the matrix that each row of the groups is, for each of those: [across, rows]."""
    first: Ints
    """Number of the first nonzero of each segment, and of all."""
    place: Ints
    """Column by column: a number that differs between the columns of x that are loaded."""
    column: Ints
    """Within the block."""
    row: Ints
    """Within the group."""
    bits: NDArray[Any]


def _nonzeros(bits: NDArray[Any], rows: int, columns: int, groups: int, order: Ints | None) -> _Nonzeros:
    cuts = group_cuts(len(bits), rows)
    k, count = bits.shape[1], len(cuts) - 1
    height = int(np.diff(cuts).max())
    across, down = max(1, -(-k // columns)), -(-count // groups)
    if order is None:
        order = np.tile(np.arange(len(bits)), (across, 1))
    whole = np.zeros((len(bits), across * columns), bits.dtype)
    whole[:, :k] = bits
    whole = whole.reshape(len(bits), across, columns)[order, np.arange(across)[:, None]]
    mask = np.zeros((down, across, groups, columns, height), np.bool_)
    for i, (lo, hi) in enumerate(pairwise(cuts)):
        mask[i // groups, :, i % groups, :, : hi - lo] = whole[:, lo:hi].transpose(0, 2, 1) != 0
    where = np.flatnonzero(mask)
    segments = down * across * groups
    first = np.searchsorted(where, np.arange(segments + 1) * (columns * height))
    place = where.astype(np.int32) // height
    row = where.astype(np.int32) - place * height
    index = np.arange(segments)
    group = np.minimum(index // (across * groups) * groups + index % groups, count - 1)
    stored = np.diff(first)
    column = place - np.repeat((index * columns).astype(np.int32), stored)
    base = (index // groups % across * len(bits) + np.array(cuts)[group]) * columns
    sizes = np.zeros(down * groups, np.int64)
    sizes[:count] = np.diff(cuts)
    values = whole.reshape(-1)[row * columns + column + np.repeat(base, stored)]
    return _Nonzeros(sizes.reshape(down, groups), across, order, first, place, column, row, values)


def emit(
    bits: NDArray[Any], dtype: str, rows: int, columns: int, groups: int, offsets: Ints | None = None,
    order: Ints | None = None, *, bias: bool = False, relu: bool = False,
) -> Blocks:  # fmt: skip
    """Code for a matrix [R, K] of raw bits: blocks of ``groups`` groups of at most ``rows`` rows x ``columns`` columns.

    ``offsets``: where each column of x begins, in bytes from the address in :data:`X`; without, a column follows
    the one before. ``order`` [blocks side by side, R]: the rows in which groups find theirs, with R at most 128.
    With ``bias``, sums begin with what :data:`BIAS` points to instead of zero; with ``relu``, the last columns' blocks
    store nothing below zero. ``rows * groups`` may be at most 128. What is multiplied is every element whose bits are
    not +0.
    """
    nz = _nonzeros(bits, rows, columns, groups, order)
    down, heights = len(nz.sizes), nz.sizes.sum(axis=1)
    first_row = np.cumsum(heights) - heights if order is None else np.zeros_like(heights)
    words, ends, fetched = _words(nz, columns, offsets, first_row, bias=bias, relu=relu)
    code_bytes = np.diff(ends, prepend=0) * STEP_BYTES
    first = nz.first[::groups]
    count = np.diff(first)
    weight_bytes = -(-count // LINE_WEIGHTS) * LINE_BYTES
    weight_start = np.cumsum(weight_bytes) - weight_bytes
    weights = np.zeros(int(weight_bytes.sum()) // FLOAT_BYTES, np.float32)
    number = np.arange(len(nz.bits))
    weights[number + np.repeat(weight_start // FLOAT_BYTES - first[:-1], count)] = floats(nz.bits, dtype)
    return Blocks(
        code=stream.join(words, STEP_BYTES),
        weights=weights,
        code_start=np.cumsum(code_bytes) - code_bytes,
        code_bytes=code_bytes,
        weight_start=weight_start,
        weight_bytes=weight_bytes,
        code_fetched=fetched[0] * LINE_BYTES,
        weights_fetched=fetched[1] * LINE_BYTES,
        first_column=np.tile(np.arange(nz.across) * columns if offsets is None else np.full(nz.across, -MIDDLE), down),
        first_row=np.repeat(first_row, nz.across),
        products=len(nz.bits),
    )


def _words(
    nz: _Nonzeros, columns: int, offsets: Ints | None, first_row: Ints, *, bias: bool, relu: bool
) -> tuple[stream.Words, Ints, tuple[Ints, Ints]]:
    """Instruction words of all blocks; where the words of each block end; lines of code and weights that it fetches."""
    t = _tables()
    groups, across = nz.sizes.shape[1], nz.across
    segments = len(nz.first) - 1
    segment = np.arange(segments)
    size = np.repeat(nz.sizes, across, axis=0).reshape(-1)
    last = segment % groups == groups - 1
    first = nz.first[::groups]
    new = np.ones(len(nz.row), np.bool_)
    np.not_equal(nz.place[1:], nz.place[:-1], out=new[1:])
    loads = np.flatnonzero(new)
    lines = _lines_ahead(first, loads, 1 if offsets is None else 2)
    # what stands in front of a multiply-add, from the nearest on: which nonzeros have it, and its words
    if offsets is None:
        moves, steps = _window_moves(nz, groups)
        reach = _reach(nz.column[loads])
    else:
        moves, steps = _offset_moves(nz, groups, loads, columns, offsets)
        reach = np.zeros(len(loads), np.int64)
    ahead = [
        (
            loads,
            stream.displaced(t.load_x[_x_register(np.arange(1, len(loads) + 1), size)], reach, STEP_BYTES),
        ),
        (_spread(first, (np.diff(first) - 1).clip(0) >> _WINDOW_BITS, WINDOW), t.bump_weights),
        (moves, t.bump_x | steps << np.uint64(24)),
        (_spread(first, lines[0]), t.fetch_code),
        (_spread(first, lines[1]), t.fetch_weights),
    ]
    before = np.zeros(len(nz.row), np.int8)
    distance = []
    for index, _ in ahead:
        before[index] += 1
        distance.append(before[index])
    ends_in = np.cumsum(before + np.int8(1), dtype=np.int32)
    done = np.append(0, ends_in)[nz.first]
    body = np.diff(done)
    final = (segment // groups % across == across - 1) & (size > 0) & relu
    total = 2 * size + body + final * (size + 1) + last
    ends = np.cumsum(total)
    start = ends - total
    at = ends_in + np.repeat((start + size - done[:-1] - 1).astype(np.int32), np.diff(nz.first))

    words = np.empty(int(ends[-1]), np.uint64)
    number = np.arange(len(at), dtype=np.int32) - np.repeat(first[:-1].astype(np.int32), np.diff(first))
    select = _x_register(np.cumsum(new, dtype=np.int32), size) * REGISTERS + nz.row
    words[at] = stream.displaced(t.multiply[select], _reach(number), STEP_BYTES)
    for (index, what), far in zip(ahead, distance, strict=True):
        words[at[index] - far] = what
    # sums: cleared or loaded, stored
    register = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    begins = (np.cumsum(nz.sizes) - nz.sizes.reshape(-1))[segment // (groups * across) * groups + segment % groups]
    y_row = nz.order[np.repeat(segment // groups % across, size), register + np.repeat(begins, size)]
    y_row -= np.repeat(np.repeat(first_row, groups * across), size)
    fresh = np.repeat(segment // groups % across == 0, size)
    new_sum = stream.displaced(t.load_bias[register], y_row, STEP_BYTES) if bias else t.clear[register]
    begin = np.where(fresh, new_sum, stream.displaced(t.load_sum[register], y_row, STEP_BYTES))
    words[np.repeat(start, size) + register] = begin
    after = start + size + body
    if relu:
        words[after[final]] = t.clear[REGISTERS - 1]
        some = np.repeat(final, size)
        words[np.repeat(after + 1, size)[some] + register[some]] = t.at_least[register[some]]
        after += final * (size + 1)
    words[np.repeat(after, size) + register] = stream.displaced(t.store_sum[register], y_row, STEP_BYTES)
    words[ends[last] - 1] = t.ret
    return words, ends[last], lines


def _x_register(loaded: Ints, size: Ints) -> Ints:
    """The register that holds x after that many loads: registers without a sum take turns."""
    return REGISTERS - 1 - loaded % (REGISTERS - int(size.max()))


def _reach(index: Ints) -> Ints:
    """The displacement of a column or weight, in units, from a pointer that stands in the middle of its window."""
    return (index & WINDOW - 1) - MIDDLE


def _window_moves(nz: _Nonzeros, groups: int) -> tuple[Ints, NDArray[np.uint64]]:
    """Nonzeros before which the pointer to x moves to another window, and by how many bytes (32 bits, signed)."""
    if not len(nz.column) or int(nz.column.max()) < WINDOW:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    window = nz.column >> _WINDOW_BITS
    step = np.diff(window, prepend=0)
    starts = nz.first[:-1:groups]
    starts = starts[starts < len(window)]
    step[starts] = window[starts]
    moves = np.flatnonzero(step)
    return moves, (step[moves] * (WINDOW * ZMM_BYTES)).astype(np.int32).view(np.uint32).astype(np.uint64)


def _offset_moves(
    nz: _Nonzeros, groups: int, loads: Ints, columns: int, offsets: Ints
) -> tuple[Ints, NDArray[np.uint64]]:
    """The same where every column has an offset of its own: the pointer moves on to each column that is loaded."""
    segment = np.repeat(np.arange(len(nz.first) - 1), np.diff(nz.first))[loads]
    at = offsets[segment // groups % nz.across * columns + nz.column[loads]]
    step = np.diff(at, prepend=0)
    begins = np.diff(segment // groups, prepend=-1) != 0
    step[begins] = at[begins]
    moving = np.flatnonzero(step)
    return loads[moving], step[moving].astype(np.int32).view(np.uint32).astype(np.uint64)


def _lines_ahead(first: Ints, loads: Ints, steps: int) -> tuple[Ints, Ints]:
    """Lines of code and of weights that each block fetches for the next one, taken to be of about its size."""
    count = np.diff(first)
    share = LINE_BYTES * SPREAD_TILES
    code = (count + steps * np.diff(np.searchsorted(loads, first))) * STEP_BYTES
    return -(-code // share), -(-count * FLOAT_BYTES // share)


def _spread(first: Ints, times: Ints, every: int = 0) -> Ints:
    """Nonzeros at which a block does something ``times``: evenly spread, or after every so many."""
    done = np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times, times)
    count = np.repeat(np.diff(first), times)
    offset = (done + 1) * every if every else done * count // np.repeat(times, times)
    return np.repeat(first[:-1], times) + offset
