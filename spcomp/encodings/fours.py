"""`Fours`: sixteen rows side by side, four nonzeros of each a slot, for instructions that add four int8 products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spcomp.encodings.windowed import Windowed


@dataclass(frozen=True)
class Fours(Windowed):
    """Slots of 64 values, four a row, that lie within ``width`` (32, 64, 128 or 256) columns of each other.

    Buffers as :class:`~spcomp.encodings.windowed.Windowed` has them, ``values`` and ``columns`` [S, 16, 4]. Rows stay
    in order: what is stored for sixteen evens out over four nonzeros, and their results are neighbours in y.
    """

    name: ClassVar[str] = "fours"
    depth: ClassVar[int] = 4
    sorts: ClassVar[bool] = False
