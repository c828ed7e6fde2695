"""DRAM: the reference simulator's figures, laws, and errors by their words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.parts.dram import Dram, DramConfig, DramResult, preset, presets
from spcomp.sim.parts.dram_map import MAPPERS, locate
from spcomp.sim.parts.dram_rules import CONSTRAINTS, STANDARDS, build_rules, evaluate
from tests.sim_reference import DRAM_CSV, dram_rows, dram_trace

ROWS = dram_rows()
SMALL = 2000


def run(config: DramConfig, addresses: np.ndarray, writes: np.ndarray | None = None) -> DramResult:
    memory = Dram(config)
    memory.feed(addresses, writes)
    return memory.drain()


def same(a: DramResult, b: DramResult) -> bool:
    arrays = ("accept_cycle", "issue_cycle", "completion_cycle")
    return a.counters() == b.counters() and all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in arrays)


@pytest.mark.skipif(not ROWS, reason=f"{DRAM_CSV.name} is not here")
@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['preset']}-{r['kind']}-{r['write_fraction']}")
def test_equals_the_reference(row: dict[str, str]) -> None:
    addresses, writes = dram_trace(row["kind"], int(row["n"]), int(row["seed"]), float(row["write_fraction"]))
    memory = Dram(preset(row["preset"]))
    memory.feed(addresses, writes)
    result = memory.result()
    wanted = [int(row[k]) for k in ("cycles", "row_hits", "row_misses", "row_conflicts", "reads", "writes")]
    found = [result.accepted_cycles, result.row_hits, result.row_misses, result.row_conflicts, result.reads]
    assert [*found, result.writes] == wanted
    # the reference counts from the cycle before the first in which a request can be served
    assert result.average_read_latency_cycles + 1 == pytest.approx(float(row["avg_read_latency"]), rel=1e-3)


# Ramulator 2.1, 20,000 requests, seed 5: kind, write fraction; cycles, hits, misses, conflicts
OTHERS: list[tuple[str, dict[str, str | int], str, float, int]] = [
    ("DDR4_3200AA", {}, "csr", 0.4, 141478),
    ("DDR4_2400R", {"mapper": "ChRaBaRoCo"}, "csr", 0.4, 509593),
    ("DDR4_2400R", {"mapper": "MOP4CLXOR"}, "random", 0.4, 141332),
    ("DDR4_2400R", {"ranks": 2}, "csr", 0.4, 117298),
    ("DDR4_2400R", {"channels": 2, "front_end": "in_order"}, "csr", 0.4, 60761),
    ("DDR5_4800", {}, "csr", 0.4, 284139),
    ("HBM2_2400", {"mapper": "MOP4CLXOR"}, "csr", 0.4, 57014),
    ("HBM3_6400", {}, "csr", 0.4, 109556),
    ("HBM3_6400", {"stacks": 1, "rows": 16384}, "random", 0.4, 194639),
    ("LPDDR5_6400", {"mapper": "MOP4CLXOR"}, "csr", 0.4, 87939),
]


@pytest.mark.parametrize(("name", "changes", "kind", "write_fraction", "cycles"), OTHERS)
def test_equals_the_reference_on_what_the_table_lacks(
    name: str, changes: dict[str, str | int], kind: str, write_fraction: float, cycles: int
) -> None:
    memory = Dram(preset(name).with_settings(changes))
    memory.feed(*dram_trace(kind, 20000, 5, write_fraction))
    assert memory.result().accepted_cycles == cycles


def test_longer_queues_take_in_as_many_as_they_hold_and_cost_no_cycles() -> None:
    """Beyond 32 requests the controller is compiled for queues of another length."""
    addresses, writes = dram_trace("csr", SMALL, 3, 0.3)
    cycles = []
    for places in (5, 32, 100):
        config = preset("DDR4_2400R").with_settings({"read_queue": places, "write_queue": places, "log_commands": 9999})
        r = run(config, addresses, writes)
        cycles.append(r.cycles)
        assert (r.completion_cycle > r.accept_cycle).all()
        waiting = r.issue_cycle[~writes]
        inside = [int((waiting[:k] > r.accept_cycle[~writes][k]).sum()) for k in range(0, len(waiting), 50)]
        # those whose row was opened for them wait beside the queue
        assert places - 1 <= max(inside) <= places + config.banks_per_channel
        assert [c.name for c in r.commands].count("ACT") == r.activates
    assert cycles[0] > cycles[1] > cycles[2]


@pytest.mark.parametrize("name", presets())
def test_idle_latency_is_activate_to_read_plus_read_plus_burst(name: str) -> None:
    config = preset(name).with_settings({"refresh": "none", "clock_sync": False})
    memory = Dram(config)
    memory.feed([4096], arrival_fs=[10**9])
    result = memory.drain()
    t = config.timing
    # HBM: an activation takes more than one cycle to send and counts from its last; reads start on whole clocks
    extra = {"HBM2": 1, "HBM3": 2}.get(config.standard.name, 0)
    clocks = config.standard.ticks_per_clock
    assert result.average_read_latency_cycles == (t["RCDRD"] + t["CL"] + t["BL"]) * clocks + extra
    assert result.completion_cycle[0] - result.accept_cycle[0] == result.read_latency_cycles
    assert result.accept_cycle[0] * config.cycle_fs >= 10**9


def test_a_row_hit_waits_for_the_column_and_a_conflict_for_precharge_and_activate() -> None:
    config = preset("DDR4_2400R").with_settings({"refresh": "none"})
    t = config.timing
    row = config.banks_per_channel * config.columns * 64
    for second, clocks in ((64, t["CL"] + t["BL"]), (row, t["RP"] + t["RCD"] + t["CL"] + t["BL"])):
        memory = Dram(config)
        memory.feed([0, second], arrival_fs=[0, 10**9])
        result = memory.drain()
        assert result.completion_cycle[1] - result.accept_cycle[1] == clocks


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"row_policy": "closed"},
        {"channels": 3, "row_policy": "timeout"},
        {"channels": 2, "front_end": "in_order", "accept_per_cycle": 2, "xor": True},
    ],
)
def test_pieces_are_the_whole_and_runs_repeat(name: str, settings_: dict[str, str | int]) -> None:
    config = preset(name).with_settings(settings_)
    addresses, writes = dram_trace("csr", SMALL, 3, 0.3)
    arrival = np.cumsum(np.random.default_rng(1).integers(0, 30, SMALL)) * config.cycle_fs
    whole, pieces = Dram(config), Dram(config)
    whole.feed(addresses, writes, arrival)
    for low, high in ((0, 1), (1, 700), (700, 701), (701, 701), (701, SMALL)):
        pieces.feed(addresses[low:high], writes[low:high], arrival[low:high])
    first = whole.drain()
    assert same(first, pieces.drain())
    again = Dram(config)
    again.feed(addresses, writes, arrival)
    assert same(first, again.drain())


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("kind", ["seq", "random", "csr"])
def test_counts_add_up(name: str, kind: str) -> None:
    config = preset(name)
    addresses, writes = dram_trace(kind, SMALL, 7, 0.4)
    r = run(config, addresses, writes)
    assert r.bytes == SMALL * config.transaction_bytes
    assert r.reads + r.writes == SMALL == r.finished_reads + r.writes
    served = SMALL - r.forwarded_reads - r.merged_writes
    assert r.row_hits + r.row_misses + r.row_conflicts == served
    assert r.data_bus_busy_cycles == served * config.cycles("BL")
    assert (r.completion_cycle > r.issue_cycle).all()
    assert (r.issue_cycle >= r.accept_cycle).all()
    assert r.cycles == r.completion_cycle.max()
    buses = config.ranks if config.standard.bus_level == "rank" else 1
    assert r.data_bus_busy_cycles <= buses * r.cycles
    assert 0 <= r.activates - r.precharges <= config.banks_per_channel
    assert r.bandwidth_gb_s * 1e9 <= config.peak_bytes_per_second


@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("kind", ["seq", "random", "csr"])
def test_more_channels_never_cost_cycles(name: str, kind: str) -> None:
    addresses, writes = dram_trace(kind, SMALL, 5, 0.25)
    cycles = [run(preset(name).with_settings({"channels": n}), addresses, writes).cycles for n in (1, 2, 8)]
    assert cycles[0] >= cycles[1] >= cycles[2]
    if kind == "seq":
        assert cycles[2] < cycles[0] / 3


@pytest.mark.parametrize("name", presets())
def test_at_low_rates_reads_take_the_idle_latency_but_for_refresh(name: str) -> None:
    config = preset(name).with_settings({"row_policy": "closed", "refresh": "none", "clock_sync": False})
    n = 64
    addresses = np.random.default_rng(0).integers(0, 1 << 24, n) * 64
    memory = Dram(config)
    memory.feed(addresses, arrival_fs=np.arange(n) * 10**9)
    waits = memory.drain()
    latency = waits.completion_cycle - waits.accept_cycle
    assert latency.max() == latency.min()
    assert waits.row_misses == n
    assert waits.accept_cycle.tolist() == [-(-k * 10**9 // config.cycle_fs) for k in range(n)]


def test_activate_to_read_delay_moves_exactly_the_reads_that_wait_for_it() -> None:
    base = preset("DDR4_2400R").with_settings({"refresh": "none"})
    slower = base.with_settings({"tRCD": 20})
    row = base.banks_per_channel * base.columns * 64
    addresses = np.array([0, 64, 128, row, row + 64])
    arrival = np.arange(5) * 10**9
    made = []
    for config in (base, slower):
        memory = Dram(config)
        memory.feed(addresses, arrival_fs=arrival)
        made.append(memory.drain().completion_cycle)
    assert (made[1] - made[0]).tolist() == [4, 0, 0, 4, 0]


def test_commands_keep_the_table() -> None:
    """Each logged command keeps every constraint of the table, checked pair by pair without the kernel."""
    config = preset("DDR4_2400R").with_settings({"log_commands": 10**5})
    log = run(config, *dram_trace("csr", 1500, 2, 0.4)).commands
    shape = {n: getattr(config, n) for n in ("ranks", "stacks", "groups", "banks")}
    spans = {"bank": 1, "group": 4, "stack": 16, "rank": 16, "bus": 16, "channel": 16}
    assert build_rules(config.standard, config.timing, shape).deepest == 4
    assert len({c.cycle for c in log}) == len(log), "one command a cycle"
    for rule in CONSTRAINTS:
        cycles = evaluate(rule.cycles, config.timing)
        if cycles is None or rule.siblings:
            continue
        seen: dict[int, list[int]] = {}
        for c in log:
            node = c.bank // spans[rule.level]
            past = seen.setdefault(node, [])
            if c.name in rule.after.split() and len(past) >= rule.window:
                assert c.cycle - past[-rule.window] >= cycles, (rule, c)
            if c.name in rule.before.split():
                past.append(c.cycle)
    rows: dict[int, int] = {}
    for c in log:
        if c.name == "ACT":
            assert c.bank not in rows
            rows[c.bank] = c.row
        elif c.name == "PRE":
            del rows[c.bank]
        elif c.name == "PREA":
            rows.clear()
        elif c.name == "REFA":
            assert not rows
        else:
            assert c.bank in rows


@pytest.mark.parametrize(("name", "refresh"), [(n, r) for n in presets() for r in ("all_bank", "per_bank")])
def test_refresh_comes_as_often_as_it_must(name: str, refresh: str) -> None:
    if refresh == "per_bank" and not preset(name).standard.per_bank_refresh:
        pytest.skip("no refresh of single banks")
    config = preset(name).with_settings({"refresh": refresh})
    memory = Dram(config)
    end = 20 * config.timing["REFI"] * config.clock_fs
    memory.feed([0, 64], arrival_fs=[0, end])
    interval = config.cycles("REFI" if refresh == "all_bank" else "REFIPB")
    due = end // config.cycle_fs // interval * config.ranks
    assert abs(memory.drain().refreshes - due) <= config.ranks


def test_a_read_of_a_queued_write_is_answered_and_an_equal_write_merged() -> None:
    config = preset("DDR4_2400R").with_settings({"accept_per_cycle": 4})
    memory = Dram(config)
    memory.feed([0, 64, 64, 64], [False, True, False, True])
    result = memory.drain()
    assert (result.forwarded_reads, result.merged_writes) == (1, 1)
    assert result.completion_cycle[2] == result.accept_cycle[2] + 1
    assert result.bytes == 4 * 64


@given(st.sampled_from(sorted(MAPPERS)), st.sampled_from(presets()), st.sampled_from([1, 2, 3, 8]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_mappers_are_one_to_one(mapper: str, name: str, channels: int, xor: bool) -> None:
    c = preset(name)
    sizes = {"channel": channels, "rank": c.ranks, "stack": c.stacks, "group": c.groups, "bank": c.banks, "row": 64}
    sizes["column"] = c.columns
    n = channels * c.banks_per_channel * 64 * c.columns
    addresses = np.arange(0, n, max(1, n // 50000)) * c.transaction_bytes
    p = locate(addresses, mapper, sizes, c.transaction_bytes, 0, xor)
    assert (p.channel < channels).all()
    assert (p.bank < c.banks_per_channel).all()
    assert (p.row < 64).all()
    places = (p.channel * c.banks_per_channel + p.bank) * 64 + p.row
    whole = locate(np.arange(n)[: 1 << 18] * c.transaction_bytes, mapper, sizes, c.transaction_bytes, 0, xor)
    used = np.bincount((whole.channel * c.banks_per_channel + whole.bank) * 64 + whole.row)
    assert used.max() <= c.columns
    assert places.max() < channels * c.banks_per_channel * 64


def test_interleaving_keeps_bytes_together() -> None:
    config = preset("DDR4_2400R").with_settings({"channels": 2, "interleave_bytes": 256, "log_commands": 100})
    log = run(config, np.arange(16) * 64).commands
    assert [c.channel for c in log if c.name == "RD"].count(1) == 8
    first = run(config, np.arange(4) * 64).commands
    assert {c.channel for c in first} == {0}


def test_every_constant_has_a_source() -> None:
    for name in presets():
        config = preset(name)
        assert set(config.sources) == set(config.timing)
        assert all(s.source and s.kind in ("standard", "derived", "assumed") for s in config.sources.values())
    assert {preset(n).standard.name for n in presets()} == set(STANDARDS)
    changed = preset("HBM2_2400").with_settings({"RCD": 20})
    assert (changed.timing["RCDRD"], changed.timing["RCDWR"]) == (20, 20)
    assert changed.sources["RCDRD"].kind == "override"


ERRORS = [
    ({"chanels": 2}, "no setting or timing of that name. Try: channels"),
    ({"tRDC": 2}, "no setting or timing of that name. Try: RC"),
    ({"channels": "two"}, "it takes a value of type int"),
    ({"channels": 0}, "channels is 0. Try: channels of at least 1"),
    ({"banks": 3}, "banks is 3, no power of two"),
    ({"read_queue": 5000}, "read_queue is 5000. Try: read_queue of at most 4096"),
    ({"mapper": "RoBaRaCoC"}, "mapper is 'RoBaRaCoC'. Try: RoBaRaCoCh"),
    ({"RCD": -1}, "the timing RCD.* is negative"),
    ({"refresh": "per_bank"}, "DDR4 has no refresh of single banks"),
    ({"REFI": 100}, "REFI 100 is no longer than RFC 433"),
    ({"interleave_bytes": 96}, "interleave_bytes is 96, with transactions of 64 bytes"),
    ({"low_watermark": 0.9}, "watermarks 0.9 and 0.8"),
]


@pytest.mark.parametrize(("changes", "words"), ERRORS, ids=lambda v: str(v)[:20])
def test_errors_of_settings(changes: dict[str, str | int | float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        preset("DDR4_2400R").with_settings(changes)


def test_errors_of_requests() -> None:
    memory = Dram(preset("DDR4_2400R"))
    with pytest.raises(InputError, match=r"a negative arrival time \(-5 fs\)"):
        memory.feed([0], arrival_fs=[-5])
    with pytest.raises(InputError, match="arrival times that go back"):
        memory.feed([0, 64], arrival_fs=[10**7, 0])
    with pytest.raises(InputError, match="2 addresses, 1 write flags, 2 arrival times"):
        memory.feed([0, 64], [True])
    with pytest.raises(InputError, match=r"a negative one \(-64\)"):
        memory.feed([-64])
    with pytest.raises(InputError, match=r"arrival times of type float64\. Try: integer femtoseconds"):
        memory.feed([0], arrival_fs=[0.5])
    with pytest.raises(InputError, match=r"find the DRAM preset 'DDR4_2400X': no preset of that name. Try: DDR4_2400R"):
        preset("DDR4_2400X")
