"""Heat maps of speed-ups: their cells, their colours, and how they look as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from spcomp.report.prospect import ModelProspect, Prospect

COLDEST, HOTTEST = 0.5, 8.0
"""Speed-ups at and beyond which the colour stays the same."""
SLOW, EVEN, FAST = (226, 120, 108), (250, 247, 238), (74, 168, 112)
"""Red, green and blue of half the speed, of no change, and of the hottest."""
TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.3rem 0 1.2rem"
PAD = "padding:.2rem .55rem;white-space:nowrap"
PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title></head>\n'
    '<body style="font:15px/1.5 system-ui,sans-serif;margin:2rem"><h1 style="font-size:1.4rem">{title}</h1>{body}'
    "</body></html>\n"
)


@dataclass(frozen=True)
class Cell:
    """One figure of a map."""

    text: str
    speedup: float | None = None
    """Colours it; None leaves it plain."""
    title: str = ""
    """Shown in a browser when the pointer rests on it."""


@dataclass(frozen=True)
class Line:
    """One row of a map."""

    head: tuple[str, ...]
    cells: tuple[Cell, ...]
    pays: str
    """The share of zeros from which it pays."""


@dataclass(frozen=True)
class Map:
    """One table: ``columns`` name the heads, the cells and the last column."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def cell(prospect: Prospect | None, dense_nbytes: int) -> Cell:
    """Speed-up and share of the dense bytes; ``-`` where nothing would serve, blank where nothing was asked."""
    if prospect is None:
        return Cell("")
    if prospect.speedup is None:
        return Cell("-", None, prospect.reason)
    share = prospect.nbytes / max(1, dense_nbytes)
    times = ", ".join(f"{t:.1f} us" for t in prospect.us)
    title = f"{prospect.encoding}: {times}, {prospect.nbytes} B, {prospect.found:.1%} zeros; {prospect.reason}"
    return Cell(f"{prospect.speedup:.2f}x {share:4.0%}", prospect.speedup, title)


def whole_cell(whole: ModelProspect | None) -> Cell:
    """The same of all layers together."""
    if whole is None:
        return Cell("")
    share = whole.nbytes / max(1, whole.dense_nbytes)
    return Cell(f"{whole.speedup:.2f}x {share:4.0%}", whole.speedup, f"{whole.paying} layers sparse")


def percent(share: float) -> str:
    """``87.5%``: no digits that say nothing."""
    return f"{100 * share:.4g}%"


def colour(speedup: float) -> str:
    """``#rrggbb``: red below 1, pale at 1, green above, by the logarithm of the speed-up."""
    end, limit = (SLOW, COLDEST) if speedup < 1 else (FAST, HOTTEST)
    part = min(1.0, math.log(max(speedup, 1e-9)) / math.log(limit))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(EVEN, end, strict=True))


def style(speedup: float | None) -> str:
    """As rich writes a style: dark on the colour."""
    return "" if speedup is None else f"#1c1c1c on {colour(speedup)}"


def fragment(heading: str, maps: Sequence[Map], notes: Sequence[str]) -> str:
    """HTML for a notebook or within a page; every colour is inline."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<p>{escape(heading)}</p>{''.join(map(_map, maps))}<ul>{items}</ul>"


def page(title: str, body: str) -> str:
    """A whole file around a fragment."""
    return PAGE.format(title=escape(title), body=body)


def _map(found: Map) -> str:
    head = "".join(f'<th style="{PAD};text-align:left">{escape(name)}</th>' for name in found.columns)
    body = "".join(map(_line, found.lines))
    return (
        f'<h2 style="font-size:1.1rem;margin:.5rem 0">{escape(found.title)}</h2><div style="overflow-x:auto">'
        f'<table style="{TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</div>"
    )


def _line(line: Line) -> str:
    head = "".join(f'<td style="{PAD}">{escape(text)}</td>' for text in line.head)
    cells = "".join(
        f'<td style="{PAD};text-align:right{_background(c)}" title="{escape(c.title)}">{escape(c.text)}</td>'
        for c in line.cells
    )
    return f'<tr>{head}{cells}<td style="{PAD};text-align:right">{escape(line.pays)}</td></tr>\n'


def _background(found: Cell) -> str:
    return "" if found.speedup is None else f";color:#1c1c1c;background:{colour(found.speedup)}"
