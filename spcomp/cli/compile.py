"""``spcomp compile MODEL``: compile, explain, and save with ``--out``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spcomp.cli import options as o
from spcomp.cli.build import Choices, compiled_from, set_threads
from spcomp.cli.console import stdout, steps
from spcomp.cli.named import resolve
from spcomp.errors import InputError


def compile_command(
    model: o.Model,
    example: o.Examples = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Save the compiled model here.")] = None,
    policy: o.PolicyOption = "auto",
    memory_budget: o.Budget = 1.0,
    encodings: o.Encodings = None,
    include: o.Include = None,
    exclude: o.Exclude = None,
    layer: o.Layers = None,
    engine: o.EngineOption = "auto",
    threads: o.Threads = None,
    debug_dir: o.DebugDir = None,
    quantize: o.Quantize = None,
    tune: o.TuneOption = "measure",
    trust: o.Trust = False,
) -> None:
    """Compile a model with zeros in its weights for this CPU, and explain what was chosen."""
    with steps(f"compiling {model}") as say:
        set_threads(threads)
        named = resolve(model, example or (), trust=trust)
        if named.compiled is not None:
            raise InputError(f"compile {model}", "a model that is compiled already", "spcomp explain, or the factory")
        choices = Choices(
            policy,
            memory_budget,
            tuple(include or ("*",)),
            tuple(exclude or ()),
            encodings,
            engine,
            debug_dir,
            quantize,
            tuple(layer or ()),
            tune,
        )
        compiled = compiled_from(named, choices, say)
        saved = compiled.save(out) if out is not None else None
    stdout().print(str(compiled.explain()), markup=False, end="")
    if saved is not None:
        typer.echo(f"saved {saved} ({saved.stat().st_size / 1e6:.1f} MB)")
