"""Where things stand in the arrays of a cache hierarchy. Shared by :mod:`cache_kernel` and :mod:`cache`."""

from __future__ import annotations

# Columns of ``levels``. Entries of a set lie together; a level that cores do not share has one copy for each of them.
(
    L_SETS, L_WAYS, L_BASE, L_COPY, L_TREE, L_TREE_COPY, L_POLICY, L_WRITE_BACK, L_ALLOCATE, L_INCLUSION, L_PREFETCH,
    L_DEGREE, L_MSHRS, L_LATENCY, L_COPIES,
) = range(15)  # fmt: skip
LEVEL_FIELDS = 15
LRU, PLRU, RANDOM = range(3)
NON_INCLUSIVE, INCLUSIVE, EXCLUSIVE = range(3)
NO_PREFETCH, NEXT_LINE, STRIDE = range(3)

# An entry is a line number times four, and these; -1 is an empty one.
DIRTY, PREFETCHED = 1, 2
EMPTY = -1

# Columns of ``counts``.
(
    K_READ_HITS, K_READ_MISSES, K_WRITE_HITS, K_WRITE_MISSES, K_WRITEBACKS, K_EVICTIONS, K_INVALIDATIONS, K_PREFETCHES,
    K_USEFUL, K_VICTIMS,
) = range(10)  # fmt: skip
COUNTS = 10

# Registers.
(
    R_RANDOM,
    R_PENDING,
    R_OUT,
    R_CYCLE,
    R_LAST,
    R_STALLED,
    R_ACCESS,
    R_CARRIED,
    R_MARKED,
    R_SINK,
    R_RESUME,
) = range(11)
REGISTERS = 11

# Columns of the global parameters: whether accesses over two lines go down whole; lines in a page; whether there are
# prefetchers; whether time is kept; and how long memory takes.
G_WHOLE, G_PAGE_LINES, G_PREFETCH, G_TIMED, G_MEMORY, G_LINE_SHIFT, G_LARGE = range(7)

# Rows of ``mshrs[level, core]``: the line that is awaited and the cycle it comes in.
M_LINE, M_DONE = range(2)

# Rows of ``out``: what goes to memory. And of ``pending``: what is to be written to a level once the fills are done.
O_LINE, O_WRITE, O_ACCESS, O_CYCLE = range(4)
W_LEVEL, W_LINE, W_DIRTY = range(3)

# Rows of ``streams[level, core]``, a table of strides by page.
S_PAGE, S_LINE, S_STRIDE, S_SURE = range(4)
STREAMS = 64
PAGE_BYTES = 4096
FIRST_USE = 128
"""Added to the level that had an access: its line had been fetched ahead, and was used for the first time."""
SURE = 2
"""Equal strides in a row before lines are prefetched."""

AHEAD = 6
"""How many accesses ahead the kernel looks into large tables."""
LARGE_BYTES = 1 << 18

SPARE = 4096
"""Room in ``out`` and ``pending`` for what one access can cause."""
