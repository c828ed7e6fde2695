"""``spcomp simulate MODEL --machine gpu_h200``: a whole model on a simulated machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from spcomp.cli import options as o
from spcomp.cli.console import stdout, steps
from spcomp.cli.examples import parse_example
from spcomp.cli.named import resolve
from spcomp.cli.sim import read_settings
from spcomp.errors import InputError

CUT_OFF = 130
"""Exit code after Ctrl-C."""


def simulate_command(
    model: o.ModelOrArtifact,
    machine: Annotated[str, typer.Option(help="A preset, such as systolic_ws or gpu_h200, or a YAML file.")],
    example: o.Examples = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A key of the machine, such as dram.channels=8 (repeatable)."),
    ] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="Plan a saved artifact anew for the machine; a model always is.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of what is random in a machine.")] = 0,
    functional: Annotated[
        bool, typer.Option("--functional", help="Compute every layer as the machine does, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a line a step, as SCALE-Sim does.")] = None,
    trace: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a timeline for ui.perfetto.dev.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table here as HTML.")] = None,
    trust: o.Trust = False,
) -> None:
    """Simulate a model on a machine: cycles, stalls, bytes and energy, op by op.

    Ctrl-C prints what has been simulated so far.
    """
    from spcomp.report.simulated import write_text

    with steps(f"planning {model}"):
        from spcomp.simulation import simulate

        named = resolve(model, example or (), trust=trust)
        given = named.compiled if named.compiled is not None else named.module
        if given is None:
            raise InputError(f"simulate {model}", "an exported program", "its factory, or a saved artifact")
        examples = named.examples or tuple(map(parse_example, example or ()))
        inputs = examples[0] if examples else None
    overrides: dict[str, Any] = dict(read_settings(settings or ()))
    with _bar(f"simulating {model}") as progress:
        report = simulate(
            given, machine, inputs, replan=replan, seed=seed, timeline=trace is not None, functional=functional,
            name=model, progress=progress, **overrides,
        )  # fmt: skip
    if trace is not None:
        report.save_trace(trace)
    if csv is not None:
        write_text(csv, report.to_csv())
    if html is not None:
        write_text(html, report._repr_html_())
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        stdout().print(report)
    if report.interrupted:
        raise typer.Exit(CUT_OFF)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yields ``progress(done, total, name)``: a bar on stderr; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=f"{title}: {name}")
