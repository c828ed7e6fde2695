"""Steps on a GPU: products in waves of CTAs, other ops as kernels that stream their operands."""

from __future__ import annotations

import functools
from collections import OrderedDict
from math import ceil

from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import ITEM_BYTES
from spcomp.errors import InputError
from spcomp.sim.energy import Count
from spcomp.sim.machines.compute import Gpu, VectorUnit
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.gpu import matmul, streaming_bytes_per_second
from spcomp.sim.place import Places
from spcomp.sim.step_cost import Cost, Phase
from spcomp.sim.vector_work import VectorWork, vector_work
from spcomp.sim.workload import Step

L2, HBM = "l2", "dram"
PATH = ("dram_cell", "dram_column", "dram_bank_group_io", "dram_tsv", "dram_interposer")


class GpuRunner:
    """One kernel a step, one after the other. What a step has written stays in L2 while it fits."""

    def __init__(self, machine: Machine, places: Places) -> None:
        if machine.gpu is None or machine.dram is None or machine.vector is None:
            found = "it has no gpu, dram or vector section"
            raise InputError(f"simulate on {machine.name}", found, "the preset gpu_a100")
        self.machine, self.places = machine, places
        self.gpu: Gpu = machine.gpu
        self.unit: VectorUnit = machine.vector
        self.per_cycle = streaming_bytes_per_second(machine.dram) * machine.cycle_fs * 1e-15
        self.launch_cycles = ceil(self.gpu.launch_ns * 1e6 / machine.cycle_fs)
        self.held: OrderedDict[str, int] = OrderedDict()
        """Operands in L2, the latest last."""
        self.has_table = any("dram_activate" in t.entries for t in machine.energy_tables())
        self.channels = machine.dram.channels
        self.notes: tuple[str, ...] = (
            f"each step is a kernel of its own: {self.gpu.launch_ns:g} ns of launch, fitted or assumed as "
            "gpu.launch_ns says",
            *(() if machine.energy else ("no energy: the machine names no table",)),
        )
        self._matmul = functools.cache(functools.partial(matmul, machine))

    def cost(self, step: Step) -> Cost:
        """See :class:`~spcomp.sim.step_cost.StepRunner`."""
        if min(step.m, step.k, step.n, step.batch) < 1 and step.kind in ("layer", "matmul", "attention"):
            return Cost((), 0)
        match step.kind:
            case "layer":
                found = self._layer(step)
            case "attention":
                found = self._batched(step, (step.k, step.value_features), vector_work(step))
            case "matmul" if step.batch > 1:
                found = self._batched(step, (step.k,), VectorWork(0, 0))
            case "matmul":
                found = self._product(step, step.writes[0].dtype, False, 0)
            case _:
                found = self._stream(step)
        self._keep(step)
        return found

    def _layer(self, step: Step) -> Cost:
        assert step.call is not None
        sparse = isinstance(step.call.encoding, Nm)
        extra = sum(o.nbytes for o in step.reads[1:])
        return self._product(step, step.call.weight_dtype, sparse, extra)

    def _product(self, step: Step, dtype: str, sparse: bool, extra: int) -> Cost:
        """``extra``: bytes beside the operands, such as a residual."""
        p = self._matmul(step.m, step.k, step.n, dtype, sparse)
        hbm, beside = p.hbm_cycles + ceil(extra / self.per_cycle), vector_work(step).cycles(self.unit, self.gpu.sms)
        cycles = max(p.cycles + hbm - p.hbm_cycles, beside)
        read = p.hbm_read_bytes + extra
        return self._cost(
            step, cycles, max(p.tensor_cycles, beside), {"tensor": p.tensor_cycles, "vector": beside}, p.l2_cycles,
            hbm, p.l2_read_bytes + extra, read, p.hbm_write_bytes, p.executed_flops // 2,
        )  # fmt: skip

    def _batched(self, step: Step, depths: tuple[int, ...], vector: VectorWork) -> Cost:
        """One product for each of the batch, or attention: CTAs of a tile of queries, whose scores never leave."""
        dtype = step.writes[0].dtype
        rates = self.gpu.tensor_flops_per_sm_cycle
        if dtype not in rates:
            raise InputError(f"run {step.name}", f"tensor cores have no {dtype}", ", ".join(rates))
        tile = self.gpu.tiles[-1]
        rows = -(-step.m // tile[0])
        columns = 1 if step.kind == "attention" else -(-step.n // tile[1])
        ctas = step.batch * rows * columns
        width = step.n if step.kind == "attention" else tile[1]
        flops = 2 * tile[0] * (step.k * width + (step.n * depths[1] if len(depths) > 1 else 0))
        waves = -(-ctas // self.gpu.sms)
        tensor = waves * ceil(flops / (rates[dtype] * self.gpu.tensor_efficiency))
        beside = waves * VectorWork(ceil(vector.simple / ctas), ceil(vector.special / ctas)).cycles(self.unit)
        item = ITEM_BYTES[dtype]
        asked = item * ctas * (min(tile[0], step.m) * step.k + width * step.k)
        asked += item * ctas * step.n * depths[1] if len(depths) > 1 else 0
        l2 = ceil(asked / self.gpu.l2_read_bytes_per_cycle)
        read, written = self._fetched(step), step.write_nbytes
        hbm = ceil((read + written) / self.per_cycle)
        compute = tensor + beside
        return self._cost(
            step, max(compute, l2, hbm), compute, {"tensor": tensor, "vector": beside}, l2, hbm, asked, read, written,
            ctas * flops // 2,
        )  # fmt: skip

    def _stream(self, step: Step) -> Cost:
        compute = vector_work(step).cycles(self.unit, self.gpu.sms)
        asked, read, written = self._asked(step), self._fetched(step), step.write_nbytes
        l2 = ceil(asked / self.gpu.l2_read_bytes_per_cycle)
        hbm = ceil((read + written) / self.per_cycle)
        return self._cost(
            step, max(compute, l2, hbm), compute, {"vector": compute}, l2, hbm, asked, read, written, 0
        )  # fmt: skip

    def _asked(self, step: Step) -> int:
        """A gather reads the rows that are taken, as many bytes as it writes."""
        if step.kind == "gather":
            return sum(min(o.nbytes, step.write_nbytes) for o in step.reads)
        return step.read_nbytes

    def _fetched(self, step: Step) -> int:
        """Bytes of operands that are not in L2."""
        most = step.write_nbytes if step.kind == "gather" else None
        missed = [o.nbytes for o in step.reads if self.held.get(o.name, 0) < o.nbytes]
        return sum(missed if most is None else [min(most, size) for size in missed])

    def _keep(self, step: Step) -> None:
        for o in (*step.reads, *step.writes):
            size = max(o.nbytes, self.held.pop(o.name, 0))
            if size <= self.gpu.l2_bytes and (step.kind != "gather" or o in step.writes):
                self.held[o.name] = size
        while sum(self.held.values()) > self.gpu.l2_bytes:
            self.held.popitem(last=False)

    def _cost(
        self, step: Step, cycles: int, compute: int, parts: dict[str, int], l2: int, hbm: int, asked: int, read: int,
        written: int, macs: int,
    ) -> Cost:  # fmt: skip
        slowest = HBM if hbm >= l2 else L2
        counts: tuple[Count, ...] = ()
        if self.has_table:
            moved, time_fs = read + written, (cycles + self.launch_cycles) * self.machine.cycle_fs
            counts = (
                *(Count(action, moved, "byte") for action in ("dram_activate", *PATH)),
                Count("dram_background", self.channels * time_fs, "fs"),
            )
        return Cost(
            (Phase(step.name, busy_cycles=cycles),), compute, parts, {L2: l2, HBM: hbm}, {slowest: cycles - compute},
            self.launch_cycles, macs, {L2: asked, HBM: read}, {L2: written, HBM: written}, counts,
        )  # fmt: skip
