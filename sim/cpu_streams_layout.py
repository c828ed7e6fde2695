"""The accesses of packing x into tiles of sixteen tokens, and of unpacking sums into y.

The conventions of :mod:`spcomp.sim.cpu_streams` hold here.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit

from spcomp.sim.cpu_streams import LINE, READ, S_AT, S_INSTRUCTIONS, S_WORK, WRITE, busiest, put


@njit
def pack(address, kind, gap, n, spare, state, cost, stop, m, features, padded, item, bases):
    """Pieces ``state[S_AT]`` to ``stop`` of sixteen rows by sixteen columns of x, tile by tile, into tiles.

    ``bases``: x of the panel, its tiles. Rows past ``m`` are not read, columns past ``features`` are stored as zeros.
    """
    full = address.size - spare
    at = state[S_AT]
    across = (features + 15) // 16
    work_of_one = busiest(cost, 64, 64, 16, 16, 130)
    while at < stop and n < full:
        tile, piece = at // across, at % across
        work = state[S_WORK] + work_of_one
        for r in range(min(16, m - tile * 16)):
            x = bases[0] + ((tile * 16 + r) * features + piece * 16) * item
            last = x + min(16, features - piece * 16) * item - 1
            for line in range(x // LINE, last // LINE + 1):
                n = put(address, kind, gap, n, line * LINE, READ, work)
                work = 0
        end = padded if piece == across - 1 else piece * 16 + 16
        for column in range(piece * 16, end):
            n = put(address, kind, gap, n, bases[1] + (tile * padded + column) * LINE, WRITE, work)
            work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += 130
        at += 1
    state[S_AT] = at
    return n


@njit
def unpack(address, kind, gap, n, spare, state, cost, stop, m, features, stride, lo, hi, item, bias, bases):
    """Pieces ``state[S_AT]`` to ``stop`` of sixteen features by sixteen rows of y, tile by tile, out of sums.

    ``bases``: sums of feature ``lo``, bias, y of the panel. ``stride``: rows of a tile of sums. ``bias``: whether one
    is read.
    """
    full = address.size - spare
    at = state[S_AT]
    across = (hi - lo + 15) // 16
    work_of_one = busiest(cost, 80, 64, 17, 16, 150)
    while at < stop and n < full:
        tile, piece = at // across, at % across
        feature = lo + piece * 16
        width = min(16, hi - feature)
        work = state[S_WORK] + work_of_one
        for i in range(width):
            n = put(address, kind, gap, n, bases[0] + (tile * stride + piece * 16 + i) * LINE, READ, work)
            work = 0
        if bias:
            n = put(address, kind, gap, n, (bases[1] + feature * 4) // LINE * LINE, READ, work)
            work = 0
        for r in range(min(16, m - tile * 16)):
            y = bases[2] + ((tile * 16 + r) * features + feature) * item
            for line in range(y // LINE, (y + width * item - 1) // LINE + 1):
                n = put(address, kind, gap, n, line * LINE, WRITE, work)
                work = 0
        state[S_WORK] = work
        state[S_INSTRUCTIONS] += 150
        at += 1
    state[S_AT] = at
    return n
