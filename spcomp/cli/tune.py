"""``spcomp tune [MODEL]``: time a model's layers ahead of compiling; export, import and list what was timed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spcomp.cli import options as o
from spcomp.cli.build import Choices, set_threads
from spcomp.cli.console import stdout, steps
from spcomp.cli.named import resolve
from spcomp.errors import InputError, StateError

if TYPE_CHECKING:
    from spcomp.cost.database import TuningDatabase


def tune_command(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="package.module:factory, or a .pt2 file (with --trust).")
    ] = None,
    example: o.Examples = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="M,M,...", help="Further row counts; linear layers are tuned for each of them too."),
    ] = None,
    memory_budget: o.Budget = 1.0,
    encodings: o.Encodings = None,
    include: o.Include = None,
    exclude: o.Exclude = None,
    layer: o.Layers = None,
    quantize: o.Quantize = None,
    threads: o.Threads = None,
    trust: o.Trust = False,
    import_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--import", metavar="FILE", help="Take times from a file of --export, or of benchmarks.gpu --json."
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the times of this machine here, as JSON lines.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Export those of this device instead, as --list names it.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what there is.")] = False,
) -> None:
    """Time every layer of a model ahead of compiling it; bring times to another machine of the same kind."""
    if model is None and not import_file and export is None and not list_:
        raise InputError("tune", "neither a model nor a file", "spcomp tune MODEL, --import, --export or --list")
    counts = _counts(rows)
    database = _database()
    for path in import_file or ():
        typer.echo(_import(database, path))
    if model is not None:
        choices = Choices(
            "auto", memory_budget, tuple(include or ("*",)), tuple(exclude or ()), encodings, "eager", None, quantize,
            tuple(layer or ()),
        )  # fmt: skip
        set_threads(threads)
        typer.echo(_tune(model, example or [], choices, counts, trust))
    if export is not None:
        typer.echo(_export(database, export, device))
    if list_:
        from spcomp.cli.tunings import tunings_table

        stdout().print(tunings_table(database.records(), _here()))


def _database() -> TuningDatabase:
    from spcomp.cost.cache import default_folder
    from spcomp.cost.database import TuningDatabase

    return TuningDatabase(default_folder())


def _here() -> frozenset[str]:
    """The devices that compiling here can ask about: this CPU, and this GPU where there is one."""
    from spcomp.targets.cuda import cuda_missing
    from spcomp.targets.host import host_cpu

    found = {host_cpu().device}
    if cuda_missing() is None:
        import torch

        found |= {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    return frozenset(found)


def _counts(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise InputError(f"read --rows {text}", "it is no list of whole numbers", "--rows 1,16,512") from error


def _tune(model: str, example: list[str], choices: Choices, rows: tuple[int, ...], trust: bool) -> str:
    from spcomp.ahead import tune_ahead
    from spcomp.options import Options

    with steps(f"tuning {model}") as say:
        named = resolve(model, example, trust=trust)
        if named.compiled is not None:
            raise InputError(f"tune {model}", "a model that is compiled already", "the factory, or a .pt2 file")
        words = choices.keywords()
        options = Options(
            memory_budget=choices.memory_budget, include=choices.include, exclude=choices.exclude,
            encodings=None if words["encodings"] is None else frozenset(words["encodings"]),
            layers=tuple(words["layers"].items()), quantize=choices.quantize,
        )  # fmt: skip
        whole = named.exported if named.exported is not None else named.module
        assert whole is not None
        done = tune_ahead(whole, *named.examples, options=options, rows=rows, progress=say)
    after = "compiling it times no layer now" if done.settled else "compiling it may still time some"
    return f"tuned {done.layers} layers: {done.timed} new times in {done.passes} passes; {after}"


def _import(database: TuningDatabase, path: Path) -> str:
    from spcomp.cost.benchmarked import read_measurements

    records, came = read_measurements(path)
    try:
        database.take(records)
    except OSError as error:
        raise StateError(f"import {path}", str(error), "SPCOMP_CACHE_DIR set to a writable folder") from error
    here = _here()
    lines = []
    for device, count in came.by_device.items():
        use = "used here" if device in here else f"kept, but not used here: this is {' and '.join(sorted(here))}"
        lines.append(f"imported {count} records of {device}: {use}")
    if came.damaged:
        lines.append(f"skipped {came.damaged} lines that are no records")
    return "\n".join(lines)


def _export(database: TuningDatabase, path: Path, device: str | None) -> str:
    from spcomp.targets.host import host_cpu

    name = device or host_cpu().device
    try:
        count = database.export(path, name)
    except OSError as error:
        raise InputError(f"export to {path}", str(error.strerror or error), "a file that can be written") from error
    if not count:
        path.unlink()
        raise InputError(f"export to {path}", f"nothing was timed on {name}", "spcomp tune MODEL first, or --list")
    return f"exported {count} records of {name} to {path}"
