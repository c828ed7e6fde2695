"""Steps on a MAC array behind one buffer: packed positions through its front end, a vector unit for the rest."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.dense import Dense
from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import MacArray, VectorUnit
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.mac_array import ArrayResult, simulate
from spcomp.sim.place import VALUES, Places, streamed, word_dtype
from spcomp.sim.step_cost import Cost, Phase, Span
from spcomp.sim.vector_work import VectorWork, vector_work
from spcomp.sim.workload import Step

BUFFER = "buffer"
DENSE = Dense()


@dataclass(frozen=True)
class _Counted:
    """An array's result, without its arrays."""

    compute_cycles: int
    buffer_cycles: int
    cycles: int
    slots: int
    read_bytes: int
    weight_fetches: int
    input_fetches: int
    counts: tuple[Count, ...]

    @classmethod
    def of(cls, found: ArrayResult) -> _Counted:
        return cls(
            found.compute_cycles, found.buffer_cycles, found.cycles, found.slots, ceil(found.work.read_bytes),
            found.traffic.weight_fetches, found.traffic.input_fetches, found.counts,
        )  # fmt: skip


class MacArrayRunner:
    """Weights at their real positions; inputs are taken to have no zeros, as nobody has computed them."""

    def __init__(self, machine: Machine, places: Places) -> None:
        if machine.mac_array is None or machine.vector is None:
            found = "it has no mac_array or no vector section"
            raise InputError(f"simulate on {machine.name}", found, "the preset stc_2_4")
        self.array: MacArray = machine.mac_array
        self.unit: VectorUnit = machine.vector
        self.has_dram = machine.dram is not None
        self.places = places
        self.dtype = word_dtype(self.array.word_bytes, machine.name)
        words = f"values in words of {self.array.word_bytes} byte(s), as {self.dtype}: mac_array.word_bytes; positions "
        self.notes: tuple[str, ...] = (
            words + "and metadata are those of the packed bytes",
            *(() if self.has_dram else ("the machine has no dram section: its bytes are counted and take no time",)),
            *(("inputs are taken to have no zeros",) if self.array.front_end.startswith("dual") else ()),
        )
        self._dense = functools.cache(self._dense_product)

    def cost(self, step: Step) -> Cost:
        """See :class:`~spcomp.sim.step_cost.StepRunner`."""
        if min(step.m, step.k, step.n, step.batch) < 1 and step.kind in ("layer", "matmul", "attention"):
            return Cost((), 0)
        match step.kind:
            case "layer":
                products = [(self._layer(step), 1)]
            case "matmul":
                products = [(self._dense(step.m, step.k, step.n), step.batch)]
            case "attention":
                both = (step.m, step.k, step.n), (step.m, step.n, step.value_features)
                products = [(self._dense(*size), step.batch) for size in both]
            case _:
                return self._stream(step)
        return self._cost(step, products)

    def _layer(self, step: Step) -> _Counted:
        assert step.call is not None
        encoding = step.call.encoding
        skips = self.array.front_end == "dual_side" and step.call.nonzeros < step.n * step.k
        if not step.packed and (encoding != DENSE or skips):
            found = f"a plan alone, which does not say where the nonzeros of its {encoding} are"
            raise InputError(f"simulate {step.name}", found, "the compiled model, which brings its packed bytes")
        if not step.packed:
            return self._dense(step.m, step.k, step.n)
        return self._run(encoding, step.packed, step.m, step.k, step.n)

    def _dense_product(self, m: int, k: int, n: int) -> _Counted:
        """Of operands without zeros."""
        return self._run(DENSE, {VALUES: np.ones((n, k), np.uint8)}, m, k, n)

    def _run(self, encoding: Encoding, packed: Mapping[str, NDArray[Any]], m: int, k: int, n: int) -> _Counted:
        """In the array's words: a value that is not zero stays so."""
        bits = {**packed, VALUES: (packed[VALUES] != 0).astype(BIT_DTYPES[self.dtype])}
        x = np.broadcast_to(np.ones(1), (m, k))
        return _Counted.of(simulate(self.array, encoding, bits, x, n, self.dtype, functional=False))

    def _cost(self, step: Step, products: list[tuple[_Counted, int]]) -> Cost:
        """Sums pass the vector unit as they leave; scores of attention wait for it between their two products."""
        arrays = sum(p.compute_cycles * times for p, times in products)
        cycles = sum(p.cycles * times for p, times in products)
        vector = vector_work(step)
        beside = vector.cycles(self.unit)
        busy = cycles + beside if step.kind == "attention" else max(cycles, beside)
        compute = arrays + beside if step.kind == "attention" else max(arrays, beside)
        moved = sum(p.read_bytes * times for p, times in products)
        first, written = products[0][0], self.places.write_spans(step)
        weights = self.places.weight_spans(step) if step.call is not None else ()
        inputs = self.places.read_spans(step)
        reads = weights * first.weight_fetches + inputs[:1] * first.input_fetches + inputs[1:]
        if step.kind == "attention":
            written_bytes = sum(s.nbytes for s in written) + step.batch * step.m * step.n * self.array.word_bytes
        else:
            written_bytes = sum(s.nbytes for s in written)
        counts = [*self._no_dram(products), *vector.counts()]
        return Cost(
            self._phases(step, reads, written, busy), compute, {"array": arrays, "vector": beside},
            {BUFFER: sum(p.buffer_cycles * times for p, times in products)}, {BUFFER: busy - compute},
            executed_macs=sum(p.slots * times for p, times in products),
            read_bytes={BUFFER: moved} | self._outside(reads), counts=tuple(counts),
            write_bytes={BUFFER: written_bytes} | self._outside(written),
        )  # fmt: skip

    def _no_dram(self, products: list[tuple[_Counted, int]]) -> list[Count]:
        """All actions but those of memory, which are counted by its bytes."""
        return [
            Count(c.action, c.amount * times, c.of)
            for p, times in products
            for c in p.counts
            if not c.action.startswith("dram")
        ]

    def _outside(self, spans: tuple[Span, ...]) -> dict[str, int]:
        """Bytes of memory, where none is simulated."""
        return {} if self.has_dram else {"dram": sum(s.nbytes for s in spans)}

    def _phases(self, step: Step, reads: tuple[Span, ...], writes: tuple[Span, ...], busy: int) -> tuple[Phase, ...]:
        """Pieces of half the buffer, each with its share of the work."""
        if not self.has_dram:
            return (Phase(step.name, busy_cycles=busy),)
        pieces = max(1, -(-sum(s.nbytes for s in reads) // (self.array.buffer_bytes // 2)))
        found, done = [], [(), *(spans for _, _, spans in streamed(step.name, (), writes, pieces))]
        for i, (name, fetched, _) in enumerate(streamed(step.name, reads, (), pieces)):
            share = busy * (i + 1) // pieces - busy * i // pieces
            found.append(Phase(name, fetched, done[i - 1] if i else (), share))
        return (*found, Phase(step.name, writes=done[-2]), Phase(step.name, writes=done[-1]))

    def _stream(self, step: Step) -> Cost:
        reads, writes = self.places.read_spans(step), self.places.write_spans(step)
        if step.kind == "gather":  # only the rows that are taken, as many bytes as are written
            reads = tuple(Span(s.start, min(s.nbytes, writes[0].nbytes if writes else 0)) for s in reads)
        moved, written = sum(s.nbytes for s in reads), sum(s.nbytes for s in writes)
        work: VectorWork = vector_work(step)
        compute, fed = work.cycles(self.unit), -(-moved // self.array.buffer_read_bytes_per_cycle)
        busy = max(compute, fed)
        word = self.array.buffer_word_bytes
        accesses = Count("buffer_read", -(-moved // word)), Count("buffer_write", -(-written // word))
        return Cost(
            self._phases(step, reads, writes, busy), compute, {"vector": compute}, {BUFFER: fed},
            {BUFFER: busy - compute}, read_bytes={BUFFER: moved} | self._outside(reads),
            write_bytes={BUFFER: written} | self._outside(writes), counts=(*work.counts(), *accesses),
        )  # fmt: skip
