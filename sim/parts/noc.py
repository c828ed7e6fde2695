"""A network on chip: packets of flits through routers with bounded buffers.

>>> noc = Noc(torus(4, 4))
>>> noc.feed(source=[0, 1], target=[10, 3], flits=[4, 4])
>>> noc.drain().latency_cycles

Virtual cut-through: a packet moves on as soon as its head is there, the link is free and the next buffer has a slot for
all of it; it then streams, one flit a cycle. What is modelled and what is not: ``docs/simulation.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcomp.errors import InputError, SimulationError
from spcomp.sim.parts import noc_kernel as at
from spcomp.sim.parts.noc_graph import NO_RING, Network, crossbar, mesh, ring, torus

__all__ = ["Network", "Noc", "NocResult", "crossbar", "mesh", "ring", "torus"]

Array: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NocResult:
    """What a network has done. Arrays have one element a packet, in the order they were fed; -1: not yet arrived."""

    cycles: int
    """When the last flit so far has left the network."""
    packets: int
    delivered: int
    flits: int
    flit_hops: int
    """Flits times links, over all packets."""
    arrival_cycle: Array
    completion_cycle: Array
    hops: Array
    link_packets: dict[tuple[int, int], int]
    link_flits: dict[tuple[int, int], int]
    ejected_flits: Array
    """[nodes]."""

    @property
    def latency_cycles(self) -> Array:
        """From a packet's arrival at its source until its last flit has left the network; -1: not yet."""
        return np.where(self.completion_cycle < 0, -1, self.completion_cycle - self.arrival_cycle)


class Noc:
    """A network with state that persists: a stream of packets fed in pieces gives what it gives whole.

    Args:
        network: of :func:`mesh`, :func:`torus`, :func:`ring` or :func:`crossbar`.
        router_cycles: from a head's leave to go until it can leave the next router.
        buffer_packets: slots behind each link. Rings need two: a packet that enters one leaves a slot free.
        max_flits: that a slot holds.

    Raises:
        InputError: sizes that are too small.
    """

    def __init__(
        self, network: Network, *, router_cycles: int = 1, buffer_packets: int = 4, max_flits: int = 16
    ) -> None:
        least = 2 if bool((network.ring != NO_RING).any()) else 1
        asked = f"build a {network.name}"
        if router_cycles < 1 or max_flits < 1:
            found = f"router_cycles={router_cycles}, max_flits={max_flits}"
            raise InputError(asked, found, "at least 1 of each")
        if buffer_packets < least:
            raise InputError(asked, f"buffer_packets={buffer_packets}", f"at least {least}")
        self.network = network
        self.router_cycles, self.buffer_packets, self.max_flits = router_cycles, buffer_packets, max_flits
        links, nodes = len(network.links), network.nodes
        self._ports = np.zeros((links + nodes, at.PORT_FIELDS), np.int64)
        self._ports[:, [at.HEAD, at.TAIL, at.LAST_INPUT, at.RING]] = at.NONE
        self._ports[:links, at.RING] = network.ring
        self._ports[:, at.NODE] = [*(b for _, b in network.links), *range(nodes)]
        into = [[k for k, (_, b) in enumerate(network.links) if b == node] + [links + node] for node in range(nodes)]
        self._inputs = np.full((nodes, 1 + max(map(len, into))), at.NONE, np.int64)
        for node, queues in enumerate(into):
            self._inputs[node, : 1 + len(queues)] = [len(queues), *queues]
        self._wanted = np.zeros(self._inputs.shape[1], np.int64)
        self._waiting = np.zeros(nodes, np.int64)
        self._registers = np.zeros(2, np.int64)
        self._packets = np.zeros((0, at.PACKET_FIELDS), np.int64)
        self._size = 0
        self._last_arrival = 0

    def feed(
        self, source: ArrayLike, target: ArrayLike, flits: ArrayLike, arrival_cycle: ArrayLike | None = None
    ) -> None:
        """Hand over packets, and run until the last of them has arrived at its source.

        Args:
            source, target: [n], nodes; a packet for its own node only passes the ejection port.
            flits: [n] or one number, 1 to ``max_flits``.
            arrival_cycle: [n], never falling; None: all at the last arrival so far. Sources queue without bound.

        Raises:
            InputError: lengths that differ, no such node, sizes out of range, arrivals that go back.
        """
        sources, targets = (np.ascontiguousarray(v, np.int64).ravel() for v in (source, target))
        n = sources.size
        sizes = np.broadcast_to(np.asarray(flits, np.int64), n) if np.ndim(flits) == 0 else np.ravel(flits)
        when = np.full(n, self._last_arrival) if arrival_cycle is None else np.ravel(np.asarray(arrival_cycle))
        self._check(sources, targets, sizes, when)
        if not n:
            return
        first, self._size = self._size, self._size + n
        if self._packets.shape[0] < self._size:
            grown = np.zeros((max(self._size, 2 * self._packets.shape[0]), at.PACKET_FIELDS), np.int64)
            grown[:first] = self._packets[:first]
            self._packets = grown
        new = self._packets[first : self._size]
        new[:, at.SOURCE], new[:, at.TARGET], new[:, at.SIZE] = sources, targets, sizes
        new[:, at.ARRIVAL] = new[:, at.AT] = when
        new[:, at.END] = -1
        self._last_arrival = int(when[-1])
        self._run(first, self._last_arrival)

    def drain(self) -> NocResult:
        """Run until every packet has left the network. What is fed afterwards arrives then, or later.

        Raises:
            SimulationError: packets that wait for each other (this cannot be with the networks of this module).
        """
        self._run(self._size, at.FAR)
        result = self.result()
        self._last_arrival = max(self._last_arrival, result.cycles)
        self._registers[at.CYCLE] = self._last_arrival
        return result

    def result(self) -> NocResult:
        """What happened so far."""
        p = self._packets[: self._size]
        links = len(self.network.links)
        pairs = zip(self.network.links, self._ports[:links], strict=True)
        counts = [(link, int(row[at.PACKETS]), int(row[at.FLITS])) for link, row in pairs]
        return NocResult(
            cycles=max(0, int(p[:, at.END].max(initial=0))),
            packets=self._size,
            delivered=int((p[:, at.END] >= 0).sum()),
            flits=int(p[:, at.SIZE].sum()),
            flit_hops=int((p[:, at.SIZE] * p[:, at.HOPS]).sum()),
            arrival_cycle=p[:, at.ARRIVAL].copy(),
            completion_cycle=p[:, at.END].copy(),
            hops=p[:, at.HOPS].copy(),
            link_packets={link: packets for link, packets, _ in counts},
            link_flits={link: flits for link, _, flits in counts},
            ejected_flits=self._ports[links:, at.FLITS].copy(),
        )

    def _run(self, first: int, limit: int) -> None:
        verdict = at.run(
            len(self.network.links), self.buffer_packets, self.router_cycles, self._ports, self._packets, first,
            self._size, self._inputs, self.network.port, self._waiting, self._registers, self._wanted, limit,
        )  # fmt: skip
        if verdict == at.STUCK:
            full = [
                f"{link} ({int(row[at.HELD])} of {self.buffer_packets} slots)"
                for link, row in zip(self.network.links, self._ports, strict=False)
                if row[at.HEAD] != at.NONE
            ]
            cycle = int(self._registers[at.CYCLE])
            found = f"a deadlock at cycle {cycle}: packets wait behind the links {', '.join(full)}"
            hint = "mesh(), torus(), ring() or crossbar() as they are"
            raise SimulationError(f"run a {self.network.name}", found, hint)

    def _check(self, sources: Array, targets: Array, sizes: Array, when: Array) -> None:
        asked = f"feed a {self.network.name} {sources.size} packets"
        if not sources.size == targets.size == sizes.size == when.size:
            found = f"{sources.size} sources, {targets.size} targets, {sizes.size} sizes, {when.size} arrivals"
            raise InputError(asked, found, "arrays of one length")
        if not sources.size:
            return
        ends = np.concatenate([sources, targets])
        if ends.min() < 0 or ends.max() >= self.network.nodes:
            raise InputError(asked, f"nodes {ends.min()} to {ends.max()}", f"nodes 0 to {self.network.nodes - 1}")
        if sizes.min() < 1 or sizes.max() > self.max_flits:
            raise InputError(asked, f"packets of {sizes.min()} to {sizes.max()} flits", f"1 to {self.max_flits} flits")
        if np.any(np.diff(when) < 0) or when[0] < self._last_arrival:
            raise InputError(asked, "arrivals that go back", "packets sorted by arrival_cycle")
