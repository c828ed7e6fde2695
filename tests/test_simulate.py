"""Whole models on machines: laws over all of them, and figures against closed forms."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import spcomp
from spcomp.encodings.nm import Nm
from spcomp.report.simulated import DRAM
from spcomp.sim.machines import load_machine, override
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.gpu import weight_share
from spcomp.sim.parts.mac_array import simulate as simulate_array
from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.parts.systolic_array import step_product
from spcomp.sim.place import Places
from spcomp.sim.replan import replan
from spcomp.sim.simulate import run
from spcomp.sim.step_cost import Span
from spcomp.sim.systolic_run import SystolicRunner
from spcomp.sim.tiling import best_tiling
from tests.models import prune
from tests.simulated import ARRAYS, MACHINES, SYSTOLIC, alone, check_step, planned, pruned_2_4, transformer


@pytest.mark.parametrize("name", MACHINES)
def test_every_op_takes_its_time(name: str) -> None:
    workload, report = planned(name)
    assert [s.name for s in report.steps] == [s.name for s in workload.steps]
    assert {"layer", "attention", "norm", "elementwise"} <= {s.kind for s in report.steps}
    cycle_fs = load_machine(name).cycle_fs
    for s in report.steps:
        check_step(s)
        assert s.end_fs - s.start_fs == s.cycles * cycle_fs > 0
    assert all(a.end_fs == b.start_fs for a, b in itertools.pairwise(report.steps))
    assert report.time_fs == report.cycles * cycle_fs
    total = report.total()
    assert all(v <= total["cycles"] for v in (*total["parts"].values(), *total["memory_cycles"].values()))
    assert total["dense_macs"] == sum(s.dense_macs for s in workload.steps)
    assert total["effective_macs"] == sum(
        s.dense_macs if s.call is None else s.m * s.call.nonzeros for s in workload.steps
    )


@pytest.mark.parametrize("name", MACHINES)
def test_energy_adds_up_exactly(name: str) -> None:
    _, report = planned(name)
    parts = report.total()["energy_fj"]
    assert all(type(v) is int for v in parts.values())
    assert sum(parts.values()) == sum(sum(s.energy_fj.values()) for s in report.steps) == report.energy_fj
    assert bool(parts) == bool(load_machine(name).energy)
    if name in (*ARRAYS, *SYSTOLIC):
        assert {"array", "vector", DRAM} <= set(parts)
        assert min(parts.values()) > 0
        products = sum(s.executed_macs for s in report.steps)
        assert parts["array"] >= products * 300, "at least a multiply-add in int8 each"


@pytest.mark.parametrize("name", MACHINES)
def test_memory_gives_every_packed_byte(name: str) -> None:
    workload, report = planned(name)
    words = load_machine(name)
    section = words.systolic or words.mac_array
    places = Places.of(workload, None if section is None else section.word_bytes)
    for step, s in zip(workload.steps, report.steps, strict=True):
        if step.call is not None:
            unique = sum(places.weight_bytes(step).values())
            if name.startswith("gpu"):  # its own layout of 2:4, in float32, a byte a panel rounded
                unique = (
                    int(step.n * step.k * 4 * (weight_share(4) if isinstance(step.call.encoding, Nm) else 1)) - step.n
                )
            assert s.read_bytes[DRAM] >= unique + places.nbytes(step.reads[0])
            assert s.metadata_bytes == sum(v.nbytes for k, v in step.packed.items() if k != "values")
        assert s.write_bytes[DRAM] >= sum(map(places.nbytes, step.writes))


def test_in_words_of_the_plan_bytes_are_those_of_the_kernel() -> None:
    """Four bytes a word: what the layers read of their weights is what the packed tensors take."""
    workload, _ = planned("stc_2_4")
    places = Places.of(workload, 4)
    for step in workload.layers:
        assert step.call is not None
        assert sum(places.weight_bytes(step).values()) == step.call.weight_nbytes
    wide = override(load_machine("stc_2_4"), {"mac_array.word_bytes": 4})
    steps = run(workload, wide).steps
    for step, s in zip(workload.steps, steps, strict=True):
        if step.call is not None:
            assert s.read_bytes[DRAM] >= step.call.weight_nbytes + step.reads[0].nbytes


@pytest.mark.parametrize("name", MACHINES)
def test_equal_runs_give_equal_bytes(name: str) -> None:
    workload, report = planned(name)
    again = spcomp.simulate(workload, name)
    assert again.to_json() == report.to_json()
    assert again.to_csv() == report.to_csv()
    assert again.ran is not None
    data = json.loads(report.to_json())
    assert (data["origin"], data["plan"], data["machine"]) == ("simulated", workload.digest, name)
    for word in (again.ran.date, again.ran.host):
        assert word not in report.to_json()


WIDER = (
    *((name, "dram.channels", 2) for name in (*SYSTOLIC, *ARRAYS, "gpu_a100", "gpu_h200")),
    *((name, "mac_array.buffer_read_bytes_per_cycle", 84) for name in ARRAYS),
    ("gpu_a100", "gpu.l2_read_bytes_per_cycle", 10240), ("systolic_ws", "vector.lanes", 64),
)  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), WIDER)
def test_twice_the_bandwidth_never_costs_cycles(name: str, key: str, value: int) -> None:
    workload, report = planned(name)
    value *= load_machine(name).dram.channels if key == "dram.channels" else 1  # type: ignore[union-attr]
    wider = spcomp.simulate(workload, name, **{key: value})
    assert wider.cycles <= report.cycles
    assert wider.settings == {key: str(value)}
    if name in (*SYSTOLIC, *ARRAYS):  # a short step may meet a refresh that it missed before
        calm = {"dram.refresh": "none"}
        report, wider = (spcomp.simulate(workload, name, **calm, **more) for more in ({}, {key: value}))
    for one, two in zip(report.steps, wider.steps, strict=True):
        assert two.cycles <= one.cycles * 1.01 + 2, one.name
        assert two.executed_macs == one.executed_macs


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_wait_for_memory_where_a_layer_reads_more_than_it_multiplies(name: str) -> None:
    """A token at a time the weight passes once; with 512 of them the array is what takes time."""
    few, many = (spcomp.simulate(alone(m, 512, 512), name).steps[0] for m in (1, 512))
    for step in (few, many):
        check_step(step)
    assert few.memory_cycles[DRAM] > 2 * few.compute_cycles
    assert few.stalls[DRAM] > few.cycles // 2
    assert many.stalls.get(DRAM, 0) < many.cycles // 2
    rate = load_machine(name).dram.config().peak_bytes_per_second  # type: ignore[union-attr]
    assert few.memory_cycles[DRAM] >= 512 * 512 * load_machine(name).clock_mhz * 1e6 / rate
    free = spcomp.simulate(alone(1, 512, 512), name, **{"dram.channels": 64}).steps[0]
    assert free.cycles < few.cycles // 2


def test_2_4_halves_products_and_not_what_says_where_they_are() -> None:
    dense = {s.name: s for s in spcomp.simulate(transformer()[2], "stc_2_4").steps}
    workload, report = planned("stc_2_4")
    for step, s in zip(workload.steps, report.steps, strict=True):
        assert s.executed_macs == (dense[s.name].executed_macs // 2 if step.call else dense[s.name].executed_macs)
        assert s.metadata_bytes == (step.n * step.k // 2 * 2 // 8 if step.call else 0), "two bits of each that stays"
        if step.call is not None:
            assert s.encoding == "nm(n=2, m=4)"
            assert 2 * s.parts["array"] == dense[s.name].parts["array"]


def test_cycles_of_layers_follow_from_closed_forms() -> None:
    workload, report = planned("systolic_ws")
    array = SystolicArray(32, 32)
    for step, s in zip(workload.steps, report.steps, strict=True):
        if step.kind == "layer":
            assert s.parts["array"] == array.cycles(step.m, step.k, step.n)
            assert s.executed_macs == step.m * step.k * step.n
    workload, report = planned("dense_tc")
    for step, s in zip(workload.steps, report.steps, strict=True):
        if step.kind == "layer":
            assert s.parts["array"] == -(-step.n // 64) * -(-step.k // 16) * step.m


def small(dataflow: str, pad: int) -> Machine:
    keys = {f"systolic.{name}_bytes": pad for name in ("ifmap", "filter", "ofmap")}
    return override(load_machine(f"systolic_{dataflow}"), {"systolic.rows": 8, "systolic.columns": 8, **keys})


def covered(spans: list[Span], low: int, high: int) -> tuple[int, int]:
    """(different bytes, all bytes) of the spans between two addresses."""
    found = [s.start + np.arange(s.rows)[:, None] * s.stride + np.arange(s.width) for s in spans]
    every = np.concatenate([f.ravel() for f in found] or [np.zeros(0, np.int64)])
    every = every[(every >= low) & (every < high)]
    return np.unique(every).size, every.size


@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.sampled_from(["ws", "os", "is"]),
    st.sampled_from([256, 512, 4096, 65536]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_tiles_cover_products(m: int, k: int, n: int, dataflow: str, pad: int) -> None:
    """Every byte of x and W comes at least once, every one of y is written once, and tiles fit halves."""
    workload, machine = alone(m, k, n), small(dataflow, pad)
    places = Places.of(workload, 1)
    cost = SystolicRunner(machine, places).cost(workload.steps[0])
    assert machine.systolic is not None
    reads = [s for p in cost.phases for s in p.reads]
    writes = [s for p in cost.phases for s in p.writes]
    at = places.at
    assert covered(reads, at["x"], at["x"] + m * k)[0] == m * k
    assert covered(reads, at["w"], at["w"] + n * k)[0] == n * k
    assert covered(writes, at["y"], at["y"] + m * n) == (m * n, m * n)
    assert sum(s.nbytes for s in writes) == m * n, "and nothing else is"
    tiling = best_tiling(machine.systolic, m, k, n, 1)
    assert max(tiling.m * tiling.k, tiling.k * tiling.n, tiling.m * tiling.n) <= pad // 2
    assert cost.executed_macs == m * k * n
    (step,) = run(workload, machine).steps
    check_step(step)
    assert step.read_bytes[DRAM] >= sum(s.nbytes for s in reads if s.rows == 1)


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_arrays_compute_the_product_in_as_many_cycles(dataflow: str) -> None:
    """The tiles that a step is made of, cell by cell: outputs, multiplications and cycles."""
    m, k, n = 20, 30, 40
    machine, rng = small(dataflow, 512), np.random.default_rng(0)
    assert machine.systolic is not None
    x, w = rng.integers(-9, 9, (m, k)), rng.integers(-9, 9, (n, k))
    t = best_tiling(machine.systolic, m, k, n, 1)
    y, cycles, macs = np.zeros((m, n), np.int64), 0, 0
    for i, j in t.places(m, n):
        for first in range(0, k, t.k):
            rows, depth, columns = slice(i, i + t.m), slice(first, first + t.k), slice(j, j + t.n)
            done = step_product(SystolicArray(8, 8, dataflow), x[rows, depth], w[columns, depth].T)
            y[rows, columns] += done.output
            cycles, macs = cycles + done.cycles, macs + done.macs
    assert np.array_equal(y, x @ w.T)
    (step,) = run(alone(m, k, n), machine).steps
    assert (step.parts["array"], step.executed_macs) == (cycles, macs)


@pytest.mark.parametrize("name", ARRAYS)
def test_front_ends_compute_the_product_with_the_nonzeros(name: str) -> None:
    workload, report = planned(name)
    array = load_machine(name).mac_array
    assert array is not None
    rng = np.random.default_rng(1)
    for step, s in zip(workload.steps, report.steps, strict=True):
        if step.call is None:
            continue
        x = rng.integers(-3, 4, (step.m, step.k)).astype(np.float64)
        dense = step.call.encoding.unpack_bits(step.packed, (step.n, step.k)).view(np.float32).astype(np.float64)
        found = simulate_array(array, step.call.encoding, step.packed, x, step.n)
        np.testing.assert_allclose(found.output, x @ dense.T, rtol=1e-12, atol=1e-12)  # type: ignore[arg-type]
        pairs = int(((dense != 0).astype(int) @ (x != 0).T.astype(int)).sum())
        assert found.macs == (pairs if name == "dual_side_sparse" else s.effective_macs)


def test_an_encoding_is_chosen_for_the_machine() -> None:
    """Two of four on one layer, scattered zeros on the other: each machine takes what it runs fastest."""
    torch.manual_seed(2)
    first, second = pruned_2_4(nn.Sequential(nn.Linear(128, 128))), prune(nn.Sequential(nn.Linear(128, 64)), 0.9)
    model, x = nn.Sequential(first, nn.ReLU(), second).eval(), torch.randn(64, 128)
    found = {name: spcomp.simulate(model, name, x) for name in ("systolic_ws", "stc_2_4", "stc_flexible", "gpu_a100")}
    chosen = {name: [s.encoding for s in r.steps if s.kind == "layer"] for name, r in found.items()}
    assert chosen["systolic_ws"] == ["dense()", "dense()"]
    assert chosen["stc_2_4"] == ["nm(n=2, m=4)", "dense()"]
    assert chosen["stc_flexible"][1] not in ("dense()", "nm(n=2, m=4)")
    assert any("nm(n=2, m=4) was refused by 1 of them: a group of 4 columns has" in n for n in found["stc_2_4"].notes)
    assert found["stc_2_4"].notes[0] == "planned anew for stc_2_4: of 2 layers 1 as nm(n=2, m=4), 1 as dense()"


def test_the_least_cycles_win() -> None:
    _, choices = replan(transformer()[2], load_machine("stc_flexible"))
    for choice in choices:
        assert choice.cycles[choice.encoding] == min(choice.cycles.values())
        assert "dense()" in choice.cycles


def test_convolutions_and_gathers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(1000, 64)
            self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.conv(self.table(ids).unsqueeze(1))).softmax(-1)  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, ids = Net().eval(), torch.randint(0, 1000, (2, 16))
    for name in ("systolic_ws", "stc_2_4", "gpu_a100"):
        steps = spcomp.simulate(model, name, ids).steps
        assert {"gather", "layer", "softmax"} <= {s.kind for s in steps}
        for s in steps:
            check_step(s)
            if s.kind == "gather":
                assert s.read_bytes[DRAM] < 2 * (2 * 16 * 64 * 4 + 2 * 16 * 8) + 256, "rows that are taken, no more"
            if s.kind == "layer":
                assert s.dense_macs == 2 * 8 * 32 * 8 * 9


def test_a_mac_array_with_memory(tmp_path: Path) -> None:
    path = tmp_path / "stc_hbm.yaml"
    path.write_text("preset: stc_2_4\ndram: {preset: HBM2_2400, channels: 1}\n")
    workload, _ = planned("stc_2_4")
    bare = spcomp.simulate(workload, load_machine("stc_2_4").model_copy(update={"dram": None}))
    assert "take no time" in " ".join(bare.notes)
    slow, fast = spcomp.simulate(workload, path), spcomp.simulate(workload, path, **{"dram.channels": 8})
    places = Places.of(workload, 1)
    for step, s, without in zip(workload.steps, slow.steps, bare.steps, strict=True):
        check_step(s)
        assert s.cycles > without.cycles
        assert s.compute_cycles == without.compute_cycles
        assert s.read_bytes[DRAM] >= sum(places.weight_bytes(step).values()) + sum(map(places.nbytes, step.reads[:1]))
    assert fast.cycles < slow.cycles
