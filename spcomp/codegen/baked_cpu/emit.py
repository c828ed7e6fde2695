"""A weight becomes code: one fused multiply-add with an embedded broadcast a nonzero, no index anywhere.

The rows of W are cut in groups whose sums fill the vector registers, the columns in blocks. A group x column block is a
function ``block(x, w, y)`` for sixteen rows of x in the lanes: sums are cleared (first block) or loaded; for every
column with a nonzero, x is loaded once and each nonzero multiplies it by a weight from a stream; sums are stored.

    vpxord zmm0, zmm0, zmm0                              ; a sum for each of up to 28 rows
    vmovups zmm28, [rdi + 64 * (column - 128)]           ; sixteen rows of x
    vfmadd231ps zmm5, zmm28, [rsi + 4 * (i - 128)]{1to16}   ; the i-th weight of the block, in row 5

Both pointers stand 128 units into their data, so that one byte of displacement reaches 256 of them; then they are
bumped. A unit of rows is emitted in one go with numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcomp.codegen.x86 import encoder as x86
from spcomp.codegen.x86 import stream
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES, Gpr, Mem

X, WEIGHTS, Y = Gpr.RDI, Gpr.RSI, Gpr.RDX
"""Arguments of a block: 128 columns into x, 128 weights into the stream, the first row's sums."""
WINDOW = 256
"""Columns, and weights, that displacements of one byte reach."""
MIDDLE = WINDOW // 2
REGISTERS = 32
LINE_BYTES = 64
LINE_WEIGHTS = LINE_BYTES // FLOAT_BYTES
_PAD_WORDS = LINE_BYTES // stream.WORD_BYTES

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """The emitted blocks of some rows, ordered by group, then by column block; offsets in bytes from their start."""

    code: NDArray[np.uint8]
    weights: NDArray[np.float32]
    code_start: Ints
    code_bytes: Ints
    weight_start: Ints
    weight_bytes: Ints
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
    ret: np.uint64


@functools.cache
def _tables() -> _Tables:
    every = range(REGISTERS)
    clear, clear_bytes = stream.table(x86.clear(r) for r in every)
    one = Mem(Y, ZMM_BYTES)
    return _Tables(
        clear,
        clear_bytes,
        stream.displaced(stream.open_table(x86.vmovups_load(r, one) for r in every), np.arange(REGISTERS), 7),
        stream.displaced(stream.open_table(x86.vmovups_store(one, r) for r in every), np.arange(REGISTERS), 7),
        stream.open_table(x86.vmovups_load(r, Mem(X, ZMM_BYTES)) for r in every),
        stream.open_table(
            x86.vfmadd231ps(r, x, Mem(WEIGHTS, FLOAT_BYTES), broadcast=True) for x in every for r in every
        ),
        np.uint64(stream.word(x86.ret())),
    )


def group_cuts(rows: int, most: int) -> list[int]:
    """Cut points of ``rows`` rows in as few groups of at most ``most`` as will do, of about equal size."""
    groups = max(1, -(-rows // most))
    return [rows * i // groups for i in range(groups + 1)]


def emit(values: NDArray[np.float32], mask: NDArray[np.bool_], rows: int, columns: int) -> Blocks:
    """Code for a matrix [R, K]: ``mask`` says which values are multiplied; groups of ``rows``, blocks of ``columns``.

    A block without a nonzero is left out, unless it is the first of its group, which stores the cleared sums.
    """
    cuts = group_cuts(len(values), rows)
    sizes = np.diff(cuts)
    per_group = max(1, -(-values.shape[1] // columns))
    blocks = len(sizes) * per_group
    height = int(sizes.max())
    grid = _by_column(values, cuts, height, per_group * columns)
    where = np.flatnonzero(_by_column(mask, cuts, height, per_group * columns))
    weight = grid.reshape(-1)[where]
    column, row = np.divmod(where, height)
    block = column // columns
    column -= block * columns

    count = np.bincount(block, minlength=blocks)
    first = np.cumsum(count) - count
    number = np.arange(len(where)) - first[block]
    new = np.ones(len(where), np.bool_)
    new[1:] = (column[1:] != column[:-1]) | (block[1:] != block[:-1])
    words, lengths, block_words = _words(row, column, block, number, new, count, np.repeat(sizes, per_group), per_group)

    code_bytes = np.add.reduceat(lengths, block_words, dtype=np.int64)
    pads = -code_bytes % LINE_BYTES
    stops = np.append(block_words[1:], len(words))
    pad_bytes = np.clip(pads[:, None] - stream.WORD_BYTES * np.arange(_PAD_WORDS), 0, stream.WORD_BYTES)
    places = stops[:, None] - _PAD_WORDS + np.arange(_PAD_WORDS)
    words[places] = np.uint64(stream.word(x86.trap() * stream.WORD_BYTES))
    lengths[places] = pad_bytes
    code_bytes += pads

    weight_bytes = -(-count // LINE_WEIGHTS) * LINE_BYTES
    weight_start = np.cumsum(weight_bytes) - weight_bytes
    weights = np.zeros(int(weight_bytes.sum()) // FLOAT_BYTES, np.float32)
    weights[weight_start[block] // FLOAT_BYTES + number] = weight
    code_start = np.cumsum(code_bytes) - code_bytes
    index = np.arange(blocks)
    return Blocks(
        stream.join(words, lengths),
        weights,
        code_start,
        code_bytes,
        weight_start,
        weight_bytes,
        index % per_group * columns,
        np.repeat(cuts[:-1], per_group),
    )


def _by_column(matrix: NDArray[Any], cuts: list[int], height: int, width: int) -> NDArray[Any]:
    """[groups, width, height]: column by column inside a group, zeros where a group or the matrix ends earlier."""
    out = np.zeros((len(cuts) - 1, width, height), matrix.dtype)
    for i, (lo, hi) in enumerate(zip(cuts, cuts[1:], strict=False)):
        out[i, : matrix.shape[1], : hi - lo] = matrix[lo:hi].T
    return out


def _words(
    row: Ints, column: Ints, block: Ints, number: Ints, new: NDArray[np.bool_], count: Ints, sizes: Ints, per_group: int
) -> tuple[stream.Words, stream.Lengths, Ints]:
    """Instruction words and lengths of all blocks, and the position of each block's first word.

    The last eight words of a block are left for padding.
    """
    t = _tables()
    blocks = len(sizes)
    bump_w = (number > 0) & (number % WINDOW == 0)
    window = column // WINDOW
    before = np.zeros_like(window)
    before[1:] = np.where(block[1:] == block[:-1], window[:-1], 0)
    bump_x = window != before
    each = 1 + new + bump_w + bump_x
    tail = sizes + 1 + _PAD_WORDS
    body = np.bincount(block, each, blocks).astype(np.int64)
    total = sizes + body + tail
    start = np.cumsum(total) - total

    words = np.zeros(int(total.sum()), np.uint64)
    lengths = np.full(len(words), 7, np.uint8)
    # multiply-adds, and in front of each what it needs first
    ends = np.cumsum(each)
    body_start = np.cumsum(body) - body
    at = ends - 1 + (start + sizes - body_start)[block]
    spare = REGISTERS - int(sizes.max())
    x_register = REGISTERS - 1 - np.cumsum(new) % spare
    words[at] = stream.displaced(t.multiply[x_register * REGISTERS + row], number % WINDOW - MIDDLE, 7)
    loads = at[new] - 1
    words[loads] = stream.displaced(t.load_x[x_register[new]], column[new] % WINDOW - MIDDLE, 7)
    bumps = (at - 1 - new)[bump_w]
    words[bumps] = np.uint64(stream.word(x86.add_immediate(WEIGHTS, WINDOW * FLOAT_BYTES)))
    steps = (window - before)[bump_x]
    head = np.uint64(stream.word(x86.add_immediate(X, WINDOW * ZMM_BYTES)) & 0xFFFFFF)
    bumps = (at - 1 - new - bump_w)[bump_x]
    words[bumps] = head | (steps * WINDOW * ZMM_BYTES).astype(np.uint64) << np.uint64(24)
    # sums: cleared or loaded, stored
    register = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    fresh = np.repeat(np.arange(blocks) % per_group == 0, sizes)
    at = np.repeat(start, sizes) + register
    words[at] = np.where(fresh, t.clear[register], t.load_sum[register])
    lengths[at] = np.where(fresh, t.clear_bytes[register], 7)
    words[np.repeat(start + sizes + body, sizes) + register] = t.store_sum[register]
    last = start + 2 * sizes + body
    words[last], lengths[last] = t.ret, 1
    lengths[last[:, None] + 1 + np.arange(_PAD_WORDS)] = 0
    return words, lengths, start
