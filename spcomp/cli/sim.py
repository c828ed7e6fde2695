"""``spcomp sim dram | cache``: one simulated part on a trace of addresses. ``systolic`` is in :mod:`sim_systolic`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spcomp.cli.console import stdout
from spcomp.errors import InputError

sim_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Simulate one part of a machine.")

TraceFile = Annotated[
    Path,
    typer.Option("--trace", metavar="FILE", help="Lines such as 'R 0x1f40', or the output of valgrind's lackey."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@sim_app.command("dram")
def dram_command(
    trace: TraceFile,
    preset: Annotated[str, typer.Option(help="The memory, such as DDR4_2400R.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting or a timing, such as channels=2 or RCD=20."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a trace through DRAM, each access as soon as a queue takes it."""
    from spcomp.sim.parts.dram import Dram
    from spcomp.sim.parts.dram import preset as find_preset
    from spcomp.sim.trace import read_trace

    config = find_preset(preset).with_settings(read_settings(settings or ()))
    addresses, is_write = read_trace(trace).data().split(config.transaction_bytes)
    memory = Dram(config)
    memory.feed(addresses, is_write)
    result = memory.drain()
    figures = {"preset": config.name, "channels": config.channels, "mapper": config.mapper, **result.counters()}
    figures["time_ns"] = result.time_fs / 1e6
    _print(figures, [figures], as_json)


@sim_app.command("cache")
def cache_command(
    trace: TraceFile,
    level: Annotated[
        list[str],
        typer.Option(
            metavar="SIZE,WAYS,LINE", help="From the first level on: 32k,8,64; then lru, plru, inclusive, ..."
        ),
    ],
    seed: Annotated[int, typer.Option(help="Of random replacement.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the data accesses of a trace through caches."""
    from spcomp.sim.parts.cache import CacheLevel, Caches
    from spcomp.sim.trace import read_trace

    caches = Caches([CacheLevel.parse(text) for text in level], seed=seed)
    data = read_trace(trace).data()
    block = caches.access(data.address, data.is_write, data.size)
    rows = [
        {"level": k + 1, **{name: getattr(c, name) for name in (*c.__dataclass_fields__, "hits", "misses")}}
        for k, c in enumerate(caches.counts())
    ]
    writes = int(block.is_write.sum())
    memory = {"memory_reads": int(block.is_write.size) - writes, "memory_writes": writes}
    _print({"accesses": len(data), **memory, "levels": rows}, rows, as_json)
    if not as_json:
        stdout().print(f"to memory: {memory['memory_reads']} lines read, {writes} written")


def read_settings(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` of ``--set``. Raises :class:`InputError` for anything else."""
    made: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"read --set {text}", "no name and value", "--set channels=2")
        made[name.strip()] = value.strip()
    return made


def _print(everything: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(everything, indent=1))
        return
    table = Table("", *([""] if len(rows) == 1 else [str(k + 1) for k in range(len(rows))]), show_header=False)
    for name in rows[0]:
        table.add_row(name, *(_short(row[name]) for row in rows))
    stdout().print(table)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
