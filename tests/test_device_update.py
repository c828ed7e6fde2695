"""Models for GPUs with other weights, and their dense rivals, in Triton's interpreter."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import spcomp
from spcomp.codegen.cuda_graph import Graphed, fresh
from spcomp.unspliced import called, unspliced
from tests import device_updates
from tests.test_device_places import Recording

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
FP16 = 4e-3
FOUND = {"a": "block", "b": "csr", "c": "nm", "d": "dense"}


@pytest.fixture(scope="module")
def found(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return pool.submit(device_updates.updated, tmp_path_factory.mktemp("updated")).result()


def test_new_weights(found: dict[str, Any]) -> None:
    error, encodings = found["same zeros"]
    assert error <= FP16
    assert encodings == FOUND
    assert found["graphs kept"]
    assert not found["same digest"]
    assert found["copy"] <= FP16, "a copy made before has the old weights"
    assert found["targets"] == {"cuda"}
    error, encodings = found["zeros moved"]
    assert error <= FP16
    assert encodings == {"a": "csr", "b": "csr", "c": "dense", "d": "dense"}
    assert found["still kept"]
    assert found["state"]


def test_a_layer_that_was_left_to_torch_becomes_sparse(found: dict[str, Any]) -> None:
    """The graph computes it itself: the model is compiled again, with its kernel in it."""
    error, encodings = found["left layer pruned"]
    assert error <= FP16
    assert encodings == {"a": "csr", "b": "csr", "c": "dense", "d": "csr"}
    assert found["compiled again"] == 3


def test_refused_as_on_the_cpu(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.refused, tmp_path).result()
    assert "update the weights: a.weight is torch.float16 of shape (96, 64)" in found["shape"]
    assert "update the weights: a.weight is torch.float32" in found["dtype"]
    assert "update the weights: the model has no a.weight" in found["missing"]


def test_a_loaded_model_takes_new_weights(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.loaded, tmp_path).result()
    assert found["error"] <= FP16
    assert found["encodings"] == FOUND, "no graph to put the kernel of d into"
    assert "a model that was cut or reordered before it was saved" in found["cut"]


def test_weights_come_home_and_constants_go_back(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.places, tmp_path).result()
    assert found["home"]
    assert found["there"] == ["cuda:0"] * 2
    assert found["where"] == {"d.weight": "cuda:0", "d.bias": "cuda:0"}
    assert found["error"] <= FP16


def test_the_dense_rival(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.rival, tmp_path).result()
    assert max(found["errors"]) <= FP16
    assert found["ops"].count("aten.linear.default") == 2 * 4, "two programs"
    assert not any("spcomp" in op for op in found["ops"])
    assert set(found["encodings"].values()) == {"dense"}
    assert "for cuda: interpreter (cpu)" in " ".join(found["text"].split())
    assert found["sparse still"] == FOUND
    assert found["state"]
    assert found["updated"] <= FP16


class Block(nn.Module):
    """Convolutions with and without a BatchNorm, a residual, activations, and an embedding tied to a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.plain = nn.Conv1d(16, 16, 3, stride=2, dilation=2)
        self.table, self.head = nn.Embedding(32, 32), nn.Linear(32, 32, bias=False)
        self.head.weight = self.table.weight
        nn.init.normal_(self.norm.running_mean)
        nn.init.uniform_(self.norm.running_var, 0.5, 2.0)
        with torch.no_grad():
            for weight in (self.conv.weight, self.plain.weight, self.table.weight):
                weight *= torch.rand_like(weight) < 0.2
        self.eval()

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.conv(x)) + x)
        return F.silu(self.plain(y.flatten(2))).mean() + F.gelu(self.head(self.table(ids)), approximate="tanh")


def test_every_op_is_put_back() -> None:
    """Convolutions with all that was fused into them, embeddings, experts; and what was not asked for stays."""
    model, given = Block(), (torch.randn(2, 16, 4, 4), torch.arange(7))
    options: dict[str, Any] = {"encodings": ["csr"], "engine": "eager", "guard": False,
                               "shrink": False, "memory_budget": 4.0}  # fmt: skip
    parts = spcomp.compile(model, given, **options).parts
    everything = frozenset(r.slot for r in parts.slots)
    dense = unspliced(parts.programs, parts.slots, everything)
    assert called(parts.programs) == everything
    assert not called(dense.programs)
    assert set(dense.where.values()) == {"cpu"}
    (program,) = dense.programs
    tensors = parts.tensors | dense.tensors
    with torch.no_grad():
        (found,) = program.run(*(tensors[name] for name in program.lifted), *given)
        torch.testing.assert_close(found, model(*given))
    some = unspliced(parts.programs, parts.slots, everything - {0})
    assert called(some.programs) == {0}


def test_the_guard_looks_at_new_weights(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.guarded, tmp_path).result()
    assert found["first"] == [False] * 4
    assert found["then"] == [True, True, True, False]
    assert found["error"] <= FP16
    assert "guard: 1.50x" in " ".join(found["text"].split())


def test_what_stays_dense_is_not_compiled_again(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.stays_dense, tmp_path).result()
    assert found["kept"]
    assert found["error"] <= FP16
    assert not any("spcomp" in op for op in found["ops"])


def test_graphs_of_old_kernels_go() -> None:
    """A captured graph keeps the kernels alive that it calls; the compiled code behind it stays."""

    def run() -> None:
        raise AssertionError

    graphed = Graphed(run, 2, Recording())
    graphed._graphs[1,] = None  # type: ignore[assignment]
    other = fresh(graphed)
    assert isinstance(other, Graphed)
    assert (other.run, other.fixed, other.capturing) == (run, 2, graphed.capturing)
    assert not other._graphs
    assert fresh(run) is run


def test_2_4_along_n_is_a_bitmap(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_updates.along_n, tmp_path).result()
    assert any(name.startswith("triton bitmap") for name in found["asked"])
    assert not any("nm(n=2, m=4)" in name for name in found["asked"])
    assert found["encoding"] == "bitmap()"
    assert (
        "2:4 along N: sparse tensor cores multiply 2:4 along K alone, and a bitmap holds it in the 56"
        in found["reason"]
    )
    assert found["share"] <= 0.5 + 1 / 16 + 9 / 128, "and where each row begins, of rows of 128 bytes"
    assert found["error"] <= FP16
