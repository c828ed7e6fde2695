"""Mixtures of experts: every expert is a layer of its own, with kernels for the rows that are sent to it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

import spcomp
from spcomp import ops
from spcomp.artifact import archive
from spcomp.capture import Example, capture
from spcomp.compiled import CompiledModule
from spcomp.errors import ArtifactError, KernelError
from spcomp.experts import EXPERTS, EXPERTS_DENSE, experts, experts_dense, shares
from spcomp.passes.base import PassContext, run_passes, verify
from spcomp.passes.canonicalize import Canonicalize
from spcomp.passes.flatten import Flatten
from spcomp.passes.pipelines import ANALYSE, CANONICAL, LOWER
from spcomp.passes.split_experts import SplitExperts
from spcomp.repack import without_sparsity
from spcomp.workload import workload_of
from tests.compiling import SPARSE, agrees
from tests.conftest import Golden
from tests.kernels import relative
from tests.models import mlp

pytest.importorskip("transformers.integrations.moe")  # defines the op that its networks are exported with
E, K, N = 4, 24, 40
FORCED: dict[str, Any] = {**SPARSE, "encodings": ["csr"], "exclude": ["out"]}


class Mixture(nn.Module):
    """Rows are sent to one expert each, by the sign of two features; ``turned``: the stack is [E, n, k]."""

    def __init__(self, *, turned: bool = True, computed: bool = False, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(2)
        stack = torch.randn(E, N, K) if turned else torch.randn(E, K, N)
        self.turned, self.computed = turned, computed
        self.stack = nn.Parameter((stack * (torch.rand(stack.shape) < 0.15)).to(dtype))
        self.out = nn.Linear(N, 6, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        expert = (x[:, 0] > 0).long() * 2 + (x[:, 1] > 0).long()
        order = torch.argsort(expert, stable=True)
        ends = (expert[:, None] <= torch.arange(E)).sum(0).to(torch.int32)
        stack = self.stack.transpose(1, 2) if self.turned else self.stack
        if self.computed:
            stack = stack * x.abs().max().clamp(1, 1)
        if x.dtype is torch.bfloat16:
            y: Tensor = F.grouped_mm(x[order], stack, offs=ends)
        else:
            y = torch.ops.transformers.grouped_mm_fallback(x[order], stack, offs=ends)
        return self.out(torch.zeros_like(y).index_copy(0, order, y))  # type: ignore[no-any-return]


def split(model: nn.Module, *examples: Tensor) -> fx.GraphModule:
    gm = run_passes(CANONICAL, capture(model.eval(), [Example.of(e) for e in examples]).gm, PassContext())
    verify(gm, "split-experts")
    return gm


def calls(gm: fx.GraphModule) -> list[Any]:
    return [n.target for n in gm.graph.nodes if n.op == "call_function"]


def ends_of(*sizes: int, dtype: torch.dtype = torch.int32) -> Tensor:
    return torch.tensor(sizes).cumsum(0).to(dtype)


# -- the op ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 3), st.sampled_from([torch.int32, torch.int64])
)
def test_each_share_meets_its_own_matrix(sizes: list[int], rest: int, dtype: torch.dtype) -> None:
    x, weights = torch.randn(sum(sizes) + rest, 3), torch.randn(len(sizes), 5, 3)
    ends = ends_of(*sizes, dtype=dtype)
    whose = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    wanted = torch.cat([torch.einsum("sk,snk->sn", x[: sum(sizes)], weights[whose]), torch.zeros(rest, 5)])
    torch.testing.assert_close(experts_dense(x, ends, list(weights)), wanted)
    slots = [ops.SlotKernels((0,), (_Product(w),), 3) for w in weights]  # type: ignore[arg-type]
    with ops.active(slots):
        torch.testing.assert_close(experts(x, ends, slots=range(len(slots)), n=5), wanted)
        torch.testing.assert_close(EXPERTS(x, ends, list(range(len(slots))), 5), wanted)
    assert sum(w.calls for s in slots for w in s.kernels) == 2 * sum(size > 0 for size in sizes)  # type: ignore[attr-defined]


class _Product:
    """A kernel that counts its calls."""

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.calls = weight, 0

    def __call__(self, x: Tensor) -> Tensor:
        assert len(x)
        self.calls += 1
        return x @ self.weight.t()


@settings(deadline=None)
@given(st.lists(st.integers(-9, 20), max_size=8), st.integers(0, 12))
def test_any_ends_stay_inside(ends: list[int], rows: int) -> None:
    found = list(shares(torch.tensor(ends, dtype=torch.int64), rows))
    assert all(0 <= start < end <= rows for _, start, end in found)
    assert [a for _, a, _ in found[1:]] == [b for _, _, b in found[:-1]]


def test_the_op_needs_a_running_model() -> None:
    with pytest.raises(KernelError, match="no compiled model is running in this thread"):
        EXPERTS(torch.randn(2, 3), ends_of(2), [0], 5)


# -- the pass --------------------------------------------------------------------------------------------------------


def test_golden(golden: Golden) -> None:
    ctx, gm = PassContext(), capture(Mixture().eval(), [Example.of(torch.randn(8, K))]).gm
    gm = Canonicalize().run(Flatten().run(gm, ctx), ctx)
    before = str(gm.graph)
    gm = SplitExperts().run(gm, ctx)
    after = str(gm.graph)
    lowered = run_passes((*ANALYSE, *LOWER), gm, ctx)
    names = [f"{s.slot}: {s.layer} {s.n} x {s.k}, rows {s.domains[0]}" for s in ctx.sites.values()]
    text = f"before:\n{before}\n\nafter:\n{after}\n\nlayers:\n" + "\n".join(names) + f"\n\nlowered:\n{lowered.graph}"
    golden("pass_split_experts.txt", text)


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_constant_stacks_become_matrices(turned: bool, dtype: torch.dtype) -> None:
    model, x = Mixture(turned=turned, dtype=dtype).eval(), torch.randn(9, K, dtype=dtype)
    gm = split(model, x)
    (node,) = (n for n in gm.graph.nodes if n.target is EXPERTS_DENSE)
    assert [w.op for w in node.args[2]] == ["get_attr"] * E
    held = [gm.get_parameter(str(w.target)) for w in node.args[2]]
    for matrix, own in zip(held, model.stack if turned else model.stack.transpose(1, 2), strict=True):
        assert matrix.is_contiguous()
        assert torch.equal(matrix, own)
        assert (matrix.data_ptr() == own.data_ptr()) == turned  # no copy where the memory has it so
    with torch.no_grad():
        torch.testing.assert_close(gm(x)[0], model(x), rtol=2e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-2)


def test_computed_stacks_stay_dense_and_can_be_saved(tmp_path: Path) -> None:
    model = Mixture(computed=True).eval()
    x = torch.randn(9, K)
    assert torch.ops.aten.unbind.int in calls(split(model, x))
    fast = spcomp.compile(model, x, torch.randn(5, K), **{**FORCED, "policy": "auto"})
    assert [d.layer for d in fast.explain().decisions] == ["out"]
    again = spcomp.load(fast.save(tmp_path / "m"), engine="eager")
    for m in (1, 3, 9):
        agrees(fast, model, torch.randn(m, K))
        agrees(again, model, torch.randn(m, K))


def test_without_experts_the_same_object() -> None:
    gm = Flatten().run(capture(mlp(8, 6, 4), [Example.of(torch.randn(2, 8))]).gm, PassContext())
    before = str(gm.graph)
    assert SplitExperts().run(gm, PassContext()) is gm
    assert str(gm.graph) == before


# -- compiled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_experts_are_sparse_layers(turned: bool, dtype: torch.dtype, tmp_path: Path) -> None:
    model = Mixture(turned=turned, dtype=dtype).eval()
    x = torch.randn(20, K, dtype=dtype)
    fast = spcomp.compile(model, x, x[:7], **FORCED)
    assert [d.layer for d in fast.explain().decisions if d.sparse] == [f"stack.{e}" for e in range(E)]
    empty = torch.ones(3, K, dtype=dtype)  # one expert gets all rows
    for given_x in (x, x[:1], x[:0], empty, -empty):
        agrees(fast, model, given_x) if len(given_x) else _same_shape(fast, model, given_x)
    assert fast.verify(x).ok
    assert {c.layer for c in fast.verify(empty).layers} == {f"stack.{E - 1}", "out"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(fast.state_dict()[name], tensor + 0.0)
    again = spcomp.load(fast.save(tmp_path / "m"), engine="eager")
    agrees(again, model, x)
    assert all(torch.equal(again.state_dict()[n], t + 0.0) for n, t in model.state_dict().items())
    agrees(without_sparsity(fast), model, x)


def _same_shape(fast: CompiledModule, model: nn.Module, x: Tensor) -> None:
    assert fast(x).shape == model.out(torch.zeros(0, N, dtype=x.dtype)).shape


def test_new_weights() -> None:
    model, x = Mixture().eval(), torch.randn(11, K)
    fast = spcomp.compile(model, x, x[:4], **FORCED)
    old = copy.deepcopy(fast)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.stack.copy_(other.stack.flip(0))
        other.stack[1, :, 3] = 0
    fast.update_weights(other)
    agrees(fast, other, x)
    agrees(old, model, x)
    assert torch.equal(fast.state_dict()["stack"], other.stack)


def test_dead_rows_columns_and_experts_do_no_harm() -> None:
    model, x = Mixture().eval(), torch.randn(13, K)
    with torch.no_grad():
        model.stack[:, 5] = 0
        model.stack[0, :, 2] = 0
        model.stack[2] = 0
    fast = spcomp.compile(model, x, x[:4], **FORCED)
    agrees(fast, model, x)
    assert fast.verify(x).ok
    assert torch.equal(fast.state_dict()["stack"], model.stack)


def test_through_inductor_and_the_guard() -> None:
    model, x = Mixture().eval(), torch.randn(11, K)
    for options in ({"guard": False}, {"policy": "auto"}):
        fast = spcomp.compile(model, x, x[:4], **{**FORCED, "engine": "auto", "guard": True, **options})
        assert fast.parts.programs[0].engine in ("inductor", "direct")
        for m in (1, 2, 11):
            agrees(fast, model, x[:m])


def test_matrices_in_one_memory_count_each() -> None:
    model, x = Mixture().eval(), torch.randn(11, K)
    dense = spcomp.compile(model, x, **{**FORCED, "policy": "off"})
    assert dense.nbytes >= model.stack.nbytes
    assert spcomp.compile(model, x, **FORCED).nbytes < dense.nbytes
    assert dense.dense_nbytes == sum(p.nbytes for p in model.parameters())


@pytest.mark.parametrize("turned", [True, False])
def test_dense_experts_among_sparse_ones_do_not_keep_the_stack(turned: bool) -> None:
    model, x = Mixture(turned=turned).eval(), torch.randn(11, K)
    mixed = spcomp.compile(model, x, **{**FORCED, "layers": {"stack.1": "dense"}})
    records = [r for r in mixed.parts.slots if r.layer.startswith("stack")]
    (kept,) = (r.weight for r in records if not r.packed)
    assert kept is not None
    assert sum(bool(r.packed) for r in records) == E - 1
    assert kept.untyped_storage().nbytes() == kept.nbytes, "memory of its own"
    packed = sum(p.nbytes for r in records for p in r.packed)
    assert kept.nbytes + packed <= mixed.nbytes < model.stack.nbytes
    agrees(mixed, model, x)
    assert mixed.verify(x).ok
    assert torch.equal(mixed.state_dict()["stack"], model.stack)


def test_two_programs_share_the_experts() -> None:
    model = Mixture().eval()
    fast = spcomp.compile(model, torch.randn(11, K), **FORCED)
    gm = run_passes(ANALYSE, capture(model, [Example.of(torch.randn(3, K))]).gm, ctx := PassContext())
    run_passes(ANALYSE, capture(model, [Example.of(torch.randn(5, K))]).gm, ctx)
    assert len(ctx.sites) == E + 1 == len(fast.parts.slots)
    assert calls(gm).count(EXPERTS_DENSE) == 1
    site = next(s for s in ctx.sites.values() if s.layer == "stack.0")
    assert sorted((d.lo, d.hi) for d in site.domains) == [(1, 3), (1, 5)]


@pytest.mark.parametrize("rows", [11, 3])
def test_machines_are_given_equal_shares(rows: int) -> None:
    x = torch.randn(rows, K)
    work = workload_of(spcomp.compile(Mixture().eval(), x, **FORCED).parts, [x])
    mine = [s for s in work.layers if s.name.startswith("stack.")]
    assert [s.m for s in mine] == ([3, 3, 3, 2] if rows == 11 else [1, 1, 1])
    assert sum(s.dense_macs for s in mine) == rows * K * N
    assert sum(s.writes[0].nbytes for s in mine) == rows * N * 4
    assert all(s.packed for s in mine)


FORGED: dict[str, tuple[int, Any]] = {
    "slot": (2, [0, 1, 2, 99]),
    "another layer's slot": (2, [0, 1, 2, 4]),
    "too few slots": (2, [0, 1, 2]),
    "no slots": (2, []),
    "width": (3, N + 1),
    "floats": (1, {"node": "index"}),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fast = spcomp.compile(Mixture().eval(), torch.randn(11, K), **FORCED)
    return fast.save(tmp_path_factory.mktemp("experts") / "m")


@pytest.mark.parametrize("name", FORGED)
def test_forged_experts_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    manifest, stored = archive.read(saved)
    (node,) = (n for n in manifest["programs"][0]["graph"] if n["target"] == "spcomp.experts_v1.default")
    at, value = FORGED[name]
    slots = node["args"][2]
    other = next(i for i in range(E + 1) if i not in slots)
    node["args"][at] = [*slots[:-1], other] if name == "another layer's slot" else value
    archive.write(tmp_path / "forged", stored, manifest)
    with pytest.raises(ArtifactError, match=r"calls a kernel with an input that is not its own|do not fit"):
        spcomp.load(tmp_path / "forged", engine="eager")


# -- networks of transformers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixtral", "qwen2_moe"])
def test_networks_of_transformers(name: str, tmp_path: Path) -> None:
    from benchmarks.zoo_models import ZOO, scatter_zeros_

    entry = ZOO[name]
    model = entry.build()
    scatter_zeros_(model)
    only = {**FORCED, "include": ["*experts*"], "exclude": []}
    fast = spcomp.compile(model, entry.inputs(2), entry.inputs(3), **only)
    sparse = [d for d in fast.explain().decisions if d.sparse]
    assert len([d for d in sparse if ".experts." in d.layer]) == 2 * 2 * 4
    assert sum(d.nbytes for d in sparse) < 0.5 * sum(d.dense_nbytes for d in sparse)
    assert fast.nbytes < fast.dense_nbytes
    again = spcomp.load(fast.save(tmp_path / "m"), engine="eager")
    for batch in (1, 2, 5):
        asked = entry.inputs(batch)
        with torch.no_grad():
            wanted = model(**asked).logits
        assert relative(fast(**asked).logits, wanted.double()) <= 1e-5
        assert torch.equal(again(**asked).logits, fast(**asked).logits)
    own = fast.state_dict()
    assert all(torch.equal(own[n], t) for n, t in model.state_dict().items())
    other = entry.build()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.5)
    scatter_zeros_(other)
    fast.update_weights(other)
    with torch.no_grad():
        assert relative(fast(**asked).logits, other(**asked).logits.double()) <= 1e-5
