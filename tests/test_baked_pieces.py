"""Baked code where x is larger than the cache: all rows meet some columns before the next ones."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from spcomp.codegen.baked_cpu import body
from spcomp.codegen.baked_cpu.alike import alike
from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.baked_cpu.body import UNIT_ROWS, bake
from spcomp.codegen.baked_cpu.driver import ENTRY_WORDS
from spcomp.codegen.baked_cpu.emit import MIDDLE, group_cuts
from spcomp.codegen.mlir_cpu import tiled
from spcomp.codegen.mlir_cpu.tokens import TokensKernel
from spcomp.codegen.x86.encoder import ZMM_BYTES
from spcomp.encodings.csr import Csr
from spcomp.plan import Epilogue
from spcomp.targets import host
from tests.kernels import agree, call_of, fitting, inputs

BAKED = BakedCpu()
needs_code = pytest.mark.skipif(BAKED.unavailable() is not None, reason=str(BAKED.unavailable()))


@needs_code
@pytest.mark.parametrize("together", [32, 64, 1000])
def test_the_same_bits(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row's columns still come in their order. Several chunks of rows, panels of x, and tiles."""
    weight, bias = fitting(Csr(32), 1100, 150, density=0.1), inputs(1100)
    call, packed = call_of(Csr(32), weight, epilogue=Epilogue(True, "relu"), backend="baked_cpu")
    call = replace(call, schedule=(("columns", 32), ("groups", 4), ("panel", 8), ("rows", 28)))
    at_once = BAKED.build(call, packed, bias)
    monkeypatch.setattr(tiled, "columns_together", lambda columns, tiles: together)
    pieces = BAKED.build(call, packed, bias)
    for m in (16, 129, 300):
        x = inputs(m, 150)
        assert torch.equal(pieces(x), at_once(x))
        agree(pieces, weight, bias, x)
    xs = torch.rand(3, 150, 16)
    assert isinstance(pieces, TokensKernel)
    assert isinstance(at_once, TokensKernel)
    assert torch.equal(pieces.on_tiles(xs), at_once.on_tiles(xs))


@needs_code
def test_blocks_come_piece_by_piece() -> None:
    _, packed = call_of(Csr(32), fitting(Csr(32), 300, 150, density=0.2), backend="baked_cpu")
    baked = bake(packed, 28, 32, 4, step=UNIT_ROWS)

    def first_columns(columns: int) -> list[int]:
        start, end = baked.table(0, len(baked.products), columns)
        table = np.ctypeslib.as_array((ctypes.c_int64 * ((end - start) // 8)).from_address(start))
        return [int(v) // ZMM_BYTES - MIDDLE for v in table.reshape(-1, ENTRY_WORDS)[:, 2]]

    by_rows = first_columns(0)
    assert by_rows == [0, 32, 64, 96, 128] * 3
    assert first_columns(64) == [0, 32] * 3 + [64, 96] * 3 + [128] * 3
    assert first_columns(32) == sorted(by_rows)


def test_tiles_that_fit_the_cache_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "host_cpu", lambda: replace(host.host_cpu(), l2_bytes=1 << 20))
    assert tiled.columns_together(1024, 8) == 0
    assert tiled.columns_together(1025, 8) == 256
    assert tiled.columns_together(1 << 20, 1 << 10) == 16


@pytest.mark.parametrize(("n", "k", "step", "columns"), [(224, 384, 112, 384), (130, 500, 80, 128), (3, 70, 112, 64)])
def test_rows_that_are_alike_make_groups(n: int, k: int, step: int, columns: int) -> None:
    matrix = fitting(Csr(64), n, k, density=0.05).numpy()
    cuts = group_cuts(step, 28)
    orders = alike(matrix.view(np.uint32), step, cuts, columns)
    assert orders.shape == (-(-n // step), -(-k // columns), step)
    assert (np.sort(orders, axis=2) == np.arange(step)).all()
    loads = {True: 0, False: 0}
    for unit, ranges in enumerate(orders):
        rows = matrix[unit * step :][:step]
        for range_, order in enumerate(ranges):
            part = rows[:, range_ * columns :][:, :columns] != 0
            assert (np.sort(order[: len(part)]) == np.arange(len(part))).all(), "what is no row comes last"
            for lo, hi in pairwise(cuts):
                loads[True] += int(part[order[: len(part)][lo:hi]].any(axis=0).sum())
                loads[False] += int(part[lo:hi].any(axis=0).sum())
    assert loads[True] < (0.98 if n > 28 else 1.01) * loads[False]


def test_scattered_blocks_are_found_again() -> None:
    """Rows pruned 28 at a time and shuffled: each column is loaded once again."""
    torch.manual_seed(1)
    live = (torch.rand(4, 256) < 0.1).repeat_interleave(28, 0)[torch.randperm(112)]
    (order,) = alike(live.numpy().astype(np.uint32), 112, group_cuts(112, 28), 256)[0]
    groups = live[torch.from_numpy(order)].reshape(4, 28, 256)
    assert torch.equal(groups.any(1), groups.all(1))


@needs_code
@pytest.mark.parametrize("n", [112, 150, 300])
def test_the_order_of_rows_changes_no_bit(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias, x = fitting(Csr(32), n, 150, density=0.1), inputs(n), inputs(40, 150)
    call, packed = call_of(Csr(32), weight, epilogue=Epilogue(True, "relu"), backend="baked_cpu")
    call = replace(call, schedule=(("columns", 64), ("groups", 4), ("panel", 8), ("rows", 28)))
    ordered = BAKED.build(call, packed, bias)
    monkeypatch.setattr(body, "MOST_COLUMNS", 0)
    plain = BAKED.build(call, packed, bias)
    assert torch.equal(ordered(x), plain(x))
    assert ordered.extra_nbytes <= plain.extra_nbytes
