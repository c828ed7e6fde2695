"""``spcomp sim systolic``: the layers of a topology on a systolic array."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spcomp.cli.console import stdout
from spcomp.errors import InputError

if TYPE_CHECKING:
    from spcomp.sim.parts.systolic_report import LayerReport


def systolic_command(
    topology: Annotated[Path, typer.Option(metavar="FILE", help="A CSV of layers, as SCALE-Sim reads it.")],
    array: Annotated[str, typer.Option(metavar="ROWSxCOLS", help="The array.")] = "32x32",
    dataflow: Annotated[str, typer.Option(help="What stays: ws (weights), os (outputs) or is (inputs).")] = "ws",
    mode: Annotated[
        str, typer.Option(help="exact, or scalesim: count as SCALE-Sim does (folds at edges cost full ones).")
    ] = "exact",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write SCALE-Sim's columns here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Cycles and use of a systolic array, layer by layer."""
    from spcomp.sim.parts.systolic import SystolicArray
    from spcomp.sim.parts.systolic_report import compute_report, csv_report
    from spcomp.sim.topology import read_topology

    machine = SystolicArray.parse(array, dataflow, mode)
    rows = [compute_report(machine, layer) for layer in read_topology(topology)]
    if csv is not None:
        _write(csv, csv_report(rows))
    total = sum(row.total_cycles for row in rows)
    if as_json:
        figures = {"array": array, "dataflow": machine.dataflow, "mode": machine.mode, "total_cycles": total}
        typer.echo(json.dumps({**figures, "layers": [row.row() for row in rows]}, indent=1))
        return
    stdout().print(_table(rows))
    stdout().print(f"{total} cycles in all, {sum(row.stall_cycles for row in rows)} of them stalls")


def _table(rows: list[LayerReport]) -> Table:
    names = ("layer", "M", "K", "N", "folds", "cycles", "stalls", "overall util", "mapping", "compute util")
    table = Table(*names)
    for r in rows:
        shares = (f"{100 * v:.2f} %" for v in (r.overall_util, r.mapping_efficiency, r.compute_util))
        numbers = (r.m, r.k, r.n, r.folds, r.total_cycles, r.stall_cycles)
        table.add_row(r.name, *map(str, numbers), *shares)
    return table


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"write {path}", error.strerror or str(error), "a file in a folder that exists") from error
