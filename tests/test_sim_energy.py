"""Energy: tables with sources, exact sums, DRAM by event, errors by their words."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.energy import KINDS, SCOPES, UNITS, Count, area_mm2, charge, load_table, parse_table, tables
from spcomp.sim.energy_dram import dram_counts
from spcomp.sim.parts.dram import Dram, preset

CHIP = load_table("horowitz_45nm")
NO_SOURCE = "entries: [{unit: pJ, source: '', kind: paper, scope: dynamic, values: {a: 1}}]"
NO_KIND = "entries: [{unit: pJ, source: s, kind: guess, scope: dynamic, values: {a: 1}}]"
GROUP = "entries: [{unit: %s, source: s, kind: paper, scope: dynamic, values: {add: %s}}]"


@pytest.mark.parametrize("name", tables())
def test_every_entry_has_value_unit_source_kind_and_node(name: str) -> None:
    table = load_table(name)
    assert table.entries
    assert re.search(r"\d", table.node), "no technology node"
    for entry in [*table.entries.values(), *table.area_mm2.values()]:
        assert len(entry.source) > 10
        assert entry.kind in KINDS
        assert entry.scope in SCOPES
        assert entry.value >= 0
        assert entry.unit in UNITS or entry.unit == "mm2"


@given(st.data(), st.sampled_from(tables()))
@settings(max_examples=60, deadline=None)
def test_parts_add_up_to_the_femtojoule(data: st.DataObject, name: str) -> None:
    table = load_table(name)
    actions = data.draw(st.lists(st.sampled_from(sorted(table.entries)), max_size=20))
    counts = [Count(a, data.draw(st.integers(0, 10**15)), table.entries[a].of) for a in actions]
    report = charge(counts, [table])
    assert all(type(line.energy_fj) is int for line in report.lines)
    assert sum(report.scopes().values()) == report.total_fj == sum(line.energy_fj for line in report.lines)
    exact = sum((c.amount * table.entries[c.action].femtojoules for c in counts), Fraction(0))
    assert abs(report.total_fj - exact) <= Fraction(len(counts), 2)


def test_horowitz_by_hand() -> None:
    report = charge([Count("add_int8", 100), Count("mul_float32", 3)], [load_table("horowitz_45nm")])
    assert [line.energy_fj for line in report.lines] == [3000, 11100]


def test_units() -> None:
    table = parse_table("t", GROUP % ("pJ/bit", 2))
    assert charge([Count("add", 3, "byte")], [table]).total_fj == 48000
    watts = parse_table("t", GROUP % ("mW", 66))
    assert charge([Count("add", 10**15, "fs")], [watts]).total_fj == 66 * 10**12, "66 mW for a second are 66 mJ"
    rows = parse_table("t", GROUP % ("pJ/KiB", 909))
    assert charge([Count("add", 2048, "byte")], [rows]).total_fj == 1_818_000


def test_the_first_table_that_knows_an_action_is_asked() -> None:
    first, second = parse_table("a", GROUP % ("pJ", 1)), parse_table("b", GROUP % ("pJ", 2))
    assert charge([Count("add", 1)], [first, second]).lines[0].table == "a"


def test_dram_by_event() -> None:
    """Few rows open, many bits: a scattered stream of the same bytes pays for its activations."""
    table = load_table("hbm2_dram")
    config = preset("HBM2_2400")
    found = {}
    for name, addresses in (
        ("stream", np.arange(4096) * 32),
        ("scatter", np.random.default_rng(0).integers(0, 1 << 22, 4096) * 32),
    ):
        memory = Dram(config)
        memory.feed(addresses)
        result = memory.drain()
        report = charge(dram_counts(result, config), [table])
        by = {line.action: line.energy_fj for line in report.lines}
        assert by["dram_activate"] == result.activates * 909_000
        moved = sum(by[a] for a in ("dram_cell", "dram_column", "dram_bank_group_io", "dram_tsv", "dram_interposer"))
        assert moved == 4096 * 256 * 3480, "3.48 pJ a bit beside the activation"
        assert by["dram_background"] == round(result.time_fs * 0.066)
        assert set(report.scopes()) == {"dynamic", "static", "dram"}
        assert report.scopes()["dram"] == report.total_fj
        found[name] = report.total_fj
    assert found["scatter"] > 1.5 * found["stream"]


def test_bits_that_stay_near_cost_less() -> None:
    config = preset("HBM2_2400")
    memory = Dram(config)
    memory.feed(np.arange(4096) * 32)
    result = memory.drain()
    totals = [
        charge(dram_counts(result, config, d), [load_table("hbm2_dram")]).total_fj
        for d in ("bank", "bank_group", "buffer_die", "host")
    ]
    assert totals == sorted(totals)
    bits = 4096 * 256
    assert [b - a for a, b in itertools.pairwise(totals)] == [bits * 1010, bits * 1730, bits * 300]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: load_table("horowitz"), "find the energy table 'horowitz': no table of that name. Try: horowitz_45nm"),
        (lambda: charge([Count("add_int9", 1)], [CHIP]), "no action of that name in horowitz_45nm. Try: add_int"),
        (lambda: charge([Count("add_int8", -1)], [CHIP]), "a count of -1"),
        (lambda: charge([Count("add_int8", 1, "fs")], [CHIP]), "it counts fss, and the table has pJ. Try: "),
        (lambda: charge([Count("add_int8", 1, "byt")], [CHIP]), "it is counted in 'byt'. Try: byte"),
        (lambda: parse_table("t", GROUP % ("pj", 1)), "unit is 'pj'. Try: "),
        (lambda: parse_table("t", GROUP % ("pJ", -1)), "add is -1. Try: a number of 0 or more"),
        (lambda: parse_table("t", GROUP % ("pJ", "yes")), "add is True"),
        (lambda: parse_table("t", NO_SOURCE), "a have no source"),
        (lambda: parse_table("t", NO_KIND), "kind is 'guess'"),
        (lambda: parse_table("t", "nodes: 1\nentries: []"), "unknown key 'nodes'. Try: node"),
        (lambda: parse_table("t", "a: [1"), "it is no YAML"),
        (lambda: parse_table("t", "3"), "it has no list of entries"),
        (lambda: parse_table("t", "entries: [!!python/object/apply:os.system [true]]"), "it is no YAML"),
    ],
)  # fmt: skip
def test_errors(call: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()  # type: ignore[operator]


def test_destination_error() -> None:
    config = preset("HBM2_2400")
    with pytest.raises(InputError, match=r"bits go to 'hots'\. Try: host"):
        dram_counts(Dram(config).drain(), config, "hots")


def test_area() -> None:
    """The artifact's own total for the flexible array: 3.14 mm2."""
    table = load_table("sparseloop_stc")
    parts = {"mac": 1024, "register": 1024, "accumulator": 4, "buffer": 1}
    assert area_mm2(parts, table) == pytest.approx(3.14, abs=0.005)
    with pytest.raises(InputError, match=r"sparseloop_stc has none\. Try: mac "):
        area_mm2({"macs": 1}, table)
