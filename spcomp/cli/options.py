"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="package.module:factory, or a .pt2 file (with --trust)."),
]
ModelOrArtifact = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A saved artifact, package.module:factory, or a .pt2 file (with --trust)."),
]
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        metavar="SPEC",
        help="Input sizes, such as 1x128x768, or 1x128:int64,1x128:bool for two inputs. A second one whose sizes "
        "differ makes those sizes dynamic. Default: what the factory returns beside the model.",
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Read a .pt2 file: loading one can run code that is hidden in it.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads; the default is torch's.")]
PolicyOption = Annotated[
    str, typer.Option(help="auto: dense where sparse does not pay; force: an error there; off: dense.")
]
Budget = Annotated[float, typer.Option(help="Bytes a layer's kernels may keep, as a multiple of its dense bytes.")]
Encodings = Annotated[str | None, typer.Option(help="Encodings to consider, such as csr,block; default: all.")]
Include = Annotated[list[str] | None, typer.Option(help="Layers that may become sparse (a glob; repeatable).")]
Exclude = Annotated[list[str] | None, typer.Option(help="Layers that stay dense (a glob; repeatable).")]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="GLOB=ENCODING",
        help="What the layers of this name should be, such as 'encoder.*=block 8x8', '*.fc1=csr' or head=dense "
        "(repeatable; the first that matches counts).",
    ),
]
EngineOption = Annotated[str, typer.Option(help="What runs the rest of the graph: auto, inductor or eager.")]
Quantize = Annotated[
    str | None,
    typer.Option(help="int8: linear layers and convolutions may round weights and inputs where that is faster."),
]
TuneOption = Annotated[
    str,
    typer.Option(help="measure: time what was not timed before; reuse: take times of near sizes; off: the model's."),
]
DebugDir = Annotated[Path | None, typer.Option(help="Dump graphs and kernel sources here.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result here as JSON.")]
