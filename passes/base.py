"""What a pass is, what passes share, and the verifier that runs after each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

import torch
from torch import fx

from spcomp.conv_shape import ConvShape
from spcomp.encodings.int8 import Int8Weight
from spcomp.encodings.pack import PackedTensor
from spcomp.errors import PassError
from spcomp.kernel import Backend
from spcomp.passes.origins import Origins
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.facts import SparsityFacts
from spcomp.targets.device import Devices

_MISSING = object()
_STALE = "code is older than the graph"
_OPS = frozenset(("placeholder", "get_attr", "call_function", "call_method", "call_module", "output"))
_PLACES = ("_modules", "_parameters", "_buffers")


@dataclass(frozen=True)
class Norm:
    """A BatchNorm in eval mode, folded into a convolution: names of its parameters and buffers, and of the
    convolution's own bias."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float
    conv_bias: str | None = None

    def names(self) -> tuple[str, ...]:
        return tuple(n for n in (self.weight, self.bias, self.mean, self.var, self.conv_bias) if n is not None)

    def fold(self, state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """(scale [n], shift [n]) of ``(y + conv_bias - mean) / sqrt(var + eps) * weight + bias``, in float64 inside."""
        scale = (state[self.var].double() + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * state[self.weight].double()
        shift = -state[self.mean].double() * scale
        if self.conv_bias is not None:
            shift = shift + state[self.conv_bias].double() * scale
        if self.bias is not None:
            shift = shift + state[self.bias].double()
        return scale.detach().to(dtype), shift.detach().to(dtype)


def combined(rows: torch.Tensor, norm: torch.Tensor | None) -> torch.Tensor:
    """Scales of a quantised weight's rows [n], times those of a folded BatchNorm, in float32."""
    return rows if norm is None else rows * norm.to(torch.float32)


def input_size(conv: ConvShape) -> tuple[int, ...]:
    """Shape of one image of a convolution's input."""
    return (conv.channels, conv.width) if conv.dims == 1 else (conv.channels, conv.height, conv.width)


@dataclass(eq=False)
class Site:
    """One layer as the planner sees it: a constant weight, an epilogue, and the row counts it will meet.

    A convolution's weight is held as the matrix of its :class:`~spcomp.conv_shape.ConvShape`. All uses of the same
    constants with the same fused operators, in every captured program, share one site and one slot.
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
    conv: ConvShape | None = None
    gathered: bool = False
    """Whether the lowered graph reads single rows of the weight, for an embedding."""
    original: torch.Tensor | None = None
    """The model's own weight, where ``weight`` is a matrix made of it."""
    scale: torch.Tensor | None = None
    """Of a folded BatchNorm, [n]; its shift is in ``bias``."""
    norm: Norm | None = None
    zero_inputs: float | None = None
    """Share of zeros among the inputs, measured on the example; None where nobody measured."""
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    """What ``norm`` names, kept for the state of the compiled model."""
    gone: float = 0.0
    """Share of the model's own weight that was constant or unread, and is not in this one."""
    spared: str = ""
    """What of it could go as well and was kept for the device, and why."""
    int8: Int8Weight | None = None
    """The weight quantised, where that was asked for and can be done."""
    experts: int = 0
    """Of how many experts' matrices the weight is, one below the other, where one kernel serves all; else 0."""
    where: str = "cpu"
    """The torch device that the model has the weight on. ``weight`` and ``bias`` are on the CPU, or copies there."""

    def scale_for(self, quantize: str) -> torch.Tensor | None:
        """What a backend is given as ``scale``: of the epilogue, or of the quantised weight's rows, times that."""
        if not quantize or self.int8 is None:
            return self.scale
        return combined(self.int8.scale, self.scale)

    @property
    def op(self) -> str:
        return "experts" if self.experts else "linear" if self.conv is None else "conv"

    @property
    def inputs(self) -> int:
        """Elements of the input for each of ``pixels`` rows."""
        return self.k if self.conv is None else self.conv.inputs

    @property
    def pixels(self) -> int:
        """Rows that come together: the output pixels of an image, or 1."""
        return 1 if self.conv is None else self.conv.pixels

    def example(self, m: int, generator: torch.Generator | None = None) -> tuple[torch.Tensor, ...]:
        """Random inputs of ``m`` rows: x, and a residual if there is one, or where equal shares of experts end."""
        leading = (m,) if self.conv is None else (m // self.pixels,)
        last = (self.k,) if self.conv is None else input_size(self.conv)
        x = torch.randn(*leading, *last, generator=generator).to(self.weight.dtype)
        if self.zero_inputs:
            x = x * (torch.rand(x.shape, generator=generator) >= self.zero_inputs)
        if self.experts:
            return x, torch.tensor([m * (e + 1) // self.experts for e in range(self.experts)], dtype=torch.int32)
        if not self.epilogue.residual:
            return (x,)
        size = (self.n,) if self.conv is None else self.conv.size(self.n)
        return x, torch.randn(*leading, *size, generator=generator).to(self.weight.dtype)

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
    tables: dict[tuple[object, ...], bool] = field(default_factory=dict)
    """Weights that embeddings read too, by memory: whether only layers and embeddings do, in every program."""
    gathered: dict[tuple[object, ...], int] = field(default_factory=dict)
    """Those of them whose rows are gathered from a slot, once layers are planned: memory -> slot."""
    facts: dict[tuple[object, ...], tuple[torch.Tensor, SparsityFacts]] = field(default_factory=dict)
    """Weights that were measured, by memory -> themselves, so that nothing else gets their address, and what was
    found."""
    origins: Origins = field(default_factory=Origins)
    """Constants that passes made of the model's own."""
    left: frozenset[int] = frozenset()
    """Slots of layers that stay in the graph as they are: dense ones on a GPU, which Inductor fuses better."""
    orders: dict[tuple[object, ...], tuple[tuple[torch.Tensor, ...], torch.Tensor | None]] = field(default_factory=dict)
    """Weights around hidden features, by memory -> themselves, and the order that pays for them."""
    packed: dict[tuple[str, str], PackedTensor] = field(default_factory=dict)
    """By (content digest, encoding): tied and repeated weights are packed once."""
    devices: Devices | None = None
    """What each weight is planned for, by its name and torch device; None: the CPU."""
    spared: dict[str, str] = field(default_factory=dict)
    """What could go of a weight, by its name in the model, and was kept for its device, with the reason."""
    unserved: dict[str, str] = field(default_factory=dict)
    """Experts that stay as they are on their device, by their name in the model, with the reason."""
    deferred: bool = False
    """Whether passes leave the graph's Python code to who runs them."""


class Pass(Protocol):
    """A frozen dataclass whose fields are its options. Nothing to do returns the same object."""

    name: ClassVar[str]

    def run(self, gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule: ...


def describe(pass_: Pass) -> str:
    """``name{option=value}``, as the CLI prints it."""
    options = ",".join(f"{f.name}={getattr(pass_, f.name)}" for f in fields(pass_) if f.repr)  # type: ignore[arg-type]
    return f"{pass_.name}{{{options}}}" if options else pass_.name


def run_passes(passes: tuple[Pass, ...], gm: fx.GraphModule, ctx: PassContext) -> fx.GraphModule:
    """Run passes in order; verify, dump and check after each. Python code of the graph is made once, at the end,
    unless somebody looks at it before."""
    looked_at = ctx.dump is not None or ctx.check is not None
    for pass_ in passes:
        ctx.deferred = not looked_at
        try:
            gm = pass_.run(gm, ctx)
        finally:
            ctx.deferred = False
        verify(gm, pass_.name)
        if ctx.dump is not None:
            ctx.dump(pass_.name, gm)
        if ctx.check is not None:
            ctx.check(gm)
    if gm.meta.pop(_STALE, False):
        gm.recompile()
    return gm


def recompile(gm: fx.GraphModule, ctx: PassContext) -> None:
    """Make the graph's Python code anew: now, or after the last of the passes that are running."""
    if ctx.deferred:
        gm.meta[_STALE] = True
    else:
        gm.recompile()


def verify(gm: fx.GraphModule, after: str = "capture") -> None:
    """Legality of a graph: values made before they are read, one output, attributes that exist. Names the node that is
    wrong."""
    seen: set[fx.Node] = set()
    names: set[str] = set()
    outputs = 0
    for node in gm.graph.nodes:
        found = _wrong(node, gm, seen, names)
        if found is not None:
            raise PassError(f"verify the graph after {after}", found, "report this graph as a bug")
        if node.op == "get_attr":
            attribute(gm, node, after)
        outputs += node.op == "output"
        seen.add(node)
        names.add(node.name)
    if outputs != 1:
        raise PassError(f"verify the graph after {after}", f"{outputs} outputs", "report this graph as a bug")


def _wrong(node: fx.Node, gm: fx.GraphModule, seen: set[fx.Node], names: set[str]) -> str | None:
    """What is wrong with a node, after those that were seen; None if nothing is."""
    if node.op not in _OPS:
        return f"{node.name} is {node.op!r}, which is no operation"
    if node.graph is not gm.graph:
        return f"{node.name} is of another graph"
    if node.name in names:
        return f"two nodes are called {node.name}"
    for source in node.all_input_nodes:
        if source not in seen:
            return f"{node.name} reads {source.name}, which is not made before it"
        if node not in source.users:
            return f"{node.name} reads {source.name}, which does not count it among its users"
    if node.op == "call_module" and _resolved(gm, str(node.target)) is _MISSING:
        return f"{node.name} calls {node.target}, which is not there"
    return None


def attribute(gm: fx.GraphModule, node: fx.Node, after: str = "capture") -> Any:
    """The value of a ``get_attr`` node."""
    value = _resolved(gm, str(node.target))
    if value is _MISSING:
        raise PassError(f"verify the graph after {after}", f"{node.name} reads {node.target}, which is not there",
                        "report this graph as a bug")  # fmt: skip
    return value


def _resolved(gm: fx.GraphModule, target: str) -> Any:
    """What a dotted name means; modules, parameters and buffers are looked up where modules keep them, which is much
    faster than asking for an attribute."""
    value: Any = gm
    for part in target.split("."):
        held = getattr(value, "__dict__", {})
        for place in _PLACES:
            found = held.get(place, {}).get(part)
            if found is not None:
                value = found
                break
        else:
            value = getattr(value, part, _MISSING)
        if value is _MISSING:
            break
    return value
