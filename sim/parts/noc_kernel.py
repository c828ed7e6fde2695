"""The inner loop of a network: routers cycle by cycle, over the cycles in which something can happen."""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit

NONE = -1
FAR = 1 << 62
DONE, STUCK = 0, 1
# one queue and one output a port; columns of ports
(HEAD, TAIL, READ_UNTIL, LEAVING, HELD, FREE_FROM, LAST_INPUT, NODE, RING, PACKETS, FLITS) = range(11)
PORT_FIELDS = 11
# columns of packets
(SOURCE, TARGET, SIZE, ARRIVAL, AT, NEXT, HOPS, END) = range(8)
PACKET_FIELDS = 8
# registers
(CYCLE, LEFT) = range(2)


@njit(inline="always")
def enqueue(ports, packets, waiting, q, p):
    """Put packet p behind the others in queue q."""
    packets[p, NEXT] = NONE
    if ports[q, HEAD] == NONE:
        ports[q, HEAD] = p
    else:
        packets[ports[q, TAIL], NEXT] = p
    ports[q, TAIL] = p
    waiting[ports[q, NODE]] += 1


@njit(cache=True, nogil=True, _nrt=False)
def run(links, slots, router_cycles, ports, packets, first, last, inputs, port_of, waiting, registers, wanted, limit):
    """Inject packets[first:last], then run all cycles before ``limit`` in which there is something to do.

    ports[:links] are links and the buffers behind them, the others ejection ports and injection queues.
    """
    nodes = waiting.size
    for p in range(first, last):
        enqueue(ports, packets, waiting, links + packets[p, SOURCE], p)
        registers[LEFT] += 1
    now = registers[CYCLE]
    while now < limit and registers[LEFT] > 0:
        following = FAR
        for q in range(ports.shape[0]):
            if ports[q, LEAVING]:
                if ports[q, READ_UNTIL] <= now:
                    ports[q, LEAVING] = 0
                    ports[q, HELD] -= 1
                else:
                    following = min(following, ports[q, READ_UNTIL])
        served = 0
        for node in range(nodes):
            if waiting[node]:
                served += serve(
                    links, slots, router_cycles, ports, packets, inputs, port_of, waiting, registers, wanted, node, now
                )
        # while packets move, the next cycle is worth a look; else the next one in which something ends or begins
        following = now + 1 if served else next_change(ports, packets, now, following)
        if following == FAR and registers[LEFT] > 0:
            registers[CYCLE] = now
            return STUCK
        now = following
    registers[CYCLE] = max(registers[CYCLE], min(now, limit) if limit < FAR else registers[CYCLE])
    return DONE


@njit(inline="always")
def next_change(ports, packets, now, following):
    """The first cycle after ``now`` in which a packet, a queue or an output becomes ready."""
    for q in range(ports.shape[0]):
        if ports[q, HEAD] != NONE:
            ready = max(packets[ports[q, HEAD], AT], ports[q, READ_UNTIL])
            if ready > now:
                following = min(following, ready)
        if ports[q, READ_UNTIL] > now:
            following = min(following, ports[q, READ_UNTIL])
        if ports[q, FREE_FROM] > now:
            following = min(following, ports[q, FREE_FROM])
    return following


@njit(cache=True, nogil=True, _nrt=False)
def serve(links, slots, router_cycles, ports, packets, inputs, port_of, waiting, registers, wanted, node, now):
    """Let one packet go to each output of a node that is free: of the inputs that ask, the next one in turn."""
    count = inputs[node, 0]
    for k in range(count):
        wanted[k] = asks(ports, packets, inputs, port_of, node, k, now)
    served = 0
    for k in range(count):
        out = wanted[k]
        if out == NONE or ports[out, FREE_FROM] > now:
            continue
        turn = ports[out, LAST_INPUT]
        for _ in range(count):
            turn = turn + 1 if turn + 1 < count else 0
            if wanted[turn] != out:
                continue
            q = inputs[node, 1 + turn]
            if out < links:
                # whoever enters a ring leaves room for one more packet in it, so that it never stands still
                enters = ports[out, RING] != NONE and (q >= links or ports[q, RING] != ports[out, RING])
                if slots - ports[out, HELD] < (2 if enters else 1):
                    continue
            move(links, router_cycles, ports, packets, waiting, registers, q, out, now)
            ports[out, LAST_INPUT] = turn
            wanted[turn] = NONE
            served += 1
            break
    return served


@njit(inline="always")
def asks(ports, packets, inputs, port_of, node, k, now):
    """Which output the first packet of an input asks for; NONE where there is none, or not yet."""
    q = inputs[node, 1 + k]
    head = ports[q, HEAD]
    if head == NONE or ports[q, READ_UNTIL] > now or packets[head, AT] > now:
        return NONE
    return port_of[node, packets[head, TARGET]]


@njit(inline="always")
def move(links, router_cycles, ports, packets, waiting, registers, q, out, now):
    """Send the first packet of queue q through an output."""
    p = ports[q, HEAD]
    size = packets[p, SIZE]
    ports[q, HEAD] = packets[p, NEXT]
    waiting[ports[q, NODE]] -= 1
    ports[q, READ_UNTIL] = now + size
    ports[q, LEAVING] = 1 if q < links else 0
    ports[out, FREE_FROM] = now + size
    ports[out, PACKETS] += 1
    ports[out, FLITS] += size
    if out >= links:
        packets[p, END] = now + size
        registers[LEFT] -= 1
        return
    packets[p, AT] = now + router_cycles
    packets[p, HOPS] += 1
    ports[out, HELD] += 1
    enqueue(ports, packets, waiting, out, p)
