"""Programs of static sizes as CUDA graphs: launched as one, instead of kernel by kernel from Python.

A graph reads and writes fixed memory. Inputs are copied in and results copied out, so that what a caller holds stays
what it is; constants are read where they are. Which kernels run is part of the graph: one is kept for every kernel
table. Whoever captures a compiled model in a graph of their own gets its kernels in that one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from spcomp import ops

log = logging.getLogger("spcomp")
MOST = 2
"""Graphs kept for one program."""
WARM_RUNS = 3
"""Before a capture: libraries and kernels make the memory that they keep."""


class Capturing(Protocol):
    """How graphs are made: torch's for CUDA, others in tests."""

    def busy(self) -> bool:
        """Whether somebody captures a graph on the current stream already."""
        ...

    def capture(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """(results in memory of the graph, what launches it again). Raises RuntimeError for what no graph can hold."""
        ...

    def order(self, before: Any) -> Any:
        """Let the current stream wait for the mark ``before`` (None: for nothing); returns a function that marks."""
        ...


@dataclass(frozen=True)
class CudaCapturing:
    """``torch.cuda.CUDAGraph`` on one device."""

    where: str

    def busy(self) -> bool:
        return bool(torch.cuda.is_current_stream_capturing())

    def capture(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        with torch.cuda.device(self.where):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_RUNS):
                    run()
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                results = run()
        return results, graph.replay

    def order(self, before: Any) -> Any:
        stream = torch.cuda.current_stream(self.where)
        if before is not None:
            stream.wait_event(before)

        def mark() -> Any:
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(stream)
            return event

        return mark


@dataclass(eq=False)
class _Graph:
    table: ops.KernelTable
    given: Sequence[Any]
    results: Sequence[Any]
    replay: Callable[[], None]


def fresh(run: Callable[..., Any]) -> Callable[..., Any]:
    """The same without the graphs that were captured: they keep the kernels that they call alive."""
    return Graphed(run.run, run.fixed, run.capturing, run.failure) if isinstance(run, Graphed) else run


@dataclass(eq=False)
class Graphed:
    """A program's callable as graphs. ``fixed``: how many leading inputs are constants that stay where they are."""

    run: Callable[..., Any]
    fixed: int
    capturing: Capturing
    failure: str = ""
    """Why it runs without a graph, where it does."""
    _graphs: dict[tuple[object, ...], _Graph] = field(default_factory=dict)
    _done: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, *inputs: Any) -> Any:
        if self.failure or self.capturing.busy():
            return self.run(*inputs)
        constants, flat = inputs[: self.fixed], inputs[self.fixed :]
        table = ops.running()
        key = (id(table), *(t.data_ptr() for t in constants))
        with self._lock:
            graph = self._graphs.get(key)
            if graph is None:
                graph = self._made(table, constants, flat)
                if graph is None:
                    return self.run(*inputs)
                if len(self._graphs) >= MOST:
                    del self._graphs[next(iter(self._graphs))]
                self._graphs[key] = graph
            mark = self.capturing.order(self._done)
            for own, value in zip(graph.given, flat, strict=True):
                if isinstance(own, torch.Tensor):
                    own.copy_(value)
            graph.replay()
            found = tuple(r.clone() if isinstance(r, torch.Tensor) else r for r in graph.results)
            self._done = mark()
            return found

    def _made(self, table: ops.KernelTable, constants: Sequence[Any], flat: Sequence[Any]) -> _Graph | None:
        given = [v.clone() if isinstance(v, torch.Tensor) else v for v in flat]
        try:
            results, replay = self.capturing.capture(lambda: self.run(*constants, *given))
        except RuntimeError as error:
            self.failure = f"no CUDA graph: {str(error).splitlines()[0][:160]}"
            log.warning("%s", self.failure)
            return None
        return _Graph(table, given, tuple(results), replay)
