"""The demo's result in the terminal: one table, then the goals."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spcomp.demo.result import COLUMNS, DemoResult, Goal, cells

LEFT = ("model", "pruning", "encodings")


def print_result(result: DemoResult, console: Console) -> None:
    """Print the heading, the table and the goals."""
    console.print(Text(result.heading()))
    table = Table(title="Pruned, compiled, raced", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in LEFT else "right", overflow="fold")
    for line in cells(result.rows):
        if line[0] and table.row_count:
            table.add_section()
        table.add_row(*map(Text, line))
    console.print(table)
    for goal in result.goals():
        console.print(
            Text.assemble(("met    " if goal.met else "MISSED ", "green" if goal.met else "red"), describe(goal))
        )


def describe(goal: Goal) -> str:
    """One line: the figure, and what it should have reached."""
    note = f" ({goal.note})" if goal.note else ""
    return f"{goal.name}: {goal.value:.3f}, goal {goal.sense} {goal.target:g}{note}"
