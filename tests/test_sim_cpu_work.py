"""Work of a core between accesses: units side by side, surprises, chains."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from spcomp.encodings.csr import Csr
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
    cost[st.C_OVERLAP] = exponent
    vectors, permutes, loads, stores = counts
    alone = [max(vectors * cost[st.C_VECTOR], permutes * cost[st.C_PERMUTE]), loads * cost[st.C_LOAD]]
    alone.append(stores * cost[st.C_STORE])
    found = st.ports(cost, *counts)
    assert max(alone) - 1 <= found <= sum(alone) + 1
    cost[st.C_OVERLAP] = 100
    assert st.ports(cost, *counts) == sum(alone)


def test_surprises_cost_where_units_have_nothing_left_to_do() -> None:
    cost, state = costs(next(iter(CPU.cores.values()))), np.zeros(st.STATES, np.int64)
    penalty = int(cost[st.C_SURPRISE])
    assert st.lost(cost, state, 60, 1, 10 * penalty) == 0, "hidden behind ten times the work"
    assert st.lost(cost, state, 60, 1, 0) == penalty + 60 * cost[st.C_ISSUE]
    assert st.lost(cost, state, 60, 0, 0) == 60 * cost[st.C_ISSUE]
    assert state[st.S_SURPRISES] == 2
    assert state[st.S_LOST] == penalty + 60 * cost[st.C_ISSUE]


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
