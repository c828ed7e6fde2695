"""Which calls of a plan a machine can run."""

from __future__ import annotations

from spcomp.encodings.spec import Refusal
from spcomp.errors import PlanError
from spcomp.plan import KernelCall, KernelPlan
from spcomp.sim.machines.schema import Machine


def refused_calls(machine: Machine, plan: KernelPlan) -> tuple[tuple[KernelCall, Refusal], ...]:
    """The calls whose weights are in an encoding that the machine does not run, with the reasons."""
    found = ((call, machine.refuses(call.encoding)) for call in plan.calls)
    return tuple((call, refusal) for call, refusal in found if refusal is not None)


def require_runnable(machine: Machine, plan: KernelPlan) -> None:
    """Raise :class:`PlanError` for the first call that the machine cannot run: which, why, and what could."""
    for call, refusal in refused_calls(machine, plan):
        others = [text for text in machine.encodings.runs if text != "dense"]
        hint = f"planning for {machine.name}, which packs {call.layer} as {' or '.join([*others, 'dense'])}"
        raise PlanError(f"run {call.layer} (rows {call.rows}) on {machine.name}", refusal.reason, hint)
