"""`Explanation`: what ``explain()`` returns. A table in the terminal and in a notebook, data for machines."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spcomp.report.decision import LayerDecision

COLUMNS = (
    "layer",
    "shape",
    "zeros",
    "found",
    "encoding",
    "rows",
    "kernel us",
    "predicted",
    "dense us",
    "speed-up",
    "bytes",
)


@dataclass(frozen=True)
class Explanation:
    """Layer by layer: pattern found, encoding chosen, runner-up, reason, bytes and times."""

    decisions: tuple[LayerDecision, ...]
    engines: tuple[str, ...]
    """What runs the rest of each captured program."""
    notes: tuple[str, ...]
    digest: str
    """The plan's digest."""
    nbytes: int
    dense_nbytes: int
    targets: tuple[str, ...] = ()
    """What layers were planned for, where any is no CPU: ``cuda: NVIDIA H200 (cuda:0)``."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "plan": self.digest,
            "engines": list(self.engines),
            "targets": list(self.targets),
            "notes": list(self.notes),
            "nbytes": self.nbytes,
            "dense_nbytes": self.dense_nbytes,
            "layers": [d.to_dict() for d in self.decisions],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """One row a layer and row range, as text, in the order of :data:`COLUMNS`."""
        found: list[tuple[str, ...]] = []
        for d in self.decisions:
            for i, r in enumerate(d.ranges):
                head = (d.layer, f"{d.n} x {d.k}", f"{d.zeros:.1%}", d.pattern, d.encoding) if i == 0 else ("",) * 5
                size = f"{d.nbytes / max(1, d.dense_nbytes):.0%} of {count_of_bytes(d.dense_nbytes)}" if i == 0 else ""
                about = "~" if r.estimated else ""
                found.append(
                    (*head, f"{r.rows} (at {r.at_rows})", f"{about}{r.measured_us:.0f}", f"{r.predicted_us:.0f}",
                     f"{about}{r.dense_us:.0f}", f"{r.speedup:.2f}x", size)
                )  # fmt: skip
        return found

    def reasons(self) -> list[str]:
        """Why each layer is as it is, with the runner-up; equal reasons of different layers on one line."""
        grouped: dict[str, list[str]] = {}
        laid: dict[str, list[str]] = {}
        for d in self.decisions:
            if d.layout:
                laid.setdefault(d.layout, []).append(d.layer)
            runner = d.ranges[-1].runner_up if d.ranges else ""
            what = f"{d.encoding}: {d.reason}" + (f"; runner-up {runner.rsplit(' (', 1)[0]}" if runner else "")
            grouped.setdefault(what, []).append(d.layer)
        return (
            [f"{_layers(layers)}: {what}" for found in (grouped, laid) for what, layers in found.items()]
            + [
                f"{d.layer}: {d.quantize} weights and inputs, error {d.error:.1e} of at most {d.error_limit:.1e}"
                for d in self.decisions
                if d.quantize
            ]
            + [f"{d.layer}: on {d.device}" for d in self.decisions if d.device and len(self.targets) > 1]
        )

    def summary(self) -> str:
        sparse = sum(d.sparse for d in self.decisions)
        targets = f"for {', '.join(self.targets)}; " if self.targets else ""
        return targets + (
            f"{sparse} of {len(self.decisions)} layers sparse; {count_of_bytes(self.nbytes)} resident, "
            f"{count_of_bytes(self.dense_nbytes)} dense; rest of the graph: {', '.join(self.engines)}; "
            f"plan {self.digest}"
        )

    def __str__(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table(title="spcomp", title_justify="left")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in COLUMNS[:5] else "right", overflow="fold")
        for row in self.rows():
            table.add_row(*row)
        out = io.StringIO()
        console = Console(file=out, width=170)
        console.print(table)
        for line in [*self.reasons(), *self.notes, self.summary()]:
            console.print(line, markup=False, highlight=False)
        return out.getvalue()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.rows())
        notes = "".join(f"<li>{html.escape(line)}</li>" for line in [*self.reasons(), *self.notes])
        return (
            f"<p>{html.escape(self.summary())}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<ul>{notes}</ul>"
        )


def count_of_bytes(count: int) -> str:
    """``512 B``, ``1.2 kB``, ``340 MB``: powers of 1000, three digits at most."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def _layers(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
