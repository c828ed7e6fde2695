"""Scratch memory of a thread: aligned, kept, and read back only as far as it was asked for."""

from __future__ import annotations

import threading

import pytest
import torch

from spcomp.codegen.mlir_cpu import scratch as room


def in_a_new_thread(work: object) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            assert callable(work)
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_scratch_is_aligned_and_kept_until_more_is_asked() -> None:
    def work() -> None:
        first = room.scratch(100)
        assert first % room.ALIGNMENT == 0
        assert room.scratch(50) == first
        assert room.scratch(1 << 20) % room.ALIGNMENT == 0

    in_a_new_thread(work)


def test_touch_reads_what_was_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    total = torch.Tensor.sum
    monkeypatch.setattr(torch.Tensor, "sum", lambda t: (read.append(t.nbytes), total(t))[1])

    def work() -> None:
        room.touch()
        assert read == [], "a thread without scratch has nothing to read"
        room.scratch(1 << 26)
        room.scratch(1001)
        room.touch()
        assert read == [1008], "once much was asked for, and little is used now"

    in_a_new_thread(work)
