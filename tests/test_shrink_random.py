"""The passes keep the meaning of random networks: ``SPCOMP_RANDOM_GRAPHS`` sets how many (40)."""

from __future__ import annotations

import os
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from torch import fx

from spcomp.capture import Example, capture
from spcomp.passes.base import PassContext, verify
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.flatten import Flatten
from spcomp.passes.propagate_sparsity import PropagateSparsity, known, removable
from tests.random_graphs import RandomNet, networks

GRAPHS = int(os.environ.get("SPCOMP_RANDOM_GRAPHS", "40"))
LIMIT = 1e-10


class Checked(fx.Interpreter):
    """Runs a graph; what every node makes has the shape that its fake value has, and the constants known of it."""

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor):
            assert tuple(value.shape) == tuple(n.meta["val"].shape), n
            assert value.dtype == n.meta["val"].dtype, n
            if (own := known(n)) is not None:
                limit = LIMIT * max(1.0, float(value.abs().max())) if value.is_floating_point() else 0
                wrong = own.mask & ((value - own.value).abs() > limit)
                assert not bool(wrong.any()), n
        return value


def run(gm: fx.GraphModule, example: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return tuple(Checked(gm).run(example))


def agree(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= LIMIT * max(1e-3, float(b.abs().max()))


@settings(
    max_examples=GRAPHS, suppress_health_check=list(HealthCheck), derandomize="SPCOMP_RANDOM_GRAPHS" not in os.environ
)
@given(networks())
def test_random_networks_keep_their_meaning(net: RandomNet) -> None:
    ctx = PassContext()
    gm = Flatten().run(capture(net, [Example.of(net.example)]).gm, ctx)
    inputs = [net.example, torch.randn_like(net.example)]
    wanted = [run(gm, x) for x in inputs]
    for pass_ in (Canonicalize(), PropagateSparsity(), EliminateDead()):
        gm = pass_.run(gm, ctx)
        verify(gm, pass_.name)
        for x, values in zip(inputs, wanted, strict=True):
            agree(run(gm, x), values)
    text = str(gm.graph)
    assert not any(n.op in ("call_function", "get_attr") and not n.users for n in gm.graph.nodes), text
    for pass_ in (Canonicalize(), EliminateDead()):
        assert pass_.run(gm, ctx) is gm
    assert str(gm.graph) == text, "nothing is left to do"
    PropagateSparsity().run(gm, ctx)
    assert not any(removable(n) for n in gm.graph.nodes)
