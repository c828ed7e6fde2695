"""Kernels compiled in other processes: the same results, whatever fails."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import spcomp
from spcomp.codegen.mlir_cpu import jit, pool, team, worker
from spcomp.codegen.mlir_cpu.layout import pack_text, unpack_text
from spcomp.codegen.mlir_cpu.tiled import norm_text
from spcomp.codegen.x86 import memory
from spcomp.cost.tuner import Tuner
from spcomp.errors import KernelError
from tests.fresh import check, compiled, fresh, script

pytestmark = [
    pytest.mark.skipif(jit.available() is not None, reason="needs torch-mlir"),
    pytest.mark.skipif(memory.unavailable() is not None, reason="needs x86-64 Linux"),
]
GREETING = worker.message({"ready": True})


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilers(monkeypatch: pytest.MonkeyPatch) -> Iterator[pool.Pool]:
    """A pool of two, whatever the machine."""
    start = pool.command()
    assert start is not None
    made = pool.Pool(start, 2)
    monkeypatch.setattr(pool, "pool", lambda: made)
    yield made
    made.close()


def using(monkeypatch: pytest.MonkeyPatch, code: str, timeout_s: float = 30.0) -> pool.Pool:
    """A pool whose processes run some other Python program."""
    made = pool.Pool([sys.executable, "-I", "-c", textwrap.dedent(code)], 2, timeout_s=timeout_s)
    monkeypatch.setattr(pool, "pool", lambda: made)
    return made


# --- worker processes -------------------------------------------------------------------------------------------------


TEXTS = {
    "unpack": (unpack_text(37, 64, True, "gelu"), 3, 5),
    "pack": (pack_text(37, 40, "bf16"), 2, 3),
    "norm": (norm_text(24, 1e-5, residual=True, weight=True, bias=True), 5, 2),
}
RANGES = {"unpack": (16, 0, 1, 0, 37), "pack": (16, 0, 1), "norm": (0, 1)}


@pytest.mark.parametrize("name", TEXTS)
def test_workers_compile_what_this_process_compiles(name: str, compilers: pool.Pool) -> None:
    """The same object file, and the same bits as the execution engine's from the same input."""
    text, pointers, scalars = TEXTS[name]
    assert compilers.submit(text, jit.PIPELINE).result() == worker.Compiler().object(text, jit.PIPELINE)
    made = jit.compile_text(name, text, pointers, scalars)
    assert isinstance(made.keep[0], memory.Region)
    assert made.packed_address > made.address
    engine = worker.Compiler().engine(text, jit.PIPELINE)
    results = []
    for call in (made.call, type(made.call)(engine.raw_lookup(name))):
        torch.manual_seed(1)
        buffers = [torch.randn(16 * 64) for _ in range(pointers)]
        call(*(b.data_ptr() for b in buffers), *RANGES[name])
        results.append(torch.stack(buffers).view(torch.int32))
    assert torch.equal(*results)
    assert len(compilers._workers) == 1, "one text at a time needs one process"


def test_as_many_processes_as_texts(compilers: pool.Pool) -> None:
    cases = [fresh() for _ in range(6)]
    made = jit.compile_all([("gemv", text, 3, 2) for text, _, _ in cases])
    for one, (_, n, k) in zip(made, cases, strict=True):
        check(one, n, k)
    assert len(compilers._workers) == 2


def test_worker_imports_neither_torch_nor_spcomp(compilers: pool.Pool) -> None:
    compiled()
    (one,) = compilers._workers
    maps = Path(f"/proc/{one.process.pid}/maps").read_text()
    assert "libTorchMLIR" in maps
    assert "libtorch_cpu" not in maps
    imports = f"import sys, runpy; runpy.run_path({worker.__file__!r}); sys.exit('spcomp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imports], check=False).returncode == 0


def test_a_text_that_mlir_rejects(compilers: pool.Pool) -> None:
    with pytest.raises(KernelError, match="compile the kernel broken: Unable to parse module"):
        jit.compile_text("broken", "no text", 1, 0)
    compiled()
    assert len(compilers._workers) == 1
    assert not compilers.broken


def test_one_bad_text_does_not_spoil_the_others(compilers: pool.Pool) -> None:
    text, n, k = fresh()
    with pytest.raises(KernelError, match="compile the kernel broken"):
        jit.compile_all([("broken", "no text either", 1, 0), ("gemv", text, 3, 2)])
    check(jit.compile_text("gemv", text, 3, 2), n, k)


DIES_AT_ONCE = "raise SystemExit(1)"
DIES_AT_WORK = f"import os, sys; os.write(1, {GREETING!r}); os.read(0, 1)"
HANGS_AT_ONCE = "import time; time.sleep(60)"
HANGS_AT_WORK = f"import os, time; os.write(1, {GREETING!r}); time.sleep(60)"
TALKS_NONSENSE = f"import os, time; os.write(1, {GREETING!r} + b'hello, world, how are you'); time.sleep(60)"
TALKS_JSON = (
    f"import os; os.write(1, {GREETING!r}); os.read(0, 1); os.write(1, {worker.message({'error': None}, b'no')!r})"
)


@pytest.mark.parametrize("code", [DIES_AT_ONCE, DIES_AT_WORK, HANGS_AT_ONCE, HANGS_AT_WORK, TALKS_NONSENSE, TALKS_JSON])
def test_processes_that_fail_are_done_without(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = using(monkeypatch, code, timeout_s=0.5 if "sleep" in code else 30.0)
    for _ in range(4):
        compiled()
    assert not made._workers or code == TALKS_JSON
    if code != TALKS_JSON:
        assert made.broken.startswith("processes that compile fail here: ")
    made.close()


def test_a_text_larger_than_a_pipe_and_a_process_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = using(monkeypatch, HANGS_AT_WORK, timeout_s=0.3)
    with pytest.raises(pool.WorkerError, match=r"did not answer within 0\.3 s"):
        made.submit("x" * 1_000_000, jit.PIPELINE).result()
    made.close()


def test_a_killed_process_is_replaced(compilers: pool.Pool) -> None:
    compiled()
    (first,) = compilers._workers
    first.process.kill()
    first.process.wait()
    compiled()
    compiled()
    (second,) = compilers._workers
    assert second is not first
    assert not compilers.broken


def test_where_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    made = pool.Pool(["/no/such/program"], 2)
    monkeypatch.setattr(pool, "pool", lambda: made)
    with caplog.at_level(logging.INFO, "spcomp.jit"):
        for _ in range(3):
            compiled()
    assert "cannot be started" in made.broken
    assert caplog.text.count("compiling in this one") == 2


def test_processes_end_when_there_is_nothing_to_do() -> None:
    start = pool.command()
    assert start is not None
    made = pool.Pool(start, 2, idle_s=0.2)
    texts = [fresh()[0] for _ in range(2)]
    for ordered in [made.submit(text, jit.PIPELINE) for text in texts]:
        ordered.result()
    processes = [one.process for one in made._workers]
    end = time.monotonic() + 20
    while made._workers and time.monotonic() < end:
        time.sleep(0.05)
    assert not made._workers
    assert all(p.returncode is not None for p in processes)
    assert made.submit(texts[0], jit.PIPELINE).result()
    made.close()


def test_a_closed_pool_gives_up_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = using(monkeypatch, HANGS_AT_WORK)
    ordered = [made.submit(fresh()[0], jit.PIPELINE) for _ in range(5)]
    made.close("for a test")
    assert all(isinstance(each.exception(timeout=20), pool.WorkerError) for each in ordered)
    assert made.submit("text", jit.PIPELINE).exception(timeout=1)
    compiled()


def test_how_many(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(pool.WORKERS, raising=False)
    for cores, wanted in ((1, 0), (2, 2), (100, pool.MOST_WORKERS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert pool.limit() == wanted
    for asked, wanted in (("0", 0), ("3", 3), ("", pool.MOST_WORKERS), ("many", pool.MOST_WORKERS)):
        monkeypatch.setenv(pool.WORKERS, asked)
        assert pool.limit() == wanted
    assert "SPCOMP_COMPILE_WORKERS='many' is no number" in caplog.text
    monkeypatch.setenv(pool.WORKERS, "0")
    assert pool.pool() is None
    monkeypatch.setattr(sys, "executable", "")
    assert pool.command() is None


def test_processes_end_with_the_one_that_started_them(own_folder: Path) -> None:
    body = "compile(16); (one,) = pool.pool()._workers; print(one.process.pid, flush=True)"
    for end in ("", "; os.kill(os.getpid(), 9)"):
        run = script(body + end, own_folder / f"of{len(end)}")
        pid = int(run.stdout)
        limit = time.monotonic() + 20
        while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists(), run.stderr


def test_a_forked_child_has_processes_of_its_own(own_folder: Path) -> None:
    run = script(
        """
        compile(16)
        mine = {one.process.pid for one in pool.pool()._workers}
        child = os.fork()
        if child == 0:
            compile(17)
            other = {one.process.pid for one in pool.pool()._workers}
            sys.exit(7 if other and not other & mine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        compile(18)
        assert {one.process.pid for one in pool.pool()._workers} == mine
        """,
        own_folder,
    )
    assert run.returncode == 0, run.stderr


def test_many_threads_at_once(compilers: pool.Pool) -> None:
    cases = [fresh() for _ in range(6)]
    barrier = threading.Barrier(8)

    def work(i: int) -> list[jit.Compiled]:
        barrier.wait()
        mine = cases[i % 3 :] + cases[: i % 3]
        return jit.compile_all([("gemv", text, 3, 2) for text, _, _ in mine])

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(work, range(8)))
    by_text = {one.text: one for one in found[0]}
    for i, made in enumerate(found):
        assert all(by_text[one.text] is one for one in made)
        assert [one.text for one in made] == [text for text, _, _ in cases[i % 3 :] + cases[: i % 3]]
    for text, n, k in cases:
        check(by_text[text], n, k)


def test_an_interrupt_leaves_nobody_waiting(compilers: pool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    text, n, k = fresh()
    with monkeypatch.context() as patch:
        patch.setattr(jit._Flight, "land", interrupted)
        with pytest.raises(KeyboardInterrupt):
            jit.compile_text("gemv", text, 3, 2)
    check(jit.compile_text("gemv", text, 3, 2), n, k)


def test_nothing_is_timed_while_something_compiles(compilers: pool.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = Tuner.samples

    def samples(self: Tuner, work: Mapping[str, Callable[[], object]], **options: Any) -> dict[str, list[float]]:
        found = original(self, work, **options)
        seen.append(len(jit._table._flying) + len(compilers._waiting))
        return found

    monkeypatch.setattr(Tuner, "samples", samples)
    model = torch.nn.Sequential(torch.nn.Linear(200, 136), torch.nn.Linear(136, 72)).eval()
    for layer in (model[0], model[1]):
        layer.weight.data[torch.rand_like(layer.weight) > 0.05] = 0
    spcomp.compile(model, torch.randn(40, 200), engine="eager", guard=False)
    assert seen
    assert not any(seen)
    assert len(compilers._workers) == 2, "candidates of a layer compile side by side"


def test_a_loaded_model_compiles_nothing(tmp_path: Path, own_folder: Path) -> None:
    layer = torch.nn.Linear(96, 112).eval()
    layer.weight.data[torch.rand_like(layer.weight) > 0.05] = 0
    x = torch.randn(40, 96)
    team.openmp.cache_clear()  # into this test's folder, as everything else
    made = spcomp.compile(layer, x, policy="force", encodings="csr", engine="eager", guard=False)
    torch.save(made(x), tmp_path / "y.pt")
    torch.save(x, tmp_path / "x.pt")
    made.save(tmp_path / "model.spc")
    run = script(
        f"""
        import spcomp, torch
        torch.set_num_threads(1)
        x, y = (torch.load({str(tmp_path)!r} + name, weights_only=True) for name in ("/x.pt", "/y.pt"))
        loaded = spcomp.load({str(tmp_path / "model.spc")!r})
        assert not any("tuned again" in note for note in loaded.parts.notes), loaded.parts.notes
        assert torch.equal(loaded(x), y)
        print("torch_mlir" in sys.modules, pool._pools)
        """,
        own_folder,
    )
    assert run.stdout == "False {}\n", run.stderr


def test_messages() -> None:
    whole = worker.message({"a": 1}, b"body")
    header, body = worker.lengths(whole[: worker.HEAD.size])
    assert json.loads(whole[worker.HEAD.size :][:header]) == {"a": 1}
    assert whole[worker.HEAD.size + header :] == b"body"
    assert body == 4
    with pytest.raises(ValueError, match="begins with"):
        worker.lengths(b"Traceback (most "[: worker.HEAD.size])
