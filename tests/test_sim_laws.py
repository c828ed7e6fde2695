"""Laws of single changes: what moves when a nonzero, the width of an index, or the delay of an activation changes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

import spcomp
from benchmarks.sim_laws import made
from spcomp.encodings.csr import Csr
from spcomp.sim.functional import execute
from spcomp.sim.machines import load_machine
from spcomp.sim.workload import Step, Workload

N, K, M = 96, 256, 40
LINE = 64
MACHINES = ("stc_flexible", "dual_side_sparse", "cached_cpu")


@functools.cache
def weight() -> torch.Tensor:
    g = np.random.default_rng(3)
    drawn = torch.from_numpy(np.where(g.random((N, K)) < 0.3, g.standard_normal((N, K)), 0.0)).float()
    drawn[11, :2] = torch.tensor([1.5, 0.0])
    return drawn


def layer(drawn: torch.Tensor, columns: int) -> Step:
    """Of one block of columns, however wide blocks may be: indices of a byte up to 256, of two beyond."""
    return made(drawn, Csr(columns), M)


@pytest.mark.parametrize("name", MACHINES)
def test_wider_indices_add_their_bytes_and_nothing_else(name: str) -> None:
    machine = load_machine(name)
    nonzeros = int((weight() != 0).sum())
    x = np.random.default_rng(0).standard_normal((M, K))
    narrow, wide = layer(weight(), 256), layer(weight(), 512)
    assert wide.weight_nbytes - narrow.weight_nbytes == nonzeros
    one, two = execute(machine, narrow, x), execute(machine, wide, x)
    np.testing.assert_array_equal(one.output, two.output)
    assert one.macs == two.macs
    before, after = (spcomp.simulate(Workload((step,), ""), machine).steps[0] for step in (narrow, wide))
    assert before.executed_macs == after.executed_macs
    # prefetchers of a core run past the ends of buffers: within 1 %
    slack = before.read_bytes["dram"] // 100 if name == "cached_cpu" else 2 * LINE
    assert abs(after.read_bytes["dram"] - before.read_bytes["dram"] - nonzeros) <= slack
    assert before.write_bytes == after.write_bytes
    assert after.cycles >= before.cycles
    if name != "cached_cpu":
        assert after.metadata_bytes - before.metadata_bytes == nonzeros


@pytest.mark.parametrize("name", MACHINES)
def test_a_moved_nonzero_moves_its_row_alone(name: str) -> None:
    machine = load_machine(name)
    moved = weight().clone()
    moved[11, :2] = torch.tensor([0.0, 1.5])
    x = np.random.default_rng(0).standard_normal((M, K)) + 5
    before, after = (execute(machine, layer(w, 256), x) for w in (weight(), moved))
    assert np.flatnonzero((before.output != after.output).any(axis=0)).tolist() == [11]
    np.testing.assert_allclose(after.output[:, 11] - before.output[:, 11], 1.5 * (x[:, 1] - x[:, 0]), rtol=1e-9)
    assert before.macs == after.macs
    one, two = (spcomp.simulate(Workload((layer(w, 256),), ""), machine).steps[0] for w in (weight(), moved))
    assert one.read_bytes == two.read_bytes
    assert one.metadata_bytes == two.metadata_bytes
    assert one.executed_macs == two.executed_macs


def test_two_channels_halve_a_long_read_and_change_no_product() -> None:
    """A layer of few rows waits for memory; with twice the channels it waits about half as long."""
    machine = load_machine("stc_flexible")
    step = layer(weight(), 256)
    channels = machine.dram.channels if machine.dram else 0
    once, twice = (
        spcomp.simulate(Workload((step,), ""), machine, **{"dram.channels": n, "dram.refresh": "none"}).steps[0]
        for n in (channels, 2 * channels)
    )
    assert twice.cycles <= once.cycles
    assert twice.read_bytes == once.read_bytes
    assert twice.executed_macs == once.executed_macs
    for s in (once, twice):
        memory = max(s.memory_cycles.values())
        assert max(s.compute_cycles, memory) <= s.cycles <= s.compute_cycles + sum(s.memory_cycles.values())
