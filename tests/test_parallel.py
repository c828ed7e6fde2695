"""Calls laid down once: the same work as one by one, from any thread, with and without torch's pool."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.codegen.baked_cpu.body import UNIT_ROWS, unit_rows
from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.layout import pack_text
from spcomp.codegen.mlir_cpu.segments import tiles_text
from tests.kernels import in_threads

pytestmark = pytest.mark.skipif(jit.available() is not None, reason=str(jit.available()))
CHANNELS, PIXELS = 6, 40


def prepared(parts: int) -> parallel.Prepared:
    """[C, pixels] -> tiles, channels shared out among ``parts`` threads."""
    run = jit.compile_text("tiles", tiles_text("f32"), 2, 4)

    def stages(x: int, out: int) -> list[parallel.Stage]:
        shares = parallel.even(CHANNELS, parts)
        halves = [[(lo, (lo + hi) // 2), ((lo + hi) // 2, hi)] for lo, hi in shares]
        return [[[(run, (x, out, lo, hi, CHANNELS, PIXELS)) for lo, hi in half] for half in halves]]

    return parallel.Prepared(stages, 2)


def in_tiles(x: torch.Tensor) -> torch.Tensor:
    padded = torch.nn.functional.pad(x, (0, 8))
    return padded.reshape(CHANNELS, 3, 16).transpose(0, 1).contiguous()


def out_of(run: parallel.Prepared, x: torch.Tensor) -> torch.Tensor:
    out = torch.full((3, CHANNELS, 16), torch.nan)
    run(x.data_ptr(), out.data_ptr())
    return out


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("pool", [True, False])
def test_every_call_is_made_with_the_addresses_of_its_time(
    parts: int, pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not pool:
        monkeypatch.setattr(parallel, "openmp", lambda: None)
    run = prepared(parts)
    for seed in range(3):
        x = torch.randn(CHANNELS, PIXELS, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(out_of(run, x), in_tiles(x))


@pytest.mark.parametrize("few", [0, 5, 16])
def test_arguments_follow_whatever_moved(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two addresses is in four arguments: one by one, up to the second, or all anew."""
    monkeypatch.setattr(parallel, "FEW_MOVED", few)
    run = prepared(2)
    xs = [torch.randn(CHANNELS, PIXELS) for _ in range(2)]
    outs = torch.full((2, 3, CHANNELS, 16), torch.nan)
    for i, j in ((0, 0), (0, 1), (1, 1), (1, 1), (0, 0), (1, 1), (1, 0)):
        outs[j] = torch.nan
        run(xs[i].data_ptr(), outs[j].data_ptr())
        assert torch.equal(outs[j], in_tiles(xs[i]))


def test_python_threads_do_not_disturb_each_other() -> None:
    run, wrong = prepared(1), []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(200):
            x = torch.randn(CHANNELS, PIXELS, generator=generator)
            if not torch.equal(out_of(run, x), in_tiles(x)):
                wrong.append(seed)

    in_threads(work, 4)
    assert not wrong


# --- stages, shares and how many threads ------------------------------------------------------------------------------

K, TILES = 16, 12


def packed(x: torch.Tensor) -> torch.Tensor:
    """[rows, K] -> [tiles, K, 16]."""
    return x.reshape(-1, 16, K).transpose(1, 2).contiguous()


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_stage_begins_when_all_of_the_one_before_is_done(parts: int) -> None:
    """The second packs what the first made, each thread what another one did."""
    run = jit.compile_text("pack", pack_text(K, K, "f32"), 2, 3)

    def stages(x: int, once: int, twice: int) -> list[parallel.Stage]:
        cuts, rows = parallel.even(TILES, parts), TILES * 16
        first = [[(run, (x, once, rows, *cut))] for cut in cuts]
        return [first, [[(run, (once, twice, rows, *cut))] for cut in reversed(cuts)]]

    calls = parallel.Prepared(stages, 3)
    for seed in range(20):
        x = torch.randn(TILES * 16, K, generator=torch.Generator().manual_seed(seed))
        once, twice = torch.full((2, TILES, K, 16), torch.nan)
        calls(x.data_ptr(), once.data_ptr(), twice.data_ptr())
        assert torch.equal(once, packed(x))
        assert torch.equal(twice, packed(once.reshape(-1, K)))


@pytest.mark.parametrize("weighed", [False, True])
def test_over_makes_every_item_once_from_any_python_thread(weighed: bool) -> None:
    run = jit.compile_text("pack", pack_text(K, K, "f32"), 2, 3)
    work = parallel.Shares(np.arange(TILES, dtype=np.int64) ** 3) if weighed else TILES
    wrong = []

    def repeat(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for i in range(60):
            x, out = torch.randn(TILES * 16, K, generator=generator), torch.full((TILES, K, 16), torch.nan)
            parallel.over(run, (x.data_ptr(), out.data_ptr(), TILES * 16), work, 1 + i % 4)
            if not torch.equal(out, packed(x)):
                wrong.append((seed, i))

    in_threads(repeat, 3)
    assert not wrong


@pytest.mark.parametrize("limit", [{"OMP_THREAD_LIMIT": "1"}, {"OMP_DYNAMIC": "true"}])
def test_a_smaller_team_than_was_asked_for_does_all_the_work(limit: dict[str, str]) -> None:
    """``torch.get_num_threads`` says two all the same."""
    program = """
import torch
torch.set_num_threads(2)
from tests.test_parallel import K, TILES, jit, pack_text, packed, parallel
run = jit.compile_text("pack", pack_text(K, K, "f32"), 2, 3)
x, out = torch.randn(TILES * 16, K), torch.full((TILES, K, 16), torch.nan)
parallel.over(run, (x.data_ptr(), out.data_ptr(), TILES * 16), TILES, torch.get_num_threads())
assert torch.equal(out, packed(x))
"""
    environment = {**os.environ, **limit}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_few_rows_are_worth_threads_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(parallel, "openmp", lambda: object())
    stored = parallel.MIN_PRODUCTS // 8
    assert [parallel.threads_for(rows * stored, rows) for rows in (1, 2, 8)] == [2, 2, 2]
    assert parallel.threads_for(stored - 1, 1) == 1
    assert parallel.threads_for(stored) == 1
    assert parallel.threads_for(parallel.MIN_PRODUCTS) == 2


@given(st.integers(1, 5000), st.integers(1, 16))
@settings(deadline=None)
def test_units_of_rows_are_whole_lanes_and_leave_no_thread_far_behind(n: int, threads: int) -> None:
    rows = unit_rows(n, threads)
    assert rows % 16 == 0
    assert 16 <= rows <= 128
    shares = parallel.Shares(np.diff(np.append(np.arange(0, n, rows), n))).cuts(threads)
    assert max(hi - lo for lo, hi in zip(shares[::2], shares[1::2], strict=True)) * rows <= n / threads + 2 * rows
    if n > 1024:
        assert rows == UNIT_ROWS
    assert [unit_rows(few, 2) for few in (64, 256, 768)] == [32, 128, 128]
