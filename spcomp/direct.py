"""Small graphs called directly: as Python that calls the kernels, where Inductor's own steps take longer than it saves.

Around a compiled graph stand a look at its inputs, wrappers of autograd and a dispatch for every kernel: 20 to 30 us. A
network of two small layers is done in less.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from spcomp import ops
from spcomp.codegen.laid_program import DIRECT
from spcomp.parts import Parts, Program
from spcomp.writes import written

SMALL_SECONDS = 400e-6
"""Longer runs of Inductor's program are not raced: 20 us are little then."""
WORTH = 1.03
ROUNDS, EACH = 15, 8
"""Turns that both take, and runs in each."""
_aten = torch.ops.aten
VIEWS = frozenset(
    {
        _aten.view.default, _aten.reshape.default, _aten.flatten.using_ints, _aten.unsqueeze.default,
        _aten.squeeze.dim, _aten.transpose.int, _aten.permute.default, _aten.t.default, _aten.sym_size.int,
    }
)  # fmt: skip
"""What takes no longer for more rows."""


CALLS: Mapping[Any, Callable[..., torch.Tensor]] = {op: DIRECT[op] for op in (ops.LINEAR, ops.CONV)}
"""What the dispatcher would find for a custom op."""


def directly(gm: fx.GraphModule) -> Callable[..., Any]:
    """The same graph as plain Python, its kernels called without the dispatcher. ``gm`` stays as it is."""
    graph = fx.Graph()
    values: dict[fx.Node, Any] = {}
    result = graph.graph_copy(gm.graph, values)
    graph.output(result)
    for node in graph.nodes:
        if node.op == "call_function":
            node.target = CALLS.get(node.target, node.target)
    forward: Callable[..., Any] = fx.GraphModule(gm, graph).forward
    return forward


def call_directly(parts: Parts, flats: Sequence[Sequence[Any]]) -> None:
    """Change the programs of ``parts`` that are faster so on their flat inputs; what they compute stays."""
    for program, flat in zip(parts.programs, flats, strict=True):
        if program.engine != "inductor" or program.lone is not None or not _may(program):
            continue
        given = [parts.tensors[name] for name in program.lifted]
        run = directly(program.gm)
        with torch.no_grad(), ops.active(parts.table):
            compiled, plain = _seconds((program.run, run), [*given, *flat])
        if compiled > WORTH * plain:
            program.run, program.engine = run, "direct"
            program.note = f"{1e6 * plain:.0f} us, {1e6 * compiled:.0f} through Inductor"


def _may(program: Program) -> bool:
    """Whether both can be run at will, and the verdict holds at other sizes."""
    nodes = [n for n in program.gm.graph.nodes if n.op == "call_function"]
    if any(n.op in ("call_module", "get_attr", "call_method") for n in program.gm.graph.nodes) or written(program):
        return False
    return not program.signature.symbols or all(n.target in CALLS or n.target in VIEWS for n in nodes)


def _seconds(runs: Sequence[Callable[..., Any]], given: Sequence[Any]) -> list[float]:
    """Of each, in turns; the least, since other work only ever adds time. Infinite for what need not be raced."""
    for run in runs:
        run(*given)
    start = time.perf_counter()
    runs[0](*given)
    if time.perf_counter() - start > 4 * SMALL_SECONDS:
        return [0.0, float("inf")]
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            for _ in range(EACH):
                run(*given)
            best[i] = min(best[i], (time.perf_counter() - start) / EACH)
    return best if best[0] <= SMALL_SECONDS else [0.0, float("inf")]
