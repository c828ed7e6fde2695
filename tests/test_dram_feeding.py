"""Feeding a memory in pieces, draining it, and forgetting single requests."""

from __future__ import annotations

import numpy as np

from spcomp.sim.parts.dram import Dram, preset


def test_nothing_fed_is_nothing_done() -> None:
    memory = Dram(preset("DDR5_4800"))
    memory.feed([])
    result = memory.drain()
    assert (result.cycles, result.accepted_cycles, result.bytes, result.bandwidth_gb_s) == (0, 0, 0, 0.0)
    assert result.completion_fs.size == 0


def test_feeding_goes_on_after_a_drain() -> None:
    config = preset("HBM2_2400").with_settings({"channels": 2})
    memory = Dram(config)
    ends = []
    for k in range(4):
        memory.feed(np.arange(8) * 32 + 4096 * k)
        result = memory.drain()
        ends.append(result.cycles)
        assert (result.completion_cycle[: 8 * (k + 1)] >= 0).all()
    assert result.reads == 32
    assert all(b - a < 150 for a, b in zip([0, *ends], ends, strict=False)), "time does not jump to the next refresh"


def test_forgetting_single_requests_changes_no_total() -> None:
    whole, short = Dram(preset("DDR4_2400R")), Dram(preset("DDR4_2400R"))
    rng = np.random.default_rng(7)
    for k in range(5):
        where, writes = rng.integers(0, 1 << 20, 400) * 64, rng.random(400) < 0.3
        arrival = np.full(400, k * 10**10, np.int64)
        for memory in (whole, short):
            memory.feed(where, writes, arrival)
        assert whole.finish_fs() == short.finish_fs()
        short.forget()
        assert short.result().completion_cycle.size == 0
    assert whole.drain().counters() == short.drain().counters()
    assert short.totals() == {name: value for name, value in whole.drain().counters().items() if name in short.totals()}
