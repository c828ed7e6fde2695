"""A set of up to sixteen ways, found and reordered without a loop. Compiled into :mod:`cache_one_core`.

A set is sixteen 32-bit words side by side: an entry is a tag times four and its marks, compared at once. With least
recently used replacement the latest is first, so that a use is one shift of those before it. With a tree entries stay,
and one word has its bits: the root at bit 1 and the children of node n at 2n and 2n + 1, each pointing to the half that
goes next.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

WAYS = 16
NOTHING = -1
"""An entry without a line; other than that of every tag."""
MARKS = 3
"""Bits of an entry that are no part of its tag: DIRTY and PREFETCHED of :mod:`cache_layout`."""
WORDS = ir.VectorType(ir.IntType(32), WAYS)


def _row(context, builder, kind, array, at):
    """A pointer to the sixteen entries from ``array[at]`` on."""
    data = context.make_array(kind)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [at]), ir.PointerType(WORDS))


def _all(builder, word):
    nothing = ir.Constant(WORDS, ir.Undefined)
    one = builder.insert_element(nothing, word, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, nothing, ir.Constant(WORDS, [0] * WAYS))


@intrinsic
def matches(context, entries, at, wanted):
    """A bit for each of sixteen entries from ``entries[at]`` on that equals ``wanted``, the marks set: int64."""

    def emit(target, builder, signature, arguments):
        array, at, wanted = arguments
        row = builder.load(_row(target, builder, signature.args[0], array, at), align=4)
        tags = builder.or_(row, ir.Constant(WORDS, [MARKS] * WAYS))
        equal = builder.bitcast(builder.icmp_signed("==", tags, _all(builder, wanted)), ir.IntType(WAYS))
        return builder.zext(equal, ir.IntType(64))

    return types.int64(entries, types.uint64, types.int32), emit


def _shifted(order: list[int]) -> Any:
    """An intrinsic that replaces the entries whose bits are set by elements ``order`` of (a word, the row)."""

    @intrinsic
    def shift(context, entries, at, chosen, entry):
        def emit(target, builder, signature, arguments):
            array, at, chosen, entry = arguments
            place = _row(target, builder, signature.args[0], array, at)
            row = builder.load(place, align=4)
            moved = builder.shuffle_vector(_all(builder, entry), row, ir.Constant(WORDS, order))
            bits = builder.trunc(chosen, ir.IntType(WAYS))
            mask = builder.bitcast(bits, ir.VectorType(ir.IntType(1), WAYS))
            builder.store(builder.select(mask, moved, row), place, align=4)
            return target.get_dummy_value()

        return types.void(entries, types.uint64, types.int64, types.int32), emit

    return shift


put_first = _shifted([0, *range(WAYS, 2 * WAYS - 1)])
"""(entries, at, mask, entry): the entry comes first, those whose bits are set move up by one."""
close_up = _shifted([*range(WAYS + 1, 2 * WAYS), 0])
"""(entries, at, mask, entry): those whose bits are set move down by one; the entry comes sixteenth."""


@intrinsic
def prefetch_at(context, array, at):
    """Ask the host for the line of memory that element ``at`` of a one-dimensional array lies in, to be written."""

    def emit(target, builder, signature, arguments):
        data = target.make_array(signature.args[0])(target, builder, value=arguments[0]).data
        byte, word = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        name = "llvm.prefetch.p0"
        hint = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(hint, [place, word(1), word(3), word(1)])
        return target.get_dummy_value()

    return types.void(array, types.uint64), emit


@intrinsic
def led_to(context, table, at, tree):
    """The bit of the way that a tree leads to: int64. From ``table[at]`` on lies what :func:`tree_paths` made."""

    def emit(target, builder, signature, arguments):
        array, at, tree = arguments
        halves = ir.VectorType(ir.IntType(16), WAYS)
        data = target.make_array(signature.args[0])(target, builder, value=array).data
        place = builder.bitcast(builder.gep(data, [at]), ir.PointerType(halves))
        paths, wanted = (builder.load(builder.gep(place, [ir.Constant(ir.IntType(32), k)]), align=8) for k in range(2))
        nothing = ir.Constant(halves, ir.Undefined)
        one = builder.insert_element(nothing, tree, ir.Constant(ir.IntType(32), 0))
        word = builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), WAYS), [0] * WAYS))
        equal = builder.icmp_signed("==", builder.and_(word, paths), wanted)
        return builder.zext(builder.bitcast(equal, ir.IntType(WAYS)), ir.IntType(64))

    return types.int64(table, types.uint64, types.uint16), emit


def tree_paths(ways: int) -> tuple[NDArray[np.int64], list[int], list[int]]:
    """What a level keeps of its trees; ``ways`` is a power of two.

    Returns: the bits on the way to each of sixteen ways, and those of them that lead there, in words of four, 16 bits
    each (no tree leads to ways beyond ``ways``); for each way the bits that a use of it keeps; and those it sets.
    """
    paths, wanted = np.ones(WAYS, np.uint16), np.ones(WAYS, np.uint16)
    keep, put = [-1] * WAYS, [0] * WAYS
    for way in range(ways):
        paths[way] = wanted[way] = 0
        node = ways + way
        while node > 1:
            bit = 1 << (node >> 1)
            paths[way] |= bit
            wanted[way] |= bit * (node & 1)
            put[way] |= bit * (1 - (node & 1))
            node >>= 1
        keep[way] = ~int(paths[way])
    return np.concatenate((paths, wanted)).view(np.int64), keep, put
