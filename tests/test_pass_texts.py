"""Graphs before and after the passes whose own tests look at something else; and sizes against dependency groups."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from benchmarks.pass_models import against_groups
from benchmarks.passes import left
from spcomp import ops
from spcomp.capture import Example, capture
from spcomp.conv_shape import ConvShape
from spcomp.passes.base import PassContext, run_passes, verify
from spcomp.passes.channels_last import ChannelsLast
from spcomp.passes.lay_out import LayOut
from spcomp.passes.merge_siblings import MergeSiblings, siblings
from spcomp.passes.pipelines import ANALYSE
from tests.conftest import Golden
from tests.models import prune
from tests.test_merging import Block


def convolutions() -> tuple[fx.GraphModule, dict[int, ConvShape]]:
    """1x1, 3x3, 1x1 with a residual, and a 1x1 that reads the sum."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    values = [x]
    for slot, other in ((0, None), (1, None), (2, x), (0, None)):
        values.append(graph.call_function(ops.CONV, (values[-1], other, slot, [8, 6, 6])))
    graph.output((values[-1],))
    for node in values:
        node.meta["val"] = torch.zeros(1, 8, 6, 6)
    one, three = ConvShape(2, 8, 6, 6, (1, 1)), ConvShape(2, 8, 6, 6, (3, 3), padding=(1, 1))
    return fx.GraphModule({}, graph), {0: one, 1: three, 2: one}


def test_golden_lay_out_and_channels_last(golden: Golden) -> None:
    gm, shapes = convolutions()
    for pass_, name in ((LayOut(shapes), "pass_lay_out.txt"), (ChannelsLast(), "pass_channels_last.txt")):
        after = pass_.run(gm, PassContext())
        verify(after, pass_.name)
        golden(name, f"before:\n{gm.graph}\n\nafter:\n{after.graph}")


def test_golden_merge_siblings(golden: Golden) -> None:
    torch.manual_seed(0)
    ctx = PassContext()
    gm = run_passes(ANALYSE, capture(prune(Block()), [Example.of(torch.randn(2, 5, 32))]).gm, ctx)
    before = str(gm.graph)
    gm = run_passes((MergeSiblings(frozenset(siblings([gm], ctx))),), gm, ctx)
    golden("pass_merge_siblings.txt", f"before:\n{before}\n\nafter:\n{gm.graph}")


def test_sizes_are_those_of_dependency_groups() -> None:
    """A residual network whose blocks lose 40 % of their inner channels, here and by Torch-Pruning."""
    pytest.importorskip("torch_pruning", reason="torch-pruning is no part of the project")
    found = against_groups(left)
    assert found is not None
    assert found == (1.0, "the same shapes")


def test_sizes_of_a_perceptron_are_those_of_dependency_groups() -> None:
    torch_pruning = pytest.importorskip("torch_pruning", reason="torch-pruning is no part of the project")
    x, dead = torch.randn(3, 20), [0, 3, 4, 9]

    def made() -> nn.Sequential:
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 5)).eval()

    ours, theirs = made(), made()
    for i in (0, 2):
        with torch.no_grad():
            ours[i].weight[dead], ours[i].bias[dead] = 0.0, 0.0
        groups = torch_pruning.DependencyGraph().build_dependency(theirs, example_inputs=x)
        groups.get_pruning_group(theirs[i], torch_pruning.prune_linear_out_channels, idxs=dead).prune()
    count, shapes = left(ours, x)
    assert count == 0
    assert shapes == [tuple(m.weight.shape) for m in theirs if isinstance(m, nn.Linear)]
