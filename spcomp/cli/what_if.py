"""``spcomp what-if MODEL``: what zeros would bring, layer by layer and pattern by pattern, before anyone prunes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spcomp.cli import options as o
from spcomp.cli.build import set_threads
from spcomp.cli.console import stdout, steps
from spcomp.cli.named import resolve
from spcomp.errors import InputError


def what_if_command(
    model: o.Model,
    example: o.Examples = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="unstructured, 'nm 2:4', 'block 8x8', ... (repeatable); default: eight of them."),
    ] = None,
    zeros: Annotated[
        str | None, typer.Option(help="Shares of zeros, such as 0.5,0.9 or 50%,90%; N:M patterns have their own.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Pack and time pruned copies, instead of asking the cost model.")
    ] = False,
    memory_budget: o.Budget = 1.0,
    include: Annotated[list[str] | None, typer.Option(help="Layers to look at (a glob; repeatable).")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Layers not to look at (a glob; repeatable).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the heat maps here as HTML.")] = None,
    threads: o.Threads = None,
    trust: o.Trust = False,
) -> None:
    """Say what zeros would bring before anyone prunes: speed-up over best dense and bytes, per layer and pattern.

    Each --example is a case of its own, with its sizes as they are.
    """
    with steps(f"looking ahead for {model}") as say:
        from spcomp.forecast import what_if
        from spcomp.forecast.patterns import ZEROS

        set_threads(threads)
        named = resolve(model, example or (), trust=trust)
        found = named.module if named.module is not None else named.exported
        if found is None:
            raise InputError(f"look ahead for {model}", "a model that is compiled already", "the factory")
        result = what_if(
            found,
            *named.examples,
            patterns=pattern or None,
            zeros=ZEROS if zeros is None else _shares(zeros),
            measure=measure,
            include=include or ("*",),
            exclude=exclude or (),
            memory_budget=memory_budget,
            progress=say,
        )
    if html is not None:
        result.save_html(html)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=1))
    else:
        stdout().print(result)


def _shares(text: str) -> tuple[float, ...]:
    found = []
    for part in text.split(","):
        number, percent = part.strip().removesuffix("%"), part.strip().endswith("%")
        try:
            found.append(float(number) / (100 if percent else 1))
        except ValueError as error:
            raise InputError("read --zeros", f"{part.strip()!r} is no number", "0.5,0.9 or 50%,90%") from error
    return tuple(found)
