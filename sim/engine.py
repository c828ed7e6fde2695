"""The engine: components that wait for time and for each other, on SimPy's event queue.

>>> engine = Engine()
>>> pipe = engine.channel("pipe", capacity=2)
>>> engine.add(Source("source", Clock.of_mhz(1000), pipe))
>>> engine.add(Sink("sink", Clock.of_mhz(1000), pipe))
>>> engine.run().time_fs

Time is integer femtoseconds. A component is one generator; components meet only in :class:`Channel`. Two runs of the
same components take the same steps in the same order.
"""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar

from simpy import Environment

from spcomp.errors import InputError, SimulationError
from spcomp.sim.channel import Channel
from spcomp.sim.timeline import Timeline

__all__ = ["Channel", "Clock", "Component", "Engine", "Process", "RunResult", "Stall"]

T = TypeVar("T")
R = TypeVar("R")
FS_PER_SECOND = 10**15
Process = Generator[Any, Any, R]
"""What ``run`` and the helpers of a component are: generators to be used with ``yield from``."""


@dataclass(frozen=True)
class Clock:
    """Ticks every ``period_fs`` femtoseconds, the first at 0."""

    period_fs: int

    def __post_init__(self) -> None:
        if self.period_fs < 1:
            raise InputError("make a clock", f"a period of {self.period_fs} fs", "at least 1 fs")

    @classmethod
    def of_mhz(cls, mhz: float) -> Self:
        """The period is rounded to a femtosecond: at 3 GHz one part in a million."""
        if not mhz > 0:
            raise InputError("make a clock", f"{mhz} MHz", "more than 0 MHz")
        return cls(round(FS_PER_SECOND / (mhz * 10**6)))

    def fs(self, cycles: int) -> int:
        return cycles * self.period_fs

    def cycles(self, time_fs: int) -> int:
        """Cycles that have begun before ``time_fs``: a part of one counts."""
        return -(-time_fs // self.period_fs)


class Stall(NamedTuple):
    """Why a component waited: for a channel that was ``full`` (to put) or ``empty`` (to get)."""

    channel: str
    cause: str


class Component(ABC):
    """A simulated part. Subclasses take channels and parameters, and write :meth:`run`.

    Args:
        name: its track in the timeline; one of a kind in an engine.
        clock: of this part.
        background: it may still wait for an empty channel when everything else has ended (a server that is asked).
    """

    def __init__(self, name: str, clock: Clock, *, background: bool = False) -> None:
        self.name = name
        self.clock = clock
        self.background = background
        self.counts: dict[str, int] = {}
        self.stalls_fs: dict[Stall, int] = {}
        self.busy_fs = 0
        self.finished_fs: int | None = None
        self.waiting: tuple[Stall, Channel[Any], int] | None = None
        self.started_fs = 0
        self._working: tuple[str, int] | None = None
        self._engine: Engine | None = None

    @abstractmethod
    def run(self) -> Process[None]:
        """What the part does, as a generator: ``yield from self.get(...)``, ``self.work(...)``, ``self.put(...)``."""

    @property
    def now_fs(self) -> int:
        return self._here().now_fs

    def count(self, action: str, times: int = 1) -> None:
        self.counts[action] = self.counts.get(action, 0) + int(times)

    def work(self, name: str, cycles: int) -> Process[None]:
        """Be busy for some cycles of the own clock; a slice of that name in the timeline."""
        yield from self.work_fs(name, self.clock.fs(cycles))

    def work_fs(self, name: str, duration_fs: int) -> Process[None]:
        """As :meth:`work`, for a time that another part has told."""
        engine = self._here()
        if duration_fs < 0:
            raise InputError(f"let {self.name!r} work on {name!r}", f"{duration_fs} fs", "no negative time")
        self._working = (name, engine.now_fs)
        if duration_fs:
            yield engine.env.timeout(duration_fs)
            self._book_work()
        self._working = None

    def put(self, channel: Channel[T], item: T) -> Process[None]:
        """Put, waiting while the channel is full."""
        event = channel.put(item)
        if event is not None:
            yield from self._wait(event, channel, "full")
        self._here().sample(channel)

    def get(self, channel: Channel[T]) -> Process[T]:
        """Take the first item, waiting while none has arrived."""
        event, item = channel.get()
        if event is not None:
            item = yield from self._wait(event, channel, "empty")
        self._here().sample(channel)
        return item  # type: ignore[return-value]

    def settle(self) -> None:
        """Book the wait or the work that is under way, up to now; what follows is booked later."""
        if self.waiting is not None:
            self._book_wait()
        if self._working is not None:
            self._book_work()

    def _book_wait(self) -> None:
        assert self.waiting is not None
        stall, channel, since = self.waiting
        self.stalls_fs[stall] = self.stalls_fs.get(stall, 0) + self.now_fs - since
        self.waiting = (stall, channel, self.now_fs)

    def _book_work(self) -> None:
        assert self._working is not None
        name, begin = self._working
        self.busy_fs += self.now_fs - begin
        if self.now_fs > begin:
            self._here().timeline.add(self.name, name, begin, self.now_fs)
        self._working = (name, self.now_fs)

    def _wait(self, event: Any, channel: Channel[Any], cause: str) -> Process[Any]:
        self.waiting = (Stall(channel.name, cause), channel, self.now_fs)
        value = yield event
        self._book_wait()
        self.waiting = None
        return value

    def _here(self) -> Engine:
        if self._engine is None:
            raise InputError(f"run the component {self.name!r}", "it is in no engine", "engine.add(component)")
        return self._engine


@dataclass(frozen=True, eq=False)
class RunResult:
    """What has happened until ``time_fs``. A component's ``busy_fs`` and ``stalls_fs`` sum to its ``alive_fs``."""

    time_fs: int
    interrupted: bool
    """Cut off by Ctrl-C: everything up to ``time_fs`` is there."""
    timeline: Timeline
    busy_fs: Mapping[str, int]
    stalls_fs: Mapping[str, Mapping[Stall, int]]
    alive_fs: Mapping[str, int]
    counts: Mapping[str, Mapping[str, int]]


class Engine:
    """Components, the channels between them, and their time.

    Args:
        trace: keep a timeline; else only totals.
    """

    def __init__(self, *, trace: bool = True) -> None:
        self.env = Environment(initial_time=0)
        self.timeline = Timeline() if trace else _Untold()
        self.components: dict[str, Component] = {}
        self.channels: dict[str, Channel[Any]] = {}
        self._trace = trace
        self._stop = False
        self._failure: Exception | None = None

    @property
    def now_fs(self) -> int:
        return int(self.env.now)

    def channel(self, name: str, capacity: int, latency_fs: int = 0) -> Channel[Any]:
        """A new channel. Raises :class:`InputError` for a name that is taken, or no capacity."""
        if name in self.channels:
            raise InputError(f"make the channel {name!r}", "there is one of that name", "another name")
        self.channels[name] = Channel(self.env, name, capacity, latency_fs)
        return self.channels[name]

    def add(self, component: Component) -> None:
        """Start a component now. Raises :class:`InputError` for a name that is taken."""
        if component.name in self.components:
            raise InputError(f"add the component {component.name!r}", "there is one of that name", "another name")
        self.components[component.name] = component
        component._engine = self
        component.started_fs = self.now_fs
        self.env.process(self._life(component))

    def sample(self, channel: Channel[Any]) -> None:
        if self._trace:
            self.timeline.count(channel.name, self.now_fs, len(channel))

    def run(self) -> RunResult:
        """Run until every component has ended. Ctrl-C ends the run between two events; what there is comes back.

        Raises:
            SimulationError: nothing can happen any more and somebody still waits: who, for which channel, and its fill.
            Exception: what a component raised.
        """
        try:
            with self._ctrl_c():
                while not self._stop and self.env.peek() != float("inf"):
                    self.env.step()
        except KeyboardInterrupt:
            self._stop = True
        stopped, self._stop = self._stop, False
        if self._failure is not None:
            raise self._failure
        if not stopped:
            self._check_ended()
        return self._result(stopped)

    def _life(self, component: Component) -> Process[None]:
        try:
            yield from component.run()
        except KeyboardInterrupt:
            self._stop = True
        except Exception as error:
            self._failure, self._stop = error, True
        component.finished_fs = self.now_fs

    def _check_ended(self) -> None:
        stuck = [c for c in self.components.values() if c.finished_fs is None]
        if all(c.background and c.waiting is not None and c.waiting[0].cause == "empty" for c in stuck):
            return
        found = f"a deadlock at {self.now_fs} fs: {'; '.join(map(_waits, stuck))}"
        raise SimulationError("run the engine", found, "a larger capacity, or the part that should put or get there")

    def _result(self, interrupted: bool) -> RunResult:
        parts = self.components.values()
        for c in parts:
            if c.finished_fs is None:
                c.settle()
        ends = {c.name: self.now_fs if c.finished_fs is None else c.finished_fs for c in parts}
        return RunResult(
            time_fs=max(ends.values(), default=0) if not interrupted else self.now_fs,
            interrupted=interrupted,
            timeline=self.timeline,
            busy_fs={c.name: c.busy_fs for c in parts},
            stalls_fs={c.name: dict(c.stalls_fs) for c in parts},
            alive_fs={c.name: ends[c.name] - c.started_fs for c in parts},
            counts={c.name: dict(c.counts) for c in parts},
        )

    @contextmanager
    def _ctrl_c(self) -> Iterator[None]:
        """Ctrl-C asks to stop, where it would raise otherwise: no event is left half done."""
        mine = threading.current_thread() is threading.main_thread()
        if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return

        def ask(*_: object) -> None:
            self._stop = True

        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _waits(component: Component) -> str:
    if component.waiting is None:
        return f"{component.name!r} waits for an event that nobody fires"
    stall, channel, since = component.waiting
    word = "put into" if stall.cause == "full" else "get from"
    fill = f"{stall.cause}, {len(channel)} of {channel.capacity} items"
    return f"{component.name!r} waits since {since} fs to {word} {channel.name!r} ({fill})"


class _Untold(Timeline):
    """Keeps nothing."""

    def add(self, track: str, name: str, begin_fs: int, end_fs: int) -> None:
        return

    def count(self, counter: str, time_fs: int, value: int) -> None:
        return
