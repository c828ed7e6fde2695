"""Machines as data: laws over all presets, overrides, and errors by their words."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from spcomp.encodings.table import ENCODINGS, parse_encoding
from spcomp.errors import InputError, PlanError
from spcomp.plan import Epilogue, KernelCall, KernelPlan, RowRange
from spcomp.sim.machines import MACHINES, load_machine, override, parse_machine
from spcomp.sim.machines.load import expand, merge
from spcomp.sim.machines.plans import refused_calls, require_runnable

EXAMPLES = {
    "dense": "dense", "csr": "csr", "block": "block(rows=8, cols=8)", "nm": "nm(n=1, m=8)", "bitmap": "bitmap",
    "window": "window(width=64)", "transposed": "transposed", "quad": "quad(rows=1)", "split": "split(rows=8, cols=8)",
    "sorted_csr": "sorted_csr", "nm_rest": "nm_rest(n=2, m=4)", "fours": "fours(width=64)",
    "vnm": "vnm(v=64, m=8)", "sell": "sell",
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_every_constant_has_a_source(name: str) -> None:
    machine = load_machine(name)
    without = [key for key, _ in machine.constants() if machine.source(key) is None]
    assert not without
    assert all(len(source.source) > 10 for source in machine.sources)


@pytest.mark.parametrize("name", MACHINES)
def test_every_key_of_a_source_is_there(name: str) -> None:
    machine = load_machine(name)
    keys = [key for key, _ in machine.constants()]
    for source in machine.sources:
        for prefix in source.keys:
            assert any(k == prefix or k.startswith((prefix + ".", prefix + "[")) for k in keys), prefix


@pytest.mark.parametrize("name", MACHINES)
def test_every_encoding_runs_or_is_refused_with_a_reason(name: str) -> None:
    machine = load_machine(name)
    assert set(EXAMPLES) == set(ENCODINGS)
    for kind, text in EXAMPLES.items():
        refusal = machine.refuses(parse_encoding(text))
        if refusal is not None:
            assert name in refusal.reason
            assert kind in refusal.reason
    told = {text.partition("(")[0] for text in machine.encodings.runs} | set(machine.encodings.refuses)
    assert told == set(ENCODINGS)
    assert machine.refuses(parse_encoding("dense")) is None


@pytest.mark.parametrize("name", MACHINES)
def test_round_trip_and_no_change_without_overrides(name: str) -> None:
    machine = load_machine(name)
    assert override(machine, {}) == machine
    assert machine.cycle_fs == pytest.approx(1e9 / machine.clock_mhz, rel=1e-6)


def test_parameters_of_an_encoding_count() -> None:
    stc = load_machine("stc_2_4")
    assert stc.refuses(parse_encoding("nm(n=2, m=4)")) is None
    refusal = stc.refuses(parse_encoding("nm(n=1, m=4)"))
    assert str(refusal) == "stc_2_4 runs nm(n=2, m=4), not nm(n=1, m=4)"
    refusal = stc.refuses(parse_encoding("csr"))
    assert "does not run csr: it selects two of four inputs" in str(refusal)


def test_published_peaks() -> None:
    """Peak rates are not typed in: they follow from units, clock and channels."""
    for name, tflops, gb_s in (("gpu_a100", 312, 2039), ("gpu_h200", 989, 4800)):
        machine = load_machine(name)
        assert machine.gpu is not None
        assert machine.dram is not None
        rate = machine.gpu.sms * machine.gpu.tensor_flops_per_sm_cycle["float16"] * machine.clock_mhz * 1e-6
        assert rate == pytest.approx(tflops, rel=2e-3)
        assert machine.dram.config().peak_bytes_per_second * 1e-9 == pytest.approx(gb_s, rel=1e-3)
    for name in ("dense_tc", "stc_2_4", "stc_flexible", "dual_compressed", "dual_side_sparse"):
        array = load_machine(name).mac_array
        assert array is not None
        assert array.macs == 1024


def test_overrides_are_marked() -> None:
    machine = override(load_machine("gpu_a100"), {"dram.channels": "8", "gpu.sms": 54, "dram.tRCD": 30})
    assert machine.dram is not None
    assert machine.gpu is not None
    assert (machine.dram.config().channels, machine.gpu.sms) == (8, 54)
    assert machine.dram.config().timing["RCDRD"] == 30
    for key in ("dram.channels", "gpu.sms", "dram.settings.tRCD"):
        source = machine.source(key)
        assert source is not None
        assert source.kind == "override", key
    assert machine.source("gpu.l2_bytes").kind == "vendor"  # type: ignore[union-attr]
    assert load_machine("gpu_a100").gpu.sms == 108  # type: ignore[union-attr]


def test_override_in_a_list_and_of_one_core() -> None:
    machine = override(load_machine("cached_cpu"), {"cache.levels[1].ways": 8, "cores.core[1].fma_units": 1})
    assert machine.cache is not None
    assert [level.ways for level in machine.cache.levels] == [12, 8, 16]
    assert [core.fma_units for core in machine.cores.values()] == [2, 1]


def test_a_file_begins_from_a_preset() -> None:
    machine = parse_machine("preset: gpu_a100\nname: half\ngpu: {sms: 54}\n")
    assert machine.gpu is not None
    assert (machine.name, machine.gpu.sms, machine.gpu.l2_bytes) == ("half", 54, 40 << 20)
    assert machine.source("gpu.sms").kind == "override"  # type: ignore[union-attr]


def test_ranges() -> None:
    assert list(expand({"core[0..127]": 1}, "x")) == [f"core[{k}]" for k in range(128)]
    grid = expand({"tile[0..1].core[0..1]": {"a": 1}, "tile[1].core[0]": {"b": 2}}, "x")
    assert grid["tile[1].core[0]"] == {"a": 1, "b": 2}
    assert len(grid) == 4
    grid["tile[0].core[0]"]["a"] = 9
    assert grid["tile[0].core[1]"]["a"] == 1, "each has its own"
    assert expand({"core[0]": 5, "core[0..1]": 1}, "x") == {"core[0]": 5, "core[1]": 1}


def test_merge_replaces_what_has_another_preset() -> None:
    assert merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}) == {"a": {"x": 1, "y": 3}}
    assert merge({"d": {"preset": "A", "CL": 1}}, {"d": {"preset": "B"}}) == {"d": {"preset": "B"}}


ERRORS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("gpu_a100", {"dram.chanels": 8}, "set chanels of HBM2_2400: no setting or timing of that name. Try: channels"),
    ("gpu_a100", {"gpu.sm": 8}, "unknown key gpu.sm. Try: sms (others: "),
    ("gpu_a100", {"gpux.sms": 8}, "gpu_a100 has no 'gpux'. Try: gpu (others: "),
    ("gpu_a100", {"gpu.sms.x": 8}, "gpu.sms is a value and has no parts"),
    ("gpu_a100", {"gpu.tiles[9]": [1, 1]}, "there is no [9] in it"),
    ("gpu_a100", {"gpu.sms": "many"}, "gpu.sms is 'many'. Try: input should be a valid integer"),
    ("gpu_a100", {"gpu.launch_ns": -1}, "gpu.launch_ns is -1. Try: input should be greater than or equal to 0"),
    ("gpu_a100", {"gpu.tensor_efficiency": 1.5}, "gpu.tensor_efficiency is 1.5"),
    ("gpu_a100", {"gpu.tensor_flops_per_sm_cycle": {"float15": 1}}, "no dtype of that name. Try: float16"),
    ("gpu_a100", {"dram.channels": 0}, "dram.channels is 0"),
    ("gpu_a100", {"dram.preset": "HBM2_240"}, "find the DRAM preset 'HBM2_240'"),
    ("gpu_a100", {"dram..x": 1}, "'' is no part of a key"),
    ("gpu_a100", {"energy": ["hbm"]}, "find the energy table 'hbm': no table of that name. Try: hbm2_dram"),
    ("gpu_a100", {"encodings.runs": ["csx"]}, "list the encoding 'csx': no encoding of that name. Try: csr"),
    ("cached_cpu", {"cache.levels[0].ways": 7}, "109.714 sets, no power of two"),
    ("cached_cpu", {"cache.levels[0].ways": 0}, "cache.levels[0].ways is 0"),
    ("cached_cpu", {"cache.levels[0].latency_cycles": -1}, "cache.levels[0].latency_cycles is -1"),
    ("cached_cpu", {"cache.levels[0].way": 1}, "unknown key cache.levels[0].way. Try: ways (others: "),
    ("systolic_ws", {"systolic.dataflow": "rs"}, "systolic.dataflow is 'rs'. Try: input should be 'ws', 'os' or 'is'"),
    ("dense_tc", {"mac_array.output_tile": 24}, "output_tile is 24, with 16 rows. Try: output_tile="),
    ("dual_side_sparse", {"mac_array.token_tile": 24}, "token_tile is 24, with 16 lanes"),
    ("stc_2_4", {"mac_array.output_tile": 32}, "output_tile is 32. Try: output_tile=16, one weight a row"),
    ("stc_2_4", {"mac_array": None}, "nothing in it computes. Try: one of cores, systolic"),
)


@pytest.mark.parametrize(("name", "settings", "words"), ERRORS)
def test_errors_of_overrides(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        override(load_machine(name), settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("preset: gpu_a10", "find the machine 'gpu_a10': no machine of that name. Try: gpu_a100"),
        ("preset: gpu_a100\ngpu: {smss: 3}", "read the machine machine: unknown key gpu.smss. Try: sms"),
        ("preset: gpu_a100\ncach: {}", "unknown key cach. Try: cache"),
        ("a: [", "it is no YAML"),
        ("- 1", "it is no mapping of keys"),
        ("name: x", "description is missing"),
        ("preset: cached_cpu\ncores: {'core[5..2]': {}}", "the range in 'core[5..2]' is empty or too long"),
        ("preset: cached_cpu\ncores: {'core[0..99999999]': {}}", "is empty or too long"),
        ("name: !!python/object/apply:os.system [true]", "it is no YAML"),
    ],
)
def test_errors_of_files(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        parse_machine(text)


def test_a_plan_that_a_machine_cannot_run() -> None:
    call = KernelCall(
        layer="encoder.fc1", slot=0, rows=RowRange(1, None), n=8, k=8, dtype="float32", encoding=parse_encoding("csr"),
        nonzeros=4, stored=4, weight_nbytes=64, packed="", epilogue=Epilogue(), backend="reference", target="reference",
    )  # fmt: skip
    plan = KernelPlan((replace(call, layer="first", encoding=parse_encoding("dense")), call))
    require_runnable(load_machine("stc_flexible"), plan)
    assert [refused.layer for refused, _ in refused_calls(load_machine("stc_2_4"), plan)] == ["encoder.fc1"]
    words = r"run encoder.fc1 \(rows 1\+\) on stc_2_4: stc_2_4 does not run csr: .* Try: .* as nm\(n=2, m=4\) or dense"
    with pytest.raises(PlanError, match=words):
        require_runnable(load_machine("stc_2_4"), plan)
