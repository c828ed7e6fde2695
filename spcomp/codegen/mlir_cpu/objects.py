"""Compiled objects on disk: what was compiled once on this machine is not compiled again.

It is machine code, so only files count that this user owns and nobody else can write, in folders of the same kind
(mode 0700), and each carries a checksum over its name and content. A file that is damaged, half there, someone else's
or of another kind reads as "not known". Files are written whole or not at all. Beyond :data:`MOST_BYTES` those go that
were not used for longest. A folder that cannot be used is said once, and then nothing is remembered.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from spcomp.cost.cache import ENVIRONMENT, default_folder

log = logging.getLogger("spcomp.jit")

FORMAT = 1
MOST_BYTES = 256 * 1024 * 1024
_OF_A_CPU = ("vendor", "cpu family", "model", "stepping", "flags")
"""Lines of /proc/cpuinfo that say what LLVM generates code for."""
_SHARE_AFTER_EVICTION = 0.8
_OBJECT_BYTES = 64 * 1024 * 1024
_MAGIC = b"spcomp object 1\n"
_DIGEST_BYTES = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


@functools.cache
def circumstances() -> str:
    """Digest of what decides, next to text and pipeline, which code comes out: torch-mlir's version and the CPU."""
    try:
        version = importlib.metadata.version("torch-mlir")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    cpu = sorted({line for line in _cpuinfo() if line.startswith(_OF_A_CPU)})
    return hashlib.blake2b(json.dumps([FORMAT, version, cpu]).encode(), digest_size=8).hexdigest()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def key_of(text: str, pipeline: str) -> str:
    """The name under which a text's object is filed."""
    return hashlib.blake2b(json.dumps([pipeline, text]).encode(), digest_size=16).hexdigest()


class Objects:
    """Object files by text. ``folder`` is made when something is stored; any number of processes may share it."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = folder / "objects", most_bytes
        self.usable = True
        self._written = most_bytes  # the first file that is written has the folder measured
        self._lock = threading.Lock()

    def any(self) -> bool:
        """Whether code was compiled here before, under these circumstances."""
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                return any(entry.name.endswith(".o") for entry in entries)
        except OSError:
            return False

    def get(self, key: str) -> bytes | None:
        """An object file, or None."""
        try:
            with self._opened() as folder:
                handle = os.open(f"{key}.o", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0), dir_fd=folder)
                with open(handle, "rb") as file:
                    _check_private(os.fstat(handle), stat.S_ISREG)
                    stored = file.read(_OBJECT_BYTES)
                    with contextlib.suppress(OSError):  # of use on a disk that cannot be written, too
                        os.utime(handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.info("ignoring the compiled object %s in %s: %s", key, self.folder, str(error))
            return None
        head = len(_MAGIC) + _DIGEST_BYTES
        content = stored[head:]
        if stored[:head] != _MAGIC + _digest(key, content):
            log.info("ignoring the compiled object %s in %s: damaged", key, self.folder)
            return None
        return content

    def put(self, key: str, content: bytes) -> None:
        """Remember; a folder that cannot be used is a warning, once."""
        if not self.usable or len(content) > _OBJECT_BYTES // 2:
            return
        temporary = f"{key}.{secrets.token_hex(8)}.tmp"
        try:
            with self._opened(make=True) as folder:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
                try:
                    with open(handle, "wb") as file:
                        file.write(_MAGIC + _digest(key, content) + content)
                    os.replace(temporary, f"{key}.o", src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                    raise
        except OSError as error:
            self.usable = False
            log.warning(
                "cannot keep compiled kernels in %s (%s); compiling again every time. Set %s to a folder of your own.",
                self.folder, str(error), ENVIRONMENT,  # the error itself would keep frames alive, and their code
            )  # fmt: skip
            return
        with self._lock:
            self._written += len(content)
            full = self._written >= self.most_bytes // 16
            self._written = 0 if full else self._written
        if full:
            self._evict()

    @contextlib.contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[int]:
        """The folder of these circumstances, open, and private to this user. Raises OSError."""
        path = self.folder / circumstances()
        if make:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for each in (self.folder, path):
                each.mkdir(mode=0o700, exist_ok=True)
        outer = os.open(self.folder, _FOLDER_FLAGS)
        try:
            _check_private(os.fstat(outer), stat.S_ISDIR)
            inner = os.open(path.name, _FOLDER_FLAGS, dir_fd=outer)
        finally:
            os.close(outer)
        try:
            _check_private(os.fstat(inner), stat.S_ISDIR)
            yield inner
        finally:
            os.close(inner)

    def _evict(self) -> None:
        """Remove what was not used for longest, down to four fifths of the bound, and what writers left behind."""
        found: list[tuple[float, int, str]] = []
        try:
            for path in self.folder.glob("*/*"):
                with contextlib.suppress(FileNotFoundError):
                    state = path.lstat()
                    abandoned = path.suffix == ".tmp" and state.st_mtime < time.time() - 3600
                    found.append((0.0 if abandoned else state.st_mtime, state.st_size, str(path)))
            total = sum(size for _, size, _ in found)
            limit = self.most_bytes if total <= self.most_bytes else _SHARE_AFTER_EVICTION * self.most_bytes
            for when, size, name in sorted(found):
                if total <= limit and when:
                    break
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
                total -= size
        except OSError as error:
            log.info("cannot remove old compiled objects from %s: %s", self.folder, error)


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.blake2b(key.encode() + b"\0" + content, digest_size=_DIGEST_BYTES).digest()


def _check_private(state: os.stat_result, kind: Callable[[int], bool]) -> None:
    """That it is of a kind, this user's, and nobody else may write it. Raises PermissionError."""
    if not kind(state.st_mode):
        raise PermissionError("of another kind")
    if state.st_uid != os.geteuid():
        raise PermissionError(f"owned by user {state.st_uid}")
    if state.st_mode & _OTHERS_WRITE:
        raise PermissionError(f"others may write it (mode {stat.S_IMODE(state.st_mode):o})")


@functools.lru_cache(maxsize=8)
def _in(folder: Path) -> Objects:
    return Objects(folder)


def objects() -> Objects:
    """Those of the cache folder, see :func:`~spcomp.cost.cache.default_folder`."""
    return _in(default_folder())
