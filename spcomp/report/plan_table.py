"""A plan as a table: a line for every kernel call."""

from __future__ import annotations

from rich.table import Table

from spcomp.plan import Epilogue, KernelCall, KernelPlan
from spcomp.report.explain import count_of_bytes

COLUMNS = (
    "layer", "slot", "rows", "op", "shape", "dtype", "encoding", "backend", "schedule", "epilogue", "nonzeros",
    "stored", "bytes", "of dense",
)  # fmt: skip
LEFT = ("layer", "op", "shape", "dtype", "encoding", "backend", "schedule", "epilogue")


def plan_rows(plan: KernelPlan) -> list[tuple[str, ...]]:
    """One row a call, as text, in the order of :data:`COLUMNS`; layer and slot where they change."""
    found: list[tuple[str, ...]] = []
    before = None
    for call in plan.calls:
        head = (call.layer, str(call.slot)) if call.slot != before else ("", "")
        found.append((*head, *_cells(call)))
        before = call.slot
    return found


def plan_table(plan: KernelPlan) -> Table:
    """The plan with its digest and threads in the title. FLOPs follow from the columns: 2 x rows x stored (executed),
    2 x rows x nonzeros (effective_w), 2 x rows x n x k (dense)."""
    title = f"plan {plan.digest}, {len(plan.calls)} kernel calls, tuned for {plan.threads} thread(s)"
    table = Table(title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
    for row in plan_rows(plan):
        if row[0] and table.row_count:
            table.add_section()
        table.add_row(*row)
    return table


def _cells(call: KernelCall) -> tuple[str, ...]:
    shape = f"{call.n} x {call.k}" + ("" if call.conv is None else f" ({call.conv})")
    schedule = " ".join(f"{name}={value}" for name, value in call.schedule)
    encoding = f"{call.quantize} {call.encoding}".strip()
    return (
        str(call.rows), call.op, shape, call.dtype, encoding, call.backend, schedule, _epilogue(call.epilogue),
        str(call.nonzeros), str(call.stored), count_of_bytes(call.weight_nbytes),
        f"{call.weight_nbytes / max(1, call.dense_weight_nbytes()):.0%}",
    )  # fmt: skip


def _epilogue(epilogue: Epilogue) -> str:
    parts = [name for name in ("scale", "bias", "residual") if getattr(epilogue, name)]
    return " + ".join([*parts, *([] if epilogue.activation == "none" else [epilogue.activation])])
