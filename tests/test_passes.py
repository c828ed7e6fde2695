"""Each pass before and after: the text of the graph, its meaning, and what it must leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from spcomp import ops
from spcomp.capture import Captured, Example, capture
from spcomp.passes.base import PassContext, describe, run_passes
from spcomp.passes.collect import Collect, matches
from spcomp.passes.flatten import Flatten
from spcomp.passes.infer_sparsity import InferSparsity, positive_zeros
from spcomp.passes.lower import Lower
from spcomp.passes.pipelines import ANALYSE, LOWER
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.annotation import of
from spcomp.sparsity.measure import measure
from tests.conftest import Golden
from tests.models import Cache, Counter, Shared, Structured, Tied, mlp, prune


class Norms(nn.Module):
    """A layer norm between two linear layers, and a dictionary out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2 = nn.Linear(8, 12), nn.LayerNorm(12), nn.Linear(12, 4, bias=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        y = self.norm(F.gelu(self.fc1(x)))
        return {"y": self.fc2(y), "norm": y}


def captured(model: nn.Module, *examples: Any) -> Captured:
    return capture(prune(model, 0.7), [Example.of(e) for e in examples])


class _Linear:
    """A slot that does what torch does."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, activation: str) -> None:
        self.weight, self.bias = weight, bias
        self.act: Callable[[torch.Tensor], torch.Tensor] = {
            "none": lambda y: y, "relu": F.relu, "gelu": F.gelu, "silu": F.silu,
            "gelu_tanh": lambda y: F.gelu(y, approximate="tanh"),
        }[activation]  # fmt: skip

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(F.linear(x, self.weight, self.bias))


def table(ctx: PassContext) -> Any:
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    return [_Linear(s.weight, s.bias, s.epilogue.activation) for s in sites]


def run_flat(gm: fx.GraphModule, program: Captured, ctx: PassContext) -> tuple[Any, ...]:
    """Outputs of a graph in any stage, flat; lifted tensors are cloned."""
    lifted = [t.detach().clone() for t in gm.meta.get("lifted", {}).values()]
    with torch.no_grad(), ops.active(table(ctx)):
        if type(gm.graph._codegen) is fx.graph.CodeGen:
            return tuple(gm(*lifted, *program.flat))
        args, kwargs = torch.utils._pytree.tree_unflatten(program.flat, program.signature.in_tree)
        return tuple(torch.utils._pytree.tree_leaves(gm(*args, **kwargs)))


# --- text -------------------------------------------------------------------------------------------------------------


def test_golden_graphs(golden: Golden) -> None:
    program = captured(Norms(), torch.randn(3, 8))
    ctx = PassContext()
    stages = {"captured": str(program.gm.graph)}
    code = {"captured": program.gm.code.strip("\n")}

    def dump(name: str, gm: fx.GraphModule) -> None:
        stages[name], code[name] = str(gm.graph), gm.code.strip("\n")

    ctx.dump = dump
    lowered = run_passes(ANALYSE + LOWER, program.gm, ctx)
    assert stages["infer-sparsity"] == stages["collect"] == stages["flatten"], "analysis changes no graph"
    sites = [
        f"{s.slot} {s.layer} {s.n}x{s.k} {s.epilogue} rows {[str(d) for d in s.domains]}" for s in ctx.sites.values()
    ]
    golden("pass_flatten.txt", f"before:\n{code['captured']}\n\nafter:\n{code['flatten']}")
    golden("pass_collect.txt", f"before and after:\n{stages['collect']}\n\nsites:\n" + "\n".join(sites))
    lifted = ", ".join(lowered.meta["lifted"])
    golden("pass_lower.txt", f"before:\n{stages['flatten']}\n\nafter:\n{stages['lower']}\n\nlifted: {lifted}")


def test_passes_print_as_their_options() -> None:
    assert [describe(p) for p in ANALYSE + LOWER] == [
        "flatten", "canonicalize", "split-experts", "infer-sparsity", "collect", "find-tables", "lower"
    ]  # fmt: skip


# --- meaning ----------------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "mlp": (lambda: mlp(8, 12, 4, activation=nn.SiLU), (torch.ones(3, 8),)),
    "dynamic": (lambda: mlp(8, 12, 4), (torch.ones(3, 8), torch.ones(5, 8))),
    "norms": (Norms, (torch.ones(3, 8),)),
    "tied": (Tied, (torch.tensor([[1, 2, 3]]),)),
    "shared": (Shared, (torch.ones(2, 64),)),
    "structured": (Structured, ({"x": torch.ones(2, 16), "mask": torch.ones(2, 8), "scale": 2.0},)),
    "cache": (Cache, ((torch.ones(2, 16), torch.tensor([1, 3])),)),
    "one_d": (lambda: mlp(8, 4), (torch.ones(8),)),
}


@pytest.mark.parametrize("case", CASES)
def test_meaning_is_kept_after_every_pass(case: str) -> None:
    make, examples = CASES[case]
    model = prune(make(), 0.7)
    program = captured(model, *examples)
    example = Example.of(examples[0])
    state = {name: b.clone() for name, b in model.named_buffers()}
    with torch.no_grad():
        wanted = torch.utils._pytree.tree_leaves(model(*example.args, **example.kwargs))
    ctx = PassContext()
    checked = []

    def check(gm: fx.GraphModule) -> None:
        for name, buffer in model.named_buffers():
            buffer.copy_(state[name])
        for a, b in zip(run_flat(gm, program, ctx), wanted, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b)
        checked.append(gm)

    ctx.check = check
    run_passes(ANALYSE + LOWER, program.gm, ctx)
    assert len(checked) == len(ANALYSE + LOWER)
    assert ctx.sites


def test_nothing_to_do_returns_the_same_object() -> None:
    program = captured(Norms(), torch.randn(3, 8))
    ctx = PassContext()
    flat = run_passes(ANALYSE, program.gm, ctx)
    version = str(flat.graph)
    assert Flatten().run(flat, ctx) is flat
    assert InferSparsity().run(flat, ctx) is flat
    assert Collect().run(flat, PassContext()) is flat
    assert str(flat.graph) == version
    lowered = Lower().run(flat, ctx)
    assert Lower().run(lowered, ctx) is lowered


# --- collect ----------------------------------------------------------------------------------------------------------


def sites_of(model: nn.Module, *examples: Any) -> tuple[PassContext, fx.GraphModule]:
    ctx = PassContext()
    gm = run_passes(ANALYSE, captured(model, *examples).gm, ctx)
    return ctx, gm


def test_uses_of_one_weight_share_a_site() -> None:
    ctx, gm = sites_of(Shared(), torch.randn(2, 64))
    assert [(s.slot, s.uses) for s in ctx.sites.values()] == [(0, 2), (1, 1)]
    assert len(matches(gm)) == 3


def test_slices_of_one_memory_are_different_sites() -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(6, 6))
            self.top = nn.Parameter(self.w.detach()[:4])

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return F.linear(x, self.w), F.linear(x, self.top)

    ctx, _ = sites_of(Sliced(), torch.randn(2, 6))
    assert [(s.n, s.facts.shape) for s in ctx.sites.values()] == [(6, (6, 6)), (4, (4, 6))]


def test_a_tied_embedding_keeps_its_weight() -> None:
    ctx, gm = sites_of(Tied(), torch.tensor([[1, 2]]))
    assert len(ctx.sites) == 2
    lifted = run_passes(LOWER, gm, ctx).meta["lifted"]
    assert [tuple(t.shape) for t in lifted.values()] == [(40, 16)]


def test_only_an_activation_that_is_the_single_user_is_fused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(x)
            return y + y.relu()

    ctx, gm = sites_of(Twice(), torch.randn(2, 8))
    assert [s.epilogue for s in ctx.sites.values()] == [Epilogue(True, "none")]
    assert "aten.relu" in str(run_passes(LOWER, gm, ctx).graph)


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (nn.ReLU(), "relu"), (nn.ReLU(inplace=True), "relu"), (nn.SiLU(), "silu"), (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"), (nn.Tanh(), "none"), (nn.LeakyReLU(), "none"),
    ],
)  # fmt: skip
def test_which_activations_are_fused(activation: nn.Module, name: str) -> None:
    ctx, gm = sites_of(nn.Sequential(nn.Linear(8, 8), activation), torch.randn(2, 8))
    assert [s.epilogue.activation for s in ctx.sites.values()] == [name]
    nodes = [n for n in run_passes(LOWER, gm, ctx).graph.nodes if n.op == "call_function"]
    assert len(nodes) == (1 if name != "none" else 2)


def test_weights_and_biases_that_are_computed_are_constants() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.linear(x, self.a.weight * 2, self.a.bias)
            return F.linear(y, self.b.weight, self.b.bias + 1)

    model = Computed()
    ctx, gm = sites_of(model, torch.randn(2, 8))
    first, second = ctx.sites.values()
    assert torch.equal(first.weight, model.a.weight * 2)
    assert second.bias is not None
    assert torch.equal(second.bias, model.b.bias + 1)
    assert "aten.linear" not in str(run_passes(LOWER, gm, ctx).graph)


@pytest.mark.parametrize("through_a_view", [False, True])
def test_a_weight_that_the_model_writes_is_no_constant(through_a_view: bool) -> None:
    class Plastic(nn.Module):
        w: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.register_buffer("w", torch.ones(8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = F.linear(self.fc(x), self.w)
            (self.w.view(64)[:8] if through_a_view else self.w).add_(1)
            return y

    ctx, gm = sites_of(Plastic(), torch.randn(2, 8))
    assert [s.layer for s in ctx.sites.values()] == ["fc"]
    assert "aten.linear" in str(run_passes(LOWER, gm, ctx).graph)


def test_unsupported_dtypes_stay_in_the_graph() -> None:
    ctx, gm = sites_of(nn.Linear(4, 4).double(), torch.randn(2, 4).double())
    assert not ctx.sites
    assert "aten.linear" in str(run_passes(LOWER, gm, ctx).graph)


def test_rows_a_site_meets() -> None:
    model = mlp(8, 4)
    for shapes, rows in [
        (((3, 8),), RowRange(3, 3)),
        (((2, 5, 8),), RowRange(10, 10)),
        (((8,),), RowRange(1, 1)),
        (((3, 8), (5, 8)), RowRange(2, None)),
        (((3, 7, 8), (5, 7, 8)), RowRange(14, None)),
    ]:
        ctx, _ = sites_of(model, *(torch.randn(s) for s in shapes))
        assert next(iter(ctx.sites.values())).domains == [rows]


# --- zeros ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_negative_zeros_are_zeros(dtype: torch.dtype) -> None:
    weight = torch.tensor([[-0.0, 1.0], [0.0, -2.0]], dtype=dtype)
    assert measure(weight).nonzeros == 3
    assert measure(positive_zeros(weight)).nonzeros == 2
    clean = torch.tensor([[0.0, 1.0]], dtype=dtype)
    assert positive_zeros(clean).data_ptr() == clean.data_ptr()
    layer = nn.Linear(2, 2).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    gm = run_passes(ANALYSE, capture(layer.eval(), [Example.of(torch.ones(1, 2, dtype=dtype))]).gm, PassContext())
    (facts,) = [f for n in gm.graph.nodes if (f := of(n)) is not None]
    assert facts.nonzeros == 2


# --- lower ------------------------------------------------------------------------------------------------------------


def test_writes_to_buffers_stay() -> None:
    ctx, gm = sites_of(Counter(), torch.randn(2, 32))
    lowered = run_passes(LOWER, gm, ctx)
    calls = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad(), ops.active(table(ctx)):
        for _ in range(3):
            lowered(calls, torch.randn(2, 32))
    assert list(lowered.meta["lifted"]) == ["calls"]
    assert int(calls) == 3


def test_a_lowered_graph_does_not_run_on_its_own() -> None:
    from spcomp.errors import KernelError

    ctx, gm = sites_of(mlp(8, 4), torch.randn(2, 8))
    with pytest.raises(
        KernelError, match=r"no compiled model is running in this thread\. Try: call the CompiledModule"
    ):
        run_passes(LOWER, gm, ctx)(torch.randn(2, 8))
