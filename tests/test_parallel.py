"""Calls laid down once: the same work as one by one, from any thread, with and without torch's pool."""

from __future__ import annotations

import threading

import pytest
import torch

from spcomp.codegen.mlir_cpu import jit, parallel
from spcomp.codegen.mlir_cpu.segments import tiles_text

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
        monkeypatch.setattr(parallel, "_pool", lambda: None)
    run = prepared(parts)
    for seed in range(3):
        x = torch.randn(CHANNELS, PIXELS, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(out_of(run, x), in_tiles(x))


def test_python_threads_do_not_disturb_each_other() -> None:
    run, wrong = prepared(1), []

    def work(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(200):
            x = torch.randn(CHANNELS, PIXELS, generator=generator)
            if not torch.equal(out_of(run, x), in_tiles(x)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
