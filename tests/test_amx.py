"""oneDNN is kept off an AMX that does not work, once found out, and left alone elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from spcomp.targets import amx
from spcomp.targets.host import host_cpu


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A CPU with AMX; what the probe will say, popped from the end."""
    cpu = replace(host_cpu(), features=(*host_cpu().features, "amx_tile"))
    monkeypatch.setattr(amx, "host_cpu", lambda: cpu)
    monkeypatch.setenv(amx.LIMIT, "")
    monkeypatch.delenv(amx.LIMIT)
    answers: list[str] = []
    monkeypatch.setattr(amx, "_probe", answers.pop)
    return answers


def test_a_working_amx_is_left_alone(probes: list[str], tmp_path: Path) -> None:
    probes.append("works")
    assert amx.avoid_broken_amx(tmp_path) is None
    assert amx.avoid_broken_amx(tmp_path) is None, "remembered, not probed again"
    assert amx.LIMIT not in os.environ


def test_a_broken_one_is_avoided_and_remembered(probes: list[str], tmp_path: Path) -> None:
    probes.append("exit status -4: no message")
    for _ in range(2):
        assert amx.avoid_broken_amx(tmp_path) == "exit status -4: no message"
        assert os.environ.pop(amx.LIMIT) == amx.WITHOUT_AMX


def test_the_users_own_limit_stands(probes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(amx.LIMIT, "AVX2")
    assert amx.avoid_broken_amx(tmp_path) is None
    assert os.environ[amx.LIMIT] == "AVX2"


def test_an_unwritable_folder_is_no_error(probes: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    probes += ["works", "works"]
    assert amx.avoid_broken_amx(tmp_path / "file") is None
    assert amx.avoid_broken_amx(tmp_path / "file") is None
    assert not probes


def test_a_cpu_without_amx_is_not_probed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu = replace(host_cpu(), features=("avx2", "fma"))
    monkeypatch.setattr(amx, "host_cpu", lambda: cpu)
    assert amx.avoid_broken_amx(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_int8_is_tried_once_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def probe(code: str) -> str:
        asked.append(code)
        return "exit status -4: no message"

    monkeypatch.setattr(amx, "_probe", probe)
    cpu = host_cpu()
    without = tuple(f for f in cpu.features if f != "amx_tile")
    monkeypatch.setattr(amx, "host_cpu", lambda: replace(cpu, features=without))
    assert amx.onednn_int8_works(tmp_path), "no AMX, nothing to try"
    monkeypatch.setattr(amx, "host_cpu", lambda: replace(cpu, features=(*without, "amx_tile")))
    assert not amx.onednn_int8_works(tmp_path)
    assert not amx.onednn_int8_works(tmp_path)
    assert len(asked) == 1
    monkeypatch.setenv(amx.LIMIT, "AVX512_CORE_VNNI")
    assert not amx.onednn_int8_works(tmp_path)
    assert len(asked) == 2, "another limit, another answer"
    compile(asked[0], "the probe", "exec")
