"""Encodings worth a thought for a weight, from its facts alone.

facts -> [csr(block_columns=128), block(rows=8, cols=1), ...]
"""

from __future__ import annotations

import math

from spcomp.conv_shape import ConvShape
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.fours import Fours
from spcomp.encodings.nm import Nm
from spcomp.encodings.nm_rest import NmRest
from spcomp.encodings.quad import Quad
from spcomp.encodings.sell import Sell
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.encodings.spec import Encoding
from spcomp.encodings.split import Split
from spcomp.encodings.window import Window
from spcomp.passes.told import CSR_COLUMNS, SORTED_COLUMNS, SPLITS, vnm_for
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, SparsityFacts

MANY_NONZEROS = 0.25
"""Density above which rows of 64 columns are long enough for eight tiles at a time."""
CLUSTERED = 0.8
"""Share of the blocks with a nonzero that chance would give, below which it was not chance."""
NEARLY = 0.5
"""Share of the nonzeros that chance would leave beyond N of M, below which it was not chance."""
WINDOW_WIDTHS = ((0.6, 32), (0.6, 64), (0.2, 256))
"""(density up to which it is worth a thought, width): wide windows are less padded, and take longer a slot."""
BITMAP_DENSITY = (0.2, 0.7)
"""Below, an index a nonzero is less than a bit an element; above, no sparse kernel is faster than a dense one."""
QUAD_ROWS = (1, 4, 8)
FOURS_WIDTHS = ((0.6, 64), (0.3, 128), (0.12, 256))
"""As :data:`WINDOW_WIDTHS`: a permute takes 64 columns, two take 128, and four with a choice 256."""
INT8_BITMAP_DENSITY = 0.97
"""Above, the bits are of no use."""


def encodings_for(facts: SparsityFacts, only: frozenset[str] | None = None) -> list[Encoding]:
    """Encodings worth a thought for a weight with these facts, of ``only`` these; none for a weight without zeros."""
    if facts.nonzeros == facts.elements:
        return []
    found = _by_rows(facts, only) + vnm_for(facts)
    found += [Block(r, c) for r, c in BLOCK_SHAPES if r > 1 and facts.block_occupancy(r, c) > 0.5]
    found += [Split(r, c) for r, c in SPLITS if facts.block_occupancy(r, c) <= 0.5 and _clustered(facts, r, c)]
    if facts.dtype == "bfloat16":
        found += [Quad(rows) for rows in (1, 4) if facts.block_occupancy(rows, 4) > 0.5]
    found += _groups(facts)
    found += [
        NmRest(n, m)
        for n, m in NM_RESTS
        if facts.rests[n, m] < NEARLY * _by_chance(facts.density, n, m) * facts.elements
    ]
    found += [Window(width) for most, width in WINDOW_WIDTHS if 0 < facts.density <= most]
    if BITMAP_DENSITY[0] <= facts.density <= BITMAP_DENSITY[1]:
        found.append(Bitmap())
    return [e for e in found if e.refuses(facts) is None and (only is None or e.name in only)]


def _groups(facts: SparsityFacts) -> list[Encoding]:
    """The N:M that the weight keeps, each with fewer slots than the one before."""
    found: list[Encoding] = []
    shares: set[float] = set()
    for m in NM_GROUPS:
        n = facts.group_max.get((1, m), m)
        if 1 <= n < m and n <= (16 if m <= 4 else 8) and not any(share <= n / m for share in shares):
            found.append(Nm(n, m))  # 4:8 is no news where 2:4 holds: the same slots, wider indices
            shares.add(n / m)
    return found


def _by_rows(facts: SparsityFacts, only: frozenset[str] | None) -> list[Encoding]:
    """Sorted rows are faster at every size; rows as they come remain for baked code, which needs no more of them."""
    widths = SORTED_COLUMNS[:2] if facts.density > MANY_NONZEROS else SORTED_COLUMNS[1:]
    ordered = [SortedCsr(columns) for columns in widths if columns < 2 * facts.shape[1]]
    plain = [Csr(columns) for columns in CSR_COLUMNS if columns < 2 * facts.shape[1] or columns == 64]
    if not ordered or (only is not None and "sorted_csr" not in only):
        return [*plain, Sell()]
    return [*ordered, Sell(), plain[-1]]


def _by_chance(density: float, n: int, m: int) -> float:
    """Nonzeros beyond the first n of their group of m, for each element, if nonzeros lay anywhere."""
    held = (math.comb(m, c) * density**c * (1 - density) ** (m - c) * (c - n) for c in range(n + 1, m + 1))
    return sum(held) / m


def _clustered(facts: SparsityFacts, rows: int, cols: int) -> bool:
    """Whether fewer blocks have a nonzero than if nonzeros lay anywhere: then some blocks are fuller than others."""
    down, across = -(-facts.shape[0] // rows), -(-facts.shape[1] // cols)
    anywhere = down * across * (1.0 - (1.0 - facts.density) ** (rows * cols))
    return (rows, cols) in facts.block_counts and facts.block_counts[rows, cols] < CLUSTERED * anywhere


def int8_encodings_for(facts: SparsityFacts, conv: ConvShape | None = None) -> list[Encoding]:
    """Encodings worth a thought for a quantised weight; a weight without zeros has some too, but for convolutions."""
    if conv is not None:
        run = conv.run if conv.run < conv.k else 0
        every = [Fours(width, run) for most, width in FOURS_WIDTHS if facts.density <= most]
        return [e for e in every if e.refuses(facts) is None]
    found: list[Encoding] = [Quad(rows) for rows in QUAD_ROWS]
    if facts.density <= INT8_BITMAP_DENSITY:
        found.append(Bitmap())
    found += [Fours(width) for most, width in FOURS_WIDTHS if 0 < facts.density <= most]
    found += _groups(facts)
    return [e for e in found if e.refuses(facts) is None]
