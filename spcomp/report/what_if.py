"""`WhatIf`: what ``what_if()`` returns. A heat map in the terminal, in a notebook and as HTML; data for machines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcomp.errors import InputError
from spcomp.report import heat
from spcomp.report.prospect import LayerProspects, ModelProspect

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

FIXED = ("pattern", "layer", "shape", "M", "dense us")
PAYS = "pays from"
ALL = "all layers"
Place = tuple[str, float]
"""A pattern at a share of zeros."""


@dataclass(frozen=True)
class WhatIf:
    """Layer by layer, pattern by pattern: the speed-up over best dense and the bytes that zeros would bring."""

    origin: Literal["estimated", "measured"]
    """``estimated``: both times by the analytic cost model. ``measured``: pruned copies were packed and timed."""
    target: str
    host: str
    """The CPU's name."""
    threads: int
    """The cost model knows one thread; measured times are with torch's number."""
    patterns: tuple[str, ...]
    zeros: tuple[float, ...]
    """The grid that was asked for; N:M patterns stand at the share that n and m give."""
    layers: tuple[LayerProspects, ...]
    model: tuple[ModelProspect, ...]
    """All layers together, by pattern and zeros."""
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "origin": self.origin,
            "target": self.target,
            "host": self.host,
            "threads": self.threads,
            "patterns": list(self.patterns),
            "zeros": list(self.zeros),
            "notes": list(self.notes),
            "layers": [layer.to_dict() for layer in self.layers],
            "model": [whole.to_dict() for whole in self.model],
        }

    @property
    def columns(self) -> tuple[float, ...]:
        """Every share of zeros that anything stands at."""
        return tuple(sorted({p.zeros for layer in self.layers for p in layer.prospects}))

    def heading(self) -> str:
        distinct, every = len(self.layers), sum(len(layer.layers) for layer in self.layers)
        return (
            f"what if: speed-up over best dense and bytes of dense, {self.origin}; {every} layers of {distinct} kinds; "
            f"{self.host}, {self.target}, {self.threads} thread(s)"
        )

    def rows(self, places: Sequence[Place]) -> list[heat.Line]:
        """One line for each kind of layer, and one for all of them together, with a cell for each (pattern, zeros)."""
        patterns = tuple(dict.fromkeys(pattern for pattern, _ in places))
        found = []
        for layer in self.layers:
            shape = f"{layer.n} x {layer.k}" + (f" ({layer.conv})" if layer.conv else "")
            counts, dense = ", ".join(map(str, layer.row_counts)), ", ".join(f"{t:.0f}" for t in layer.dense_us)
            cells = tuple(heat.cell(layer.at(*place), layer.dense_nbytes) for place in places)
            pays = tuple(layer.crossovers.get(pattern) for pattern in patterns)
            text = ", ".join("never" if least is None else f"{least:.0%}" for least in pays)
            found.append(heat.Line((layer.name, shape, counts, dense), cells, text))
        whole = {(m.pattern, m.zeros): m for m in self.model}
        cells = tuple(heat.whole_cell(whole.get(place)) for place in places)
        return [*found, heat.Line((ALL, "", "", ""), cells, "")]

    def lines(self) -> list[str]:
        """What the figures are and are not."""
        first = {
            "estimated": "estimated: times by the analytic cost model, not measured; measure=True times pruned copies",
            "measured": "measured: copies pruned by magnitude, packed and timed against best dense",
        }[self.origin]
        whole = f"{ALL}: these layers alone, dense where it does not pay; the rest of the model is not in it"
        return [first, whole, *self.notes]

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.heading(), title_justify="left")
        for name in FIXED:
            table.add_column(name, justify="left" if name in FIXED[:3] else "right", overflow="fold")
        for zeros in self.columns:
            table.add_column(heat.percent(zeros), justify="right", no_wrap=True)
        table.add_column(PAYS, justify="right", no_wrap=True)
        for pattern in self.patterns:
            table.add_section()
            for i, line in enumerate(self.rows([(pattern, zeros) for zeros in self.columns])):
                cells = [Text(c.text, style=heat.style(c.speedup)) for c in line.cells]
                table.add_row(Text("" if i else pattern), *map(Text, line.head), *cells, line.pays)
        return table

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), *map(Text, self.lines()))

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=190).print(self)
        return out.getvalue()

    def _repr_html_(self) -> str:
        return heat.fragment(self.heading(), self._maps(), self.lines())

    def _maps(self) -> list[heat.Map]:
        """A map for each pattern, but one for all N:M patterns together."""
        groups = [[p] for p in self.patterns if not p.startswith("nm ")]
        if fixed := [p for p in self.patterns if p.startswith("nm ")]:
            groups.append(fixed)
        return [self._map(group) for group in groups]

    def _map(self, patterns: Sequence[str]) -> heat.Map:
        standing = {(p.pattern, p.zeros) for layer in self.layers for p in layer.prospects}
        places = [(p, z) for p in patterns for z in self.columns if (p, z) in standing]
        several = len(patterns) > 1
        columns = [f"{p.removeprefix('nm ')} ({heat.percent(z)})" if several else heat.percent(z) for p, z in places]
        return heat.Map("N:M" if several else patterns[0], (*FIXED[1:], *columns, PAYS), tuple(self.rows(places)))

    def save_html(self, path: str | Path) -> Path:
        """Write the heat maps as one page that needs nothing else: no scripts, no network.

        Raises:
            InputError: the file cannot be written.
        """
        path = Path(path)
        try:
            path.write_text(heat.page("spcomp what-if", self._repr_html_()), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"write {path}", str(error), "a file in a folder that is there and can be written"
            ) from error
        return path
