"""Bounded channels between components: a put waits while the channel is full, a get while nothing has arrived.

An item put at t can be taken at t + latency. Items leave in the order they came; who waits longest is served first.
An item counts against the capacity from its put until its get, under way or not.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

from simpy import Environment, Event

from spcomp.errors import InputError

T = TypeVar("T")


class Channel(Generic[T]):
    """Made by :meth:`spcomp.sim.engine.Engine.channel`; used through a component's ``put`` and ``get``.

    Args:
        capacity: items, at least 1.
        latency_fs: from a put to the first moment in which the item can be taken.

    Raises:
        InputError: another capacity or latency.
    """

    def __init__(self, env: Environment, name: str, capacity: int, latency_fs: int = 0) -> None:
        if capacity < 1 or latency_fs < 0:
            found = f"a capacity of {capacity} and a latency of {latency_fs} fs"
            raise InputError(f"make the channel {name!r}", found, "a capacity of at least 1, and no negative latency")
        self.name = name
        self.capacity = capacity
        self.latency_fs = latency_fs
        self.puts = 0
        self.gets = 0
        self.most = 0
        """The highest fill so far."""
        self._env = env
        self._items: deque[tuple[int, T]] = deque()
        self._putting: deque[tuple[Event, T]] = deque()
        self._getting: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def ready(self) -> int:
        """Items that could be taken now."""
        now = self._env.now
        return sum(at <= now for at, _ in self._items)

    def put(self, item: T) -> Event | None:
        """None where the item was taken in at once; else an event that fires when it is."""
        if not self._putting and len(self._items) < self.capacity:
            self._accept(item)
            self._serve()
            return None
        event = self._env.event()
        self._putting.append((event, item))
        return event

    def get(self) -> tuple[Event | None, T | None]:
        """(None, item) where one could be taken at once; else an event whose value is the item, and None."""
        if not self._getting and self._items and self._items[0][0] <= self._env.now:
            item = self._take()
            self._serve()
            return None, item
        event = self._env.event()
        self._getting.append(event)
        self._call_back()
        return event, None

    def _accept(self, item: T) -> None:
        self._items.append((self._env.now + self.latency_fs, item))
        self.puts += 1
        self.most = max(self.most, len(self._items))
        if self._getting:
            self._call_back()

    def _take(self) -> T:
        self.gets += 1
        return self._items.popleft()[1]

    def _serve(self) -> None:
        """Hand out what has arrived, and let in who waits for room, until neither is possible."""
        moved = True
        while moved:
            moved = False
            while self._getting and self._items and self._items[0][0] <= self._env.now:
                self._getting.popleft().succeed(self._take())
                moved = True
            while self._putting and len(self._items) < self.capacity:
                event, item = self._putting.popleft()
                self._accept(item)
                event.succeed()
                moved = True

    def _call_back(self) -> None:
        """Serve again when the first item arrives that somebody waits for."""
        waiting = len(self._getting) - 1
        if waiting < len(self._items) and self._items[waiting][0] > self._env.now:
            timer: Any = self._env.timeout(self._items[waiting][0] - self._env.now)
            timer.callbacks.append(lambda _: self._serve())
