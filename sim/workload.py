"""What a machine is asked to run: the steps of a program at given sizes, with the packed bytes of its weights.

No torch: a compiled model is turned into a workload by :mod:`spcomp.workload`; a plan alone makes one of its layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import PlanError
from spcomp.plan import KernelCall, KernelPlan

Kind = Literal["layer", "matmul", "attention", "softmax", "norm", "elementwise", "gather", "move"]
PAGE_BYTES = 4096
"""Every tensor starts on a page of its own."""


@dataclass(frozen=True)
class Operand:
    """A tensor in memory."""

    name: str
    """Of the value: of a node, or ``weights/<layer>/<buffer>``."""
    shape: tuple[int, ...]
    dtype: str
    nbytes: int

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Step:
    """One op at its sizes. A layer has its call, and the arrays of its packed weight where they are known."""

    name: str
    kind: Kind
    reads: tuple[Operand, ...]
    """Activations and small tensors; a layer's weight is not among them."""
    writes: tuple[Operand, ...]
    batch: int = 1
    m: int = 0
    n: int = 0
    k: int = 0
    """A product [batch, m, k] x [batch, k, n]; of attention the scores: m queries, n keys, k features."""
    value_features: int = 0
    """Features of the values, of attention."""
    call: KernelCall | None = None
    packed: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """The buffers of the weight, ``values`` as bits."""

    @property
    def dense_macs(self) -> int:
        """Multiplications as if there were no zeros."""
        if self.call is not None:
            return self.call.dense_flops(self.m) // 2
        return self.batch * self.m * self.n * (self.k + self.value_features)

    @property
    def executed_macs(self) -> int:
        """Multiplications of what is stored, padding inside the encoding included."""
        return self.dense_macs if self.call is None else self.call.executed_flops(self.m) // 2

    @property
    def vector_elements(self) -> int:
        """Elements that pass through a vector unit: of what is written, and of the scores of attention."""
        written = sum(o.elements for o in self.writes)
        return {"layer": 0, "matmul": 0, "move": 0, "gather": 0, "attention": self.batch * self.m * self.n}.get(
            self.kind, written
        )

    @property
    def weight_nbytes(self) -> int:
        return 0 if self.call is None else self.call.weight_nbytes

    @property
    def read_nbytes(self) -> int:
        """Without the weight."""
        return sum(o.nbytes for o in self.reads)

    @property
    def write_nbytes(self) -> int:
        return sum(o.nbytes for o in self.writes)


@dataclass(frozen=True, eq=False)
class Workload:
    """Steps in the order in which they run, one after the other."""

    steps: tuple[Step, ...]
    digest: str
    """Of the plan; every report prints it."""
    name: str = ""

    @property
    def layers(self) -> tuple[Step, ...]:
        return tuple(s for s in self.steps if s.call is not None)

    def places(self) -> dict[str, int]:
        """Base address of every operand and packed buffer, by name.

        Weights lie one after the other in the order of their layers. Activations follow; the place of one is free
        again after the last step that reads it, and is given to the first that fits (first fit, on pages).
        """
        at, found = 0, {}
        for name, nbytes in self._weights():
            found[name] = at
            at += _pages(nbytes)
        last = {o.name: i for i, s in enumerate(self.steps) for o in (*s.reads, *s.writes)}
        sizes = {o.name: _pages(o.nbytes) for s in self.steps for o in (*s.reads, *s.writes)}
        room = _Room(at)
        for i, step in enumerate(self.steps):
            for operand in (*step.reads, *step.writes):
                if operand.name not in found:
                    found[operand.name] = room.take(sizes[operand.name])
            for name in {o.name for o in (*step.reads, *step.writes)}:
                if last[name] == i:
                    room.give(found[name], sizes[name])
        return found

    def _weights(self) -> Iterator[tuple[str, int]]:
        seen: set[str] = set()
        for step in self.layers:
            assert step.call is not None
            if step.packed and step.call.packed not in seen:
                seen.add(step.call.packed)
                for name, array in step.packed.items():
                    yield weight_name(step.call, name), array.nbytes


def weight_name(call: KernelCall, buffer: str) -> str:
    """The name of a packed buffer in :meth:`Workload.places`; layers that share a weight share its place."""
    return f"weights/{call.packed or call.layer}/{buffer}"


def of_plan(plan: KernelPlan, rows: int) -> Workload:
    """The layers of a plan alone, each at the call that serves ``rows`` rows, without positions of nonzeros.

    Raises :class:`~spcomp.errors.PlanError` where no call of a layer serves so many rows.
    """
    steps = []
    for slot, calls in plan.slots().items():
        serving = [c for c in calls if rows in c.rows]
        if not serving:
            offered = ", ".join(str(c.rows) for c in calls)
            raise PlanError(f"simulate {rows} rows of {calls[0].layer}", f"calls for {offered} rows", "one of those")
        steps.append(layer_step(serving[0], rows, f"x{slot}", f"y{slot}"))
    return Workload(tuple(steps), plan.digest)


def layer_step(
    call: KernelCall, m: int, x: str, y: str, packed: Mapping[str, NDArray[Any]] | None = None, residual: str = ""
) -> Step:
    """The step of one layer: x [m, k] -> y [m, n]; of a convolution m output pixels."""
    item = ITEM_BYTES[call.dtype]
    inputs = m * call.k if call.conv is None else -(-m // call.conv.pixels) * call.conv.inputs
    reads = [Operand(x, (inputs,), call.dtype, inputs * item)]
    written = Operand(y, (m, call.n), call.dtype, m * call.n * item)
    if call.epilogue.residual:
        reads.append(Operand(residual or f"{y}/residual", (m, call.n), call.dtype, written.nbytes))
    if call.epilogue.bias:
        reads.append(Operand(f"weights/{call.layer}/bias", (call.n,), "float32", 4 * call.n))
    return Step(
        call.layer, "layer", tuple(reads), (written,), m=m, n=call.n, k=call.k, call=call, packed=packed or {}
    )  # fmt: skip


def _pages(nbytes: int) -> int:
    return -(-max(1, nbytes) // PAGE_BYTES) * PAGE_BYTES


class _Room:
    """Address space from a base on: first fit, freed ranges joined."""

    def __init__(self, base: int) -> None:
        self.end = base
        self.free: list[tuple[int, int]] = []

    def take(self, size: int) -> int:
        for i, (start, length) in enumerate(self.free):
            if length >= size:
                self.free[i : i + 1] = [(start + size, length - size)] if length > size else []
                return start
        start, self.end = self.end, self.end + size
        return start

    def give(self, start: int, size: int) -> None:
        self.free.append((start, size))
        self.free.sort()
        joined: list[tuple[int, int]] = []
        for at, length in self.free:
            if joined and sum(joined[-1]) == at:
                joined[-1] = (joined[-1][0], joined[-1][1] + length)
            else:
                joined.append((at, length))
        self.free = joined
