"""When the accesses of a core end: an out-of-order window over misses that wait for registers, lines and bandwidth.

A core works through a stream in order, ``gap`` ticks at a time. A miss takes the first miss register that is free,
then its turn on the way from each level it passes (a line each so many ticks), and its latency. The core goes on
meanwhile, but no further than ``window`` ticks of work past the oldest read that has not come. Stores and accesses
ahead hold registers and bandwidth, and nothing waits for them but the next ones; stores leave their buffer in order.
"""

# mypy: disallow-untyped-defs=False, check-untyped-defs=False

from __future__ import annotations

from numba import njit

from spcomp.sim.cpu_streams import AHEAD, READ, WRITE

# Columns of ``levels``, a row a level and one for the memory: ticks from asking to having a line from there, ticks that
# a line keeps the way from there busy, the same of a line that will be written, and miss registers of that level.
V_LATENCY, V_LINE, V_WRITTEN, V_MSHRS = range(4)

# Registers.
T_NOW, T_WORK, T_HEAD, T_TAIL, T_STORES, T_COMMITTED, T_LAST, T_BUFFER, T_STORE_STALL, T_ACCESSES = range(10)
REGISTERS = 12
READS = 1 << 11
MOST_REGISTERS = 256


@njit(cache=True)
def advance(
    n, kind, gap, had, ahead, window, levels, regs, reads, registers, turns, free, stores, stalls, moved, hits, arrival
):  # fmt: skip
    """Time for ``n`` accesses.

    Args:
        had: the level that had each line; ``ahead``: whether it lay there because it was fetched ahead from below.
        window: ticks of work that may be in flight.
        reads: ring of (work at which a read was met, when it comes); ``registers`` and ``turns``: of each level, when
            its miss registers are free, and which is next; ``free``: when the way from each level is.
        stores: ring of when stores leave their buffer.
        stalls: ticks waited for reads from each level, added to.
        moved: lines that went each way, added to; ``hits``: accesses that each level answered, too.
        arrival: of each access, when it was issued.
    """
    now, work, head, tail = regs[T_NOW], regs[T_WORK], regs[T_HEAD], regs[T_TAIL]
    depth = levels.shape[0]
    buffer = regs[T_BUFFER]
    limit = reads[head % READS, 0] + window if tail > head else work + (1 << 60)
    near = 0
    for i in range(n):
        now += gap[i]
        work += gap[i]
        while work > limit:
            done = reads[head % READS, 1]
            if done > now:
                stalls[reads[head % READS, 2]] += done - now
                now = done
            head += 1
            limit = reads[head % READS, 0] + window if tail > head else work + (1 << 60)
        lv = had[i]
        arrival[i] = now
        if lv == 0:
            near += 1
            continue
        hits[lv] += 1
        start = now
        for k in range(lv):
            if levels[k, V_MSHRS] > 0:
                start = max(start, registers[k, turns[k] % levels[k, V_MSHRS]])
        column = V_WRITTEN if kind[i] == WRITE else V_LINE
        if ahead[i] and lv + 1 < depth:  # its way from below was taken ahead, as soon as it was free
            free[lv + 1] = max(free[lv + 1], now - window) + levels[lv + 1, V_LINE]
            start = max(start, free[lv + 1])
            moved[lv + 1] += 1
        for k in range(lv, 0, -1):
            start = max(start, free[k])
            free[k] = start + levels[k, column]
            moved[k] += 1
        done = start + levels[lv, V_LATENCY]
        for k in range(lv):
            if levels[k, V_MSHRS] > 0:
                registers[k, turns[k] % levels[k, V_MSHRS]] = done
                turns[k] += 1
        arrival[i] = start
        regs[T_LAST] = max(regs[T_LAST], done)
        if kind[i] == READ:
            if tail - head >= READS:
                now = max(now, reads[head % READS, 1])
                head += 1
            reads[tail % READS, 0] = work
            reads[tail % READS, 1] = done
            reads[tail % READS, 2] = lv
            tail += 1
            limit = reads[head % READS, 0] + window
        elif kind[i] != AHEAD:
            slot = regs[T_STORES] % buffer
            if stores[slot] > now:
                regs[T_STORE_STALL] += stores[slot] - now
                now = stores[slot]
            regs[T_COMMITTED] = max(regs[T_COMMITTED], done)
            stores[slot] = regs[T_COMMITTED]
            regs[T_STORES] += 1
    regs[T_NOW], regs[T_WORK], regs[T_HEAD], regs[T_TAIL] = now, work, head, tail
    regs[T_ACCESSES] += n
    hits[0] += near


@njit(cache=True)
def drain(regs, reads):
    """Wait for everything under way."""
    now = regs[T_NOW]
    for at in range(regs[T_HEAD], regs[T_TAIL]):
        now = max(now, reads[at % READS, 1])
    regs[T_HEAD] = regs[T_TAIL]
    regs[T_NOW] = max(now, regs[T_COMMITTED])
