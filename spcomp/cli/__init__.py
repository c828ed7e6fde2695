"""The command line: ``spcomp compile | explain | what-if | benchmark | demo | tune | simulate | sim``.

Importing it loads no torch. Progress goes to stderr, results to stdout. An error that spcomp raises on purpose prints
as one message, exit code 2.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from spcomp.cli.benchmark import benchmark_command
from spcomp.cli.compile import compile_command
from spcomp.cli.console import print_error
from spcomp.cli.demo import demo_command
from spcomp.cli.explain import explain_command
from spcomp.cli.sim import sim_app
from spcomp.cli.sim_systolic import systolic_command
from spcomp.cli.simulate import simulate_command
from spcomp.cli.tune import tune_command
from spcomp.cli.what_if import what_if_command
from spcomp.cost.cache import default_folder
from spcomp.errors import SpcompError
from spcomp.targets.amx import avoid_broken_amx


class _Group(TyperGroup):
    """Runs a subcommand and turns a :class:`SpcompError` into a message."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SpcompError as error:
            if ctx.params.get("verbose"):
                raise
            print_error(error)
            raise typer.Exit(2) from error


app = typer.Typer(
    cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback(help="Compile sparse neural networks, explain what was chosen, and measure it.")
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", help="Log every step, and show tracebacks of errors.")] = False,
) -> None:
    if verbose:
        import logging

        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("spcomp").setLevel(logging.INFO)


app.command("compile")(compile_command)
app.command("explain")(explain_command)
app.command("what-if")(what_if_command)
app.command("benchmark")(benchmark_command)
app.command("tune")(tune_command)
app.command("demo")(demo_command)
sim_app.command("systolic")(systolic_command)
app.command("simulate")(simulate_command)
app.add_typer(sim_app, name="sim")


def main() -> None:
    """The entry point of ``spcomp``."""
    avoid_broken_amx(default_folder())
    app()
