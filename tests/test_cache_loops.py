"""The loops of cache hierarchies give what the general one gives: blocks, pieces, long accesses, addresses too far."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.sim.parts.cache import CacheLevel, Caches
from tests.test_cache import joined, level, stream


def levels_of(inclusions: list[str], prefetchers: list[str]) -> st.SearchStrategy[list[CacheLevel]]:
    one = st.builds(
        level,
        st.integers(0, 5),
        st.integers(1, 16),
        st.booleans(),
        st.booleans(),
        st.sampled_from(inclusions),
        st.sampled_from(["lru", "plru"]),
        prefetch=st.sampled_from(prefetchers),
        degree=st.integers(1, 5),
    )
    return st.lists(one, min_size=1, max_size=4)


by_level = levels_of(["non_inclusive"], ["none"])
one_core = levels_of(["non_inclusive", "inclusive"], ["none", "next_line"])


@given(by_level | one_core, st.integers(0, 10**6), st.integers(1, 900), st.sampled_from([None, 1 << 20, 1 << 46]))
@settings(max_examples=250, deadline=None)
def test_the_fast_loops_give_what_the_general_one_gives(
    levels: list[CacheLevel], seed: int, n: int, far: int | None
) -> None:
    """Also where an address comes that is too far for its tags: it hands over what it holds."""
    addresses, writes = stream(3 * n, seed, 1 << 15)
    sizes = np.random.default_rng(seed).integers(1, 100, 3 * n)
    if far is not None:
        addresses[2 * n :] += far
    fast, general = Caches(levels), Caches(levels)
    assert fast._sets is not None
    general._leave_sets()
    for part in (slice(0, n), slice(n, 3 * n)):
        blocks = [c.access(addresses[part], writes[part], sizes[part]) for c in (fast, general)]
        for name in ("level", "fetched_ahead", "address", "is_write", "access", "cycle"):
            assert getattr(blocks[0], name).tolist() == getattr(blocks[1], name).tolist(), name
    assert fast.counts() == general.counts()
    assert (fast._sets is None) == (far == 1 << 46)
    assert fast.flush().tolist() == general.flush().tolist()
    assert fast.access(addresses).level.tolist() == general.access(addresses).level.tolist()


@pytest.mark.parametrize("extra", ["", ",plru,inclusive", ",exclusive"])
@pytest.mark.parametrize("writes", [False, True])
def test_one_access_over_more_lines_than_there_is_room_for_requests(extra: str, writes: bool) -> None:
    """Of each of the three loops; an access of a byte a line is the same."""
    made = [CacheLevel.parse("1k,2,64"), CacheLevel.parse("4k,4,64" + extra)]
    one, many = Caches(made), Caches(made)
    lines = 150_000
    block = one.access([64, 0], [writes, writes], [64 * lines, 1])
    single = many.access(64 * np.append(np.arange(1, lines + 1), 0), np.full(lines + 1, writes))
    assert block.level.tolist() == [2, 2]
    assert block.address.tolist() == single.address.tolist()
    assert block.is_write.tolist() == single.is_write.tolist()
    assert block.access.tolist() == (single.access == lines).tolist()
    assert one.counts() == many.counts()
    assert one.flush().tolist() == many.flush().tolist()


@pytest.mark.parametrize("extra", ["", ",plru", ",write_through", ",inclusive"])
def test_long_blocks_of_each_loop_are_their_pieces_in_the_general_one(extra: str) -> None:
    """Many events at each level at once, and more requests than there is room for at first."""
    made = [CacheLevel.parse(text + extra) for text in ("4k,8,64", "32k,16,64", "512k,16,64")]
    addresses, writes = stream(200_000, 4, 1 << 21)
    fast, general = Caches(made), Caches(made)
    general._leave_sets()
    whole = fast.access(addresses, writes)
    parts = [general.access(addresses[i : i + 65_536], writes[i : i + 65_536]) for i in range(0, 200_000, 65_536)]
    assert joined([whole]) == joined(parts)
    assert fast.counts() == general.counts()
    assert fast.flush().tolist() == general.flush().tolist()
