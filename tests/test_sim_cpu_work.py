"""Work of a core between accesses: units side by side, surprises, chains."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from spcomp.encodings.csr import Csr
from spcomp.encodings.sorted_csr import SortedCsr
from spcomp.sim import cpu_streams as st
from spcomp.sim.cpu import costs
from spcomp.sim.cpu_calls import Walk, walk_call
from spcomp.sim.machines.load import override
from tests.test_sim_cpu import AT, CPU, call_of, weights


@given(some.lists(some.integers(0, 60), min_size=4, max_size=4), some.integers(100, 1600))
def test_units_side_by_side_take_more_than_the_busiest_and_less_than_one_after_the_other(
    counts: list[int], exponent: int
) -> None:
    cost = costs(next(iter(CPU.cores.values())))
    cost[st.C_OVERLAP] = cost[st.C_PERMUTED] = exponent
    vectors, permutes, loads, stores = counts
    alone = [max(vectors * cost[st.C_VECTOR], permutes * cost[st.C_PERMUTE]), loads * cost[st.C_LOAD]]
    alone.append(stores * cost[st.C_STORE])
    found = st.ports(cost, *counts)
    assert max(alone) - 1 <= found <= sum(alone) + 1
    cost[st.C_OVERLAP] = cost[st.C_PERMUTED] = 100
    assert st.ports(cost, *counts) == sum(alone)


def test_work_with_permutes_has_an_exponent_of_its_own() -> None:
    cost = costs(next(iter(override(CPU, {"cores.core[0].permute_overlap": 16}).cores.values())))
    plain, permuted = st.ports(cost, 16, 0, 16, 0), st.ports(cost, 16, 8, 16, 0)
    assert plain == round(8 * st.TICKS * 2**0.5), "an exponent of two: neither waits for the other"
    assert permuted == round(8 * st.TICKS * 2 ** (1 / 16))


def test_surprises_cost_also_where_units_have_work_left() -> None:
    cost, state = costs(next(iter(CPU.cores.values()))), np.zeros(st.STATES, np.int64)
    penalty = int(cost[st.C_SURPRISE])
    assert st.lost(cost, state, 60, 1, 10 * penalty) == 0, "an end that is remembered"
    state[st.S_MISSED] = st.THOUSANDTHS
    assert st.lost(cost, state, 60, 1, 10 * penalty) == penalty, "ten times the work hides instructions only"
    assert st.lost(cost, state, 60, 1, 0) == penalty + 60 * cost[st.C_ISSUE]
    assert st.lost(cost, state, 60, 0, 0) == 60 * cost[st.C_ISSUE]
    state[st.S_MISSED] = 500
    assert st.lost(cost, state, 60, 3, 0) == 3 * penalty // 2 + 60 * cost[st.C_ISSUE]
    assert (state[st.S_SURPRISES], state[st.S_ENDS]) == (3500, 5)
    assert state[st.S_LOST] == 2 * penalty + 3 * penalty // 2


@given(some.integers(1, 200_000), some.integers(1, 20_000))
def test_what_a_table_that_gives_up_at_random_forgets(ends: int, learned: int) -> None:
    share = st.missed(ends, learned)
    assert 0 <= share <= 1
    assert share == pytest.approx(1 - exp(-share * ends / learned), abs=0.01)
    assert st.missed(ends + 1000, learned) >= share >= st.missed(ends, learned + 1000)


def test_a_table_that_is_simulated_forgets_as_much() -> None:
    draw, places, ends = np.random.default_rng(0), 500, 900
    table = np.full(places, -1)
    misses = 0
    for turn in range(40):
        for end in range(ends):
            if not (table == end).any():
                misses += turn >= 20
                table[draw.integers(places)] = end
    assert misses / (20 * ends) == pytest.approx(st.missed(ends, places), abs=0.02)


def test_an_order_of_rows_that_was_seen_is_remembered_until_too_many_came_between() -> None:
    call, packed = call_of(Csr(64), weights(256, 256, 0.2, 3), (("tiles", 1),))
    for learned, first, second in ((100_000, 1.0, 0.0), (1, 1.0, 1.0)):
        core = override(CPU, {"cores.core[0].learned_ends": learned}).cores["core[0]"]
        walk, seen = Walk(costs(core)), [0]
        for _ in range(2):
            for _ in walk_call(walk, call, 16, packed, AT):
                walk.n = 0
            seen.append(int(walk.state[st.S_SURPRISES]))
        once, again = np.diff(seen)
        assert once > 4 * 256 * st.THOUSANDTHS / 2, "rows of random lengths"
        assert again == pytest.approx(second / first * once, rel=0.1)


def test_rows_overlap_as_far_as_the_window_reaches() -> None:
    """A row of n nonzeros is a chain of n multiply-adds: in a small window rows wait for it, in a large one for loads.

    One tile, so that chains are longer than loads.
    """
    works = []
    for window in (1, 64, 512, 1 << 16):
        core = override(CPU, {"cores.core[0].window_instructions": window}).cores["core[0]"]
        call, packed = call_of(Csr(256), weights(64, 256, 1.0, 0), (("tiles", 1),))
        walk = Walk(costs(core))
        ticks = 0
        for blocks in (walk_call(walk, call, 16, packed, AT), walk.flush()):
            ticks += sum(int(walk.gap[:n].sum()) for n in blocks)
        works.append(ticks)
    assert works == sorted(works, reverse=True)
    chain = 64 * 256 * 4 * st.TICKS
    assert works[0] >= 0.95 * chain
    assert works[-1] < 0.7 * chain


def test_chains_of_rows_together_run_side_by_side() -> None:
    """In a window of nothing three rows together wait for one chain, where rows one by one wait for three."""
    core = override(CPU, {"cores.core[0].window_instructions": 1}).cores["core[0]"]
    found = []
    for encoding in (Csr(48), SortedCsr(48, 128)):
        call, packed = call_of(encoding, weights(120, 48, 1.0, 0), (("tiles", 1),))
        walk, ticks = Walk(costs(core)), 0
        for blocks in (walk_call(walk, call, 16, packed, AT), walk.flush()):
            ticks += sum(int(walk.gap[:n].sum()) for n in blocks)
        found.append((ticks, int(walk.state[st.S_ENDS])))
    (apart, rows), (together, groups) = found
    assert (rows, groups) == (120, 40)
    assert apart - together == pytest.approx(80 * 48 * 4 * st.TICKS, rel=0.15)
