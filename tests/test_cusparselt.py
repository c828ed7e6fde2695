"""2:4 through torch's operators, which are faked here: padding, dtypes, dispatch; and the metadata, which is real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.sparse import SparseSemiStructuredTensorCUSPARSELT
from torch.sparse._semi_structured_conversions import (
    sparse_semi_structured_from_dense_cutlass,
)

from spcomp.codegen.cusparselt import linear as cusparselt
from spcomp.codegen.cusparselt.backend import CuSparseLt
from spcomp.codegen.cusparselt.linear import CuSparseLtLinear
from spcomp.codegen.cusparselt.metadata import cutlass_form
from spcomp.codegen.cusparselt.rules import RULES
from spcomp.codegen.reference.backend import activate
from spcomp.codegen.reference.backend import linear as reference
from spcomp.codegen.table import BACKENDS
from spcomp.encodings.nm import Nm
from spcomp.encodings.pack import pack
from spcomp.errors import KernelError
from spcomp.plan import ACTIVATIONS, Epilogue
from spcomp.tolerance import TOLERANCES
from tests.cusparselt_fake import CPU, Fake
from tests.kernels import call_of, fitting, inputs, relative


@pytest.mark.parametrize("library", [0, 1])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_agrees_with_the_reference(activation: str, dtype: str, library: int) -> None:
    for m, n, k in ((1, 5, 7), (8, 64, 64), (13, 50, 130), (1, 1, 1)):
        for bias, residual in ((False, False), (True, False), (True, True)):
            fake = Fake()
            weight = fitting(Nm(2, 4), n, k, dtype=dtype)
            given_bias = inputs(n, dtype=dtype, seed=5) if bias else None
            epilogue = Epilogue(bias, activation, residual=residual)
            call, packed = call_of(Nm(2, 4), weight, epilogue=epilogue, schedule=(("library", library),))
            kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, given_bias, CPU)
            x, other = inputs(2, m, k, dtype=dtype), inputs(2, m, n, dtype=dtype, seed=6)
            y = kernel(x, *((other,) if residual else ()))
            exact = reference(x, weight, given_bias, "none")
            exact = activate(exact + other.double() if residual else exact, activation)
            assert y.shape == (2, m, n)
            assert y.dtype is weight.dtype
            assert y.is_contiguous()
            assert relative(y, exact) <= TOLERANCES[dtype]


def test_relu_is_in_the_product_where_the_library_has_it() -> None:
    for activation, residual, fused in (("relu", False, "relu"), ("silu", False, "silu"), ("gelu", False, None),
                                        ("relu", True, None)):  # fmt: skip
        fake = Fake()
        call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 32, 64, dtype="float16"), schedule=(("library", 1),))
        call = replace(call, epilogue=Epilogue(False, activation, residual=residual))
        kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, None, CPU)
        kernel(inputs(8, 64, dtype="float16"), *((inputs(8, 32, dtype="float16"),) if residual else ()))
        assert fake.seen[0]["activation"] == fused


def test_an_algorithm_is_searched_once_for_a_shape_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    cusparselt._remembered.clear()
    fake = Fake()
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 30, 60, dtype="bfloat16"), schedule=(("library", 0),))
    for _ in range(2):  # a second layer of these sizes searches no more
        kernel = CuSparseLt(operators=fake.operators()).kernel_of(call, packed, None, CPU)
        assert isinstance(kernel, CuSparseLtLinear)
        kernel(inputs(9, 60, dtype="bfloat16"))
        assert kernel.search(9) == (7, 2, 1, 1)
        assert kernel.search(16) == (7, 2, 1, 1)  # nine rows are padded to sixteen
    assert fake.searches == [(64, 16)]
    kernel(inputs(12, 60, dtype="bfloat16"))
    kernel(inputs(17, 60, dtype="bfloat16"))
    used = [(s["alg_id"], s["split_k"], s["split_k_mode"]) for s in fake.seen]
    assert used == [(0, 1, -1), (7, 2, 1), (7, 2, 1), (0, 1, -1)]
    cusparselt._remembered.clear()


def test_what_a_search_found_survives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path))
    call, _ = call_of(Nm(2, 4), fitting(Nm(2, 4), 32, 64, dtype="bfloat16"), schedule=(("library", 0),))

    def searched(m: int, *, n: int = 32) -> tuple[list[tuple[int, ...]], tuple[int, int, int]]:
        """What a process that remembers nothing searches, and what it then uses."""
        cusparselt._remembered.clear()
        fake = Fake()
        weight = fitting(Nm(2, 4), n, 64, dtype="bfloat16")
        kernel = CuSparseLtLinear(replace(call, n=n), weight, None, fake.operators())
        assert kernel.search(m) == (7, 2, 1, 1)
        kernel(inputs(m, 64, dtype="bfloat16"))
        used = fake.seen[0]
        return fake.searches, (used["alg_id"], used["split_k"], used["split_k_mode"])

    assert searched(8) == ([(64, 8)], (7, 2, 1))
    assert searched(8) == ([], (7, 2, 1)), "found by the process before"
    assert searched(16)[0] == [(64, 16)], "other sizes are searched for themselves"
    assert searched(8, n=48)[0] == [(64, 8)]
    monkeypatch.setattr(cusparselt, "_versions", lambda: "another library")
    assert searched(8)[0] == [(64, 8)], "algorithms of another library have other numbers"
    cusparselt._remembered.clear()


def test_rules_are_torchs() -> None:
    torchs = SparseSemiStructuredTensorCUSPARSELT._DTYPE_SHAPE_CONSTRAINTS
    assert set(torchs) - set(RULES) <= {torch.float8_e4m3fnuz}, "AMD's, from torch 2.15 on"
    for dtype, ours in RULES.items():
        constraint = torchs[dtype]
        theirs = (constraint.sparse_min_rows, constraint.sparse_min_cols, constraint.dense_min_cols)
        assert (ours.n, ours.k, ours.m) == theirs


@settings(max_examples=40)
@given(
    st.integers(1, 5), st.integers(1, 5), st.sampled_from(["float16", "bfloat16", "int8"]), st.integers(0, 9),
    st.sampled_from([0.2, 1.0]),
)  # fmt: skip
def test_metadata_is_torchs(down: int, across: int, dtype: str, seed: int, density: float) -> None:
    if dtype == "int8":
        weight = (fitting(Nm(2, 4), 16 * down, 64 * across, density=density, seed=seed) * 40).to(torch.int8)
    else:
        weight = fitting(Nm(2, 4), 32 * down, 32 * across, density=density, dtype=dtype, seed=seed)
    values, meta = cutlass_form(pack(weight, Nm(2, 4)))
    their_values, their_meta = sparse_semi_structured_from_dense_cutlass(weight)
    assert torch.equal(values, their_values)
    assert torch.equal(meta, their_meta)


def test_metadata_refuses() -> None:
    for weight, words in (
        (torch.zeros(32, 32), "values of four bytes"),
        (torch.zeros(30, 32).half(), "sides that are no multiples of 32 and 32"),
        (torch.zeros(0, 32).half(), "sides that are no multiples"),
    ):
        with pytest.raises(KernelError, match=words):
            cutlass_form(pack(weight, Nm(2, 4)))
    full = pack(fitting(Nm(3, 4), 32, 32, density=1.0, dtype="float16"), Nm(3, 4))
    with pytest.raises(KernelError, match="more than two nonzeros in a group of four"):
        cutlass_form(full)


def test_serves_two_of_four_alone() -> None:
    call, packed = call_of(Nm(1, 4), fitting(Nm(1, 4), 32, 64, dtype="float16"), schedule=(("library", 0),))
    backend = CuSparseLt(operators=Fake().operators())
    assert backend.schedules(call, 64) == []
    assert len(backend.schedules(replace(call, encoding=Nm(2, 4)), 64)) == 2
    assert backend.schedules(replace(call, encoding=Nm(2, 4), dtype="float32"), 64) == []
    with pytest.raises(KernelError, match="sparse tensor cores multiply 2:4 along K alone"):
        backend.kernel_of(call, packed, None, CPU)


def test_bytes_are_foretold() -> None:
    """cuSPARSELt's own are those of its compressed form, which the fake has not; CUTLASS's are exact."""
    call, packed = call_of(
        Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), epilogue=Epilogue(True), schedule=(("library", 1),)
    )
    backend = CuSparseLt(operators=Fake().operators())
    kernel = backend.kernel_of(call, packed, torch.zeros(64).half(), CPU)
    assert kernel.extra_nbytes == backend.extra_nbytes(call)


def test_no_rows() -> None:
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), schedule=(("library", 0),))
    kernel = CuSparseLt(operators=Fake().operators()).kernel_of(call, packed, None, CPU)
    assert kernel(torch.zeros(0, 128).half()).shape == (0, 64)


def test_says_what_is_missing() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    backend = BACKENDS["cusparselt"]
    assert backend.unavailable() is not None
    assert backend.capabilities() == frozenset()
    call, packed = call_of(Nm(2, 4), fitting(Nm(2, 4), 64, 128, dtype="float16"), schedule=(("library", 0),))
    with pytest.raises(KernelError, match=r"build the 2:4 kernel of layer: torch .* (built|finds)"):
        backend.build(call, packed, None)
