"""Embeddings of a layer's weight: their rows come out of the packed bytes, and no dense table stays."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp import ops
from spcomp.codegen.gather import DenseRows
from spcomp.compiled import CompiledModule
from spcomp.encodings.csr import Csr
from spcomp.encodings.pack import pack
from spcomp.gathering import gathered_slots
from spcomp.passes.base import PassContext, run_passes
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.passes.keep_tiles import KeepTiles
from spcomp.passes.origins import identity
from spcomp.passes.pipelines import LOWER
from spcomp.repack import without_sparsity
from tests import models
from tests.compiling import QUICK, SPARSE, agrees
from tests.kernels import relative
from tests.strategies import same_bits
from tests.test_gather import special
from tests.test_passes import sites_of
from tests.tied import (
    ROWS,
    WIDTH,
    Again,
    ReadOtherwise,
    Sibling,
    Tied,
    Transposed,
    Viewed,
    gathers,
    ids_of,
    made,
    targets,
)


@pytest.fixture(scope="module")
def compiled() -> tuple[Any, CompiledModule]:
    model = made()
    return model, spcomp.compile(model, ids_of(2, 5), ids_of(3, 7), **SPARSE)


def test_the_pass_reads_rows_from_a_slot() -> None:
    ctx, gm = sites_of(models.Tied(), torch.tensor([[1, 2]]))
    head = next(s for s in ctx.sites.values() if s.n == 40)
    assert ctx.tables == {identity(head.weight): True}
    ctx.gathered = {identity(head.weight): head.slot}
    lowered = run_passes(LOWER, gm, ctx)
    assert not lowered.meta["lifted"]
    (node,) = (n for n in lowered.graph.nodes if n.target is ops.EMBEDDING)
    assert node.args[1:] == (head.slot, 16, torch.float32)
    assert node.meta["val"].shape == (1, 2, 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("numbers", [torch.int32, torch.int64], ids=str)
def test_rows_are_the_tables_to_the_last_bit(dtype: torch.dtype, numbers: torch.dtype) -> None:
    model = made(dtype=dtype)
    compiled = spcomp.compile(model, ids_of(2, 5, dtype=numbers), **SPARSE)
    assert gathers(compiled)
    assert not compiled.parts.tensors
    ids = ids_of(2, 5, dtype=numbers)
    agrees(compiled, model, ids)
    assert same_bits(compiled(ids)[0], positive_zeros(model.tokens.weight)[ids.long()])


def test_infinities_and_subnormals_come_out_as_they_are() -> None:
    model = made()
    table = special(ROWS, WIDTH, torch.float32)
    with torch.no_grad():
        model.tokens.weight.copy_(torch.where(table.isnan(), 1.0, table))
    fast = spcomp.compile(model, ids_of(ROWS), **SPARSE)
    assert gathers(fast)
    assert same_bits(fast(torch.arange(ROWS))[0], positive_zeros(model.tokens.weight))


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=4, max_size=4), max_size=6))
def test_any_numbers(compiled: tuple[Any, CompiledModule], ids: list[list[int]]) -> None:
    model, fast = compiled
    given_ids = torch.tensor(ids, dtype=torch.int64).reshape(-1, 4)
    rows, out = fast(given_ids)
    assert same_bits(rows, positive_zeros(model.tokens.weight)[given_ids])
    if ids:
        agrees(fast, model, given_ids)
    assert out.shape == (*given_ids.shape, ROWS)


@pytest.mark.parametrize("outside", [-1, ROWS, 2**40])
@pytest.mark.parametrize("engine", ["eager", "inductor"])
def test_numbers_outside_raise(engine: str, outside: int) -> None:
    model = made()
    fast = spcomp.compile(model, ids_of(2), **{**SPARSE, "engine": engine})
    with pytest.raises(IndexError, match="index out of range in self"):
        fast(torch.tensor([1, outside]))
    with pytest.raises(IndexError, match="index out of range in self"):
        model(torch.tensor([1, outside]))
    agrees(fast, model, ids_of(2))


def test_one_number_and_none() -> None:
    model = made()
    fast = spcomp.compile(model, torch.tensor(7), **SPARSE)
    assert gathers(fast)
    agrees(fast, model, torch.tensor(299))
    several = spcomp.compile(model, ids_of(2, 3), ids_of(4, 3), **SPARSE)
    assert several(ids_of(0, 3))[0].shape == (0, 3, WIDTH)


def test_the_table_is_gone_from_memory_and_counts() -> None:
    model = made()
    alive = weakref.ref(model.tokens.weight)
    table = model.tokens.weight.nbytes
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    dense_nbytes = sum(p.nbytes for p in model.parameters())
    head = fast.parts.slots[-1]
    assert head.layer == "head" or "tokens" in head.layer
    assert fast.dense_nbytes == dense_nbytes
    gather = fast.parts.table[-1].gather
    assert gather is not None
    own = sum(p.nbytes for r in fast.parts.slots for p in r.packed)
    extra = sum(k.extra_nbytes for s in fast.parts.table for k in s.kernels)
    assert fast.nbytes == own + extra + gather.extra_nbytes < dense_nbytes - table // 2
    del model
    gc.collect()
    assert alive() is None, "nobody keeps the dense table"
    fast(ids_of(2, 5))


@pytest.mark.parametrize("kind", [Again, Sibling])
def test_several_embeddings_of_one_weight(kind: type[Tied]) -> None:
    model = made(kind)
    fast = spcomp.compile(model, ids_of(2, 5), ids_of(3, 7), **SPARSE)
    assert gathers(fast)
    assert targets(fast).count(ops.EMBEDDING) == 2 * len(fast.parts.programs)
    for shape in ((2, 5), (1, 1), (4, 1)):
        agrees(fast, model, ids_of(*shape))
    assert list(fast.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("kind", [Viewed, Transposed])
def test_other_views_and_tables_that_must_stay_are_left_alone(kind: type[Tied]) -> None:
    model = made(kind)
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    assert not gathers(fast)
    agrees(fast, model, ids_of(2, 5))


def test_a_sum_of_the_table_is_a_constant_and_keeps_nobody() -> None:
    model = made(ReadOtherwise)
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    assert gathers(fast)
    agrees(fast, model, ids_of(2, 5))


@pytest.mark.parametrize("options", [{"policy": "off"}, {**SPARSE, "exclude": ["head", "tokens"]}], ids=["off", "some"])
def test_a_table_that_is_dense_anyway_is_read_as_before(options: dict[str, Any]) -> None:
    model = made()
    fast = spcomp.compile(model, ids_of(2, 5), **{**QUICK, **options})
    assert not gathers(fast)
    assert len(fast.parts.tensors) == 1
    agrees(fast, model, ids_of(2, 5))


class Two(Tied):
    """Two sites of one weight: one of them with a bias of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(ROWS))

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows, out = super().forward(ids)
        return rows, out + F.linear(rows, self.head.weight, self.bias).relu()


def test_one_of_two_layers_of_a_weight_hands_out_its_rows() -> None:
    model = made(Two)
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    assert gathers(fast)
    assert sum(slot.gather is not None for slot in fast.parts.table) == 1
    agrees(fast, model, ids_of(2, 5))


def test_a_weight_that_one_of_its_layers_keeps_dense_is_read_dense() -> None:
    ctx, _ = sites_of(made(Two), ids_of(2, 5))
    sites = sorted(ctx.sites.values(), key=lambda s: s.slot)
    tied = [s.slot for s in sites if s.n == ROWS]
    assert len(tied) == 2

    def built(dense: set[int]) -> list[Any]:
        return [
            SimpleNamespace(
                record=SimpleNamespace(
                    packed=() if s.slot in dense else (pack(s.weight, Csr()),),
                    weight=s.weight if s.slot in dense else None,
                    dtype="float32",
                )
            )
            for s in sites
        ]

    others = {s.slot for s in sites} - set(tied)
    assert gathered_slots(ctx.tables, sites, built(others)) == {identity(sites[tied[0]].weight): tied[0]}
    for slot in tied:
        assert not gathered_slots(ctx.tables, sites, built({slot}))
    assert not gathered_slots(dict.fromkeys(ctx.tables, False), sites, built(set()))


def test_inductor_and_the_guard(compiled: tuple[Any, CompiledModule]) -> None:
    model, _ = compiled
    fast = spcomp.compile(model, ids_of(40), ids_of(50), policy="auto", memory_budget=9.0)
    agrees(fast, model, ids_of(33))
    agrees(fast, model, ids_of(1))
    options = {"policy": "force", "encodings": ["csr", "nm"], "memory_budget": 9.0, "engine": "inductor"}
    forced = spcomp.compile(model, ids_of(40), **options)
    assert gathers(forced)
    assert forced.parts.programs[0].engine == "inductor"
    agrees(forced, model, ids_of(40))
    assert same_bits(forced(ids_of(40) * 0 + 5)[0], positive_zeros(model.tokens.weight)[[5] * 40])


def test_the_dense_program_runs_the_same_graph(compiled: tuple[Any, CompiledModule]) -> None:
    model, fast = compiled
    dense = without_sparsity(fast)
    (gather,) = (s.gather for s in dense.parts.table if s.gather is not None)
    assert isinstance(gather, DenseRows)
    agrees(dense, model, ids_of(3, 4))
    with pytest.raises(IndexError, match="index out of range in self"):
        dense(torch.tensor([[1, ROWS], [2, 3]]))
    only_table = {gather.weight.untyped_storage().data_ptr()}
    kept = [getattr(k, "weight", None) for s in dense.parts.table for k in s.kernels]
    shared = any(w is not None and not w.is_mkldnn and w.untyped_storage().data_ptr() in only_table for w in kept)
    assert dense.nbytes >= dense.dense_nbytes + (0 if shared else gather.weight.nbytes) - 4096


def test_a_guard_that_falls_back_keeps_working(monkeypatch: pytest.MonkeyPatch) -> None:
    from spcomp import guard

    monkeypatch.setattr(guard, "slowest_speedup", lambda *a: (0.5, [0.5]))
    model = made()
    options = {**QUICK, "guard": True, "policy": "auto", "memory_budget": 9.0, "engine": "eager"}
    fast = spcomp.compile(model, ids_of(2, 5), **options)
    assert not any(d.sparse for d in fast.parts.decisions)
    agrees(fast, model, ids_of(2, 5))
    assert list(fast.state_dict()) == list(model.state_dict())


def test_tiles_are_kept_beside_a_gather() -> None:
    model = made()
    fast = spcomp.compile(model, ids_of(40), **SPARSE)
    (program,) = fast.parts.programs
    gm = KeepTiles(frozenset(range(3))).run(program.gm, PassContext())
    assert str(gm.graph).count("tiles_linear_v1") >= 2
    assert "spcomp.embedding_v1" in str(gm.graph)
    ids = ids_of(40)
    with torch.no_grad(), ops.active(fast.parts.table):
        rows, out = gm(*(fast.parts.tensors[name] for name in program.lifted), ids)
    assert same_bits(rows, fast(ids)[0])
    assert relative(out, fast(ids)[1].double()) < 1e-5
