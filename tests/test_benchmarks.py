"""The benchmarks' own parts on one small cell each: that they run and what they report, never how fast."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import cpu_conv, cpu_linear, cpu_models, mlp, plot
from benchmarks.grid import grid
from benchmarks.harness import Benchmark, Flusher, Target
from benchmarks.operators import candidates, race
from benchmarks.peers import onnx_model
from benchmarks.peers.layer_peers import sparse_products
from benchmarks.weights import PATTERNS, Chain, mask
from spcomp.codegen.baked_cpu.backend import BakedCpu
from spcomp.codegen.mlir_cpu.backend import MlirCpu

FLUSH = Flusher(1 << 20)
REASON = MlirCpu().unavailable()
needs_kernels = pytest.mark.skipif(REASON is not None, reason=str(REASON))
CODE = BakedCpu().unavailable()
needs_code = pytest.mark.skipif(CODE is not None, reason=str(CODE))


@pytest.fixture
def bench() -> Benchmark:
    return Benchmark("test", {"m16_u80_cold": Target(1e6)})


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mask_keeps_what_its_pattern_says(pattern: str) -> None:
    keep = mask((64, 96), pattern, torch.Generator().manual_seed(0))
    zeros = {"nm24": 0.5, "nm14": 0.75}.get(pattern) or int(pattern.rpartition("_")[2].removeprefix("u")) / 100
    assert keep.shape == (64, 96)
    assert 1 - float(keep.float().mean()) == pytest.approx(zeros, abs=0.13 if pattern.startswith("b8") else 0.06)
    if pattern.startswith("nm"):
        assert bool((keep.reshape(64, -1, 4).sum(2) == int(pattern[2])).all())


@needs_kernels
def test_a_chain_is_raced_hot_and_cold(bench: Benchmark) -> None:
    chain = Chain([(48, 64), (64, 48), (48, 64)])
    chain.prune("u80")
    layers = chain.at(16)
    hot = race(layers[:1], None, rounds=2, seconds=0.01, packed=True)
    hot.report(bench, "m16_u80_hot")
    race(layers, FLUSH, rounds=2, near=hot.near).report(bench, "m16_u80_cold")
    assert hot.near <= {c.name for c in candidates(layers[0].site)}
    assert bench.figures.keys() == {"m16_u80_hot", "m16_u80_hot_packed", "m16_u80_cold", "m16_u80_cold_laid"}
    details = bench.details["m16_u80_cold"]
    assert details["kernels"]
    assert details["weight_bytes"] > 0
    assert details["dense_weight_bytes"] == 3 * 4 * 48 * 64
    result = bench.finish()
    assert result["targets"]["m16_u80_cold"]["met"] is False


@needs_kernels
def test_few_rows_are_raced_by_the_kernels_for_few_rows() -> None:
    chain = Chain([(48, 64)])
    chain.prune("nm24")
    (layer,) = chain.at(1)
    named = {c.encoding.name for c in candidates(layer.site)}
    assert "nm" in named
    y = layer.build(candidates(layer.site)[0])(*layer.x)
    assert torch.allclose(y, layer.x[0] @ layer.site.weight.t(), atol=1e-4)
    for run in sparse_products(layer, "m1_b8x8_50").values():
        assert torch.allclose(run().t(), y, atol=1e-4)  # type: ignore[attr-defined]


@needs_kernels
def test_the_grid_reports_its_cells(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.grid.SECONDS", (0.01, 0.01))
    grid(bench, rows=(1,), zeros=(0, 90), shapes=((48, 64),))
    assert bench.figures["grid_cells"] == 2
    assert 0 <= bench.figures["grid_below"] <= 2
    assert "grid_48x64_m1_u90" in bench.figures


@needs_code
def test_a_network_of_convolutions_is_raced(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_conv, "cold_flusher", lambda: FLUSH)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)).eval()
    found = cpu_conv.geometries(model, 20)
    assert [cpu_conv.name_of(g) for g in found] == ["conv_20x20_3_3x3_s2_16", *2 * ["conv_10x10_16_1x1_16"]]
    layers = cpu_conv.layers_of(found, 80, {}, torch.Generator().manual_seed(0))
    cpu_conv.network(bench, found, 80, layers, quick=True)
    assert {"convs_u80_hot", "convs_u80_cold"} <= bench.figures.keys()


def test_a_whole_model_is_raced(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, *, quick: bool = False) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 16)).eval(), (torch.ones(4, 32),)

    monkeypatch.setattr(cpu_models, "made", made)
    monkeypatch.setattr(cpu_models, "cold_flusher", lambda: FLUSH)
    case = cpu_models.Case("mlp", "unstructured", 0.9, 1.0)
    model, _ = made("mlp")
    with torch.no_grad():
        cpu_models.race_model(bench, "mlp_u90", case, {"eager": model}, rounds=2, quick=True)
    assert bench.figures["mlp_u90_error"] < 1e-5
    assert bench.details["mlp_u90"]["dense"] == "eager"


@pytest.mark.skipif(onnx_model.unavailable() is not None, reason=str(onnx_model.unavailable()))
def test_the_onnx_model_computes_the_mlp() -> None:
    model = mlp.mlp(90)
    x = torch.randn(3, mlp.WIDTHS[0], generator=torch.Generator().manual_seed(1))
    y = onnx_model.runtime(onnx_model.linear_model(mlp.weights_of(model), 3), x, 1)()
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(y[0]), model(x), atol=1e-4)  # type: ignore[index]


def test_an_absent_peer_is_said(bench: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    mlp.race_mlp(bench, None, cells=())
    assert "--deepsparse" in bench.notes["deepsparse"]
    assert "DeepSparse absent" in capsys.readouterr().out


def test_a_peer_that_fails_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no output"):
        mlp.DeepSparse("false", tmp_path / "no.onnx", torch.zeros(1, 2), 1)


def test_a_peer_in_another_process_takes_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = """import sys
print("hello")
print('{"version": "9"}', flush=True)
for line in sys.stdin:
    print(0.001 * int(line), flush=True)
"""
    monkeypatch.setattr(mlp, "SCRIPT", tmp_path / "peer.py")
    (tmp_path / "peer.py").write_text(peer)
    other = mlp.DeepSparse(sys.executable, tmp_path / "no.onnx", torch.zeros(1, 2), 1)
    try:
        assert other.version == "9"
        mine, theirs = mlp.alternate(lambda: time.sleep(0.002), other, 0.05)
    finally:
        other.close()
    assert len(mine.seconds) == len(theirs.seconds) >= 9
    assert theirs.median == 0.001
    assert mine.median >= 0.002


def test_targets_are_those_of_the_design() -> None:
    assert cpu_linear.TARGETS["m128_u90_cold"] == Target(6.5)
    assert cpu_linear.TARGETS["m1_4096_nm24_cold"] == Target(3.0)
    assert cpu_linear.TARGETS["grid_worst"] == Target(0.97)
    assert mlp.TARGETS["mlp_m16_u50_over_deepsparse"] == Target(2.8)
    assert cpu_models.TARGETS["resnet_u95"] == Target(4.5)


def test_tables_mark_what_is_missed(tmp_path: Path) -> None:
    bench = Benchmark("cpu_linear", {"m1_768_u90_cold": Target(11), "m8_768_u90_cold": Target(2)})
    details = {"gflops_effective_w": 1.0, "gb_s": 2.0, "dense_gflops": 3.0, "dense_gb_s": 4.0}
    bench.report("m1_768_u90_cold", 5.0, details=details)
    bench.report("m8_768_u90_cold", 5.0, details=details)
    for key, value in (("grid_4x4_m1_u90", 1.2), ("grid_worst", 0.9), ("grid_below", 1)):
        bench.report(key, value)
    bench.finish(tmp_path / "cpu_linear.json")
    results = plot.load(tmp_path)
    text = plot.tables(results)
    assert "| u90 | 5\\* (11) | 5 (2) |" in text
    assert bench.name in results
    assert "1 cells, 1 with a lower bound below 0.97" in text
    if importlib.util.find_spec("matplotlib") is not None:
        assert [p.name for p in plot.plots(results, tmp_path)] == ["cpu_linear_hot.png", "cpu_linear_cold.png"]


def test_committed_results_are_readable() -> None:
    for path in (Path(plot.ROOT) / "results").glob("*.json"):
        assert {"device", "versions", "figures", "targets"} <= json.loads(path.read_text()).keys()
