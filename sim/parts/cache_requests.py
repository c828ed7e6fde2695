"""What the loops of one core send to memory, in arrays that grow: :class:`Requests`."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]
LEAST = 1 << 15
FIRST_MOST = 1 << 25
"""Requests that there is room for at first, however many accesses there are; pages that nobody writes cost nothing."""


class Requests:
    """Byte addresses, the accesses that caused them, and which are writes. Room is kept from call to call."""

    def __init__(self, spare: int) -> None:
        self._spare = max(spare, LEAST)
        self._rows = _rows(2 * self._spare)

    def room_for(self, accesses: int) -> Rows:
        """Arrays in which that many accesses may find room; what was there is lost."""
        wanted = min(accesses, FIRST_MOST) + 2 * self._spare
        if self._rows[0].size < wanted:
            self._rows = _rows(wanted)
        return self._rows

    def grown(self, used: int) -> Rows:
        """Arrays twice as long; the first ``used`` elements stay."""
        larger = _rows(2 * self._rows[0].size)
        for k in range(3):
            larger[k][:used] = self._rows[k][:used]
        self._rows = larger
        return larger

    def take(self, used: int) -> Rows:
        """The first ``used`` elements: a copy if that is little of what there is."""
        address, access, is_write = self._rows
        if 2 * used < address.size:
            return address[:used].copy(), access[:used].copy(), is_write[:used].copy()
        self._rows = _rows(2 * self._spare)
        return address[:used], access[:used], is_write[:used]


def _rows(size: int) -> Rows:
    return np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.bool_)
