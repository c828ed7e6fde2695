"""A weight becomes code: one fused multiply-add with an embedded broadcast a nonzero, no index anywhere.

The rows of W are cut in groups whose sums fill the vector registers, and its columns too. A few groups x some columns
are a block, a function ``block(x, w, y)`` for sixteen rows of x in the lanes. For each group, sums are cleared (in its
first columns) or loaded; for every column with a nonzero, x is loaded once and each nonzero multiplies it by a weight
from a stream; sums are stored. The groups of a block find x in the L1 cache.

    vpxord zmm0, zmm0, zmm0                              ; a sum for each of up to 28 rows
    vmovups zmm28, [rdi + 64 * (column - 128)]           ; sixteen rows of x
    vfmadd231ps zmm5, zmm28, [rsi + 4 * (i - 128)]{1to16}   ; the i-th weight of the block, in row 5

Both pointers stand 128 units into their data, so that one byte of displacement reaches 256 of them; then they are
bumped. In between, lines of the next block are fetched into the cache. A unit of rows is emitted in one go with numpy.
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

X, WEIGHTS, Y = Gpr.RDI, Gpr.RSI, Gpr.RDX
"""Arguments of a block: 128 columns into x, 128 weights into the stream, the first row's sums."""
NEXT_CODE, NEXT_WEIGHTS = Gpr.R8, Gpr.RCX
"""Where the lines of the next block begin that are to be fetched; a block moves them on past what it has fetched."""
SPREAD_TILES = 8
"""Calls of a block that together fetch the whole next one."""
WINDOW = 256
"""Columns, and weights, that displacements of one byte reach."""
MIDDLE = WINDOW // 2
REGISTERS = 32
LINE_BYTES = 64
LINE_WEIGHTS = LINE_BYTES // FLOAT_BYTES
MOST_ROWS = 128
"""Rows of sums that displacements of one byte reach."""
_LONG = 7
"""Bytes of an instruction with a vector operand in memory at such a displacement, and of ``add r64, imm32``."""
_FETCH_CODE_BYTES = 8
_PAD_WORDS = LINE_BYTES // stream.WORD_BYTES

Ints = NDArray[np.int64]


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
    weights_fetched: Ints
    first_column: Ints
    first_row: Ints


@dataclass(frozen=True)
class _Tables:
    """Words of the instructions that a block is made of, by register number."""

    clear: stream.Words
    clear_bytes: stream.Lengths
    load_sum: stream.Words
    store_sum: stream.Words
    load_x: stream.Words
    multiply: stream.Words
    fetch_code: np.uint64
    fetch_data: np.uint64
    ret: np.uint64


@functools.cache
def _tables() -> _Tables:
    every = range(REGISTERS)
    clear, clear_bytes = stream.table(x86.clear(r) for r in every)
    one = Mem(Y, ZMM_BYTES)
    return _Tables(
        clear,
        clear_bytes,
        stream.open_table(x86.vmovups_load(r, one) for r in every),
        stream.open_table(x86.vmovups_store(one, r) for r in every),
        stream.open_table(x86.vmovups_load(r, Mem(X, ZMM_BYTES)) for r in every),
        stream.open_table(
            x86.vfmadd231ps(r, x, Mem(WEIGHTS, FLOAT_BYTES), broadcast=True) for x in every for r in every
        ),
        np.uint64(stream.word(x86.prefetch(Mem(NEXT_CODE), 1) + x86.add_immediate(NEXT_CODE, LINE_BYTES))),
        np.uint64(stream.word(x86.prefetch(Mem(NEXT_WEIGHTS), 0) + x86.add_immediate(NEXT_WEIGHTS, LINE_BYTES))),
        np.uint64(stream.word(x86.ret())),
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


def emit(bits: NDArray[Any], dtype: str, rows: int, columns: int, groups: int) -> Blocks:
    """Code for a matrix [R, K] of raw bits: blocks of ``groups`` groups of at most ``rows`` rows x ``columns`` columns.

    ``rows * groups`` may be at most 128. What is multiplied is every element whose bits are not +0.
    """
    cuts = group_cuts(len(bits), rows)
    height = int(np.diff(cuts).max())
    across, down = max(1, -(-bits.shape[1] // columns)), -(-(len(cuts) - 1) // groups)
    shape = (down, across, groups)
    grid = _by_column(bits, cuts, height, columns, shape)
    where = np.flatnonzero(grid)
    weight = floats(grid.reshape(-1)[where], dtype)
    column, row = np.divmod(where, height)
    segment = column // columns
    column -= segment * columns
    block = segment // groups
    count = np.bincount(block, minlength=down * across)
    number = np.arange(len(where)) - (np.cumsum(count) - count)[block]
    sizes = np.zeros((down, groups), np.int64)
    sizes.reshape(-1)[: len(cuts) - 1] = np.diff(cuts)

    words, lengths, ends, fetched = _words(row, column, segment, number, sizes, count)
    byte_ends = np.cumsum(lengths, dtype=np.int64)[ends - 1]
    pads = -np.diff(byte_ends, prepend=0) % LINE_BYTES
    places = ends[:, None] - _PAD_WORDS + np.arange(_PAD_WORDS)
    words[places] = np.uint64(stream.word(x86.trap() * stream.WORD_BYTES))
    lengths[places] = np.clip(pads[:, None] - stream.WORD_BYTES * np.arange(_PAD_WORDS), 0, stream.WORD_BYTES)
    code_ends = byte_ends + np.cumsum(pads)

    weight_bytes = -(-count // LINE_WEIGHTS) * LINE_BYTES
    weight_start = np.cumsum(weight_bytes) - weight_bytes
    weights = np.zeros(int(weight_bytes.sum()) // FLOAT_BYTES, np.float32)
    weights[(weight_start // FLOAT_BYTES)[block] + number] = weight
    return Blocks(
        code=stream.join(words, lengths),
        weights=weights,
        code_start=np.append(0, code_ends[:-1]),
        code_bytes=np.diff(code_ends, prepend=0),
        weight_start=weight_start,
        weight_bytes=weight_bytes,
        code_fetched=fetched[0] * LINE_BYTES,
        weights_fetched=fetched[1] * LINE_BYTES,
        first_column=np.tile(np.arange(across) * columns, down),
        first_row=np.repeat(np.array(cuts)[: len(cuts) - 1 : groups], across),
    )


def _by_column(
    bits: NDArray[Any], cuts: list[int], height: int, columns: int, shape: tuple[int, int, int]
) -> NDArray[Any]:
    """[down, across, groups, columns, height]: column by column inside a group, zeros where something ends earlier."""
    down, across, groups = shape
    out = np.zeros((down, across, groups, columns, height), bits.dtype)
    whole = np.zeros((across * columns, height), bits.dtype)
    for i, (lo, hi) in enumerate(pairwise(cuts)):
        whole[: bits.shape[1], : hi - lo] = bits[lo:hi].T
        whole[:, hi - lo :] = 0
        out[i // groups, :, i % groups] = whole.reshape(across, columns, height)
    return out


def _words(
    row: Ints, column: Ints, segment: Ints, number: Ints, sizes: Ints, count: Ints
) -> tuple[stream.Words, stream.Lengths, Ints, tuple[Ints, Ints]]:
    """Instruction words and lengths of all blocks; where the words of each block end; lines that it fetches ahead.

    A segment is what one group does in one block: its sums begin, its multiply-adds, its sums are stored. ``sizes``
    [down, groups] are the rows of each group. The last eight words of a block are left for padding.
    """
    t = _tables()
    down, groups = sizes.shape
    across = len(count) // down
    segments = len(count) * groups
    size = np.repeat(sizes, across, axis=0).reshape(-1)
    last = np.arange(segments) % groups == groups - 1
    new, before, window = _changes(column, segment, groups)
    bump_w = (number > 0) & (number % WINDOW == 0)
    bump_x = window != before
    lines = _lines_ahead(segment // groups, new, count)
    fetch_code, fetch_data = (_spread(n, count, segment // groups, number) for n in lines)
    each = 1 + new + bump_w + bump_x + fetch_code + fetch_data
    body = np.bincount(segment, each, segments).astype(np.int64)
    total = 2 * size + body + last * (1 + _PAD_WORDS)
    ends = np.cumsum(total)
    start = ends - total

    words = np.zeros(int(ends[-1]), np.uint64)
    lengths = np.full(len(words), _LONG, np.uint8)
    # multiply-adds, and in front of each what it needs first
    at = np.cumsum(each) - 1 + (start + size - (np.cumsum(body) - body))[segment]
    spare = REGISTERS - int(size.max())
    x_register = REGISTERS - 1 - np.cumsum(new) % spare
    words[at] = stream.displaced(t.multiply[x_register * REGISTERS + row], number % WINDOW - MIDDLE, _LONG)
    words[at[new] - 1] = stream.displaced(t.load_x[x_register[new]], column[new] % WINDOW - MIDDLE, _LONG)
    words[(at - 1 - new)[bump_w]] = np.uint64(stream.word(x86.add_immediate(WEIGHTS, WINDOW * FLOAT_BYTES)))
    steps = ((window - before)[bump_x] * WINDOW * ZMM_BYTES).astype(np.int32).view(np.uint32).astype(np.uint64)
    head = np.uint64(stream.word(x86.add_immediate(X, WINDOW * ZMM_BYTES)) & 0xFFFFFF)
    words[(at - 1 - new - bump_w)[bump_x]] = head | steps << np.uint64(24)
    before_bumps = at - 1 - new - bump_w - bump_x
    words[before_bumps[fetch_code]] = t.fetch_code
    lengths[before_bumps[fetch_code]] = _FETCH_CODE_BYTES
    words[(before_bumps - fetch_code)[fetch_data]] = t.fetch_data
    # sums: cleared or loaded, stored
    register = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    y_row = register + np.repeat(np.repeat(np.cumsum(sizes, axis=1) - sizes, across, axis=0).reshape(-1), size)
    fresh = np.repeat(np.arange(segments) // groups % across == 0, size)
    at = np.repeat(start, size) + register
    words[at] = np.where(fresh, t.clear[register], stream.displaced(t.load_sum[register], y_row, _LONG))
    lengths[at] = np.where(fresh, t.clear_bytes[register], _LONG)
    words[np.repeat(start + size + body, size) + register] = stream.displaced(t.store_sum[register], y_row, _LONG)
    rets = ends[last] - _PAD_WORDS - 1
    words[rets], lengths[rets] = t.ret, 1
    lengths[rets[:, None] + 1 + np.arange(_PAD_WORDS)] = 0
    return words, lengths, ends[last], lines


def _lines_ahead(block: Ints, new: NDArray[np.bool_], count: Ints) -> tuple[Ints, Ints]:
    """Lines of code and of weights that each block fetches for the next one, taken to be of about its size."""
    loads = np.bincount(block, new, len(count)).astype(np.int64)
    share = LINE_BYTES * SPREAD_TILES
    return -(-(count + loads) * _LONG // share), -(-count * FLOAT_BYTES // share)


def _spread(lines: Ints, count: Ints, block: Ints, number: Ints) -> NDArray[np.bool_]:
    """Nonzeros before which one of its block's ``lines`` is fetched, evenly spread."""
    share, of = lines[block], count[block]
    found: NDArray[np.bool_] = (number + 1) * share // of > number * share // of
    return found


def _changes(column: Ints, segment: Ints, groups: int) -> tuple[NDArray[np.bool_], Ints, Ints]:
    """For each nonzero: whether its column of x is to be loaded; the window of columns that x stands in; the wanted one."""
    new = np.ones(len(column), np.bool_)
    new[1:] = (column[1:] != column[:-1]) | (segment[1:] != segment[:-1])
    window = column // WINDOW
    before = np.zeros_like(window)
    same = segment[1:] // groups == segment[:-1] // groups
    before[1:] = np.where(same, window[:-1], 0)
    return new, before, window
