"""`SimReport`: what ``simulate()`` returns. A table in the terminal and in a notebook, CSV and JSON for machines."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcomp.errors import InputError
from spcomp.report.explain import count_of_bytes
from spcomp.report.functional import Functional

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ("step", "kind", "shape", "encoding", "cycles", "share", "compute", "memory", "stalls", "MACs", "DRAM", "uJ")
DRAM = "dram"
"""The level whose bytes come from memory."""


@dataclass(frozen=True)
class SimStep:
    """One op on the machine. ``cycles = compute_cycles + sum(stalls)``, all of the machine's clock."""

    name: str
    kind: str
    shape: str
    """``batch x m x k x n`` of a product, else elements."""
    encoding: str
    """Of a layer's weight; else empty."""
    start_fs: int
    end_fs: int
    cycles: int
    compute_cycles: int
    """Arithmetic, if operands were always there: of the array and of the vector unit, together where they overlap."""
    parts: Mapping[str, int]
    """Cycles of arithmetic by part; parts that overlap may sum to more than ``compute_cycles``."""
    memory_cycles: Mapping[str, int]
    """By level, if arithmetic took no time."""
    stalls: Mapping[str, int]
    """Cycles without arithmetic, by cause: a level that was waited for, or ``launch``."""
    dense_macs: int
    executed_macs: int
    """What takes a place in the array, padding inside the encoding included."""
    effective_macs: int
    """Products of nonzero weights."""
    read_bytes: Mapping[str, int]
    """By level."""
    write_bytes: Mapping[str, int]
    metadata_bytes: int
    """Of the weight, once."""
    energy_fj: Mapping[str, int]
    """By part; empty where the machine has no table."""

    @property
    def dram_bytes(self) -> int:
        return self.read_bytes.get(DRAM, 0) + self.write_bytes.get(DRAM, 0)

    def to_dict(self) -> dict[str, Any]:
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}


@dataclass(frozen=True)
class RunFacts:
    """When, where and how long; no part of the report's JSON, which is equal for equal runs."""

    date: str
    host: str
    seconds: float


@dataclass(frozen=True, eq=False)
class SimReport:
    """A workload on a machine, step by step and in total."""

    machine: str
    clock_mhz: float
    plan: str
    """The plan's digest."""
    model: str
    seed: int
    steps: tuple[SimStep, ...]
    step_count: int
    """Steps of the workload; more than there are in ``steps`` where the run was cut off."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Keys of the machine that the caller changed."""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    energy_nodes: tuple[str, ...] = ()
    """Technology nodes of the energy figures; figures of different nodes are not to be ranked."""
    trace: Mapping[str, Any] | None = field(default=None, repr=False)
    """Chrome's trace events, where a timeline was asked for."""
    functional: Functional | None = field(default=None, repr=False)
    """What the machine computed, where it was asked to."""
    ran: RunFacts | None = field(default=None, repr=False)
    origin: Literal["simulated"] = "simulated"

    @property
    def interrupted(self) -> bool:
        return len(self.steps) < self.step_count

    @property
    def cycles(self) -> int:
        return sum(s.cycles for s in self.steps)

    @property
    def time_fs(self) -> int:
        return self.steps[-1].end_fs - self.steps[0].start_fs if self.steps else 0

    @property
    def time_ms(self) -> float:
        return self.time_fs * 1e-12

    @property
    def dram_bytes(self) -> int:
        return sum(s.dram_bytes for s in self.steps)

    @property
    def energy_fj(self) -> int:
        return sum(sum(s.energy_fj.values()) for s in self.steps)

    def total(self) -> dict[str, Any]:
        """Sums over steps; nothing in it is counted anew."""
        numbers = ("cycles", "compute_cycles", "dense_macs", "executed_macs", "effective_macs", "metadata_bytes")
        found: dict[str, Any] = {name: sum(getattr(s, name) for s in self.steps) for name in numbers}
        found["time_fs"] = self.time_fs
        for name in ("parts", "memory_cycles", "stalls", "read_bytes", "write_bytes", "energy_fj"):
            found[name] = _added(getattr(s, name) for s in self.steps)
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; equal for equal runs."""
        return {
            "origin": self.origin,
            "machine": self.machine,
            "clock_mhz": self.clock_mhz,
            "settings": dict(self.settings),
            "model": self.model,
            "plan": self.plan,
            "seed": self.seed,
            "versions": dict(self.versions),
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "energy_nodes": list(self.energy_nodes),
            "total": self.total(),
            "steps": [s.to_dict() for s in self.steps],
            **({} if self.functional is None else {"functional": self.functional.to_dict()}),
        }

    def to_json(self) -> str:
        """The same bytes for the same plan, machine and seed."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True) + "\n"

    def summary(self) -> str:
        cut = f"; CUT OFF after {len(self.steps)} of {self.step_count} steps" if self.interrupted else ""
        energy = f", {self.energy_fj * 1e-9:.4g} uJ ({'; '.join(self.energy_nodes)})" if self.energy_nodes else ""
        return (
            f"{self.origin}: {self.cycles} cycles at {self.clock_mhz:g} MHz, {self.time_ms:.4g} ms, "
            f"{count_of_bytes(self.dram_bytes)} from and to DRAM{energy}; plan {self.plan}{cut}"
        )

    def rows(self) -> list[tuple[str, ...]]:
        """One a step, as text, in the order of :data:`COLUMNS`."""
        whole = max(1, self.cycles)
        return [
            (
                s.name, s.kind, s.shape, s.encoding, str(s.cycles), f"{s.cycles / whole:.1%}", str(s.compute_cycles),
                _listed(s.memory_cycles), _listed(s.stalls), str(s.executed_macs), count_of_bytes(s.dram_bytes),
                f"{sum(s.energy_fj.values()) * 1e-9:.4g}" if s.energy_fj else "",
            )
            for s in self.steps
        ]  # fmt: skip

    def heading(self) -> str:
        return f"{self.model or 'workload'} on {self.machine}"

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=self.heading(), title_justify="left")
        for i, name in enumerate(COLUMNS):
            table.add_column(name, justify="left" if i < 4 else "right", overflow="fold")
        for row in self.rows():
            table.add_row(*map(Text, row))
        computed = () if self.functional is None else (self.functional.summary(),)
        return Group(table, *map(Text, [*self.notes, *computed, self.summary()]))

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=180).print(self)
        return out.getvalue()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(c)}</th>" for c in COLUMNS)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in self.rows())
        notes = "".join(f"<li>{html.escape(line)}</li>" for line in self.notes)
        return (
            f"<p>{html.escape(self.heading())}: {html.escape(self.summary())}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><ul>{notes}</ul>"
        )

    def to_csv(self) -> str:
        """A line a step, columns in the manner of SCALE-Sim's compute and bandwidth reports."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(
            ["LayerID", "Layer name", "Total Cycles", "Stall Cycles", "Compute Cycles", "Overall Util %", "MACs",
             "DRAM Read Bytes", "DRAM Write Bytes", "Avg DRAM BW Bytes/Cycle", "Energy fJ"]
        )  # fmt: skip
        for i, s in enumerate(self.steps):
            share = 100 * s.compute_cycles / s.cycles if s.cycles else 0.0
            lines.writerow(
                [i, s.name, s.cycles, sum(s.stalls.values()), s.compute_cycles, f"{share:.4f}", s.executed_macs,
                 s.read_bytes.get(DRAM, 0), s.write_bytes.get(DRAM, 0), f"{s.dram_bytes / max(1, s.cycles):.4f}",
                 sum(s.energy_fj.values())]
            )  # fmt: skip
        return out.getvalue()

    def save_trace(self, path: str | Path) -> Path:
        """Write the timeline for ui.perfetto.dev.

        Raises:
            InputError: the run kept no timeline, or the file cannot be written.
        """
        if self.trace is None:
            raise InputError(f"write {path}", "the run kept no timeline", "simulate(..., timeline=True)")
        return write_text(Path(path), json.dumps(self.trace) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Raises :class:`InputError` where ``path`` cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"write {path}", error.strerror or str(error), "a file in a folder that exists") from error
    return path


def _added(given: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in given:
        for key, value in one.items():
            found[key] = found.get(key, 0) + value
    return found


def _listed(given: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in given.items() if value)
