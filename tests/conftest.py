"""Fixtures for all tests: golden texts, one thread, a private cache, repeatable Hypothesis runs."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from spcomp.cost.tuner import Tuner
from spcomp.targets.amx import avoid_broken_amx

GOLDEN = Path(__file__).parent / "golden"
Golden = Callable[[str, str], None]

_cache_dir = pytest.StashKey[str]()

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen", action="store_true", help="rewrite the golden texts in tests/golden")


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started this behind its back
    torch.set_num_threads(1)
    avoid_broken_amx(Path(tempfile.gettempdir()) / "spcomp-test-machine")
    config.stash[_cache_dir] = os.environ["SPCOMP_CACHE_DIR"] = tempfile.mkdtemp(prefix="spcomp-test-cache-")


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_cache_dir], ignore_errors=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """Every test starts from the same random state, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _layers_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is faster as one layer depends on the machine and the moment; tests that want it say so."""
    from spcomp import merging

    monkeypatch.setattr(merging, "WORTH", math.inf)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the tuner was started: one number for each race of kernels."""
    races: list[int] = []
    real = Tuner.samples

    def samples(self: Tuner, work: Any, **options: Any) -> dict[str, list[float]]:
        races.append(len(work))
        return real(self, work, **options)

    monkeypatch.setattr(Tuner, "samples", samples)
    return races


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads, and no work too small for them."""
    from spcomp.codegen.mlir_cpu import parallel

    monkeypatch.setattr(parallel, "MIN_PRODUCTS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[1, 2])
def each_team(request: pytest.FixtureRequest, two_threads: None) -> int:
    """One thread, then two, and no work too small for them."""
    torch.set_num_threads(request.param)
    return int(request.param)


@pytest.fixture(scope="session")
def pool() -> Iterator[ProcessPoolExecutor]:
    """One process in which Triton is imported with its interpreter on, for all files that plan for fake GPUs."""
    from spcomp.codegen.triton import device
    from tests import device_cases

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), device_cases.start) as found:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(device.INTERPRET, "1")
            found.submit(os.getpid).result()
        yield found


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden(name, text)``: compare ``text`` with ``tests/golden/<name>``; ``--regen`` rewrites the file."""
    regen = bool(request.config.getoption("--regen"))

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        wanted = text if text.endswith("\n") else text + "\n"
        if regen:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, encoding="utf-8")
            return
        if not path.exists():
            pytest.fail(f"tests/golden/{name} does not exist; make it with: make regen (or pytest --regen)")
        found = path.read_text(encoding="utf-8")
        if found != wanted:
            diff = unified_diff(found.splitlines(), wanted.splitlines(), f"golden/{name}", "this run", lineterm="")
            pytest.fail("\n".join([*diff, "if the change is meant: make regen"]))

    return compare
