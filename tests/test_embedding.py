"""Embeddings of a layer's weight: their rows come out of the packed bytes, and no dense table stays."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp import ops
from spcomp.artifact import archive
from spcomp.codegen.gather import DenseRows
from spcomp.compiled import CompiledModule
from spcomp.errors import ArtifactError, KernelError
from spcomp.passes.infer_sparsity import positive_zeros
from spcomp.repack import without_sparsity
from tests.compiling import QUICK, SPARSE, agrees
from tests.models import prune
from tests.strategies import same_bits
from tests.test_gather import special
from tests.test_int8 import HERE

ROWS, WIDTH = 300, 64


class Tied(nn.Module):
    """Two linear layers between an embedding and a head of the same weight; gives the rows, too."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.tokens = nn.Embedding(ROWS, WIDTH, padding_idx=3, dtype=dtype)
        self.first, self.second = nn.Linear(WIDTH, WIDTH, dtype=dtype), nn.Linear(WIDTH, WIDTH, dtype=dtype)
        self.head = nn.Linear(WIDTH, ROWS, bias=False, dtype=dtype)
        self.head.weight = self.tokens.weight

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids)  # type: ignore[no-any-return]

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.embed(ids)
        return rows, self.head(self.second(self.first(rows).relu()))


class Again(Tied):
    """Embeds twice, by a function too, with flags that do not matter in inference."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + F.embedding(ids.flip(-1), self.tokens.weight, None, None, 2.0, True, False)


class Sibling(Tied):
    """A second embedding of the same weight."""

    def __init__(self) -> None:
        super().__init__()
        self.types = nn.Embedding(ROWS, WIDTH)
        self.types.weight = self.tokens.weight

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + self.types(ids // 2)


class Viewed(Tied):
    """Embeds in a slice of the weight: other memory."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids % 100, self.tokens.weight[:100])


class Transposed(Tied):
    """Embeds in the transposed weight of the square layer between."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids % WIDTH, self.first.weight.t())


class ReadOtherwise(Tied):
    """Reads the whole table besides: it must stay."""

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return self.tokens(ids) + self.tokens.weight.sum(0)


def made(kind: type[Tied] = Tied, **options: Any) -> Any:
    model = prune(kind(**options), 0.85)
    with torch.no_grad():
        model.tokens.weight.copy_(special_table(model.tokens.weight.dtype))
    return model


def special_table(dtype: torch.dtype) -> torch.Tensor:
    """Finite, and with -0.0 among its zeros, as ``weight * mask`` leaves them."""
    table = torch.randn(ROWS, WIDTH).to(dtype)
    return table * (torch.rand(ROWS, WIDTH) < 0.15)


def ids_of(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.randint(ROWS, shape, dtype=dtype)


def targets(compiled: CompiledModule) -> list[Any]:
    return [n.target for p in compiled.parts.programs for n in p.gm.graph.nodes if n.op == "call_function"]


def gathers(compiled: CompiledModule) -> bool:
    """Whether its graphs gather, and none of them holds a table."""
    found = targets(compiled)
    assert (ops.EMBEDDING in found) != (torch.ops.aten.embedding.default in found)
    assert (ops.EMBEDDING in found) == any(slot.gather is not None for slot in compiled.parts.table)
    return ops.EMBEDDING in found


@pytest.fixture(scope="module")
def compiled() -> tuple[Any, CompiledModule]:
    model = made()
    return model, spcomp.compile(model, ids_of(2, 5), ids_of(3, 7), **SPARSE)


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


def test_what_is_not_finite_comes_out_as_it_is() -> None:
    model = made()
    with torch.no_grad():
        model.tokens.weight.copy_(special(ROWS, WIDTH, torch.float32))
    compiled = spcomp.compile(model, ids_of(ROWS), **QUICK, policy="auto", memory_budget=9.0)
    found = compiled(torch.arange(ROWS))[0]
    wanted = positive_zeros(model.tokens.weight) if gathers(compiled) else model.tokens.weight.detach()
    assert same_bits(found, wanted)


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
    assert spcomp.compile(model, ids_of(0, 3), **SPARSE)(ids_of(0, 3))[0].shape == (0, 3, WIDTH)


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


@pytest.mark.parametrize("kind", [Viewed, Transposed, ReadOtherwise])
def test_other_views_and_tables_that_must_stay_are_left_alone(kind: type[Tied]) -> None:
    model = made(kind)
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    assert not gathers(fast)
    agrees(fast, model, ids_of(2, 5))


@pytest.mark.parametrize("options", [{"policy": "off"}, {**SPARSE, "exclude": ["head", "tokens"]}], ids=["off", "some"])
def test_a_table_that_is_dense_anyway_is_read_as_before(options: dict[str, Any]) -> None:
    model = made()
    fast = spcomp.compile(model, ids_of(2, 5), **{**QUICK, **options})
    assert not gathers(fast)
    assert len(fast.parts.tensors) == 1
    agrees(fast, model, ids_of(2, 5))


def test_a_weight_that_somebody_keeps_dense_is_read_dense() -> None:
    class Two(Tied):
        """Two sites of one weight: one of them with a bias of its own."""

        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.randn(ROWS))

        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rows, out = super().forward(ids)
            return rows, out + F.linear(rows, self.head.weight, self.bias).relu()

    model = made(Two)
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    assert gathers(fast)
    assert sum(slot.gather is not None for slot in fast.parts.table) == 1
    agrees(fast, model, ids_of(2, 5))


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


def test_saved_and_loaded(compiled: tuple[Any, CompiledModule], tmp_path: Path) -> None:
    model, fast = compiled
    path = fast.save(tmp_path / "tied")
    assert path.stat().st_size < fast.dense_nbytes
    again = spcomp.load(path, engine="eager")
    assert gathers(again)
    assert again.nbytes == fast.nbytes
    ids = ids_of(4, 3)
    for a, b in zip(again(ids), fast(ids), strict=True):
        assert same_bits(a, b)
    assert again.verify(ids).ok
    with pytest.raises(IndexError, match="index out of range in self"):
        again(torch.tensor([[-1, 0], [1, 2]]))
    twice = spcomp.load(again.save(tmp_path / "twice"), engine="eager")
    agrees(twice, model, ids)


def test_a_loaded_model_is_tuned_again_elsewhere(
    compiled: tuple[Any, CompiledModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, fast = compiled
    monkeypatch.setattr("spcomp.artifact.loading.another_machine", lambda *_: "a test")
    again = spcomp.load(fast.save(tmp_path / "tied"), engine="eager", guard=False)
    assert "tuned again" in again.parts.notes[0]
    agrees(again, model, ids_of(2, 6))


FORGED = {
    "slot": (1, 99),
    "another slot": (1, 0),
    "negative": (1, -1),
    "width": (2, WIDTH + 1),
    "dtype": (3, {"dtype": "float16"}),
    "no dtype": (3, "float32"),
    "floats": (0, {"node": "linear_v1_default"}),
    "a flag": (1, True),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_gathers_are_refused(compiled: tuple[Any, CompiledModule], tmp_path: Path, name: str) -> None:
    _, fast = compiled
    path = fast.save(tmp_path / "tied")
    manifest, stored = archive.read(path)
    at, value = FORGED[name]
    for program in manifest["programs"]:
        (node,) = (n for n in program["graph"] if n["target"] == "spcomp.embedding_v1.default")
        node["args"][at] = value
    if name == "another slot":  # as wide as this one: nothing but other rows
        assert archive.write(tmp_path / "forged", stored, manifest)
        ids = torch.tensor([[1, 99], [2, 3]])
        with pytest.raises(IndexError, match="index out of range in self"):
            spcomp.load(tmp_path / "forged", engine="eager")(ids)
        return
    archive.write(tmp_path / "forged", stored, manifest)
    with pytest.raises(ArtifactError):
        spcomp.load(tmp_path / "forged", engine="eager")


def test_state_copies_and_new_weights(compiled: tuple[Any, CompiledModule]) -> None:
    model, _ = compiled
    fast = spcomp.compile(model, ids_of(2, 5), **SPARSE)
    for name, tensor in model.state_dict().items():
        assert torch.equal(fast.state_dict()[name], tensor)
    other = copy.deepcopy(fast)
    new = made()
    fast.update_weights(new)
    assert gathers(fast)
    agrees(fast, new, ids_of(2, 5))
    agrees(other, model, ids_of(2, 5))
    full = made()
    with torch.no_grad():
        full.tokens.weight.copy_(torch.randn(ROWS, WIDTH))
    dense = spcomp.compile(model, ids_of(2, 5), **{**SPARSE, "policy": "auto"})
    if gathers(dense):
        dense.update_weights(full)
        agrees(dense, full, ids_of(2, 5))
        assert dense.nbytes >= dense.dense_nbytes


def test_verify_watches_the_rows(compiled: tuple[Any, CompiledModule]) -> None:
    model, fast = compiled
    ids = ids_of(3, 4)
    found = fast.verify(ids)
    assert found.ok
    assert found.layers[0].kernel.startswith("embedding")
    wrong = copy.deepcopy(fast)
    slots = list(wrong.parts.table)
    at = next(i for i, s in enumerate(slots) if s.gather is not None)
    table = positive_zeros(model.tokens.weight).clone()
    table[ids[1, 2]] += 1
    slots[at] = ops.SlotKernels(slots[at].starts, slots[at].kernels, slots[at].k, gather=DenseRows(table))
    wrong.parts.table = tuple(slots)
    assert wrong.verify(ids).first_bad == found.layers[0].layer


@HERE
def test_a_rounded_head_leaves_the_table_alone() -> None:
    options = {**QUICK, "policy": "force", "encodings": ["quad"], "memory_budget": 9.0, "quantize": "int8"}
    model = made()
    fast = spcomp.compile(model, ids_of(20), **options)
    assert fast.parts.slots[-1].int8_scale is not None
    assert not gathers(fast)
    assert same_bits(fast(torch.arange(20))[0], model.tokens.weight.detach()[:20])


@HERE
def test_new_weights_that_are_rounded_keep_a_table_for_the_rows() -> None:
    """A graph that gathers, and a plan that keeps int8 alone: the dense table stays beside it."""
    model = made()
    fast = spcomp.compile(model, ids_of(20), **SPARSE)
    assert gathers(fast)
    fast.parts.options.update(encodings=["quad"], quantize="int8")
    fast.update_weights(model)
    head = next(r for r in fast.parts.slots if r.gathered)
    assert head.int8_scale is not None
    assert head.weight is not None
    ids = ids_of(20)
    assert same_bits(fast(ids)[0], model.tokens.weight.detach()[ids])
    assert fast.verify(ids).first_bad is None
    assert fast.nbytes > model.tokens.weight.nbytes


def test_dumps_and_explanations_tell(tmp_path: Path) -> None:
    fast = spcomp.compile(made(), ids_of(2, 5), **SPARSE, debug_dir=tmp_path)
    assert list((tmp_path / "kernels").glob("*-embedding-*.mlir"))
    assert any("spcomp.embedding_v1" in p.read_text() for p in tmp_path.glob("*-lower.py"))
    assert "an embedding reads rows of the same weight" in str(fast.explain())


def test_threads_of_one_model(compiled: tuple[Any, CompiledModule]) -> None:
    model, fast = compiled
    wrong: list[torch.Tensor] = []

    def serve() -> None:
        for _ in range(20):
            ids = ids_of(4, 6)
            if not same_bits(fast(ids)[0], positive_zeros(model.tokens.weight)[ids]):
                wrong.append(ids)

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_a_slot_without_rows_says_so(compiled: tuple[Any, CompiledModule]) -> None:
    _, fast = compiled
    slot = next(s for s in fast.parts.table if s.gather is None)
    with pytest.raises(KernelError, match="read rows of a weight: a slot that no embedding had"):
        slot.embed(torch.tensor([1]))
