"""`Window`: sixteen rows side by side, a nonzero of each a slot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spcomp.encodings.windowed import Windowed


@dataclass(frozen=True)
class Window(Windowed):
    """Slots of sixteen values, one a row, that lie within ``width`` (32, 64, 128 or 256) columns of each other.

    Buffers as :class:`~spcomp.encodings.windowed.Windowed` has them.
    """

    name: ClassVar[str] = "window"
    depth: ClassVar[int] = 1
    sorts: ClassVar[bool] = True
