"""``canonicalize``: what becomes a linear layer or a constant, exactly, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from spcomp.capture import Example, capture
from spcomp.passes.base import PassContext, verify
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.einsum import as_linear
from spcomp.passes.flatten import Flatten
from tests.conftest import Golden

aten = torch.ops.aten


class Fn(nn.Module):
    """A function of an input and of one weight (and a bias)."""

    def __init__(self, fn: Callable[..., Any], *shape: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.fn = fn
        self.w, self.b = nn.Parameter(torch.randn(shape).to(dtype)), nn.Parameter(torch.randn(shape[-1]).to(dtype))

    def forward(self, x: Tensor) -> Any:
        return self.fn(x, self.w, self.b)


def canonical(model: nn.Module, *examples: Tensor) -> fx.GraphModule:
    """The graph afterwards; its outputs are those of the model."""
    program = capture(model.eval(), [Example.of(e) for e in examples])
    gm = Canonicalize().run(Flatten().run(program.gm, PassContext()), PassContext())
    verify(gm, "canonicalize")
    for example in examples:
        with torch.no_grad():
            wanted, found = torch.utils._pytree.tree_leaves(model(example.clone())), gm(example.clone())
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    return gm


def ops(gm: fx.GraphModule) -> list[str]:
    return [str(n.target).removeprefix("aten.") for n in gm.graph.nodes if n.op == "call_function"]


def x(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


class Conv1D(nn.Module):
    """GPT-2's linear layer: its weight is [in, out]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf)), nn.Parameter(torch.randn(nf))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view((*x.size()[:-1], self.nf))


def test_golden(golden: Golden) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = Conv1D(6, 4)
            self.out = torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.fc(x).relu_())  # type: ignore[no-any-return]

    model = Net().eval()
    gm = Flatten().run(capture(model, [Example.of(torch.randn(2, 5, 4))]).gm, PassContext())
    before = str(gm.graph)
    golden("pass_canonicalize.txt", f"before:\n{before}\n\nafter:\n{Canonicalize().run(gm, PassContext()).graph}")


@pytest.mark.parametrize(
    "example", [(2, 5, 4), (3, 4), (4,)], ids=str
)  # fmt: skip
def test_conv1d_of_gpt2_is_a_linear_layer(example: tuple[int, ...]) -> None:
    model = Conv1D(6, 4).double()
    if len(example) == 1:
        assert ops(canonical(Fn(lambda x, w, b: x @ w, 4, 6), x(*example))) == ["linear.default"]
        return
    gm = canonical(model, x(*example))
    assert ops(gm) == ["linear.default"]
    assert [tuple(n.meta["val"].shape) for n in gm.graph.nodes if n.op == "get_attr"] == [(6, 4), (6,)]


def test_conv1d_with_dynamic_sizes() -> None:
    assert ops(canonical(Conv1D(6, 4).double(), x(2, 5, 4), x(3, 5, 4)))[-1] == "linear.default"


@pytest.mark.parametrize(
    ("fn", "shape", "example", "wanted"),
    [
        (lambda x, w, b: x @ w, (4, 6), (2, 5, 4), ["linear.default"]),
        (lambda x, w, b: torch.mm(x, w), (4, 6), (5, 4), ["linear.default"]),
        (lambda x, w, b: torch.bmm(x, w), (1, 4, 6), (1, 5, 4), ["linear.default"]),
        (lambda x, w, b: x @ w.t() + b.sum(), (6, 4), (2, 4), ["linear.default", "add.Tensor"]),
        (lambda x, w, b: torch.einsum("bsd,dh->bsh", x, w), (4, 6), (2, 5, 4), ["linear.default"]),
        (lambda x, w, b: torch.einsum("hd,bsd->bsh", w, x), (6, 4), (2, 5, 4), ["linear.default"]),
        (lambda x, w, b: torch.einsum("bsd,dhk->bshk", x, w), (4, 2, 3), (2, 5, 4),
         ["linear.default", "unflatten.int"]),
        (lambda x, w, b: torch.einsum("bshk,hkd->bsd", x, w), (2, 3, 4), (2, 5, 2, 3),
         ["flatten.using_ints", "linear.default"]),
        (lambda x, w, b: F.linear(x, torch.softmax(w, 0), b[:6] * 2), (6, 6), (2, 6), ["linear.default"]),
        (lambda x, w, b: x + torch.cat([w, w]).sum(0), (3, 4), (2, 4), ["add.Tensor"]),
    ],
)  # fmt: skip
def test_products_with_constants(fn: Any, shape: Any, example: Any, wanted: list[str]) -> None:
    assert ops(canonical(Fn(fn, *shape), x(*example))) == wanted


@pytest.mark.parametrize(
    ("fn", "shape", "example"),
    [
        (lambda x, w, b: w @ x, (4, 6), (2, 6, 5)),  # from the left
        (lambda x, w, b: torch.bmm(x, w), (2, 4, 6), (2, 5, 4)),  # a matrix for each
        (lambda x, w, b: torch.addmm(b, x, w, beta=2), (4, 6), (5, 4)),
        (lambda x, w, b: torch.addmm(w[:1].t()[:1], x, w), (4, 6), (5, 4)),  # no bias of a linear layer
        (lambda x, w, b: x @ x.transpose(-1, -2), (4, 6), (2, 5, 4)),
        (lambda x, w, b: torch.einsum("bds,dh->bhs", x, w), (4, 6), (2, 4, 5)),
        (lambda x, w, b: torch.einsum("bd,bh->bdh", x, w), (2, 6), (2, 4)),
        (lambda x, w, b: torch.einsum("...d,dh->...h", x, w), (4, 6), (2, 4)),
    ],
)  # fmt: skip
def test_products_that_stay(fn: Any, shape: Any, example: Any) -> None:
    assert "linear.default" not in ops(canonical(Fn(fn, *shape), x(*example)))


def test_a_1x1_convolution_stays_one_and_so_does_its_norm() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).double()
    assert ops(canonical(model, x(2, 3, 4, 4))) == ["conv2d.default", "batch_norm.default"]


def test_transposed_copies_are_shared() -> None:
    gm = canonical(Fn(lambda x, w, b: (x @ w) @ w, 4, 4), x(2, 4))
    assert [str(n.target) for n in gm.graph.nodes if n.op == "get_attr"] == ["transposed.w"]


def test_parametrized_weights_are_folded_in_their_dtype() -> None:
    for make in (torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrizations.orthogonal):
        model = make(nn.Linear(6, 6)).eval()
        gm = canonical(model, torch.randn(2, 6))
        assert ops(gm) == ["linear.default"]
        found = {str(n.target): n for n in gm.graph.nodes if n.op == "get_attr"}
        (name,) = (n for n in found if "folded" in n)
        assert torch.equal(gm.get_parameter(name), model.weight)


def test_what_changes_is_not_folded() -> None:
    class Written(nn.Module):
        w: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", torch.ones(4, 4, dtype=torch.float64))
            self.p = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            y = F.linear(x, self.w * 2)
            self.w.mul_(1.0)
            return y

    assert ops(canonical(Written(), x(2, 4))) == ["mul.Tensor", "linear.default", "mul_.Tensor"]
    random = capture(Fn(lambda x, w, b: x + torch.bernoulli(w.sigmoid()), 4, 4).eval(), [Example.of(x(4, 4))]).gm
    gm = Canonicalize().run(Flatten().run(random, PassContext()), PassContext())
    assert "bernoulli.default" in ops(gm)


def test_results_are_the_callers_own() -> None:
    gm = canonical(Fn(lambda x, w, b: (x + w * 2, w * 2), 4, 4), x(4, 4))
    first = gm(x(4, 4))
    wanted = first[1].clone()
    first[1].zero_()
    assert torch.equal(gm(x(4, 4))[1], wanted)


def test_large_results_are_not_stored() -> None:
    gm = canonical(Fn(lambda x, w, b: x + w.repeat(1024, 1, 1).sum(0), 32, 8), x(32, 8))
    assert ops(gm) == ["repeat.default", "sum.dim_IntList", "add.Tensor"]


@pytest.mark.parametrize(
    ("fn", "wanted"),
    [
        (lambda x, w, b: (x + 1).relu_(), ["add.Tensor", "relu.default"]),
        (lambda x, w, b: (x + 1).relu_().add_(x).mul_(2.0), ["add.Tensor", "relu.default", "add.Tensor", "mul.Tensor"]),
        (lambda x, w, b: (x + 1).view(-1).relu_(), ["add.Tensor", "view.default", "relu.default"]),
        (lambda x, w, b: (lambda h: h.relu_() + h)(x + 1), ["add.Tensor", "relu.default", "add.Tensor"]),
        (lambda x, w, b: (x + 1).relu_().view(-1), ["add.Tensor", "relu.default", "view.default"]),
        (lambda x, w, b: (lambda h: (h.view(-1), h.relu_())[0])(x + 1),
         ["add.Tensor", "view.default", "relu_.default"]),
        (lambda x, w, b: (lambda h: (h[0].mul_(2.0), h)[1])(x + 1), None),
        (lambda x, w, b: (x.to(torch.int64) + 1).mul_(3), None),
    ],
)  # fmt: skip
def test_in_place(fn: Any, wanted: list[str] | None) -> None:
    found = ops(canonical(Fn(fn, 2, 2), x(3, 4)))
    assert found == wanted if wanted is not None else any(o.startswith("mul_") for o in found)


def test_an_input_written_to_stays_written_to() -> None:
    assert "relu_.default" in ops(canonical(Fn(lambda x, w, b: x.relu_(), 2, 2), x(3, 4)))


def test_what_einsum_is_a_linear_layer() -> None:
    assert as_linear("bd,dh->bh", 1, 2, (4, 6)) is not None
    for equation in ("bd,dh->hb", "db,dh->bh", "bd,de->b", "bd,dd->b", "bd,bdh->bh", "bd,eh->bh", "bd,dh"):
        assert as_linear(equation, 1, 2, (4, 6)) is None


def test_what_returns_its_operand_is_its_operand() -> None:
    def fn(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        h = F.dropout(x, 0.3, training=False).reshape(4, 8).expand(4, 8).view(4, 8)
        return h.transpose(0, 1).reshape(8, 4).sin() + h.reshape(8, 4).cos()

    # a transposed value in its own sizes is itself; other sizes are not
    assert ops(canonical(Fn(fn, 8), x(4, 8))) == [
        "transpose.int",
        "sin.default",
        "reshape.default",
        "cos.default",
        "add.Tensor",
    ]


def test_dropout_that_drops_and_views_that_are_returned_stay() -> None:
    def drops(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.dropout(x.sin(), 0.5, training=True).cos()

    def returned(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=False).view(4, 8)

    program = capture(Fn(drops, 8).eval(), [Example.of(x(4, 8))])
    gm = Canonicalize().run(Flatten().run(program.gm, PassContext()), PassContext())
    assert "dropout.default" in ops(gm)
    assert ops(canonical(Fn(returned, 8), x(4, 8))) == ["dropout.default", "view.default"]


def test_nothing_to_do() -> None:
    gm = canonical(nn.Sequential(nn.Linear(4, 6), nn.ReLU()).double(), x(2, 4))
    text = str(gm.graph)
    assert Canonicalize().run(gm, PassContext()) is gm
    assert str(gm.graph) == text
