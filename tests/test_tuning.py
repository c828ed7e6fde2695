"""Candidates, the cost model, the tuner and its memory on disk."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import spcomp
from spcomp.codegen.mlir_cpu.backend import MlirCpu
from spcomp.codegen.reference.backend import Reference
from spcomp.cost.analytic import CostModel
from spcomp.cost.cache import TuneCache, default_folder
from spcomp.cost.cycles import constant
from spcomp.cost.tuner import Tuner
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import Encoding
from spcomp.encodings.window import Window
from spcomp.passes.base import Site
from spcomp.passes.propose import Candidate, call_for, propose
from spcomp.passes.worth import encodings_for
from spcomp.plan import Epilogue, RowRange
from spcomp.sparsity.measure import measure
from spcomp.targets.host import HostCpu, host_cpu
from spcomp.targets.peaks import Peaks
from tests.kernels import dense_call, fitting
from tests.models import mlp

HOST = HostCpu("a test", ("avx2", "fma", "avx512f", "avx512bw", "avx512vl"), 2, 32768, 1 << 20, 1 << 25)
MODEL = CostModel(HOST, Peaks(gflops=128.0, stream_gb_s=20.0, cache_gb_s=80.0))

# --- propose ----------------------------------------------------------------------------------------------------------


def site(weight: torch.Tensor, rows: RowRange = RowRange(64, 64)) -> Site:  # noqa: B008 - frozen
    return Site(0, "fc", weight, None, Epilogue(), measure(weight), "fc.weight", None, [rows])


def names(found: list[Encoding]) -> set[str]:
    return {str(e) for e in found}


def test_encodings_worth_a_thought() -> None:
    assert encodings_for(measure(torch.ones(8, 8))) == []
    random = encodings_for(measure(fitting(Csr(), 64, 256, density=0.1)))
    assert {"csr(block_columns=256)", "sorted_csr(block_columns=128, window=128)"} <= names(random)
    random = encodings_for(measure(fitting(Csr(), 64, 256, density=0.1)), frozenset({"csr"}))
    assert names(random) == {"csr(block_columns=64)", "csr(block_columns=128)", "csr(block_columns=256)"}
    two_four = encodings_for(measure(fitting(Nm(2, 4), 64, 64, density=1.0)))
    assert "nm(n=2, m=4)" in names(two_four)
    assert "nm(n=4, m=8)" not in names(two_four), "no news where 2:4 holds"
    blocks = encodings_for(measure(fitting(Block(8, 8), 64, 64, density=0.2)))
    assert {"block(rows=8, cols=8)", "block(rows=8, cols=1)", "block(rows=4, cols=4)"} <= names(blocks)
    assert not any(e.name == "block" and e.parameters()["rows"] == 1 for e in blocks)


def test_every_encoding_proposed_takes_the_weight() -> None:
    for encoding in (Csr(), Nm(1, 4), Nm(2, 8), Block(4, 1), Block(16, 16)):
        for density in (0.0, 0.3):
            facts = measure(fitting(encoding, 40, 70, density=density))
            assert all(e.refuses(facts) is None for e in encodings_for(facts))


def test_propose_ranks_filters_and_limits() -> None:
    if MlirCpu().unavailable() is not None:
        pytest.skip("needs torch-mlir")
    target = next(iter(MlirCpu().capabilities())).target
    backends = {"mlir_cpu": MlirCpu()}
    here = site(fitting(Block(8, 8), 256, 256, density=0.1))
    found = propose(here, backends, target, MODEL, [64])
    assert found[0].encoding.name == "block"
    assert len({c.encoding for c in found}) <= 3
    assert all(c.nbytes == c.encoding.predict_nbytes(here.facts) for c in found)
    only = propose(here, backends, target, MODEL, [64], only=frozenset({"csr"}))
    assert {c.encoding.name for c in only} == {"csr"}
    assert propose(here, backends, target, MODEL, [64], only=frozenset({"bitmap"})) == []
    assert propose(here, backends, "cpu-imaginary", MODEL, [64]) == []
    assert propose(site(torch.ones(8, 8)), backends, target, MODEL, [64]) == []
    assert propose(here, {"reference": Reference()}, target, MODEL, [64]) == []
    assert len({c.encoding for c in propose(here, backends, target, MODEL, [64], keep=1)}) == 1


def test_what_no_kernel_could_run_is_not_sized(monkeypatch: pytest.MonkeyPatch) -> None:
    if MlirCpu().unavailable() is not None or host_cpu().target != "cpu-avx512":
        pytest.skip("needs torch-mlir and AVX-512")
    sized: list[int] = []
    real = Window.exact_sizes

    def watched(self: Window, *arguments: Any) -> tuple[int, int]:
        sized.append(self.width)
        return real(self, *arguments)

    monkeypatch.setattr(Window, "exact_sizes", watched)
    here = site(fitting(Csr(), 64, 256, density=0.1))
    assert propose(here, {"mlir_cpu": MlirCpu()}, "cpu-avx512", MODEL, [64])
    assert not sized, "windows are for few rows"
    assert propose(here, {"mlir_cpu": MlirCpu()}, "cpu-avx512", MODEL, [1])
    assert sized


# --- cost model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [Csr(128), Block(8, 8), Nm(2, 4), Dense()], ids=str)
def test_cost_grows_with_rows_and_bytes(encoding: Encoding) -> None:
    here = site(fitting(encoding, 256, 256, density=0.3))
    stored, nbytes = encoding.stored_values(here.facts), encoding.predict_nbytes(here.facts)
    assert stored is not None
    assert nbytes is not None
    schedule = () if encoding == Dense() else (("tiles", 2),)
    call = call_for(here, Candidate(encoding, "b", schedule, nbytes, stored), RowRange(0, None), HOST.target)
    seconds = [MODEL.seconds(call, 16 * tiles) for tiles in (1, 2, 4, 8, 32)]
    assert seconds == sorted(seconds)
    assert seconds[-1] > 4 * seconds[0]
    assert MODEL.seconds(call, 1, cold_bytes=1 << 30) >= MODEL.seconds(call, 1)
    heavier = replace(call, weight_nbytes=1 << 28)
    assert MODEL.seconds(heavier, 1) > 1e-3 * 10
    assert MODEL.seconds(replace(call, stored=4 * stored, nonzeros=4 * stored), 512) >= MODEL.seconds(call, 512)


def test_cost_of_dense_is_the_roofline() -> None:
    call = dense_call(1024, 1024)
    compute = 2 * 512 * 1024 * 1024 / (128e9 * 0.85)
    assert MODEL.seconds(call, 512) == pytest.approx(compute, rel=0.01)
    memory = call.weight_nbytes / (20e9 * constant("stream"))
    assert MODEL.seconds(call, 1, cold_bytes=1 << 30) == pytest.approx(memory, rel=0.05)


# --- the tuner and its memory -----------------------------------------------------------------------------------------

KEY = {"n": 8, "epilogue": [True, "relu"]}


def test_cache_remembers(tmp_path: Path) -> None:
    cache = TuneCache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, {"a": 1e-5})
    assert TuneCache(tmp_path).get(KEY) == {"a": 1e-5}
    assert cache.get({**KEY, "n": 9}) is None
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "", lambda text: text[: len(text) // 2], lambda text: "[]", lambda text: "null",
        lambda text: "\x00\xff" * 9,
        lambda text: text.replace('"version": 1', '"version": 99'), lambda text: text.replace('"n": 8', '"n": 9'),
        lambda text: text.replace("1e-05", '"fast"'), lambda text: text.replace("1e-05", "-1.0"),
        lambda text: text.replace("1e-05", "NaN"), lambda text: text.replace('{"a": 1e-05}', "[1]"),
    ],
)  # fmt: skip
def test_a_damaged_entry_reads_as_unknown(tmp_path: Path, damage: object) -> None:
    cache = TuneCache(tmp_path)
    cache.put(KEY, {"a": 1e-5})
    (path,) = tmp_path.rglob("*.json")
    before = path.read_text()
    assert json.loads(before)["seconds"] == {"a": 1e-5}
    path.write_text(damage(before))  # type: ignore[operator]
    assert path.read_text() != before
    assert cache.get(KEY) is None
    cache.put(KEY, {"a": 2e-5})
    assert cache.get(KEY) == {"a": 2e-5}


def test_an_entry_that_is_no_text_reads_as_unknown(tmp_path: Path) -> None:
    cache = TuneCache(tmp_path)
    cache.put(KEY, {"a": 1e-5})
    (path,) = tmp_path.rglob("*.json")
    path.write_bytes(b"\xff\xfe\x80")
    assert cache.get(KEY) is None


def test_an_unwritable_folder_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    cache = TuneCache(blocked)
    with caplog.at_level(logging.WARNING, "spcomp"):
        for _ in range(3):
            cache.put(KEY, {"a": 1.0})
            assert cache.get(KEY) is None
    assert len(caplog.records) == 1
    assert "cannot write the tuning cache" in caplog.text
    assert "Set SPCOMP_CACHE_DIR to a writable folder" in caplog.text


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from spcomp.cost.cache import TuneCache\n"
        "c = TuneCache(Path(sys.argv[1]))\n"
        "for i in range(150):\n"
        "    c.put({'i': i % 5}, {'a': 1.0, 'b': float(sys.argv[2])})\n"
        "    got = c.get({'i': i % 5}); assert got in ({'a': 1.0, 'b': 1.0}, {'a': 1.0, 'b': 2.0}), got\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), who], stderr=subprocess.PIPE) for who in "12"]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors.decode()
    assert len(list(tmp_path.rglob("*.json"))) == 5
    assert not list(tmp_path.rglob("*.tmp"))


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", "a")
    assert default_folder() == Path("a")
    monkeypatch.delenv("SPCOMP_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "b")
    assert default_folder() == Path("b") / "spcomp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "spcomp"


def test_the_tuner_builds_nothing_it_remembers(tmp_path: Path) -> None:
    tuner = Tuner(HOST, TuneCache(tmp_path), "v1")
    built = []

    def work() -> dict[str, object]:
        built.append(1)
        return {"a": lambda: sum(range(10)), "b": lambda: sum(range(10))}

    first = tuner.measure(KEY, work, frozenset("ab"), cold_bytes=0)  # type: ignore[arg-type]
    again = tuner.measure(KEY, work, frozenset("a"), cold_bytes=0)  # type: ignore[arg-type]
    assert again == {"a": first["a"]}
    assert len(built) == 1
    other = Tuner(HOST, TuneCache(tmp_path), "v2")
    other.measure(KEY, work, frozenset("a"), cold_bytes=0)  # type: ignore[arg-type]
    assert len(built) == 2, "another version of a code generator is measured anew"


def test_the_tuner_gives_up_on_the_hopeless(tmp_path: Path) -> None:
    runs = {"fast": 0, "slow": 0}

    def spin(name: str, count: int) -> object:
        def run() -> int:
            runs[name] += 1
            return sum(range(count))

        return run

    tuner = Tuner(HOST, TuneCache(tmp_path), "v1")
    seconds = tuner.time({"fast": spin("fast", 1000), "slow": spin("slow", 100_000)}, rounds=9)  # type: ignore[dict-item]
    assert seconds["slow"] > seconds["fast"] > 0
    assert runs["slow"] == 5, (
        "once at first, then twice two: nothing else is in the model, so a run before is not timed"
    )
    assert runs["fast"] > 36
    runs = {"fast": 0, "slow": 0}
    cold = {"fast": spin("fast", 1000), "slow": spin("slow", 100_000)}
    tuner.time(cold, rounds=9, cold_bytes=1 << 20)  # type: ignore[arg-type]
    assert runs == {"fast": 10, "slow": 3}


def test_caches_are_cooled_with_the_other_weights(tmp_path: Path) -> None:
    own, other = torch.ones(1 << 18), torch.ones(1 << 18)
    work = {"a": lambda: None}
    tuner = Tuner(HOST, TuneCache(tmp_path), "v1", (own, other))
    tuner.time(work, cold_bytes=other.nbytes, own=own)
    assert tuner._flush is None, "no memory of its own where the model's does"
    tuner.time(work, cold_bytes=own.nbytes + other.nbytes + (1 << 20), own=own)
    assert tuner._flush is not None
    assert tuner._flush.nbytes == own.nbytes + (1 << 20), "what the others do not fill"


def test_a_damaged_cache_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spcomp.passes.tune.doubtful", lambda *_: [])  # one look, whatever it comes to
    model, x = mlp(16, 8), torch.zeros(4, 16)
    spcomp.compile(model, x, engine="eager", guard=False, cache_dir=tmp_path)
    files = list(tmp_path.rglob("*.json"))
    assert files
    for path in files:
        path.write_text("{")
    compiled = spcomp.compile(model, x, engine="eager", guard=False, cache_dir=tmp_path)
    assert torch.allclose(compiled(x), model(x), atol=1e-6)
    times = [p for p in files if p.parent.parent.name == "tune"]
    assert all(p.read_text() != "{" for p in times), "the records beside them knew"
    for path in [*times, *tmp_path.rglob("*.jsonl")]:
        path.write_text("{")
    spcomp.compile(model, x, engine="eager", guard=False, cache_dir=tmp_path)
    assert all(p.read_text() != "{" for p in times), "timed anew"
