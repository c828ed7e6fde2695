"""Steps of a program as streams: layers, products of activations, attention, and passes over tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spcomp.sim import cpu_streams as st
from spcomp.sim.cpu_calls import Array, Walk, product, walk_call
from spcomp.sim.workload import Operand, Step, weight_name

VECTOR_WORK = {"softmax": 30, "norm": 8, "elementwise": 20, "attention": 30}
"""Vector operations that a register of sixteen elements takes: assumed; exponentials and the like are polynomials."""
PASSES = {"softmax": 2, "norm": 2}
"""Times that their operand is read: for its maximum or mean, and to write."""


def walk_step(walk: Walk, step: Step, places: Mapping[str, int], scratch: int) -> Iterator[int]:
    """The accesses of a step; ``scratch``: where memory begins that no tensor has."""
    if step.call is not None:
        yield from _layer(walk, step, places, scratch)
    elif step.kind == "matmul":
        item = _item(step.writes[0])
        yield from _products(walk, step, places, (step.m, step.n, step.k), item)
    elif step.kind == "attention":
        yield from _attention(walk, step, places, scratch)
    elif step.kind not in ("gather", "move") or step.reads:
        for _ in range(PASSES.get(step.kind, 1) - 1):
            yield from sweep(walk, step.reads, (), places, VECTOR_WORK["norm"])
        yield from sweep(walk, step.reads, step.writes, places, VECTOR_WORK.get(step.kind, 0))


def _layer(walk: Walk, step: Step, places: Mapping[str, int], scratch: int) -> Iterator[int]:
    call = step.call
    assert call is not None
    bias = next((places[o.name] for o in step.reads if o.name.endswith("/bias") and o.name in places), scratch)
    at = {
        "x": places[step.reads[0].name],
        "y": places[step.writes[0].name],
        "bias": bias,
        "scratch": scratch + (1 << 16),
    }
    at["values"] = scratch + (1 << 24)  # of a weight whose bytes are not known
    at |= {name: places[weight_name(call, name)] for name in step.packed}
    yield from walk_call(walk, call, step.m, step.packed, at)
    if call.epilogue.residual:
        yield from sweep(walk, (step.reads[1], step.writes[0]), step.writes, places, 1)


def sweep(
    walk: Walk, reads: Sequence[Operand], writes: Sequence[Operand], places: Mapping[str, int], vectors: int
) -> Iterator[int]:
    """A pass over tensors: ``vectors`` operations a register."""
    operands = [*reads, *writes]
    sizes = np.array([-(-o.nbytes // st.LINE) for o in operands], np.int64)
    if not sizes.size:
        return
    sources = np.array([places[o.name] for o in operands], np.int64)
    stop = int(sizes.max())
    work = max(vectors * int(walk.cost[st.C_VECTOR]), len(reads) * int(walk.cost[st.C_LOAD]))
    walk.need(2 * len(operands) + 8)
    yield from walk.run(lines, stop, stop, sources, sizes, len(reads), work)


def _products(
    walk: Walk, step: Step, places: Mapping[str, int], size: tuple[int, int, int], item: int
) -> Iterator[int]:
    """[m, k] x [k, n] for each of a batch, operands one after the other."""
    m, n, k = size
    x, w = (places[o.name] for o in step.reads[:2])
    y = places[step.writes[0].name]
    for b in range(step.batch):
        at = (x + b * m * k * item, y + b * m * n * item, w + b * n * k * item)
        yield from product(walk, m, n, k, item, at)


def _attention(walk: Walk, step: Step, places: Mapping[str, int], scratch: int) -> Iterator[int]:
    """Scores, their softmax, and the weighted values, one head after the other; scores stay in one buffer."""
    m, n, k, v = step.m, step.n, step.k, step.value_features
    item = _item(step.writes[0])
    operands = [places[o.name] for o in step.reads[:3]]
    q, keys, values = (operands * 3)[:3] if len(operands) < 3 else operands
    y = places[step.writes[0].name]
    scores = Operand("scores", (m, n), step.writes[0].dtype, m * n * item)
    for b in range(step.batch):
        yield from product(walk, m, n, k, item, (q + b * m * k * item, scratch, keys + b * n * k * item))
        yield from sweep(walk, (scores,), (scores,), {"scores": scratch}, VECTOR_WORK["attention"])
        yield from product(walk, m, v, n, item, (scratch, y + b * m * v * item, values + b * n * v * item))


def _item(operand: Operand) -> int:
    return max(1, operand.nbytes // max(1, operand.elements))


@njit  # type: ignore[untyped-decorator]
def lines(
    address: Array, kind: NDArray[np.uint8], gap: Array, n: int, spare: int, state: Array, stop: int, sources: Array,
    sizes: Array, reads: int, work_of_line: int,
) -> int:  # fmt: skip
    """Lines ``state[S_AT]`` to ``stop`` of a pass over tensors, each in proportion to its size.

    ``sources``: where they begin; ``sizes``: their lines; the first ``reads`` are read, the others written.
    """
    full = address.size - spare
    at = state[st.S_AT]
    while at < stop and n < full:
        work = state[st.S_WORK] + work_of_line
        for j in range(sources.size):
            begin, end = at * sizes[j] // stop, (at + 1) * sizes[j] // stop
            for line in range(begin, end):
                n = st.put(address, kind, gap, n, sources[j] + line * st.LINE, st.READ if j < reads else st.WRITE, work)
                work = 0
        state[st.S_WORK] = work
        at += 1
    state[st.S_AT] = at
    return n
