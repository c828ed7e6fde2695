"""Planning anew for a machine: the encoding of each layer that the machine runs in the fewest simulated cycles.

Weights are unpacked from the workload's bytes, measured, and packed in every encoding that the machine lists and the
facts do not refuse. Of equal cycles the fewest bytes win; dense is always among the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcomp.encodings.bitmap import Bitmap
from spcomp.encodings.block import Block
from spcomp.encodings.csr import Csr
from spcomp.encodings.dense import Dense
from spcomp.encodings.nm import Nm
from spcomp.encodings.spec import BIT_DTYPES, Encoding
from spcomp.encodings.table import parse_encoding
from spcomp.errors import InputError
from spcomp.plan import KernelCall, KernelPlan
from spcomp.sim.machines.schema import Machine
from spcomp.sim.parts.gpu import streaming_bytes_per_second
from spcomp.sim.simulate import only, place_for, run, runner_for
from spcomp.sim.step_cost import Phase
from spcomp.sim.workload import Step, Workload
from spcomp.sparsity.facts import BLOCK_SHAPES, NM_GROUPS, SparsityFacts
from spcomp.sparsity.measure import measure

LEAST_OCCUPANCY = 0.5
"""Of the blocks that have a nonzero, how full they must be to be worth a try."""


@dataclass(frozen=True)
class Chosen:
    """A layer's encoding on a machine, and the cycles of each that was tried."""

    layer: str
    encoding: str
    cycles: Mapping[str, int]
    refused: Mapping[str, str]
    """Encodings that the machine runs and this weight cannot have: why."""


def replan(workload: Workload, machine: Machine) -> tuple[Workload, tuple[Chosen, ...]]:
    """The workload with each layer's weight in the encoding that ``machine`` runs fastest.

    Raises:
        InputError: layers of a plan alone, which has no weights to pack; a machine of cores, whose kernels' schedules
            are the compiler's.
    """
    if machine.cores:
        found = "the schedules of its kernels come from the compiler"
        raise InputError(f"plan for {machine.name}", found, "spcomp.compile(model, example), and that compiled model")
    known: dict[tuple[str, int], tuple[KernelCall, Mapping[str, NDArray[Any]], Chosen]] = {}
    steps, chosen = [], []
    for step in workload.steps:
        if step.call is None:
            steps.append(step)
            continue
        if not step.packed:
            hint = f"the compiled model, or a plan that {machine.name} runs as it is"
            raise InputError(f"plan {step.name} for {machine.name}", "a plan alone, without weights", hint)
        bits = step.call.encoding.unpack_bits(step.packed, (step.n, step.k))
        facts = measure(_seen(bits))
        key = facts.digest, step.m
        if key not in known:
            known[key] = _choose(workload, step, bits, facts, machine)
        call, packed, choice = known[key]
        call = replace(
            step.call, encoding=call.encoding, stored=call.stored, weight_nbytes=call.weight_nbytes,
            packed=call.packed, backend="", schedule=(),
        )  # fmt: skip
        steps.append(replace(step, call=call, packed=packed))
        chosen.append(replace(choice, layer=step.name))
    plan = KernelPlan(tuple(s.call for s in steps if s.call is not None))
    return replace(workload, steps=tuple(steps), digest=plan.digest), tuple(chosen)


def _seen(bits: NDArray[Any]) -> NDArray[Any]:
    """Bits as numbers of that width; which ones does not matter to where the zeros are."""
    return bits.view({4: np.float32, 2: np.float16, 1: np.int8}[bits.itemsize])


def _choose(
    workload: Workload, step: Step, bits: NDArray[Any], facts: SparsityFacts, machine: Machine
) -> tuple[KernelCall, Mapping[str, NDArray[Any]], Chosen]:
    assert step.call is not None
    refused: dict[str, str] = {}
    tried: list[tuple[int, int, int, KernelCall, Mapping[str, NDArray[Any]]]] = []
    for i, encoding in enumerate(candidates(machine, facts)):
        if refusal := encoding.refuses(facts):
            refused[str(encoding)] = refusal.reason
            continue
        packed = encoding.pack_bits(bits.astype(BIT_DTYPES[step.call.weight_dtype], copy=False))
        nbytes = sum(a.nbytes for a in packed.values())
        call = replace(
            step.call, encoding=encoding, stored=int(packed["values"].size), weight_nbytes=nbytes,
            packed=f"{facts.digest}/{encoding}", backend="", schedule=(),
        )  # fmt: skip
        alone = only(workload, replace(step, call=call, packed=packed))
        try:
            tried.append((_cycles(alone, machine), nbytes, i, call, packed))
        except InputError as error:
            if isinstance(encoding, Dense):
                raise
            refused[str(encoding)] = error.found
    best = min(tried, key=lambda t: t[:3])
    cycles = {str(call.encoding): took for took, _, _, call, _ in tried}
    return best[3], best[4], Chosen(step.name, str(best[3].encoding), cycles, refused)


def _cycles(alone: Workload, machine: Machine) -> int:
    if machine.gpu is not None or machine.mac_array is not None:
        cost = runner_for(machine, place_for(machine, alone)).cost(alone.steps[0])
        return sum(max(p.busy_cycles, _moving(p, machine)) for p in cost.phases)
    if machine.encodings.runs == ["dense"]:
        return 0  # nothing to choose from
    return sum(s.cycles for s in run(alone, machine).steps)


def _moving(phase: Phase, machine: Machine) -> int:
    """Cycles of an array's phase at the rate at which its memory streams."""
    if machine.dram is None or machine.gpu is not None:
        return 0
    moved = sum(span.nbytes for span in (*phase.reads, *phase.writes))
    return ceil(moved / (streaming_bytes_per_second(machine.dram) * machine.cycle_fs * 1e-15))


def candidates(machine: Machine, facts: SparsityFacts) -> Iterator[Encoding]:
    """What the machine lists, dense first; parameters that it leaves open are those that the facts allow."""
    for text in sorted(machine.encodings.runs, key=lambda t: t != "dense"):
        match text:
            case "dense":
                yield Dense()
            case "csr":
                yield Csr()
            case "bitmap":
                yield Bitmap()
            case "nm":
                yield from _groups(facts)
            case "block":
                yield from (Block(r, c) for r, c in BLOCK_SHAPES if facts.block_occupancy(r, c) > LEAST_OCCUPANCY)
            case _ if "(" in text:
                yield parse_encoding(text)


def _groups(facts: SparsityFacts) -> Iterator[Encoding]:
    """N:M with as few slots as the weight needs; none of whose share another has with fewer columns."""
    shares: set[float] = set()
    for m in NM_GROUPS:
        n = facts.group_max.get((1, m), m)
        if 1 <= n < m and n <= (16 if m <= 4 else 8) and not any(share <= n / m for share in shares):
            shares.add(n / m)
            yield Nm(n, m)
