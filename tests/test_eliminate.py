"""``propagate-sparsity`` and ``eliminate-dead``, rule by rule: what passes on, and what has to stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcomp.passes.base import PassContext
from spcomp.passes.eliminate_dead import EliminateDead
from spcomp.passes.propagate_sparsity import known, removable
from tests.conftest import Golden
from tests.shrinking import DEAD, Between, prepared, shrunk, weights

C = (0.7, -0.4)
"""Constants of the two dead channels, where they are not zero."""


def x(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def test_golden(golden: Golden) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight[1:3] = 0
        model[0].bias[1:3] = torch.tensor([0.5, -0.5])
    gm = prepared(model, torch.randn(2, 4))
    found = []
    for node in gm.graph.nodes:
        own = known(node)
        if "val" in node.meta:
            shape = tuple(node.meta["val"].shape)
            values = [] if own is None else own.value.expand(own.mask.shape)[own.mask].tolist()
            shown = [round(v, 3) for v in values]
            found.append(f"{node.name} {shape}: known {shown}, removable {removable(node)}")
    before = str(gm.graph)
    golden("pass_propagate_sparsity.txt", f"before and after:\n{before}\n\nfound:\n" + "\n".join(found))
    after = EliminateDead().run(gm, PassContext()).graph
    sizes = [f"{n.name} {tuple(n.meta['val'].shape)}" for n in after.nodes if "val" in n.meta]
    golden("pass_eliminate_dead.txt", f"before:\n{before}\n\nafter:\n{after}\n\nsizes:\n" + "\n".join(sizes))


PASSES_ON: dict[str, Any] = {
    "relu": lambda h, w: F.relu(h),
    "gelu": lambda h, w: F.gelu(h),
    "silu": lambda h, w: F.silu(h),
    "tanh": lambda h, w: torch.tanh(h),
    "sigmoid": lambda h, w: torch.sigmoid(h),
    "dropout": lambda h, w: F.dropout(h, 0.5, False),
    "clone": lambda h, w: h.clone(),
    "plus_a_constant": lambda h, w: h + w,
    "times_a_constant": lambda h, w: w * h,
    "where": lambda h, w: torch.where(h > 0, h, 0.1 * h),
    "both_known": lambda h, w: h + h.tanh() * h,
    "transposed_and_back": lambda h, w: (h.transpose(1, 2) * 2).transpose(1, 2),
    "permuted": lambda h, w: h.permute(2, 0, 1).exp().permute(1, 2, 0),
    "batch_norm": lambda h, w: F.batch_norm(
        h.transpose(1, 2), w, w.abs() + 0.1, w.flip(0), w.sin(), eps=1e-3
    ).transpose(1, 2),
    "mean_of_tokens": lambda h, w: h.mean(1),
    "amax_of_tokens": lambda h, w: h.amax(1, keepdim=True).expand(-1, 3, -1),
    "unsqueeze": lambda h, w: h.unsqueeze(1).squeeze(1),
    "token": lambda h, w: h[:, 0],
    "tokens": lambda h, w: h[:, 1:],
    "heads": lambda h, w: h.view(2, 3, 2, 4).relu().view(2, 3, 8),
    "flattened_tokens": lambda h, w: h.reshape(6, 8).relu(),
    "split_and_cat": lambda h, w: torch.cat(h.chunk(2, -1)[::-1], -1),
    "select_columns": lambda h, w: h.index_select(-1, torch.tensor([7, 4, 3, 1, 0, 2, 5, 6])),
    "in_place": lambda h, w: h.relu_(),
}


@pytest.mark.parametrize("constants", [(0.0, 0.0), C], ids=["zero", "constant"])
@pytest.mark.parametrize("rule", PASSES_ON)
def test_constants_pass_on(rule: str, constants: tuple[float, float]) -> None:
    heads = rule == "heads"  # a head has live features
    gm = shrunk(Between(PASSES_ON[rule], constants=constants), x(2, 3, 6))
    assert weights(gm) == [(8, 6), (5, 8)] if heads else [(6, 6), (5, 6)]


def test_parts() -> None:
    """What is sliced away or multiplied by nothing is dead, and what reads it shrinks."""
    gm = shrunk(Between(lambda h, w: h[..., 2:6], 4), x(2, 6))
    assert weights(gm) == [(3, 6), (5, 3)], "columns 2, 3 and 5 are read and alive"
    gm = shrunk(Between(lambda h, w: h.split([3, 5], -1)[1], 5), x(2, 6))
    assert weights(gm) == [(4, 6), (5, 4)]
    gm = shrunk(Between(lambda h, w: h.index_select(-1, torch.tensor([0, 0, 1, 7])), 4), x(2, 6))
    assert weights(gm) == [(2, 6), (5, 3)]
    gm = shrunk(Between(lambda h, w: h.select(-1, 5).unsqueeze(-1), 1), x(2, 6))
    assert weights(gm) == [(1, 6), (5, 1)]
    model = Between(lambda h, w: h.relu())
    with torch.no_grad():
        model.last.weight[:, [0, 2]] = 0
    assert weights(shrunk(model, x(2, 6))) == [(4, 6), (5, 4)]


def test_gating() -> None:
    """A zero multiplies to zero; a constant does not stop the other factor."""
    gates = nn.Linear(6, 8).double()

    class Gated(Between):
        def __init__(self, constants: tuple[float, float]) -> None:
            super().__init__(lambda h, w: h, constants=constants)
            self.gate = gates

        def forward(self, x: Tensor) -> Tensor:
            return self.last(F.silu(self.first(x)) * self.gate(x))  # type: ignore[no-any-return]

    assert weights(shrunk(Gated((0.0, 0.0)), x(2, 6))) == [(6, 6), (6, 6), (5, 6)]
    assert weights(shrunk(Gated(C), x(2, 6))) == [(8, 6), (8, 6), (5, 8)]


def test_zero_is_structural() -> None:
    """A channel that zeros of a weight make zero multiplies an infinite gate to zero, as skipped zeros do."""

    class Gated(Between):
        def __init__(self) -> None:
            super().__init__(lambda h, w: h)
            self.gate = nn.Linear(6, 8).double()

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x) * self.gate(x))  # type: ignore[no-any-return]

    model, given = Gated(), x(2, 6)
    gm = shrunk(model, given)
    with torch.no_grad():
        wanted = model(given)
        model.gate.bias[DEAD[0]] = torch.inf
        assert torch.isnan(model(given)).all(), "0 x Inf of a dense product"
    gm = EliminateDead().run(prepared(model, given), PassContext())
    with torch.no_grad():
        torch.testing.assert_close(gm(given)[0], wanted)


class Attention(nn.Module):
    """Self-attention of three heads of four features, with some of them zero."""

    def __init__(self, q: list[int], k: list[int], v: list[int], bias: float = 0.0, eager: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(12, 12) for _ in range(4))
        self.eager = eager
        with torch.no_grad():
            for layer, rows in ((self.q, q), (self.k, k), (self.v, v)):
                layer.weight[rows] = 0
                layer.bias[rows] = bias
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).view(2, 5, 3, 4).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.eager:
            y = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).reshape(2, 5, 12))  # type: ignore[no-any-return]


HEAD, FEATURE = [4, 5, 6, 7], [1, 5, 9]


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(
    ("q", "k", "v", "bias", "wanted"),
    [
        ([], [], HEAD, 0.0, (8, 8, 8, 8)),  # nobody reads q and k of a head whose v is zero
        (HEAD, HEAD, HEAD, 0.0, (8, 8, 8, 8)),
        ([], [], FEATURE, 0.0, (12, 12, 9, 9)),
        (FEATURE, [], [], 0.0, (9, 9, 12, 12)),  # one side zero is enough
        ([], FEATURE, [], 0.0, (9, 9, 12, 12)),
        (FEATURE, FEATURE, FEATURE, 0.0, (9, 9, 9, 9)),
        ([], [], [4, 5, 6], 0.0, (12, 12, 12, 12)),  # not a whole head
        (HEAD, HEAD, [], 0.0, (12, 12, 12, 12)),  # attends everywhere alike: its v is read
        ([], [], HEAD, 0.5, (12, 12, 12, 12)),  # a softmax sums to 1 but for rounding
        (FEATURE, FEATURE, [], 0.5, (12, 12, 12, 12)),  # constants add to the scores
    ],
)
def test_attention(q: list[int], k: list[int], v: list[int], bias: float, wanted: tuple[int, ...], eager: bool) -> None:
    gm = shrunk(Attention(q, k, v, bias, eager), x(2, 5, 12))
    a, b, c, d = wanted
    assert weights(gm) == [(a, 12), (b, 12), (c, 12), (12, d)]


STOPS: dict[str, Any] = {
    "softmax": lambda h, w: torch.softmax(h, -1),
    "layer_norm": lambda h, w: F.layer_norm(h, (8,)),
    "rms_norm": lambda h, w: h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6),
    "cumsum": lambda h, w: h.cumsum(-1),
    "flip": lambda h, w: h.flip(-1),
    "unknown_op": lambda h, w: h.roll(0, -1),
    "minus_the_mean": lambda h, w: h - h.mean(-1, keepdim=True),
    "one_side_known": lambda h, w: h + h.flip(-1).exp(),
    "view_across": lambda h, w: h.view(2, 4, 6).relu().view(2, 3, 8),
    "written_through_a_view": lambda h, w: (h[:, :1].mul_(2.0), h)[1],
    "strided": lambda h, w: torch.cat([h[..., ::2], h[..., 1::2]], -1),
    "several_results": lambda h, w: h.sort(-1).values,
    "largest": lambda h, w: h.topk(8, -1)[0],
    "recurrent": lambda h, w: torch.gru(
        h, w.new_zeros(1, 2, 8), [w.new_ones(24, 8)] * 2, False, 1, 0.0, False, False, True
    )[0],
    "gathered": lambda h, w: h.gather(-1, torch.arange(8).expand(2, 3, 8)),
}


@pytest.mark.parametrize("rule", STOPS)
def test_what_stops_constants(rule: str) -> None:
    assert weights(shrunk(Between(STOPS[rule], constants=C), x(2, 3, 6)))[0] == (8, 6)


@pytest.mark.parametrize("rule", STOPS)
def test_what_stops_unread_features(rule: str) -> None:
    model = Between(STOPS[rule])
    nn.init.normal_(model.first.weight)  # nothing is constant
    with torch.no_grad():
        model.last.weight[:, [0, 2]] = 0
    assert weights(shrunk(model, x(2, 3, 6))) == [(8, 6), (5, 8)]


def test_outputs_keep_their_shapes() -> None:
    class Out(Between):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            h = self.first(x)
            return self.last(h.relu()), h

    gm = shrunk(Out(lambda h, w: h, constants=C), x(2, 6))
    assert weights(gm) == [(8, 6), (5, 8)]


def test_a_residual_stream_shrinks_as_a_whole_or_not_at_all() -> None:
    class Stream(nn.Module):
        def __init__(self, *dead: list[int]) -> None:
            super().__init__()
            self.layers, self.out = nn.ModuleList(nn.Linear(6 if i == 0 else 8, 8) for i in range(3)), nn.Linear(8, 2)
            with torch.no_grad():
                for layer, rows in zip(self.layers, dead, strict=True):
                    layer.weight[rows] = 0  # type: ignore[index, operator]
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            x = self.layers[0](x)
            for layer in self.layers[1:]:
                x = x + layer(x.relu())
            return self.out(x)  # type: ignore[no-any-return]

    assert weights(shrunk(Stream([1, 2], [1, 2], [1, 2]), x(3, 6))) == [(6, 6), (6, 6), (6, 6), (2, 6)]
    assert weights(shrunk(Stream([1, 2], [1], [1, 2]), x(3, 6))) == [(7, 6), (7, 7), (7, 7), (2, 7)]
    assert weights(shrunk(Stream([1], [], [1]), x(3, 6))) == [(8, 6), (8, 8), (8, 8), (2, 8)]


def test_a_dead_layer_goes() -> None:
    class Residual(Between):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.last(self.first(x).relu())  # type: ignore[no-any-return]

    model = Residual(lambda h, w: h)
    model.last = nn.Linear(8, 6).double()
    with torch.no_grad():
        model.last.weight.zero_()
    gm = shrunk(model, x(2, 6), x(3, 6))
    assert [str(n.target) for n in gm.graph.nodes if n.op == "call_function"] == ["aten.add.Tensor"]
    with torch.no_grad():
        model.last.bias.zero_()
    gm, given = shrunk(model, x(2, 6)), x(2, 6)
    assert gm(given)[0].data_ptr() != given.data_ptr(), "the result is the caller's own"
    gm = shrunk(nn.Sequential(model, nn.Linear(6, 6).double()), x(2, 6))
    assert [str(n.target) for n in gm.graph.nodes if n.op == "call_function"] == ["aten.linear.default"]


def test_a_constant_model() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()
    nn.init.zeros_(model[2].weight)
    gm = shrunk(model, x(2, 4))
    assert weights(gm) == []
    gm(x(2, 4))[0].zero_()
    assert torch.equal(gm(x(2, 4))[0], model[2].bias.expand(2, 3)), "every call has a result of its own"
    assert weights(shrunk(model, x(2, 4), x(3, 4))) == [(1, 4), (3, 1)], "its size is not known: one feature stays"


def test_folded_constants_are_summed_in_float64() -> None:
    model = nn.Sequential(nn.Linear(4, 600), nn.Linear(600, 3))
    with torch.no_grad():
        model[0].weight[100:] = 0
    gm = shrunk(model, torch.randn(2, 4), rtol=1e-5)
    bias = next(gm.get_parameter(str(n.target)) for n in gm.graph.nodes if str(n.target) == "1.kept.bias")
    wanted = model[1].bias.double() + model[1].weight[:, 100:].double() @ model[0].bias[100:].double()
    assert torch.equal(bias, wanted.float())


def test_shared_weights_are_cut_apart() -> None:
    class Twice(Between):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return self.last(self.first(x)), self.first(x + 1).flip(-1)

    assert weights(shrunk(Twice(lambda h, w: h, constants=C), x(2, 6))) == [(6, 6), (5, 6), (8, 6)]


def test_embeddings_lose_columns() -> None:
    model = nn.Sequential(nn.Embedding(7, 6), nn.Linear(6, 3)).double()
    with torch.no_grad():
        model[0].weight[:, 2] = 0.5
        model[1].weight[:, 4] = 0
    gm = shrunk(model, torch.tensor([[1, 2, 3]]))
    assert weights(gm) == [(3, 4)]
    assert [n.meta["val"].shape[-1] for n in gm.graph.nodes if n.target is torch.ops.aten.embedding.default] == [4]


def test_a_second_reader_keeps_what_the_first_could_lose() -> None:
    class Two(Between):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            h = self.first(x)
            return self.last(h), torch.softmax(h, -1)

    assert weights(shrunk(Two(lambda h, w: h, constants=C), x(2, 6))) == [(8, 6), (5, 8)]


def test_nothing_to_do_changes_nothing() -> None:
    gm = prepared(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.randn(2, 4))
    text = str(gm.graph)
    assert EliminateDead().run(gm, PassContext()) is gm
    assert str(gm.graph) == text
    assert not any(removable(n) for n in gm.graph.nodes)
