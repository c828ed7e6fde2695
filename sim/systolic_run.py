"""Steps on a systolic array: tiles through double-buffered scratchpads, a vector unit for the rest."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import Systolic, VectorUnit
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.systolic import SystolicArray
from spcomp.sim.place import Places, streamed, word_dtype
from spcomp.sim.step_cost import Cost, Phase, Span
from spcomp.sim.tiling import best_tiling
from spcomp.sim.vector_work import VectorWork, vector_work
from spcomp.sim.workload import Step

PADS = "scratchpad"
SRAM_BYTES = {"sram_8k_64bit": 8 << 10, "sram_32k_64bit": 32 << 10, "sram_1m_64bit": 1 << 20}


@dataclass
class _Tally:
    """What a step's tiles add up to; bytes are those at the scratchpads."""

    phases: list[Phase] = field(default_factory=list)
    array_cycles: int = 0
    vector_cycles: int = 0
    busy_cycles: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    macs: int = 0
    vector: list[VectorWork] = field(default_factory=list)


@dataclass(frozen=True)
class _Product:
    """y [m, n] = x [m, k] @ W [n, k].T and where they lie; ``lines`` of a convolution tell what of x a row needs."""

    m: int
    k: int
    n: int
    x: int
    w: int
    y: int
    extra: tuple[Span, ...] = ()
    """Small operands, read once, with the first tile."""
    residual: int | None = None
    lines: _Lines | None = None


@dataclass(frozen=True)
class _Lines:
    """The input of a convolution: images of ``lines`` x ``line_bytes``, of which a row of output needs some."""

    pixels: int
    out_width: int
    lines: int
    line_bytes: int
    stride: int
    padding: int
    reach: int

    def span(self, start: int, first: int, last: int, share: tuple[int, int, int]) -> Span:
        """Bytes for output pixels ``first`` to ``last``; of the k dimension the share (from, to, of)."""
        low, high = self._line(first, 0), self._line(last - 1, self.reach)
        begin, length = low * self.line_bytes, (high - low) * self.line_bytes
        k0, k1, k = share
        return Span(start + begin + length * k0 // k, length * k1 // k - length * k0 // k)

    def _line(self, pixel: int, reach: int) -> int:
        image, rest = divmod(pixel, self.pixels)
        line = rest // self.out_width * self.stride - self.padding + reach
        return image * self.lines + min(max(line, 0), self.lines)


class SystolicRunner:
    """Dense layers only: the array has no decoder. Zeros are multiplied like anything else."""

    def __init__(self, machine: Machine, places: Places) -> None:
        section = machine.systolic
        asked = f"simulate on {machine.name}"
        if section is None or machine.vector is None or machine.dram is None:
            raise InputError(asked, "it has no systolic, vector or dram section", "the preset systolic_ws")
        if section.mode != "exact":
            raise InputError(asked, f"mode {section.mode!r}, which counts no memory", "systolic.mode=exact")
        self.section: Systolic = section
        self.unit: VectorUnit = machine.vector
        self.places = places
        self.array = SystolicArray(section.rows, section.columns, section.dataflow)
        self.dtype = word_dtype(section.word_bytes, machine.name)
        self.notes: tuple[str, ...] = (
            f"values in words of {section.word_bytes} byte(s), as {self.dtype}: systolic.word_bytes; addresses and "
            "order are the plan's",
        )
        self._tiling = functools.cache(functools.partial(best_tiling, section, word_bytes=section.word_bytes))

    def cost(self, step: Step) -> Cost:
        """See :class:`~spcomp.sim.step_cost.StepRunner`."""
        tally = _Tally()
        if min(step.m, step.k, step.n, step.batch) < 1 and step.kind in ("layer", "matmul", "attention"):
            return Cost((), 0)
        match step.kind:
            case "layer":
                self._add(tally, step.name, self._layer(step), vector_work(step))
            case "matmul":
                for one in self._batch(step):
                    self._add(tally, step.name, one, VectorWork(0, 0))
            case "attention":
                self._attend(tally, step)
            case _:
                self._stream(tally, step)
        return self._cost(tally)

    def _layer(self, step: Step) -> _Product:
        assert step.call is not None
        starts = self.places.operands(step)
        others = list(zip(starts[1:], step.reads[1:], strict=True))
        residual = starts[1] if step.call.epilogue.residual and others else None
        small = tuple(Span(at, self.places.nbytes(o)) for at, o in others[residual is not None :])
        weights = self.places.weight_spans(step)
        y = self.places.write_spans(step)[0].start
        return _Product(
            step.m, step.k, step.n, starts[0], weights[0].start, y, small, residual, self._lines(step)
        )  # fmt: skip

    def _lines(self, step: Step) -> _Lines | None:
        conv = step.call.conv if step.call is not None else None
        if conv is None:
            return None
        line = conv.width * conv.channels * self.section.word_bytes
        reach = (conv.kernel[0] - 1) * conv.dilation[0] + 1
        return _Lines(
            conv.pixels, conv.output[1], conv.height, line, conv.stride[0], conv.padding[0], reach
        )  # fmt: skip

    def _batch(self, step: Step) -> Iterator[_Product]:
        """Both operands are activations, [m, k] and [n, k] for each of the batch."""
        starts, word = self.places.operands(step), self.section.word_bytes
        y = self.places.write_spans(step)[0].start
        second = starts[-1] if len(starts) > 1 else starts[0]
        for b in range(step.batch):
            yield _Product(
                step.m, step.k, step.n, starts[0] + b * step.m * step.k * word, second + b * step.k * step.n * word,
                y + b * step.m * step.n * word,
            )  # fmt: skip

    def _add(self, tally: _Tally, name: str, p: _Product, vector: VectorWork) -> None:
        """The tiles of a product. Sums pass the vector unit as they leave."""
        t = self._tiling(p.m, p.k, p.n)
        done: list[tuple[Span, ...]] = []
        held: dict[str, set[tuple[int, int]]] = {"x": set(), "w": set()}
        context: dict[str, object] = {}
        for i, j in t.places(p.m, p.n):
            mt, nt = min(t.m, p.m - i), min(t.n, p.n - j)
            for depth in range(0, p.k, t.k):
                kt = min(t.k, p.k - depth)
                reads = list(p.extra) if not done else []
                for operand, keeps, row in (("x", t.keeps_x, i), ("w", t.keeps_w, j)):
                    now = {"all": None, "strip": row, "tile": (row, depth)}[keeps]
                    if context.setdefault(operand, now) != now:
                        held[operand].clear()
                        context[operand] = now
                    if (row, depth) not in held[operand]:
                        held[operand].add((row, depth))
                        reads.append(self._operand(p, operand, row, mt if operand == "x" else nt, depth, kt))
                last = depth + kt == p.k
                if last and p.residual is not None:
                    reads.append(self._result(p.residual, p.n, i, mt, j, nt))
                writes = done[-2] if len(done) > 1 else ()
                part = VectorWork(
                    vector.simple * mt * nt // (p.m * p.n), vector.special * mt * nt // (p.m * p.n)
                ) if last else VectorWork(0, 0)  # fmt: skip
                self._tile(tally, name, (mt, kt, nt), depth == 0, part, tuple(reads), writes)
                done.append((self._result(p.y, p.n, i, mt, j, nt),) if last else ())
        tally.phases += [Phase(name, writes=spans) for spans in done[-2:]]

    def _operand(self, p: _Product, operand: str, row: int, rows: int, depth: int, kt: int) -> Span:
        word = self.section.word_bytes
        if operand == "x" and p.lines is not None:
            return p.lines.span(p.x, row, row + rows, (depth, depth + kt, p.k))
        start = p.x if operand == "x" else p.w
        return Span(start + (row * p.k + depth) * word, kt * word, rows, p.k * word)

    def _result(self, start: int, n: int, i: int, mt: int, j: int, nt: int) -> Span:
        word = self.section.word_bytes
        return Span(start + (i * n + j) * word, nt * word, mt, n * word)

    def _tile(
        self, tally: _Tally, name: str, size: tuple[int, int, int], starts: bool, vector: VectorWork,
        reads: tuple[Span, ...], writes: tuple[Span, ...],
    ) -> None:  # fmt: skip
        array, beside = self._count(tally, size, starts), vector.cycles(self.unit)
        tally.vector_cycles += beside
        tally.vector.append(vector)
        tally.busy_cycles += max(array, beside)
        tally.phases.append(Phase(name, reads, writes, max(array, beside)))

    def _count(self, tally: _Tally, size: tuple[int, int, int], starts: bool) -> int:
        """A tile at the array: cycles, products, and what passes between it and the scratchpads."""
        m, k, n = size
        rows, columns, word = self.section.rows, self.section.columns, self.section.word_bytes
        again = {
            "ws": (-(-n // columns), 1, -(-k // rows)),
            "os": (-(-n // columns), -(-m // rows), 1),
            "is": (1, -(-m // columns), -(-k // rows)),
        }[self.section.dataflow]
        tally.read_bytes += word * (m * k * again[0] + k * n * again[1] + m * n * (again[2] - starts))
        tally.write_bytes += word * m * n * again[2]
        tally.macs += m * k * n
        cycles = self.array.cycles(m, k, n)
        tally.array_cycles += cycles
        return cycles

    def _attend(self, tally: _Tally, step: Step) -> None:
        """Head by head, some queries at a time: scores stay in the scratchpad of sums, and pass the vector unit."""
        word = self.section.word_bytes
        rows = min(step.m, self.section.ofmap_bytes // (2 * word * step.n))
        rows = min(rows, self.section.ifmap_bytes // (2 * word * step.k))
        if rows < 1:
            found = f"a row of {step.n} scores, and scratchpads of {self.section.ofmap_bytes} bytes"
            raise InputError(f"run {step.name}", found, f"systolic.ofmap_bytes={2 * word * step.n}")
        keys, values = step.n * step.k * word, step.n * step.value_features * word
        stays = max(keys, values) <= self.section.filter_bytes // 2
        q, k, v = self.places.operands(step)[:3]
        y = self.places.write_spans(step)[0].start
        whole = vector_work(step)
        done: list[Span] = []
        for b, first in product(range(step.batch), range(0, step.m, rows)):
            mt = min(rows, step.m - first)
            array = self._count(tally, (mt, step.k, step.n), True)
            array += self._count(tally, (mt, step.n, step.value_features), True)
            share = VectorWork(whole.simple * mt // (step.batch * step.m), whole.special * mt // (step.batch * step.m))
            beside = share.cycles(self.unit)
            reads = [Span(q + (b * step.m + first) * step.k * word, mt * step.k * word)]
            if first == 0 or not stays:
                reads += [Span(k + b * keys, keys), Span(v + b * values, values)]
            tally.vector.append(share)
            tally.vector_cycles += beside
            tally.busy_cycles += array + beside
            tally.phases.append(Phase(step.name, tuple(reads), tuple(done[-2:-1]), array + beside))
            width = step.value_features * word
            done.append(Span(y + (b * step.m + first) * width, mt * width))
        tally.phases += [Phase(step.name, writes=(span,)) for span in done[-2:]]

    def _stream(self, tally: _Tally, step: Step) -> None:
        """Operands pass through the scratchpads in pieces; nothing of them stays."""
        reads, writes = self.places.read_spans(step), self.places.write_spans(step)
        if step.kind == "gather":  # only the rows that are taken, as many bytes as are written
            reads = tuple(Span(s.start, min(s.nbytes, writes[0].nbytes if writes else 0)) for s in reads)
        moved = sum(s.nbytes for s in reads)
        pieces = max(1, -(-moved // (self.section.ifmap_bytes // 2)))
        work = vector_work(step)
        cycles = work.cycles(self.unit)
        before: list[tuple[Span, ...]] = [(), ()]
        for i, (name, fetched, written) in enumerate(streamed(step.name, reads, writes, pieces)):
            busy = cycles * (i + 1) // pieces - cycles * i // pieces
            tally.phases.append(Phase(name, fetched, before[-2], busy))
            before.append(written)
        tally.phases += [Phase(step.name, writes=spans) for spans in before[-2:]]
        tally.read_bytes += moved
        tally.write_bytes += sum(s.nbytes for s in writes)
        tally.vector.append(work)
        tally.vector_cycles += cycles
        tally.busy_cycles += cycles

    def _cost(self, tally: _Tally) -> Cost:
        accesses = -(-(tally.read_bytes + tally.write_bytes) // 8)
        sram = min(SRAM_BYTES, key=lambda name: max(SRAM_BYTES[name] / self._pad, self._pad / SRAM_BYTES[name]))
        vector = VectorWork(sum(v.simple for v in tally.vector), sum(v.special for v in tally.vector))
        counts = (Count(f"mac_{self.dtype}", tally.macs), Count(sram, accesses), *vector.counts())
        return Cost(
            tuple(tally.phases), tally.busy_cycles, {"array": tally.array_cycles, "vector": tally.vector_cycles},
            executed_macs=tally.macs, read_bytes={PADS: tally.read_bytes}, write_bytes={PADS: tally.write_bytes},
            counts=counts,
        )  # fmt: skip

    @property
    def _pad(self) -> int:
        return self.section.ifmap_bytes
