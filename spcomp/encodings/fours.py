"""`Fours`: sixteen rows side by side, four nonzeros of each a slot, for instructions that add four int8 products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.windowed import UNIT, Windowed
from spcomp.errors import EncodingError


@dataclass(frozen=True)
class Fours(Windowed):
    """Slots of 64 values, four a row, that lie within ``width`` (32, 64, 128 or 256) columns of each other.

    Buffers as :class:`~spcomp.encodings.windowed.Windowed` has them, ``values`` and ``columns`` [S, 16, 4]. Rows stay
    in order: what is stored for sixteen evens out over four nonzeros, and their results are neighbours in y.
    """

    name: ClassVar[str] = "fours"
    depth: ClassVar[int] = 4
    sorts: ClassVar[bool] = False
    run: int = 0
    """No slot has columns on both sides of a multiple of this: columns of a convolution that are neighbours in x. 0:
    all are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.run < 0:
            raise EncodingError(str(self), "run is below 0", "fours(width=64)")

    def __str__(self) -> str:
        return super().__str__() if self.run else f"{self.name}(width={self.width})"

    def stops(self, leftmost: NDArray[np.int32], first: NDArray[np.int32]) -> NDArray[np.int32]:
        ends = super().stops(leftmost, first)
        if not self.run:
            return ends
        return np.minimum(ends, (leftmost.astype(np.int64) // self.run + 1) * self.run).astype(np.int32)

    def runs(self, buffers: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """[S] the run that each slot's columns lie in (those of its last nonzero); 0 where it has none."""
        column = buffers["first"].astype(np.int64)[:, None, None] * UNIT + buffers["columns"]
        last = np.where(buffers["values"] != 0, column, 0).max(axis=(1, 2), initial=0)
        found: NDArray[np.int64] = last // self.run if self.run else np.zeros_like(last)
        return found

    def check(self, buffers: Mapping[str, NDArray[Any]], shape: tuple[int, int], dtype: str) -> str | None:
        wrong = super().check(buffers, shape, dtype)
        if wrong is not None or not self.run:
            return wrong
        (slot, *_), _, column = self._places(buffers)
        if (column // self.run != self.runs(buffers)[slot]).any():
            return f"a slot has columns of two runs of {self.run}"
        return None
