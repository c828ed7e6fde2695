"""Layers that read one input, merged where that is faster."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import spcomp
from spcomp import merging
from spcomp.capture import Example, capture
from spcomp.passes.base import PassContext, run_passes
from spcomp.passes.merge_siblings import MergeSiblings, siblings
from spcomp.passes.pipelines import ANALYSE, COLLECT
from tests.compiling import SPARSE, agrees
from tests.models import prune

EAGER: dict[str, Any] = {**SPARSE, "policy": "auto", "guard": False}


class Block(nn.Module):
    """Attention and a gated MLP over (batch, tokens, width)."""

    def __init__(self, width: int = 32, *, bias: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.gate, self.up = nn.Linear(width, 48, bias=bias), nn.Linear(width, 48, bias=bias)
        self.down = nn.Linear(48, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        q, k, v = (f(h).view(*x.shape[:2], 4, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_pays", lambda _apart, _merged: True)


def blocks(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return prune(nn.Sequential(Block(**options), Block(**options)), 0.8)


@pytest.mark.parametrize("bias", [True, False])
def test_the_pass_keeps_the_meaning(bias: bool) -> None:
    model, ctx = blocks(bias=bias), PassContext()
    x = torch.randn(2, 5, 32)
    gm = run_passes(ANALYSE, capture(model, [Example.of(x)]).gm, ctx)
    found = siblings([gm], ctx)
    assert [tuple(n.removesuffix(".weight") for n in names) for names in found] == [
        ("0.q", "0.k", "0.v"), ("0.gate", "0.up"), ("1.q", "1.k", "1.v"), ("1.gate", "1.up"),
    ]  # fmt: skip
    gm = run_passes((MergeSiblings(frozenset(found)),), gm, ctx)
    assert sum(n.target is torch.ops.aten.linear.default for n in gm.graph.nodes) == 8
    with torch.no_grad():
        torch.testing.assert_close(gm(x)[0], model(x), rtol=1e-5, atol=1e-6)
    ctx.sites.clear()
    run_passes(COLLECT, gm, ctx)
    assert [s.layer for s in ctx.sites.values()][:2] == ["0.q + 0.k + 0.v", "0.o"]


def test_merged_layers_in_a_compiled_model(always: None, tmp_path: Path) -> None:
    model = blocks()
    compiled = spcomp.compile(model, torch.randn(2, 5, 32), torch.randn(3, 7, 32), **EAGER)
    layers = [d.layer for d in compiled.parts.decisions]
    assert layers[:4] == ["0.q + 0.k + 0.v", "0.o", "0.gate + 0.up", "0.down"]
    sizes = ((2, 5), (1, 7), (4, 1))
    for size in sizes:
        agrees(compiled, model, torch.randn(*size, 32))
    assert compiled.verify(torch.randn(2, 5, 32)).ok
    assert compiled.dense_nbytes == sum(p.nbytes for p in model.parameters())
    loaded = spcomp.load(compiled.save(tmp_path / "model"))
    agrees(loaded, model, torch.randn(2, 5, 32))
    for one in (compiled, loaded):
        state = one.state_dict()
        assert list(state) == list(model.state_dict())
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    compiled.update_weights(model)
    assert [d.layer for d in compiled.parts.decisions] == layers
    for size in sizes:
        agrees(compiled, model, torch.randn(*size, 32))


def test_globs_and_shared_layers_keep_layers_apart(always: None) -> None:
    model = blocks()
    names = [d.layer for d in spcomp.compile(model, torch.randn(2, 5, 32), exclude="0.k", **EAGER).parts.decisions]
    assert "0.q" in names
    assert "1.q + 1.k + 1.v" in names
    model[1].q = model[0].q
    names = [d.layer for d in spcomp.compile(model, torch.randn(2, 5, 32), **EAGER).parts.decisions]
    assert not any("q + " in name for name in names), "a weight that two blocks share is packed once"


def test_siblings_that_are_no_faster_together_stay_apart() -> None:
    assert math.inf == merging.WORTH, "in all tests that say nothing else"
    compiled = spcomp.compile(blocks(), torch.randn(2, 5, 32), **EAGER)
    assert len(compiled.parts.decisions) == 14
