"""A set of up to sixteen ways, found and reordered without a loop. Compiled into :mod:`cache_one_core`.

Tags of a set are sixteen 32-bit words side by side, compared at once. What decides who goes is one word: for least
recently used replacement the order of use, sixteen fields of four bits, the way used last in the lowest; for a tree its
bits, the root at bit 1 and the children of node n at 2n and 2n + 1, each pointing to the half that goes next.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.cpython.unsafe.numbers import trailing_zeros
from numba.extending import intrinsic
from numpy import uint64 as u

WAYS = 16
NO_TAG = -1
FIRST_ORDER = 0x_FEDC_BA98_7654_3210 - (1 << 64)
"""Way w in field w, as a signed word."""
ONES, TOPS = 0x_1111_1111_1111_1111, 0x_8888_8888_8888_8888 - (1 << 64)


@intrinsic
def matches(context, tags, at, tag):
    """A bit for each of the sixteen tags from ``tags[at]`` on that equals ``tag``: int64."""

    def emit(target, builder, signature, arguments):
        tags, at, tag = arguments
        words = ir.VectorType(ir.IntType(32), WAYS)
        array = target.make_array(signature.args[0])(target, builder, value=tags)
        row = builder.load(builder.bitcast(builder.gep(array.data, [at]), ir.PointerType(words)), align=4)
        nothing = ir.Constant(words, ir.Undefined)
        one = builder.insert_element(nothing, tag, ir.Constant(ir.IntType(32), 0))
        wanted = builder.shuffle_vector(one, nothing, ir.Constant(words, [0] * WAYS))
        equal = builder.bitcast(builder.icmp_signed("==", row, wanted), ir.IntType(WAYS))
        return builder.zext(equal, ir.IntType(64))

    return types.int64(tags, types.uint64, types.int32), emit


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


@njit(forceinline=True, _nrt=False)
def way_of(tags, place, tag):
    """The way of set ``place`` that holds ``tag``, or -1."""
    found = matches(tags, u(place * WAYS), tag)
    return trailing_zeros(found) if found else -1


@njit(forceinline=True, _nrt=False)
def used(order, way):
    """The order after a use of ``way``, which goes to the front; fields it passes move up by one."""
    # lowest field that is zero (Mycroft 1987; borrows reach only fields above it)
    other = order ^ (way * ONES)
    at = trailing_zeros((other - ONES) & ~other & TOPS) & ~3
    below = (1 << at) - 1
    return (order & ~((below << 4) | 15)) | ((order & below) << 4) | way


@njit(forceinline=True, _nrt=False)
def emptied(order, way, ways):
    """The order after ``way`` was emptied: the last of ``ways``; fields it passes move down by one."""
    other = order ^ (way * ONES)
    at = trailing_zeros((other - ONES) & ~other & TOPS) & ~3
    end = 4 * (ways - 1)
    low, high = (1 << at) - 1, (1 << end) - 1
    return (order & (low | ~((high << 4) | 15))) | ((order >> 4) & high & ~low) | (way << end)


@njit(forceinline=True, _nrt=False)
def oldest(order, ways):
    """The way used longest ago of ``ways``."""
    return (order >> (4 * (ways - 1))) & 15


@njit(forceinline=True, _nrt=False)
def pointed_to(tree, ways):
    """The way that the bits of a tree over ``ways`` lead to."""
    node = 1
    while node < ways:
        node = 2 * node + ((tree >> node) & 1)
    return node - ways


def tree_paths(ways: int) -> tuple[list[int], list[int]]:
    """For each of sixteen ways, the bits of a tree that a use of it keeps, and those it sets; ``ways`` is a power of
    two, and ways beyond it keep all and set none.
    """
    keep, put = [-1] * WAYS, [0] * WAYS
    for way in range(ways):
        node = ways + way
        while node > 1:
            keep[way] &= ~(1 << (node >> 1))
            put[way] |= (1 - (node & 1)) << (node >> 1)
            node >>= 1
    return keep, put
