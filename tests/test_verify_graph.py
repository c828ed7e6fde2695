"""What ``verify`` finds wrong with a graph, by its words."""

from __future__ import annotations

import pytest
import torch

from spcomp.errors import PassError
from spcomp.passes.base import attribute, verify
from tests.models import mlp
from tests.test_passes import sites_of


def test_verify_names_the_broken_node() -> None:
    _, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    node = next(n for n in gm.graph.nodes if n.op == "get_attr")
    node.target = "not.there"
    with pytest.raises(PassError, match=f"after shake: .*{node.name} .*not.there.*report this graph as a bug"):
        verify(gm, "shake")
    with pytest.raises(PassError, match=f"after shake: {node.name} reads not.there, which is not there"):
        attribute(gm, node, "shake")


def test_verify_sees_a_use_before_its_definition() -> None:
    _, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    linear = next(n for n in gm.graph.nodes if n.target is torch.ops.aten.linear.default)
    linear.append(next(n for n in gm.graph.nodes if n.op == "placeholder"))
    with pytest.raises(PassError, match=f"verify the graph after capture: .*{linear.name}.*report this graph as a bug"):
        verify(gm)


def test_verify_sees_a_reader_that_is_not_counted() -> None:
    _, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    linear = next(n for n in gm.graph.nodes if n.target is torch.ops.aten.linear.default)
    del linear.args[0].users[linear]
    with pytest.raises(PassError, match=f"{linear.name} reads {linear.args[0].name}, which does not count it"):
        verify(gm, "shake")


def test_verify_sees_two_nodes_of_one_name() -> None:
    _, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    a, b, *_ = gm.graph.nodes
    b.name = a.name
    with pytest.raises(PassError, match=f"after shake: two nodes are called {a.name}.*report this graph as a bug"):
        verify(gm, "shake")


def test_verify_wants_one_output() -> None:
    _, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    gm.graph.erase_node(next(n for n in gm.graph.nodes if n.op == "output"))
    with pytest.raises(PassError, match="0 outputs"):
        verify(gm)
