"""``spcomp benchmark MODEL_OR_ARTIFACT``: dense eager, the best dense programs and the sparse one, interleaved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from spcomp.cli import options as o
from spcomp.cli.build import Choices, compiled_from, set_threads
from spcomp.cli.console import stdout, steps
from spcomp.cli.examples import parse_example, with_batch
from spcomp.cli.named import Named, resolve
from spcomp.errors import InputError

if TYPE_CHECKING:
    import torch

    from spcomp.options import Engine
    from spcomp.profiling.timing import Work

SPARSE = "sparse"
COLUMNS = ("batch", "program", "median ms", "spread", "speed of sparse", "lower bound")


def benchmark_command(
    model: o.ModelOrArtifact,
    example: o.Examples = None,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Batch size (repeatable); default: the example's.")
    ] = None,
    threads: o.Threads = None,
    warmup: Annotated[int, typer.Option(min=1, help="Rounds that are not counted.")] = 3,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds that are.")] = 21,
    engine: o.EngineOption = "auto",
    quantize: o.Quantize = None,
    layer: o.Layers = None,
    json_file: o.JsonFile = None,
    trust: o.Trust = False,
) -> None:
    """Time the compiled model against dense programs, run in turn in this process: medians, spreads, ratios.

    Of an artifact or a .pt2 file, the dense rival is its own weights compiled dense; of a factory also eager,
    torch.compile, and best dense linear layers (the fastest of oneDNN-prepacked, MKL and our GEMV) inside
    Inductor.
    """
    with steps(f"benchmarking {model}") as say:
        used = set_threads(threads)
        named = resolve(model, example or (), trust=trust)
        if quantize is not None and named.compiled is not None:
            raise InputError(f"quantise {model}", "a model that is compiled already", "the factory, or a .pt2 file")
        inputs = _inputs(named, example or (), batch or [])
        works = _programs(named, inputs, Choices(engine=engine, quantize=quantize, layers=tuple(layer or ())), say)
        rows = [row for size in inputs for row in _time(size, works[size], rounds, warmup, say)]
    _print(rows, used, rounds)
    if json_file is not None:
        data = {"model": model, "threads": used, "rounds": rounds, "warmup": warmup, "rows": rows}
        json_file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


Inputs = dict[int, tuple["torch.Tensor", ...]]


def _inputs(named: Named, specs: list[str] | tuple[str, ...], batches: list[int]) -> Inputs:
    first = parse_example(specs[0]) if specs else _example(named)
    if batches and named.exported is not None:
        raise InputError("benchmark other batch sizes", "a .pt2 file, whose sizes are its own", "leaving --batch out")
    if batches:
        return {size: with_batch(first, size) for size in dict.fromkeys(batches)}
    return {len(first[0]) if first[0].dim() else 1: first}


def _example(named: Named) -> tuple[torch.Tensor, ...]:
    from spcomp.capture import Example

    if named.compiled is not None:
        raise InputError("benchmark an artifact", "no example input", "--example 1x128x768")
    if named.exported is not None:
        args, kwargs = named.exported.example_inputs or ((), {})
    else:
        example = Example.of(named.examples[0])
        args, kwargs = example.args, example.kwargs
    if not args and not kwargs:
        raise InputError("benchmark a .pt2 file", "no example inputs in it", "exporting it again with them")
    if kwargs:
        raise InputError("benchmark a model", f"keyword inputs ({', '.join(kwargs)})", "a factory with positional ones")
    return tuple(args)


def _programs(named: Named, inputs: Inputs, choices: Choices, say: Callable[[str], None]) -> dict[int, dict[str, Work]]:
    """Callables by batch size and name, the sparse one first."""
    from spcomp.demo.race import Rivals, call, examples

    if named.module is not None:
        sparse = compiled_from(replace(named, examples=tuple(examples(inputs))), choices, say)
        say("building dense programs")
        rivals = Rivals(named.module, inputs, cast("Engine", choices.engine))  # compiling has checked it
        return {size: {SPARSE: call(sparse, x), **rivals.work[size]} for size, x in inputs.items()}
    from spcomp.repack import without_sparsity

    sparse = compiled_from(named, choices, say)
    say("building the dense program")
    dense = without_sparsity(sparse)
    return {size: {SPARSE: call(sparse, x), "spcomp dense": call(dense, x)} for size, x in inputs.items()}


def _time(
    size: int, work: dict[str, Work], rounds: int, warmup: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    from spcomp.profiling.timing import interleave, ratio

    say(f"timing batch {size}")
    times = interleave(work, rounds=rounds, warmup=warmup, hot=True)
    found = []
    for name, timing in times.items():
        gain = ratio(timing, times[SPARSE])
        found.append(
            {
                "batch": size,
                "program": name,
                "median_ms": 1e3 * timing.median,
                "spread": timing.spread,
                "sparse_speedup": gain.value,
                "sparse_speedup_lower": gain.lower,
            }
        )
    return found


def _print(rows: list[dict[str, Any]], threads: int, rounds: int) -> None:
    from rich.table import Table

    from spcomp.targets.host import host_cpu

    table = Table(*COLUMNS, title=f"{host_cpu().model}, {threads} thread(s), {rounds} rounds", title_justify="left")
    for row in rows:
        table.add_row(
            str(row["batch"]), row["program"], f"{row['median_ms']:.3f}", f"{row['spread']:.1%}",
            f"{row['sparse_speedup']:.2f}x", f"{row['sparse_speedup_lower']:.2f}x",
        )  # fmt: skip
    stdout().print(table)
