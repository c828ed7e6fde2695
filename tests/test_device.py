"""Planning, building and splicing for GPUs, where there is none: fake devices in Triton's interpreter."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import device_cases

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
FP16 = 4e-3
"""Of the whole model in float16 against float64."""


@pytest.fixture(scope="module")
def whole(pool: ProcessPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return pool.submit(device_cases.whole_path, tmp_path_factory.mktemp("whole")).result()


def test_every_layer_gets_its_kernel(whole: dict[str, Any]) -> None:
    assert whole["encodings"] == {
        "a": "block(rows=32, cols=32)", "b": "csr(block_columns=65536)", "c": "nm(n=2, m=4)", "d": "dense"
    }  # fmt: skip
    assert whole["plan"] == {"cuda"}


def test_equals_eager_at_every_batch(whole: dict[str, Any]) -> None:
    assert set(whole["errors"]) == {1, 2, 5, 18, 0}
    assert max(whole["errors"].values()) <= FP16, whole["errors"]


def test_kernels_by_rows(whole: dict[str, Any]) -> None:
    """One token and several are different kernels, which share one copy of the weight."""
    for layer in "abc":
        first, *others = whole["kernels"][layer]
        assert "'block_m': 1," in first
        assert all("'block_m': 1," not in other for other in others)
        assert others
        assert len(set(whole["resident"][layer])) == 1


def test_dense_layers_are_left_to_inductor(whole: dict[str, Any]) -> None:
    assert whole["ops"].count("spcomp.linear_v1.default") == 3
    assert whole["ops"].count("aten.linear.default") == 1


def test_explain_names_the_device(whole: dict[str, Any]) -> None:
    assert "for cuda: interpreter (cpu)" in " ".join(whole["text"].split())


def test_saved_and_loaded(whole: dict[str, Any]) -> None:
    assert whole["same_plan"]
    assert whole["measured_at_load"] == 0
    assert whole["loaded"] <= FP16


def test_tuned_again_on_another_device(whole: dict[str, Any]) -> None:
    error, notes = whole["retuned"]
    assert error <= FP16
    assert "tuned again: saved for interpreter, a is on another" in notes[0]


def test_state_and_bytes(whole: dict[str, Any]) -> None:
    nbytes, dense = whole["nbytes"]
    assert whole["state"] == 0.0
    assert 0 < nbytes < dense


def test_inductor_around_the_kernels(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_cases.inductor_path, tmp_path).result()
    assert found["engine"] == "inductor"
    assert found["error"] <= FP16


def test_layers_on_two_devices_and_the_cpu(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_cases.two_devices, tmp_path).result()
    first, second = found["asked"]
    assert found["error"] <= FP16
    assert found["devices"] == {"a": "cuda: one (cpu)", "b": "cuda: one (cpu)", "c": "cuda: two (cpu)", "d": ""}
    assert found["targets"]["a"] == found["targets"]["c"] == "cuda"
    assert found["targets"]["d"].startswith("cpu")
    assert any("csr" in name for name in first)
    assert any("nm(n=2, m=4)" in name for name in second)
    assert not any("nm(n=2, m=4)" in name for name in first)
    assert "c: on cuda: two (cpu)" in found["text"]


def test_a_convolution_in_blocks(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_cases.convolution, tmp_path).result()
    assert (found["plan"], found["encoding"]) == ("conv", "block(rows=16, cols=16)")
    assert found["error"] <= 1e-4


def test_never_slower(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_cases.dense_wins, tmp_path).result()
    assert found["sparse"] == [False] * 4
    assert not any("spcomp" in op for op in found["ops"])
    assert found["error"] <= FP16


@pytest.mark.parametrize("worst", [0.5, 1.5])
def test_the_guard_hands_out_the_faster_program(pool: ProcessPoolExecutor, tmp_path: Path, worst: float) -> None:
    found = pool.submit(device_cases.guarded, tmp_path, worst).result()
    assert found["rival"].count("aten.linear.default") == 4
    assert not any("spcomp" in op for op in found["rival"])
    assert found["error"] <= FP16
    if worst < 1:
        assert "guard: sparse was 0.50x of dense" in found["text"]
        assert {"a.weight", "b.weight", "c.weight", "d.weight"} <= set(found["tensors"])
    else:
        assert "guard: 1.50x of the whole dense program" in " ".join(found["text"].split())
        assert set(found["tensors"]) == {"d.weight", "d.bias"}, "dense weights of sparse layers are not kept"
