"""Sorted rows that are summed up together: uneven ones, windows that they do not divide, and when they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.cost.cycles import rows_together
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.plan import Epilogue, RowRange
from tests.kernels import agree, call_of, inputs

MLIR = MlirCpu()
pytestmark = pytest.mark.skipif(MLIR.unavailable() is not None, reason=str(MLIR.unavailable()))


def uneven(n: int, k: int, seed: int = 0) -> torch.Tensor:
    """Rows of every length from none to all, in any order."""
    g = np.random.default_rng(seed)
    keep = g.random((n, k)) < g.random((n, 1))
    keep[0], keep[-1] = False, True
    return torch.from_numpy(np.where(keep, g.standard_normal((n, k)), 0.0).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tiles", [1, 2, 4])
@pytest.mark.parametrize("window", [1, 2, 7, 128])
def test_uneven_rows(window: int, tiles: int, dtype: str) -> None:
    """131 rows leave a window of three; 150 columns leave a block of 22, where some rows have nothing."""
    weight = uneven(131, 150).to(getattr(torch, dtype))
    bias = inputs(131, dtype=dtype)
    call, packed = call_of(
        SortedCsr(64, window), weight, schedule=(("tiles", tiles),), epilogue=Epilogue(True, "relu"), backend="mlir_cpu"
    )
    kernel = MLIR.build(call, packed, bias)
    for m in (1, 16 * tiles, 75):
        agree(kernel, weight, bias, inputs(m, 150, dtype=dtype))


def test_what_is_not_finite_stays_in_its_rows() -> None:
    """A row's sum takes nothing from the rows beside it."""
    weight = uneven(12, 64)
    weight[3, 5], weight[7, 5] = 1.0, 0.0
    call, packed = call_of(SortedCsr(64, 128), weight, schedule=(("tiles", 1),), backend="mlir_cpu")
    x = inputs(16, 64)
    x[:, 5] = float("nan")
    found = MLIR.build(call, packed, None)(x).isnan()
    assert torch.equal(found, (weight[:, 5] != 0).expand(16, 12))


@pytest.mark.parametrize(("tiles", "nonzeros", "rows"), [(1, 16, 3), (2, 50, 3), (1, 15.9, 1), (4, 50, 1), (8, 50, 1)])
def test_rows_together(tiles: int, nonzeros: float, rows: int) -> None:
    assert rows_together(tiles, nonzeros) == rows
    weight = torch.zeros(6, 128)
    weight[:, : int(nonzeros)] = 1.0
    fixed = RowRange(16 * tiles, 16 * tiles)
    call, packed = call_of(SortedCsr(128, 128), weight, rows=fixed, schedule=(("tiles", tiles),), backend="mlir_cpu")
    kernel = MLIR.build(call, packed, None)
    # together, each one's rest, and rows that are left over one by one; or these alone
    assert kernel.source.count("vector.fma") == tiles * (2 * rows + 1 if rows > 1 else 1)
