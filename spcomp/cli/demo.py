"""``spcomp demo``: train, prune, compile and race two small networks, offline, in minutes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from spcomp.cli import options as o
from spcomp.cli.console import stdout


def demo_command(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report here as HTML.")] = None,
    json_file: o.JsonFile = None,
    quick: Annotated[bool, typer.Option("--quick", help="The MLP alone, shorter races: about a minute.")] = False,
    long: Annotated[
        bool, typer.Option("--long", help="The transformer in every pattern too: about eight minutes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads for latency; training takes all cores.")] = 1,
) -> None:
    """Train two networks on handwritten digits, prune and compile them, and race the best dense programs."""
    # Threads that wait for each other in sleep: on a busy machine, spinning ones make training five times as slow.
    # Read by OpenMP when torch is imported, which is below.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from spcomp.demo import settings
    from spcomp.demo.html import page
    from spcomp.demo.run import run_demo
    from spcomp.demo.table import print_result

    chosen = settings.quick(seed, threads) if quick else settings.full(seed, threads, long=long)
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[detail]}"),
        console=Console(stderr=True),
    )  # fmt: skip
    with bars:
        tasks: dict[str, TaskID] = {}

        def watch(what: str, done: int, total: int, detail: str = "") -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, detail=detail)
                if not bars.console.is_terminal:
                    typer.echo(what, err=True)
            bars.update(tasks[what], completed=done, total=total, detail=detail)

        result = run_demo(chosen, watch)
    print_result(result, stdout())
    if out is not None:
        out.write_text(page(result), encoding="utf-8")
        typer.echo(f"report: {out}")
    if json_file is not None:
        json_file.write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
