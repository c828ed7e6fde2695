"""Systolic arrays: SCALE-Sim's figures, closed forms, laws, the command line, and errors by their words."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from spcomp.cli import app
from spcomp.errors import InputError
from spcomp.sim.parts.systolic import DATAFLOWS, SystolicArray
from spcomp.sim.parts.systolic_machine import run_layer
from spcomp.sim.parts.systolic_memory import BandwidthMemory
from spcomp.sim.parts.systolic_report import compute_report
from spcomp.sim.parts.systolic_tiles import Scratchpads
from spcomp.sim.topology import Layer, parse_topology, read_topology

RESNET18 = Path(__file__).parents[1] / "examples" / "topologies" / "resnet18.csv"
RESNET18_WS_32X32 = [
    121939, 108359, 108359, 108359, 108359, 63215, 110879, 7479, 110879, 110879, 83519, 137087, 10207, 137087, 137087,
    164735, 274175, 20223, 274175, 274175, 48639,
]  # fmt: skip
"""Total cycles, as SCALE-Sim 3.0.0 reports them."""

# What SCALE-Sim 3.0.0 reports (estimated bandwidth): m, n, k; then per array and dataflow for each product
# total cycles, mapping efficiency and compute utilisation in percent.
PRODUCTS = ((7, 5, 9), (33, 20, 17), (50, 70, 64), (1, 40, 30))
GEMMS = {
    ("ws", "8x4"): ((99, 35.15625, 8.7890625), (764, 70.83333333, 43.28703704), (9791, 97.22222222, 68.46635368),
                    (759, 93.75, 4.261363636)),
    ("ws", "16x16"): ((52, 17.578125, 1.809512868), (315, 33.203125, 11.65641622), (1919, 87.5, 39.41441441),
                      (281, 78.125, 1.260080645)),
    ("ws", "4x12"): ((74, 31.25, 6.076388889), (509, 70.83333333, 37.70161290), (6527, 97.22222222, 61.53305204),
                     (607, 78.125, 2.604166667)),
    ("os", "8x4"): ((37, 54.6875, 25.90460526), (674, 82.5, 51.94444444), (9323, 86.80555556, 75.07507508),
                    (399, 12.5, 9.375)),
    ("os", "16x16"): ((38, 13.671875, 3.155048077), (281, 42.96875, 15.54188830), (1879, 68.359375, 46.54255319),
                      (179, 5.208333333, 2.604166667)),
    ("os", "4x12"): ((45, 36.45833333, 14.26630435), (557, 76.38888889, 41.89068100), (6083, 93.48290598, 76.70392286),
                     (175, 20.83333333, 14.20454545)),
    ("is", "8x4"): ((91, 49.21875, 9.46514423), (1025, 64.93055556, 31.67344173), (9151, 96.15384615, 73.96449704),
                    (231, 23.4375, 15.36885246)),
    ("is", "16x16"): ((50, 24.609375, 1.864346591), (395, 36.5234375, 9.018132716), (1855, 78.125, 41.74618321),
                      (171, 5.859375, 2.320544554)),
    ("is", "4x12"): ((68, 43.75, 6.433823529), (569, 77.91666667, 31.80272109), (7039, 83.33333333, 58.92255892),
                     (463, 7.8125, 4.528985507)),
}  # fmt: skip
CONVS = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
c0, 16, 16, 3, 3, 4, 8, 2,
c1, 9, 12, 3, 2, 5, 20, 1,
c2, 14, 14, 1, 1, 32, 24, 2,
"""
CONV_CYCLES_8X8 = {"ws": [429, 1187, 1031], "os": [399, 1319, 1103], "is": [1199, 1679, 1471]}
CONV_READS_8X8 = {
    "ws": ((2304, 6930, 6144), (288, 600, 768), (2560, 6160, 6144)),
    "os": ((2304, 6930, 6144), (2304, 6000, 6144), (512, 1540, 1536)),
    "is": ((2304, 2310, 2048), (2304, 6000, 6144), (2560, 6160, 6144)),
}
"""Its reads of ifmap and filter, and writes of sums (os: those to DRAM; the others count idle slots)."""
CONV_IMAGES, CONV_FILTERS = (1024, 540, 1568), (288, 600, 768)
"""Its reads from DRAM, the same in all dataflows."""
sides = st.integers(1, 70)


def test_equals_scale_sim_on_resnet18() -> None:
    start = time.perf_counter()
    array = SystolicArray(32, 32, "ws", "scalesim")
    found = [array.cycles(layer.m, layer.k, layer.n) for layer in read_topology(RESNET18)]
    assert time.perf_counter() - start < 2
    assert found == RESNET18_WS_32X32


@pytest.mark.parametrize(("dataflow", "size"), GEMMS)
def test_equals_scale_sim_on_products(dataflow: str, size: str) -> None:
    array = SystolicArray.parse(size, dataflow, "scalesim")
    for (m, n, k), (cycles, mapping, compute) in zip(PRODUCTS, GEMMS[dataflow, size], strict=True):
        assert array.cycles(m, k, n) == cycles
        assert 100 * array.mapping_efficiency(m, k, n) == pytest.approx(mapping, rel=1e-8)
        assert 100 * array.compute_utilization(m, k, n) == pytest.approx(compute, rel=1e-8)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_equals_scale_sim_on_convolutions(dataflow: str) -> None:
    array = SystolicArray(8, 8, dataflow, "scalesim")
    found = [array.cycles(layer.m, layer.k, layer.n) for layer in parse_topology(CONVS)]
    assert found == CONV_CYCLES_8X8[dataflow]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_equals_scale_sim_in_what_is_read(dataflow: str) -> None:
    """At the scratchpads, and at DRAM where everything fits; its writes of sums to DRAM are not followed."""
    for k, layer in enumerate(parse_topology(CONVS)):
        run = run_layer(SystolicArray(8, 8, dataflow), layer, BandwidthMemory(10))
        inputs, filters, sums = (figures[k] for figures in CONV_READS_8X8[dataflow])
        assert (run.sram_reads["ifmap"], run.sram_reads["filter"]) == (inputs, filters)
        assert (run.dram_read_bytes["ifmap"], run.dram_read_bytes["filter"]) == (CONV_IMAGES[k], CONV_FILTERS[k])
        assert run.sram_writes["ofmap"] == sums


@given(sides, sides, sides, st.integers(1, 20), st.integers(1, 20), st.sampled_from(DATAFLOWS))
def test_folds_cover_the_product_once(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> None:
    array = SystolicArray(rows, cols, dataflow)
    folds = list(array.folds(m, k, n))
    assert len(folds) == array.fold_count(m, k, n)
    assert sum(f.rows * f.cols * f.stream for f in folds) == m * k * n
    assert len({(f.row_start, f.col_start) for f in folds}) == len(folds)
    assert array.cycles(m, k, n) == sum(array.fold_cycles(f.rows, f.cols, f.stream) for f in folds)
    used = sum(f.rows * f.cols for f in folds) / (len(folds) * rows * cols)
    assert array.mapping_efficiency(m, k, n) == pytest.approx(used)


@given(sides, sides, sides, st.integers(1, 20), st.integers(1, 20), st.sampled_from(DATAFLOWS))
def test_the_modes_agree_where_folds_are_whole(m: int, k: int, n: int, rows: int, cols: int, dataflow: str) -> None:
    exact, theirs = (SystolicArray(rows, cols, dataflow, mode) for mode in ("exact", "scalesim"))
    along_rows, along_cols, _ = exact.spans(m, k, n)
    if along_rows % rows == 0 and along_cols % cols == 0:
        assert exact.cycles(m, k, n) == theirs.cycles(m, k, n) + 1
    else:
        assert exact.cycles(m, k, n) <= theirs.cycles(m, k, n)
    assert exact.compute_utilization(m, k, n) <= 1
    assert exact.cycles(m, k, n) * rows * cols >= m * k * n


def test_a_report_counts_stalls_in_its_total() -> None:
    report = compute_report(SystolicArray(4, 4), Layer("a", 7, 9, 5), stall_cycles=20)
    assert report.total_cycles == SystolicArray(4, 4).cycles(7, 9, 5) + 20
    assert report.overall_util == pytest.approx(315 / (16 * report.total_cycles))
    assert report.overall_util < report.compute_util < report.mapping_efficiency


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["sim", "systolic", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_prints_what_the_library_counts(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run("--topology", str(RESNET18), "--array", "32x32", "--mode", "scalesim", "--json", "--csv", str(out))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [layer["total_cycles"] for layer in found["layers"]] == RESNET18_WS_32X32
    assert found["total_cycles"] == sum(RESNET18_WS_32X32)
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert list(rows[0]) == [
        "LayerName", "Total Cycles", "Stall Cycles", "Overall Util %", "Mapping Efficiency %", "Compute Util %"
    ]  # fmt: skip
    assert [int(row["Total Cycles"]) for row in rows] == RESNET18_WS_32X32
    assert rows[0]["LayerName"] == "conv1"
    table = run("--topology", str(RESNET18), "--array", "8x8", "--dataflow", "os")
    assert table.exit_code == 0
    assert "layer4.0.downsample" in table.stdout
    assert "cycles in all, 0 of them stalls" in table.stdout


def test_the_command_runs_a_memory(tmp_path: Path) -> None:
    path, trace = tmp_path / "t.csv", tmp_path / "t.json"
    path.write_text(CONVS)
    arguments = ("--topology", str(path), "--array", "8x8", "--bandwidth", "2.5", "--latency", "7")
    found = json.loads(run(*arguments, "--scratchpads", "4,4,2", "--json", "--trace", str(trace)).stdout)
    pads = Scratchpads(4096, 4096, 2048)
    for layer, had in zip(parse_topology(CONVS), found["layers"], strict=True):
        wanted = run_layer(SystolicArray(8, 8), layer, BandwidthMemory(2.5, 7), pads)
        assert had.items() >= wanted.counters().items()
        assert had["stall_cycles"] > 0
    events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X" and e["name"] == "compute"]
    assert sum(e["args"]["end_fs"] - e["args"]["begin_fs"] for e in events) == 10**6 * sum(
        layer["compute_cycles"] for layer in found["layers"]
    )
    dram = json.loads(run("--topology", str(path), "--dram", "DDR4_2400R", "--mhz", "500", "--json").stdout)
    assert all(layer["memory_cycles"] > 0 for layer in dram["layers"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--array", "32"], "read the array '32': no rows and columns. Try: 32x32"),
        (["--array", "0x8"], "build a systolic array of 0x8: a side out of range"),
        (["--dataflow", "rs"], "dataflow is 'rs'. Try: ws, os, is"),
        (["--mode", "fast"], "mode is 'fast'. Try: exact, scalesim"),
        (["--bandwidth", "0"], "build a memory: 0.0 bytes a cycle and a latency of 0 cycles"),
        (["--bandwidth", "4", "--dram", "HBM2_2400"], "both --bandwidth and --dram. Try: one of them"),
        (["--latency", "4"], "read --latency: no memory to go with it. Try: --bandwidth 16"),
        (["--trace", "t.json"], "read --trace: no memory to go with it"),
        (["--bandwidth", "4", "--scratchpads", "64,64"], "read the scratchpads '64,64': not three sizes in KiB"),
        (["--bandwidth", "4", "--scratchpads", "0,64,64"], "build scratchpads: ifmap_bytes is 0"),
        (["--bandwidth", "4", "--mode", "scalesim"], "run 'conv1' with a memory: mode 'scalesim', which counts no"),
        (["--dram", "HBM2_2400", "--mhz", "0"], "make a clock: 0.0 MHz. Try: more than 0 MHz"),
        (["--csv", "nowhere/out.csv"], "write nowhere/out.csv: No such file or directory"),
    ],
)
def test_errors_say_what_to_try(arguments: list[str], words: str) -> None:
    result = run("--topology", str(RESNET18), *arguments)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")


def test_a_product_has_sides() -> None:
    with pytest.raises(InputError, match=r"multiply \[0, 4\] by \[4, 4\]: a side below 1"):
        SystolicArray(4, 4).cycles(0, 4, 4)
