"""Kernels of a loaded model: straight from its plan where it was saved, tuned again elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import torch

from spcomp import guard as guarding
from spcomp import ops
from spcomp.assemble import assemble
from spcomp.build import Built, build_all, dense_built, site_from
from spcomp.codegen import dense, dense_device
from spcomp.codegen.table import BACKENDS
from spcomp.encodings.dense import Dense
from spcomp.errors import KernelError, PolicyError
from spcomp.gathering import gathering
from spcomp.kernel import Kernel
from spcomp.options import Options
from spcomp.parts import Parts, Program
from spcomp.passes.choose import DENSE, is_dense
from spcomp.passes.planned import Dense as BestDense
from spcomp.passes.propose import points_of
from spcomp.passes.tune_device import current
from spcomp.placing import Placing
from spcomp.plan import KernelCall, RowRange
from spcomp.planning import planners_for
from spcomp.record import SlotRecord
from spcomp.report.decision import LayerDecision
from spcomp.signature import Constant, evaluate
from spcomp.targets.host import host_cpu
from spcomp.unspliced import called
from spcomp.versions import versions

Planned = tuple[SlotRecord, tuple[KernelCall, ...]]
BUILDERS = 2
"""Threads that generate kernels: one may wait for a compiler while another bakes."""
_ROWS = (1, 2, 4, 8, 15, 16, 32, 64, 128, 256, 512)
"""Row counts that between them make a backend offer every schedule it has."""


def another_machine(saved_versions: str, saved_host: Mapping[str, Any], saved_threads: int) -> str | None:
    """Why the saved plan is not this machine's, or None if it is."""
    host = host_cpu()
    if saved_host["digest"] != host.digest:
        if saved_host["target"] != host.target:
            return f"saved for {str(saved_host['target'])[:40]}, this is {host.target}"
        return f"saved on another CPU ({str(saved_host['model'])[:60]})"
    if saved_versions != versions():
        return f"saved with {saved_versions[:120]}, these are {versions()}"
    if saved_threads != torch.get_num_threads():
        return f"saved for {saved_threads} threads, there are {torch.get_num_threads()}"
    return None


def rebuild(record: SlotRecord, calls: Sequence[KernelCall], decision: LayerDecision, placing: Placing) -> Built:
    """The kernels that the plan names, nothing measured. Raises :class:`KernelError` for one that cannot be built."""
    kernels: list[Kernel] = []
    rounded = next((c.quantize for c in calls if is_dense(c.backend) and c.quantize), "")
    first = replace(calls[0], quantize=rounded)
    best = _dense(first, record, placing) if any(is_dense(c.backend) for c in calls) else None
    for call in calls:
        if best is not None and is_dense(call.backend):
            kernels.append(best.member(call.backend.removeprefix(DENSE)))
        else:
            kernels.append(_sparse(call, record))
    slot = ops.SlotKernels(tuple(c.rows.lo for c in calls), tuple(kernels), *_inputs(calls[0]))
    made = Built(slot, record, tuple(calls), decision)
    return gathering(made) if record.gathered else made


def _inputs(call: KernelCall) -> tuple[int, int]:
    """Elements of x, and the rows that they make."""
    return (call.k, 1) if call.conv is None else (call.conv.inputs, call.conv.pixels)


class Jobs:
    """Kernels of every slot, generated in threads; dense ones in the caller's, at the end."""

    def __init__(
        self, pool: Executor, records: Sequence[Planned], decisions: Sequence[LayerDecision], placing: Placing
    ) -> None:
        self._placing = placing
        self._slots = list(zip(records, decisions, strict=True))
        self._started = [
            None if any(is_dense(c.backend) for c in calls) else pool.submit(rebuild, r, calls, decision, placing)
            for (r, calls), decision in self._slots
        ]

    def results(self) -> list[Built]:
        """All of them, in slot order. Raises :class:`KernelError`."""
        return [
            rebuild(record, calls, decision, self._placing) if started is None else started.result()
            for started, ((record, calls), decision) in zip(self._started, self._slots, strict=True)
        ]


def _dense(call: KernelCall, record: SlotRecord, placing: Placing) -> BestDense:
    assert record.weight is not None
    whole = replace(call, rows=RowRange(0, None), backend="dense", encoding=Dense())
    points = points_of(record.domains, _inputs(call)[1])
    if call.target != "cuda":
        return dense.best_dense(whole, record.weight, record.bias, points, record.scale)
    there = (None if t is None else placing.there(t, record.where) for t in (record.bias, record.scale))
    return dense_device.best_dense(whole, placing.there(record.weight, record.where), next(there), points, next(there))


def _sparse(call: KernelCall, record: SlotRecord) -> Kernel:
    packed = next(p for p in record.packed if (p.encoding, p.dtype) == (call.encoding, call.weight_dtype))
    backend = BACKENDS.get(call.backend)
    if backend is None or call.key not in backend.capabilities():
        raise KernelError(f"build the kernel of {call.layer}", f"no {call.backend[:40]} for {call.key}", "tuning again")
    domains = record.domains
    static = len(domains) == 1 and domains[0].lo == domains[0].hi
    rows = domains[0] if static else call.rows
    points = (*_ROWS, *points_of(domains, _inputs(call)[1])) if call.target == "cuda" else _ROWS
    offered = {tuple(s) for m in (*points, max(1, rows.lo)) for s in backend.schedules(call, m)}
    if call.schedule not in offered:
        found = f"no schedule {dict(call.schedule)} here"
        raise KernelError(f"build the kernel of {call.layer}", found, "tuning again")
    with current(record.where):
        return backend.build(replace(call, rows=rows), packed, record.bias, record.scale_for(call.quantize))


def retune(
    programs: Sequence[Program],
    records: Sequence[SlotRecord],
    tensors: dict[str, torch.Tensor],
    options: Options,
    reason: str,
    guard: bool | None,
    placing: Placing,
    say: Callable[[str], None],
) -> Parts:
    """Parts with every layer planned anew for this machine; layers that a graph computes itself stay dense."""
    sites = [site_from(r, r.dense_weight(), r.bias) for r in records]
    notes = [f"tuned again: {reason}"]
    planners = planners_for(options, sites, placed=placing.there)
    host = all(planners.device(s).host for s in sites)
    left = frozenset[int]() if host else frozenset(r.slot for r in records) - called(programs)

    def plan(line: str) -> None:
        say(f"planning {line}")

    try:
        built = build_all(sites, options, planners, plan, left)
    except PolicyError as error:
        notes.append(f"policy='force' does not hold here: {error.found}")
        options = replace(options, policy="auto")
        built = build_all(sites, options, planners_for(options, sites, placed=placing.there), plan, left)
    parts = assemble(programs, built, tensors, options, tuple(notes))
    wanted = options.guard if guard is None else guard
    if not wanted or options.policy != "auto" or not any(b.decision.sparse for b in built):
        return parts
    say("timing the whole model against the dense program")
    dense_ones = [
        dense_built(planners.of(s), b, s, "the whole model was not faster sparse") if b.decision.sparse else b
        for b, s in zip(built, sites, strict=True)
    ]
    inputs = [
        [_example(leaf, p.hints, on) for leaf, on in zip(p.signature.leaves, p.signature.on, strict=True)]
        for p in programs
    ]
    speedup, _ = guarding.slowest_speedup(parts, tuple(d.slot for d in dense_ones), inputs)
    if speedup < guarding.MARGIN:
        return assemble(programs, dense_ones, tensors, options, (*notes, f"guard: sparse was {speedup:.2f}x of dense"))
    parts.notes = (*notes, f"guard: {speedup:.2f}x of the best dense program, whole model, made-up inputs")
    return parts


def _example(leaf: Any, hints: Mapping[str, int], on: str) -> Any:
    if isinstance(leaf, Constant):
        return leaf.value
    dtype: torch.dtype = getattr(torch, leaf.dtype)
    shape = [evaluate(size, hints) for size in leaf.shape]
    if dtype.is_floating_point:
        return torch.randn(shape).to(dtype).to(on)
    return (torch.ones if dtype is torch.bool else torch.zeros)(shape, dtype=dtype, device=on)
