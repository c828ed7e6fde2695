"""Models that gather rows for an embedding: saved, loaded, forged, copied, updated, verified, dumped."""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import spcomp
from spcomp import ops
from spcomp.artifact import archive
from spcomp.codegen.gather import DenseRows
from spcomp.compiled import CompiledModule
from spcomp.errors import ArtifactError, KernelError
from spcomp.passes.infer_sparsity import positive_zeros
from tests.compiling import QUICK, SPARSE, agrees
from tests.strategies import same_bits
from tests.test_int8 import HERE
from tests.tied import (
    ROWS,
    WIDTH,
    gathers,
    ids_of,
    made,
)

OVERHEAD = 48 << 10
"""Bytes of a file beside packed weights: graphs, names, plans."""


@pytest.fixture(scope="module")
def compiled() -> tuple[Any, CompiledModule]:
    model = made()
    return model, spcomp.compile(model, ids_of(2, 5), ids_of(3, 7), **SPARSE)


def test_saved_and_loaded(compiled: tuple[Any, CompiledModule], tmp_path: Path) -> None:
    model, fast = compiled
    path = fast.save(tmp_path / "tied")
    assert path.stat().st_size < fast.nbytes + OVERHEAD
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
        assert dense.nbytes >= full.tokens.weight.nbytes


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
