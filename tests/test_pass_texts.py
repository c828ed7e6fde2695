"""Graphs before and after the passes whose own tests look at something else; and sizes against dependency groups."""

from __future__ import annotations

import pytest
import torch
import torch_pruning
import transformers
from torch import fx, nn

from benchmarks.pass_models import against_groups
from benchmarks.passes import left
from spcomp import ops
from spcomp.capture import Example, capture
from spcomp.conv_shape import ConvShape
from spcomp.passes.base import PassContext, run_passes, verify
from spcomp.passes.channels_last import ChannelsLast
from spcomp.passes.collect import Collect
from spcomp.passes.find_tables import FindTables, weight_key
from spcomp.passes.infer_activations import InferActivations
from spcomp.passes.infer_sparsity import InferSparsity
from spcomp.passes.lay_out import LayOut
from spcomp.passes.merge_siblings import MergeSiblings, siblings
from spcomp.passes.pipelines import ANALYSE, CANONICAL
from spcomp.sparsity.annotation import of
from tests.conftest import Golden
from tests.models import prune
from tests.test_merging import Block
from tests.tied import Tied


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


def test_golden_what_is_found_and_changes_no_graph(golden: Golden) -> None:
    """Facts of weights, tables that are a layer's weight, and zeros behind a ReLU."""
    ctx = PassContext()
    x = torch.tensor([[5]])
    gm = run_passes((*CANONICAL, InferSparsity(), Collect()), capture(prune(Tied()), [Example.of(x)]).gm, ctx)
    text = str(gm.graph)
    weights = {n: facts for n in gm.graph.nodes if n.op == "get_attr" and (facts := of(n)) is not None}
    found = [
        f"{n.name}: {f.nonzeros} of {f.elements}, at most {f.group_max[1, 4]} of 4 along a row"
        for n, f in weights.items()
    ]
    golden("pass_infer_sparsity.txt", f"before and after:\n{text}\n\nfound:\n" + "\n".join(found))
    assert str(FindTables().run(gm, ctx).graph) == text
    tables = [f"{s.layer}: {'nobody else' if ctx.tables[key] else 'others'}" for s in ctx.sites.values()
              if (key := weight_key(s)) in ctx.tables]  # fmt: skip
    golden("pass_find_tables.txt", f"before and after:\n{text}\n\ntables that layers and:\n" + "\n".join(tables))
    assert str(InferActivations((x,)).run(gm, ctx).graph) == text
    zeros = [f"{s.layer}: {s.zero_inputs}" for s in ctx.sites.values()]
    golden("pass_infer_activations.txt", f"before and after:\n{text}\n\nzero inputs:\n" + "\n".join(zeros))


def test_sizes_are_those_of_dependency_groups() -> None:
    """A residual network whose blocks lose 40 % of their inner channels, here and by Torch-Pruning."""
    found = against_groups(left)
    assert found is not None
    assert found == (1.0, "the same shapes")


def test_sizes_of_a_perceptron_are_those_of_dependency_groups() -> None:
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


SIZES = {"hidden_size": 32, "intermediate_size": 60, "num_hidden_layers": 2, "num_attention_heads": 4}


def transformer(name: str) -> tuple[nn.Module, torch.Tensor, tuple[str, ...]]:
    """A small model, its input, and the ends of the names of the layers that make the hidden features of its MLPs."""
    torch.manual_seed(6)
    ids = torch.randint(0, 90, (2, 9))
    match name:
        case "bert":
            bert = transformers.BertModel(transformers.BertConfig(**SIZES, vocab_size=90))
            return bert.eval(), ids, ("intermediate.dense",)
        case "llama":
            llama = transformers.LlamaModel(transformers.LlamaConfig(**SIZES, vocab_size=90, use_cache=False))
            return llama.eval(), ids, ("gate_proj", "up_proj")
        case _:
            vit = transformers.ViTModel(transformers.ViTConfig(**SIZES, image_size=16, patch_size=8))
            return vit.eval(), torch.randn(2, 3, 16, 16), ("intermediate.dense", "fc1")


@pytest.mark.filterwarnings("ignore:Unwrapped parameters")
@pytest.mark.parametrize("name", ["bert", "llama", "vit"])
def test_sizes_of_transformers_are_those_of_dependency_groups(name: str) -> None:
    """40 % of the hidden features of every MLP go, here and by Torch-Pruning's group of a layer that makes them."""
    (ours, x, makers), (theirs, _, _) = transformer(name), transformer(name)
    dead = list(range(24))
    layers = [n for n, m in ours.named_modules() if isinstance(m, nn.Linear) and n.endswith(makers)]
    assert len(layers) == 2 * len([maker for maker in makers if any(n.endswith(maker) for n in layers)])
    for layer in layers:
        for tensor in ours.get_submodule(layer).parameters():
            tensor.data[dead] = 0.0
        if layer.endswith(makers[-1]) and len(makers) > 1 and name == "llama":
            continue  # in the group of the other one
        groups = torch_pruning.DependencyGraph().build_dependency(theirs, example_inputs=x)
        made = theirs.get_submodule(layer)
        groups.get_pruning_group(made, torch_pruning.prune_linear_out_channels, idxs=dead).prune()
    count, shapes = left(ours, x)
    assert count == 0
    wanted = [tuple(m.weight.shape) for m in theirs.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    assert sorted(shapes) == sorted(wanted)
    assert (36, 32) in shapes
