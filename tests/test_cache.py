"""Caches: a slow model, cachegrind and pycachesim, laws, and errors by their words."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcomp.errors import InputError
from spcomp.sim.parts.cache import Accesses, CacheLevel, Caches
from spcomp.sim.trace import INSTRUCTION, LOAD, MODIFY, STORE, read_trace
from tests.sim_reference import SlowCaches, SlowLevel, as_dict

LEVELS = ("1k,2,64", "4k,4,64", "16k,8,64")


def stream(n: int, seed: int, span: int = 1 << 16) -> tuple[np.ndarray, np.ndarray]:
    """Addresses with some locality, and which of them are writes."""
    g = np.random.default_rng(seed)
    near = np.cumsum(g.integers(-96, 128, n)) % span
    return np.where(g.random(n) < 0.5, near, g.integers(0, span, n)), g.random(n) < 0.35


def level(
    sets_log: int, ways: int, write_back: bool, allocate: bool, inclusion: str, replacement: str, **fetched: Any
) -> CacheLevel:
    if replacement == "plru":
        ways = 1 << (ways.bit_length() - 1)
    size = (1 << sets_log) * ways * 64
    return CacheLevel(
        size, ways, 64, replacement, write_back=write_back, write_allocate=allocate, inclusion=inclusion, **fetched
    )


one_level = st.builds(
    level,
    st.integers(0, 4),
    st.integers(1, 5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["non_inclusive", "non_inclusive", "inclusive", "exclusive"]),
    st.sampled_from(["lru", "plru"]),
)


@given(st.lists(one_level, min_size=1, max_size=4), st.integers(0, 10**6), st.integers(1, 400))
@settings(max_examples=150, deadline=None)
def test_agrees_with_the_slow_model(levels: list[CacheLevel], seed: int, n: int) -> None:
    if levels[0].inclusion == "exclusive":
        levels[0] = CacheLevel(levels[0].size_bytes, levels[0].ways)
    addresses, writes = stream(n, seed, 1 << 14)
    fast = Caches(levels)
    block = fast.access(addresses, writes)
    slow = SlowCaches(
        [SlowLevel(v.sets, v.ways, v.write_back, v.write_allocate, v.inclusion, v.replacement) for v in levels]
    )
    lines = (addresses >> 6).tolist()
    had = [slow.write(a) if w else slow.read(a) for a, w in zip(lines, writes.tolist(), strict=True)]
    assert block.level.tolist() == had
    assert [as_dict(c) for c in fast.counts()] == [v.counts for v in slow.levels]
    memory = [(a >> 6, w) for a, w in zip(block.address.tolist(), block.is_write.tolist(), strict=True)]
    assert memory == slow.memory
    dirty = {line for v in slow.levels for s in v.sets for line, d in s.items() if d}
    assert fast.flush().tolist() == [64 * line for line in sorted(dirty)]


SETTINGS = ("", ",plru", ",random", ",next_line", ",stride,degree=2", ",inclusive", ",write_through,no_allocate")


def joined(parts: list[Accesses]) -> list[bytes]:
    names = ("level", "address", "is_write", "access", "cycle")
    return [np.concatenate([getattr(p, n) for p in parts]).tobytes() for n in names]


@pytest.mark.parametrize("extra", SETTINGS)
@pytest.mark.parametrize("timed", ["", ",latency=4,mshrs=3"])
def test_pieces_are_the_whole_and_runs_repeat(extra: str, timed: str) -> None:
    made = [CacheLevel.parse(text + extra + timed) for text in LEVELS]
    addresses, writes = stream(3000, 1)
    whole, pieces, again = (Caches(made, seed=5, memory_latency_cycles=100 if timed else 0) for _ in range(3))
    first = whole.access(addresses, writes)
    parts = [pieces.access(addresses[i : i + 701], writes[i : i + 701]) for i in range(0, 3000, 701)]
    assert joined([first]) == joined(parts) == joined([again.access(addresses, writes)])
    assert whole.counts() == pieces.counts() == again.counts()
    assert (whole.cycles, whole.stalled_cycles) == (pieces.cycles, pieces.stalled_cycles)


def test_random_replacement_follows_its_seed() -> None:
    addresses, _ = stream(5000, 2)
    hits = {
        seed: Caches([CacheLevel.parse("1k,4,64,random")], seed=seed).access(addresses).level.tobytes()
        for seed in range(3)
    }
    assert len(set(hits.values())) == 3


def test_plru_of_two_ways_is_lru_and_of_more_keeps_the_latest() -> None:
    addresses, writes = stream(4000, 3)
    two = [Caches([CacheLevel.parse(f"2k,2,64,{kind}")]).access(addresses, writes).level for kind in ("lru", "plru")]
    assert (two[0] == two[1]).all()
    # a tree of four: after 0 1 2 3, way 0 goes; after a use of 0 again, the tree points to the pair 2 3
    caches = Caches([CacheLevel.parse("256,4,64,plru")])
    had = caches.access(np.array([0, 1, 2, 3, 0, 4, 0, 1, 3, 2]) * 64).level
    assert had.tolist() == [1, 1, 1, 1, 0, 1, 0, 0, 0, 1]


def test_the_line_an_inclusive_level_evicts_leaves_the_levels_above() -> None:
    tiny = [CacheLevel.parse("256,4,64"), CacheLevel.parse("256,4,64,inclusive")]
    caches = Caches(tiny)
    # line 0 stays the latest in the first level, but the second does not see that
    caches.access(np.array([0, 1, 2, 3, 0, 4]) * 64)
    assert caches.counts()[0].invalidations == 1
    assert caches.access([0]).level.tolist() == [2]
    free = Caches([CacheLevel.parse("256,4,64"), CacheLevel.parse("256,4,64")])
    assert free.access(np.array([0, 1, 2, 3, 0, 4, 0]) * 64).level[-1] == 0


def test_an_exclusive_level_adds_its_lines_to_those_above() -> None:
    caches = Caches([CacheLevel.parse("256,4,64"), CacheLevel.parse("256,4,64,exclusive")])
    lines = np.arange(8) * 64
    caches.access(lines)
    assert (caches.access(lines).level == 1).all()
    plain = Caches([CacheLevel.parse("256,4,64"), CacheLevel.parse("256,4,64")])
    plain.access(lines)
    assert (plain.access(lines).level == 2).all()


def test_private_levels_do_not_see_each_other_and_shared_ones_serve_all() -> None:
    caches = Caches([CacheLevel.parse("1k,2,64,private"), CacheLevel.parse("4k,4,64")], cores=2)
    had = caches.access([0, 0, 0, 0], core=[0, 1, 0, 1]).level
    assert had.tolist() == [2, 1, 0, 0]


def test_prefetchers_hide_streams() -> None:
    addresses = np.arange(4096) * 16
    plain, nextl, stride = (
        Caches([CacheLevel.parse("4k,4,64" + kind)]) for kind in ("", ",next_line", ",stride,degree=4")
    )
    for caches in (plain, nextl, stride):
        caches.access(addresses)
    assert plain.counts()[0].misses == 1024
    assert nextl.counts()[0].misses == 1
    assert nextl.counts()[0].useful_prefetches == 1023
    # three accesses show the stride; what is fetched ahead at the end of a page covers the start of the next
    assert stride.counts()[0].misses == 3
    # lines that nobody else asks for come from memory all the same
    assert all(c.counts()[0].misses + c.counts()[0].prefetches >= 1024 for c in (plain, nextl, stride))


def test_miss_registers_bound_what_is_under_way() -> None:
    cycles = []
    for mshrs in (1, 2, 4, 8, 0):
        caches = Caches([CacheLevel(4096, 4, mshrs=mshrs, latency_cycles=1)], memory_latency_cycles=99)
        caches.access(np.arange(64) * 64)
        cycles.append(caches.cycles)
    # 64 misses of 100 cycles each, as many at once as there are registers; one may start in each cycle
    assert cycles == [6400, 3201, 1603, 807, 163]
    caches = Caches([CacheLevel(4096, 4, mshrs=1, latency_cycles=1)], memory_latency_cycles=99)
    caches.access([0, 8, 16])
    assert (caches.cycles, caches.stalled_cycles) == (100, 0), "a second miss on a line joins the first"


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_more_ways_never_lose_hits(seed: int) -> None:
    """LRU is a stack algorithm (Mattson et al., 1970)."""
    addresses, _ = stream(2000, seed)
    hits = [Caches([CacheLevel(16 * w * 64, w)]).access(addresses).level.sum() for w in (1, 2, 4, 8)]
    assert hits == sorted(hits, reverse=True)


VALGRIND = shutil.which("valgrind")


def valgrind(tool: str, folder: Path, *options: str) -> str:
    done = subprocess.run(
        ["valgrind", f"--tool={tool}", *options, "/bin/true"],
        capture_output=True, text=True, cwd=folder, timeout=120, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


@pytest.mark.skipif(VALGRIND is None, reason="valgrind is not installed")
@pytest.mark.parametrize(
    "sizes", [("32768,8,64", "1048576,16,64"), ("1024,2,64", "8192,4,64"), ("512,1,32", "4096,2,32")]
)
def test_equals_cachegrind_hit_for_hit(tmp_path: Path, sizes: tuple[str, str]) -> None:
    first, last = sizes
    report = valgrind(
        "cachegrind", tmp_path, "--cache-sim=yes", f"--I1={first}", f"--D1={first}", f"--LL={last}",
        "--cachegrind-out-file=out",
    )  # fmt: skip
    assert "I   refs" in report
    lines = (tmp_path / "out").read_text().splitlines()
    events = next(v for v in lines if v.startswith("events:")).split()[1:]
    totals = next(v for v in lines if v.startswith("summary:")).split()[1:]
    wanted = dict(zip(events, map(int, totals), strict=False))
    (tmp_path / "trace").write_text(valgrind("lackey", tmp_path, "--trace-mem=yes"))
    trace = read_trace(tmp_path / "trace")
    caches = Caches([CacheLevel.parse(first + ",private"), CacheLevel.parse(last)], cores=2, whole_accesses=True)
    # cachegrind has a cache for instructions and one for data; a modified operand is one read
    had = caches.access(trace.address, sizes=trace.size, core=trace.kind != INSTRUCTION).level
    found: dict[str, int] = {}
    for letter, kinds in (("I", [INSTRUCTION]), ("D", [LOAD, MODIFY]), ("W", [STORE])):
        mine = had[np.isin(trace.kind, kinds)]
        names = {"I": ("Ir", "I1mr", "ILmr"), "D": ("Dr", "D1mr", "DLmr"), "W": ("Dw", "D1mw", "DLmw")}[letter]
        found.update(zip(names, (mine.size, int((mine > 0).sum()), int((mine > 1).sum())), strict=True))
    assert found == {name: wanted[name] for name in found}


@pytest.mark.skipif(importlib.util.find_spec("cachesim") is None, reason="pycachesim is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_equals_pycachesim_hit_for_hit(seed: int) -> None:
    import cachesim

    memory = cachesim.MainMemory()
    l3 = cachesim.Cache("L3", 64, 8, 64, "LRU")
    l2 = cachesim.Cache("L2", 32, 4, 64, "LRU", store_to=l3, load_from=l3)
    l1 = cachesim.Cache("L1", 8, 2, 64, "LRU", store_to=l2, load_from=l2)
    memory.load_to(l3)
    memory.store_from(l3)
    theirs: Any = cachesim.CacheSimulator(l1, memory)
    ours = Caches([CacheLevel.parse(text) for text in ("1k,2,64", "8k,4,64", "32k,8,64")])
    addresses, _ = stream(20000, seed, 1 << 17)
    for a in addresses.tolist():
        theirs.load(a, 1)
    ours.access(addresses)
    found = [(c.hits, c.misses) for c in ours.counts()]
    assert found == [(v.backend.HIT_count, v.backend.MISS_count) for v in (l1, l2, l3)]


ERRORS = [
    ("0,8,64", "size_bytes is 0"),
    ("32k,0,64", "ways is 0. Try: ways of at least 1"),
    ("48k,8,64", "96 sets, no power of two. Try: size_bytes="),
    ("32k,8,48", "lines of 48 bytes. Try: a power of two"),
    ("32k,8,64,plru,mshrs=x", "'mshrs=x' says nothing"),
    ("32k", "no size, ways and line. Try: 32k,8,64"),
    ("24k,12,64,plru", "a tree over 12 ways"),
    ("32k,8,64,degree=100", "degree is 100. Try: 1 to 64"),
]


@pytest.mark.parametrize(("text", "words"), ERRORS)
def test_errors_of_levels(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        Caches([CacheLevel.parse(text)])


def test_errors_of_hierarchies_and_accesses() -> None:
    parse = CacheLevel.parse
    with pytest.raises(InputError, match=r"lines of 64 and of 32 bytes\. Try: one line size"):
        Caches([parse("1k,2,64"), parse("4k,2,32")])
    with pytest.raises(InputError, match="the first level is exclusive"):
        Caches([parse("1k,2,64,exclusive")])
    with pytest.raises(InputError, match="level 2 is private below a shared one"):
        Caches([parse("1k,2,64"), parse("4k,2,64,private")])
    with pytest.raises(InputError, match="0 levels, 1 cores"):
        Caches([])
    caches = Caches([parse("1k,2,64")])
    with pytest.raises(InputError, match=r"a negative address \(-1\)"):
        caches.access([-1])
    with pytest.raises(InputError, match="an access of 0 bytes"):
        caches.access([0], sizes=[0])
    with pytest.raises(InputError, match="is_write has 2 elements"):
        caches.access([0], [True, False])
    with pytest.raises(InputError, match=r"cores 0 to 1\. Try: cores 0 to 0"):
        caches.access([0, 0], core=[0, 1])
    with pytest.raises(InputError, match=r"an access of 1048576 bytes, whole\. Try: at most 131072 bytes"):
        Caches([parse("1k,2,64")], whole_accesses=True).access([0], sizes=[1 << 20])
    with pytest.raises(InputError, match="writes, with whole_accesses"):
        Caches([parse("1k,2,64")], whole_accesses=True).access([0], [True])
