"""Instructions counted step by step, what a core can read and multiply at best, and the limits made of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import limits, plot, reading, scaling
from benchmarks.harness import Benchmark, Flusher, device
from benchmarks.operators import candidates, race
from benchmarks.reading import SUMS, multiplier, reader
from benchmarks.stepping import Steps, steps, straight
from benchmarks.weights import Chain
from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.mlir_cpu.tokens import TokensKernel

REASON = MlirCpu().unavailable() or BakedCpu().unavailable()
needs_code = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def traceable() -> bool:
    try:
        steps(lambda: None)
    except OSError:
        return False
    return True


needs_steps = pytest.mark.skipif(not traceable(), reason="this system does not let a process trace its child")


@needs_code
@needs_steps
def test_every_multiply_add_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "TURNS", 40)
    run = multiplier()
    run()
    found = steps(run)
    assert found.names["vfmadd231ps"] + found.names["vfmadd213ps"] + found.names["vfmadd132ps"] == 40 * SUMS
    assert 40 * SUMS <= found.arithmetic <= 40 * SUMS + 2 * SUMS
    assert (found.lanes, found.stores) == (0, 1)
    assert found.cycles() == ("ports 0 and 5", found.arithmetic / 2)
    assert found.outside > 100


@needs_code
@needs_steps
def test_reading_takes_a_load_for_each_register() -> None:
    run = reader(100_000, (3, 5))
    run()
    found = steps(run)
    assert found.loads == pytest.approx(100_000 / 64, rel=0.02)
    assert found.arithmetic == pytest.approx(found.loads, rel=0.02)


@needs_code
@needs_steps
def test_baked_code_multiplies_once_a_nonzero() -> None:
    chain = Chain([(56, 96)])
    chain.prune("u80")
    (layer,) = chain.at(32)
    (baked,) = [c for c in candidates(layer.site) if c.backend == "baked_cpu"]
    found = limits.counted(layer, baked.name)
    assert found.keys() == {"", "_packed"}
    for part in found.values():
        assert part.names["vfmadd231ps"] == 2 * layer.site.facts.nonzeros
    assert found[""].lanes > found["_packed"].lanes == 0
    assert found[""].stores > found["_packed"].stores
    products = found["_packed"]
    assert products.loads > products.wide > 2 * layer.site.facts.nonzeros  # prefetches are no wide loads
    kernel = layer.build(baked)
    assert isinstance(kernel, TokensKernel)
    (_, code, _, _) = next(iter(kernel.bodies.values())).keep
    once = straight(code.address, code.nbytes)  # type: ignore[attr-defined]
    assert (once + once).names["vfmadd231ps"] == products.names["vfmadd231ps"]
    with pytest.raises(RuntimeError, match="no kernel nonesuch is offered"):
        limits.counted(layer, "nonesuch")


def test_ports() -> None:
    found = Steps(Counter(a=12, b=12), arithmetic=4, lanes=5, loads=9, wide=7, stores=3, code_bytes=100, outside=7)
    assert found.ports() == {"ports 0 and 5": 4.5, "port 5": 5.0, "loads": 3.5, "stores": 3.0, "issue": 4.0}
    assert replace(found, loads=12).ports()["loads"] == 4.0
    assert found.cycles() == ("port 5", 5.0)
    twice = found.times(2)
    assert (twice.instructions, twice.cycles(), twice.outside) == (48, ("port 5", 10.0), 14)


@needs_steps
def test_a_call_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="failed in the child"):
        steps(lambda: 1 // 0)


@needs_code
@needs_steps
def test_limits_of_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of 768 x 768 that took 200 us where dense took 1000: what its ports and bytes allow, and the table."""
    chain = Chain(limits.SQUARE)
    chain.prune("u95")
    (layer,) = chain.at(16)
    (baked,) = [c for c in candidates(layer.site) if c.backend == "baked_cpu"]
    flops = 2 * 16 * layer.site.facts.nonzeros
    details = {
        "ours_us": 200.0, "dense_us": 1000.0, "gflops_effective_w": flops / 200e3, "chosen": baked.name,
        "bytes_allow": 20.0, "cycle_ns": 0.4,
    }  # fmt: skip
    missed = {"value": 5.0, "target": ">= 10", "met": False}
    linear = {
        "device": device(), "figures": {"m16_u95_cold": 5.0, "m16_u95_cold_packed": 6.0},
        "details": {"m16_u95_cold": details, "m16_u80_cold": details},
        "targets": {
            "m16_u95_cold_packed": missed, "m16_u80_cold": missed | {"met": True}, "grid_worst": missed,
        },
    }  # fmt: skip
    assert limits.missed(linear) == ["m16_u95_cold"]
    bench = Benchmark("limits", {})
    limits.report(bench, "m16_u95_cold", linear, chain)
    figures = bench.figures
    parts = ("ports_allow", "in_turn", "reached")
    names = ("bytes_allow", *parts, *(f"packed_{name}" for name in parts))
    assert figures.keys() == {f"m16_u95_cold_{name}" for name in names}
    counts = bench.details["m16_u95_cold_ports_allow"]
    assert 1 <= counts["arithmetic"] < 2
    assert figures["m16_u95_cold_packed_ports_allow"] > figures["m16_u95_cold_ports_allow"]
    for part, gain in (("", 5.0), ("packed_", 6.0)):
        least = min(20.0, figures[f"m16_u95_cold_{part}ports_allow"])
        assert figures[f"m16_u95_cold_{part}reached"] == pytest.approx(gain / least, rel=1e-3)
        both = 1 / 20 + 1 / figures[f"m16_u95_cold_{part}ports_allow"]
        assert figures[f"m16_u95_cold_{part}in_turn"] == pytest.approx(1 / both, rel=1e-3)
    (_, _, text) = plot.limit_tables(bench.result())
    assert "| m16_u95_cold_packed | 6 (10) | 20 |" in text
    path = tmp_path / "linear.json"
    path.write_text(json.dumps(linear | {"device": "another"}))
    monkeypatch.setattr("sys.argv", ["limits", "--linear", str(path)])
    with pytest.raises(SystemExit, match="measure cpu_linear here first"):
        limits.main()


@needs_code
def test_a_race_says_what_bytes_allow() -> None:
    chain = Chain([(64, 96)])
    chain.prune("u80")
    cold = race(chain.at(16), Flusher(1 << 20), rounds=2)
    assert cold.read is not None
    assert cold.read.value > 0
    assert 0.1e-9 < cold.cycle_s < 2e-9
    details = cold.details()
    assert {"bytes_allow", "cycle_ns", "chosen"} <= details.keys()


@needs_code
def test_what_two_threads_gain_on_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "KINDS", {"multiply": 0, "read": 1 << 12})
    monkeypatch.setattr(scaling, "WORK_BYTES", 1 << 14)
    bench = Benchmark("cpu_models", {}, 2)
    scaling.host_scaling(bench, 0.0, rounds=3)
    assert bench.figures.keys() == {"threads2_host_multiply", "threads2_host_read"}
    assert bench.figures["threads2_host_multiply"] > 0.3


@needs_code
def test_rounds_go_on_until_there_were_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe says what two threads gain before and after each run; the lesser counts, and one thread needs none."""
    before = torch.get_num_threads()
    says = iter([9.0] * 4 + [1.0, 1.0, 2.0, 1.2] + [2.0, 1.9, 1.0, 1.0] + [1.0, 1.0, 1.7, 1.8])
    seen: list[int] = []
    monkeypatch.setattr(scaling, "CoreProbe", lambda: lambda: next(says))
    runs = {n: (n_threads, lambda: seen.append(torch.get_num_threads())) for n, n_threads in (("1", 1), ("2", 2))}
    try:
        found = scaling.rounds_beside_probes(runs, lambda: None, wanted=2, most=9)
    finally:
        torch.set_num_threads(before)
    # the first round, which does not count, runs two threads first, the next one last, and so on
    assert [r.gained["2"] for r in found] == [1.2, 1.9, 1.7]
    assert all(r.seconds.keys() == {"1", "2"} for r in found)
    assert seen == [2, 1, 1, 2, 2, 1, 1, 2]


@needs_code
def test_a_probe_compares_two_threads_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same two loops are run one after the other and at once; how long they take is said by their number here."""
    before = torch.get_num_threads()
    real = scaling.CoreProbe._seconds
    lengths: list[list[int]] = []

    def seconds(parts: list[list[object]]) -> float:
        assert real(parts) > 0  # type: ignore[arg-type]
        lengths.append([len(part) for part in parts])
        return 0.9 * max(lengths[-1]) + 0.1 * len(parts)

    monkeypatch.setattr(scaling.CoreProbe, "_seconds", staticmethod(seconds))
    try:
        assert scaling.CoreProbe()() == pytest.approx(1.9 / 1.1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert sorted(lengths) == [[1, 1], [1, 1], [2], [2]]
