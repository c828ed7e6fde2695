"""Networks on chip: latencies and throughput by arithmetic, routes against networkx, laws, no deadlock, errors."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from spcomp.errors import InputError, SimulationError
from spcomp.sim.parts.noc import Network, Noc, NocResult, crossbar, mesh, ring, torus
from tests.noc_reference import slow_ends

NETWORKS = (mesh(4, 3), mesh(1, 1), mesh(6, 1), torus(4, 4), torus(5, 3), torus(2, 4), ring(7), ring(2), crossbar(6))
ARRAYS = ("arrival_cycle", "completion_cycle", "hops", "ejected_flits")


def run(
    network: Network,
    source: ArrayLike,
    target: ArrayLike,
    flits: ArrayLike,
    arrival: ArrayLike | None = None,
    **sizes: int,
) -> NocResult:
    noc = Noc(network, **sizes)
    noc.feed(source, target, flits, arrival)
    return noc.drain()


def same(a: NocResult, b: NocResult) -> bool:
    return all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in ARRAYS) and a.link_flits == b.link_flits


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
def test_routes_are_shortest_and_use_the_links_of_the_graph(network: Network) -> None:
    lengths = dict(nx.all_pairs_shortest_path_length(network.graph))
    for a in range(network.nodes):
        for b in range(network.nodes):
            path = list(network.path(a, b))
            assert len(path) - 1 == lengths[a][b]
            assert all(network.graph.has_edge(u, v) for u, v in pairwise(path))
    assert sorted(network.graph.edges) == list(network.links)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.name)
@pytest.mark.parametrize(("router_cycles", "flits"), [(1, 1), (3, 5), (4, 16)])
def test_an_idle_network_takes_its_hops_and_the_flits(network: Network, router_cycles: int, flits: int) -> None:
    nodes = network.nodes
    pairs = np.array([(a, b) for a in range(nodes) for b in range(nodes)])
    far_apart = np.arange(len(pairs)) * 1000
    found = run(network, pairs[:, 0], pairs[:, 1], flits, far_apart, router_cycles=router_cycles)
    hops = np.array([len(list(network.path(a, b))) - 1 for a, b in pairs.tolist()])
    assert found.hops.tolist() == hops.tolist()
    assert found.latency_cycles.tolist() == (hops * router_cycles + flits).tolist()


@pytest.mark.parametrize("flits", [1, 4, 16])
def test_a_link_carries_one_flit_a_cycle(flits: int) -> None:
    """With slots for what is under way; the last packet still takes its hop."""
    count = 200
    found = run(mesh(2, 1), [0] * count, [1] * count, flits, router_cycles=2, buffer_packets=4)
    assert found.cycles == count * flits + 2
    assert found.link_flits == {(0, 1): count * flits, (1, 0): 0}


def test_one_slot_holds_up_the_link_until_it_is_empty() -> None:
    """The next packet leaves when the one before has left the next buffer: 3 + 4 cycles apart."""
    found = run(mesh(2, 1), [0] * 50, [1] * 50, 4, router_cycles=3, buffer_packets=1)
    assert np.diff(found.completion_cycle).tolist() == [7] * 49


def test_two_flows_over_one_link_get_half_each() -> None:
    """From 0 and from 1 to 3 along 0 - 1 - 2 - 3: the links from 1 on are shared."""
    count, flits = 400, 4
    found = run(mesh(4, 1), [0, 1] * count, [3, 3] * count, flits)
    ends = found.completion_cycle.reshape(count, 2)
    assert found.cycles == pytest.approx(2 * count * flits, abs=20)
    assert found.link_flits[1, 2] == 2 * count * flits
    for middle in (ends.max() // 4, ends.max() // 2):
        shares = (ends <= middle).sum(0)
        assert abs(int(shares[0]) - int(shares[1])) <= 2
    alone = run(mesh(4, 1), [0] * count, [3] * count, flits)
    assert alone.cycles == count * flits + 3


def test_flows_that_share_nothing_do_not_see_each_other() -> None:
    both = run(mesh(4, 4), [0, 12] * 50, [3, 15] * 50, 4)
    alone = run(mesh(4, 4), [0] * 50, [3] * 50, 4)
    for flow in (both.completion_cycle[::2], both.completion_cycle[1::2]):
        assert flow.tolist() == alone.completion_cycle.tolist()


def test_a_crossbar_waits_for_its_targets_only() -> None:
    """A permutation passes at full speed; all to one at one flit a cycle."""
    sources = np.tile(np.arange(8), 100)
    assert run(crossbar(8), sources, (sources + 3) % 8, 4).cycles == 100 * 4 + 1
    assert run(crossbar(8), sources, np.zeros_like(sources), 4).cycles == pytest.approx(8 * 100 * 4, abs=2)


traffic = st.tuples(
    st.sampled_from(NETWORKS), st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 4), st.integers(2, 5),
    st.floats(0, 3),
)  # fmt: skip


def packets(network: Network, seed: int, count: int, gap: float) -> tuple[np.ndarray, ...]:
    g = np.random.default_rng(seed)
    ends = g.integers(0, network.nodes, (2, count))
    return ends[0], ends[1], g.integers(1, 17, count), np.sort((g.random(count) * gap * count).astype(np.int64))


@given(traffic)
@settings(deadline=None)
def test_every_packet_arrives_once_and_not_too_early(case: tuple[Network, int, int, int, int, float]) -> None:
    network, seed, count, router_cycles, slots, gap = case
    source, target, flits, arrival = packets(network, seed, count, gap)
    found = run(network, source, target, flits, arrival, router_cycles=router_cycles, buffer_packets=slots)
    assert found.delivered == found.packets == count
    crossed: Counter[tuple[int, int]] = Counter()
    for a, b, size in zip(source.tolist(), target.tolist(), flits.tolist(), strict=True):
        path = list(network.path(a, b))
        crossed.update(dict.fromkeys(pairwise(path), size))
    assert {link: n for link, n in found.link_flits.items() if n} == crossed
    assert found.flit_hops == crossed.total()
    assert found.ejected_flits.tolist() == np.bincount(target, flits, network.nodes).tolist()
    assert (found.latency_cycles >= found.hops * router_cycles + flits).all()
    busiest = max([*found.link_flits.values(), *found.ejected_flits.tolist()])
    assert found.cycles >= busiest
    again = run(network, source, target, flits, arrival, router_cycles=router_cycles, buffer_packets=slots)
    assert same(found, again)


@given(traffic)
@settings(deadline=None, max_examples=40)
def test_equals_the_slow_network(case: tuple[Network, int, int, int, int, float]) -> None:
    network, seed, count, router_cycles, slots, gap = case
    parts = packets(network, seed, min(count, 120), gap)
    found = run(network, *parts, router_cycles=router_cycles, buffer_packets=slots)
    wanted = slow_ends(network, list(zip(*(p.tolist() for p in parts), strict=True)), router_cycles, slots)
    assert found.completion_cycle.tolist() == wanted


@given(traffic, st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_a_stream_in_pieces_gives_what_it_gives_whole(
    case: tuple[Network, int, int, int, int, float], pieces: int
) -> None:
    network, seed, count, router_cycles, slots, gap = case
    parts = packets(network, seed, count, gap)
    whole = run(network, *parts, router_cycles=router_cycles, buffer_packets=slots)
    noc = Noc(network, router_cycles=router_cycles, buffer_packets=slots)
    for cut in np.array_split(np.arange(count), pieces):
        noc.feed(*(values[cut] for values in parts))
    assert same(noc.drain(), whole)


@pytest.mark.parametrize("network", [torus(4, 4), torus(8, 8), torus(3, 5), ring(9)], ids=lambda n: n.name)
def test_all_to_all_at_full_load_on_least_buffers_does_not_deadlock(network: Network) -> None:
    g = np.random.default_rng(1)
    count = 300 * network.nodes
    found = run(
        network, g.integers(0, network.nodes, count), g.integers(0, network.nodes, count), 16, buffer_packets=2
    )  # fmt: skip
    assert found.delivered == count


def test_without_the_free_slot_a_ring_deadlocks_and_says_where() -> None:
    """The rule that keeps rings moving is needed: links that do not know that they are one stop."""
    network = ring(6)
    careless = replace(network, ring=np.full(len(network.links), -1))
    nodes = np.tile(np.arange(6), 50)
    with pytest.raises(
        SimulationError, match=r"run a ring 6: a deadlock at cycle \d+: packets wait behind the links \(0, 1\) \(1 of 1"
    ):
        run(careless, nodes, (nodes + 3) % 6, 8, buffer_packets=1)
    assert run(network, nodes, (nodes + 3) % 6, 8, buffer_packets=2).delivered == 300


def test_feeding_goes_on_after_a_drain() -> None:
    noc = Noc(mesh(3, 1))
    noc.feed([0], [2], 5)
    assert noc.drain().cycles == 7
    noc.feed([2], [0], 5)
    assert noc.drain().completion_cycle.tolist() == [7, 14]
    with pytest.raises(InputError, match=r"arrivals that go back. Try: packets sorted"):
        noc.feed([0], [1], 1, [13])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"build a mesh 0x4: 0 nodes. Try: 1 to 1024 nodes"):
        mesh(0, 4)
    with pytest.raises(InputError, match=r"build a torus 4x4: buffer_packets=1. Try: at least 2"):
        Noc(torus(4, 4), buffer_packets=1)
    with pytest.raises(InputError, match=r"build a mesh 2x2: router_cycles=0, max_flits=16"):
        Noc(mesh(2, 2), router_cycles=0)
    noc = Noc(mesh(2, 2))
    for arguments, words in (
        (([0], [4], 1), "nodes 0 to 4. Try: nodes 0 to 3"),
        (([0, 1], [1], 1), "2 sources, 1 targets, 2 sizes, 2 arrivals"),
        (([0], [1], 17), "packets of 17 to 17 flits. Try: 1 to 16 flits"),
        (([0, 1], [1, 0], 1, [5, 4]), "arrivals that go back"),
    ):
        with pytest.raises(InputError, match="feed a mesh 2x2 . packets: " + words):
            noc.feed(*arguments)  # type: ignore[arg-type]
