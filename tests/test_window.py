"""Window and bitmap kernels: text, layout, padding beside Inf and NaN, what they touch, and how they are planned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.mlir_cpu.bitmap import bitmap_text
from spcomp.codegen.mlir_cpu.few import FewTokensKernel
from spcomp.codegen.mlir_cpu.window import WindowShape, window_text
from spcomp.codegen.reference.backend import linear as reference
from spcomp.cost.analytic import CostModel
from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.pack import pack
from spcomp.encodings.spec import Encoding
from spcomp.encodings.window import Window
from spcomp.encodings.windowed import UNIT, WIDTHS
from spcomp.passes.base import Site
from spcomp.passes.propose import propose
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure
from spcomp.targets.host import HostCpu
from spcomp.targets.peaks import Peaks
from tests.guarded import Guarded
from tests.kernels import BACKEND, agree, build_all, call_of, fitting, inputs, relative

FEW: list[Encoding] = [*map(Window, WIDTHS), Bitmap()]
HERE = pytest.mark.skipif(
    all(key.encoding != "window" for key in BACKEND.capabilities()), reason="needs torch-mlir and AVX-512"
)
HOST = HostCpu("a test", ("avx2", "fma", "avx512f", "avx512bw", "avx512vl"), 2, 32768, 1 << 20, 1 << 25)
MODEL = CostModel(HOST, Peaks(gflops=128.0, stream_gb_s=20.0, cache_gb_s=80.0))


def test_the_texts(golden: Callable[[str, str], None]) -> None:
    golden("window.mlir", window_text(WindowShape(37, 150, 64), (2, 1), True, "relu"))
    golden("bitmap.mlir", bitmap_text(37, 150, (2, 1), True, "relu"))


# --- the layout -------------------------------------------------------------------------------------------------------


def test_a_small_matrix_by_hand() -> None:
    weight = torch.zeros(2, 300)
    weight[0, [3, 40, 290]] = torch.tensor([1.0, 2.0, 3.0])
    weight[1, 35] = 4.0
    arrays = pack(weight, Window(32)).arrays()
    assert arrays["order"].tolist() == [0, 1], "the fuller row comes first"
    assert arrays["group_start"].tolist() == [0, 4]
    assert arrays["first"].tolist() == [0, 2, 17, 17], "292 columns end at 304: the last window starts at 272"
    assert arrays["values"][:, :2].tolist() == [[1, 0], [2, 4], [3, 0], [0, 0]]
    assert arrays["columns"][:, :2].tolist() == [[3, 0], [8, 3], [18, 0], [0, 0]]


@given(
    n=st.integers(0, 70),
    k=st.integers(0, 300),
    density=st.sampled_from([0.02, 0.3, 1.0]),
    width=st.sampled_from(WIDTHS),
)
def test_windows_stay_inside_the_padded_columns(n: int, k: int, density: float, width: int) -> None:
    packed = pack(fitting(Window(width), n, k, density=density), Window(width))
    arrays = packed.arrays()
    reach = arrays["first"].astype(int) * UNIT + width
    assert (reach <= max(width, -(-k // UNIT) * UNIT)).all()
    filled = (arrays["values"] != 0).sum(axis=1)
    for lo, hi in zip(arrays["group_start"][:-1], arrays["group_start"][1:], strict=True):
        assert (filled[lo : max(lo, hi - 1)] > 0).all(), "only the last slot of a group may be empty"


def test_sorting_rows_cuts_padding() -> None:
    """Rows of one length share their slots, wherever they stand."""
    lengths = torch.arange(256) % 16 * 8
    weight = (torch.rand(256, 512).argsort(1).argsort(1) < lengths[:, None]).float()
    packed = pack(weight, Window(256))
    assert packed.buffers["values"].numel() < 1.3 * packed.nonzeros


# --- values that are not finite ---------------------------------------------------------------------------------------


@HERE
@pytest.mark.parametrize("encoding", FEW, ids=str)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_padding_multiplies_nothing(encoding: Encoding, bad: float) -> None:
    """What is not finite reaches the rows with a nonzero in its column, and no other."""
    n, k = 37, 150
    weight = fitting(encoding, n, k, density=0.1)
    weight[5] = 0
    for kernel in build_all(encoding, weight, None, "none", rows=15):
        for m in (1, 2, 15):
            for column in (0, 16, 149):
                x = inputs(m, k)
                x[m // 2, column] = bad
                exact, y = reference(x, weight, None, "none"), kernel(x)
                assert torch.equal(torch.isfinite(y), torch.isfinite(exact))
                assert torch.equal(
                    y[~torch.isfinite(exact)].nan_to_num(), exact[~torch.isfinite(exact)].float().nan_to_num()
                )
                finite = torch.isfinite(exact)
                assert relative(y[finite], exact[finite]) < 1e-5


@HERE
@pytest.mark.parametrize("encoding", FEW, ids=str)
def test_a_stored_minus_zero_is_no_padding(encoding: Encoding) -> None:
    weight = torch.zeros(16, 64)
    weight[3, 7] = -0.0
    (kernel,) = build_all(encoding, weight, None, "none", rows=1)
    x = torch.ones(1, 64)
    assert torch.equal(kernel(x), torch.zeros(1, 16))
    x[0, 7] = math.inf
    assert torch.isnan(kernel(x)).nonzero().tolist() == [[0, 3]]


# --- memory -----------------------------------------------------------------------------------------------------------


@HERE
@pytest.mark.parametrize("m", [1, 3, 8])
@pytest.mark.parametrize("encoding", FEW, ids=str)
def test_nothing_is_touched_past_the_buffers(encoding: Encoding, m: int) -> None:
    n, k = 37, 150
    weight = fitting(encoding, n, k, density=0.2)
    call, packed = call_of(encoding, weight, schedule=(("tokens", 8),))
    kernel = FewTokensKernel(call, packed, inputs(n))
    x = inputs(m, k)
    wide = torch.nn.functional.pad(x, (0, kernel.columns - k))
    buffers = [Guarded(packed.buffers[name].numpy()) for name in kernel.stream.buffers]
    given_x, bias, y = Guarded(wide.numpy()), Guarded(kernel.bias.numpy()), Guarded(np.full((m, n), 7.0, np.float32))
    addresses = (given_x.address, *(b.address for b in buffers), bias.address, y.address)
    kernel.body.call(*addresses, m, 0, len(kernel.stream.work))
    found = torch.from_numpy(y.view.view(np.float32).reshape(m, n).copy())
    assert relative(found, reference(x, weight, kernel.bias, "none")) < 1e-5


# --- any pattern ------------------------------------------------------------------------------------------------------


@HERE
@given(
    n=st.integers(1, 50),
    k=st.integers(1, 300),
    m=st.integers(0, 19),
    encoding=st.sampled_from(FEW),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_dead_and_dense_rows_and_columns(n: int, k: int, m: int, encoding: Encoding, seed: int) -> None:
    weight = fitting(encoding, n, k, density=0.3, seed=seed)
    weight[seed % n] = 1.0
    weight[:, seed % k] = 0.0
    weight[n // 2] = 0.0
    for kernel in build_all(encoding, weight, None, "none", rows=15):
        agree(kernel, weight, None, inputs(m, k, seed=seed))


# --- planning ---------------------------------------------------------------------------------------------------------


@HERE
def test_windows_are_proposed_for_few_rows_beside_what_serves_many() -> None:
    weight = fitting(Window(), 512, 512, density=0.1)
    site = Site(0, "fc", weight, None, Epilogue(), measure(weight), "fc.weight", None, [RowRange(1, None)])
    target = next(iter(BACKEND.capabilities())).target
    backends = {"mlir_cpu": BACKEND}
    few = propose(site, backends, target, MODEL, [1, 8])
    assert {c.encoding.name for c in few} >= {"window"}
    every = propose(site, backends, target, MODEL, [1, 2, 15, 16, 127, 512])
    names = {c.encoding.name for c in every}
    assert "window" in names
    assert names & {"csr", "sorted_csr"}
    assert len({c.encoding for c in every}) <= 6
    for c in every:
        if c.encoding.name == "window":
            packed = pack(weight, c.encoding)
            assert (c.nbytes, c.stored) == (packed.nbytes, packed.buffers["values"].numel())
    assert propose(site, backends, target, MODEL, [16], only=frozenset({"window"})) == []
    half = replace(site, weight=(w := fitting(Bitmap(), 512, 512, density=0.5)), facts=measure(w))
    assert "bitmap" in {c.encoding.name for c in propose(half, backends, target, MODEL, [1])}


@HERE
def test_a_window_kernel_wants_a_window() -> None:
    from spcomp.encodings.csr import Csr
    from spcomp.errors import KernelError

    call, packed = call_of(Csr(64), fitting(Csr(64), 8, 8), schedule=(("tokens", 8),))
    with pytest.raises(KernelError, match=r"few rows for layer: encoding csr.*Try: window or bitmap"):
        FewTokensKernel(replace(call, encoding=Window()), packed, None)
