"""Encodings for a layer that was told what to use, and why none of them can serve.

"block 8x8", facts -> [block(rows=8, cols=8)]; "csr", facts -> [csr(block_columns=64), csr(block_columns=128), ...]

What is worth a thought is not asked here; what cannot be is refused as always.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from spcomp.encodings.transposed import Transposed
from spcomp.encodings.vnm import Vnm
from spcomp.encodings.wanted import Wanted
from spcomp.encodings.window import Window
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, NM_RESTS, VNM_GROUPS, VNM_ROWS, SparsityFacts

CSR_COLUMNS = (64, 128, 256)
SORTED_COLUMNS = (64, 128, 256)
WIDTHS = (32, 64, 256)
FOURS_WIDTHS = (64, 128, 256)
QUAD_ROWS = (1, 4)
SPLITS = ((8, 1), (16, 1), (4, 4), (8, 8))
"""Blocks of which some may be full, in a weight whose other nonzeros lie anywhere."""
BLOCKS = 3
"""Block shapes to try where none was named: those with the fewest zeros stored."""


def told(facts: SparsityFacts, wanted: Wanted) -> list[Encoding]:
    """The encodings that ``wanted`` means for a weight with these facts, none of which refuses it."""
    return [e for e in _meant(facts, wanted) if e.refuses(facts) is None]


def vnm_for(facts: SparsityFacts) -> list[Encoding]:
    """The V:2:M that stores least, if any holds: the widest groups, and of those the most rows."""
    every: list[Encoding] = [Vnm(v, m) for m in reversed(VNM_GROUPS) for v in reversed(VNM_ROWS)]
    return [e for e in every if e.refuses(facts) is None][:1]


def why_not(facts: SparsityFacts, wanted: Wanted, points: Sequence[int], target: str) -> str:
    """Why a layer that was told to use ``wanted`` has no candidate at these row counts."""
    meant = _meant(facts, wanted)
    refusals = [r for e in meant if (r := e.refuses(facts)) is not None]
    if refusals and len(refusals) == len(meant):
        return refusals[0].reason
    if wanted.name == "transposed":
        return "too few inputs were zero on the examples to skip their columns"
    rows = ", ".join(map(str, points))
    return f"no kernel on {target} computes it in {facts.dtype} at M = {rows}"


def _meant(facts: SparsityFacts, wanted: Wanted) -> list[Encoding]:
    if wanted.encoding is not None:
        return [wanted.encoding]
    match wanted.name:
        case "csr":
            return [Csr(columns) for columns in CSR_COLUMNS if columns < 2 * facts.shape[1] or columns == 64]
        case "sorted_csr":
            return [SortedCsr(columns) for columns in SORTED_COLUMNS]
        case "sell":
            return [Sell()]
        case "block":
            shapes = sorted(
                (s for s in BLOCK_SHAPES if 1 < s[0] <= 16), key=lambda s: (-facts.block_occupancy(*s), -s[0] * s[1])
            )
            return [Block(rows, cols) for rows, cols in shapes[:BLOCKS]]
        case "split":
            return [Split(rows, cols) for rows, cols in SPLITS]
        case "nm":
            tight = [(n / m, m, n) for m in NM_GROUPS if 1 <= (n := max(1, facts.group_max[1, m])) < m]
            fitting = [(share, m, n) for share, m, n in tight if n <= (16 if m <= 4 else 8)]
            _, m, n = min(fitting, default=(0.5, 4, 2))
            return [Nm(n, m)]
        case "nm_rest":
            return [NmRest(n, m, 100) for n, m in NM_RESTS]
        case "vnm":
            return vnm_for(facts) or [Vnm(VNM_ROWS[-1], VNM_GROUPS[0])]
        case "window":
            return [Window(width) for width in WIDTHS]
        case "fours":
            return [Fours(width) for width in FOURS_WIDTHS]
        case "quad":
            return [Quad(rows) for rows in QUAD_ROWS]
        case "bitmap":
            return [Bitmap()]
        case "transposed":
            return [Transposed()]
        case _:
            return []
