"""A set of up to sixteen ways with least recently used replacement, found and reordered without a loop.

Tags of a set are sixteen 32-bit words side by side, compared at once. The order of use is one word: sixteen fields of
four bits, the way used last in the lowest. Compiled into :mod:`cache_lru`.
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


@njit(inline="always")
def way_of(tags, place, tag):
    """The way of set ``place`` that holds ``tag``, or -1."""
    found = matches(tags, u(place * WAYS), tag)
    return trailing_zeros(found) if found else -1


@njit(inline="always")
def used(order, way):
    """The order after a use of ``way``, which goes to the front; fields it passes move up by one."""
    # lowest field that is zero (Mycroft 1987; borrows reach only fields above it)
    other = order ^ (way * ONES)
    at = trailing_zeros((other - ONES) & ~other & TOPS) & ~3
    below = (1 << at) - 1
    return (order & ~((below << 4) | 15)) | ((order & below) << 4) | way


@njit(inline="always")
def oldest(order, ways):
    """The way used longest ago of ``ways``."""
    return (order >> (4 * (ways - 1))) & 15
