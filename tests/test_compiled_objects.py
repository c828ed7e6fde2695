"""Compiled kernels on disk, and what the loader does not know: the same results, whatever fails."""

from __future__ import annotations

import gc
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spcomp.codegen.mlir_cpu import jit, objects, pool, worker
from spcomp.codegen.x86 import memory
from tests.elf_writer import code, elf
from tests.fresh import compiled, fresh, script

pytestmark = [
    pytest.mark.skipif(jit.available() is not None, reason="needs torch-mlir"),
    pytest.mark.skipif(memory.unavailable() is not None, reason="needs x86-64 Linux"),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pool.WORKERS, "0")


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("objects/*/*.o"))


# --- what the loader does not know ------------------------------------------------------------------------------------


NOT_KNOWN = elf([code(bytes(8), (0, 19, "_mlir_gemv", 0))], {"_mlir_gemv": (0, 0)})
NOT_NAMED = elf([code(b"\xc3")], {"other": (0, 0)})


@pytest.mark.parametrize("found", [b"", b"\x7fELF", NOT_KNOWN, NOT_NAMED])
def test_the_engine_serves_what_cannot_be_loaded(
    found: bytes, serial: None, monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    monkeypatch.setattr(jit, "dump", lambda _: found)
    made = compiled()
    assert not isinstance(made.keep[0], memory.Region)
    assert made.packed_address != 0
    assert not stored(own_folder), "what cannot be loaded is not kept"


def test_the_engine_serves_where_no_file_can_be_written(serial: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> bytes:
        raise OSError("no place")

    monkeypatch.setattr(jit, "dump", refused)
    assert not isinstance(compiled().keep[0], memory.Region)


def test_the_engine_serves_without_executable_memory_of_ours(monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    monkeypatch.setattr(memory, "unavailable", lambda: "for a test")
    assert not isinstance(compiled().keep[0], memory.Region)
    assert not stored(own_folder)


def test_dump_without_nameless_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> int:
        raise OSError("not permitted")

    engine = worker.Compiler().engine(fresh()[0], jit.PIPELINE)
    wanted = worker.dump(engine)
    monkeypatch.setattr(os, "memfd_create", refused)
    assert worker.dump(engine) == wanted


# --- on disk ----------------------------------------------------------------------------------------------------------


def again(text: str) -> jit.Compiled:
    """Compile as a new process would: nothing in memory."""
    gc.collect()
    return jit.compile_text("gemv", text, 3, 2)


@pytest.fixture
def known(serial: None, own_folder: Path) -> tuple[str, Path]:
    """A text that was compiled before, and its file."""
    text = compiled().text
    (path,) = stored(own_folder)
    return text, path


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts that are compiled from now on."""
    seen: list[str] = []
    original = worker.Compiler.engine

    def engine(self: worker.Compiler, text: str, pipeline: str) -> object:
        seen.append(text)
        return original(self, text, pipeline)

    monkeypatch.setattr(worker.Compiler, "engine", engine)
    return seen


def test_known_texts_are_not_compiled_again(known: tuple[str, Path], forbidden: list[str]) -> None:
    text, path = known
    os.utime(path, (1, 1))
    made = again(text)
    assert not forbidden
    assert path.stat().st_mtime > 1, "used now"
    assert made.text == text
    assert [p.stat().st_mode & 0o777 for p in (path, path.parent, path.parent.parent)] == [0o600, 0o700, 0o700]


def test_without_torch_mlir_in_memory(own_folder: Path, known: tuple[str, Path]) -> None:
    run = script("compile(99); print('torch_mlir' in sys.modules)", own_folder)
    assert run.stdout == "False\n", run.stderr
    run = script("compile(99); assert pool._pools == {}; print('torch_mlir' in sys.modules)", own_folder)
    assert run.stdout == "False\n", run.stderr


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    match kind:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "one bit":
            path.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
        case "another's":
            other = objects.Objects(path.parent.parent.parent)
            other.put("f" * 32, content[48:])
            (path.parent / f"{'f' * 32}.o").replace(path)
        case "writable by others":
            path.chmod(0o666)
        case "a link":
            path.rename(path.with_suffix(".real"))
            path.symlink_to(path.with_suffix(".real"))
        case "a folder":
            path.unlink()
            path.mkdir()
        case "the folder is writable by others":
            path.parent.chmod(0o777)
        case "the outer folder is writable by others":
            path.parent.parent.chmod(0o770)
        case "the folder is a link":
            path.parent.parent.rename(path.parent.parent.with_name("elsewhere"))
            path.parent.parent.symlink_to("elsewhere")


KINDS = ("truncated", "empty", "one bit", "another's", "writable by others", "a link")
FOLDERS = ("a folder", "the folder is writable by others", "the outer folder is writable by others",
           "the folder is a link")  # fmt: skip


@pytest.mark.parametrize("kind", [*KINDS, *FOLDERS])
def test_what_cannot_be_trusted_is_ignored(kind: str, known: tuple[str, Path], forbidden: list[str]) -> None:
    text, path = known
    damage(path, kind)
    again(text)
    assert forbidden == [text]
    if kind in KINDS:
        forbidden.clear()
        again(text)
        assert not forbidden, "written anew"


def test_files_of_another_user_are_ignored(
    known: tuple[str, Path], forbidden: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text, _ = known
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with caplog.at_level(logging.INFO, "spcomp.jit"):
        again(text)
        again(text)
    assert forbidden == [text, text]
    assert "owned by user" in caplog.text
    assert caplog.text.count("Set SPCOMP_CACHE_DIR to a folder of your own") == 1


def test_a_folder_that_cannot_be_made(
    serial: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPCOMP_CACHE_DIR", str(tmp_path / "file"))
    compiled()
    compiled()
    assert caplog.text.count("cannot keep compiled kernels") == 1


def test_other_circumstances_other_files(
    known: tuple[str, Path], forbidden: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, path = known
    key = objects.key_of(text, jit.PIPELINE)
    assert path.stem == key
    assert objects.key_of(text, "another pipeline") != key
    objects.circumstances.cache_clear()
    monkeypatch.setattr(objects, "_cpuinfo", lambda: ["flags : avx512_of_tomorrow"])
    assert not objects.objects().any()
    again(text)
    assert forbidden == [text]
    objects.circumstances.cache_clear()


def test_the_folder_does_not_grow_for_ever(tmp_path: Path) -> None:
    found = objects.Objects(tmp_path, most_bytes=100_000)
    for i in range(60):
        found.put(f"{i:032x}", bytes(10_000))
        if i > 0:
            os.utime(found.folder / objects.circumstances() / f"{i:032x}.o", (i, i))
        found.get(f"{0:032x}")  # in use all along
    assert sum(p.stat().st_size for p in found.folder.glob("*/*")) <= 120_000
    assert found.get(f"{0:032x}") is not None
    assert found.get(f"{59:032x}") is not None
    assert found.get(f"{30:032x}") is None


def test_left_overs_of_writers_are_removed(tmp_path: Path) -> None:
    found = objects.Objects(tmp_path)
    found.put("a" * 32, b"1")
    old, new = (found.folder / objects.circumstances() / name for name in ("old.tmp", "new.tmp"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    objects.Objects(tmp_path).put("b" * 32, b"2")
    assert not old.exists()
    assert new.exists()
    assert found.get("a" * 32) == b"1"


def test_many_processes_share_a_folder(tmp_path: Path) -> None:
    writers = [objects.Objects(tmp_path, most_bytes=200_000) for _ in range(4)]

    def work(i: int) -> bool:
        key = f"{i % 10:032x}"
        writers[i % 4].put(key, bytes([i % 10]) * 5000)
        return writers[(i + 1) % 4].get(key) in (None, bytes([i % 10]) * 5000)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(200)))
    assert all(one.usable for one in writers)
    assert not list(tmp_path.glob("objects/*/*.tmp"))
