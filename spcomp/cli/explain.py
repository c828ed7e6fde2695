"""``spcomp explain MODEL_OR_ARTIFACT``: what was found, chosen and measured, layer by layer."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Annotated

import typer

from spcomp.cli import options as o
from spcomp.cli.build import Choices, compiled_from, set_threads
from spcomp.cli.console import stdout, steps
from spcomp.cli.named import resolve

PAGE = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    "<style>body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem }} table {{ border-collapse: collapse }} "
    "th, td {{ padding: .25rem .6rem; border-bottom: 1px solid #8884; text-align: left }}</style></head>\n"
    "<body><h1>{title}</h1>{body}</body></html>\n"
)


def explain_command(
    model: o.ModelOrArtifact,
    example: o.Examples = None,
    layer: o.Layers = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan instead: every kernel call.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table here as HTML.")] = None,
    threads: o.Threads = None,
    trust: o.Trust = False,
) -> None:
    """Explain a compiled model; a model that is not compiled yet is compiled for it."""
    with steps(f"reading {model}") as say:
        set_threads(threads)
        compiled = compiled_from(resolve(model, example or (), trust=trust), Choices(layers=tuple(layer or ())), say)
    explanation = compiled.explain()
    if html is not None:
        html.write_text(PAGE.format(title=escape(f"spcomp explain {model}"), body=explanation._repr_html_()))
    if plan and as_json:
        typer.echo(compiled.plan.to_json())
    elif plan:
        from spcomp.report.plan_table import plan_table

        stdout().print(plan_table(compiled.plan))
    elif as_json:
        typer.echo(json.dumps(explanation.to_dict(), indent=1))
    else:
        stdout().print(str(explanation), markup=False, end="")
