"""What a pass is, what passes share, and the verifier that runs after each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import fx

from spcomp.encodings.pack import PackedTensor
from spcomp.errors import PassError
from spcomp.kernel import Backend
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.facts import SparsityFacts


@dataclass(eq=False)
class Site:
    """One linear layer as the planner sees it: a constant weight, an epilogue, and the row counts it will meet.

    All uses of the same weight, bias and activation, in every captured program, share one site and one slot.
    """

    slot: int
    layer: str
    weight: torch.Tensor
    bias: torch.Tensor | None
    epilogue: Epilogue
    facts: SparsityFacts
    weight_name: str
    bias_name: str | None
    domains: list[RowRange] = field(default_factory=list)
    uses: int = 0

    @property
    def dtype(self) -> str:
        return self.facts.dtype

    @property
    def n(self) -> int:
        return self.facts.shape[0]

    @property
    def k(self) -> int:
        return self.facts.shape[1]


@dataclass
class PassContext:
    """What passes share while one model is compiled."""

    sites: dict[tuple[object, ...], Site] = field(default_factory=dict)
    """By (weight memory, bias memory, activation)."""
    backends: Mapping[str, Backend] = field(default_factory=dict)
    dump: Callable[[str, fx.GraphModule], None] | None = None
    """Called with the pass's name and the graph after every pass (``debug_dir``)."""
    check: Callable[[fx.GraphModule], None] | None = None
    """Called after every pass to compare meaning (debug switch and tests)."""
    packed: dict[tuple[str, str], PackedTensor] = field(default_factory=dict)
    """By (content digest, encoding): tied and repeated weights are packed once."""


class Pass(Protocol):
    """A frozen dataclass whose fields are its options. Nothing to do returns the same object."""

    name: ClassVar[str]

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule: ...


def describe(pass_: Pass) -> str:
    """``name{option=value}``, as the CLI prints it."""
    options = ",".join(f"{f.name}={getattr(pass_, f.name)}" for f in fields(pass_))  # type: ignore[arg-type]
    return f"{pass_.name}{{{options}}}" if options else pass_.name


def run_passes(passes: tuple[Pass, ...], gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
    """Run passes in order; verify, dump and check after each."""
    for pass_ in passes:
        gm = pass_.run(gm, ctx)
        verify(gm, pass_.name)
        if ctx.dump is not None:
            ctx.dump(pass_.name, gm)
        if ctx.check is not None:
            ctx.check(gm)
    return gm


def verify(gm: fx.GraphModule, after: str = "capture") -> None:
    """Legality of a graph: well formed, one output, attributes that exist. Names the node that is wrong."""
    try:
        gm.graph.lint()
    except RuntimeError as error:
        found = str(error).partition("\n")[0]
        raise PassError(f"verify the graph after {after}", found, "report this graph as a bug") from error
    outputs = [n for n in gm.graph.nodes if n.op == "output"]
    if len(outputs) != 1:
        raise PassError(f"verify the graph after {after}", f"{len(outputs)} outputs", "report this graph as a bug")
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            attribute(gm, node, after)


def attribute(gm: fx.GraphModule, node: fx.Node, after: str = "capture") -> Any:
    """The value of a ``get_attr`` node."""
    value: Any = gm
    for part in str(node.target).split("."):
        if not hasattr(value, part):
            raise PassError(f"verify the graph after {after}", f"{node.name} reads {node.target}, which is not there",
                            "report this graph as a bug")  # fmt: skip
        value = getattr(value, part)
    return value
