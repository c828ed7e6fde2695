"""Experts on a GPU: one kernel for all of them, planned, guarded and saved as other layers are. In the interpreter."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spcomp.errors import PlanError
from spcomp.experts import GROUPED, GROUPED_DENSE, grouped_dense, shares, starts_of
from spcomp.plan import KernelCall

pytest.importorskip("transformers.integrations.moe")
from tests import device_experts  # needs transformers

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
E, N, K = device_experts.E, device_experts.N, device_experts.K


@pytest.mark.parametrize(("turned", "kind", "limit"), [(True, "fallback", 1e-5), (False, "aten", 2e-2)])
def test_the_whole_path(pool: ProcessPoolExecutor, tmp_path: Path, turned: bool, kind: str, limit: float) -> None:
    found = pool.submit(device_experts.whole_path, tmp_path, turned=turned, kind=kind).result()
    assert max(found["errors"].values()) <= limit
    assert found["one expert"] <= limit
    assert found["none"] == (0, 6)
    assert found["encodings"] == {"stack": "block", "out": "dense"}
    assert "spcomp.grouped_v1.default" in found["ops"]
    assert not any("grouped_mm" in op or "experts" in op for op in found["ops"])
    assert all(not any("stack" in name for name in names) for names in found["lifted"]), "the dense stack is not kept"
    assert found["bytes"][0] < found["bytes"][1]
    assert found["verify"]
    assert found["state"]
    assert found["calls"] == {("experts", E, E * N, K)}
    assert all("'experts': 4" in kernel for kernel in found["edges"]["stack"])
    assert "stack" in found["text"]
    error, same = found["loaded"]
    assert error <= limit
    assert same
    assert found["loaded state"]
    error, encodings = found["retuned"]
    assert error <= limit
    assert encodings["stack"] == "block"
    error, ops = found["dense"]
    assert error <= limit
    assert "spcomp.grouped_dense_v1.default" in ops
    assert "spcomp.grouped_v1.default" not in ops
    error, encodings = found["updated"]
    assert error <= limit
    assert encodings["stack"] == "block"


def test_dense_experts_are_as_they_were_captured(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_experts.left, tmp_path).result()
    ops, error = found["aten"]
    assert "aten._grouped_mm.default" in ops
    assert error == 0
    ops, error = found["fallback"]
    assert "spcomp.grouped_dense_v1.default" in ops, "what can be saved, and computes the same"
    assert error <= 1e-5
    assert found["loaded"] <= 1e-5


def test_what_is_not_replaced_is_said(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    texts = pool.submit(device_experts.fallbacks, tmp_path).result()
    found = {name: " ".join(text.split()) for name, text in texts.items()}
    assert "experts stay dense: its matrices are computed" in found["computed"]
    assert "stack: experts stay dense: aten.index.Tensor reads its matrices; only grouped products" in found["gathered"]
    assert found["narrow"] == "no sparse encoding fits this weight"
    assert "stack, experts in one launch of a GPU. Try: the model compiled with target='cpu'" in found["simulated"]


def test_any_ends_stay_inside(pool: ProcessPoolExecutor) -> None:
    assert pool.submit(device_experts.hostile_ends).result() <= 1e-4


def test_a_network_of_transformers(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_experts.mixtral, tmp_path).result()
    assert found["error"] <= 1e-5
    assert len(found["sparse"]) == len(found["sizes"]), found["text"]
    assert all("experts" in layer and "block" in encoding for layer, encoding in found["sparse"])
    assert found["ops"].count("spcomp.grouped_v1.default") == len(found["sizes"])


def test_forged_files_are_refused(pool: ProcessPoolExecutor, tmp_path: Path) -> None:
    found = pool.submit(device_experts.forged, tmp_path).result()
    assert len(found) == 5
    assert all("calls a kernel with an input that is not its own" in text or "do not fit" in text for text in found)


@given(st.lists(st.integers(-9, 20), min_size=1, max_size=8), st.integers(0, 12))
def test_starts_are_those_of_the_shares(ends: list[int], rows: int) -> None:
    starts = starts_of(torch.tensor(ends), rows).tolist()
    assert starts == sorted(starts)
    assert {(e, starts[e], starts[e + 1]) for e in range(len(ends)) if starts[e] < starts[e + 1]} == set(
        shares(torch.tensor(ends), rows)
    )


def test_the_dense_meaning() -> None:
    x, stack, ends = torch.randn(7, 5), torch.randn(3, 5, 2), torch.tensor([2, 2, 6])
    wanted = torch.cat([x[:2] @ stack[0], x[2:6] @ stack[2], torch.zeros(1, 2)])
    torch.testing.assert_close(grouped_dense(x, ends, stack), wanted)
    torch.testing.assert_close(GROUPED_DENSE(x, ends, stack), wanted)
    for op in ("grouped_v1", "grouped_dense_v1"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"spcomp::{op}", "CUDA")
    assert GROUPED(x.to("meta"), ends.to("meta"), 0, 4).shape == (7, 4)


def test_calls_of_experts_count_one_matrix_a_row() -> None:
    from tests.test_device_rules import DENSE

    whole = {**DENSE.to_dict(), "op": "experts", "experts": 4, "n": 32, "k": 8, "stored": 64, "nonzeros": 40}
    call = KernelCall.from_dict(whole)
    assert KernelCall.from_dict(call.to_dict()) == call
    assert "experts" not in DENSE.to_dict()
    assert (call.outputs, call.dense_flops(3), call.executed_flops(3)) == (8, 2 * 3 * 8 * 8, 2 * 3 * 16)
    for wrong, words in (({"experts": 0}, "op is 'experts' with experts 0"), ({"experts": 5}, "32 rows of 5 experts"),
                         ({"op": "linear"}, "op is 'linear' with experts 4")):  # fmt: skip
        with pytest.raises(PlanError, match=words):
            KernelCall.from_dict({**whole, **wrong})
