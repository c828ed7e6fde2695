"""Where text goes: progress and errors to stderr, results to stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from spcomp.errors import SpcompError

WIDTH = 180
"""Of tables, where stdout is no terminal."""


def stdout() -> Console:
    """For results: as wide as the terminal, or wide enough in a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_error(error: SpcompError) -> None:
    """One message: what was asked, what was found, what to try."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("error: ", "bold red"), (f"{error.asked}: {error.found}.", "red"), f" Try: {error.hint}.")
    )


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Yields ``say(line)``: a spinner on stderr that shows the step; nothing where stderr is no terminal."""
    with Console(stderr=True).status(title) as status:
        yield lambda line: status.update(f"{title}: {line}")
