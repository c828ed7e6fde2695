"""The dense programs that sparse kernels are held against, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F

from spcomp.codegen import dense
from spcomp.codegen.dense import BestDense, GemvLinear, best_dense, serves
from spcomp.codegen.mlir_cpu.laid_down import Chain, Step
from spcomp.codegen.reference.backend import linear as reference
from spcomp.errors import KernelError
from spcomp.kernel import Kernel
from spcomp.plan import ACTIVATIONS, Epilogue
from spcomp.tolerance import TOLERANCES
from tests.kernels import dense_call, inputs, relative

Work = Mapping[str, Callable[[], object]]


def members_of(best: BestDense) -> dict[str, Kernel]:
    """Every member that can take one of the rows it was made for."""
    return {name: best.member(name) for m in best.rows for name in best.names(m)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_every_member_agrees_with_torch(dtype: str, activation: str, with_bias: bool) -> None:
    n, k = 33, 50
    weight, bias = inputs(n, k, dtype=dtype), inputs(n, dtype=dtype, seed=2) if with_bias else None
    call = dense_call(n, k, dtype, Epilogue(with_bias, activation))
    rows = [1, 4, 20]
    members = members_of(best_dense(call, weight, bias, rows))
    wanted = {"mkl"} | {name for name in ("onednn", "gemv") if any(serves(name, m, dtype) for m in rows)}
    assert set(members) == wanted
    for name, kernel in members.items():
        for shape in [(m, k) for m in rows if serves(name, m, dtype)] + [(k,), (1, 2, k), (0, k)]:
            x = inputs(*shape, dtype=dtype, seed=3)
            y = kernel(x)
            assert y.shape == (*shape[:-1], n), name
            assert y.dtype == weight.dtype, name
            if y.numel():
                exact = reference(x, weight, bias, activation)
                own = relative(F.linear(x, weight, bias), reference(x, weight, bias, "none"))
                assert relative(y, exact) <= max(TOLERANCES[dtype], 2 * own), f"{name} at {shape}"


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 16), (5, 33), (64, 64), (130, 257)])
def test_gemv(n: int, k: int, m: int) -> None:
    weight, bias, x = inputs(n, k), inputs(n, seed=2), inputs(m, k, seed=3)
    if not serves("gemv", m, "float32"):
        pytest.skip("needs torch-mlir")
    kernel = GemvLinear(dense_call(n, k, epilogue=Epilogue(True, "none")), weight, bias)
    assert relative(kernel(x), reference(x, weight, bias, "none")) < 1e-5
    assert torch.equal(kernel(x.t().contiguous().t()), kernel(x))
    assert kernel.source.count("func.func") == 4


def test_gemv_on_two_threads(two_threads: None) -> None:
    kernel = GemvLinear(dense_call(37, 50), inputs(37, 50), None)
    both = kernel(inputs(3, 50))
    torch.set_num_threads(1)
    assert torch.allclose(kernel(inputs(3, 50)), both, atol=1e-5)


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_gemv_laid_down(threads: int, activation: str, with_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As part of a chain it gives what it gives when called, and best dense lays down what serves."""
    if not serves("gemv", 1, "float32"):
        pytest.skip("needs torch-mlir")
    monkeypatch.setattr("spcomp.codegen.mlir_cpu.parallel.threads_for", lambda *_: threads)
    n, k = 37, 50
    weight, bias = inputs(n, k), inputs(n, seed=2) if with_bias else None
    best = best_dense(dense_call(n, k, epilogue=Epilogue(with_bias, activation)), weight, bias, [1, 7])
    best.settle({1: {"gemv": 1.0}, 7: {"mkl": 1.0}})
    for m in (1, 3, 4):
        work, x = best.work_on_rows(m), inputs(m, k, seed=3)
        assert work is not None
        (y,) = Chain([Step(work, (-1,), (m, n))], 1, [0])([x])
        assert torch.allclose(y, best(x), atol=1e-5)
    assert best.work_on_rows(7) is None
    assert best.member("gemv").work_on_rows(5) is None  # type: ignore[attr-defined]


def test_the_default_dtype_is_nobodys_business() -> None:
    members = members_of(best_dense(dense_call(9, 20), inputs(9, 20), None, [2]))
    x = inputs(2, 20)
    wanted = {name: kernel(x) for name, kernel in members.items()}
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = {name: kernel(x) for name, kernel in members.items()}
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(found[name], y) for name, y in wanted.items())


def test_who_serves_what() -> None:
    assert not serves("gemv", 5, "float32")
    assert not serves("gemv", 0, "float32")
    assert not serves("gemv", 1, "bfloat16")
    assert not serves("onednn", 8, "float16")
    assert all(serves("mkl", m, d) for m in (0, 1, 1000) for d in ("float32", "bfloat16", "float16"))


def test_without_onednn_and_torch_mlir_mkl_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "onednn_works", lambda: False)
    monkeypatch.setattr(dense.jit, "available", lambda: "not here")
    best = best_dense(dense_call(4, 4), inputs(4, 4), None, [1])
    assert set(members_of(best)) == {"mkl"}
    with pytest.raises(KernelError, match="no member 'gemv' here"):
        best.member("gemv")


@pytest.mark.parametrize("winner", ["onednn", "mkl", "gemv"])
def test_best_dense_is_the_fastest_by_measurement(winner: str) -> None:
    def measure(work: Work) -> dict[str, float]:
        assert set(work) == {"onednn", "mkl", "gemv"}
        for run in work.values():
            assert isinstance(run(), torch.Tensor)
        return {name: 1.0 if name == winner else 2.0 for name in work}

    if not (serves("gemv", 2, "float32") and serves("onednn", 2, "float32")):
        pytest.skip("a member is missing here")
    weight, bias, x = inputs(6, 8), inputs(6, seed=2), inputs(2, 8, seed=3)
    best = best_dense(dense_call(6, 8, epilogue=Epilogue(True, "relu")), weight, bias, [2])
    assert best.measure(measure)[2][winner] == 1.0
    assert best.winner(2) == winner
    assert torch.allclose(best(x), F.linear(x, weight, bias).relu(), atol=1e-5)
    assert best.source == f"// rows 2: {winner}"


def test_best_dense_measures_by_itself() -> None:
    best = best_dense(dense_call(6, 8), inputs(6, 8), None, [1, 7])
    seconds = best.measure()
    assert "gemv" not in seconds[7]
    assert all(seconds[m][best.winner(m)] == min(seconds[m].values()) > 0 for m in (1, 7))


def test_best_dense_serves_every_row_count_by_who_can() -> None:
    weight = inputs(6, 8)
    best = best_dense(dense_call(6, 8), weight, None, [1, 7])
    best.settle({1: {"gemv": 1.0, "mkl": 2.0}, 7: {"mkl": 1.0, "onednn": 2.0}})
    if serves("gemv", 1, "float32"):
        assert [best.winner(m) for m in (0, 1, 3, 5, 100)] == ["mkl", "gemv", "gemv", "mkl", "mkl"]
    for m in (0, 1, 3, 5, 100):
        x = inputs(m, 8, seed=m)
        assert torch.allclose(best(x), F.linear(x, weight), atol=1e-5)


@pytest.mark.parametrize(("n", "k"), [(0, 8), (8, 0)])
def test_empty_weights(n: int, k: int) -> None:
    members = members_of(best_dense(dense_call(n, k), torch.zeros(n, k), None, [1, 8]))
    assert set(members) == {"mkl"}
    assert torch.equal(members["mkl"](torch.ones(3, k)), torch.zeros(3, n))
