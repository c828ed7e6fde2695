"""The name that was probably meant, for the hint of an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_LISTED = 12


def nearest(name: str, known: Iterable[str]) -> str:
    """``right_name (others: ...)`` where one is close, else what names there are (the first 12)."""
    names = sorted(known)
    if not names:
        return "leaving it out: there are none"
    close = difflib.get_close_matches(name.lower(), names, 1, 0.4)
    others = [n for n in names if n not in close]
    listed = ", ".join(others[:MOST_LISTED]) + (", ..." if len(others) > MOST_LISTED else "")
    if not close:
        return listed
    return f"{close[0]} (others: {listed})" if others else close[0]
