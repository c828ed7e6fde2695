"""Processes that compile, so that kernels compile side by side: torch-mlir holds the interpreter's lock all along.

A thread a process hands it texts and takes objects back. Processes start with the first texts and end when there were
none for a while, with this process, or when they fail: then :class:`WorkerError` says so, and whoever asked compiles
in this process. ``SPCOMP_COMPILE_WORKERS`` is the largest number of them; 0 is none.
"""

from __future__ import annotations

import atexit
import collections
import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from spcomp.codegen.mlir_cpu import worker

log = logging.getLogger("spcomp.jit")

WORKERS = "SPCOMP_COMPILE_WORKERS"
MOST_WORKERS = 8
IDLE_SECONDS = 20.0
TIMEOUT_SECONDS = 120.0
"""For one text, and for a process to start."""
_FAILURES = 2
"""Processes lost in a row after which no more are started."""
_PIECE = 1 << 16


class WorkerError(Exception):
    """A process did not do what it should; the text may be compiled elsewhere."""


def command() -> list[str] | None:
    """How a process is started: this interpreter, nothing of the user's on its path. None where that cannot be."""
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    folders: list[str] = []
    for name in ("torch_mlir", "numpy"):
        try:
            found = importlib.util.find_spec(name)
        except ValueError:  # a module that was put together by hand
            return None
        places = None if found is None else found.submodule_search_locations
        if not places:
            return None
        folders.append(str(Path(next(iter(places))).parent))
    return [sys.executable, "-I", "-S", worker.__file__, *dict.fromkeys(folders)]


def limit() -> int:
    """How many processes there may be: cores of this process, at most eight; none where there is one core."""
    asked = os.environ.get(WORKERS, "").strip()
    if asked.isdecimal():
        return int(asked)
    if asked:
        log.warning("%s=%r is no number; it is ignored", WORKERS, asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_WORKERS) if cores > 1 else 0


class _Worker:
    """One process. Raises :class:`WorkerError` from everything."""

    def __init__(self, start: Sequence[str], timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._unread = b""
        try:
            self.process = subprocess.Popen(
                start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
        except (OSError, ValueError) as error:
            raise WorkerError(f"cannot be started ({error})") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._to, self._from = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)

    def greet(self) -> None:
        """Wait until it is ready."""
        if self._receive(time.monotonic() + self.timeout_s)[0] != {"ready": True}:
            raise WorkerError("said something else than that it is ready")

    def compile(self, text: str, pipeline: str) -> bytes:
        end = time.monotonic() + self.timeout_s
        self._send(worker.message({"pipeline": pipeline}, text.encode()), end)
        header, body = self._receive(end)
        if header.get("error") is not None:
            raise _Rejected(str(header["error"]))
        return body

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.kill()
        self.process.wait()

    def _send(self, content: bytes, end: float) -> None:
        left = memoryview(content)
        while left:
            self._wait(self._to, select.POLLOUT, end)
            try:
                left = left[os.write(self._to, left[:_PIECE]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise WorkerError(f"ended ({error})") from error

    def _receive(self, end: float) -> tuple[dict[str, Any], bytes]:
        try:
            sizes = worker.lengths(self._read(worker.HEAD.size, end))
            header = json.loads(self._read(sizes[0], end))
        except ValueError as error:
            raise WorkerError(f"sent nonsense ({error})") from error
        if not isinstance(header, dict):
            raise WorkerError("sent nonsense (a header that is no object)")
        return header, self._read(sizes[1], end)

    def _read(self, nbytes: int, end: float) -> bytes:
        pieces = [self._unread]
        have = len(self._unread)
        while have < nbytes:
            self._wait(self._from, select.POLLIN, end)
            try:
                piece = os.read(self._from, _PIECE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise WorkerError(f"cannot be read from ({error})") from error
            if not piece:
                raise WorkerError("ended")
            pieces.append(piece)
            have += len(piece)
        whole = b"".join(pieces)
        self._unread = whole[nbytes:]
        return whole[:nbytes]

    def _wait(self, stream: int, event: int, end: float) -> None:
        poll = select.poll()
        poll.register(stream, event)
        if not poll.poll(max(0.0, 1e3 * (end - time.monotonic()))):
            raise WorkerError(f"did not answer within {self.timeout_s:g} s")


class _Rejected(WorkerError):
    """The text was rejected; the process is well."""


class Pool:
    """At most ``most`` processes, started by ``start``. Thread safe."""

    def __init__(
        self, start: Sequence[str], most: int, *, timeout_s: float = TIMEOUT_SECONDS, idle_s: float = IDLE_SECONDS
    ) -> None:
        self.start, self.most, self.timeout_s, self.idle_s = tuple(start), most, timeout_s, idle_s
        self.broken = ""
        """Why no more processes are started, if so."""
        self._changed = threading.Condition()
        self._waiting: collections.deque[tuple[Future[bytes], str, str]] = collections.deque()
        self._threads = 0
        self._idle = 0
        self._failures = 0
        self._workers: set[_Worker] = set()

    def submit(self, text: str, pipeline: str) -> Future[bytes]:
        """The object file of a text, some time. Its exception is :class:`WorkerError`."""
        future: Future[bytes] = Future()
        with self._changed:
            if self.broken:
                future.set_exception(WorkerError(self.broken))
                return future
            self._waiting.append((future, text, pipeline))
            if self._threads < self.most and len(self._waiting) > self._idle:
                self._start_thread()
            self._changed.notify()
        return future

    def close(self, reason: str = "closed") -> None:
        """End every process now; texts that wait get :class:`WorkerError`."""
        with self._changed:
            self.broken = self.broken or reason
            workers = list(self._workers)
            self._give_up()
            self._changed.notify_all()
        for each in workers:
            each.process.kill()
            each.process.wait()

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._serve, name="spcomp-compile", daemon=True).start()
            self._threads += 1
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            if not self._threads:
                self.broken = f"no thread ({error})"
                self._give_up()

    def _give_up(self) -> None:
        while self._waiting:
            self._waiting.popleft()[0].set_exception(WorkerError(self.broken))

    def _serve(self) -> None:
        """One thread and its process."""
        mine: _Worker | None = None
        while (job := self._next()) is not None:
            future, text, pipeline = job
            try:
                if mine is None:
                    mine = self._started()
                result = mine.compile(text, pipeline)
            except _Rejected as error:
                future.set_exception(error)
            except Exception as error:  # whatever it is, the text is compiled elsewhere
                log.info("a process that compiles kernels %s; compiling in this one", error)
                self._lost(mine, str(error))
                mine = None
                future.set_exception(error if isinstance(error, WorkerError) else WorkerError(repr(error)))
            else:
                self._failures = 0
                future.set_result(result)
        if mine is not None:
            self._stopped(mine)

    def _next(self) -> tuple[Future[bytes], str, str] | None:
        """The next text; None when there was none for a while, or all is over: then this thread must end."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self.broken, self.idle_s)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._threads -= 1
            return None

    def _started(self) -> _Worker:
        made = _Worker(self.start, self.timeout_s)
        with self._changed:
            self._workers.add(made)
            over = bool(self.broken)
        try:
            if over:
                raise WorkerError(self.broken)
            made.greet()
        except WorkerError:
            self._stopped(made)
            raise
        return made

    def _stopped(self, one: _Worker) -> None:
        one.stop()
        with self._changed:
            self._workers.discard(one)

    def _lost(self, one: _Worker | None, why: str) -> None:
        if one is not None:
            self._stopped(one)
        with self._changed:
            self._failures += 1
            if self._failures >= _FAILURES and not self.broken:
                self.broken = f"processes that compile fail here: {why}"
                self._give_up()


_lock = threading.Lock()
_pools: dict[int, Pool] = {}
"""By largest number; there is one, but where a test or a notebook changes the variable."""


def pool() -> Pool | None:
    """The processes of this process, or None where there are to be none."""
    most = limit()
    if most == 0:
        return None
    with _lock:
        if most not in _pools:
            start = command()
            if start is None:
                return None
            _pools[most] = Pool(start, most)
        found = _pools[most]
    return None if found.broken else found


def _close_all() -> None:
    for each in list(_pools.values()):
        each.close("the interpreter is ending")


def _forget() -> None:
    """In a forked child: the processes are the parent's."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
