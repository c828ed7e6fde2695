"""Systolic arrays with scratchpads and a memory: laws, and what moves where it can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.parts.dram import preset
from spcomp.sim.parts.systolic import DATAFLOWS, SystolicArray
from spcomp.sim.parts.systolic_machine import CLOCK, SystolicRun, run_layer
from spcomp.sim.parts.systolic_memory import BandwidthMemory, DramMemory
from spcomp.sim.parts.systolic_store import Transfer
from spcomp.sim.parts.systolic_tiles import OPERANDS, Scratchpads, Tile, ifmap_elements, steps
from spcomp.sim.timeline import Timeline
from spcomp.sim.topology import ConvShape, Layer

sides = st.integers(1, 40)
gemms = st.builds(lambda m, k, n: Layer("gemm", m, k, n), sides, sides, sides)
convs = st.builds(
    lambda h, w, fh, fw, c, n, s: Layer.of_conv("conv", ConvShape(h + fh, w + fw, fh, fw, c, n, s)),
    st.integers(0, 6), st.integers(0, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), sides,
    st.integers(1, 3),
)  # fmt: skip
layers = st.one_of(gemms, convs)
arrays = st.builds(SystolicArray, st.integers(1, 12), st.integers(1, 12), st.sampled_from(DATAFLOWS))
pads = st.builds(
    Scratchpads, st.integers(288, 4000), st.integers(288, 4000), st.integers(576, 4000), st.just(1), st.integers(1, 2)
)
memories = st.builds(BandwidthMemory, st.floats(0.1, 50), st.integers(0, 40))


def unique_bytes(layer: Layer, p: Scratchpads) -> dict[str, int]:
    whole = ifmap_elements(layer, Tile("ifmap", 0, layer.m, 0, layer.k)).size
    return {
        "ifmap": whole * p.operand_element_bytes,
        "filter": layer.k * layer.n * p.operand_element_bytes,
        "ofmap": layer.m * layer.n * p.output_element_bytes,
    }


def check_laws(array: SystolicArray, layer: Layer, p: Scratchpads, run: SystolicRun) -> None:
    assert run.compute_cycles == array.cycles(layer.m, layer.k, layer.n)
    assert run.macs == layer.macs
    stalls = [max(0, t - c) for (t, _), c in zip(run.phases, (0, *(c for _, c in run.phases)), strict=False)]
    assert run.stall_cycles == sum(stalls)
    assert run.total_cycles == run.compute_cycles + run.stall_cycles
    assert run.memory_cycles == sum(t for t, _ in run.phases)
    assert max(run.memory_cycles, run.compute_cycles) <= run.total_cycles <= run.memory_cycles + run.compute_cycles
    least = unique_bytes(layer, p)
    for operand in OPERANDS:
        assert run.dram_read_bytes[operand] <= run.sram_reads[operand] * p.element_bytes(operand)
        moved = run.dram_write_bytes if operand == "ofmap" else run.dram_read_bytes
        assert moved[operand] >= least[operand]
    assert run.dram_write_bytes["ifmap"] == run.dram_write_bytes["filter"] == 0
    assert run.dram_write_bytes["ofmap"] - run.dram_read_bytes["ofmap"] == least["ofmap"]


@given(arrays, layers, pads, memories)
@settings(deadline=None, max_examples=50)
def test_laws(array: SystolicArray, layer: Layer, p: Scratchpads, memory: BandwidthMemory) -> None:
    run = run_layer(array, layer, memory, p)
    check_laws(array, layer, p, run)
    faster = run_layer(array, layer, BandwidthMemory(2 * memory.bytes_per_cycle, memory.latency_cycles), p)
    assert faster.total_cycles <= run.total_cycles
    assert faster.dram_read_bytes == run.dram_read_bytes


@given(arrays, layers, pads)
@settings(deadline=None, max_examples=25)
def test_laws_with_dram(array: SystolicArray, layer: Layer, p: Scratchpads) -> None:
    memory = DramMemory(preset("DDR4_2400R"), layer, p, CLOCK.period_fs)
    run = run_layer(array, layer, memory, p)
    check_laws(array, layer, p, run)
    result = memory.dram.drain()
    assert result.reads + result.writes == memory.transactions
    assert result.reads * 64 >= sum(-(-v // 64) * 64 for name, v in unique_bytes(layer, p).items() if name != "ofmap")
    assert result.time_fs <= run.total_cycles * CLOCK.period_fs


@given(arrays, layers, pads)
@settings(deadline=None, max_examples=50)
def test_steps_cover_every_product_and_fit_half_a_scratchpad(
    array: SystolicArray, layer: Layer, p: Scratchpads
) -> None:
    times = np.zeros((layer.m, layer.n), np.int64)
    for step in steps(array, layer, p):
        used = {tile.operand: tile for tile in step.tiles}
        for operand, tile in used.items():
            assert 2 * tile.elements * p.element_bytes(operand) <= p.capacity(operand)
        left, right = used["ifmap"], used["filter"]
        assert (left.col, left.cols) == (right.row, right.rows)
        times[left.row : left.row + left.rows, right.col : right.col + right.cols] += left.cols
        if "ofmap" in used:
            assert used["ofmap"][1:] == (left.row, left.rows, right.col, right.cols)
    assert (times == layer.k).all()


@given(convs)
def test_elements_of_the_input_are_those_of_the_windows(layer: Layer) -> None:
    v = layer.conv
    assert v is not None
    used = {
        (y * v.width + x) * v.channels + c
        for top in range(0, v.out_height * v.stride, v.stride)
        for left in range(0, v.out_width * v.stride, v.stride)
        for y in range(top, min(v.height, top + v.filter_height))
        for x in range(left, min(v.width, left + v.filter_width))
        for c in range(v.channels)
    }
    assert ifmap_elements(layer, Tile("ifmap", 0, layer.m, 0, layer.k)).tolist() == sorted(used)


def test_a_small_product_by_hand() -> None:
    """[8, 4] by [4, 8] on 4x4, ws: two folds of 4 + 4 + 4 + 8 - 2 = 18 cycles, 4 bytes a cycle, a latency of 5."""
    run = run_layer(SystolicArray(4, 4), Layer("a", 8, 4, 8), BandwidthMemory(4, 5))
    # 16 + 32 bytes before the first fold, 16 before the second, 32 after each
    assert run.phases == ((17, 18), (9, 18), (13, 0), (13, 0))
    assert (run.total_cycles, run.stall_cycles) == (17 + 18 + 18 + 13, 17 + 13)
    assert run.sram_reads == {"ifmap": 64, "filter": 32, "ofmap": 64}
    assert run.sram_writes == {"ifmap": 32, "filter": 32, "ofmap": 64}
    assert run.dram_read_bytes == {"ifmap": 32, "filter": 32, "ofmap": 0}
    assert run.dram_write_bytes == {"ifmap": 0, "filter": 0, "ofmap": 64}


@pytest.mark.parametrize(("ofmap_bytes", "spilled"), [(256, 0), (128, 3 * 256)])
def test_sums_that_do_not_fit_go_to_memory_and_back(ofmap_bytes: int, spilled: int) -> None:
    """64 rows, K in four folds, 4 columns: 256 bytes of sums, kept, or written and read three times."""
    p = Scratchpads(ofmap_bytes=ofmap_bytes)
    run = run_layer(SystolicArray(4, 4), Layer("a", 64, 16, 4), BandwidthMemory(8), p)
    assert run.dram_read_bytes["ofmap"] == spilled
    assert run.dram_write_bytes["ofmap"] == spilled + 256


def test_inputs_that_do_not_fit_are_read_again() -> None:
    """[64, 16] by [16, 8] on 4x4, ws: the input passes twice, once for each four columns."""
    layer = Layer("a", 64, 16, 8)
    reads = [
        run_layer(SystolicArray(4, 4), layer, BandwidthMemory(8), Scratchpads(ifmap_bytes=b)).dram_read_bytes["ifmap"]
        for b in (1024, 1023)
    ]
    assert reads == [1024, 2048]


class Ledger(BandwidthMemory):
    """Remembers when each phase began."""

    def __init__(self) -> None:
        super().__init__(3, 7)
        self.starts: list[int] = []

    def transfer_cycles(self, transfers: Sequence[Transfer], start_cycle: int) -> int:
        self.starts.append(start_cycle)
        return super().transfer_cycles(transfers, start_cycle)


def test_a_phase_starts_with_the_step_before_and_the_timeline_shows_it() -> None:
    memory, timeline = Ledger(), Timeline()
    layer, array = Layer("a", 9, 13, 11), SystolicArray(4, 4, "os")
    run = run_layer(array, layer, memory, timeline=timeline)
    starts = [0]
    for (transfer, _), (_, before) in zip(run.phases, ((0, 0), *run.phases), strict=False):
        starts.append(starts[-1] + max(transfer, before))
    assert memory.starts == starts[:-1]
    assert timeline.busy_fs("array") == run.compute_cycles * CLOCK.period_fs
    assert timeline.busy_fs("memory") == run.memory_cycles * CLOCK.period_fs
    run_layer(array, layer, memory, timeline=timeline)
    assert timeline.busy_fs("array") == 2 * run.compute_cycles * CLOCK.period_fs


def test_what_cannot_be_is_refused() -> None:
    layer, memory = Layer("fc", 8, 64, 64), BandwidthMemory(4)
    with pytest.raises(InputError, match=r"run 'fc' with a memory: mode 'scalesim', which counts no memory"):
        run_layer(SystolicArray(8, 8, mode="scalesim"), layer, memory)
    with pytest.raises(InputError, match=r"run 'fc' on 8x8, ws: the filter scratchpad has 127 bytes. Try: at least"):
        run_layer(SystolicArray(8, 8), layer, memory, Scratchpads(filter_bytes=127))
    with pytest.raises(InputError, match="0 bytes a cycle and a latency of 0 cycles"):
        BandwidthMemory(0)
    with pytest.raises(InputError, match=r"ofmap_bytes is 0. Try: at least 1"):
        Scratchpads(ofmap_bytes=0)
