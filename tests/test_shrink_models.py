"""Whole networks with two fifths of their channels and heads zeroed shrink until nothing removable is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spcomp
from spcomp.capture import Example, capture
from spcomp.errors import InputError
from spcomp.passes.base import PassContext, describe, run_passes
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.pipelines import SHRINK
from spcomp.passes.propagate_sparsity import propagate
from tests.shrinking import prepared, shrunk, weights

transformers = pytest.importorskip("transformers")


def zero(weight: Tensor, rows: Any, bias: Tensor | None = None) -> None:
    with torch.no_grad():
        weight[rows] = 0
        if bias is not None:
            bias[rows] = 0


def minimal(gm: torch.fx.GraphModule) -> None:
    found = propagate(gm)
    assert not any(cut.any() for cut in found.cuts.cut.values())


def test_mlp() -> None:
    model = nn.Sequential(nn.Linear(12, 40), nn.GELU(), nn.Linear(40, 30), nn.SiLU(), nn.Linear(30, 5)).double()
    zero(model[0].weight, slice(0, 16))
    zero(model[2].weight, slice(0, 12))
    gm = shrunk(model, torch.randn(3, 12).double(), torch.randn(4, 12).double())
    assert weights(gm) == [(24, 12), (18, 24), (5, 18)]
    minimal(gm)


class Bottleneck(nn.Module):
    """As in ResNet-50 (He et al., 2015)."""

    def __init__(self, channels: int, inner: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.down is None else self.down(x)
        return self.relu(y)  # type: ignore[no-any-return]


def test_resnet() -> None:
    """Inner channels by their batch norms, as network slimming prunes them; the second stream in all its producers."""
    model = nn.Sequential(
        nn.Conv2d(3, 10, 3, 2, 1, bias=False), nn.BatchNorm2d(10), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1),
        Bottleneck(10, 10, 20, 1), Bottleneck(20, 10, 20, 1), Bottleneck(20, 20, 40, 2), Bottleneck(40, 20, 40, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 7),
    ).double()  # fmt: skip
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.bias)
    for block in model[4:8]:
        for norm in (block.bn1, block.bn2):  # type: ignore[union-attr]
            dead = slice(0, norm.num_features * 2 // 5)  # type: ignore[union-attr, operator]
            zero(norm.weight, dead, norm.bias)  # type: ignore[union-attr, arg-type]
    for norm in (model[6].bn3, model[6].down[1], model[7].bn3):  # type: ignore[union-attr, index]
        zero(norm.weight, slice(8, 24))  # type: ignore[union-attr, arg-type]
    gm = shrunk(model, torch.randn(2, 3, 32, 32).double())
    assert weights(gm) == [
        (10, 3, 3, 3),
        (6, 10, 1, 1), (6, 6, 3, 3), (20, 6, 1, 1), (20, 10, 1, 1),
        (6, 20, 1, 1), (6, 6, 3, 3), (20, 6, 1, 1),
        (12, 20, 1, 1), (12, 12, 3, 3), (24, 12, 1, 1), (24, 20, 1, 1),
        (12, 24, 1, 1), (12, 12, 3, 3), (24, 12, 1, 1),
        (7, 24),
    ]  # fmt: skip
    minimal(gm)


TOKENS = torch.tensor([[1, 2, 3, 4, 5]])


def test_bert() -> None:
    config = transformers.BertConfig(
        hidden_size=40, num_hidden_layers=2, num_attention_heads=5, intermediate_size=50, vocab_size=30
    )
    model = transformers.BertModel(config).double()
    for layer in model.encoder.layer:
        own = layer.attention.self
        for part in (own.query, own.key, own.value):
            zero(part.weight, slice(8, 24), part.bias)
        zero(layer.intermediate.dense.weight, slice(0, 20))
        nn.init.normal_(layer.intermediate.dense.bias)
    gm = shrunk(model, {"input_ids": TOKENS.repeat(2, 1)}, {"input_ids": TOKENS.repeat(3, 1)})
    layer_weights = [(24, 40)] * 3 + [(40, 24), (30, 40), (40, 30)]
    assert weights(gm) == layer_weights * 2 + [(40, 40)]
    minimal(gm)


def test_gpt2() -> None:
    config = transformers.GPT2Config(
        n_embd=40, n_layer=2, n_head=5, vocab_size=30, n_positions=16, use_cache=False, bos_token_id=1, eos_token_id=1
    )
    model = transformers.GPT2Model(config).double()
    for layer in model.h:
        for part in range(3):
            columns = slice(40 * part + 8, 40 * part + 24)
            zero(layer.attn.c_attn.weight.t(), columns, layer.attn.c_attn.bias)
        zero(layer.mlp.c_fc.weight.t(), slice(0, 64))
        nn.init.normal_(layer.mlp.c_fc.bias)
    gm = shrunk(model, {"input_ids": TOKENS})
    assert weights(gm) == [(72, 40), (40, 24), (96, 40), (40, 96)] * 2
    minimal(gm)


def test_llama() -> None:
    config = transformers.LlamaConfig(
        hidden_size=40, num_hidden_layers=2, num_attention_heads=10, num_key_value_heads=5, intermediate_size=50,
        vocab_size=30, use_cache=False, bos_token_id=1, eos_token_id=1,
    )  # fmt: skip
    model = transformers.LlamaModel(config).double()
    for layer in model.layers:
        own = layer.self_attn
        zero(own.q_proj.weight, slice(8, 24))
        zero(own.k_proj.weight, slice(4, 12))
        zero(own.v_proj.weight, slice(4, 12))
        zero(layer.mlp.gate_proj.weight, slice(0, 10))
        zero(layer.mlp.up_proj.weight, slice(10, 20))
    gm = shrunk(model, {"input_ids": TOKENS})
    assert weights(gm) == [(24, 40), (12, 40), (12, 40), (40, 24), (30, 40), (30, 40), (40, 30)] * 2
    minimal(gm)


def test_head_of_a_group_stays() -> None:
    """One of two query heads that share a key head cannot go: the other one's place would change."""

    class Grouped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.o = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 8)
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            q = self.q(x).view(2, 3, 4, 2).transpose(1, 2)
            k, v = (
                f(x).view(2, 3, 2, 2).transpose(1, 2)[:, :, None].expand(2, 2, 2, 3, 2).reshape(2, 4, 3, 2)
                for f in (self.k, self.v)
            )
            y = F.scaled_dot_product_attention(q, k, v)
            return self.o(y.transpose(1, 2).reshape(2, 3, 8))  # type: ignore[no-any-return]

    model, x = Grouped(), torch.randn(2, 3, 8).double()
    zero(model.o.weight.t(), slice(0, 2))
    assert weights(shrunk(model, x)) == [(8, 8), (4, 8), (4, 8), (8, 8)]
    zero(model.o.weight.t(), slice(0, 4))
    assert weights(shrunk(model, x)) == [(4, 8), (2, 8), (2, 8), (8, 4)]


def test_a_shrunk_graph_compiles_as_a_model_of_its_own(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 8)).eval()
    zero(model[0].weight, slice(0, 20))
    examples = torch.randn(4, 64), torch.randn(5, 64)
    captured = capture(model, [Example.of(e) for e in examples])
    gm = run_passes(SHRINK, captured.gm, PassContext())
    compiled = spcomp.compile(torch.fx.GraphModule(gm, gm.graph).eval(), *examples, engine="eager", guard=False)
    x = torch.randn(3, 64)
    assert compiled.parts.decisions[0].n == 28
    with torch.no_grad():
        torch.testing.assert_close(compiled(x)[0], model(x))
        torch.testing.assert_close(spcomp.load(compiled.save(tmp_path / "shrunk"))(x)[0], model(x))
    assert sorted(compiled.state_dict()) == ["0.kept.bias", "0.kept.weight", "2.kept.bias", "2.kept.weight"]
    with pytest.raises(InputError, match=r"update the weights: the model has no 0\.kept\.weight"):
        compiled.update_weights(model)


def test_passes_print_as_their_options() -> None:
    assert [describe(p) for p in SHRINK] == [
        "flatten",
        "canonicalize",
        "split-experts",
        "eliminate-dead",
        "permute-hidden{group=8,gain=0.2}",
        "permute-channels{group=8,gain=0.2,everywhere=False}",
    ]


def test_analysis_is_fast() -> None:
    """A BERT of twelve layers of 192 takes a tenth of a second, one of 768, with weights sixteen times larger, 0.6."""
    config = transformers.BertConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=12, intermediate_size=768, vocab_size=30
    )
    gm = prepared(transformers.BertModel(config), {"input_ids": TOKENS})
    start = time.perf_counter()
    propagate(gm)
    assert time.perf_counter() - start < 2.0
    assert EliminateDead().run(Canonicalize().run(gm, PassContext()), PassContext()) is gm
