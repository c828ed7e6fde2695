"""What a saved file may name: tree structures and operators. The lists refuse by default and import nothing."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest
import torch
from torch import nn

from spcomp.artifact import allow, trees
from spcomp.artifact.graph import graph_from_json, graph_to_json
from spcomp.errors import ArtifactError, SpcompError

# -- structures -----------------------------------------------------------------------------------------------------


def _tree(kind: Any, context: Any, children: int = 0) -> str:
    leaf = {"type": None, "context": None, "children_spec": []}
    return json.dumps([1, {"type": kind, "context": context, "children_spec": [leaf] * children}])


EVIL_ENUM = {"__enum__": True, "fqn": "antigravity:x", "name": "y"}
EVIL_DEFAULT = {"default_factory_module": "antigravity", "default_factory_name": "x", "dict_context": []}


@pytest.mark.parametrize(
    "text",
    [
        _tree("collections.defaultdict", EVIL_DEFAULT), _tree("builtins.dict", json.dumps([EVIL_ENUM]), 1),
        _tree("builtins.tuple", json.dumps(EVIL_ENUM)), _tree("os.system", "null"),
        _tree("collections.namedtuple", "os.x"),
        _tree("builtins.dict", '["a"]', 2), _tree("builtins.dict", "{}"), _tree("collections.deque", '"x"'),
        _tree(None, "null", 1), _tree(3, "null"), _tree("NO_SERIALIZED_TYPE_NAME_FOUND", "null"), "[1]", "{}", "[", "3",
        json.dumps([2, {}]), json.dumps([True, {}]), "[" * 5000, None, 7,
    ],
)  # fmt: skip
def test_structures_import_nothing(text: Any) -> None:
    before = set(sys.modules)
    with pytest.raises(ArtifactError):
        trees.load_tree(text)
    assert "antigravity" not in sys.modules
    assert set(sys.modules) == before


def test_a_class_that_is_not_registered_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"'mine.Output', which is not registered here.*importing mine before"):
        trees.load_tree(_tree("mine.Output", '["a"]', 1))


# -- the list of operators ------------------------------------------------------------------------------------------


def test_what_export_emits_is_allowed_and_comes_back() -> None:
    class Sizes(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            half = torch.sym_int(x.shape[0] * 1.5) + torch.sym_max(x.shape[0], 3) ** 2
            y = torch.cat([x.relu_().clone(), x[:, ::2].repeat(1, 2)], 1).to(
                torch.bfloat16, memory_format=torch.preserve_format
            )
            z = x.masked_fill(x > 0, float("-inf")) & 1 if x.dtype is torch.int else x.masked_fill(x > 0, float("-inf"))
            return y.float() + half, torch.zeros(x.shape[0] // 2), z.split(1, 1)[0], torch.fft.rfft(x).abs()

    shapes = ({0: torch.export.Dim.DYNAMIC},)
    gm = torch.export.export(Sizes(), (torch.randn(4, 6),), dynamic_shapes=shapes, strict=False).module(
        check_guards=False
    )
    graph = torch.fx.Graph()
    graph.output(graph.graph_copy(gm.graph, {}))
    flat = torch.fx.GraphModule({}, graph)
    nodes = list(flat.graph.nodes)
    nodes[-1].args = (tuple(torch.utils._pytree.tree_leaves(nodes[-1].args[0])),)
    data = json.loads(json.dumps(graph_to_json(flat)))
    again = graph_from_json(data)
    assert graph_to_json(again) == data
    assert [str(n.meta) for n in again.graph.nodes] == ["{}"] * len(nodes)
    x = torch.randn(7, 6)
    for a, b in zip(again(x.clone()), gm(x.clone()), strict=True):
        assert torch.equal(a, b)


def test_the_list_refuses_by_default() -> None:
    assert allow.refusal("aten.add.Tensor") is None
    assert allow.refusal("aten.__and__.Tensor") is None
    assert allow.refusal("aten.view.default") is None
    for name in (
        "aten.add",
        "aten.add.",
        "add.Tensor",
        "",
        "aten..x",
        "aten.add.Tensor ",
        "torch.sym_fresh_size",
        "operator.call",
    ):
        assert allow.refusal(name) is not None
    with pytest.raises(SpcompError, match="do not trust this one"):
        allow.resolve("os.system", "n")
    assert allow.name_of(os.system) is None
    assert allow.name_of([]) is None
