"""The loop around the blocks, in machine code too: blocks x tiles of sixteen rows, fetching the next block ahead.

``driver(xs, ys, first, end, tile_lo, tile_hi)``, and just before it an entry that takes an array of pointers to these
six arguments. ``first`` to ``end`` is a table of blocks, one line each (:data:`ENTRY_WORDS` 64-bit words):

0. address of the code
1. address of weight 128
2. offset into a tile of x of the block's column 128, bytes
3. offset into a tile of ys of the block's first row, bytes
4. bytes of code
5. bytes of weights
6. bytes of the next block's code that a call fetches itself
7. bytes of the next block's weights that a call fetches itself

One more line follows ``end``: the block that will be needed next.

While the tiles of a block are multiplied, the lines of the next block's code and weights are fetched: by the block
itself, spread over its multiply-adds so that the queues for prefetches do not fill. Where there are fewer tiles than
that was made for, the driver fetches the rest, spread over the tiles. For one or two tiles it reads them.
"""

from __future__ import annotations

import functools

from spcomp.codegen.baked_cpu.emit import BIAS, LINE_BYTES, MIDDLE, NEXT_CODE, NEXT_WEIGHTS, WEIGHTS, X, Y
from spcomp.codegen.x86 import encoder as x86
from spcomp.codegen.x86.encoder import FLOAT_BYTES, ZMM_BYTES, Condition, Gpr, Mem
from spcomp.codegen.x86.program import Program

ENTRY_WORDS = 8
ENTRY_BYTES = 8 * ENTRY_WORDS
FEW_TILES = 2
"""Up to here the next block is read instead of prefetched."""

_SAVED = (Gpr.RBX, Gpr.RBP, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15)
_XS, _YS, _ENTRY, _END, _TILES, _LEFT = Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15, Gpr.R8, Gpr.RBP
_TILE_X, _TILE_Y = Gpr.R10, Gpr.R11
_CODE, _CODE_END, _DATA, _STOP = NEXT_CODE, Gpr.R9, NEXT_WEIGHTS, Gpr.RAX
_CODE_STEP, _DATA_STEP, _DATA_END = (Mem(Gpr.RSP, 8 * i) for i in range(3))
_FRAME_BYTES = 24


def _entry(word: int, ahead: int = 0) -> Mem:
    return Mem(_ENTRY, ahead * ENTRY_BYTES + 8 * word)


@functools.lru_cache(maxsize=64)
def driver(x_tile_bytes: int, y_tile_bytes: int, bias: int = 0) -> tuple[bytes, int, int]:
    """``(code, offset of the entry with plain arguments, of the one with an array)`` for tiles of so many bytes.

    ``bias``: the address of the bias of all rows, for blocks whose sums begin with it.
    """
    p = Program()
    _unpack_arguments(p)
    plain = len(p.code)
    p.add(*(x86.push(r) for r in _SAVED), x86.sub_immediate(Gpr.RSP, _FRAME_BYTES))
    p.add(x86.mov(_XS, Gpr.RDI), x86.mov(_YS, Gpr.RSI), x86.mov(_ENTRY, Gpr.RDX), x86.mov(_END, Gpr.RCX))
    p.add(x86.imul(_STOP, Gpr.R8, x_tile_bytes), x86.add(_XS, _STOP))
    p.add(x86.imul(_STOP, Gpr.R8, y_tile_bytes), x86.add(_YS, _STOP))
    p.add(x86.sub(Gpr.R9, Gpr.R8), x86.mov(_TILES, Gpr.R9))
    p.add(x86.cmp_immediate(_TILES, 0))
    p.jump("end", Condition.LE)
    p.label("block")
    p.add(x86.cmp(_ENTRY, _END))
    p.jump("end", Condition.AE)
    _aim(p)
    p.add(x86.mov(_LEFT, _TILES))
    p.add(x86.mov(_TILE_X, _XS), x86.add(_TILE_X, _entry(2)), x86.mov(_TILE_Y, _YS), x86.add(_TILE_Y, _entry(3)))
    p.label("tile")
    p.add(x86.cmp_immediate(_TILES, FEW_TILES))
    p.jump("read", Condition.BE)
    _fetch(p, "prefetch", (x86.prefetch(Mem(_CODE), 1),), (x86.prefetch(Mem(_DATA), 0),))
    p.jump("multiply")
    p.label("read")
    _fetch(p, "load", (x86.mov(Gpr.RDX, Mem(_CODE)),), (x86.mov(Gpr.RDX, Mem(_DATA)),))
    p.label("multiply")
    if bias:  # a float a row, where sums are sixteen
        p.add(x86.mov(BIAS, _entry(3)), x86.shift_right(BIAS, (ZMM_BYTES // FLOAT_BYTES).bit_length() - 1))
        p.add(x86.mov_immediate(Y, bias), x86.add(BIAS, Y))
    p.add(x86.mov(X, _TILE_X), x86.mov(WEIGHTS, _entry(1)), x86.mov(Y, _TILE_Y), x86.call(_entry(0)))
    p.add(x86.add_immediate(_TILE_X, x_tile_bytes), x86.add_immediate(_TILE_Y, y_tile_bytes))
    p.add(x86.sub_immediate(_LEFT, 1))
    p.jump("tile", Condition.NE)
    p.add(x86.add_immediate(_ENTRY, ENTRY_BYTES))
    p.jump("block")
    p.label("end")
    p.add(x86.add_immediate(Gpr.RSP, _FRAME_BYTES), *(x86.pop(r) for r in reversed(_SAVED)))
    p.add(x86.vzeroupper(), x86.ret())
    return p.assemble(), plain, 0


def _unpack_arguments(p: Program) -> None:
    for i, register in enumerate((Gpr.RSI, Gpr.RDX, Gpr.RCX, Gpr.R8, Gpr.R9), start=1):
        p.add(x86.mov(Gpr.RAX, Mem(Gpr.RDI, 8 * i)), x86.mov(register, Mem(Gpr.RAX)))
    p.add(x86.mov(Gpr.RAX, Mem(Gpr.RDI)), x86.mov(Gpr.RDI, Mem(Gpr.RAX)))


def _aim(p: Program) -> None:
    """Where the next block's code and weights lie, and how many bytes of each to fetch in every tile."""
    for word, step in ((4, _CODE_STEP), (5, _DATA_STEP)):
        # step = max(0, ceil(ceil(bytes / 64) / tiles) * 64 - what a call fetches itself)
        p.add(x86.mov(Gpr.RAX, _entry(word, 1)), x86.add_immediate(Gpr.RAX, LINE_BYTES - 1))
        p.add(x86.shift_right(Gpr.RAX, 6), x86.add(Gpr.RAX, _TILES), x86.sub_immediate(Gpr.RAX, 1))
        p.add(x86.mov_immediate(Gpr.RDX, 0), x86.divide(_TILES), x86.imul(Gpr.RAX, Gpr.RAX, LINE_BYTES))
        p.add(x86.sub(Gpr.RAX, _entry(word + 2)))
        p.jump(f"some {word}", Condition.GE)
        p.add(x86.mov_immediate(Gpr.RAX, 0))
        p.label(f"some {word}")
        p.add(x86.mov_store(step, Gpr.RAX))
    p.add(x86.mov(_CODE, _entry(0, 1)), x86.mov(_CODE_END, _CODE), x86.add(_CODE_END, _entry(4, 1)))
    p.add(x86.mov(_DATA, _entry(1, 1)), x86.sub_immediate(_DATA, MIDDLE * FLOAT_BYTES))
    p.add(x86.mov(Gpr.RAX, _DATA), x86.add(Gpr.RAX, _entry(5, 1)), x86.mov_store(_DATA_END, Gpr.RAX))


def _fetch(p: Program, how: str, code: tuple[bytes, ...], data: tuple[bytes, ...]) -> None:
    for kind, at, step, end, line in (
        ("code", _CODE, _CODE_STEP, _CODE_END, code),
        ("data", _DATA, _DATA_STEP, _DATA_END, data),
    ):
        p.add(x86.mov(_STOP, at), x86.add(_STOP, step), x86.cmp(_STOP, end))
        p.jump(f"{how} {kind} within", Condition.BE)
        p.add(x86.mov(_STOP, end))
        p.label(f"{how} {kind} within")
        p.add(x86.cmp(at, _STOP))
        p.jump(f"{how} {kind} done", Condition.AE)
        p.label(f"{how} {kind}")
        p.add(*line, x86.add_immediate(at, LINE_BYTES), x86.cmp(at, _STOP))
        p.jump(f"{how} {kind}", Condition.B)
        p.label(f"{how} {kind} done")
