"""Slices of rows: kernels on rows of every length, streams against slow Python, what is chosen, told and simulated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import nn

import spcomp
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.encodings.pack import pack
from spcomp.encodings.sell import Sell
from spcomp.errors import EncodingError
from spcomp.passes.worth import encodings_for
from spcomp.plan import Epilogue
from spcomp.sim import functional_core
from spcomp.sparsity.measure import measure
from tests import cpu_slow as slow
from tests.kernels import agree, call_of, fitting, inputs
from tests.test_csr_together import uneven
from tests.test_sim_cpu import AT, lines_of, sizes, weights
from tests.test_sim_cpu import call_of as simulated

MLIR = MlirCpu()
RUNS = pytest.mark.skipif(
    MLIR.unavailable() is not None or not any(k.encoding == "sell" for k in MLIR.capabilities()),
    reason="no kernel for slices here",
)


@RUNS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize(("window", "rows"), [(8, 8), (4, 4), (24, 8), (128, 8), (256, 4)])
def test_uneven_rows(window: int, rows: int, tiles: int, dtype: str) -> None:
    """131 rows leave three beside the slices of eight; 150 columns leave a block of 22, with nothing in some rows."""
    weight = uneven(131, 150).to(getattr(torch, dtype))
    bias = inputs(131, dtype=dtype)
    call, packed = call_of(
        Sell(64, window, rows), weight, schedule=(("tiles", tiles),), epilogue=Epilogue(True, "relu"),
        backend="mlir_cpu",
    )  # fmt: skip
    kernel = MLIR.build(call, packed, bias)
    for m in (1, 16 * tiles, 75):
        agree(kernel, weight, bias, inputs(m, 150, dtype=dtype))


@RUNS
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_rows(bad: float) -> None:
    """A row's sum takes nothing from the rows of its slice: nothing is padded, and the rest is added to its own."""
    weight = uneven(12, 64)
    weight[3, 5], weight[7, 5] = 1.0, 0.0
    call, packed = call_of(Sell(64, 128), weight, schedule=(("tiles", 1),), backend="mlir_cpu")
    x = inputs(16, 64)
    x[:, 5] = bad
    found = MLIR.build(call, packed, None)(x).isfinite()
    assert torch.equal(found, (weight[:, 5] == 0).expand(16, 12))


@RUNS
def test_a_wider_slice_has_no_kernel() -> None:
    weight = fitting(Sell(64, 32, 16), 32, 64)
    call, _ = call_of(Sell(64, 32, 16), weight, backend="mlir_cpu")
    assert MLIR.schedules(call, 16) == []
    call, _ = call_of(Sell(), weight, backend="mlir_cpu")
    assert [MLIR.schedules(call, m) for m in (1, 16, 17, 300)] == [[(("tiles", t),)] for t in (1, 1, 2, 2)]


def test_what_it_is_made_of() -> None:
    """Rows of 0, 1, 2, 2, 3 and 5 nonzeros in slices of two: the shorter one of each pair counts, the rest is left."""
    weight = torch.zeros(6, 8)
    for row, count in enumerate((2, 5, 0, 2, 3, 1)):
        weight[row, :count] = torch.arange(1.0, 1.0 + count) + 10 * row
    packed = pack(weight, Sell(8, 6, 2))
    assert packed.buffers["order"].tolist() == [[2, 5, 0, 3, 4, 1]]
    assert packed.buffers["lengths"].tolist() == [[0, 2, 3]]
    assert packed.buffers["values"].tolist() == [1, 31, 2, 32, 41, 11, 42, 12, 43, 13, 51, 14, 15]
    assert packed.buffers["columns"].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 0, 3, 4]
    assert packed.buffers["rest_rows"].tolist() == [5, 1, 1]
    assert packed.buffers["start"].tolist() == [0, 13]
    assert packed.buffers["rest_start"].tolist() == [0, 3]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((0, 128, 8), "block_columns is not within 1 to 256"),
        ((257, 128, 8), "block_columns is not within 1 to 256"),
        ((64, 257, 1), "window is not within 1 to 256"),
        ((64, 128, 0), "window is not within 1 to 256, or no multiple of rows"),
        ((64, 12, 8), "no multiple of rows"),
        ((64, 4, 8), "no multiple of rows"),
    ],
)
def test_sizes_that_cannot_be(size: tuple[int, int, int], words: str) -> None:
    with pytest.raises(EncodingError, match=rf"{words}.*Try: sell\(block_columns=256, window=128, rows=8\)"):
        Sell(*size)


def test_proposed_for_what_has_zeros_anywhere() -> None:
    anywhere = torch.where(torch.rand(256, 256, generator=torch.Generator().manual_seed(1)) < 0.1, 1.0, 0.0)
    assert Sell() in encodings_for(measure(anywhere))
    assert encodings_for(measure(anywhere), frozenset({"sell"})) == [Sell()]
    assert Sell() not in encodings_for(measure(anywhere), frozenset({"csr"}))


@settings(max_examples=50, deadline=None)
@given(
    sizes,
    some.sampled_from([0.0, 0.1, 0.5, 1.0]),
    some.sampled_from([(16, 8, 8), (128, 128, 8), (32, 16, 4), (64, 24, 8)]),
    some.sampled_from([1, 2]),
)
def test_streams_are_those_of_the_loops(
    size: tuple[int, int, int], share: float, kind: tuple[int, int, int], tiles: int
) -> None:
    n, k, m = size
    bits = weights(n, k, share, n * k)
    call, packed = simulated(Sell(*kind), bits, (("tiles", tiles),))
    body = slow.sell_body(bits, *kind, packed["lengths"].itemsize, AT)
    wanted = slow.tiled(bits, m, tiles, k, kind[1], AT, False, body)
    assert lines_of(call, m, packed)[0] == wanted.found


def test_entries_of_a_core_are_the_weight() -> None:
    weight = uneven(131, 150)
    encoding = Sell(64, 24, 8)
    found = torch.zeros_like(weight)
    for rows, columns, values in functional_core.entries(encoding, pack(weight, encoding).arrays(), (131, 150)):
        found[rows, columns] = torch.from_numpy(values.copy())
    assert torch.equal(found, weight)


@RUNS
def test_told_compiled_loaded_and_simulated(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(150, 140), nn.ReLU(), nn.Linear(140, 131)).eval(), inputs(16, 150)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.copy_(uneven(*layer.weight.shape))
    compiled = spcomp.compile(
        model, x, layers={"*": "sell"}, policy="force", engine="eager", guard=False, cache_dir=tmp_path
    )
    assert {call.encoding for call in compiled.plan.calls} == {Sell()}
    compiled.save(tmp_path / "m.spc")
    for made in (compiled, spcomp.load(tmp_path / "m.spc", engine="eager")):
        assert torch.allclose(made(x), model(x), atol=1e-4)
    assert torch.equal(compiled.state_dict()["2.weight"], model[2].weight.detach())
    report = spcomp.simulate(compiled, "cached_cpu", x, functional=True)
    assert report.functional is not None
    assert report.functional.equal
    assert torch.allclose(report.functional.outputs[0], model(x), atol=1e-4)
