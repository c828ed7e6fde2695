"""A slow, obvious network on chip: dictionaries of queues, every cycle in turn. What the fast one is compared with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spcomp.sim.parts.noc import Network


@dataclass
class Flight:
    """A packet, and when its head can go on from where it is."""

    target: int
    flits: int
    ready: int
    end: int = -1


Place = tuple[str, int]
"""("link", k): the buffer behind a link; ("source", node) and ("sink", node)."""


class SlowNoc:
    """Packets stand in ``queues``, and hold a slot of their link until their last flit has left."""

    def __init__(self, network: Network, router_cycles: int, slots: int) -> None:
        self.network, self.router_cycles, self.slots = network, router_cycles, slots
        self.queues: dict[Place, deque[Flight]] = {("source", n): deque() for n in range(network.nodes)}
        self.queues |= {("link", k): deque() for k in range(len(network.links))}
        self.leaves: dict[Place, int] = dict.fromkeys(self.queues, 0)
        self.held: dict[Place, list[int]] = {place: [] for place in self.queues}
        """When each slot that is being emptied is free."""
        self.free: dict[Place, int] = {}
        self.turn: dict[Place, Place] = {}

    def inputs(self, node: int) -> list[Place]:
        return [("link", k) for k, (_, to) in enumerate(self.network.links) if to == node] + [("source", node)]

    def step(self, now: int) -> None:
        before = {place: len(queue) + sum(t > now for t in self.held[place]) for place, queue in self.queues.items()}
        granted = []
        for node in range(self.network.nodes):
            asking: dict[Place, list[Place]] = {}
            for place in self.inputs(node):
                queue = self.queues[place]
                if queue and queue[0].ready <= now and self.leaves[place] <= now:
                    asking.setdefault(self._output(node, queue[0].target), []).append(place)
            for out, places in asking.items():
                if self.free.get(out, 0) > now:
                    continue
                order = self.inputs(node)
                if out in self.turn:
                    cut = order.index(self.turn[out]) + 1
                    order = order[cut:] + order[:cut]
                for place in order:
                    if place in places and self._fits(place, out, before):
                        granted.append((place, out))
                        break
        for place, out in granted:
            self._move(place, out, now)

    def _output(self, node: int, target: int) -> Place:
        return ("sink", node) if node == target else ("link", int(self.network.port[node, target]))

    def _fits(self, place: Place, out: Place, fill: dict[Place, int]) -> bool:
        if out[0] == "sink":
            return True
        ring = self.network.ring[out[1]]
        goes_on = ring < 0 or (place[0] == "link" and self.network.ring[place[1]] == ring)
        return fill[out] + (1 if goes_on else 2) <= self.slots

    def _move(self, place: Place, out: Place, now: int) -> None:
        flight = self.queues[place].popleft()
        until = now + flight.flits
        self.leaves[place] = self.free[out] = until
        self.held[place] = [t for t in self.held[place] if t > now] + [until]
        self.turn[out] = place
        if out[0] == "sink":
            flight.end = until
        else:
            flight.ready = now + self.router_cycles
            self.queues[out].append(flight)


def slow_ends(network: Network, packets: list[tuple[int, int, int, int]], router_cycles: int, slots: int) -> list[int]:
    """When the last flit of each (source, target, flits, arrival) has left the network."""
    noc = SlowNoc(network, router_cycles, slots)
    flights = [Flight(target, flits, arrival) for _, target, flits, arrival in packets]
    for (source, *_), flight in zip(packets, flights, strict=True):
        noc.queues["source", source].append(flight)
    now = 0
    while any(flight.end < 0 for flight in flights):
        noc.step(now)
        now += 1
    return [flight.end for flight in flights]
