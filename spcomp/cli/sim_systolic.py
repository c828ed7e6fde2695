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
    from collections.abc import Callable

    from spcomp.sim.engine import Clock
    from spcomp.sim.parts.systolic_memory import Memory
    from spcomp.sim.parts.systolic_report import LayerReport
    from spcomp.sim.parts.systolic_tiles import Scratchpads
    from spcomp.sim.topology import Layer


def systolic_command(
    topology: Annotated[Path, typer.Option(metavar="FILE", help="A CSV of layers, as SCALE-Sim reads it.")],
    array: Annotated[str, typer.Option(metavar="ROWSxCOLS", help="The array.")] = "32x32",
    dataflow: Annotated[str, typer.Option(help="What stays: ws (weights), os (outputs) or is (inputs).")] = "ws",
    mode: Annotated[
        str, typer.Option(help="exact, or scalesim: count as SCALE-Sim does (folds at edges cost full ones).")
    ] = "exact",
    bandwidth: Annotated[
        float | None, typer.Option(metavar="BYTES", help="A memory of so many bytes a cycle; default: no memory.")
    ] = None,
    latency: Annotated[int, typer.Option(metavar="CYCLES", help="Of that memory, once a step.")] = 0,
    dram: Annotated[str | None, typer.Option(metavar="PRESET", help="DRAM as the memory, such as HBM2_2400.")] = None,
    mhz: Annotated[float, typer.Option(help="Clock of the array, where there is DRAM.")] = 1000.0,
    scratchpads: Annotated[
        str, typer.Option(metavar="KIB,KIB,KIB", help="For ifmap, filter and ofmap, both halves together.")
    ] = "256,256,128",
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write SCALE-Sim's columns here.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a timeline for ui.perfetto.dev.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Cycles and use of a systolic array, layer by layer; with a memory its stalls and bytes too."""
    from spcomp.sim.engine import Clock
    from spcomp.sim.parts.systolic import SystolicArray
    from spcomp.sim.parts.systolic_machine import run_layer
    from spcomp.sim.parts.systolic_report import compute_report, csv_report
    from spcomp.sim.perfetto import write_perfetto
    from spcomp.sim.timeline import Timeline
    from spcomp.sim.topology import read_topology

    machine, clock = SystolicArray.parse(array, dataflow, mode), Clock.of_mhz(mhz)
    behind = _memory(bandwidth, latency, dram, trace, clock, scratchpads)
    timeline = None if trace is None else Timeline()
    rows, runs = [], []
    for layer in read_topology(topology):
        run = None if behind is None else run_layer(machine, layer, behind(layer), _pads(scratchpads), clock, timeline)
        rows.append(compute_report(machine, layer, 0 if run is None else run.stall_cycles))
        runs.append({} if run is None else run.counters())
    if timeline is not None and trace is not None:
        write_perfetto(timeline, trace)
    if csv is not None:
        _write(csv, csv_report(rows))
    total = sum(row.total_cycles for row in rows)
    if as_json:
        figures = {"array": array, "dataflow": machine.dataflow, "mode": machine.mode, "total_cycles": total}
        typer.echo(json.dumps({**figures, "layers": [r.row() | c for r, c in zip(rows, runs, strict=True)]}, indent=1))
        return
    stdout().print(_table(rows))
    stdout().print(f"{total} cycles in all, {sum(row.stall_cycles for row in rows)} of them stalls")


def _memory(
    bandwidth: float | None, latency: int, dram: str | None, trace: Path | None, clock: Clock, scratchpads: str
) -> Callable[[Layer], Memory] | None:
    """What makes the memory of a layer; None where none was asked for."""
    from spcomp.sim.parts.dram import preset
    from spcomp.sim.parts.systolic_memory import BandwidthMemory, DramMemory

    if bandwidth is not None and dram is not None:
        raise InputError("simulate a memory", "both --bandwidth and --dram", "one of them")
    if bandwidth is None and dram is None and (trace is not None or latency):
        asked = "--trace" if trace is not None else "--latency"
        raise InputError(f"read {asked}", "no memory to go with it", "--bandwidth 16, or --dram HBM2_2400")
    if bandwidth is not None:
        memory = BandwidthMemory(bandwidth, latency)
        return lambda layer: memory
    if dram is None:
        return None
    config = preset(dram)
    return lambda layer: DramMemory(config, layer, _pads(scratchpads), clock.period_fs)


def _pads(text: str) -> Scratchpads:
    from spcomp.sim.parts.systolic_tiles import Scratchpads

    words = text.split(",")
    if len(words) != 3 or not all(word.strip().isdigit() for word in words):
        raise InputError(f"read the scratchpads {text!r}", "not three sizes in KiB", "256,256,128")
    ifmap, filters, ofmap = (int(word) << 10 for word in words)
    return Scratchpads(ifmap, filters, ofmap)


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
