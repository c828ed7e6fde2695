"""What a tuning database holds, as a table: a row for each device, origin and kind of kernel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from spcomp.cost.records import Record, SearchRecord, TuningCase

COLUMNS = ("device", "used", "from", "op", "dtype", "backend", "encoding", "threads", "times", "M", "N x K", "nonzeros")
SEARCHES = "searches of a library"


@dataclass
class _Kind:
    """The cases of one row of the table; a kernel that was timed twice is one."""

    cases: dict[tuple[str, str], TuningCase] = field(default_factory=dict)
    searches: int = 0

    def cells(self) -> tuple[str, ...]:
        if not self.cases:
            return "", str(self.searches), "", "", ""
        cases = self.cases.values()
        threads = sorted({c.threads for c in cases})
        sizes = sorted({(c.call.n * c.call.k, c.call.n, c.call.k) for c in cases})
        shown = [f"{n} x {k}" for _, n, k in (sizes[0], sizes[-1])]
        density = sorted({f"{c.density:.0%}" for c in cases}, key=lambda text: int(text[:-1]))
        return (
            ", ".join("-" if t == 0 else str(t) for t in threads), str(len(cases)), _span(sorted({c.m for c in cases})),
            " to ".join(dict.fromkeys(shown)), " to ".join(dict.fromkeys((density[0], density[-1]))),
        )  # fmt: skip


def _span(counts: list[int]) -> str:
    return ", ".join(map(str, counts)) if len(counts) <= 4 else f"{counts[0]} to {counts[-1]}"


def tunings_table(records: Iterable[tuple[Record, str]], here: Collection[str]) -> Table:
    """``here``: the devices whose records are used on this machine."""
    kinds: dict[tuple[str, ...], _Kind] = {}
    for record, origin in records:
        if isinstance(record, SearchRecord):
            used = "yes" if record.device in here else "no"
            kinds.setdefault((record.device, used, origin, "", "", "", SEARCHES), _Kind()).searches += 1
            continue
        case, call = record.case, record.case.call
        used = "yes" if case.device in here else "no"
        form = call.encoding.name if not call.quantize else f"int8 {call.encoding.name}"
        key: tuple[str, ...] = (case.device, used, origin, call.op, call.dtype, call.backend, form)
        kinds.setdefault(key, _Kind()).cases[case.point, case.kernel] = case
    title = "times of kernels; those of other devices are kept, and not used here"
    table = Table(title=title if kinds else "nothing was timed yet", title_justify="left")
    for name in COLUMNS:
        right = name in COLUMNS[COLUMNS.index("threads") :]
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for key in sorted(kinds):
        table.add_row(*map(escape, (*key, *kinds[key].cells())))
    return table
