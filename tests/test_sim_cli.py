"""``spcomp sim`` and traces: figures, formats, and errors by their words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from spcomp.cli import app
from spcomp.errors import InputError, SpcompError
from spcomp.sim.parts.cache import CacheLevel, Caches
from spcomp.sim.parts.dram import Dram, preset
from spcomp.sim.trace import LOAD, STORE, parse_lackey, parse_plain, read_trace

PLAIN = "# a comment\nR 0x0\nW 0x40\n\nload 128 200\nST 4096  # and another\n"
LACKEY = "==1== Lackey\nI  04001000,3\n L 1ffefff8,8\n S 1ffeff3c,8\nI  04001003,5\n M 00005000,4\n--1-- bye\n"


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["sim", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit | SpcompError):
        raise result.exception
    return result


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.txt"
    path.write_text(PLAIN)
    return str(path)


def test_both_formats_are_read(tmp_path: Path) -> None:
    plain = parse_plain(PLAIN.encode())
    assert plain.kind.tolist() == [LOAD, STORE, LOAD, STORE]
    assert plain.address.tolist() == [0, 0x40, 128, 4096]
    assert plain.size.tolist() == [1, 1, 200, 1]
    (tmp_path / "l").write_text(LACKEY)
    for found in (parse_lackey(LACKEY.encode()), parse_lackey(LACKEY.rstrip().replace("\n", "\r\n").encode())):
        assert found.address.tolist() == [0x4001000, 0x1FFEFFF8, 0x1FFEFF3C, 0x4001003, 0x5000]
        assert found.size.tolist() == [3, 8, 8, 5, 4]
    data = read_trace(tmp_path / "l").data()
    assert data.kind.tolist() == [LOAD, STORE, LOAD, STORE]
    assert data.address.tolist() == [0x1FFEFFF8, 0x1FFEFF3C, 0x5000, 0x5000]
    addresses, writes = data.split(64)
    assert addresses.tolist() == [0x1FFEFFC0, 0x1FFEFF00, 0x1FFEFF40, 0x5000, 0x5000]
    assert writes.tolist() == [False, True, True, False, True]
    assert len(read_trace_of(tmp_path, "")) == len(read_trace_of(tmp_path, "==1== only\n")) == 0


def read_trace_of(folder: Path, text: str) -> np.ndarray:
    (folder / "t").write_text(text)
    return read_trace(folder / "t").address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("R 0x0\nR zero\n", r"line 2 is no access: 'R zero'. Try: R 0x1f40"),
        ("R 0x0\nX 0x40\n", "line 2 is no access: 'X 0x40'"),
        ("R\n", "line 1 is no access: 'R'"),
        ("W 64 0\n", "line 1 is no access: 'W 64 0'"),
        ("R -64\n", "line 1 is no access: 'R -64'"),
        ("==1== x\n L 10,8\n L 1g,8\n", "line 3 is no access: ' L 1g,8'. Try: a line such as"),
        (" L 10,8\n L 20\n L 30,8\n", "line 2 is no access: ' L 20'"),
        (" L 10,8\n L 20,\n", "line 2 is no access: ' L 20,'"),
        (" L 10,8\nL 20,4\n", "line 2 is no access: 'L 20,4'"),
        (" L 10,0\n", "line 1 is no access: ' L 10,0'"),
        (" L 1234567812345678,8\n", "line 1 is no access"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_trace_of(tmp_path, text)


def test_dram_prints_what_the_library_counts(trace: str) -> None:
    result = run(
        "dram", "--preset", "ddr4-2400r", "--trace", trace, "--set", "channels=2", "--set", "tRCD=20", "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    memory = Dram(preset("DDR4_2400R").with_settings({"channels": 2, "RCD": 20}))
    memory.feed([0, 64, 128, 192, 256, 320, 4096], [False, True, False, False, False, False, True])
    for name, value in memory.drain().counters().items():
        assert found[name] == value
    assert (found["preset"], found["channels"], found["reads"], found["writes"]) == ("DDR4_2400R", 2, 5, 2)
    table = run("dram", "--preset", "HBM3_6400", "--trace", trace)
    assert table.exit_code == 0
    assert "row_conflicts" in table.stdout


def test_cache_prints_what_the_library_counts(trace: str) -> None:
    result = run("cache", "--level", "1k,2,64", "--level", "4k,4,64,plru", "--trace", trace, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    caches = Caches([CacheLevel.parse("1k,2,64"), CacheLevel.parse("4k,4,64,plru")])
    caches.access([0, 64, 128, 4096], [False, True, False, True], [1, 1, 200, 1])
    assert [(v["read_misses"], v["write_misses"]) for v in found["levels"]] == [
        (c.read_misses, c.write_misses) for c in caches.counts()
    ]
    assert (found["accesses"], found["memory_reads"], found["memory_writes"]) == (4, 7, 0)
    table = run("cache", "--level", "1k,2,64", "--trace", trace)
    assert table.exit_code == 0
    assert "to memory: 7 lines read, 0 written" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dram", "--preset", "DDR4_2401R"], "no preset of that name. Try: DDR4_2400R"),
        (["dram", "--preset", "DDR4_2400R", "--set", "chanels=2"], "no setting or timing of that name. Try: channels"),
        (["dram", "--preset", "DDR4_2400R", "--set", "channels"], "no name and value. Try: --set channels=2"),
        (["dram", "--preset", "DDR4_2400R", "--set", "RCD=-3"], "the timing RCD"),
        (["cache", "--level", "48k,8,64"], "96 sets, no power of two"),
        (["cache", "--level", "32k,0,64"], "ways is 0"),
    ],
)
def test_errors_say_what_to_try(trace: str, arguments: list[str], words: str) -> None:
    result = run(*arguments, "--trace", trace)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")


def test_a_missing_trace_is_named() -> None:
    result = run("cache", "--level", "1k,2,64", "--trace", "nowhere.txt")
    assert result.exit_code == 2
    assert "read the trace nowhere.txt: No such file or directory" in result.stderr
