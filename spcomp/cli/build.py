"""From a named model to a compiled one, with the options of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcomp.cli.named import Named
from spcomp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from spcomp.compiled import CompiledModule


@dataclass(frozen=True)
class Choices:
    """Options of :func:`spcomp.compile` as they were typed."""

    policy: str = "auto"
    memory_budget: float = 1.0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    encodings: str | None = None
    engine: str = "auto"
    debug_dir: Path | None = None
    quantize: str | None = None
    layers: tuple[str, ...] = ()
    """Each ``GLOB=ENCODING``."""
    tune: str = "measure"

    def keywords(self) -> dict[str, Any]:
        encodings = None if self.encodings is None else [e.strip() for e in self.encodings.split(",")]
        return {
            "policy": self.policy,
            "memory_budget": self.memory_budget,
            "include": self.include,
            "exclude": self.exclude,
            "encodings": encodings,
            "engine": self.engine,
            "debug_dir": self.debug_dir,
            "quantize": self.quantize,
            "layers": _layers(self.layers),
            "tune": self.tune,
        }


def _layers(given: tuple[str, ...]) -> dict[str, str]:
    """Globs and encodings in the order in which they were typed; of one glob typed twice, the first counts."""
    found: dict[str, str] = {}
    for text in given:
        glob, equals, encoding = text.partition("=")
        if not equals or not glob.strip():
            raise InputError(f"read --layer {text!r}", "it is not of the form GLOB=ENCODING", "'encoder.*=block 8x8'")
        found.setdefault(glob.strip(), encoding.strip())
    return found


def compiled_from(named: Named, choices: Choices, say: Callable[[str], None]) -> CompiledModule:
    """The compiled model: loaded if the name was an artifact's, else compiled now."""
    from spcomp.api import compile as spcomp_compile

    if named.compiled is not None:
        if choices.layers:
            raise InputError("use --layer", "a model that is compiled already", "the factory, or a .pt2 file")
        return named.compiled
    if named.exported is not None:
        return spcomp_compile(named.exported, progress=say, **choices.keywords())
    assert named.module is not None
    return spcomp_compile(named.module, *named.examples, progress=say, **choices.keywords())


def set_threads(threads: int | None) -> int:
    """Use this many threads, or torch's default; returns how many."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
